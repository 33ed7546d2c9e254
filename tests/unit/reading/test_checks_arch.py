"""What no Arch recipe may say, each with its place and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from builder.errors import InputError
from builder.reading import load_recipe
from tests.images import ROOT, write_recipe

MKINITCPIO = {"generator": "mkinitcpio"}
ARCH = {"name": "arch"}
LOCAL = {"mirrors": ["file:///srv"], "signatures": "never"}


def faults(directory: Path, base: str = "arch-nfs-classic", **changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        load_recipe(write_recipe(directory, base, **changes))
    return caught.value.message


def hooks(*names: str) -> dict[str, Any]:
    return {"initramfs": {**MKINITCPIO, "hooks": list(names)}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (hooks("base", "udev", "autodetect", "net"), ("'autodetect' keeps only the drivers", "autodetect: true")),
        (hooks("base", "udev", "pata", "net"), ("'pata' is a hook of 2012", "it became 'block'")),
        (hooks("base", "udev", "scsi", "sata", "net"), ("'scsi' is a hook of 2012", "'sata' is a hook of 2012")),
        (hooks("base", "udev", "usbinput", "net"), ("it became 'keyboard'",)),
        (hooks("base", "systemd", "net"), ("'net' is never run beside 'systemd'",)),
        (hooks("base", "udev", "net", "sd-vconsole"), ("'net' is never run beside 'sd-vconsole'",)),
        (hooks("udev", "net"), ("'net' needs 'base' before it",)),
        (hooks("base", "net"), ("without 'udev' no network driver",)),
        (hooks("base", "udev", "net", "net"), ("'net' is listed twice",)),
        (
            hooks("base", "udev"),
            (
                "no hook mounts the root from NFS",
                "add diskless or net",
            ),
        ),
        (hooks("base", "udev", "net", "diskless"), ("'net' and 'diskless' both mount the root",)),
        (hooks("diskless", "udev"), ("'diskless' needs 'base' before it",)),
        (hooks("base", "systemd", "diskless"), ("'diskless' is never run beside 'systemd'",)),
        (hooks("base", "diskless"), ("without 'udev' no network driver",)),
        ({"root": {"mode": "overlay"}}, ("'net' cannot make a root of mode overlay", "write diskless")),
        ({"root": {"nfs": {"version": "4.2"}}}, ("'net' mounts NFSv3 only, root.nfs.version is 4.2",)),
        (
            {"packages": ["base", "linux", "mkinitcpio"], **hooks("base", "udev", "diskless")},
            ("'diskless' needs ipconfig of mkinitcpio-nfs-utils",),
        ),
        ({"boot": {"cmdline": ["rw"]}}, ("the hook 'net' does nothing without ip=",)),
        ({"boot": {"cmdline": ["ip=dhcp", "BOOTIF=01-52"]}}, ("BOOTIF= names the card of one client",)),
        ({"packages": ["base", "linux", "mkinitcpio"]}, ("'net' is of mkinitcpio-nfs-utils",)),
        ({"initramfs": {"generator": "initramfs-tools"}}, ("made with mkinitcpio",)),
        ({"distribution": {**ARCH, "suite": "x"}}, ("unknown key 'suite'", "allowed: name, architecture, mirrors")),
        ({"distribution": {"name": "gentoo"}}, ("'gentoo' is not allowed here", "allowed: debian, arch")),
        ({"distribution": {"architecture": "i686"}}, ("required key 'name' is missing",)),
        ({"distribution": {**ARCH, "snapshot": "2026-13-01"}}, ("'2026-13-01' is not a date",)),
        (
            {"distribution": {**ARCH, "snapshot": "2026-11-01", "architecture": "i686"}},
            ("the Arch Linux Archive has no packages for i686",),
        ),
        (
            {"distribution": {**ARCH, "snapshot": "2026-11-01", "mirrors": ["https://a.example.org"]}},
            ("mirrors and snapshot all say where",),
        ),
        ({"distribution": {**ARCH, "signatures": "never"}}, ("signatures: never is for local repositories only",)),
        (
            {"distribution": {**ARCH, "repositories": [{"name": "core", "signatures": "never"}]}},
            ("'core' is none",),
        ),
        (
            {"distribution": {**ARCH, "keyring": {"newest": "true", "fingerprints": ["37E514"]}}},
            ("anybody can make a key",),
        ),
        ({"distribution": {**ARCH, "keyring": {"path": "/my ring.gpg", "newest": "true"}}}, ("cannot be a package",)),
        (
            {"distribution": {**ARCH, **LOCAL, "keyring": {"newest": "true"}}},
            ("no repository has to be signed, so no keyring is used",),
        ),
        ({"distribution": {**ARCH, "repositories": [{"name": "own"}]}}, ("have no repository 'own'",)),
        ({"distribution": {**ARCH, "repositories": []}}, ("'repositories' is empty",)),
        ({"distribution": {**ARCH, "repositories": [{"name": "core"}, {"name": "core"}]}}, ("is listed twice",)),
        ({"distribution": {**ARCH, "repositories": [{"name": "local"}]}}, ("'local' is not a repository",)),
        ({"distribution": {**ARCH, "ignore": ["linux"]}}, ("'linux' is ignored and also in packages",)),
        ({"distribution": {**ARCH, "assume_installed": ["a", "a"]}}, ("'a' is listed 2 times",)),
        ({"distribution": {**ARCH, "parallel_downloads": "0"}}, ("0 downloads at once",)),
        ({"distribution": {**ARCH, "mirrors": ["ftp://a.example.org"]}}, ("is not a pacman mirror URL",)),
        ({"distribution": {**ARCH, "mirrorlist": "/nonexistent/list"}}, ("/nonexistent/list: No such file",)),
        ({"distribution": {**ARCH, "package_files": ["no.pkg.tar.zst"]}}, ("there is no file", "no.pkg.tar.zst")),
        ({"network": {"client": "systemd-networkd"}}, ("add systemd-resolved to system.services",)),
    ],
)
def test_contradictions(changes: dict[str, Any], words: tuple[str, ...], tmp_path: Path) -> None:
    message = faults(tmp_path, **changes)
    for word in words:
        assert word in message
    assert message.startswith(f"{tmp_path}/arch-nfs-classic.yml:")


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"client": "systemd-networkd", "nameservers": ["192.168.1.1"]}, "systemd-networkd needs system.init: systemd"),
        ({"client": "dhcpcd"}, "dhcpcd under initscripts would ask for a new address"),
    ],
)
def test_initscripts(network: dict[str, Any], words: str, tmp_path: Path) -> None:
    assert words in faults(tmp_path, "arch-initscripts", network=network)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"system": {"init": "initscripts"}}, "initscripts is for Arch Linux's derivatives"),
        ({"initramfs": MKINITCPIO}, "images of Debian are made with initramfs-tools"),
        ({"distribution": {"name": "debian", "architecture": "i686"}}, "'i686' is not allowed here"),
        ({"distribution": {"name": "debian", "ignore": "[nano]"}}, "unknown key 'ignore'"),
    ],
)
def test_what_is_archs_is_not_debians(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    assert words in faults(tmp_path, "debian-nfs", **changes)


def test_a_recipe_may_insist_on_autodetect(tmp_path: Path) -> None:
    names = ["base", "udev", "autodetect", "net"]
    initramfs = {**MKINITCPIO, "hooks": names, "autodetect": "true"}
    assert load_recipe(write_recipe(tmp_path, "arch-nfs-classic", initramfs=initramfs)).recipe.initramfs.generator


def test_a_hook_of_the_recipes_own_may_mount_the_root(tmp_path: Path) -> None:
    files = [{"path": f"/etc/initcpio/{part}/own", "text": "#\n"} for part in ("install", "hooks")]
    changes = {**hooks("base", "udev", "own"), "files": files}
    assert load_recipe(write_recipe(tmp_path, "arch-nfs-classic", **changes)).recipe.files


def test_an_empty_or_wrong_mirrorlist_is_named(tmp_path: Path) -> None:
    mirrorlist = tmp_path / "list"
    for text, words in (("#Server = x\n", "has no line `Server = URL`"), ("Server = ftp://x\n", "names 'ftp://x'")):
        mirrorlist.write_text(text, "ascii")
        assert words in faults(tmp_path, distribution={**ARCH, "mirrorlist": str(mirrorlist)})


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("arch-*.yml")), ids=lambda path: path.stem)
def test_every_recipe_that_is_shipped_is_sound(path: Path) -> None:
    assert load_recipe(path).recipe.image == path.stem
