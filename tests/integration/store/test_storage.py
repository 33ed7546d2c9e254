"""Roots on file systems of their own: made, mounted, full, lost, and a store of 0.1 that is brought over to them."""

from __future__ import annotations

import dataclasses
import errno
import os
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.deploy import adopt_kernel, prune, refresh_menus, rollback
from builder.errors import AuditError, CommandError, DisklessError, HostError, InputError
from builder.output.versions import read_manifest
from builder.server_config.texts import served_store
from builder.shares import image_file
from builder.shares.image_file import has_holes
from builder.shares.state import StorageState, read_shares
from builder.storage import StorageOptions, set_up_storage
from builder.store.inspection.usage import old_clients
from builder.store.inspection.verification import EXPORTS, FILE_SYSTEMS, verify
from builder.store.inventory import read_inventory
from builder.store.layout import find_store
from builder.store.pruning import PruneOptions
from builder.store.records.record import Record, read_record, write_record
from builder.system.mounts import is_own_filesystem, mount_at
from builder.system.private_mounts import private_mounts
from tests.command import run_command
from tests.releases import DESK, FIRST, SECOND, unpack_release
from tests.require import needs_root, needs_tool
from tests.scratch import new_place
from tests.stores import deployed, faults, menu, quiet, snapshot, version

pytestmark = [needs_root, needs_tool("mkfs.ext4", "mkfs.xfs", "losetup"), pytest.mark.root]
SIZE = 128 << 20


@pytest.fixture(autouse=True)
def _own_mounts() -> Iterator[None]:
    with private_mounts():
        yield


@pytest.fixture
def place() -> Path:
    return new_place() / "store"


def storage(place: Path, *, end_old: bool = False, desk: int | None = None, **sizes: int) -> StorageState:
    given = sizes if desk is None else {**sizes, "rw/desk": desk}
    return set_up_storage(place, StorageOptions(given, end_old), quiet())


def roots(place: Path) -> dict[str, str]:
    """Image and version -> where its root is, below the store."""
    store = find_store(place)
    found = read_inventory(store).manifests
    return {f"{one.image} {one.version}": str(store.root_of(one).relative_to(place)) for one in found}


def test_a_new_store_with_file_systems_of_its_own(place: Path) -> None:
    state = storage(place, ro=SIZE, rw=SIZE)
    assert [(share.path, share.fsid, share.mounted, share.fault) for share in state.shares] == [
        ("ro", 3, True, None),
        ("rw", 4, True, None),
    ]
    assert read_record(place) == Record({"ro": 3, "rw": 4})
    done = deployed(place, version("1"), version("2"), version("1", image="desk", mode="rw"))
    assert roots(place) == {
        f"lab {version('1').name}": f"ro/lab/{version('1').name}/root",
        f"lab {version('2').name}": f"ro/lab/{version('2').name}/root",
        f"desk {version('1', image='desk', mode='rw').name}": str(done[2].root.relative_to(place)),
    }
    assert f":{place}/ro/lab/{version('2').name}/root" in menu(place)
    assert done[1].unpacked is not None
    assert done[1].unpacked.reused > 40
    assert faults(place) == []
    for share in ("ro", "rw"):
        assert stat.S_IMODE((place / share).stat().st_mode) == 0o700
    assert not list((place / "versions").glob("*/*/root"))


def test_nothing_of_a_root_is_run_on_the_server(place: Path) -> None:
    storage(place, ro=SIZE)
    lines = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    (options,) = [line.split()[5].split(",") for line in lines if line.split()[4] == str(place / "ro")]
    assert {"nosuid", "nodev"} <= set(options)


def test_a_share_and_what_lies_beside_it_are_different_file_systems(place: Path) -> None:
    storage(place, ro=SIZE, rw=SIZE)
    devices = {path.stat().st_dev for path in (place, place / "ro", place / "rw")}
    assert len(devices) == 3
    for share in ("ro", "rw"):
        mount = mount_at(place / share)
        assert mount is not None
        assert mount.root == "/"


@pytest.mark.parametrize("kind", ["directory", "bind", "same"])
def test_a_directory_of_another_file_system_is_no_share(place: Path, kind: str) -> None:
    """Through a bind mount of a directory a handle reaches all of the file system that it is a part of."""
    deployed(place, version("1"))
    source = new_place()
    (place / "ro").mkdir()
    if kind == "same":
        storage(place, rw=SIZE)
        source = place / "rw"
    if kind != "directory":
        subprocess.run(["mount", "--bind", source, place / "ro"], check=True)
    if kind == "same":
        with pytest.raises(InputError, match="are one file system"):
            storage(place)
    else:
        assert not is_own_filesystem(place / "ro")
        storage(place)
    assert "ro" not in read_record(place).shares


