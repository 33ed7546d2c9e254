"""Which port mountd is told to take: nfs.conf(5), and what Debian's services gave it before there was that file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from builder.probes.configured.directive import Directive, below, read_configuration
from builder.render.server.services import MOUNTD_PORT, NFS_CONF_FILE

_MAIN, _DIRECTORY = "/etc/nfs.conf", "/etc/nfs.conf.d"
_DEBIAN = "/etc/default/nfs-kernel-server"


def other_mountd_port(prefix: Path) -> Directive | None:
    """The line that gives mountd another port than we would; None where none does."""
    found = [one for one in _ports(prefix) if one.value != str(MOUNTD_PORT)]
    return found[-1] if found else None


def _ports(prefix: Path) -> Iterator[Directive]:
    yield from _debian_port(prefix)
    place = below(prefix, _DIRECTORY)
    names = sorted(entry.name for entry in place.iterdir()) if place.is_dir() else []
    drop_ins = [f"{_DIRECTORY}/{name}" for name in names if name.endswith(".conf") and not name.startswith(".")]
    for path in (_MAIN, *drop_ins):
        if path == NFS_CONF_FILE:
            continue
        section = ""
        for number, raw in enumerate((read_configuration(prefix, path) or "").split("\n"), 1):
            line = re.sub(r"[#;].*", "", raw).strip()
            head = re.fullmatch(r'\[\s*([\w-]+)(?:\s+"[^"]*")?\s*\]', line)
            section = head[1].lower() if head else section
            name, equals, value = (part.strip() for part in line.partition("="))
            if equals and section == "mountd" and name.lower() == "port" and value not in ("", "0"):
                yield Directive(path, number, "port", value)


def _debian_port(prefix: Path) -> Iterator[Directive]:
    for number, line in enumerate((read_configuration(prefix, _DEBIAN) or "").split("\n"), 1):
        found = re.match(r"\s*RPCMOUNTDOPTS=.*(?:--port[ =]|-p ?)([0-9]+)", line)
        if found is not None:
            yield Directive(_DEBIAN, number, "RPCMOUNTDOPTS", found[1])
