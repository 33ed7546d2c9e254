"""Versions that lie: each is refused with a message, nothing is written outside, the store is as it was before."""

from __future__ import annotations

import concurrent.futures
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from builder.archive.unpack import read_index
from builder.errors import AuditError, DisklessError, HostError, InputError
from builder.model.artifacts.index import FILE, SYMLINK
from builder.model.artifacts.manifest import INDEX, ROOTFS
from tests.forgery import SMALL, Forgery, compressed
from tests.images import ROOT
from tests.require import needs_root
from tests.scratch import new_place
from tests.stores import deployed, faults, snapshot
from tests.versions import EPOCH, Changes, Entry, make_version

pytestmark = [needs_root, pytest.mark.root]
QUICK, ALL, BATCH = 300, 10_000, 500


def info(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = kind, link, 0o755 if kind == tarfile.DIRTYPE else 0o644
    member.mtime = EPOCH
    return member


TOP = (info(".", tarfile.DIRTYPE), b"")


def absolute_name(f: Forgery) -> None:
    f.set_tar([TOP, (info("/tmp/absolute"), b"x")])


def name_that_leads_up(f: Forgery) -> None:
    f.set_tar([TOP, (info("../outside"), b"x")])


def name_that_leads_up_from_below(f: Forgery) -> None:
    f.set_tar([TOP, (info("a", tarfile.DIRTYPE), b""), (info("a/../../outside"), b"x")])


def hard_link_out(f: Forgery) -> None:
    f.set_tar([TOP, (info("a", tarfile.LNKTYPE, "../../../../victim"), b"")])


def hard_link_to_an_absolute_path(f: Forgery) -> None:
    f.set_tar([TOP, (info("a", tarfile.LNKTYPE, "/etc/passwd"), b"")])


def hard_link_through_a_symlink(f: Forgery) -> None:
    members = [TOP, (info("s", tarfile.SYMTYPE, "/etc"), b""), (info("t", tarfile.LNKTYPE, "s/passwd"), b"")]
    f.set_tar(members)


def hard_link_to_a_directory(f: Forgery) -> None:
    f.set_tar([TOP, (info("d", tarfile.DIRTYPE), b""), (info("e", tarfile.LNKTYPE, "d"), b"")])


def file_below_a_symlink(f: Forgery) -> None:
    f.set_tar([TOP, (info("s", tarfile.SYMTYPE, "../../../.."), b""), (info("s/victim"), b"x")])


def file_over_a_symlink(f: Forgery) -> None:
    f.set_tar([TOP, (info("s", tarfile.SYMTYPE, "/etc/passwd"), b""), (info("s"), b"x")])


def file_below_a_file(f: Forgery) -> None:
    f.set_tar([TOP, (info("a"), b"x"), (info("a/b"), b"x")])


def device(f: Forgery) -> None:
    f.set_tar([TOP, (info("null", tarfile.CHRTYPE), b"")])


def pipe(f: Forgery) -> None:
    f.set_tar([TOP, (info("pipe", tarfile.FIFOTYPE), b"")])


def member_that_comes_twice(f: Forgery) -> None:
    f.set_tar([TOP, (info("a"), b"x"), (info("a"), b"x")])


def name_with_nul(f: Forgery) -> None:
    f.row("etc/hostname")[0] = "etc/host\0name"


def link_with_nul(f: Forgery) -> None:
    f.row("bin")[8] = "usr\0bin"


def name_that_is_no_text(f: Forgery) -> None:
    f.row("etc/hostname")[0] = "etc/hostname\udcff"


def size_that_lies(f: Forgery) -> None:
    f.row("etc/hostname")[6] += 1


def size_beyond_all_disks(f: Forgery) -> None:
    f.row("etc/hostname")[6] = 2**61


def digest_that_lies(f: Forgery) -> None:
    f.row("etc/hostname")[7] = "00" * 32


def index_without_a_file(f: Forgery) -> None:
    f.index["files"].remove(f.row("etc/hostname"))


def index_with_one_more(f: Forgery) -> None:
    f.index["files"].append(["zzzz", *f.row("etc/empty")[1:10], len(f.plain) - 1])


def frames_that_go_backwards(f: Forgery) -> None:
    f.index["files"][-1][10] = 0


def frame_that_is_not_there(f: Forgery) -> None:
    f.index["files"][-1][10] = len(f.plain)


def root_that_is_a_file(f: Forgery) -> None:
    f.index["files"][0] = [".", "f", 0o644, 0, 0, EPOCH, 0, hashlib.sha256(b"").hexdigest(), "", {}, 0]


def no_root(f: Forgery) -> None:
    del f.index["files"][0]


def attribute_of_a_hard_link(f: Forgery) -> None:
    f.row("usr/bin/ping6")[9] = {"user.x": "00"}


def image_that_leads_up(f: Forgery) -> None:
    f.manifest["image"] = ".."


def image_with_a_slash(f: Forgery) -> None:
    f.manifest["image"] = "lab/../../outside"


def reserved_image(f: Forgery) -> None:
    f.manifest["image"] = "current"


def version_that_leads_up(f: Forgery) -> None:
    f.fix_manifest = False
    f.manifest["version"] = "../../outside"


def another_root_digest(f: Forgery) -> None:
    f.fix_manifest = False
    f.row("etc/hostname")[2] = 0o4755
    f.manifest["root_digest"] = "ab" * 32
    f.manifest["version"] = "20260102-abababab"


def line_break_in_the_cmdline(f: Forgery) -> None:
    f.manifest["cmdline"] = ["quiet\nLABEL evil"]


def lone_surrogate_in_the_cmdline(f: Forgery) -> None:
    f.manifest["cmdline"] = ["quiet\ud800"]


def mount_option_with_a_space(f: Forgery) -> None:
    f.manifest["root"]["options"] = ["rsize=1 init=/bin/sh"]


def huge_counts(f: Forgery) -> None:
    f.fix_manifest = False
    f.manifest["entries"] = 10**18


def set_frame(f: Forgery, data: Callable[[bytes], bytes]) -> None:
    """Other bytes for the frame that etc/hostname lies in, and an index that says so."""
    frames = [compressed(plain) for plain in f.plain]
    number = f.row("etc/hostname")[10]
    frames[number] = data(frames[number])
    f._fix_frames(frames)
    f.fix_frames = False
    f.rootfs_file = b"".join(frames)


def bomb_in_the_rootfs(f: Forgery) -> None:
    set_frame(f, lambda frame: compressed(bytes(1 << 30)))


def two_frames_that_are_said_to_be_one(f: Forgery) -> None:
    set_frame(f, lambda frame: frame + compressed(b"hidden"))


def bomb_in_the_index(f: Forgery) -> None:
    compressor = zstandard.ZstdCompressor().compressobj()
    f.index_file = b"".join(compressor.compress(b" " * (1 << 20)) for _ in range(300)) + compressor.flush()


def bomb_in_the_bundle(f: Forgery) -> None:
    compressor = zstandard.ZstdCompressor().compressobj()
    f.bundle_file = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(1100)) + compressor.flush()


