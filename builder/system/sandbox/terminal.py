"""A terminal of a sandbox's own, shown in ours: what runs inside can type nothing into the shell that called us.

Sources: pty(7), termios(3), tty_ioctl(4).
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import IO

from builder.errors import HostError
from builder.system.run import CLEAN_ENVIRONMENT

# the command, and the open files that it takes; told the socket through which it sends its terminal, None: no terminal
Start = Callable[[int | None], AbstractContextManager[tuple[list[str], tuple[int, ...]]]]
_CHUNK = 1 << 16


def attach(start: Start, environment: Mapping[str, str]) -> int:
    """Runs a sandbox's command with our input and output, and returns its exit status as a shell would."""
    if not os.isatty(0):
        return _attach_pipes(start, environment)
    ours, theirs = socket.socketpair()
    with ours, start(theirs.fileno()) as (argv, files):
        process = _start(argv, files, environment, output=None)
        theirs.close()
        try:
            outer = _received(ours)
            if outer is not None:
                with open(outer, "r+b", buffering=0) as terminal:
                    _show(terminal.fileno())
        finally:
            status = _ended(process)
    return status


def _attach_pipes(start: Start, environment: Mapping[str, str]) -> int:
    """Input as it is; no output of ours that is a terminal gets inside."""
    with start(None) as (argv, files):
        outputs = [None if not os.isatty(handle) else subprocess.PIPE for handle in (1, 2)]
        process = _start(argv, files, environment, output=(outputs[0], outputs[1]))
        copies = [
            threading.Thread(target=_copy, args=(source, target))
            for source, target in ((process.stdout, 1), (process.stderr, 2))
            if source is not None
        ]
        try:
            for thread in copies:
                thread.start()
            process.wait()
        finally:
            status = _ended(process)
            for thread in copies:
                thread.join()
    return status


def _start(
    argv: list[str],
    files: tuple[int, ...],
    environment: Mapping[str, str],
    *,
    output: tuple[int | None, int | None] | None,
) -> subprocess.Popen[bytes]:
    """With a terminal of its own it has none of our files but what it says before that is there."""
    try:
        return subprocess.Popen(
            argv,
            env={**CLEAN_ENVIRONMENT, **environment},
            stdin=subprocess.DEVNULL if output is None else None,
            stdout=None if output is None else output[0],
            stderr=None if output is None else output[1],
            pass_fds=files,
        )
    except OSError as error:
        raise HostError(f"cannot start {argv[0]}: {error.strerror}") from error


def _ended(process: subprocess.Popen[bytes]) -> int:
    if process.poll() is None and sys.exc_info()[0] is not None:
        process.kill()
    status = process.wait()
    return status if status >= 0 else 128 - status


def _received(channel: socket.socket) -> int | None:
    """The terminal's outer end; None where the sandbox ended before it had one."""
    _, controls, _, _ = channel.recvmsg(1, socket.CMSG_SPACE(array.array("i").itemsize))
    for level, kind, data in controls:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            (handle,) = array.array("i", data)
            os.set_inheritable(handle, False)
            return handle
    return None


def _copy(source: IO[bytes], target: int) -> None:
    while data := os.read(source.fileno(), _CHUNK):
        os.write(target, data)


def _show(terminal: int) -> None:
    """Copies both ways until the other side is closed; our terminal is raw meanwhile, and has its size told."""
    with _raw(), _size_told(terminal):
        sources = [0, terminal]
        while True:
            ready, _, _ = select.select(sources, [], [])
            if terminal in ready:
                try:
                    data = os.read(terminal, _CHUNK)
                except OSError:  # EIO: nobody has the inner end any more
                    return
                if not data:
                    return
                os.write(1, data)
            if 0 in ready:
                data = os.read(0, _CHUNK)
                if data:
                    os.write(terminal, data)
                else:
                    sources.remove(0)


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0, termios.TCSADRAIN)  # what was typed ahead stays
        yield
    finally:
        termios.tcsetattr(0, termios.TCSAFLUSH, before)  # what the terminal answered to programs inside goes


@contextlib.contextmanager
def _size_told(terminal: int) -> Iterator[None]:
    def tell(*_: object) -> None:
        with contextlib.suppress(OSError):
            size = fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)

    before = signal.signal(signal.SIGWINCH, tell)
    tell()
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
