"""Deploy and rollback: what lies where with which mode, what is refused, which menus clients get, and the lock."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.deploy import DeployOptions, deploy, rollback
from builder.errors import AuditError, DisklessError, InputError
from builder.model.artifacts.manifest import MANIFEST
from builder.output.offer import offer_directory
from builder.store.layout import LOCK
from tests.command import run_command
from tests.golden_files import GOLDEN, check_golden
from tests.holders import holding
from tests.images import ROOT, run_diskless, running_diskless
from tests.require import needs_root
from tests.scratch import new_place
from tests.stores import SERVER, active, deployed, faults, menu, named, quiet, snapshot, unreferenced, version
from tests.versions import RELEASE, make_version

pytestmark = [needs_root, pytest.mark.root]


MAC = "52:54:00:00:00:01"


@pytest.fixture
def place() -> Path:
    return new_place() / "store"


def name_of(path: Path) -> str:
    return path.name


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_layout_and_modes_whatever_the_umask(place: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        deployed(place, version("1"), version("2"), version("1", image="desk", mode="rw"))
    finally:
        os.umask(before)
    one, work = name_of(version("1")), name_of(version("1", image="desk", mode="rw"))
    modes = {
        "": 0o755,
        "versions": 0o700,
        "writable": 0o700,
        "boot": 0o755,
        "current": 0o755,
        "store.json": 0o644,
        "boot/generations": 0o755,
        "boot/generations/000003": 0o755,
        "boot/generations/000003/generation.json": 0o644,
        "boot/generations/000003/pxelinux.cfg": 0o755,
        "boot/generations/000003/pxelinux.cfg/default": 0o644,
        "boot/pxelinux.0": 0o644,
        "boot/ldlinux.c32": 0o644,
        "boot/lab": 0o755,
        f"boot/lab/{one}": 0o755,
        f"boot/lab/{one}/vmlinuz": 0o644,
        f"boot/lab/{one}/initramfs.img": 0o644,
        "versions/lab": 0o755,
        f"versions/lab/{one}": 0o755,
        f"versions/lab/{one}/manifest.json": 0o644,
        f"versions/lab/{one}/index.json.zst": 0o644,
        f"versions/lab/{one}/boot": 0o755,
        f"versions/lab/{one}/root": 0o755,
        f"versions/lab/{one}/root/etc/shadow": 0o640,
        f"versions/lab/{one}/root/tmp": 0o1777,
        f"versions/lab/{one}/root/usr/bin/su": 0o4755,
        "writable/desk": 0o755,
        f"writable/desk/{work}": 0o755,
        f"writable/desk/{work}/root": 0o755,
        f"versions/desk/{work}/boot": 0o755,
    }
    assert {path: oct(mode_of(place / path)) for path in modes} == {path: oct(mode) for path, mode in modes.items()}
    assert not (place / f"versions/desk/{work}/root").exists()
    assert (place / "boot/pxelinux.cfg").readlink() == Path("current/pxelinux.cfg")
    assert (place / "boot/current").readlink() == Path("generations/000003")
    assert (place / "current/lab").resolve() == place / f"versions/lab/{name_of(version('2'))}/root"
    assert (place / "current/desk").resolve() == place / f"writable/desk/{work}/root"
    assert faults(place) == []


def test_the_locale_changes_nothing(place: Path) -> None:
    """Of every name that is not ASCII libarchive would warn; Python would write another one."""
    command = ("deploy", version("1"), "--to", place, "--server", "192.168.7.1", "-q")
    if str(ROOT).isascii():  # Python itself finds nothing in a checkout whose name it cannot read
        refused = run_diskless(*command, env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
        assert (refused.returncode, snapshot(place)) == (3, {})
        assert refused.stderr.endswith("hint: export LC_ALL=C.UTF-8\n")
    done = run_diskless(*command, env={"LC_ALL": "C"})
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if "no client can mount" not in line] == []
    assert (place / "versions/lab" / version("1").name / "root/etc/odd/größe").exists()


def test_boot_files_are_links_to_the_versions(place: Path) -> None:
    deployed(place, version("1"))
    served = place / "boot/lab" / name_of(version("1"))
    kept = place / "versions/lab" / name_of(version("1")) / "boot"
    for name in ("vmlinuz", "initramfs.img"):
        assert (served / name).stat().st_ino == (kept / name).stat().st_ino


def test_no_link_below_boot_leads_out_of_it(place: Path) -> None:
    deployed(place, version("1"), version("2"), version("1", image="desk", mode="rw"))
    links = [path for path in (place / "boot").rglob("*") if path.is_symlink()]
    assert {path.name for path in links} == {"current", "pxelinux.cfg"}
    assert all(path.resolve().is_relative_to(place / "boot") for path in links)


def hand_made_root(path: Path) -> None:
    for name in ("bin", "etc", "usr", "var", "boot"):
        (path / name).mkdir(parents=True)


def some_files(path: Path) -> None:
    path.mkdir()
    (path / "notes").write_text("mine", encoding="ascii")


def tftp_root(path: Path) -> None:
    (path / "boot").mkdir(parents=True)
    (path / "boot/pxelinux.0").write_bytes(b"mine")


def plain_file(path: Path) -> None:
    path.write_bytes(b"mine")


def dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (hand_made_root, "is a root file system, made by hand"),
        (some_files, "holds something else: notes"),
        (tftp_root, "holds something else: boot"),
        (plain_file, "is not a directory"),
        (dangling_link, "is not a directory"),
    ],
)
def test_what_is_no_store_is_refused_and_untouched(place: Path, make: Callable[[Path], None], words: str) -> None:
    make(place)
    before = snapshot(place.parent)
    with pytest.raises(InputError, match=words) as caught:
        deployed(place, version("1"))
    assert caught.value.hint
    assert snapshot(place.parent) == before


@pytest.mark.parametrize(
    "content", ["{", '{"schema": 3}', "[]", '{"schema": 2, "shares": ["ro"]}', '{"schema": 2, "shares": {"boot": 3}}']
)
def test_a_store_of_another_program_is_refused(place: Path, content: str) -> None:
    place.mkdir()
    (place / "store.json").write_text(content, encoding="ascii")
    with pytest.raises(InputError):
        deployed(place, version("1"))


def test_what_may_be_there_before(place: Path) -> None:
    """A mount point, the administrator's file, mount points of the parts."""
    for name in ("lost+found", "versions/lost+found", "writable", "boot"):
        (place / name).mkdir(parents=True)
    (place / "site.yml").write_text(f"server: {SERVER}\n", encoding="ascii")
    deployed(place, version("1"), server=None)
    assert faults(place) == []
    assert (mode_of(place / "versions"), mode_of(place / "boot")) == (0o700, 0o755)
    assert (place / "versions/lost+found").is_dir()


