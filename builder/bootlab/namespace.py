"""The lab's own network, mount and pid namespaces: programs started in them cannot outlive this process.

Nothing in them reaches the host's network, and the host does not reach them; their mounts are private. unshare(1)
with `--kill-child` under `setpriv --pdeathsig KILL` ends all of it even when this process gets SIGKILL.

Whatever a program writes to outside of its namespaces it gets as an open file: it needs to find nothing of the host.
"""

from __future__ import annotations

import itertools
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from builder.bootlab.walls.identity import Identity
from builder.bootlab.walls.view import View
from builder.errors import CommandError, HostError
from builder.system.run import CLEAN_ENVIRONMENT, LAST_LINES, describe_status
from builder.system.sandbox.sandbox import namespace_prefix

# The interpreter of process 1 has no installed library, and so has to be told where this program is. It cleans nothing
# up: the kernel ends the namespaces with it.
_INIT = (
    "import os, sys; sys.path.append(sys.argv.pop()); from builder.bootlab.inside import init; init.main(); os._exit(0)"
)
_HERE = str(Path(__file__).parents[2])


@dataclass(frozen=True)
class Completed:
    """A program that ran inside the lab: its exit status and everything it printed."""

    status: int
    output: str


@dataclass
class Service:
    """A program that runs inside the lab; `status` is None until it ends."""

    name: str
    pid: int
    log: Path
    status: int | None = None

    def last_lines(self) -> tuple[str, ...]:
        """The end of what it printed."""
        return tuple(self.log.read_text("utf-8", "backslashreplace").splitlines()[-LAST_LINES:])

    def describe_end(self) -> CommandError:
        """The error that says how it ended, although it was still needed, in its own last words."""
        message = f"the lab's {self.name} server ended: {describe_status(self.status or 0)}"
        return CommandError(message, "its last lines are above", self.last_lines())


class Namespace:
    """Fresh namespaces with our process 1, from `with` to the end of the block.

    Enter it in a thread that lives as long as the lab: the death signal is bound to it, prctl(2). `directory` holds
    the output of what is started. Programs see what `view` says; without it all that is mounted here.
    """

    def __init__(self, directory: Path, view: View | None = None) -> None:
        self.directory = directory
        self._view = view
        self._numbers = itertools.count(1)
        self._services: dict[str, Service] = {}
        self._pending = b""

    def __enter__(self) -> Namespace:
        plan = json.dumps(self._view and self._view.plan())
        command = [*namespace_prefix(network=False), sys.executable, "-I", "-S", "-c", _INIT, plan, _HERE]
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                command,
                env=CLEAN_ENVIRONMENT,
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        first = self._next_event(time.monotonic() + 20)
        if first is None or "started" not in first:
            reason = first["reason"] if first else self._death()
            self.__exit__(None, None, None)
            raise HostError(
                "the lab's namespaces cannot be made here", "run as root, outside a container without mounts", (reason,)
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._selector.close()
        self._orders.close()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def run(
        self, argv: Sequence[str], *, timeout: float = 60, identity: Identity | None = None, files: Sequence[int] = ()
    ) -> Completed:
        """Runs `argv` inside as `start` does, and waits for its end; CommandError where it takes too long."""
        service = self.start(f"{Path(argv[0]).name}-{next(self._numbers)}", argv, identity=identity, files=files)
        try:
            return self._finish(service, argv[0], timeout)
        finally:
            del self._services[service.name]

    def _finish(self, service: Service, program: str, timeout: float) -> Completed:
        deadline = time.monotonic() + timeout
        while service.status is None:
            if time.monotonic() > deadline:
                self.stop(service, signal.SIGKILL)
                raise CommandError(f"{program} took longer than {timeout:g} s in the lab", None, service.last_lines())
            self.poll(0.2)
        output = service.log.read_text("utf-8", "backslashreplace")
        service.log.unlink()
        return Completed(service.status, output)

    def check(self, argv: Sequence[str], *, hint: str | None = None) -> str:
        """What `argv` printed; CommandError on any exit status but 0."""
        done = self.run(argv)
        if done.status != 0:
            message = f"{' '.join(argv)}: {describe_status(done.status)}"
            raise CommandError(message, hint, tuple(done.output.splitlines()[-LAST_LINES:]), status=done.status)
        return done.output

    def start(
        self, name: str, argv: Sequence[str], *, identity: Identity | None = None, files: Sequence[int] = ()
    ) -> Service:
        """Starts `argv` inside, its output in DIRECTORY/NAME.log; CommandError when it cannot start.

        Without an identity it is root with all that root may do. `files` are its descriptors 3 and up.
        """
        log = self.directory / f"{name}.log"
        command = [*(identity.prefix if identity else ()), *argv]
        with log.open("ab") as output:
            self._send({"start": name, "argv": command, "filtered": identity is not None}, [output.fileno(), *files])
        deadline = time.monotonic() + 20
        while name not in self._services:
            event = self._next_event(deadline)
            if event is None:
                raise CommandError("the lab ended unexpectedly", None, (self._death(),))
            if event.get("failed") == name:
                raise CommandError(f"cannot start {argv[0]} in the lab: {event['reason']}")
            self._note(event, log)
        return self._services[name]

    def ended(self) -> list[Service]:
        """What was started to stay, and has ended."""
        return [service for service in self._services.values() if service.status is not None]

    def stop(self, service: Service, number: signal.Signals = signal.SIGTERM) -> None:
        """Sends a signal to a started program."""
        self._send({"kill": service.pid, "signal": int(number)}, [])

    def end(self, service: Service) -> None:
        """Kills a started program, waits for its end, and forgets it: its name is free again."""
        self.stop(service, signal.SIGKILL)
        while service.status is None:
            self.poll(0.1)
        del self._services[service.name]

    def poll(self, seconds: float) -> None:
        """Waits up to `seconds` for news of the started programs and notes them."""
        event = self._next_event(time.monotonic() + seconds)
        if event is not None:
            self._note(event, self.directory)

    def _note(self, event: dict[str, Any], log: Path) -> None:
        if "started" in event:
            self._services[event["started"]] = Service(event["started"], event["pid"], log)
        elif "ended" in event:
            self._services[event["ended"]].status = event["status"]

    def _send(self, request: dict[str, Any], files: list[int]) -> None:
        try:
            socket.send_fds(self._orders, [json.dumps(request).encode()], files)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise CommandError("the lab ended unexpectedly", None, (self._death(),)) from error

    def _next_event(self, deadline: float) -> dict[str, Any] | None:
        """The next event, or None at the deadline or when the namespaces have ended."""
        assert self._process.stdout is not None
        while b"\n" not in self._pending:
            if not self._selector.select(max(0, deadline - time.monotonic())):
                return None
            chunk = os.read(self._process.stdout.fileno(), 65536)
            if not chunk:
                return None
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        event: dict[str, Any] = json.loads(line)
        return event

    def _death(self) -> str:
        """Why the namespaces ended, as far as unshare(1) said it."""
        if self._process.poll() is None:
            return "it does not answer"
        assert self._process.stderr is not None
        return self._process.stderr.read().decode("utf-8", "backslashreplace").strip() or describe_status(
            self._process.returncode
        )