def test_the_administrators_own_file_system_is_taken(place: Path) -> None:
    place.mkdir()
    (place / "ro").mkdir()
    image = new_place() / "volume"
    image.write_bytes(b"")
    os.truncate(image, SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, place / "ro"], check=True)
    deployed(place, version("1"))
    assert read_record(place) == Record({"ro": 3})
    assert faults(place) == []
    with pytest.raises(InputError, match="your own"):
        storage(place, ro=SIZE)


@pytest.mark.parametrize("new", [True, False])
def test_xfs_is_not_exported(place: Path, new: bool) -> None:
    """Its own files can be opened by handle; whether the store is new or not, and also where it was taken before."""
    if not new:
        deployed(place, version("1"))
    (place / "ro").mkdir(parents=True)
    image = new_place() / "volume"
    image.write_bytes(b"")
    os.truncate(image, 400 << 20)
    subprocess.run(["mkfs.xfs", "-q", "-f", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, place / "ro"], check=True)
    with pytest.raises(HostError, match="ro is on XFS, whose internal files"):
        storage(place)
    if new:
        assert not (place / "store.json").exists()
    else:
        assert read_record(place).shares == {}
        write_record(place, Record({"ro": 3}))
        assert "is on XFS" in str(read_shares(find_store(place))[0].fault)


def test_without_loop_devices_nothing_is_made(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_file, "_LOOP_CONTROL", str(place / "loop-control"))
    with pytest.raises(HostError, match=r"without loop devices: .*: No such file") as caught:
        storage(place, ro=SIZE)
    assert "modprobe loop" in str(caught.value.hint)
    assert list((place / "filesystems").iterdir()) == []


def test_all_of_an_image_file_is_allocated(place: Path) -> None:
    storage(place, ro=SIZE)
    image = place / "filesystems/ro.img"
    assert image.stat().st_size == SIZE
    assert not has_holes(image)
    assert stat.S_IMODE(image.stat().st_mode) == 0o600
    # as fstrim(8) does it
    subprocess.run(["fallocate", "--punch-hole", "--offset", "64M", "--length", "8M", image], check=True)
    assert has_holes(image)
    assert "has holes" in str(read_shares(find_store(place))[0].fault)


