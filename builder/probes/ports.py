"""Which programs of this host have a UDP port, from the kernel: proc(5)."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class PortHolder:
    """A program that has bound a port; `name` is empty where it is another user's and nobody says."""

    name: str
    pid: int | None


def udp_port_holders(port: int) -> list[PortHolder]:
    """The programs that have a UDP port on any address of IPv4 or IPv6, the lowest process first."""
    sockets = set()
    for table in ("net/udp", "net/udp6"):
        with contextlib.suppress(OSError):
            for line in (_PROC / table).read_text("ascii").splitlines()[1:]:
                words = line.split()
                if int(words[1].rpartition(":")[2], 16) == port:
                    sockets.add(words[9])
    if not sockets:
        return []
    holders = dict(_processes(sockets))
    return [PortHolder(holders[pid], pid) for pid in sorted(holders)] or [PortHolder("", None)]


def _processes(sockets: set[str]) -> list[tuple[int, str]]:
    found = []
    for process in _PROC.iterdir():
        if not process.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            links = [re.fullmatch(r"socket:\[([0-9]+)\]", str(link.readlink())) for link in (process / "fd").iterdir()]
            if any(link is not None and link[1] in sockets for link in links):
                found.append((int(process.name), (process / "comm").read_text("utf-8", "replace").strip()))
    return found