def test_a_deploy_without_an_address_leaves_nothing_active(place: Path) -> None:
    with pytest.raises(InputError, match="this server's address"):
        deployed(place, version("1"), server=None)
    assert not (place / "boot/current").is_symlink()
    assert list((place / "versions").iterdir()) == []


def test_a_deploy_can_be_repeated(place: Path) -> None:
    (first,) = deployed(place, version("1"))
    before = snapshot(place)
    (again,) = deployed(place, version("1"))
    assert again.unpacked is None
    assert again.generation == first.generation
    assert snapshot(place) == before


def test_a_version_that_is_only_brought_in(place: Path) -> None:
    deployed(place, version("1"))
    (second,) = deployed(place, version("2"), activate=False)
    assert active(place) == name_of(version("1"))
    assert second.generation.active == {"lab": name_of(version("1"))}
    assert ("lab", name_of(version("2"))) in named(place)
    deployed(place, version("2"))
    assert active(place) == name_of(version("2"))


def test_several_images_do_not_touch_each_other(place: Path) -> None:
    work = [version(number, image="desk", mode="rw") for number in "12"]
    deployed(place, version("1"), work[0])
    before = snapshot(place / "versions/lab"), snapshot(place / "boot/lab")
    deployed(place, work[1])
    assert (snapshot(place / "versions/lab"), snapshot(place / "boot/lab")) == before
    assert (active(place, "lab"), active(place, "desk")) == (name_of(version("1")), name_of(work[1]))
    # unknown clients boot what was there first
    assert f"DEFAULT lab/{name_of(version('1'))}\n" in menu(place)
    assert rollback(place, None, None, quiet()).active == {"lab": name_of(version("1")), "desk": name_of(work[0])}
    with pytest.raises(InputError, match="no other version of lab was active before"):
        rollback(place, "lab", None, quiet())