def test_a_full_disk_below_is_no_error_above(place: Path) -> None:
    """What the file system in the file believes to have it has."""
    disk = new_place() / "disk"
    disk.write_bytes(b"")
    os.truncate(disk, 400 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", disk], check=True)
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", disk, place], check=True)
    (place / "lost+found").rmdir()
    storage(place, ro=SIZE)
    fill(place / "filler")
    fill(place / "ro/filler")
    room = os.statvfs(place / "ro")
    assert room.f_bavail == 0
    subprocess.run(["sync"], check=True)
    written = (place / "ro/filler").stat().st_size
    assert written > SIZE * 0.8
    subprocess.run(["umount", place / "ro"], check=True)
    subprocess.run(["fsck.ext4", "-f", "-n", place / "filesystems/ro.img"], check=True, capture_output=True)


def fill(path: Path) -> None:
    """Writes until nothing more fits, and sees all of it on disk: other errors than "no space" are raised."""
    with path.open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(os.urandom(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC, error
                size //= 2
        os.fsync(file.fileno())


def test_a_disk_without_room_for_it(place: Path) -> None:
    with pytest.raises(HostError, match="GB are wanted"):
        storage(place, ro=1 << 50)
    assert list((place / "filesystems").iterdir()) == []
    assert read_record(place) == Record()
    storage(place, ro=SIZE)


@pytest.mark.parametrize("size", [0, 1 << 20])
def test_sizes_that_cannot_be(place: Path, size: int) -> None:
    with pytest.raises(InputError, match="too few"):
        storage(place, ro=size)


def test_it_grows_and_never_shrinks(place: Path) -> None:
    storage(place, ro=SIZE + (1 << 20))
    with pytest.raises(InputError, match="cannot shrink"):
        storage(place, ro=SIZE)
    try:
        (share,) = storage(place, ro=2 * SIZE).shares
    except CommandError as error:
        # the kernel wants CAP_SYS_RESOURCE to resize what is mounted: what was said is the program's own
        assert "resize" in "".join(error.details)
        assert "CAP_SYS_RESOURCE" in str(error.hint)
        (share,) = read_shares(find_store(place))
        assert share.mounted
    else:
        assert share.size is not None
        assert share.size > 1.8 * SIZE
    assert not has_holes(place / "filesystems/ro.img")
    deployed(place, version("1"))


def test_a_store_with_an_image_of_the_other_mode_says_what_is_missing(place: Path) -> None:
    storage(place, ro=SIZE)
    deployed(place, version("1"))
    before = snapshot(place)
    with pytest.raises(HostError, match="no file system rw/"):
        deployed(place, version("1", mode="rw", image="desk"))
    assert snapshot(place) == before


def test_an_image_with_a_file_system_of_its_own(place: Path) -> None:
    storage(place, rw=SIZE, desk=SIZE)
    deployed(place, version("1", image="desk", mode="rw"), version("1", image="lab", mode="rw"))
    (place / "site.yml").write_text(
        "server: 192.168.1.1\nclients:\n  - {mac: '52:54:00:00:00:01', address: 192.168.1.10, image: desk}\n", "utf-8"
    )
    served, _ = served_store(place)
    assert [share.path for share in served.shares] == ["rw", "rw/desk"]
    assert len({(place / share.path).stat().st_dev for share in served.shares}) == 2
    assert faults(place) == []
    deployed(place, version("2", image="desk", mode="rw"))
    prune(place, PruneOptions(keep=1, minimum_age=0, force=True), quiet())
    assert faults(place) == []
    assert is_own_filesystem(place / "rw/desk")


def test_no_read_write_export_without_a_read_write_image(place: Path) -> None:
    storage(place, ro=SIZE, rw=SIZE)
    deployed(place, version("1"))
    assert [share.path for share in served_store(place)[0].shares] == ["ro"]
    deployed(place, version("1", image="desk", mode="rw"))
    assert [share.path for share in served_store(place)[0].shares] == ["ro", "rw"]


def test_nothing_is_exported_of_a_store_without(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deployed(place, version("1"))
    arguments = ("server-config", "--to", str(place))
    status, output, message = run_command(capsys, *arguments)
    assert (status, output) == (3, "")
    assert f"diskless storage --to {place} --ro SIZE" in message
    assert run_command(capsys, *arguments, "--format", "ganesha")[0] == 3
    assert run_command(capsys, *arguments, "--format", "dnsmasq-proxy")[0] == 0


COMMANDS: dict[str, Callable[[Path], object]] = {
    "deploy": lambda place: deployed(place, version("2")),
    "rollback": lambda place: rollback(place, "lab", version("1").name, quiet()),
    "prune": lambda place: prune(place, PruneOptions(keep=1, minimum_age=0, force=True), quiet()),
    "refresh": lambda place: refresh_menus(place, quiet()),
    "adopt-kernel": lambda place: adopt_kernel(place, "lab", None, quiet()),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_changed_while_a_file_system_is_not_mounted(place: Path, command: str) -> None:
    """A recovery that did not find the roots would remove every version."""
    storage(place, ro=SIZE)
    deployed(place, version("1"), version("2"))
    subprocess.run(["umount", place / "ro"], check=True)
    before = snapshot(place)
    with pytest.raises(HostError, match="is not mounted"):
        COMMANDS[command](place)
    assert snapshot(place) == before
    assert [finding.where for finding in verify(find_store(place))] == [FILE_SYSTEMS]
    assert [share.mounted for share in read_shares(find_store(place))] == [False]
    storage(place)
    assert faults(place) == []


def test_what_was_written_below_a_lost_mount_is_not_hidden_silently(place: Path) -> None:
    storage(place, ro=SIZE)
    subprocess.run(["umount", place / "ro"], check=True)
    (place / "filesystems/ro.img").unlink()
    with pytest.raises(HostError, match="not from an image file"):
        storage(place)


def test_a_root_whose_version_is_lost(place: Path) -> None:
    """The store's disk was restored from a backup, the other one not."""
    storage(place, ro=SIZE, rw=SIZE)
    deployed(place, version("1"), version("2"), version("1", image="desk", mode="rw"))
    desk = version("1", image="desk", mode="rw")
    deployed(place, version("1", image="other", mode="rw"))
    for image, name in (("lab", version("2").name), ("desk", desk.name)):
        subprocess.run(["rm", "-r", place / "versions" / image / name], check=True)
    where = {finding.where for finding in faults(place)}
    assert {str(place / "ro/lab" / version("2").name), str(place / "rw/desk" / desk.name)} <= where
    rollback(place, "lab", version("1").name, quiet())
    deployed(place, version("2"))
    with pytest.raises(AuditError, match="clients may have written"):
        deployed(place, desk)
    assert (place / "rw/desk" / desk.name / "root/etc/name").exists()


@pytest.fixture
def old(place: Path) -> Path:
    """What 0.1 wrote, with a client's files in its read-write root."""
    store = unpack_release("0.1", place.parent) / "store"
    root = store / "writable/desk" / DESK / "root"
    (root / "var/mine").mkdir(parents=True)
    (root / "var/mine/file").write_bytes(b"mine")
    (root / "var/mine/link").hardlink_to(root / "var/mine/file")
    os.setxattr(root / "var/mine/file", "user.mine", b"yes")
    os.mknod(root / "var/mine/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mkfifo(root / "var/mine/pipe")
    with (root / "var/mine/sparse").open("wb") as file:
        file.truncate(1 << 28)
    (root / "var/mine/out").symlink_to("/etc")
    (root / "var/mine/nobody").write_bytes(b"")
    os.chown(root / "var/mine/nobody", 65534, 12345)
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(root / "var/mine", os.O_PATH)
        server.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
    return store


def test_a_store_of_0_1_goes_on_and_says_that_it_is_unsafe(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = served_store(old)
    assert [(share.path, share.fsid, share.holds) for share in before[0].shares] == [
        ("versions", 1, False),
        ("writable", 2, False),
    ]
    status, _, message = run_command(capsys, "deploy", str(version("1", image="lab")), "--to", str(old))
    assert status == 0
    assert f"diskless storage --to {old} --ro SIZE" in message
    assert (old / "versions/lab" / version("1").name / "root").is_dir()
    assert read_record(old) == Record(old_exports=True)
    assert [finding.where for finding in faults(old)] == [EXPORTS]
    assert "--ro SIZE" in run_command(capsys, "server-config", "--to", str(old))[2]
    assert run_command(capsys, "verify", "--to", str(old))[0] == 5
    printed = run_command(capsys, "status", "--to", str(old))[1]
    assert "fault: clients reach every file" in printed
    assert "no client is known to use them" in printed


def test_a_store_of_0_1_is_brought_over_while_clients_run(old: Path) -> None:
    lab, desk = old / "versions/lab", old / "writable/desk" / DESK
    held = {path: path.stat().st_ino for path in sorted(lab.glob("*/root/**/*")) if path.is_file()}
    unchanged = snapshot(desk)
    state = storage(old, ro=SIZE, rw=SIZE)
    assert (state.old_exports, state.waiting) == (True, (("desk", DESK),))
    assert roots(old) == {
        f"desk {DESK}": f"writable/desk/{DESK}/root",
        f"lab {FIRST}": f"ro/lab/{FIRST}/root",
        f"lab {SECOND}": f"ro/lab/{SECOND}/root",
    }
    assert f"{SECOND}/root" in menu(old)
    assert "/versions/lab" not in menu(old)
    # running clients name files by these numbers
    assert {path: path.stat().st_ino for path in held} == held
    assert snapshot(desk) == unchanged
    shares = served_store(old)[0].shares
    assert [(share.path, share.fsid, share.holds) for share in shares] == [
        ("ro", 3, True),
        ("rw", 4, True),
        ("versions", 1, False),
        ("writable", 2, False),
    ]
    assert "--end-old-exports" in str(served_store(old)[1])
    assert [finding.where for finding in faults(old)] == [EXPORTS]
    both = [old / "ro/lab" / name / "root/usr/bin/perl" for name in (FIRST, SECOND)]
    if all(path.exists() for path in both):
        assert len({path.stat().st_ino for path in both}) == 1


def test_the_exports_of_0_1_end(old: Path) -> None:
    storage(old, ro=SIZE, rw=SIZE)
    before = snapshot(old / "writable/desk" / DESK / "root")
    storage(old, end_old=True)
    after = snapshot(old / "rw/desk" / DESK / "root")
    assert without_numbers(after) == without_numbers(
        {path: what for path, what in before.items() if "socket" not in path}
    )
    mine = old / "rw/desk" / DESK / "root/var/mine"
    assert (mine / "file").stat().st_ino == (mine / "link").stat().st_ino
    assert (mine / "sparse").stat().st_blocks == 0
    assert not list((old / "versions").glob("*/*/root"))
    assert not (old / "writable/desk").exists()
    assert read_record(old) == Record({"ro": 3, "rw": 4})
    assert faults(old) == []
    assert f"/rw/desk/{DESK}/root" in menu(old)
    assert [share.path for share in served_store(old)[0].shares] == ["ro", "rw"]


def without_numbers(found: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    """A snapshot but for inode numbers."""
    return {path: what if len(what) < 7 else (*what[:5], *what[6:]) for path, what in found.items()}


def test_old_exports_do_not_end_under_a_client(old: Path, tmp_path: Path) -> None:
    storage(old, ro=SIZE, rw=SIZE)
    store = find_store(old)
    rmtab, clients = tmp_path / "rmtab", tmp_path / "clients"
    assert old_clients(read_inventory(store), rmtab, clients) == set()
    rmtab.write_text(f"192.168.1.10:{old}/writable/desk/{DESK}/root:0x00000001\n192.168.1.11:{old}/ro/x:0x00000001\n")
    assert old_clients(read_inventory(store), rmtab, clients) == {"192.168.1.10"}
    rmtab.unlink()
    (clients / "1").mkdir(parents=True)
    (clients / "1/info").write_text('address: "192.168.1.12:926"\n')
    file = next(path for path in (old / "versions/lab").glob("*/root/**/*") if path.is_file()).stat()
    device = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}"
    (clients / "1/states").write_text(f'- 0x1: {{ type: open, superblock: "{device}:{file.st_ino}" }}\n')
    assert old_clients(read_inventory(store), rmtab, clients) == {"192.168.1.12"}


def test_old_exports_do_not_end_without_a_place_for_every_root(old: Path) -> None:
    storage(old, ro=SIZE)
    with pytest.raises(HostError, match="no file system rw/"):
        storage(old, end_old=True)
    assert read_record(old).old_exports
    assert (old / "writable/desk" / DESK / "root/var/mine/file").read_bytes() == b"mine"


def test_a_damaged_root_is_not_brought_over(old: Path) -> None:
    victim = next(path for path in (old / "versions/lab" / FIRST / "root").rglob("*") if path.is_file())
    info = victim.stat()
    victim.write_bytes(b"x" * info.st_size)
    os.utime(victim, ns=(info.st_atime_ns, info.st_mtime_ns))
    with pytest.raises(DisklessError, match="not as it was deployed"):
        storage(old, ro=SIZE)
    assert not list((old / "ro").glob("*/*"))
    assert f"/versions/lab/{SECOND}/root" in menu(old)


def test_a_store_that_was_never_exported_is_brought_over_at_once(place: Path) -> None:
    desk = version("1", image="desk", mode="rw")
    deployed(place, version("1"), version("2"), desk)
    state = storage(place, ro=SIZE, rw=SIZE)
    assert (state.old_exports, state.waiting) == (False, ())
    assert sorted(roots(place).values()) == sorted(
        [f"ro/lab/{version('1').name}/root", f"ro/lab/{version('2').name}/root", f"rw/desk/{desk.name}/root"]
    )
    assert not list((place / "versions").glob("*/*/root"))
    assert faults(place) == []
    deployed(place, version("3"))
    rollback(place, "lab", None, quiet())
    assert faults(place) == []


def test_what_storage_prints(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, output, _ = run_command(capsys, "storage", "--to", str(place), "--ro", "128M")
    assert status == 0
    assert f"{place}/ro: " in output
    assert f"diskless server-config --to {place} --install" in output
    for wrong in ("128", "1.5G", "x", "-1G"):
        assert run_command(capsys, "storage", "--to", str(place), "--ro", wrong)[0] == 2
    assert run_command(capsys, "storage", "--to", str(place), "--rw-image", "a/b=1G")[0] == 2
    assert run_command(capsys, "storage", "--to", str(place), "--rw-image", "lab")[0] == 2


def test_a_manifest_is_never_exported(place: Path) -> None:
    storage(place, ro=SIZE, rw=SIZE)
    deployed(place, version("1"), version("1", image="desk", mode="rw"))
    for share in ("ro", "rw"):
        top = [path for path in (place / share).rglob("*") if len(path.relative_to(place / share).parts) <= 3]
        assert {path.name for path in top if path.is_file()} == set()
    assert read_manifest(place / "versions/lab" / version("1").name).image == "lab"


def test_dataclasses_of_the_state_are_plain(place: Path) -> None:
    state = dataclasses.asdict(storage(place, ro=SIZE))
    assert state["shares"][0]["image"] == place / "filesystems/ro.img"
