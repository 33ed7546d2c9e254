"""Version directories that somebody has tampered with, and has put every checksum right afterwards, if asked."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import zstandard

from builder.archive.members import read_members
from builder.archive.writer import memory_members, write_archive
from builder.deploy import rollback
from builder.errors import DisklessError
from builder.model.artifacts.index import FileRecord, root_digest
from builder.model.artifacts.manifest import BUNDLE, INDEX, MANIFEST, ROOTFS, Manifest
from builder.store.inspection.verification import Severity, verify
from builder.store.layout import find_store
from tests.stores import deployed, quiet, snapshot
from tests.versions import EPOCH, Changes, make_version

SMALL: Changes = {"usr/lib/libbig.so": b"small" * 2000, "usr/bin/perl": b"perl" * 9000, "usr/bin/perl5": None}


def compressed(data: bytes) -> bytes:
    frame: bytes = zstandard.ZstdCompressor(level=1, write_checksum=True, write_content_size=True).compress(data)
    return frame


class Forgery:
    """A version in memory: `plain` are the frames of its tar, `index` and `manifest` what is in their files."""

    def __init__(self, version: Path) -> None:
        self.index: Any = json.loads(zstandard.ZstdDecompressor().decompress((version / INDEX).read_bytes()))
        self.manifest: Any = json.loads((version / MANIFEST).read_text("utf-8"))
        data = (version / ROOTFS).read_bytes()
        decompress = zstandard.ZstdDecompressor().decompress
        self.plain = [decompress(data[offset : offset + size]) for offset, size, _, _ in self.index["frames"]]
        self.bundle: dict[str, bytes] = read_members(version / BUNDLE)
        self.bundle_file: bytes | None = None
        self.index_file: bytes | None = None
        self.rootfs_file: bytes | None = None
        self.fix_frames = True
        self.fix_manifest = True

    def row(self, path: str) -> list[Any]:
        """The row of a file in the index."""
        found: list[Any] = next(row for row in self.index["files"] if row[0] == path)
        return found

    def set_tar(self, members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> None:
        """Another archive, all in one frame, with rows that say what it holds."""
        buffer = io.BytesIO()
        rows = []
        kinds = {tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l", tarfile.LNKTYPE: "h"}
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for info, data in members:
                kind = kinds.get(info.type, "f")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
                digest = hashlib.sha256(data).hexdigest() if kind == "f" else ""
                link = info.linkname if kind in "lh" else ""
                rows.append([info.name, kind, info.mode, 0, 0, EPOCH, len(data), digest, link, {}, 0])
        self.plain, self.index["files"] = [buffer.getvalue()], rows
        self.index["frames"] = [[0, 0, 0, ""]]

    def write(self, directory: Path) -> Path:
        """Writes DIRECTORY/VERSION, with checksums that fit as far as they can."""
        directory.mkdir(parents=True, exist_ok=True)
        place = directory / "version"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        frames = [compressed(plain) for plain in self.plain]
        (place / ROOTFS).write_bytes(self.rootfs_file if self.rootfs_file is not None else b"".join(frames))
        if self.fix_frames:
            self._fix_frames(frames)
        text = json.dumps(self.index, ensure_ascii=False).encode("utf-8", "surrogatepass")
        (place / INDEX).write_bytes(self.index_file if self.index_file is not None else compressed(text))
        if self.bundle_file is None:
            write_archive(memory_members(self.bundle, EPOCH), place / BUNDLE)
        else:
            (place / BUNDLE).write_bytes(self.bundle_file)
        if self.fix_manifest:
            self._fix_manifest(place)
        (place / MANIFEST).write_text(json.dumps(self.manifest), encoding="utf-8", errors="surrogatepass")
        return place

    def _fix_frames(self, frames: list[bytes]) -> None:
        offset, rows = 0, []
        for frame, plain in zip(frames, self.plain, strict=True):
            rows.append([offset, len(frame), len(plain), hashlib.sha256(frame).hexdigest()])
            offset += len(frame)
        self.index["frames"] = rows

    def _digest(self, records: list[FileRecord], digests: dict[str, str]) -> str:
        try:
            return Manifest.from_json(json.dumps(self.manifest)).digest_of(records, digests)
        except ValueError:  # it is refused for something else
            return root_digest(records, digests)

    def _fix_manifest(self, place: Path) -> None:
        if not isinstance(self.manifest, dict) or not isinstance(self.manifest.get("artifacts"), dict):
            return
        for name in (ROOTFS, INDEX, BUNDLE):
            data = (place / name).read_bytes()
            self.manifest["artifacts"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        try:
            records = [FileRecord(*row) for row in self.index["files"]]
            self.manifest["entries"] = len(records)
            self.manifest["size"] = sum(record.size for record in records)
            digests = {name: hashlib.sha256(content).hexdigest() for name, content in self.bundle.items()}
            digest = self._digest(records, digests)
        except (TypeError, ValueError, AttributeError, KeyError):
            return  # nothing that could have a digest
        self.manifest["root_digest"] = digest
        self.manifest["version"] = f"20260102-{digest[:8]}"


VALUES: tuple[Any, ...] = (
    *(
        0,
        -1,
        1,
        2,
        7,
        0o4755,
        2**31,
        2**32,
        2**40,
        2**63,
        2**64,
        10**30,
        1.5,
        True,
        None,
        "",
        "x",
        ".",
        "..",
        "/",
        "../x",
    ),
    *(
        "a/../../b",
        "/etc/passwd",
        "\0",
        "a\0b",
        "\ud800",
        "\udcff",
        "n" * 300,
        "d" * 5000,
        [],
        {},
        [[]],
        {"user.x": "zz"},
    ),
    *({"user.x": "00"}, {"user." + "x" * 300: "00"}, {"security.capability": "00"}, {"system.posix_acl_access": "00"}),
    *("d", "f", "l", "h", "c", "etc", "bin", "bin/x", "usr/bin/ping", "00" * 32),
)


def flip(data: bytes, chance: random.Random, times: int = 1) -> bytes:
    changed = bytearray(data)
    for _ in range(times):
        if changed:
            changed[chance.randrange(len(changed))] = chance.choice((0, 1, 32, 47, 48, 127, 255, chance.randrange(256)))
    return bytes(changed)


def flip_outside(f: Forgery, chance: random.Random) -> None:
    """Bytes of the archive; half of the time the manifest agrees."""
    f.rootfs_file = flip(b"".join(map(compressed, f.plain)), chance)
    f.fix_manifest = chance.random() < 0.5


def truncate(f: Forgery, chance: random.Random) -> None:
    whole = b"".join(map(compressed, f.plain))
    f.rootfs_file = whole[: chance.randrange(len(whole))]
    f.fix_manifest = chance.random() < 0.5


def flip_tar(f: Forgery, chance: random.Random) -> None:
    """Bytes of the tar, mostly of headers, all checksums of the outside put right."""
    number = chance.randrange(len(f.plain))
    data = bytearray(f.plain[number])
    header = chance.randrange(max(1, len(data) // 512)) * 512
    place = min(len(data) - 1, header + chance.randrange(512))
    data[place] = chance.choice((0, 32, 47, 48, 49, 53, 255, chance.randrange(256)))
    if chance.random() < 0.7:  # the header's own checksum, tar(5)
        block = data[header : header + 512]
        total = sum(block[:148]) + sum(block[156:]) + 8 * 32
        data[header + 148 : header + 156] = b"%06o\0 " % total
    f.plain[number] = bytes(data)


def flip_index(f: Forgery, chance: random.Random) -> None:
    f.index_file = compressed(flip(json.dumps(f.index).encode(), chance, 3))


def change_index(f: Forgery, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 1, 3))):
        row = chance.choice(f.index["files"])
        row[chance.randrange(len(row))] = chance.choice(VALUES)


def shuffle_index(f: Forgery, chance: random.Random) -> None:
    rows = f.index["files"]
    one, other = chance.randrange(len(rows)), chance.randrange(len(rows))
    action = chance.randrange(4)
    if action == 0:
        rows[one], rows[other] = rows[other], rows[one]
    elif action == 1:
        rows.insert(other, list(rows[one]))
    elif action == 2:
        del rows[one]
    else:
        rows[one][10] = chance.randrange(len(f.plain))


def change_frames(f: Forgery, chance: random.Random) -> None:
    f._fix_frames([compressed(plain) for plain in f.plain])
    f.fix_frames = False
    row = chance.choice(f.index["frames"])
    row[chance.randrange(4)] = chance.choice(VALUES)


def swap_frames(f: Forgery, chance: random.Random) -> None:
    one, other = chance.randrange(len(f.plain)), chance.randrange(len(f.plain))
    f.plain[one], f.plain[other] = f.plain[other], f.plain[one]
    f.fix_frames = chance.random() < 0.7


def change_manifest(f: Forgery, chance: random.Random) -> None:
    f.fix_manifest = chance.random() < 0.5
    target = f.manifest if chance.random() < 0.7 else f.manifest["root"]
    target[chance.choice(sorted(target))] = chance.choice((*VALUES, ["a b"], ["x\ny"], ["\ud800"], ["ok"]))


def flip_bundle(f: Forgery, chance: random.Random) -> None:
    if chance.random() < 0.5:
        f.bundle_file = flip(compressed(flip(_tar_of(f.bundle), chance)), chance, chance.randrange(2))
    else:
        f.bundle[chance.choice(("a/../b", "vmlinuz/x", "pxelinux.cfg", "x" * 300, "/x", "ä", "sub/dir/file"))] = b"x"


def _tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


MUTATIONS: tuple[Callable[[Forgery, random.Random], None], ...] = (
    *(flip_outside, truncate, flip_tar, flip_tar, flip_index, change_index, change_index, shuffle_index),
    *(change_frames, swap_frames, change_manifest, flip_bundle),
)


@dataclasses.dataclass
class Batch:
    """Mutations number `first` to `last` - 1, each deployed to an empty store or to one with a version to link from."""

    place: Path
    first: int
    last: int
    accepted: int = 0

    def run(self) -> None:
        """AssertionError, naming the number, for whatever must not be."""
        base = make_version(self.place / "output", SMALL, files=40)
        older = make_version(self.place / "older", {**SMALL, "etc/name": b"older"}, files=40)
        other = make_version(self.place / "older", SMALL, image="other", files=40)
        for kind, path in (("empty", other), ("filled", older)):
            deployed(self.place / f"{kind}-at-first", path)
            self._reset(kind)
        for number in range(self.first, self.last):
            self._one(number, base, self.place / ("filled" if number % 2 else "empty"))

    def _reset(self, kind: str) -> None:
        shutil.rmtree(self.place / kind, ignore_errors=True)
        subprocess.run(["cp", "-a", self.place / f"{kind}-at-first", self.place / kind], check=True)
        rollback(self.place / kind, "other" if kind == "empty" else "lab", self._only(kind), quiet())

    def _only(self, kind: str) -> str:
        (path,) = (self.place / kind / "versions").glob("*/*")
        return path.name

    def _one(self, number: int, base: Path, store: Path) -> None:
        chance = random.Random(number)
        forgery = Forgery(base)
        mutate = MUTATIONS[number % len(MUTATIONS)]
        mutate(forgery, chance)
        version = forgery.write(self.place / "forged")
        before = snapshot(self.place)
        name = f"{number} ({mutate.__name__})"
        try:
            (done,) = deployed(store, version)
        except DisklessError:
            assert snapshot(self.place) == before, f"{name} was refused, and changed something"
            return
        except BaseException as error:
            raise AssertionError(f"{name} ended with {error!r}") from error
        self.accepted += 1
        wrong = [
            finding
            for finding in verify(find_store(store), deep=True)
            if finding.kind is Severity.FAULT and finding.where.endswith(done.manifest.version)
        ]
        assert wrong == [], f"{name} was accepted, and is not what its index says: {wrong}"
        outside = {p: e for p, e in snapshot(self.place).items() if not p.startswith(f"{store.name}/")}
        assert outside == {p: e for p, e in before.items() if not p.startswith(f"{store.name}/")}, name
        self._reset(store.name)


if __name__ == "__main__":
    batch = Batch(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    batch.run()
    sys.stdout.write(str(batch.accepted))