def test_rollback(place: Path) -> None:
    one, two, three = (version(number) for number in "123")
    deployed(place, one, two, three)
    rollback(place, None, None, quiet())
    assert active(place) == name_of(two)
    rollback(place, "lab", None, quiet())
    assert active(place) == name_of(three)
    rollback(place, "lab", name_of(one), quiet())
    assert active(place) == name_of(one)
    assert faults(place) == []
    for image, wanted in (("lab", "20200101-00000000"), ("other", None), ("lab", "../lab")):
        with pytest.raises(InputError):
            rollback(place, image, wanted, quiet())
    assert active(place) == name_of(one)


SITE = f"""\
server: {SERVER}
path: /srv/lab
nfs_options: [nolock]
default: desk
menu_seconds: 3
cmdline: [console=ttyS0, quiet]
clients:
  - {{mac: "52:54:00:00:00:0A", name: canary, image: lab}}
  - {{mac: "52:54:00:00:00:0b", image: lab, version: VERSION}}
  - {{mac: "52:54:00:00:00:0c", name: plain}}
  - {{mac: "52:54:00:00:00:0d", image: lab, version: 20200101-00000000}}
"""


def test_menus(place: Path) -> None:
    place.mkdir()
    (place / "site.yml").write_text(SITE.replace("VERSION", name_of(version("1"))), encoding="ascii")
    deployed(place, version("1"), version("2"), version("1", image="desk", mode="rw"), server=None)
    directory = place / "boot/pxelinux.cfg"
    assert sorted(path.name for path in directory.iterdir()) == [
        "01-52-54-00-00-00-0a",
        "01-52-54-00-00-00-0b",
        "default",
    ]
    for path in directory.iterdir():
        check_golden(GOLDEN / "store" / f"{path.name}.txt", path.read_text("utf-8"))


def test_a_pin_that_leads_nowhere_is_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place.mkdir()
    (place / "site.yml").write_text(SITE.replace("VERSION", name_of(version("1"))), encoding="ascii")
    status, _, errors = run_command(capsys, "deploy", str(version("1")), "--to", str(place), "-q")
    assert status == 0
    assert "pins 52:54:00:00:00:0d to a version that is not in the store" in errors


