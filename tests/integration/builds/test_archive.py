"""Archives: what goes in comes out, through GNU tar, bsdtar and our reader; what is hostile or damaged is refused."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pytest
import zstandard

from builder.archive.frames import LARGEST, FrameWriter
from builder.archive.members import read_members
from builder.archive.unpack import read_index, unpack
from builder.archive.writer import Member, memory_members, scan_tree, write_archive
from builder.errors import AuditError, DisklessError
from builder.model.artifacts.index import DIRECTORY, FILE, HARDLINK, SYMLINK, FileRecord, Frame, Index
from tests.images import ROOT
from tests.require import needs_root, needs_tool
from tests.scratch import scratch

pytestmark = [needs_root, needs_tool("bsdtar", "setcap"), pytest.mark.root]
EPOCH = 1_700_000_000
LONG = "n" * 150 + "/" + "m" * 255
SMALL_FILES = 3000


def make_tree(root: Path) -> Path:
    """A tree with everything that archives like to lose."""
    root.mkdir()
    for directory in ("bin", "etc", "empty", "n" * 150, "närrisch", "small", "tmp"):
        (root / directory).mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "etc/config").write_text("content\n", encoding="ascii")
    (root / "etc/none").write_bytes(b"")
    (root / "etc/secret").write_bytes(b"x")
    (root / "etc/secret").chmod(0o000)
    (root / "bin/su").write_bytes(b"\x7fELF" * 5000)
    os.chown(root / "bin/su", 33, 44)
    (root / "bin/su").chmod(0o6755)
    (root / "bin/ping").write_bytes(b"ping")
    subprocess.run(["setcap", "cap_net_raw+ep", root / "bin/ping"], check=True)
    for name in ("a", "z", "närrisch/link"):
        (root / name).hardlink_to(root / "etc/config")
    (root / "bin/ping6").hardlink_to(root / "bin/ping")
    (root / LONG).write_bytes(b"long")
    (root / "närrisch/日本語 \N{GRINNING FACE}").write_bytes(b"unicode")
    for name in ("-option", "back\\slash", "new\nline", "quote'\"", "*?[", " space ", "%n", "=", "control\x01", "#"):
        (root / "etc" / name).write_bytes(name.encode())
    (root / "etc/link").symlink_to("config")
    (root / "etc/far").symlink_to("/" + "t" * 250 + "/" + "u" * 250 + "/ünd")
    (root / "etc/dangling").symlink_to("../../../outside")
    (root / "bin/sh").symlink_to("bash")
    (root / "bin/same-sh").hardlink_to(root / "bin/sh")
    os.lchown(root / "bin/sh", 5, 6)
    with (root / "sparse").open("wb") as file:
        file.seek(5 << 20)
        file.write(b"end")
        file.truncate(6 << 20)
    (root / "large").write_bytes(os.urandom(LARGEST) * 3 + b"tail")
    for number in range(SMALL_FILES):
        (root / f"small/{number:04}").write_bytes(b"%d" % number * (number % 40))
    os.setxattr(root / "etc/config", "user.binary", b"\0\xff=\n")
    os.setxattr(root / "etc/config", "user.empty", b"")
    os.setxattr(root / "empty", "user.of-directory", b"value")
    os.utime(root / "etc/none", (EPOCH - 100, EPOCH - 100))
    os.utime(root / "etc/link", (EPOCH - 200, EPOCH - 200), follow_symlinks=False)
    os.utime(root / "empty", (EPOCH - 300, EPOCH - 300))
    os.utime(root / "a", (1, 1))
    os.utime(root, (EPOCH - 400, EPOCH - 400))
    return root


class Entry(NamedTuple):
    """What must be the same after a round trip; `names` are all names of the same file."""

    mode: str
    uid: int
    gid: int
    mtime: int
    content: object
    xattrs: dict[str, bytes]
    names: list[str]


def describe(root: Path) -> dict[str, Entry]:
    """Every entry of a tree by its path."""
    paths = [root, *root.rglob("*")]
    names: dict[int, list[str]] = {}
    for path in paths:
        names.setdefault(path.lstat().st_ino, []).append(str(path.relative_to(root)))
    return {str(path.relative_to(root)): _entry(path, names) for path in paths}


def _entry(path: Path, names: dict[int, list[str]]) -> Entry:
    info = path.lstat()
    content: object = None
    if stat.S_ISLNK(info.st_mode):
        content = path.readlink()
    elif stat.S_ISREG(info.st_mode):
        content = path.read_bytes()
    xattrs = {
        name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
    }
    mode, mtime = stat.filemode(info.st_mode), int(info.st_mtime)
    return Entry(mode, info.st_uid, info.st_gid, mtime, content, xattrs, sorted(names[info.st_ino]))


def clamped(entries: dict[str, Entry]) -> dict[str, Entry]:
    """The same entries with no time after the epoch."""
    return {path: entry._replace(mtime=min(entry.mtime, EPOCH)) for path, entry in entries.items()}


def differing(one: dict[str, Entry], other: dict[str, Entry]) -> dict[str, tuple[object, object]]:
    """What is not the same, with contents cut short."""
    paths = {path for path in one.keys() | other.keys() if one.get(path) != other.get(path)}
    return {path: (str(one.get(path))[:200], str(other.get(path))[:200]) for path in sorted(paths)}


@dataclass(frozen=True)
class Packed:
    """A tree and its archive."""

    tree: Path
    archive: Path
    index_path: Path
    index: Index


def pack(tree: Path, directory: Path, epoch: int = EPOCH) -> Packed:
    directory.mkdir(exist_ok=True)
    archive = directory / "rootfs.tar.zst"
    index = write_archive(scan_tree(tree, epoch), archive)
    return Packed(tree, archive, write_index(index, directory), index)


def write_index(index: Index, directory: Path) -> Path:
    path = directory / "index.json.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(index.to_json()))
    return path


@functools.cache
def packed() -> Packed:
    """On a real disk: a tmpfs may have no user xattrs."""
    directory = scratch() / "archive"
    directory.mkdir()
    return pack(make_tree(directory / "tree"), directory)


@functools.cache
def plain() -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(packed().archive.read_bytes(), read_across_frames=True) as reader:
        return reader.read()


def unpacked_by(command: list[str], name: str) -> Path:
    target = scratch() / name
    target.mkdir()
    env = {**os.environ, "LC_ALL": "C.UTF-8"}  # bsdtar sets no name that its locale does not have
    subprocess.run([*command, str(packed().archive)], cwd=target, env=env, check=True)
    return target


def test_gnu_tar_gives_the_same_tree() -> None:
    tar = ["tar", "--zstd", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--delay-directory-restore", "-xpf"]
    assert differing(describe(unpacked_by(tar, "by-gnu-tar")), clamped(describe(packed().tree))) == {}


def test_bsdtar_gives_the_same_tree() -> None:
    bsdtar = ["bsdtar", "--numeric-owner", "--xattrs", "-xpf"]
    target = unpacked_by(bsdtar, "by-bsdtar")
    # it leaves the time of a directory that was there before
    os.utime(target, (EPOCH - 400, EPOCH - 400))
    assert differing(describe(target), clamped(describe(packed().tree))) == {}


def test_our_reader_gives_the_same_tree() -> None:
    target = scratch() / "by-us"
    target.mkdir(mode=0o700)
    seen: list[str] = []
    unpack(packed().archive, packed().index_path, target, seen.append)
    assert differing(describe(target), clamped(describe(packed().tree))) == {}
    assert sorted([".", *seen]) == sorted(record.path for record in packed().index.files)


def test_other_programs_find_no_difference_to_the_tree() -> None:
    command = ["tar", "--zstd", "--numeric-owner", "--compare", "-f", str(packed().archive)]
    result = subprocess.run(command, cwd=packed().tree, capture_output=True, encoding="utf-8", check=False)
    # the archive's times are clamped
    assert {line for line in result.stdout.splitlines() if not line.endswith(": Mod time differs")} == set()
    assert result.stderr == ""


def test_python_reads_what_the_index_says() -> None:
    with tarfile.open(fileobj=io.BytesIO(plain())) as archive:
        members = archive.getmembers()
    kinds = {tarfile.DIRTYPE: DIRECTORY, tarfile.REGTYPE: FILE, tarfile.SYMTYPE: SYMLINK, tarfile.LNKTYPE: HARDLINK}
    read = [
        (
            member.name,
            kinds[member.type],
            member.mode,
            member.uid,
            member.gid,
            member.mtime,
            member.size,
            member.linkname,
        )
        for member in members
    ]
    assert read == [
        (file.path, file.type, file.mode, file.uid, file.gid, file.mtime, file.size, file.link)
        for file in packed().index.files
    ]


def test_the_archive_is_plain() -> None:
    with tarfile.open(fileobj=io.BytesIO(plain())) as archive:
        for member in archive:
            assert {"atime", "ctime", "LIBARCHIVE.creationtime"} & member.pax_headers.keys() == set()
            assert not [name for name in member.pax_headers if name.startswith(("GNU.sparse", "LIBARCHIVE"))]
            assert member.uname == member.gname == ""
            assert member.mtime == int(member.mtime)
    paths = [file.path for file in packed().index.files]
    assert paths == sorted(paths, key=str.encode)
    assert paths[0] == "."


def test_no_time_is_after_the_epoch_and_older_ones_stay() -> None:
    times = {file.path: file.mtime for file in packed().index.files}
    assert max(times.values()) == EPOCH
    assert times["etc/none"] == EPOCH - 100
    assert times["a"] == 1


def test_hard_links_name_the_first_of_them() -> None:
    records = {file.path: file for file in packed().index.files}
    assert records["a"].type == FILE
    assert [records[name].link for name in ("etc/config", "närrisch/link", "z")] == ["a"] * 3
    assert (records["bin/ping"].type, records["bin/ping6"].link) == (FILE, "bin/ping")
    assert "security.capability" in records["bin/ping"].xattrs
    assert (records["bin/same-sh"].type, records["bin/sh"].type) == (SYMLINK, HARDLINK)


def test_every_frame_begins_with_a_member_and_every_member_in_its_frame() -> None:
    with tarfile.open(fileobj=io.BytesIO(plain())) as archive:
        # where headers begin: a pax header comes before the plain one
        starts = [0, *(member.offset_data + (member.size + 511) // 512 * 512 for member in archive)]
    ends = 0
    begins = []
    for frame in packed().index.frames:
        begins.append(ends)
        ends += frame.plain_size
    assert ends == len(plain())
    for record, start in zip(packed().index.files, starts, strict=False):
        assert begins[record.frame] <= start < begins[record.frame] + packed().index.frames[record.frame].plain_size
    inside = {begin for begin in begins if begin not in starts}
    large = next(start for record, start in zip(packed().index.files, starts, strict=False) if record.path == "large")
    sparse = next(start for record, start in zip(packed().index.files, starts, strict=False) if record.path == "sparse")
    pieces = {start + number * LARGEST for start, count in ((large, 3), (sparse, 6)) for number in range(1, count + 1)}
    assert inside == {piece for piece in pieces if piece < len(plain())}


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path) -> None:
    again = pack(packed().tree, tmp_path)
    assert again.archive.read_bytes() == packed().archive.read_bytes()
    assert again.index == packed().index


def test_a_copy_of_the_tree_gives_the_same_bytes() -> None:
    """Other inodes, another order in the directories."""
    copy = scratch() / "copy"
    copy.mkdir()
    subprocess.run(["cp", "-a", packed().tree, copy], check=True)
    assert pack(copy / "tree", copy).archive.read_bytes() == packed().archive.read_bytes()


def test_another_locale_gives_the_same_bytes(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from builder.archive.writer import scan_tree, write_archive;"
        f"write_archive(scan_tree(Path(sys.argv[1]), {EPOCH}), Path(sys.argv[2]))"
    )
    for locale in ("C", "POSIX", "tr_TR.UTF-8"):
        archive = tmp_path / locale
        subprocess.run(
            [sys.executable, "-c", code, packed().tree, archive],
            env={"LC_ALL": locale, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            check=True,
        )
        assert archive.read_bytes() == packed().archive.read_bytes()


def test_labels_of_the_build_host_stay_on_it(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    os.setxattr(tmp_path / "tree", "user.overlay.opaque", b"y")
    for name in ("trusted.overlay.opaque", "trusted.root-only", "user.containers.override_stat"):
        os.setxattr(tmp_path / "tree", name, b"y")
    os.setxattr(tmp_path / "tree", "user.mine", b"y")
    (record,) = [member.record for member in scan_tree(tmp_path / "tree", EPOCH)]
    assert record.xattrs == {"user.mine": b"y".hex()}


def make_bad_name(tree: Path) -> str:
    Path(os.fsdecode(bytes(tree / "sub") + b"/caf\xe9")).write_bytes(b"")
    return r"sub/caf\xe9"


def make_bad_target(tree: Path) -> str:
    (tree / "sub/link").symlink_to(os.fsdecode(b"caf\xe9"))
    return r"caf\xe9"


def make_fifo(tree: Path) -> str:
    os.mkfifo(tree / "sub/fifo")
    return "/sub/fifo is a device, socket or pipe"


def make_device(tree: Path) -> str:
    os.mknod(tree / "sub/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    return "/sub/null is a device, socket or pipe"


def make_socket(tree: Path) -> str:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tree / "sub/socket"))
    return "/sub/socket is a device, socket or pipe"


@pytest.mark.parametrize("make", [make_bad_name, make_bad_target, make_fifo, make_device, make_socket])
def test_what_no_archive_can_hold_is_named(make: Callable[[Path], str], tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    words = make(tree)
    with pytest.raises(AuditError) as caught:
        pack(tree, tmp_path / "out")
    assert words in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"12345", b"1234567", b""], ids=["shorter", "longer", "empty"])
def test_a_file_that_changes_while_it_is_packed_is_named(content: bytes, tmp_path: Path) -> None:
    record = FileRecord("etc/motd", FILE, 0o644, 0, 0, 0, 6, "", "", {}, 0)
    with pytest.raises(AuditError, match="/etc/motd changed while it was packed"):
        write_archive(iter([Member(record, lambda: io.BytesIO(content))]), tmp_path / "archive")


def test_a_bundle_is_read_back(tmp_path: Path) -> None:
    files = {"vmlinuz": b"kernel" * 100000, "pxelinux.cfg/default": b"DEFAULT lab\n", "empty": b""}
    index = write_archive(memory_members(files, EPOCH), tmp_path / "boot.tar.zst")
    assert read_members(tmp_path / "boot.tar.zst") == files
    assert [file.path for file in index.files] == [".", "empty", "pxelinux.cfg", "pxelinux.cfg/default", "vmlinuz"]
    assert {file.mode for file in index.files if file.type == FILE} == {0o644}


@dataclass(frozen=True)
class Attack:
    """An archive made by hand with an index that says the same, unless told otherwise."""

    directory: Path

    def write(
        self,
        members: Iterable[tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]],
        records: Iterable[FileRecord],
        tail: bytes = b"",
    ) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for member in members:
                info, data = member if isinstance(member, tuple) else (member, b"")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        self.write_plain(buffer.getvalue() + tail, records)

    def write_plain(self, plain: bytes, records: Iterable[FileRecord]) -> None:
        with self.archive.open("wb") as output:
            frames = FrameWriter(output)
            frames.begin(b"all", LARGEST)
            frames.write(plain)
            table = frames.close()
        write_index(Index(table, list(records)), self.directory)

    @property
    def archive(self) -> Path:
        return self.directory / "rootfs.tar.zst"

    @property
    def target(self) -> Path:
        return self.directory / "inner/target"

    def unpack(self) -> None:
        self.target.mkdir(parents=True, exist_ok=True)
        unpack(self.archive, self.directory / "index.json.zst", self.target)

    def outside(self) -> dict[str, Entry]:
        """Everything but what lies in the target."""
        return {path: entry for path, entry in describe(self.directory).items() if not path.startswith("inner/target")}

    def must_be_refused(self) -> DisklessError:
        self.target.mkdir(parents=True, exist_ok=True)
        before = self.outside()
        with pytest.raises(DisklessError) as caught:
            self.unpack()
        assert self.outside() == before
        return caught.value


@pytest.fixture
def attack(tmp_path: Path) -> Attack:
    (tmp_path / "victim").write_bytes(b"untouched")
    (tmp_path / "inner/victims").mkdir(parents=True)
    return Attack(tmp_path)


def info(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = kind, link, 0o755 if kind == tarfile.DIRTYPE else 0o644
    member.mtime = EPOCH
    return member


def record(path: str, kind: str = FILE, link: str = "", size: int = 0) -> FileRecord:
    """What `info` says; a file holds `size` times an x."""
    digest = hashlib.sha256(b"x" * size).hexdigest() if kind == FILE and size < LARGEST else ""
    mode = 0o755 if kind == DIRECTORY else 0o644
    return FileRecord(path, kind, mode, 0, 0, EPOCH, size, digest, link, {}, 0)


ROOT_MEMBER = info(".", tarfile.DIRTYPE)
ROOT_RECORD = record(".", DIRECTORY)


def test_a_harmless_archive_made_by_hand_is_accepted(attack: Attack) -> None:
    """What is refused below is refused for its fault, not for how it was made."""
    attack.write([ROOT_MEMBER, (info("a"), b"x")], [ROOT_RECORD, record("a", size=1)])
    attack.unpack()
    assert (attack.target / "a").read_bytes() == b"x"


@pytest.mark.parametrize(
    "name",
    ["/absolute", "../outside", "a/../../outside", "..", "./../outside", "a//../../outside", "/", "//x", "a/.."],
)
def test_a_path_out_of_the_target_is_refused(name: str, attack: Attack) -> None:
    for path in (name, os.path.normpath(name)):
        if path == ".":
            continue
        attack.write([ROOT_MEMBER, (info(name), b"x")], [ROOT_RECORD, record(path, size=1)])
        attack.must_be_refused()
        shutil.rmtree(attack.target)


def test_an_absolute_path_writes_nothing(attack: Attack) -> None:
    goal = str(attack.directory / "absolute")
    attack.write([(info(goal), b"x")], [record(goal, size=1)])
    attack.must_be_refused()
    assert not Path(goal).exists()


@pytest.mark.parametrize("goal", ["..", "../victims", "{directory}", "/tmp"])
def test_nothing_is_written_through_a_symlink(goal: str, attack: Attack) -> None:
    link = goal.format(directory=attack.directory)
    attack.write(
        [info("link", tarfile.SYMTYPE, link), (info("link/file"), b"x")],
        [record("link", SYMLINK, link), record("link/file", size=1)],
    )
    attack.must_be_refused()


def test_nothing_is_written_over_a_symlink(attack: Attack) -> None:
    link = str(attack.directory / "victim")
    attack.write(
        [info("a", tarfile.SYMTYPE, link), (info("a"), b"x")],
        [record("a", SYMLINK, link), record("a", size=1)],
    )
    attack.must_be_refused()


def test_no_mode_or_time_is_given_to_what_a_symlink_names(attack: Attack) -> None:
    """A directory that a link has replaced before the end, when directories get their modes."""
    attack.write(
        [info("d", tarfile.DIRTYPE), info("d", tarfile.SYMTYPE, "../victims")],
        [record("d", DIRECTORY), record("d", SYMLINK, "../victims")],
    )
    attack.must_be_refused()


@pytest.mark.parametrize(
    "link", ["../victims/x", "../../victim", "/etc/passwd", "{directory}/victim", "..", "s/victim"]
)
def test_a_hard_link_out_of_the_target_is_refused(link: str, attack: Attack) -> None:
    path = link.format(directory=attack.directory)
    attack.write(
        [info("s", tarfile.SYMTYPE, "../.."), info("a", tarfile.LNKTYPE, path)],
        [record("s", SYMLINK, "../.."), record("a", HARDLINK, path)],
    )
    attack.must_be_refused()
    assert (attack.directory / "victim").stat().st_nlink == 1


def test_a_hard_link_to_what_does_not_exist_is_refused(attack: Attack) -> None:
    attack.write([info("a", tarfile.LNKTYPE, "b")], [record("a", HARDLINK, "b")])
    attack.must_be_refused()


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("said", [FILE, DIRECTORY, SYMLINK, "c", "b", "p", ""])
def test_a_device_is_never_made(kind: bytes, said: str, attack: Attack) -> None:
    device = info("device", kind)
    device.devmajor, device.devminor = 1, 3
    attack.write([device], [record("device", said, link="x" if said == SYMLINK else "")])
    attack.must_be_refused()
    made = attack.target / "device"
    assert not os.path.lexists(made) or stat.S_IFMT(made.lstat().st_mode) in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)


@pytest.mark.parametrize("kind", [(tarfile.REGTYPE, FILE), (tarfile.DIRTYPE, DIRECTORY), (tarfile.SYMTYPE, SYMLINK)])
def test_a_member_that_comes_twice_is_refused(kind: tuple[bytes, str], attack: Attack) -> None:
    link = "x" if kind[1] == SYMLINK else ""
    attack.write([info("a", kind[0], link)] * 2, [record("a", kind[1], link)] * 2)
    attack.must_be_refused()


MEMBERS: list[tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]] = [ROOT_MEMBER, (info("a"), b"x"), (info("b"), b"")]
A, B = record("a", size=1), record("b")
RECORDS = [ROOT_RECORD, A, B]
DISAGREEING: dict[str, list[FileRecord]] = {
    "one-less": [ROOT_RECORD, A],
    "one-less-at-the-start": [A, B],
    "none": [],
    "one-more": [*RECORDS, record("c")],
    "another-order": [ROOT_RECORD, B, A],
    "another-name": [ROOT_RECORD, replace(A, path="A"), B],
    "name-with-nul": [ROOT_RECORD, replace(A, path="a\0"), B],
    "smaller": [ROOT_RECORD, replace(A, size=0), B],
    "larger": [ROOT_RECORD, replace(A, size=2), B],
    "negative": [ROOT_RECORD, replace(A, size=-1), B],
    "another-digest": [ROOT_RECORD, replace(A, sha256="00" * 32), B],
    "unknown-type": [ROOT_RECORD, replace(A, type="x"), B],
    "hard-link": [ROOT_RECORD, A, replace(B, type=HARDLINK, link="a")],
    "directory": [ROOT_RECORD, A, replace(B, type=DIRECTORY)],
    "symlink": [ROOT_RECORD, A, replace(B, type=SYMLINK, link="a")],
    "setuid": [ROOT_RECORD, replace(A, mode=0o4755), B],
    "mode-of-no-file": [ROOT_RECORD, replace(A, mode=0o1000000), B],
    "another-owner": [ROOT_RECORD, replace(A, uid=1), B],
    "negative-owner": [ROOT_RECORD, replace(A, uid=-2), B],
    "owner-of-no-system": [ROOT_RECORD, replace(A, uid=1 << 40), B],
    "another-time": [ROOT_RECORD, replace(A, mtime=EPOCH + 1), B],
    "time-of-no-system": [ROOT_RECORD, replace(A, mtime=1 << 80), B],
    "another-xattr": [ROOT_RECORD, replace(A, xattrs={"user.a": "00"}), B],
    "xattr-that-is-not-hexadecimal": [ROOT_RECORD, replace(A, xattrs={"user.a": "no"}), B],
    "xattr-of-no-namespace": [ROOT_RECORD, replace(A, xattrs={"nonsense": "00"}), B],
}


@pytest.mark.parametrize("name", DISAGREEING)
def test_an_index_that_disagrees_is_refused(name: str, attack: Attack) -> None:
    attack.write(MEMBERS, DISAGREEING[name])
    attack.must_be_refused()


def test_a_size_that_lies_is_refused(attack: Attack) -> None:
    """The header says more than there is."""
    header = info("a")
    header.size = 1 << 30
    for size in (0, 1024, 1 << 30):
        attack.write_plain(header.tobuf(tarfile.USTAR_FORMAT) + bytes(1024), [record("a", size=size)])
        attack.must_be_refused()
        shutil.rmtree(attack.target)


@pytest.mark.parametrize("said", [False, True])
def test_a_member_after_the_end_is_refused(said: bool, attack: Attack) -> None:
    """Two zero blocks end an archive for every program; what follows must not be believed by any."""
    hidden = io.BytesIO()
    with tarfile.open(fileobj=hidden, mode="w") as archive:
        archive.addfile(info("hidden"))
    records = [record("a", size=1), *([record("hidden")] if said else [])]
    attack.write([(info("a"), b"x")], records, tail=hidden.getvalue())
    attack.must_be_refused()


@functools.cache
def small() -> Packed:
    """An archive of several frames to damage."""
    directory = scratch() / "small-archive"
    (directory / "tree").mkdir(parents=True)
    for number in range(40):
        (directory / f"tree/{number:02}").write_bytes(os.urandom(50000))
    result = pack(directory / "tree", directory)
    assert len(result.index.frames) > 5
    return result


UNPACK = """
import sys
from pathlib import Path
from builder.errors import DisklessError
from builder.archive.unpack import unpack
try:
    unpack(*map(Path, sys.argv[1:]))
