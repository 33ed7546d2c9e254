"""Commands inside a guest through the root shell on its second serial port (systemd.debug_shell=, kernel cmdline).

The shell may echo, prompt and edit lines as it likes: what was typed never contains the marks that frame an answer,
for they are put together only by the guest's printf.
"""

from __future__ import annotations

import base64
import itertools
import re
import secrets
import socket
import time
from collections.abc import Callable

# a terminal in canonical mode takes lines of up to 4095 bytes
_CHUNK = 1024


class ShellError(Exception):
    """The shell did not answer in time; holds what it said."""


class DebugShell:
    """The guest's root shell, at the other end of a connected socket; one command at a time."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._line.settimeout(0.1)
        self._numbers = itertools.count(1)
        self._session = secrets.token_hex(4)

    def run(self, command: str, *, seconds: float, while_waiting: Callable[[], None]) -> tuple[int, str]:
        """Exit status and output of a shell command; ShellError after `seconds`, OSError where the machine is gone.

        Calls `while_waiting` meanwhile.
        """
        mark = f"{self._session}{next(self._numbers)}"
        self.send(_typed(command, mark))
        answer = re.compile(rf"<{mark}<\r?\n(?P<output>.*?)\r?\n>{mark}>(?P<status>\d+);".encode(), re.S)
        heard = b""
        deadline = time.monotonic() + seconds
        while (found := answer.search(heard)) is None:
            if time.monotonic() > deadline:
                raise ShellError(heard.decode("utf-8", "replace"))
            heard += self._receive()
            while_waiting()
        return int(found["status"]), found["output"].decode("utf-8", "replace").replace("\r\n", "\n")

    def send(self, text: str) -> None:
        """Types `text`; nothing is read."""
        self._line.sendall(text.encode())

    def close(self) -> None:
        """Unplugs the terminal."""
        self._line.close()

    def _receive(self) -> bytes:
        try:
            heard = self._line.recv(65536)
        except TimeoutError:
            return b""
        if not heard:
            raise ConnectionResetError("the machine is gone")
        return heard


def _typed(command: str, mark: str) -> str:
    """What to type: the command in pieces of base64, run by a shell of its own between two marks."""
    encoded = base64.b64encode(command.encode()).decode("ascii")
    pieces = [encoded[start : start + _CHUNK] for start in range(0, len(encoded), _CHUNK)]
    return "".join(
        [
            "\nstty -echo -opost; c=\n",
            *(f"c=${{c}}{piece}\n" for piece in pieces),
            f"printf '%s%s%s\\n' '<' {mark} '<'; exec 4>&1; "
            # through a pipe, so that no program thinks it speaks to a terminal; 3 carries the status past it, and is
            # closed inside: what a command leaves in the background would hold it
            's=$({ { sh -c "$(printf %s $c | base64 -d)" </dev/null 2>&1 3>&- 4>&-; echo $? >&3; } | cat >&4; } 3>&1); '
            f"printf '\\n%s%s%s%d;\\n' '>' {mark} '>' $s\n",
        ]
    )