def test_menus_take_what_the_site_says_now(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deployed(place, version("1"))
    assert "already" in run_command(capsys, "refresh", "--to", str(place))[1]
    pin = f'{{mac: "{MAC}", name: desk, image: lab}}'
    (place / "site.yml").write_text(f"server: 192.168.1.7\ncmdline: [quiet]\nclients: [{pin}]\n", encoding="ascii")
    assert f"say now: diskless refresh --to {place}\n" in run_command(capsys, "status", "--to", str(place))[1]
    status, output, _ = run_command(capsys, "refresh", "--to", str(place))
    assert (status, output) == (0, "menus: generation 2; clients boot it next\n")
    assert "nfsroot=192.168.1.7:" in menu(place)
    assert menu(place, "01-52-54-00-00-00-01").count(" quiet") == menu(place).count(" quiet") > 0
    assert "say now" not in run_command(capsys, "status", "--to", str(place))[1]
    assert "already" in run_command(capsys, "refresh", "--to", str(place))[1]


def test_an_address_that_the_site_contradicts_is_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place.mkdir(exist_ok=True)
    (place / "site.yml").write_text("server: 192.168.1.7\n", encoding="ascii")
    arguments = ("deploy", str(version("1")), "--to", str(place), "--server", "192.168.1.8")
    status, _, errors = run_command(capsys, *arguments)
    assert status == 0
    assert "says server: 192.168.1.7; --server 192.168.1.8 is for this deploy only" in errors


@pytest.mark.parametrize(
    "site",
    ["server: nonsense\n", "servr: 192.168.1.1\n", "server: [", f"server: {SERVER}\ncmdline: [{'x' * 2000}]\n"],
    ids=["value", "key", "syntax", "long-cmdline"],
)
def test_a_faulty_site_leaves_everything_as_it_was(place: Path, site: str) -> None:
    deployed(place, version("1"))
    (place / "site.yml").write_text(site, encoding="ascii")
    before = snapshot(place.parent)
    with pytest.raises(InputError):
        deployed(place, version("2"), server=None)
    with pytest.raises(InputError):
        rollback(place, "lab", name_of(version("1")), quiet())
    assert snapshot(place.parent) == before


@pytest.mark.parametrize("server", ["nfs1", "192.168.1.1 rw", "192.168.1.1\nDEFAULT other", "::1", ""])
def test_what_is_no_address_gets_into_no_menu(place: Path, server: str) -> None:
    deployed(place, version("1"))
    before = snapshot(place)
    with pytest.raises(InputError, match="no IPv4 address"):
        deployed(place, version("2"), server=server)
    assert snapshot(place) == before


@pytest.mark.parametrize("name", ["my store", "line\nbreak", "comma,", "stör"])
def test_a_path_that_no_menu_can_name_is_refused(place: Path, name: str) -> None:
    with pytest.raises(InputError, match="not a plain absolute path"):
        deployed(place.parent / name, version("1"))
    assert not (place.parent / name).exists()


@pytest.mark.parametrize(
    "image", ["current", "generations", "grub", "ipxe", "pxelinux.cfg", "pxelinux.0", "ldlinux.c32"]
)
def test_names_of_the_tftp_root_are_no_images(place: Path, image: str) -> None:
    path = make_version(new_place(), {}, image=image, files=40)
    deployed(place, version("1"))
    before = snapshot(place)
    with pytest.raises(InputError, match="an image cannot be called"):
        deployed(place, path)
    assert snapshot(place) == before


def test_a_kernel_without_modules_is_refused_before_it_is_there(place: Path) -> None:
    modules = f"usr/lib/modules/{RELEASE}/kernel/fs/nfs"
    path = make_version(new_place(), {f"{modules}/nfs.ko": None, f"{modules}/nfsv3.ko": None}, files=40)
    deployed(place, version("1"))
    before = snapshot(place)
    with pytest.raises(AuditError, match=f"boots Linux {RELEASE}, its root has modules for none"):
        deployed(place, path)
    assert snapshot(place) == before


def test_the_same_files_with_other_boot_options_are_not_taken_for_the_same(place: Path) -> None:
    deployed(place, version("1"))
    copy = new_place() / name_of(version("1"))
    shutil.copytree(version("1"), copy)
    manifest = json.loads((copy / MANIFEST).read_text("utf-8"))
    manifest["root"]["options"] = ["rsize=8192"]
    (copy / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(InputError, match="boots with other options"):
        deployed(place, copy)


def test_loaders_are_set_up_once_and_replaced_on_request(place: Path) -> None:
    deployed(place, version("1"))
    (place / "boot/pxelinux.0").write_bytes(b"the administrator's")
    deployed(place, version("2"))
    assert (place / "boot/pxelinux.0").read_bytes() == b"the administrator's"
    deployed(place, version("2"), replace_loaders=True)
    assert (place / "boot/pxelinux.0").read_bytes() != b"the administrator's"
    assert mode_of(place / "boot/pxelinux.0") == 0o644


def test_a_missing_loader_brings_all_of_them_since_they_must_match(place: Path) -> None:
    deployed(place, version("1"))
    (place / "boot/pxelinux.0").write_bytes(b"of another version")
    (place / "boot/ldlinux.c32").unlink()
    deployed(place, version("2"))
    assert (place / "boot/pxelinux.0").read_bytes() != b"of another version"


def test_keep_prunes_the_image_that_is_deployed(place: Path) -> None:
    deployed(place, version("1"), version("1", image="desk", mode="rw"), version("2"))
    (third,) = deployed(place, version("3"), keep=1)
    # it was booted a moment ago
    assert [decision.refused for decision in third.pruned] == [False, True, True]
    assert {decision.image for decision in third.pruned} == {"lab"}
    assert len(list((place / "versions/lab").iterdir())) == 3


def test_two_deploys_at_once_come_one_after_the_other(place: Path) -> None:
    arguments = ("--to", place, "--server", SERVER)
    with (
        running_diskless("deploy", version("1"), *arguments) as one,
        running_diskless("deploy", version("2"), *arguments) as two,
    ):
        errors = [process.communicate(timeout=120)[1] for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), errors
    assert named(place) == {("lab", name_of(version("1"))), ("lab", name_of(version("2")))}
    assert (faults(place), unreferenced(place)) == ([], [])


def test_a_deploy_says_that_it_waits(place: Path) -> None:
    deployed(place, version("1"))
    with holding(place / LOCK) as release, running_diskless("deploy", version("2"), "--to", place) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        release()
        process.communicate(timeout=120)
    assert re.fullmatch(rf"waiting: another diskless works on {place} \(process {os.getpid()}, \S+\)\n", first)
    assert process.returncode == 0


def test_what_clients_changed_is_listed_and_kept(place: Path) -> None:
    one, two = (version(number, image="desk", mode="rw") for number in "12")
    deployed(place, one)
    root = place / "writable/desk" / name_of(one) / "root"
    (root / "etc/hostname").write_text("changed\n", encoding="ascii")
    (root / "etc/empty").unlink()
    (root / "home").mkdir()
    before = snapshot(root)
    (second,) = deployed(place, two)
    assert second.replaced is not None
    assert second.replaced.root == root
    lines = second.replaced.differences.lines()
    assert lines[0] == "- /etc/empty"
    assert lines[1].startswith("~ /etc/hostname: 8 bytes, were 5")
    assert lines[2:] == ["+ /home"]
    assert snapshot(root) == before
    rollback(place, "desk", None, quiet())
    assert snapshot(root) == before


def test_a_client_may_write_while_its_root_is_compared(place: Path) -> None:
    one, two = (version(number, image="desk", mode="rw") for number in "12")
    deployed(place, one)
    root = place / "writable/desk" / name_of(one) / "root"
    ended = threading.Event()

    def churn() -> None:
        while not ended.is_set():
            for number in range(200):
                (root / f"tmp/{number}").mkdir()
            for number in range(200):
                (root / f"tmp/{number}").rmdir()

    client = threading.Thread(target=churn)
    client.start()
    try:
        for _ in range(5):
            deployed(place, two)
            deployed(place, one)
    finally:
        ended.set()
        client.join()


def test_a_store_with_a_version_removed_by_hand_goes_on(place: Path) -> None:
    deployed(place, version("1"), version("1", image="desk", mode="rw"))
    shutil.rmtree(place / "versions/lab")
    deployed(place, version("2", image="desk", mode="rw"))
    assert {image for image, _ in named(place)} == {"desk"}
    assert (faults(place), unreferenced(place)) == ([], [])


def test_a_damaged_manifest_stops_nothing_else(place: Path) -> None:
    deployed(place, version("1"), version("2"))
    (place / "versions/lab" / name_of(version("1")) / MANIFEST).write_text("{", encoding="ascii")
    deployed(place, version("3"))
    assert [finding.where for finding in faults(place)] == [f"lab {name_of(version('1'))}"]


def test_another_versions_manifest_stops_nothing_else(place: Path) -> None:
    """Of a version that is not there: nothing is looked for, removed or booted in its name."""
    deployed(place, version("1"), version("2"))
    shutil.copyfile(version("3") / MANIFEST, place / "versions/lab" / name_of(version("1")) / MANIFEST)
    before = snapshot(place / "versions")
    rollback(place, "lab", name_of(version("2")), quiet())
    assert snapshot(place / "versions") == before
    assert [finding.where for finding in faults(place)] == [f"lab {name_of(version('1'))}"]


def test_a_damaged_old_generation_stops_nothing(place: Path) -> None:
    deployed(place, version("1"), version("2"))
    (place / "boot/generations/000001/generation.json").write_text("{", encoding="ascii")
    deployed(place, version("3"))
    rollback(place, None, None, quiet())
    assert active(place) == name_of(version("2"))


def test_a_deploy_cannot_be_made_from_half_a_version(place: Path) -> None:
    copy = new_place() / "copy"
    shutil.copytree(version("2"), copy)
    with (copy / "rootfs.tar.zst").open("r+b") as file:
        file.truncate(1000)
    deployed(place, version("1"))
    before = snapshot(place)
    with pytest.raises(DisklessError):
        deploy(offer_directory(copy), place, DeployOptions(SERVER), quiet())
    assert snapshot(place) == before


def test_a_deploy_that_is_stopped_by_a_signal_is_orderly(place: Path) -> None:
    deployed(place, version("1"))
    before = snapshot(place)
    with holding(place / LOCK), running_diskless("deploy", version("2"), "--to", place) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in errors
    assert snapshot(place) == before


def test_reports_of_the_command_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run_command(capsys, "deploy", str(version("1")), "--to", str(place), "--server", SERVER, "--json")
    assert status == 0
    said = json.loads(out)
    assert (said["version"], said["generation"], said["unchanged"]) == (name_of(version("1")), 1, False)
    run_command(capsys, "deploy", str(version("2")), "--to", str(place), "-q")
    status, out, _ = run_command(capsys, "status", "--to", str(place), "--json")
    found = json.loads(out)
    assert found["active"]["active"] == {"lab": name_of(version("2"))}
    assert {entry["version"]: entry["active"] for entry in found["images"]["lab"]} == {
        name_of(version("1")): False,
        name_of(version("2")): True,
    }
    assert [entry["number"] for entry in found["history"]] == [2, 1]
    status, out, _ = run_command(capsys, "rollback", "--to", str(place), "--json", "-q")
    assert json.loads(out) == {"generation": 3, "active": {"lab": name_of(version("1"))}}


def test_a_path_given_relative_or_through_a_link_is_the_same_store(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed(place, version("1"))
    (place.parent / "link").symlink_to(place)
    monkeypatch.chdir(place.parent)
    deployed(Path("link"), version("2"))
    deployed(Path("store"), version("3"))
    assert f"{SERVER}:{place}/versions/lab/" in menu(place)
    assert "link" not in menu(place)


def test_old_generations_do_not_pile_up_where_nothing_changes(place: Path) -> None:
    deployed(place, version("1"))
    for _ in range(3):
        deployed(place, version("1"))
    assert [path.name for path in (place / "boot/generations").iterdir()] == ["000001"]
    # unless a menu is damaged: that is repaired
    (place / "boot/pxelinux.cfg/default").write_text("damaged", encoding="ascii")
    deployed(place, version("1"))
    assert faults(place) == []


def test_nothing_of_a_store_can_be_entered_by_other_users(place: Path) -> None:
    deployed(place, version("1"))
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "ls", str(place / "versions")]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
