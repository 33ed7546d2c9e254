"""Both serial ports of a machine: what it says on the first is written to a file, the second leads to its root shell.

QEMU has the other ends, and no file: one on the host's disk would be a way to all of it for an NFS server that was
taken over, which may open files by handle.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from builder.bootlab.machine.shell import DebugShell
from builder.bootlab.namespace import Service
from builder.bootlab.settings import CONSOLE_BYTES

# of QEMU, which has the connected sockets as descriptors 3 and 4
SERIAL_PORTS = (
    *("-chardev", "socket,id=console,fd=3", "-serial", "chardev:console"),
    *("-chardev", "socket,id=shell,fd=4", "-serial", "chardev:shell"),
)
_PIECE = 1 << 16


class SerialPorts:
    """The ports of one machine, from before its start to after its end; what was in the file `console` is gone.

    more: further sockets' ends that QEMU gets, as descriptors 5 and up
    on_output: hears what the machine says, as it comes, in a thread of its own
    """

    def __init__(self, console: Path, more: Sequence[socket.socket] = ()) -> None:
        self._file = console.open("wb", buffering=0)
        self._console, self._consoles_end = socket.socketpair()
        line, self._shells_end = socket.socketpair()
        self.shell = DebugShell(line)
        self._more = more
        self.on_output: Callable[[bytes], None] = lambda said: None
        self._recorder = threading.Thread(target=self._record, daemon=True)

    def connect(self, start: Callable[[Sequence[int]], Service]) -> Service:
        """Starts QEMU, which `start` gives its ends of the ports."""
        try:
            with self._consoles_end, self._shells_end:
                ends = [self._consoles_end, self._shells_end, *self._more]
                service = start([end.fileno() for end in ends])
        except BaseException:
            self.close()
            raise
        for end in self._more:
            end.close()
        self._recorder.start()
        return service

    def type(self, keys: bytes) -> None:
        """Sends what somebody types to the first port; OSError where the machine is gone."""
        self._console.sendall(keys)

    def finish(self) -> None:
        """Waits until all is in the file that a machine said that is switched off."""
        if self._recorder.is_alive():
            self._recorder.join()

    def close(self) -> None:
        """Unplugs them, whether the machine still runs or not."""
        self.shell.close()
        with contextlib.suppress(OSError):  # it hung up first
            self._console.shutdown(socket.SHUT_RDWR)
        self.finish()
        self._console.close()
        self._file.close()

    def _record(self) -> None:
        """Writes as much as is allowed; the rest is read too, for a machine waits until what it says is heard."""
        room = CONSOLE_BYTES
        while said := self._console.recv(_PIECE):
            self._file.write(said[:room])
            room -= len(said[:room])
            self.on_output(said)
