"""Where the bytes of an image are: by package, by directory, by kind. Pure sums over the index."""

from __future__ import annotations

import collections
import enum
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from builder.model.artifacts.index import FILE, SYMLINK, FileRecord

GENERATED = "made by the build"
_SMALLEST_SHARE = 0.004  # of the whole: what is smaller is put together
_DEEPEST = 7
_WANTS = re.compile(r"etc/systemd/system/[^/]+\.(?:wants|requires)/([^/]+)")
_UNIT = re.compile(r"etc/systemd/system/([^/]+\.\w+)")


class FileUse(enum.StrEnum):
    """What files are for, by where they lie."""

    KERNEL = "kernel, modules, firmware"
    LIBRARIES = "libraries"
    PROGRAMS = "programs"
    DATA = "data"
    DOCUMENTS = "documents, translations"
    STATE = "package database, state"
    OTHER = "other"


_KINDS = (
    (FileUse.KERNEL, re.compile(r"boot/|usr/lib/(modules|firmware)/")),
    (FileUse.DOCUMENTS, re.compile(r"usr/share/(doc|man|info|locale|help|gtk-doc|i18n)/|usr/lib/locale/")),
    (FileUse.PROGRAMS, re.compile(r"usr/(local/)?(bin|sbin|games|libexec)/|opt/")),
    (FileUse.LIBRARIES, re.compile(r"usr/(local/)?lib(32|64|x32)?/")),
    (FileUse.DATA, re.compile(r"usr/share/|srv/|usr/include/|usr/src/")),
    (FileUse.STATE, re.compile(r"var/")),
)


@dataclass(frozen=True)
class Box:
    """A part of the image: bytes, what most of it is, and its own parts, the largest first."""

    name: str
    size: int
    kind: FileUse
    inner: tuple[Box, ...] = ()


def kind_of(path: str) -> FileUse:
    """What a file is for."""
    return next((kind for kind, pattern in _KINDS if pattern.match(path)), FileUse.OTHER)


def sum_kinds(files: Iterable[FileRecord]) -> dict[FileUse, int]:
    """Bytes by kind, the most first."""
    sums: collections.Counter[FileUse] = collections.Counter()
    for file in files:
        sums[kind_of(file.path)] += file.size
    return {kind: size for kind, size in sums.most_common() if size}


def package_boxes(files: Iterable[FileRecord], owners: Mapping[str, str]) -> tuple[Box, ...]:
    """One box a package; `owners` is package by path. What no package brought was made by the build."""
    kinds: dict[str, collections.Counter[FileUse]] = collections.defaultdict(collections.Counter)
    for file in files:
        if file.type == FILE:
            kinds[owners.get(file.path, GENERATED)][kind_of(file.path)] += file.size
    boxes = [Box(name, sum(sums.values()), sums.most_common(1)[0][0]) for name, sums in kinds.items()]
    return _sorted(box for box in boxes if box.size)


def directory_boxes(files: Iterable[FileRecord]) -> tuple[Box, ...]:
    """Boxes in boxes, by directory; small ones and deep ones are put together."""
    sizes: collections.Counter[tuple[str, ...]] = collections.Counter()
    for file in files:
        if file.type == FILE:
            sizes[tuple(file.path.split("/")[:-1])] += file.size
    return _inner_boxes(sizes, (), sum(sizes.values()))


def _inner_boxes(sizes: Mapping[tuple[str, ...], int], place: tuple[str, ...], whole: int) -> tuple[Box, ...]:
    groups: dict[str, dict[tuple[str, ...], int]] = collections.defaultdict(dict)
    own = 0
    for path, size in sizes.items():
        if len(path) == len(place):
            own += size
        else:
            groups[path[len(place)]][path] = size
    boxes, small = [], own
    for name, group in groups.items():
        total, inner = sum(group.values()), _shared((*place, name), group)
        if total < whole * _SMALLEST_SHARE:
            small += total
            continue
        deeper = _inner_boxes(group, inner, whole) if len(inner) < _DEEPEST else ()
        boxes.append(Box("/" + "/".join(inner), total, _main_kind(group), deeper if len(deeper) > 1 else ()))
    if small and boxes:
        boxes.append(Box(f"/{'/'.join([*place, 'others'])}", small, kind_of("/".join([*place, "x"]))))
    return _sorted(boxes)


def _shared(place: tuple[str, ...], group: Mapping[tuple[str, ...], int]) -> tuple[str, ...]:
    """The deepest directory that holds all of a group, so that no box has only one box in it."""
    depth = len(place)
    while len({path[: depth + 1] for path in group}) == 1 and all(len(path) > depth for path in group):
        depth += 1
    return next(iter(group))[:depth]


def _main_kind(group: Mapping[tuple[str, ...], int]) -> FileUse:
    sums: collections.Counter[FileUse] = collections.Counter()
    for path, size in group.items():
        sums[kind_of("/".join([*path, "x"]))] += size
    return sums.most_common(1)[0][0]


def _sorted(boxes: Iterable[Box]) -> tuple[Box, ...]:
    return tuple(sorted(boxes, key=lambda box: (-box.size, box.name)))


def enabled_units(files: Iterable[FileRecord]) -> tuple[str, ...]:
    """Units that are enabled, by systemd's links for them, sorted."""
    found = {match[1] for file in files if file.type == SYMLINK and (match := _WANTS.fullmatch(file.path))}
    return tuple(sorted(found))


def masked_units(files: Iterable[FileRecord]) -> tuple[str, ...]:
    """Units that can never start, sorted."""
    links = (file for file in files if file.type == SYMLINK and file.link == "/dev/null")
    return tuple(sorted(match[1] for file in links if (match := _UNIT.fullmatch(file.path))))


def real_path(path: str, links: Mapping[str, str]) -> str:
    """Where a package's path lies in the tree, without its first /; `links` are those of the root, such as bin."""
    plain = path.lstrip("/")
    first, slash, rest = plain.partition("/")
    return posixpath.normpath(f"{links[first].lstrip('/')}{slash}{rest}") if first in links and slash else plain
