"""The index: every file of the root file system and the frame of the archive that it lies in.

index.json.zst is the one way to find it. Files are rows, not objects: 18,000 of them are read at every deploy.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.model.text.digest import SHA256
from builder.model.typed import parse_json

INDEX_SCHEMA = 1
# types as find(1) prints them; `h` is a further name of a file that came before
DIRECTORY, FILE, SYMLINK, HARDLINK = "d", "f", "l", "h"
_TYPES = (DIRECTORY, FILE, SYMLINK, HARDLINK)
_XATTR_NAMESPACES = ("user.", "security.", "trusted.", "system.")  # xattr(7)
_TIMES = range(-(2**31), 2**34)  # what ext4 can hold, seconds
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # in no name of a file, or of no UTF-8
LARGEST_FRAME = 1 << 20
MOST_INDEX_VALUES = 24_000_000  # commas and brackets: of a million files and more
_quoted = json.encoder.encode_basestring
_ROWS = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_FRAME_TYPES = (int, int, int, str)
_FILE_TYPES = (str, str, int, int, int, int, int, str, str, dict, int)
COLUMNS = ("path", "type", "mode", "uid", "gid", "mtime", "size", "sha256", "link", "xattrs", "frame")


@dataclass(frozen=True)
class Frame:
    """One zstd frame: where it lies (bytes), its compressed and plain size, the SHA-256 of its compressed bytes."""

    offset: int
    size: int
    plain_size: int
    sha256: str


@dataclass(frozen=True)
class FileRecord:
    """One member of the archive.

    path: relative, UTF-8, no leading or trailing slash; the root itself is "."
    mode: permission bits, 12; mtime: whole seconds; size and sha256: of a plain file, else 0 and ""
    link: target of a symbolic link, or for HARDLINK the path of the file that came before
    xattrs: name -> value in hexadecimal
    frame: number of the frame in which the member begins
    """

    path: str
    type: str
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int
    sha256: str
    link: str
    xattrs: Mapping[str, str]
    frame: int

    def row(self) -> list[Any]:
        """The record as it stands in the index."""
        return [getattr(self, column) for column in COLUMNS]


@dataclass(frozen=True)
class Index:
    """All frames and files of one archive, in archive order."""

    frames: Sequence[Frame]
    files: Sequence[FileRecord]

    def to_json(self) -> bytes:
        """The plain content of index.json.zst."""
        frames = [[frame.offset, frame.size, frame.plain_size, frame.sha256] for frame in self.frames]
        document = {
            "schema": INDEX_SCHEMA,
            "columns": COLUMNS,
            "frames": frames,
            "files": [file.row() for file in self.files],
        }
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes, most: int = MOST_INDEX_VALUES) -> Index:
        """Reads an index; ValueError when it is not one of ours, or has more than `most` commas and brackets."""
        frame_rows, file_rows = _read_rows(data, most)
        frames = tuple(Frame(*row) for row in frame_rows)
        files = tuple(FileRecord(*row) for row in file_rows)
        _check_frames(frames)
        _check_files(files, len(frames))
        return cls(frames, files)


def _read_rows(data: bytes, most: int) -> tuple[list[list[Any]], list[list[Any]]]:
    """The rows of frames and of files, whose values have the types of their columns; ValueError."""
    try:
        document = parse_json(data, most)
        if document["schema"] != INDEX_SCHEMA or tuple(document["columns"]) != COLUMNS:
            raise ValueError(f"index of schema {document['schema']!r}, this program reads {INDEX_SCHEMA}")
        _check_columns(document["frames"], _FRAME_TYPES)
        _check_columns(document["files"], _FILE_TYPES)
        return document["frames"], document["files"]
    except (TypeError, KeyError) as error:
        raise ValueError(f"not an index: {error}") from error


def _check_columns(rows: Sequence[Sequence[Any]], types: Sequence[type]) -> None:
    """Every value has its column's type. By columns, since there are many rows and the time is a deploy's."""
    for row in rows:
        if type(row) is not list or len(row) != len(types):
            raise ValueError(f"not an index: a row of {row!r:.60}")
    for kind, column in zip(types, zip(*rows, strict=True), strict=False):
        if set(map(type, column)) != {kind}:
            raise ValueError("not an index: a value of another type")


def _check_frames(frames: Sequence[Frame]) -> None:
    offset = 0
    for frame in frames:
        if (
            frame.offset != offset
            or not 0 < frame.size <= 2 * LARGEST_FRAME
            or not 0 < frame.plain_size <= LARGEST_FRAME
            or not SHA256.fullmatch(frame.sha256)
        ):
            raise ValueError(f"not an index: a frame of {frame.plain_size} bytes at {frame.offset}")
        offset += frame.size


def _check_files(files: Sequence[FileRecord], frames: int) -> None:
    """Every value is one that a file can have, every path comes once, every hard link after its file."""
    seen: dict[str, FileRecord] = {}
    frame = 0
    for file in files:
        known = file.path not in seen and file.type in _TYPES and bool(file.link) == (file.type in (SYMLINK, HARDLINK))
        numbers = 0 <= file.mode <= 0o7777 and 0 <= file.uid < 2**32 - 1 and 0 <= file.gid < 2**32 - 1
        sizes = file.mtime in _TIMES and 0 <= file.size < 2**62 and 0 <= file.frame < frames
        if not (known and numbers and sizes and _has_what_its_type_has(file)):
            raise ValueError(f"not an index: {file.path!r} comes twice or has an impossible value")
        if file.type == HARDLINK and not _is_same_file(file, seen.get(file.link)):
            raise ValueError(f"not an index: {file.path!r} is a hard link to {file.link!r}, which does not come before")
        if file.frame < frame:
            raise ValueError(f"not an index: {file.path!r} lies before what comes before it")
        seen[file.path] = file
        frame = file.frame


def _has_what_its_type_has(file: FileRecord) -> bool:
    """Only files have a size and a digest; names are text; further names have no attributes of their own."""
    if file.type == FILE and not SHA256.fullmatch(file.sha256):
        return False
    if file.type != FILE and (file.size or file.sha256):
        return False
    if file.xattrs and (file.type == HARDLINK or not all(map(_is_xattr, file.xattrs.items()))):
        return False
    return _NO_TEXT.search(file.path) is None and (not file.link or _NO_TEXT.search(file.link) is None)


def _is_same_file(link: FileRecord, file: FileRecord | None) -> bool:
    """Whether a further name says of its file what the first name says."""
    if file is None or file.type not in (FILE, SYMLINK):
        return False
    return (link.mode, link.uid, link.gid, link.mtime) == (file.mode, file.uid, file.gid, file.mtime)


def _is_xattr(item: tuple[str, str]) -> bool:
    name, value = item
    if type(value) is not str or not name.startswith(_XATTR_NAMESPACES) or _NO_TEXT.search(name) is not None:
        return False
    try:
        return bytes.fromhex(value).hex() == value
    except ValueError:
        return False


def root_digest(files: Sequence[FileRecord], bundle: Mapping[str, str], boot: Mapping[str, Any] | None = None) -> str:
    """SHA-256 over the canonical file table and the bundle's plain digests (name -> SHA-256), and what menus say.

    boot: that, in a last row of its own; None: a digest of the first schema, which does not know it

    A row of the table is the JSON of path, type, mode, uid, gid, mtime, size, sha256, link and sorted xattrs, without
    spaces. How things are compressed does not change it: a row leaves out the frame.
    """
    digest = hashlib.sha256()
    for file in files:
        xattrs = _ROWS.encode(dict(sorted(file.xattrs.items()))) if file.xattrs else "{}"
        row = (
            f'[{_quoted(file.path)},"{file.type}",{file.mode},{file.uid},{file.gid},{file.mtime},{file.size},'
            f'"{file.sha256}",{_quoted(file.link)},{xattrs}]\n'
        )
        digest.update(row.encode())
    for name, sha256 in sorted(bundle.items()):
        digest.update(json.dumps([name, sha256]).encode() + b"\n")
    if boot is not None:
        digest.update(json.dumps({"boot": boot}, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()


def file_rows(data: bytes, most: int = MOST_INDEX_VALUES) -> dict[str, list[Any]]:
    """The rows of the plain files by path; ValueError when it is not an index of ours.

    Their values have the right types and no more: to be compared with those of an Index, not to be used.
    """
    return {row[0]: row for row in _read_rows(data, most)[1] if row[1] == FILE}
