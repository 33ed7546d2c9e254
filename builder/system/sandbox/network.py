"""Which network a sandbox has: none, the host's own, or one that leads out through pasta(1) and not to the host.

pasta speaks for the sandbox from a process without privileges, as QEMU's user network does. Nothing is forwarded from
or to the host's 127.0.0.1, and abstract sockets are the sandbox's own. Names are asked of whoever the host asks, also
where that listens on the host's 127.0.0.53.
"""

from __future__ import annotations

import contextlib
import enum
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.errors import HostError
from builder.system.run import CLEAN_ENVIRONMENT, Tool, install_hint

PASTA = Tool("pasta", "passt", "passt")
NAME_SERVER = "169.254.53.53"  # of no network: pasta takes what is sent there to the host's own
_OPTIONS = (
    *("--config-net", "--foreground", "--quiet", "--no-map-gw", "--dns-forward", NAME_SERVER),
    *("-t", "none", "-u", "none", "-T", "none", "-U", "none"),
)
_TUN = Path("/dev/net/tun")
_SECONDS, _BETWEEN = 20, 0.02
_DEATH = ("setpriv", "--pdeathsig", "KILL")


class NetworkAccess(enum.StrEnum):
    """What a sandbox reaches; HOST is for our own fetching, never for what a recipe brings."""

    NONE = "none"
    HOST = "host"
    OUTSIDE = "outside"


@dataclass(frozen=True)
class Attached:
    """A network that is there.

    prefix: how to start in it; empty: as sandbox.namespace_prefix
    files: open files that this takes
    resolver: the resolv.conf that fits it, None: another one
    """

    prefix: tuple[str, ...] = ()
    files: tuple[int, ...] = ()
    resolver: str | None = None


def require_outside() -> None:
    """HostError where OUTSIDE is not to be had here."""
    if PASTA.find() is None:
        raise HostError("a script with `network: true` reaches the network through pasta", install_hint([PASTA]))
    # pasta opens it without any privilege
    if not _TUN.exists() or not _TUN.stat().st_mode & 0o006:
        hint = f"chmod 0666 {_TUN}, as udev has it; where it is missing: modprobe tun, in a container --device {_TUN}"
        raise HostError(f"a script with `network: true` needs {_TUN}, which is not open to everybody", hint)


@contextlib.contextmanager
def outside_network(network: NetworkAccess) -> Iterator[Attached]:
    """Starts pasta where it is asked for, and ends it; HostError where it is missing or finds no network."""
    if network is not NetworkAccess.OUTSIDE:
        yield Attached()
        return
    require_outside()
    program = PASTA.find() or PASTA.name
    # without capabilities: pasta, which gives up most of its own, may then still look at it, ptrace(2)
    powerless = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    hold = [*_DEATH, "unshare", "--net", *powerless, "sh", "-c", "echo; exec cat"]
    with subprocess.Popen(
        hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=CLEAN_ENVIRONMENT, start_new_session=True
    ) as holder:
        assert holder.stdout is not None
        try:
            if not holder.stdout.readline():
                raise HostError("a network of its own is refused", "`diskless doctor` says why")
            handle = os.open(f"/proc/{holder.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            with open(handle, "rb"), _pasta(program, holder.pid):
                prefix = (*_DEATH, "nsenter", f"--net=/proc/self/fd/{handle}", "unshare", "--mount", "--pid", "--ipc")
                rest = ("--uts", "--cgroup", "--fork", "--kill-child", "--propagation", "private", "--")
                yield Attached((*prefix, *rest), (handle,), f"nameserver {NAME_SERVER}\n")
        finally:
            holder.kill()


@contextlib.contextmanager
def _pasta(program: str, pid: int) -> Iterator[None]:
    """Runs it for the network namespace of a process, from when it is set up."""
    argv = [*_DEATH, program, *_OPTIONS, "--netns-only", "--netns", f"/proc/{pid}/ns/net"]
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=CLEAN_ENVIRONMENT,
        start_new_session=True,
    ) as process:
        try:
            _await(process, Path(f"/proc/{pid}/net"))
            yield
        finally:
            process.kill()


def _await(process: subprocess.Popen[bytes], net: Path) -> None:
    """Waits until there is a route."""
    deadline = time.monotonic() + _SECONDS
    while not _has_route(net):
        if process.poll() is not None:
            assert process.stderr is not None
            said = process.stderr.read().decode("utf-8", "replace").splitlines()
            hint = "it takes the host's addresses and routes: see `ip route`; or leave out `network: true`"
            raise HostError("pasta makes no network for the script", hint, tuple(said[-5:]))
        if time.monotonic() > deadline:
            raise HostError(f"pasta made no network in {_SECONDS} s", "see `ip route`")
        time.sleep(_BETWEEN)


def _has_route(net: Path) -> bool:
    with contextlib.suppress(OSError):
        default4 = [line.split()[1] for line in (net / "route").read_text("ascii").splitlines()[1:]]
        six = [line.split() for line in (net / "ipv6_route").read_text("ascii").splitlines()]
        default6 = [words for words in six if words[1] == "00" and words[-1] != "lo"]
        return "00000000" in default4 or bool(default6)
    return False
