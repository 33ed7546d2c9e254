"""Prune, refresh, verify: what goes and what stays, kernels from clients, and every kind of damage found."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.deploy import adopt_kernel, prune, rollback
from builder.errors import AuditError, InputError
from builder.model.generation import BootName
from builder.model.site import Site, SiteClient
from builder.model.version import ImageVersion, Version
from builder.store.inspection.usage import InUse, versions_in_use
from builder.store.inspection.verification import Severity, verify
from builder.store.inventory import read_inventory
from builder.store.layout import find_store
from builder.store.pruning import Decision, PruneOptions, decide
from tests.command import run_command
from tests.moments import later
from tests.require import needs_root
from tests.scratch import new_place
from tests.stores import SERVER, active, deployed, faults, menu, named, quiet, snapshot, unreferenced, version
from tests.versions import RELEASE, cpio_entry, kernel_image

pytestmark = [needs_root, pytest.mark.root]
DAY = 86400
ONE, TWO, THREE = "1", "2", "3"


@pytest.fixture
def place() -> Path:
    place = new_place() / "store"
    deployed(place, *(version(number) for number in (ONE, TWO, THREE)))
    return place


def key(number: str) -> ImageVersion:
    return "lab", Version(version(number).name)


def decisions(place: Path, options: PruneOptions, site: Site | None = None, days: float = 30) -> dict[str, Decision]:
    """By the number of the version."""
    inventory = read_inventory(find_store(place))
    found = decide(inventory, site or Site(server=SERVER), options, InUse(), later(days))
    return {number: decision for number in "123" for decision in found if decision.version == version(number).name}


def test_the_last_active_versions_are_kept(place: Path) -> None:
    reasons = {number: decision.reason for number, decision in decisions(place, PruneOptions(keep=2)).items()}
    assert reasons == {ONE: None, TWO: "one of the last 2", THREE: "active"}
    rollback(place, "lab", version(ONE).name, quiet())
    reasons = {number: decision.reason for number, decision in decisions(place, PruneOptions(keep=2)).items()}
    assert reasons == {ONE: "active", TWO: None, THREE: "one of the last 2"}


def test_what_was_booted_lately_is_refused_unless_forced(place: Path) -> None:
    young = decisions(place, PruneOptions(keep=1), days=2)
    assert young[ONE].refused
    assert young[ONE].reason == "clients booted it until 2 days ago and may still run it"
    assert decisions(place, PruneOptions(keep=1, force=True), days=2)[ONE].reason is None
    assert decisions(place, PruneOptions(keep=1, minimum_age=DAY), days=2)[ONE].reason is None
    assert decisions(place, PruneOptions(keep=1), days=8)[ONE].reason is None


def test_what_is_active_or_pinned_is_never_pruned(place: Path) -> None:
    client = SiteClient(mac="52:54:00:00:00:01", name="canary", image="lab", version=Version(version(ONE).name))
    site = Site(server=SERVER, clients=(client,))
    reasons = {n: d.reason for n, d in decisions(place, PruneOptions(1, 0, force=True), site).items()}
    assert reasons == {ONE: "pinned by canary", TWO: None, THREE: "active"}


def test_prune_removes_every_trace(place: Path) -> None:
    deployed(place, version(ONE, image="work", mode="rw"), version(TWO, image="work", mode="rw"))
    kept = snapshot(place / "versions/lab" / version(THREE).name / "root", skip=())
    prune(place, PruneOptions(1, 0, force=True), quiet())
    assert named(place) == {key(THREE), ("work", version(TWO, image="work", mode="rw").name)}
    for number in (ONE, TWO):
        assert not [path for path in place.rglob("*") if version(number).name in path.name]
        assert version(number).name not in menu(place)
    assert [path.name for path in (place / "writable/work").iterdir()] == [version(TWO, image="work", mode="rw").name]
    after = snapshot(place / "versions/lab" / version(THREE).name / "root", skip=())
    # but for the number of names
    assert {path: (*e[:-2], e[-1]) for path, e in after.items()} == {path: (*e[:-2], e[-1]) for path, e in kept.items()}
    assert (faults(place), unreferenced(place)) == ([], [])
    assert prune(place, PruneOptions(1, 0, force=True), quiet())[0].reason == "active"


def test_a_dry_run_changes_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(place)
    status, out, _ = run_command(
        capsys, "prune", "--to", str(place), "--keep", "1", "--min-age", "0s", "--dry-run", "--json"
    )
    assert status == 0
    assert {entry["version"] for entry in json.loads(out) if entry["reason"] is None} == {key(ONE)[1], key(TWO)[1]}
    assert snapshot(place) == before


def test_an_image_keeps_its_history_when_another_is_pruned(place: Path) -> None:
    """Versions of one image going does not make those of another look long unused, or lose the way back."""
    work = [version(number, image="work", mode="rw") for number in (ONE, TWO)]
    deployed(place, *work)
    store = find_store(place)
    numbers = sorted(path.name for path in store.generations.iterdir())
    prune(place, PruneOptions(keep=2, minimum_age=0), quiet())
    assert named(place) == {key(TWO), key(THREE), ("work", work[0].name), ("work", work[1].name)}
    assert set(numbers[1:]) <= {path.name for path in store.generations.iterdir()}
    assert rollback(place, "work", None, quiet()).active["work"] == work[0].name


def test_a_damaged_version_can_be_pruned(place: Path) -> None:
    (place / "versions/lab" / version(ONE).name / "manifest.json").unlink()
    prune(place, PruneOptions(1, 0, force=True), quiet())
    assert (faults(place), unreferenced(place)) == ([], [])


def rmtab(place: Path, *lines: str) -> Path:
    path = place.parent / "rmtab"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
    return path


def test_mounts_that_rmtab_names(place: Path) -> None:
    store = find_store(place)
    one, two = (place / "versions/lab" / version(number).name / "root" for number in (ONE, TWO))
    table = rmtab(
        place,
        f"192.168.1.20:{one}:0x00000001",
        f"192.168.1.21:{one}/etc:0x00000002",
        f"192.168.1.22:{two}:0x00000000",
        f"192.168.1.23:{place}2/versions/lab/{version(TWO).name}/root:0x00000001",
        "nonsense",
        f"fe80::7:{one}:0x00000001",
        f"fe80::1:{place}/writable/lab/20200101-00000000/root:0x00000001",
    )
    inventory = read_inventory(store)
    found = versions_in_use(inventory, table, place / "none")
    assert found == InUse({}, {key(ONE): {"192.168.1.20", "192.168.1.21", "fe80::7"}})
    decided = decide(inventory, Site(server=SERVER), PruneOptions(1, 0), found, later(30))
    refused = {decision.version: decision.reason for decision in decided if decision.refused}
    assert refused == {version(ONE).name: "192.168.1.20, 192.168.1.21, fe80::7 mounted it once and may still run it"}


def test_files_that_clients_of_nfsd_hold_open(place: Path) -> None:
    """As the kernel writes /proc/fs/nfsd/clients/N/{info,states}."""
    store = find_store(place)
    opened = place / "versions/lab" / version(TWO).name / "root/usr/only-in-2/file"
    info = opened.stat()
    device = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}"
    client = place.parent / "clients/7"
    client.mkdir(parents=True)
    (client / "info").write_text('clientid: 0x1\naddress: "192.168.1.30:853"\nstatus: confirmed\n', encoding="ascii")
    (client / "states").write_text(
        f'- 0x1: {{ type: open, access: r-, superblock: "{device}:{info.st_ino}", filename: "file" }}\n',
        encoding="ascii",
    )
    assert versions_in_use(read_inventory(store), place / "none", client.parent).opened == {key(TWO): {"192.168.1.30"}}


# -- refresh


def rw_place() -> tuple[Path, Path, Path]:
    """A store with a read-write image, its root, and its boot files."""
    place = new_place() / "store"
    path = version(ONE, mode="rw")
    deployed(place, path)
    return place, place / "writable/lab" / path.name / "root", place / "boot/lab" / path.name


def initramfs(release: str) -> bytes:
    names = [f"usr/lib/modules/{release}/kernel/fs/nfs/nfs.ko", "TRAILER!!!"]
    return b"".join(cpio_entry(name.encode()) for name in names)


def install_kernel(root: Path, release: str, kind: str, *, modules: bool = True, inside: str | None = None) -> None:
    """What a package manager does in a client."""
    (root / "boot").mkdir(exist_ok=True)
    names = {
        "debian": (f"vmlinuz-{release}", f"initrd.img-{release}"),
        "arch": ("vmlinuz-linux", "initramfs-linux.img"),
    }
    kernel, image = names[kind]
    (root / "boot" / kernel).write_bytes(kernel_image(release) + b"kernel")
    (root / "boot" / image).write_bytes(initramfs(inside or release))
    if modules:
        (root / "usr/lib/modules" / release).mkdir(parents=True, exist_ok=True)


@pytest.mark.parametrize("kind", ["debian", "arch"])
def test_a_kernel_that_a_client_installed_is_served(kind: str) -> None:
    place, root, _ = rw_place()
    install_kernel(root, "6.9.0-2-test", kind)
    done = adopt_kernel(place, "lab", None, quiet())
    assert done is not None
    assert str(done[1]) == f"{version(ONE, mode='rw').name}.1"
    assert active(place) == str(done[1])
    served = place / "boot/lab" / str(done[1])
    assert (served / "vmlinuz").read_bytes() == kernel_image("6.9.0-2-test") + b"kernel"
    assert {path.stat().st_nlink for path in served.iterdir()} == {1}
    assert {oct(path.stat().st_mode & 0o7777) for path in served.iterdir()} == {"0o644"}
    assert f"LABEL lab/{done[1]}\n" in menu(place)
    assert faults(place) == []
    assert adopt_kernel(place, "lab", None, quiet()) is None


def test_the_spelling_of_the_first_release_works(capsys: pytest.CaptureFixture[str]) -> None:
    place, root, _ = rw_place()
    install_kernel(root, "6.9.0-2-test", "debian")
    status, output, errors = run_command(capsys, "refresh", "lab", "--to", str(place))
    assert (status, output) == (0, f"lab {active(place)}: generation 2; clients boot it next\n")
    assert (
        run_command(capsys, "adopt-kernel", "lab", "--to", str(place))[1] == "lab: clients boot that kernel already\n"
    )
    assert "`diskless refresh lab` is now called `diskless adopt-kernel lab`" in errors
    status, _, errors = run_command(capsys, "refresh", "--kernel", "6.9", "--to", str(place))
    assert status == 2
    assert "adopt-kernel" in errors


@pytest.mark.parametrize(("built_in", "accepted"), [("nfs", True), ("ext4", False), ("", False)])
def test_an_initramfs_without_modules_needs_a_kernel_with_nfs(built_in: str, accepted: bool) -> None:
    place, root, _ = rw_place()
    install_kernel(root, "6.9.0-2-test", "arch")
    (root / "boot/initramfs-linux.img").write_bytes(cpio_entry(b"init") + cpio_entry(b"TRAILER!!!"))
    if built_in:
        listed = root / "usr/lib/modules/6.9.0-2-test/modules.builtin"
        listed.write_text(f"kernel/fs/{built_in}/{built_in}.ko\n", "ascii")
    if accepted:
        assert adopt_kernel(place, "lab", None, quiet()) is not None
    else:
        with pytest.raises(AuditError, match="holds modules for none"):
            adopt_kernel(place, "lab", None, quiet())


def test_the_newest_of_several_kernels_or_the_one_named() -> None:
    place, root, _ = rw_place()
    for release in ("6.9.0-9-test", "6.10.0-1-test", "6.9.0-10-test"):
        install_kernel(root, release, "debian")
    first = adopt_kernel(place, "lab", None, quiet())
    assert first is not None
    assert b"6.10.0-1-test" in (place / "boot/lab" / str(first[1]) / "vmlinuz").read_bytes()
    second = adopt_kernel(place, "lab", "6.9.0-10-test", quiet())
    assert second is not None
    assert second[1] == BootName(Version(version(ONE, mode="rw").name), 2)
    with pytest.raises(InputError, match="has no Linux 5"):
        adopt_kernel(place, "lab", "5.0", quiet())
    # one that was taken before is found again
    third = adopt_kernel(place, "lab", None, quiet())
    assert third is not None
    assert third[1] == first[1]


def install_garbage(root: Path) -> None:
    install_kernel(root, "6.9", "arch")
    (root / "boot/initramfs-linux.img").write_bytes(b"070701" * 99)


BAD_KERNELS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no-modules": (lambda root: install_kernel(root, "6.9", "debian", modules=False), "the root has modules for"),
    "other-initramfs": (lambda root: install_kernel(root, "6.9", "debian", inside="6.8"), "holds modules for 6.8"),
    "garbage": (
        install_garbage,
        "not a readable",
    ),
}


@pytest.mark.parametrize("what", BAD_KERNELS)
def test_a_kernel_that_does_not_fit_is_refused(what: str) -> None:
    place, root, _ = rw_place()
    make, words = BAD_KERNELS[what]
    make(root)
    before = snapshot(place)
    with pytest.raises(AuditError, match=words):
        adopt_kernel(place, "lab", None, quiet())
    assert snapshot(place) == before


def test_what_cannot_be_refreshed_is_said(place: Path) -> None:
    with pytest.raises(InputError, match="has a read-only root"):
        adopt_kernel(place, "lab", None, quiet())
    with pytest.raises(InputError, match="has no image other"):
        adopt_kernel(place, "other", None, quiet())
    with pytest.raises(InputError, match="with an initramfs beside it"):
        adopt_kernel(rw_place()[0], "lab", None, quiet())


def test_a_client_cannot_lead_a_refresh_out_of_its_root() -> None:
    place, root, _ = rw_place()
    outside = place.parent / "boot"
    outside.mkdir()
    (outside / "vmlinuz-6.9").write_bytes(kernel_image("6.9"))
    (outside / "initrd.img-6.9").write_bytes(initramfs("6.9"))
    (root / "boot").symlink_to(outside)
    with pytest.raises(InputError):
        adopt_kernel(place, "lab", None, quiet())


def test_a_kernel_whose_modules_are_gone_is_not_rolled_back_to() -> None:
    place, root, _ = rw_place()
    name = version(ONE, mode="rw").name
    install_kernel(root, "6.9.0-2-test", "debian")
    adopt_kernel(place, "lab", None, quiet())
    assert rollback(place, "lab", None, quiet()).active == {"lab": name}
    rollback(place, "lab", f"{name}.1", quiet())
    shutil.rmtree(root / "usr/lib/modules" / RELEASE)
    with pytest.raises(AuditError, match=f"boots Linux {RELEASE}, its root has modules for 6.9.0-2-test"):
        rollback(place, "lab", name, quiet())
    assert active(place) == f"{name}.1"


def test_deploying_the_same_version_again_keeps_the_refreshed_kernel() -> None:
    place, root, _ = rw_place()
    install_kernel(root, "6.9.0-2-test", "debian")
    adopt_kernel(place, "lab", None, quiet())
    deployed(place, version(ONE, mode="rw"))
    assert active(place) == f"{version(ONE, mode='rw').name}.1"


# -- verify


def kept(place: Path) -> Path:
    return place / "versions/lab" / version(TWO).name


def served(place: Path) -> Path:
    return place / "boot/lab" / version(TWO).name


def rewrite(path: Path) -> None:
    """The same size and time, another content."""
    info = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def replace_by_link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_file(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"x")


def replace_menu(place: Path) -> None:
    path = place / "boot/pxelinux.cfg/default"
    path.write_text(path.read_text("utf-8").replace(SERVER, "192.168.1.2"), encoding="utf-8")


def other_modules(place: Path) -> None:
    modules = place / "versions/lab" / version(THREE).name / "root/usr/lib/modules"
    next(modules.iterdir()).rename(modules / "6.0")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "file-missing": (lambda p: (kept(p) / "root/usr/bin/su").unlink(), "- /usr/bin/su"),
    "file-added": (lambda p: (kept(p) / "root/usr/bin/new").touch(), "+ /usr/bin/new"),
    "mode": (lambda p: (kept(p) / "root/usr/only-in-2/file").chmod(0o600), "mode 0600, was 0644"),
    "owner": (lambda p: os.chown(kept(p) / "root/usr/only-in-2/file", 7, 8), "owner 7:8, was 0:0"),
    "time": (lambda p: os.utime(kept(p) / "root/usr/only-in-2/file", (1, 1)), "only-in-2/file: time"),
    "time-of-a-directory": (lambda p: os.utime(kept(p) / "root/usr", (1, 1)), "/usr: time"),
    "size": (lambda p: os.truncate(kept(p) / "root/usr/only-in-2/file", 1), "1 bytes, were 5000"),
    "link": (lambda p: replace_by_link(kept(p) / "root/bin", "x"), "where it leads"),
    "kind": (lambda p: replace_by_directory(kept(p) / "root/bin"), "another kind of file"),
    "root": (lambda p: shutil.rmtree(kept(p) / "root"), "root is missing"),
    "manifest": (lambda p: (kept(p) / "manifest.json").unlink(), "is not a version of an image"),
    "other-manifest": (
        lambda p: shutil.copyfile(version(ONE) / "manifest.json", kept(p) / "manifest.json"),
        "holds the manifest of lab",
    ),
    "index": (lambda p: rewrite(kept(p) / "index.json.zst"), "is not what the manifest says"),
    "bundle": (lambda p: rewrite(kept(p) / "boot/pxelinux.0"), "is not as it was built"),
    "kernel-missing": (lambda p: (served(p) / "vmlinuz").unlink(), "vmlinuz is missing"),
    "kernel": (
        lambda p: replace_by_file(served(p) / "vmlinuz"),
        "vmlinuz is not the version's",
    ),
    "kernel-mode": (lambda p: (served(p) / "initramfs.img").chmod(0o600), "is not readable for TFTP servers"),
    "menu": (replace_menu, "is not as it was written"),
    "menu-missing": (lambda p: (p / "boot/pxelinux.cfg/default").unlink(), "is missing, or is not as it was written"),
    "generation": (lambda p: (p / "boot/generations/000002/generation.json").unlink(), "cannot be read"),
    "loader": (lambda p: (p / "boot/ldlinux.c32").unlink(), "ldlinux.c32"),
    "current": (lambda p: (p / "boot/current").unlink(), "nothing is deployed"),
    "current-elsewhere": (
        lambda p: replace_by_link(p / "boot/current", "../versions"),
        "which is not a generation",
    ),
    "menus-elsewhere": (
        lambda p: replace_by_directory(p / "boot/pxelinux.cfg"),
        "leads elsewhere",
    ),
    "link-out": (lambda p: (p / "boot/host").symlink_to("/etc"), "leads out of"),
    "modules": (other_modules, "its root has modules for 6.0"),
}
DEEP: dict[str, tuple[Callable[[Path], object], str]] = {
    "content": (lambda p: rewrite(kept(p) / "root/usr/only-in-2/file"), "only-in-2/file: content"),
    "attribute": (
        lambda p: os.setxattr(kept(p) / "root/usr/only-in-2/file", "user.x", b"1"),
        "only-in-2/file: attributes",
    ),
}


def all_words(place: Path, *, deep: bool) -> str:
    return "\n".join(
        line for finding in faults(place, deep=deep) for line in (finding.where, finding.message, *finding.details)
    )


@pytest.mark.parametrize("what", DAMAGE)
def test_verify_finds_damage(place: Path, what: str) -> None:
    damage, words = DAMAGE[what]
    damage(place)
    assert words in all_words(place, deep=False)


@pytest.mark.parametrize("what", DEEP)
def test_verify_deep_finds_damage(place: Path, what: str) -> None:
    damage, words = DEEP[what]
    damage(place)
    # attributes are looked at without reading anything
    assert what == "attribute" or faults(place, deep=False) == []
    assert words in all_words(place, deep=True)


def test_verify_tells_by_its_exit_status(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(capsys, "verify", "--to", str(place), "--deep")[:2] == (0, "no fault found\n")
    (kept(place) / "root/usr/bin/su").unlink()
    status, out, _ = run_command(capsys, "verify", "--to", str(place), "--json")
    assert status == AuditError.exit_code
    assert [finding["kind"] for finding in json.loads(out)] == ["fault"]


def test_what_clients_changed_is_no_fault() -> None:
    place, root, _ = rw_place()
    (root / "etc/hostname").write_text("mine\n", encoding="ascii")
    (finding,) = verify(find_store(place), deep=True)
    assert finding.kind is Severity.CHANGED
    assert finding.details[0].startswith("~ /etc/hostname: ")
