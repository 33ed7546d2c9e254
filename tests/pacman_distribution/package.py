"""A pacman package: members in memory, written as .pkg.tar.zst, always to the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

# what is not taken from a Debian package is as old as this: two runs give the same packages
EPOCH = 1_700_000_000
_LEVEL = 3


@dataclass
class Package:
    """One package being made; `members` maps a path without leading slash to its tar header and content."""

    name: str
    version: str
    architecture: str = "any"
    description: str = ""
    depends: list[str] = field(default_factory=list)
    provides: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    backup: list[str] = field(default_factory=list)
    scriptlet: str = ""
    built: int = EPOCH
    members: dict[str, tuple[tarfile.TarInfo, bytes]] = field(default_factory=dict)

    @property
    def filename(self) -> str:
        return f"{self.name}-{self.version}-{self.architecture}.pkg.tar.zst"

    def add_file(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        data = content.encode() if isinstance(content, str) else content
        self._add(path, tarfile.REGTYPE, mode, data)

    def add_link(self, path: str, target: str) -> None:
        self._add(path, tarfile.SYMTYPE, 0o777, b"", target)

    def add_directory(self, path: str, mode: int = 0o755) -> None:
        self._add(path, tarfile.DIRTYPE, mode, b"")

    def add_tree(self, source: Path) -> None:
        """Every file below `source`, executable where it is there."""
        for path in sorted(source.rglob("*")):
            if path.is_file():
                mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
                self.add_file(str(path.relative_to(source)), path.read_bytes(), mode)

    def _add(self, path: str, kind: bytes, mode: int, data: bytes, target: str = "") -> None:
        info = tarfile.TarInfo(path)
        info.type, info.mode, info.mtime, info.size, info.linkname = kind, mode, EPOCH, len(data), target
        self.members[path] = (info, data)

    def write(self, directory: Path) -> Path:
        """Writes the package file into `directory` and returns it."""
        self._add_parents()
        path = directory / self.filename
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        with (
            path.open("wb") as file,
            compressor.stream_writer(file) as stream,
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name, content in self._metadata():
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(content), EPOCH
                tar.addfile(info, io.BytesIO(content))
            for _, (info, content) in sorted(self.members.items()):
                tar.addfile(info, io.BytesIO(content) if info.isreg() else None)
        return path

    def _add_parents(self) -> None:
        for path in list(self.members):
            for parent in Path(path).parents:
                if str(parent) != "." and str(parent) not in self.members:
                    self.add_directory(str(parent))

    def _metadata(self) -> Iterator[tuple[str, bytes]]:
        files = {".PKGINFO": self._info().encode()}
        if self.scriptlet:
            files[".INSTALL"] = self.scriptlet.encode()
        yield ".MTREE", gzip.compress(self._mtree(files).encode(), mtime=0)
        yield from files.items()

    def _info(self) -> str:
        fields: list[tuple[str, object]] = [
            ("pkgname", self.name),
            ("pkgbase", self.name),
            ("pkgver", self.version),
            ("pkgdesc", self.description or self.name),
            ("builddate", self.built),
            ("packager", "the tests of diskless"),
            ("size", sum(len(content) for _, content in self.members.values())),
            ("arch", self.architecture),
            ("license", "custom"),
        ]
        lists = {"group": self.groups, "provides": self.provides, "conflict": self.conflicts}
        lists |= {"depend": self.depends, "backup": self.backup}
        fields += [(key, value) for key, values in lists.items() for value in values]
        return "".join(f"{key} = {value}\n" for key, value in fields)

    def _mtree(self, files: dict[str, bytes]) -> str:
        lines = ["#mtree", "/set type=file uid=0 gid=0 mode=644"]
        for name, content in files.items():
            lines.append(f"./{name} time={EPOCH}.0 {_digest(content)}")
        for name, (info, content) in sorted(self.members.items()):
            words = [f"./{_escape(name)}", f"time={int(info.mtime)}.0", f"mode={info.mode:o}"]
            words += [f"uid={info.uid}", f"gid={info.gid}"]
            if info.isdir():
                words.append("type=dir")
            elif info.issym():
                words += ["type=link", f"link={_escape(info.linkname)}"]
            else:
                words.append(_digest(content))
            lines.append(" ".join(words))
        return "\n".join(lines) + "\n"


def _digest(content: bytes) -> str:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()  # pacman -Qkk compares it
    return f"size={len(content)} md5digest={md5} sha256digest={hashlib.sha256(content).hexdigest()}"


def _escape(name: str) -> str:
    """mtree(5): what is not a plain character is written in octal."""
    return "".join(
        chr(byte) if 33 <= byte < 127 and byte not in b"\\#" else f"\\{byte:03o}"
        for byte in name.encode("utf-8", "surrogateescape")
    )
