"""What apt prints and takes, and what stands in a package file: apt-get(8), sources.list(5), deb(5)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from pathlib import Path

from builder.errors import AuditError
from builder.model.recipe import DebianDistribution

AR_MAGIC = b"!<arch>\n"  # how a package file begins, deb(5)


def printed_files(printed: str) -> list[list[str]]:
    """What --print-uris says of each file: its URL in quotes, which may hold spaces and quotes, name, size, digest."""
    return [list(found) for found in re.findall(r"^('.*') (\S+) (\d+) ?(\S*)$", printed, re.MULTILINE)]


def copied(url: str) -> str:
    """Apt takes files of file:// where they lie; those of copy:// go into the cache, sources.list(5)."""
    return f"copy:{url.removeprefix('file:')}" if url.startswith("file:") else url


def sources_key(distribution: DebianDistribution) -> str:
    """A name for what apt keeps of the sources of one recipe."""
    return hashlib.sha256(repr(distribution).encode()).hexdigest()[:16]


def build_date(deb: Path) -> int:
    """When a package was built, seconds: the time in the first member header of the .deb, ar(5), deb(5)."""
    with deb.open("rb") as file:
        header = file.read(len(AR_MAGIC) + 60)
    stamp = header[len(AR_MAGIC) + 16 : len(AR_MAGIC) + 28]
    if not header.startswith(AR_MAGIC) or not stamp.strip().isdigit():
        raise AuditError(f"{deb.name} is not a Debian package")
    return int(stamp)


def providers(available: str, names: Collection[str]) -> dict[str, list[str]]:
    """The packages that provide each of the names that some provide, from what `apt-cache dumpavail` prints."""
    found: dict[str, set[str]] = {}
    package = ""
    for line in available.splitlines():
        field, _, value = line.partition(": ")
        if field == "Package":
            package = value
        elif field == "Provides":
            for name in {clause.split()[0] for clause in value.split(",")}.intersection(names):
                found.setdefault(name, set()).add(package)
    return {name: sorted(packages) for name, packages in found.items()}


def version_in(said: str) -> str:
    """The version in what a program prints of itself, which names its architecture or copyright too."""
    found = re.search(r"\d[\w.~+-]*", said)
    return found[0].rstrip(".") if found else said.strip()[:40]