def nested_index(f: Forgery) -> None:
    f.index_file = compressed(b"[" * 100_000)


def bundle_that_leads_up(f: Forgery) -> None:
    f.bundle["../../outside"] = b"x"


def bundle_with_a_file_that_is_a_directory(f: Forgery) -> None:
    f.bundle = {"pxelinux.cfg": b"x", **f.bundle}


def bundle_with_a_long_name(f: Forgery) -> None:
    f.bundle["n" * 300] = b"x"


def bundle_without_a_kernel(f: Forgery) -> None:
    del f.bundle["vmlinuz"]


def bundle_with_another_kernel(f: Forgery) -> None:
    f.bundle["vmlinuz"] = b"no kernel"


def kernel_of_another_release(f: Forgery) -> None:
    f.bundle["vmlinuz"] = f.bundle["vmlinuz"].replace(b"6.1.0-1-test", b"6.1.0-2-test")


HOSTILE: tuple[Callable[[Forgery], None], ...] = (
    *(absolute_name, name_that_leads_up, name_that_leads_up_from_below, hard_link_out, hard_link_to_an_absolute_path),
    *(hard_link_through_a_symlink, hard_link_to_a_directory, file_below_a_symlink, file_over_a_symlink),
    *(file_below_a_file, device, pipe, member_that_comes_twice, name_with_nul, link_with_nul, name_that_is_no_text),
    *(size_that_lies, size_beyond_all_disks, digest_that_lies, index_without_a_file, index_with_one_more),
    *(frames_that_go_backwards, frame_that_is_not_there, root_that_is_a_file, no_root, attribute_of_a_hard_link),
    *(image_that_leads_up, image_with_a_slash, reserved_image, version_that_leads_up, another_root_digest),
    *(
        line_break_in_the_cmdline,
        lone_surrogate_in_the_cmdline,
        mount_option_with_a_space,
        huge_counts,
        bomb_in_the_rootfs,
    ),
    *(two_frames_that_are_said_to_be_one, bomb_in_the_index, bomb_in_the_bundle, nested_index, bundle_that_leads_up),
    *(bundle_with_a_file_that_is_a_directory, bundle_with_a_long_name, bundle_without_a_kernel),
    *(bundle_with_another_kernel, kernel_of_another_release),
)


