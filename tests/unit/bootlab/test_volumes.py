"""What a lab's file systems are made of, and how large they are."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Iterable
from pathlib import Path

import pytest

from builder.boot import BootOptions, store_volumes
from builder.bootlab.machine.guest import Machine
from builder.bootlab.walls import volumes
from builder.bootlab.walls.volumes import Medium, check_memory, choose_medium
from builder.errors import HostError
from builder.model.artifacts.manifest import Manifest
from builder.model.recipe import RootMode
from builder.output.versions import read_manifest
from builder.system.privileges.confinement import Confinement, Refusal
from builder.system.privileges.permissions import Permission
from tests.versions import make_version

GIB = 1 << 30
MISSING = Refusal("opening /dev/loop-control", errno.ENOENT)
NOT_GIVEN = Refusal("opening /dev/loop0", errno.EPERM)
NO_ROOT = Refusal("mounting ext4 from a loop device", errno.EPERM, "SYS_ADMIN")
ALL = Confinement((1 << 41) - 1, 2**32 - 1, filtered=False)
ROOTLESS = Confinement((1 << 41) - 1, 65537, filtered=False)


def say(monkeypatch: pytest.MonkeyPatch, refusal: Refusal | None, confinement: Confinement = ALL) -> None:
    def ask(permissions: Iterable[Permission], directory: Path) -> dict[Permission, Refusal | None]:
        return dict.fromkeys(permissions, refusal)

    monkeypatch.setattr(volumes, "ask", ask)
    monkeypatch.setattr(volumes, "read_confinement", lambda: confinement)


def test_a_loop_device_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, None)
    assert choose_medium("nfs-ganesha", exports_tmpfs=True) is Medium.LOOP
    assert choose_medium("nfs-ganesha", exports_tmpfs=False) is Medium.LOOP


def test_memory_where_it_can_be_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, MISSING)
    assert choose_medium("the kernel's NFS server", exports_tmpfs=True) is Medium.MEMORY


@pytest.mark.parametrize(
    ("refusal", "confinement", "message", "hint"),
    [
        (MISSING, ALL, "opening /dev/loop-control: No such file or directory", "modprobe -a loop ext4"),
        (
            NOT_GIVEN,
            dataclasses.replace(ALL, filtered=True),
            "/dev/loop0: Operation not permitted",
            "--device /dev/loop",
        ),
        (NO_ROOT, ROOTLESS, "root of a user namespace", "as the host's own root"),
    ],
)
def test_neither_is_an_error_that_says_what_to_allow(
    monkeypatch: pytest.MonkeyPatch, refusal: Refusal, confinement: Confinement, message: str, hint: str
) -> None:
    say(monkeypatch, refusal, confinement)
    with pytest.raises(HostError) as raised:
        choose_medium("nfs-ganesha", exports_tmpfs=False)
    assert message in raised.value.message
    assert "nfs-ganesha exports no tmpfs" in raised.value.message
    assert hint in (raised.value.hint or "")
    assert "seccomp" not in (raised.value.hint or "")


def test_memory_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumes, "available_memory", lambda: 2 * GIB)
    check_memory(GIB, GIB)
    with pytest.raises(HostError, match=r"1\.6 GB and 1\.1 GB for the guest .*, and 2\.1 GB are available"):
        check_memory(GIB + GIB // 2, GIB)


@pytest.fixture(params=list(RootMode))
def manifest(request: pytest.FixtureRequest, tmp_path: Path) -> Manifest:
    made = read_manifest(make_version(tmp_path, mode=request.param))
    return dataclasses.replace(made, size=GIB, entries=20_000)


def test_a_guest_may_write_to_half_of_the_disk(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.boot.check_room", lambda directory, needed, what: None)
    store = Path("/srv/store")
    sizes = []
    for free in (3 * GIB, 100 * GIB):
        monkeypatch.setattr("builder.boot.free_bytes", lambda path, free=free: free)
        found = store_volumes(store, manifest, BootOptions(), Medium.LOOP)
        assert found[0].directory == store  # before what is mounted in it
        large = max(found, key=lambda volume: volume.size)
        assert found[1:] == [large]
        assert large.directory.name == ("rw" if manifest.root.mode is RootMode.RW else "ro")
        assert large.files > manifest.entries
        assert all(volume.size < GIB for volume in found if volume is not large)
        sizes.append(large.size)
    assert GIB < sizes[0] < 3 * GIB - GIB // 2
    assert 5 * GIB < sizes[1] < 6 * GIB


def test_and_to_a_quarter_of_the_memory(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("builder.boot.available_memory", "builder.bootlab.walls.volumes.available_memory"):
        monkeypatch.setattr(name, lambda: 8 * GIB)
    options = BootOptions(machine=Machine(memory=2048))
    large = max(store_volumes(Path("/srv/store"), manifest, options, Medium.MEMORY), key=lambda volume: volume.size)
    assert 2 * GIB < large.size < 3 * GIB
    with pytest.raises(HostError, match="without loop devices"):
        store_volumes(
            Path("/work"), manifest, dataclasses.replace(options, machine=Machine(memory=7168)), Medium.MEMORY
        )
