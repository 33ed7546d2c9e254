"""QEMU's monitor: a picture of a machine's screen.

Source: QEMU's QMP reference (qmp_capabilities, add-fd, screendump). The picture is written to memory of ours: QEMU gets
no file of the host.
"""

from __future__ import annotations

import contextlib
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
_LARGEST_MESSAGE, _LARGEST_PICTURE = 1 << 20, 64 << 20  # bytes; a guest may have taken QEMU over
_NO_PICTURE = "QEMU gave no picture of the screen"


class Monitor:
    """The monitor of one machine, from before its start."""

    def __init__(self) -> None:
        self._line, self.machines_end = socket.socketpair()
        self._line.settimeout(1)
        self._heard = b""
        self._ready = False
        self._orders = 0

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
            try:
                self._run("screendump", {"filename": f"/dev/fdset/{_FDSET}", "format": "png"})
            finally:
                with contextlib.suppress(CommandError, OSError, ValueError):  # the picture is there, or why it is not
                    self._run("remove-fd", {"fdset-id": _FDSET})
            return os.pread(handle, min(os.fstat(handle).st_size, _LARGEST_PICTURE), 0)
        except OSError as error:
            raise CommandError(f"{_NO_PICTURE}: {error.strerror or error}") from error
        except ValueError as error:
            raise CommandError(f"{_NO_PICTURE}: its monitor says what is no JSON") from error
        finally:
            os.close(handle)

    def close(self) -> None:
        """Hangs up; the machine runs on."""
        self._line.close()

    def _run(self, command: str, arguments: dict[str, Any] | None = None, files: list[int] | None = None) -> None:
        """CommandError, OSError or ValueError where it cannot be done, or nobody says that it is."""
        self._orders += 1
        order = {"execute": command, "arguments": arguments or {}, "id": self._orders}
        socket.send_fds(self._line, [json.dumps(order).encode() + b"\n"], files or [])
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            answer = self._next_message()
            if answer.get("id", self._orders) != self._orders:
                continue  # to an order that was given up
            if "error" in answer:
                error = answer["error"]
                raise CommandError(f"{_NO_PICTURE}: {error.get('desc', command) if isinstance(error, dict) else error}")
            if "return" in answer:
                return
        raise CommandError(f"{_NO_PICTURE}: its monitor did not answer within {_SECONDS} s")

    def _next_message(self) -> dict[str, Any]:
        """One line of JSON; empty where none came yet."""
        while b"\n" not in self._heard:
            if len(self._heard) > _LARGEST_MESSAGE:
                raise OSError("its monitor says too much")
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
