"""The one place that starts processes. Everything they print goes to the build log."""

from __future__ import annotations

import collections
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from builder.distributions.table import DISTRIBUTIONS
from builder.errors import CommandError, HostError
from builder.model.recipe import DistributionName

LAST_LINES = 20
_MOST_CAPTURED = 256 << 20  # bytes: it may be a program of the image
_DISK_FULL = "No space left on device"  # strerror(ENOSPC) in the locale that commands get
_ENGLISH = {"LC_ALL": "C.UTF-8", "LANGUAGE": "C"}  # gettext obeys LANGUAGE in C.UTF-8 too
CLEAN_ENVIRONMENT = {
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TERM": "dumb",
}


class Tool:
    """A program the host must have, and the package that has it on Debian and on Arch; None: no repository has it."""

    def __init__(self, name: str, debian: str, arch: str | None) -> None:
        self.name = name
        self.packages = {DistributionName.DEBIAN: debian, DistributionName.ARCH: arch}

    def find(self) -> str | None:
        """Its path, or None; sbin is searched whatever the user's PATH says."""
        return shutil.which(self.name, path=CLEAN_ENVIRONMENT["PATH"])


def require_tools(tools: Iterable[Tool]) -> None:
    """Raises HostError that names every missing tool at once, with the command that installs them all."""
    missing = [tool for tool in tools if tool.find() is None]
    if missing:
        raise HostError(f"missing programs: {', '.join(sorted(tool.name for tool in missing))}", install_hint(missing))


def install_hint(tools: Iterable[Tool]) -> str:
    """The commands that install tools on each distribution, and what one of them does not have."""
    tools = list(tools)
    parts = []
    for name, distro in DISTRIBUTIONS.items():
        known = [tool for tool in tools if name in tool.packages]
        packages = " ".join(sorted({package for tool in known if (package := tool.packages[name]) is not None}))
        absent = ", ".join(sorted({tool.name for tool in known if tool.packages[name] is None}))
        words = [f"{distro.install} {packages}" if packages else "", f"no repository has {absent}" if absent else ""]
        if known:
            parts.append(f"{distro.title}: {', and '.join(filter(None, words))}")
    return "; ".join(parts)


class Runner:
    """Runs commands one at a time with a clean environment, writing each and its output to a log file.

    `on_line` hears every command as `$ ...` and every line that it prints, as they come. A command is killed when the
    caller is interrupted.
    """

    def __init__(self, log: Path, on_line: Callable[[str], None] = lambda line: None) -> None:
        self.log_path = log
        self._log: IO[str] = open(log, "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 - closed in __exit__
        self._on_line = on_line

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()

    def position(self) -> int:
        """Where the log ends now, for `since`."""
        self._log.flush()
        return self.log_path.stat().st_size

    def since(self, position: int) -> list[str]:
        """The lines of the log from a position on: all that commands printed, not only their last lines."""
        self._log.flush()
        with self.log_path.open("rb") as log:
            log.seek(position)
            return log.read().decode("utf-8", "replace").splitlines()

    def say(self, text: str) -> None:
        """Writes one line of ours into the log."""
        self._log.write(f"# {text}\n")
        self._log.flush()

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        name: str | None = None,
        capture: bool = False,
        hint: str | None = None,
        log_output: bool = True,
        files: Sequence[int] = (),
    ) -> str:
        """Runs `argv` and returns its standard output if `capture`, else everything it printed.

        Raises CommandError (last lines, log path, `hint`) on any exit status but 0; HostError if it cannot start.
        `name` is what errors call the command when `argv` is wrapped in something else; it keeps `files` open.
        """
        label = name or argv[0]
        started = f"$ {shlex.join(argv) if name is None else name}"
        self._log.write(f"{started}\n")
        self._log.flush()
        self._on_line(started)
        environment = {**CLEAN_ENVIRONMENT, **(env or {})}
        with tempfile.TemporaryFile() as captured:
            process = _start(argv, environment, captured if capture else None, files)
            last = self._follow(process, log_output)
            status = process.returncode
            if status != 0:
                last = self._add_captured(captured, last, log_output)
                self._log.write(f"# {label}: {describe_status(status)}\n")
                if any(_DISK_FULL in line for line in last):
                    raise HostError(f"{label}: the disk is full", "free some space, see `df -h`", tuple(last))
                raise CommandError(f"{label}: {describe_status(status)}", hint, tuple(last), status=status)
            if capture:
                if captured.seek(0, os.SEEK_END) > _MOST_CAPTURED:
                    raise CommandError(f"{label}: it printed more than {_MOST_CAPTURED >> 20} MiB", hint, tuple(last))
                captured.seek(0)
                return captured.read().decode("utf-8", "surrogateescape")
        return "\n".join(last)

    def _add_captured(self, captured: IO[bytes], last: Sequence[str], log_output: bool) -> collections.deque[str]:
        """What a failed command wrote for its caller may say why: it goes into the log, and before its errors."""
        captured.seek(0)
        lines = captured.read().decode("utf-8", "backslashreplace").splitlines()
        if log_output:
            self._log.writelines(f"{line}\n" for line in lines)
        return collections.deque([*lines, *last], maxlen=LAST_LINES)

    def _follow(self, process: subprocess.Popen[bytes], log_output: bool) -> collections.deque[str]:
        last: collections.deque[str] = collections.deque(maxlen=LAST_LINES)
        stream = process.stderr if process.stdout is None else process.stdout
        assert stream is not None
        try:
            for raw in stream:
                line = raw.decode("utf-8", "backslashreplace").rstrip("\r\n").rpartition("\r")[2]
                if log_output:
                    self._log.write(line + "\n")
                last.append(line)
                self._on_line(line)
            process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            stream.close()
            self._log.flush()
        return last


def _start(
    argv: Sequence[str], environment: Mapping[str, str], captured: IO[bytes] | None, files: Sequence[int]
) -> subprocess.Popen[bytes]:
    try:
        # a session of its own: Ctrl-C reaches only us, and we end the command in order
        return subprocess.Popen(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if captured is None else captured,
            stderr=subprocess.STDOUT if captured is None else subprocess.PIPE,
            start_new_session=True,
            pass_fds=files,
        )
    except OSError as error:
        raise HostError(f"cannot start {argv[0]}: {error.strerror}") from error


def describe_status(status: int) -> str:
    """Says an exit status in words: `exit status 3`, `killed by SIGKILL`."""
    number = -status if status < 0 else status - 128
    if status < 0 or status > 128:
        try:
            return f"killed by {signal.Signals(number).name}"
        except ValueError:
            pass
    return f"exit status {status}"


def run_filter(argv: Sequence[str], data: bytes, env: Mapping[str, str]) -> tuple[int, bytes, bytes]:
    """Runs a small program on `data`: exit status, standard output, standard error; nothing of it is logged.

    It speaks English, whatever language the user's `env` is in.

    HostError if it cannot start.
    """
    try:
        done = subprocess.run(argv, input=data, env={**env, **_ENGLISH}, capture_output=True, check=False)
    except OSError as error:
        raise HostError(f"cannot start {argv[0]}: {error.strerror}") from error
    return done.returncode, done.stdout, done.stderr
