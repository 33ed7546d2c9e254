"""QEMU's monitor: a picture of a machine's screen.

Source: QEMU's QMP reference (qmp_capabilities, add-fd, screendump). The picture is written to memory of ours: QEMU gets
no file of the host.
"""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any

from builder.errors import CommandError

# of QEMU, which has the connected socket as descriptor 5
MONITOR = ("-chardev", "socket,id=monitor,fd=5", "-mon", "chardev=monitor,mode=control", "-device", "VGA")
_SECONDS = 30
_PIECE = 1 << 16
_FDSET = 1


class Monitor:
    """The monitor of one machine, from before its start."""

    def __init__(self) -> None:
        self._line, self.machines_end = socket.socketpair()
        self._line.settimeout(1)
        self._heard = b""
        self._ready = False

    def take_picture(self) -> bytes:
        """The screen as a PNG file; CommandError where QEMU gives none."""
        handle = os.memfd_create("screen")
        try:
            if not self._ready:
                self._run("qmp_capabilities")
                self._ready = True
            writable = os.open(f"/proc/self/fd/{handle}", os.O_WRONLY)
            try:
                self._run("add-fd", {"fdset-id": _FDSET}, files=[writable])
            finally:
                os.close(writable)
            self._run("screendump", {"filename": f"/dev/fdset/{_FDSET}", "format": "png"})
            self._run("remove-fd", {"fdset-id": _FDSET})
            return os.pread(handle, os.fstat(handle).st_size, 0)
        except OSError as error:
            raise CommandError(f"QEMU gave no picture of the screen: {error.strerror or error}") from error
        finally:
            os.close(handle)

    def close(self) -> None:
        """Hangs up; the machine runs on."""
        self._line.close()

    def _run(self, command: str, arguments: dict[str, Any] | None = None, files: list[int] | None = None) -> None:
        order = json.dumps({"execute": command, "arguments": arguments or {}}).encode() + b"\n"
        socket.send_fds(self._line, [order], files or [])
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            answer = self._next_message()
            if "error" in answer:
                raise CommandError(f"QEMU gave no picture of the screen: {answer['error'].get('desc', command)}")
            if "return" in answer:
                return
        raise CommandError(f"QEMU did not answer its monitor within {_SECONDS} s")

    def _next_message(self) -> dict[str, Any]:
        """One line of JSON; empty where none came yet."""
        while b"\n" not in self._heard:
            try:
                piece = self._line.recv(_PIECE)
            except TimeoutError:
                return {}
            if not piece:
                raise OSError("it has ended")
            self._heard += piece
        line, _, self._heard = self._heard.partition(b"\n")
        message = json.loads(line)
        return message if isinstance(message, dict) else {}