@pytest.fixture(scope="module")
def base() -> Path:
    return make_version(new_place(), SMALL, files=40)


@pytest.fixture(scope="module")
def older() -> Path:
    """Everything but one file can be linked from it, so that only some frames are read."""
    return make_version(new_place(), {**SMALL, "etc/hostname": b"older\n", "zzz": Entry(b"")}, files=40)


def test_what_is_not_tampered_with_is_accepted(base: Path, older: Path) -> None:
    place = new_place()
    deployed(place / "store", older, Forgery(base).write(place))
    assert faults(place / "store") == []


# what no file is needed from is not read: the version is then what the index says
UNSEEN = {index_without_a_file}
CASES = [
    (tamper, start) for tamper in HOSTILE for start in ("empty", "older") if start == "empty" or tamper not in UNSEEN
]


@pytest.mark.parametrize(("tamper", "start"), CASES, ids=[f"{tamper.__name__}-{start}" for tamper, start in CASES])
def test_hostile_versions_are_refused(tamper: Callable[[Forgery], None], start: str, base: Path, older: Path) -> None:
    place = new_place()
    (place / "victim").write_bytes(b"untouched")
    deployed(place / "store", older if start == "older" else make_version(place, SMALL, image="other", files=40))
    forgery = Forgery(base)
    tamper(forgery)
    forged = forgery.write(place)
    before = snapshot(place)
    with pytest.raises(DisklessError) as caught:
        deployed(place / "store", forged)
    assert isinstance(caught.value, AuditError | InputError | HostError)
    assert caught.value.hint
    assert snapshot(place) == before


LINKS: Changes = {f"usr/links/{number:04}": Entry(type=SYMLINK, mode=0o777, link="nowhere") for number in range(2000)}


def copied(version: Path, *, flip: int | None = None, tail: bytes = b"") -> Path:
    """A copy whose archive has another byte at the place `flip`, or more; manifest and index do not know."""
    copy = new_place() / "version"
    shutil.copytree(version, copy)
    data = bytearray((copy / ROOTFS).read_bytes() + tail)
    if flip is not None:
        data[flip] ^= 1
    (copy / ROOTFS).write_bytes(data)
    return copy


def test_each_frame_of_a_first_deploy_is_checked() -> None:
    """Also one without a file: of what is deployed first, the archive's own checksum is not taken."""
    version = make_version(new_place(), {**SMALL, **LINKS}, files=40)
    index = read_index(version / INDEX)
    with_files = {record.frame for record in index.files if record.type == FILE}
    without = [index.frames[number] for number in {record.frame for record in index.files} - with_files]
    assert without
    for frame in (index.frames[0], *without, index.frames[-1]):
        with pytest.raises(AuditError, match=f"damaged at byte {frame.offset}$"):
            deployed(new_place() / "store", copied(version, flip=frame.offset + frame.size // 2))


@pytest.mark.parametrize("tail", [b"x", bytes(512)])
def test_an_archive_that_is_too_long(tail: bytes, base: Path) -> None:
    with pytest.raises(AuditError, match=r"bytes, manifest\.json says"):
        deployed(new_place() / "store", copied(base, tail=tail))


def test_what_a_change_does_not_read_of_the_archive_is_checked_too(base: Path, older: Path) -> None:
    index = read_index(base / INDEX)
    frame = index.frames[next(record.frame for record in index.files if record.path == "usr/bin/ping")]
    with pytest.raises(AuditError, match=r"is not what manifest\.json says: SHA-256"):
        deployed(new_place() / "store", older, copied(base, flip=frame.offset + 9))


def mutated(first: int, last: int) -> int:
    """How many of the mutations were accepted; run by a process of its own, which damage must not crash either."""
    memory = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(prefix="diskless-forged-", dir=memory if memory.is_dir() else new_place()))
    try:
        command = [sys.executable, "-m", "tests.forgery", str(place), str(first), str(last)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
        assert (result.returncode, result.stderr) == (0, "")
        return int(result.stdout)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def all_mutated(count: int, batch: int) -> int:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        starts = range(0, count, batch)
        return sum(pool.map(lambda first: mutated(first, min(first + batch, count)), starts))


def test_mutated_versions_are_refused_or_are_what_they_say() -> None:
    accepted = all_mutated(QUICK, QUICK // 2)
    assert 0 < accepted < QUICK // 2


@pytest.mark.full
def test_many_mutated_versions_are_refused_or_are_what_they_say() -> None:
    accepted = all_mutated(ALL, BATCH)
    assert 0 < accepted < ALL // 2
