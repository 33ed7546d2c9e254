"""An Arch-shaped image from the tests' own distribution: what is in it, what is not, and the same bytes twice."""

from __future__ import annotations

import functools
import json
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from builder.archive.members import read_members
from builder.archive.unpack import read_index
from builder.model.artifacts.manifest import ROOTFS, Manifest
from builder.system.cpio import initramfs_names
from tests.arch_images import arch_image, extra_repository, strict_pacman
from tests.images import build_image, processes_naming, run_diskless
from tests.keyrings import KeyHome, keyring_package, ring_files
from tests.pacman_distribution.distribution import EXTRA, pacman_distribution
from tests.require import needs_arch_build
from tests.scratch import scratch

pytestmark = [*needs_arch_build]
ARTIFACTS = ("SHA256SUMS", "boot.tar.zst", "index.json.zst", "manifest.json", "rootfs.tar.zst")


@functools.cache
def manifest() -> Manifest:
    return Manifest.from_json((arch_image() / "manifest.json").read_text(encoding="utf-8"))


@functools.cache
def unpacked() -> Path:
    """The root file system as GNU tar unpacks it."""
    target = scratch() / "arch-gnu-tar"
    target.mkdir()
    options = ["--zstd", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"]
    subprocess.run(["tar", *options, arch_image() / ROOTFS], cwd=target, check=True)
    return target


def inside(*command: str) -> str:
    result = subprocess.run(["chroot", unpacked(), *command], capture_output=True, encoding="utf-8", check=False)
    return result.stdout + result.stderr


def test_the_bundle_holds_what_a_tftp_server_needs() -> None:
    members = read_members(arch_image() / "boot.tar.zst")
    loaders = {"pxelinux.0", "lpxelinux.0", "ldlinux.c32", "pxelinux.cfg/default"}
    assert set(members) == {"vmlinuz", "initramfs.img", *loaders}
    assert members["vmlinuz"] == (unpacked() / "boot/vmlinuz-linux").read_bytes()
    assert members["initramfs.img"] == (unpacked() / "boot/initramfs-linux.img").read_bytes()
    assert not (unpacked() / "usr/lib/syslinux").exists()


def test_there_is_one_initramfs_made_with_the_recipes_configuration() -> None:
    assert sorted(path.name for path in (unpacked() / "boot").iterdir()) == ["initramfs-linux.img", "vmlinuz-linux"]
    log = (arch_image() / "build.log").read_text(encoding="utf-8")
    assert log.count("==> Starting build") == 1
    assert "PRESETS=('default')\n" in (unpacked() / "etc/mkinitcpio.d/linux.preset").read_text(encoding="ascii")
    assert not list((unpacked() / "etc").rglob("*.pacnew"))
    names = {
        name.rpartition("/")[2].partition(".ko")[0] for name in initramfs_names(unpacked() / "boot/initramfs-linux.img")
    }
    # what is compressed already comes first
    assert (unpacked() / "boot/initramfs-linux.img").read_bytes()[:6] == b"070701"
    # drivers of cards that this machine does not have: no autodetect
    assert {"nfs", "nfsv3", "e1000", "e1000e", "r8169", "virtio_net", "igb", "tg3"} <= names


def test_the_local_database_names_what_the_manifest_names() -> None:
    # the warnings are about databases, which no image has
    lines = [line for line in inside("pacman", "-Q").splitlines() if not line.startswith("warning: database file")]
    listed = {tuple(line.split()) for line in lines}
    assert listed == {(package.name, package.version) for package in manifest().packages}
    explicit = set(inside("pacman", "-Qqe").split())
    assert {"base", "linux", "openssh"} <= explicit
    assert "glibc" not in explicit


def test_no_file_of_a_package_was_changed_but_accounts_and_ours() -> None:
    found = set(re.findall(r"^(?:warning|backup file): \S+: (/\S+)", inside("pacman", "-Qkk"), re.MULTILINE))
    accounts = {"/etc/passwd", "/etc/group", "/etc/shadow"}
    ours = {"/etc/fstab", "/etc/hosts", "/etc/locale.gen", "/etc/dhcpcd.conf", "/etc/pacman.d/mirrorlist"}
    # not in the image, or made anew by every boot
    volatile = {"/run", "/tmp", "/proc", "/sys", "/dev", "/var/tmp"}
    private = {"/etc/credstore", "/etc/credstore.encrypted"}  # whose modes systemd-tmpfiles corrects, since 256
    assert found <= accounts | ours | volatile | private


def test_modes_do_not_depend_on_who_builds() -> None:
    wanted = {"": 0o755, "var": 0o755, "var/lib": 0o755, "tmp": 0o1777, "proc": 0o555, "sys": 0o555, "root": 0o750}
    assert {name: stat.S_IMODE((unpacked() / name).stat().st_mode) for name in wanted} == wanted


def test_nothing_of_the_build_is_in_the_image() -> None:
    tree = unpacked()
    ours = ("etc/pacman.d/gnupg", "etc/pacman.d/hooks", "var/log/pacman.log")
    for path in (*ours, "var/lib/pacman/sync", "var/lib/pacman/db.lck"):
        assert not (tree / path).exists(), path
    for path in ("dev", "run", "tmp", "var/cache/pacman/pkg"):
        assert not list((tree / path).iterdir()), path
    assert (tree / "etc/machine-id").read_bytes() == b""
    assert not list((tree / "etc/ssh").glob("ssh_host_*"))
    assert str(pacman_distribution().directory) not in (tree / "etc/pacman.d/mirrorlist").read_text(encoding="utf-8")
    dates = {date for path in (tree / "var/lib/pacman/local").glob("*/desc") for date in install_dates(path)}
    assert dates == {str(manifest().epoch)}


def install_dates(path: Path) -> list[str]:
    return re.findall(r"%INSTALLDATE%\n(\d+)", path.read_text(encoding="utf-8"))


def test_pacman_is_told_every_path() -> None:
    """What is not given is the host's: its cache, its hooks, its keyring."""
    log = (arch_image() / "build.log").read_text(encoding="utf-8")
    calls = [line.split() for line in log.splitlines() if re.match(r"\$ pacman -S", line)]
    assert len(calls) >= 4  # refresh, resolve, fetch, install
    for call in calls:
        assert {"--config", "--root", "--dbpath", "--cachedir", "--gpgdir", "--logfile", "--arch"} <= set(call)
    assert calls[-1].count("--hookdir") == 2
    assert "/etc/pacman.d/hooks" not in calls[-1]


@pytest.mark.parametrize(
    "option",
    [("--gpgdir", "/nonexistent"), ("--hookdir=/nonexistent",), ("-b", "/nonexistent"), ("--root", "/nonexistent")],
    ids=lambda option: option[0],
)
def test_the_pacman_of_these_tests_is_as_strict_as_the_newest(option: tuple[str, ...]) -> None:
    """Every build above runs with it."""
    command = [str(strict_pacman() / "pacman"), "-Q", "--config", "/dev/null", "--dbpath", "/var/tmp", *option]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert result.returncode == 1
    assert "failed to resolve path '/nonexistent'" in result.stderr


def test_no_agent_is_left() -> None:
    arch_image()
    assert processes_naming("gpg-agent", str(scratch())) == []


def test_the_locale_was_generated() -> None:
    assert "en_US.utf8" in inside("locale", "-a")


def test_no_file_is_younger_than_the_epoch() -> None:
    assert max(file.mtime for file in read_index(arch_image() / "index.json.zst").files) <= manifest().epoch


@pytest.mark.full
def test_another_build_elsewhere_gives_the_same_bytes(tmp_path: Path) -> None:
    """Without any cache, elsewhere, with another umask, time zone and language."""
    directory = scratch() / "another arch"
    shutil.copytree(scratch() / "recipes/arch-nfs-classic", directory)
    env = {"LC_ALL": "C", "TMPDIR": str(tmp_path), "TZ": "Asia/Tokyo", "DISKLESS_CACHE": str(directory / "cache")}
    recipe = directory / "arch-nfs-classic.yml"
    result = run_diskless("build", recipe, "--output", "größe 1", "--json", cwd=directory, env=env, umask=0o077)
    assert result.returncode == 0, result.stderr
    other = directory / json.loads(result.stdout)["directory"]
    for name in ARTIFACTS:
        assert (other / name).read_bytes() == (arch_image() / name).read_bytes(), name


def test_no_keyring_of_the_build_is_in_the_image() -> None:
    """Neither the host's nor the newest one, which nothing of the recipe installs."""
    key = pacman_distribution().key
    files = ring_files("test", KeyHome(key.home).export(key.fingerprint), {key.fingerprint: 4})
    more = extra_repository("keys", [keyring_package("test", "1-1", files)], key)
    distribution = {**pacman_distribution().recipe, **more}
    distribution["keyring"] = {"path": distribution["keyring"], "newest": "true"}
    version = build_image("arch-keyring", "arch-nfs-resolv", programs=strict_pacman(), distribution=distribution)
    assert "keyring: test-keyring 1-1, signed by " in (version / "build.log").read_text("utf-8")
    paths = {file.path for file in read_index(version / "index.json.zst").files}
    usual = {file.path for file in read_index(arch_image() / "index.json.zst").files}
    # those of archlinux-keyring, a package of this distribution, are in both
    rings = {path for path in paths if "keyring" in path or "gnupg" in path or path.endswith((".gpg", ".kbx"))}
    assert rings <= usual
    assert not [path for path in rings if path.startswith(("etc/", "root/", "var/")) and "local/" not in path]
    assert not [path for path in rings if "test" in path]


@pytest.mark.skipif(EXTRA is not None, reason="DISKLESS_TEST_PACKAGES brings another mkinitcpio")
def test_the_stand_in_says_what_it_is() -> None:
    assert "stand-in" in inside("mkinitcpio", "--version")
