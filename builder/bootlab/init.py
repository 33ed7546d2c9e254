"""Process 1 of a lab: starts programs on request, reports how they end, reaps whatever they leave.

Started by path (`python -I -S init.py`) inside fresh namespaces, so it imports only the standard library. Requests
and events are lines of JSON on standard input and output; namespace.py is the other end. The end of the input ends
process 1, and with it everything in its namespaces.

    {"start": NAME, "argv": [...], "output": PATH}  ->  {"started": NAME, "pid": N} or {"failed": NAME, "reason": ...}
    {"kill": PID, "signal": N}                      (only what was started here)
    when a started program ends                     ->  {"ended": NAME, "status": N as Popen.returncode has it}
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import socket
import sys
from typing import Any

_MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8
_libc = ctypes.CDLL(None, use_errno=True)
_children: dict[int, str] = {}


def _emit(**event: Any) -> None:  # noqa: ANN401 - any value that JSON can hold
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def mount_proc() -> None:
    """Shows /proc of this pid namespace; OSError when that is forbidden."""
    if _libc.mount(b"proc", b"/proc", b"proc", ctypes.c_ulong(_MS_NOSUID_NODEV_NOEXEC), None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount /proc: {os.strerror(number)}")


def start(request: dict[str, Any]) -> None:
    """Starts one program with its output in a file, in a session of its own."""
    name, argv = request["start"], request["argv"]
    try:
        with open(request["output"], "ab") as output, open(os.devnull, "rb") as null:
            pid = os.posix_spawnp(
                argv[0],
                argv,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, null.fileno(), 0),
                    (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
                ],
                setsid=True,
            )
    except OSError as error:
        _emit(failed=name, reason=error.strerror or str(error))
        return
    _children[pid] = name
    _emit(started=name, pid=pid)


def reap() -> None:
    """Reports every started program that has ended, and buries orphans silently."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        name = _children.pop(pid, None)
        if name is not None:
            _emit(ended=name, status=os.waitstatus_to_exitcode(status))


def handle(line: bytes) -> None:
    """Obeys one request."""
    request = json.loads(line)
    if "start" in request:
        start(request)
    elif request["kill"] in _children:
        os.kill(request["kill"], request["signal"])


def serve() -> None:
    """Handles requests and deaths until the input ends."""
    deaths, bell = socket.socketpair()
    bell.setblocking(False)
    signal.set_wakeup_fd(bell.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(deaths, selectors.EVENT_READ)
    pending = b""
    while True:
        ready = [key.fd for key, _ in selector.select()]
        if deaths.fileno() in ready:
            deaths.recv(4096)
            reap()
        if 0 in ready:
            chunk = os.read(0, 65536)
            if not chunk:
                return
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                handle(line)


def main() -> None:
    """Process 1."""
    os.umask(0o022)
    try:
        socket.sethostname("lab")
        mount_proc()
    except OSError as error:
        _emit(failed="namespace", reason=str(error))
        return
    _emit(started="namespace", pid=os.getpid())
    serve()


if __name__ == "__main__":
    main()
    # no clean-up: the kernel ends the namespaces with this process
    os._exit(0)
