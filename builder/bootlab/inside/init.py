"""Process 1 of a lab: starts programs on request, reports how they end, reaps whatever they leave.

Started inside fresh namespaces by an interpreter without installed libraries. Requests come as packets of JSON on the
socket that is standard input, with open files; events go as lines of JSON to standard output; namespace.py is the other
end. The end of the input ends process 1, and with it everything in its namespaces.

    {"start": NAME, "argv": [...], "filtered": BOOL}  ->  {"started": NAME, "pid": N} or {"failed": NAME, "reason": ...}
        the first file becomes standard output and error, the others 3 and up; `filtered`: see calls.py
    {"kill": PID, "signal": N}                        (only what was started here)
    when a started program ends                       ->  {"ended": NAME, "status": N as Popen.returncode has it}
"""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import signal
import socket
import sys
from typing import Any

from builder.bootlab.inside.calls import deny_calls
from builder.bootlab.inside.root import lay_out_root
from builder.errors import DisklessError
from builder.system.sandbox.init import MS_NODEV, MS_NOEXEC, MS_NOSUID, mount

LONGEST_REQUEST, MOST_FILES = 1 << 18, 8
_FIRST_FREE = 3 + MOST_FILES
_children: dict[int, str] = {}


def _emit(**event: Any) -> None:  # noqa: ANN401 - any value that JSON can hold
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def start(request: dict[str, Any], files: list[int]) -> None:
    """Starts one program, in a session of its own."""
    name = request["start"]
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _become(request, files)
        except OSError as error:
            os.write(writing, (error.strerror or str(error)).encode())
        except DisklessError as error:
            os.write(writing, error.message.encode())
        finally:
            os._exit(127)
    os.close(writing)
    with open(reading, "rb") as answer:
        reason = answer.read().decode()  # nothing where the program took its place, which closed the other end
    if reason:
        os.waitpid(pid, 0)
        _emit(failed=name, reason=reason)
        return
    _children[pid] = name
    _emit(started=name, pid=pid)


def _become(request: dict[str, Any], files: list[int]) -> None:
    """Takes the program's place; OSError."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    # out of the way first: a file may have the number that another one is to get
    output, *others = (fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE) for file in files)
    for number, file in enumerate((null, output, output, *others)):
        os.dup2(file, number)
    if request["filtered"]:
        deny_calls()
    os.execvp(request["argv"][0], request["argv"])


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


def handle(packet: bytes, files: list[int]) -> None:
    """Obeys one request."""
    request = json.loads(packet)
    if "start" in request:
        start(request, files)
    elif request["kill"] in _children:
        os.kill(request["kill"], request["signal"])
    for file in files:
        os.close(file)


def serve(orders: socket.socket) -> None:
    """Handles requests and deaths until the input ends."""
    deaths, bell = socket.socketpair()
    bell.setblocking(False)
    signal.set_wakeup_fd(bell.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    selector = selectors.DefaultSelector()
    selector.register(orders, selectors.EVENT_READ)
    selector.register(deaths, selectors.EVENT_READ)
    while True:
        ready = [key.fileobj for key, _ in selector.select()]
        if deaths in ready:
            deaths.recv(4096)
            reap()
        if orders in ready:
            packet, files, _, _ = socket.recv_fds(orders, LONGEST_REQUEST, MOST_FILES, socket.MSG_CMSG_CLOEXEC)
            if not packet:
                return
            handle(packet, files)


def main() -> None:
    """Process 1, until the input ends. Its argument is the plan of a root directory, or null: it keeps the host's."""
    os.umask(0o022)
    plan = json.loads(sys.argv[1])
    try:
        socket.sethostname("lab")
        if plan is None:
            mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        else:
            lay_out_root(plan)
    except OSError as error:
        _emit(failed="namespace", reason=str(error))
        return
    _emit(started="namespace", pid=os.getpid())
    serve(socket.socket(fileno=0))