except DisklessError as error:
    print(error.message)
    sys.exit(error.exit_code)
"""


def damaged(attack: Attack, data: bytes, index: Index | None = None) -> str:
    """The message of a damaged archive, read by a process of its own: damage must not crash the interpreter either."""
    attack.archive.write_bytes(data)
    table = write_index(index or small().index, attack.directory)
    shutil.rmtree(attack.target, ignore_errors=True)
    attack.target.mkdir()
    result = subprocess.run(
        [sys.executable, "-c", UNPACK, attack.archive, table, attack.target],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (result.returncode, result.stderr) == (AuditError.exit_code, "")
    return result.stdout


@pytest.mark.parametrize("kept", ["nothing", "a-byte", "half-a-frame", "two-frames", "half", "all-but-a-byte"])
def test_a_truncated_archive_is_refused(kept: str, attack: Attack) -> None:
    data, frames = small().archive.read_bytes(), small().index.frames
    lengths = {
        "nothing": 0,
        "a-byte": 1,
        "half-a-frame": frames[0].size // 2,
        "two-frames": frames[2].offset,
        "half": len(data) // 2,
        "all-but-a-byte": len(data) - 1,
    }
    assert str(attack.archive) in damaged(attack, data[: lengths[kept]])


@pytest.mark.parametrize("number", [0, 3, -1])
def test_a_damaged_archive_is_refused_and_the_place_named(number: int, attack: Attack) -> None:
    data = bytearray(small().archive.read_bytes())
    frame = small().index.frames[number]
    data[frame.offset + frame.size // 2] ^= 1
    assert f"{attack.archive}: damaged at byte {frame.offset}" in damaged(attack, bytes(data))


def as_frame(data: bytes, plain_size: int) -> Index:
    """An index that believes in `data`."""
    frame = Frame(0, len(data), plain_size, hashlib.sha256(data).hexdigest())
    return replace(small().index, frames=[frame])


def test_garbage_is_refused(attack: Attack) -> None:
    garbage = os.urandom(100000)
    damaged(attack, garbage)
    # and also when the index agrees with it
    damaged(attack, garbage, as_frame(garbage, 1000))
    compressed = zstandard.ZstdCompressor().compress(garbage)
    damaged(attack, compressed, as_frame(compressed, len(garbage)))


def test_a_frame_that_expands_without_end_is_refused(attack: Attack) -> None:
    bomb = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(200 << 20))
    damaged(attack, bomb, as_frame(bomb, 1000))


LIES: dict[str, Callable[[Frame], Frame]] = {
    "plain-size-too-small": lambda frame: replace(frame, plain_size=frame.plain_size - 1),
    "plain-size-too-large": lambda frame: replace(frame, plain_size=frame.plain_size + 1),
    "plain-size-huge": lambda frame: replace(frame, plain_size=1 << 60),
    "plain-size-negative": lambda frame: replace(frame, plain_size=-1),
    "size-too-small": lambda frame: replace(frame, size=frame.size - 1),
    "size-huge": lambda frame: replace(frame, size=1 << 60),
    "size-negative": lambda frame: replace(frame, size=-1),
    "empty": lambda frame: replace(frame, size=0, plain_size=0),
    "digest": lambda frame: replace(frame, sha256="00" * 32),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_frame_that_is_not_what_the_index_says_is_refused(lie: str, attack: Attack) -> None:
    index = small().index
    damaged(
        attack, small().archive.read_bytes(), replace(index, frames=[LIES[lie](index.frames[0]), *index.frames[1:]])
    )


@pytest.mark.parametrize("missing", [slice(1, None), slice(0, 3), slice(0, 0)], ids=["first", "last", "all"])
def test_an_index_without_all_frames_is_refused(missing: slice, attack: Attack) -> None:
    index = small().index
    damaged(attack, small().archive.read_bytes(), replace(index, frames=index.frames[missing]))


def test_another_archive_is_refused(attack: Attack) -> None:
    damaged(attack, packed().archive.read_bytes())


def test_a_target_that_is_not_empty_is_left_as_it_is(attack: Attack) -> None:
    attack.write(MEMBERS, RECORDS)
    attack.target.mkdir()
    (attack.target / "a").write_bytes(b"mine")
    with pytest.raises(DisklessError):
        attack.unpack()
    assert (attack.target / "a").read_bytes() == b"mine"


@pytest.mark.parametrize("data", [b"", b"garbage", os.urandom(1000)], ids=["empty", "text", "random"])
def test_a_bundle_that_is_none_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "boot.tar.zst"
    path.write_bytes(data)
    with pytest.raises(DisklessError, match=r"boot\.tar\.zst"):
        read_members(path)


def test_what_libarchive_only_warns_of_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, kind, content in (
            ("attributes", tarfile.XHDTYPE, b"no record\n"),
            ("vmlinuz", tarfile.REGTYPE, b"k"),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.size = kind, len(content)
            tar.addfile(member, io.BytesIO(content))
    path = tmp_path / "boot.tar.zst"
    path.write_bytes(zstandard.compress(buffer.getvalue()))
    with pytest.raises(AuditError, match="pax"):
        read_members(path)
    assert capfd.readouterr().err == ""


def test_an_index_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises((DisklessError, OSError), match="index"):
        read_index(tmp_path / "index.json.zst")
