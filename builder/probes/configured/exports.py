"""What the kernel's NFS server exports already: /etc/exports and /etc/exports.d.

Source: exports(5); xtab_read of nfs-utils, where one fsid=0 ends the root that NFSv4 clients otherwise
find made for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from builder.errors import InputError
from builder.model.share import ServedStore, Share
from builder.probes.configured.directive import Directive, below, continued_lines, read_configuration
from builder.render.server.comments import store_in_heading
from builder.render.server.services import exports_path

_MAIN, _DIRECTORY, _SUFFIX = "/etc/exports", "/etc/exports.d", ".exports"
_ROOT = "0"


@dataclass(frozen=True)
class ExportedDirectory:
    """One line of exports: `numbers` are its fsid=, root as 0; `store` whose it is of those this program wrote."""

    directive: Directive
    path: str
    numbers: tuple[str, ...]
    store: str | None = None

    @property
    def text(self) -> str:
        """The line with its place and owner, for people."""
        whose = f", of the store {self.store}" if self.store else ""
        return f"{self.directive.place}: {self.path} {self.directive.value or ''}{whose}"


def read_exports(prefix: Path) -> tuple[ExportedDirectory, ...]:
    """Every line, in the order in which exportfs(8) reads them. HostError where a file cannot be read."""
    place = below(prefix, _DIRECTORY)
    names = sorted(entry.name for entry in place.iterdir()) if place.is_dir() else []
    own = [f"{_DIRECTORY}/{name}" for name in names if name.endswith(_SUFFIX) and not name.startswith(".")]
    return tuple(line for path in (_MAIN, *own) for line in _lines(prefix, path))


def fit_exports(prefix: Path, store: ServedStore, *, exported: bool, nfs4: bool) -> ServedStore:
    """A store whose numbers nobody else has: those that it has, or where it was never exported here, free ones.

    `nfs4`: whether clients mount NFSv4. InputError with the line that is in the way.
    """
    others = [one for one in read_exports(prefix) if one.directive.file != exports_path(store.name)]
    _refuse_paths(others, store)
    _refuse_root(others, nfs4=nfs4)
    taken = {number: one for one in others for number in one.numbers}
    clashing = [share for share in store.shares if str(share.fsid) in taken]
    for share in clashing:
        if exported or not share.holds:  # of 0.1, whose numbers are in what its clients hold
            raise InputError(
                f"{taken[str(share.fsid)].text}: the fsid {share.fsid} is that of {store.path}/{share.path}, which "
                "clients know it by",
                "give the directory in that line another fsid; its own clients have to mount it again",
            )
    return replace(store, shares=_renumbered(store.shares, taken))


def _renumbered(shares: Sequence[Share], taken: Mapping[str, ExportedDirectory]) -> tuple[Share, ...]:
    used = {int(number) for number in taken if number.isdecimal()} | {share.fsid for share in shares}
    renumbered = []
    for share in shares:
        if str(share.fsid) in taken:
            free = next(number for number in range(max(used) + 1, 1 << 17) if number not in used)
            used.add(free)
            share = replace(share, fsid=free)
        renumbered.append(share)
    return tuple(renumbered)


def _refuse_paths(others: Sequence[ExportedDirectory], store: ServedStore) -> None:
    own = {f"{store.path}/{share.path}" for share in store.shares}
    for one in others:
        if one.path in own:
            raise InputError(
                f"{one.text}: that directory is exported already, with other options",
                "remove that line: this program writes one for it",
            )


def _refuse_root(others: Sequence[ExportedDirectory], *, nfs4: bool) -> None:
    for one in others:
        if _ROOT in one.numbers and one.path != "/" and nfs4:
            raise InputError(
                f"{one.text}: with fsid=0 NFSv4 clients see nothing but what lies below {one.path}, and not the store",
                "take fsid=0 (or fsid=root) out of that line: its clients then mount it by its whole path; or have "
                "root.nfs.version: 3 in every recipe",
            )


def _lines(prefix: Path, path: str) -> Iterator[ExportedDirectory]:
    text = read_configuration(prefix, path) or ""
    store = store_in_heading(text)
    for number, raw in continued_lines(text):
        line = raw.strip()
        words = re.match(r'(?:"([^"]*)"|([^\s#]\S*))\s*(.*)', line)
        if words is not None and not line.startswith("#"):
            clients = re.sub(r"\s#.*", "", words[3]).strip()
            where = _directory(words[1] if words[1] is not None else words[2])
            yield ExportedDirectory(Directive(path, number, where, clients), where, _numbers(clients), store)


def _directory(text: str) -> str:
    """A path without the octal escapes of exports(5)."""
    return str(PurePosixPath(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)))


def _numbers(clients: str) -> tuple[str, ...]:
    found = re.findall(r"(?:^-|[(,])fsid=([^,)\s]+)", clients)
    return tuple("0" if text == "root" else text.removeprefix("0x") for text in found)
