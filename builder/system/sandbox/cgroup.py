"""A control group of a sandbox's own, where the one that this process is in was handed to it: its end ends all in it.

Where it was not, nothing is made: what systemd has not delegated is systemd's.

Sources: cgroups(7), and systemd's CGROUP_DELEGATION, by which a delegated group belongs to its user, or has the
attribute user.delegate or trusted.delegate.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from builder.system.userns.ids import CALLER

_TOP = Path("/sys/fs/cgroup")
_PREFIX = "diskless-"
_ENTER = 'echo $$ >"$0/cgroup.procs" && exec "$@"'
_TRIES, _BETWEEN = 100, 0.02


@contextlib.contextmanager
def own_cgroup() -> Iterator[tuple[str, ...]]:
    """The words that start a command in a group of its own, which is killed afterwards; none where there is none."""
    above = _delegated()
    group = None if above is None else _made(above)
    if group is None:
        yield ()
        return
    try:
        yield ("sh", "-c", _ENTER, str(group))
    finally:
        with contextlib.suppress(OSError):
            (group / "cgroup.kill").write_text("1", "ascii")
        _remove(group)


def _delegated() -> Path | None:
    """The group of this process, if it is ours to divide."""
    lines = Path("/proc/self/cgroup").read_text("utf-8").splitlines()
    names = [line.removeprefix("0::/") for line in lines if line.startswith("0::/")]
    if not names or not (_TOP / names[0] / "cgroup.procs").exists():
        return None
    group = _TOP / names[0]
    if group.stat().st_uid == CALLER and not _caller_is_root():
        return group
    for attribute in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(group, attribute) == b"1":
                return group
    return None


def _caller_is_root() -> bool:
    lines = [line.split() for line in Path("/proc/self/uid_map").read_text("ascii").splitlines()]
    return any((int(inside), int(outside)) == (CALLER, 0) for inside, outside, _ in lines)


def _made(above: Path) -> Path | None:
    """A new group; those of builds that were killed go, as far as nobody is in them."""
    for left in above.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            left.rmdir()
    group = above / f"{_PREFIX}{secrets.token_hex(4)}"
    with contextlib.suppress(OSError):
        group.mkdir()
        return group
    return None


def _remove(group: Path) -> None:
    """Once the kernel has ended all that is in it."""
    for _ in range(_TRIES):
        try:
            group.rmdir()
        except OSError:
            time.sleep(_BETWEEN)
        else:
            return
