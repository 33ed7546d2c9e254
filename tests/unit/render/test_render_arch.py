"""Every text that an Arch recipe becomes: pacman.conf, mkinitcpio, PXELINUX, fstab, rc.conf."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from builder.distributions.pacman import keep_options, parse_version, resolver_config
from builder.errors import AuditError, CommandError, DisklessError, HostError, InputError
from builder.generators.mkinitcpio import preset
from builder.generators.table import generator_of
from builder.inits.table import init_of
from builder.installers.pacman.errors import explain, fatal_descriptions, hidden_failures
from builder.loaders.pxelinux import Pxelinux
from builder.model.artifacts.manifest import Manifest, NfsRoot
from builder.model.entry import TreeFile
from builder.model.menu import Menu
from builder.model.recipe import ArchDistribution, Recipe
from builder.model.version import Version
from builder.reading import load_recipe
from builder.render.boot.cmdline import bundle_menu, image_entry, kernel_cmdline
from builder.render.image.entries import image_cmdline, image_entries
from tests.images import ROOT, write_recipe

LOCATION = "10.0.0.1:/disklessroot"


def load(path: Path) -> Recipe:
    return load_recipe(path).recipe


def shipped(name: str) -> Recipe:
    return load(ROOT / "recipes" / f"{name}.yml")


def changed(directory: Path, base: str = "arch-nfs-classic", **changes: Any) -> Recipe:
    return load(write_recipe(directory, base, **changes))


def arch(recipe: Recipe) -> ArchDistribution:
    assert isinstance(recipe.distribution, ArchDistribution)
    return recipe.distribution


def written(recipe: Recipe) -> dict[str, str]:
    """The text of every file that a build of the recipe writes."""
    return {entry.path: entry.content.decode() for entry in image_entries(recipe, {}) if isinstance(entry, TreeFile)}


def manifest(recipe: Recipe) -> Manifest:
    """As the build would write it, as far as boot configurations go."""
    return Manifest(
        image=recipe.image,
        version=Version.of(0, "0" * 8),
        root_digest="",
        epoch=0,
        distribution=recipe.distribution.name,
        release=recipe.distribution.release,
        architecture=recipe.distribution.architecture,
        kernel="6.1",
        initramfs=recipe.initramfs.generator,
        root=NfsRoot(
            recipe.root.mode,
            recipe.root.nfs.version,
            recipe.root.nfs.options,
            mounter=generator_of(recipe).mounter(recipe),
        ),
        cmdline=image_cmdline(recipe),
        recipe_sha256="",
        packages=(),
        capabilities=(),
        entries=0,
        size=0,
        artifacts={},
        tools={},
    )


def test_the_howtos_command_line() -> None:
    # the how-to of 2012, with the server's address in the places that its page left open
    howto = "rootfstype=nfs root=/dev/nfs nfsroot=10.0.0.1:/disklessroot,v3,rsize=16384,wsize=16384 ip=::::::dhcp"
    line = kernel_cmdline(manifest(shipped("arch-nfs-classic")), LOCATION)
    assert line == f"{howto} rw rootdelay=0 net.ifnames=0"


def test_the_howtos_pxelinux_configuration() -> None:
    entry = image_entry(manifest(shipped("arch-nfs-classic")), LOCATION)
    assert Pxelinux().render(Menu((entry,), entry.label)) == (
        "DEFAULT arch-nfs-classic\nPROMPT 0\nTIMEOUT 0\n\n"
        "LABEL arch-nfs-classic\n  MENU LABEL arch-nfs-classic\n  KERNEL vmlinuz\n  INITRD initramfs.img\n"
        "  APPEND rootfstype=nfs root=/dev/nfs nfsroot=10.0.0.1:/disklessroot,v3,rsize=16384,wsize=16384 "
        "ip=::::::dhcp rw rootdelay=0 net.ifnames=0\n"
    )


def test_the_bundle_leaves_the_server_to_dhcp() -> None:
    config = Pxelinux().render(bundle_menu(manifest(shipped("arch-nfs-classic"))))
    assert "APPEND rootfstype=nfs root=/dev/nfs ip=::::::dhcp rw rootdelay=0" in config
    assert "nfsroot" not in config


@pytest.mark.parametrize(
    ("words", "bootif"),
    [(["ip=:::"], True), (["ip=dhcp"], False), (["ip=::::::dhcp"], False), (["ip=:::", "rw"], True)],
)
def test_bootif_goes_with_the_one_ip_that_it_fits(words: list[str], bootif: bool, tmp_path: Path) -> None:
    recipe = changed(tmp_path, boot={"cmdline": words})
    assert bundle_menu(manifest(recipe)).entries[0].bootif is bootif


def test_debians_client_is_told_the_card() -> None:
    config = Pxelinux().render(bundle_menu(manifest(shipped("debian-nfs"))))
    assert "root=/dev/nfs nfsroot=auto,vers=3,rsize=16384,wsize=16384 ip=dhcp" in config
    assert "SYSAPPEND 2" in config
    assert "rootdelay" not in config


def test_the_howtos_fstab() -> None:
    assert written(shipped("arch-nfs-classic"))["/etc/fstab"].splitlines()[1:] == [
        "none / none",
        "none\t/dev/pts\tdevpts\tgid=5,mode=620\t0\t0",
    ]


def test_the_first_workaround_keeps_the_kernels_address() -> None:
    recipe = shipped("arch-nfs-classic")
    lines = written(recipe)["/etc/dhcpcd.conf"].splitlines()
    assert {"noconfigure", "request", "persistent", "nolink"} <= set(lines)
    assert init_of(recipe).enabled(recipe) == ["dhcpcd.service", "sshd"]


def test_the_second_workaround_has_no_client_and_a_fixed_resolv_conf() -> None:
    recipe = shipped("arch-nfs-resolv")
    files = written(recipe)
    assert files["/etc/resolv.conf"] == "nameserver 192.168.1.1\n"
    assert "/etc/dhcpcd.conf" not in files
    assert init_of(recipe).enabled(recipe) == ["sshd"]


def test_rc_conf() -> None:
    recipe = shipped("arch-initscripts")
    files = written(recipe)
    assert files["/etc/rc.conf"] == (
        'LOCALE="C.UTF-8"\nHARDWARECLOCK="UTC"\nTIMEZONE="UTC"\nHOSTNAME="diskless"\n\n'
        "# the interface stays up at shutdown: the root is unmounted over it\n"
        'NETWORK_PERSIST="yes"\n\n'
        "DAEMONS=(diskless-lease !network syslog-ng rpcbind sshd)\n"
    )
    howto = "DHCPCD_ARGS=\" -s $(ifconfig eth0 | grep -o '[0-9]*\\.[0-9\\.]*' | head -n1)\"\n"
    assert files["/etc/conf.d/dhcpcd"].endswith(howto)
    assert init_of(recipe).enabled(recipe) == []
    assert not [path for path in files if "systemd" in path]


def test_rc_conf_with_the_daemon(tmp_path: Path) -> None:
    recipe = changed(tmp_path, "arch-initscripts", network={"client": "dhcpcd", "inform": "true", "interface": "eth0"})
    text = written(recipe)["/etc/rc.conf"]
    assert "interface=eth0\n" in text
    assert "DAEMONS=(diskless-lease network syslog-ng rpcbind sshd)" in text


def test_rc_conf_of_everything_else(tmp_path: Path) -> None:
    """Masked daemons, name servers of the kernel's lease, NetworkManager."""
    system = {"init": "initscripts", "services": ["sshd"], "masked": ["ntpd", "crond"]}
    network = {"client": "NetworkManager", "interface": "eth0"}
    recipe = changed(tmp_path, "arch-initscripts", system=system, network=network)
    files = written(recipe)
    daemons = "diskless-lease diskless-resolver !network dbus networkmanager sshd !ntpd !crond"
    assert files["/etc/rc.conf"].endswith(f"DAEMONS=({daemons})\n")
    assert (
        "case $1 in start | restart) /usr/local/lib/diskless/resolver ;; esac" in files["/etc/rc.d/diskless-resolver"]
    )
    assert "unmanaged-devices=interface-name:eth0" in files["/etc/NetworkManager/conf.d/10-diskless.conf"]
    assert not [entry.path for entry in image_entries(recipe, {}) if "systemd" in entry.path]


@pytest.mark.parametrize(
    ("network", "target"),
    [
        ({"client": "none", "resolver": "kernel"}, "../run/diskless/resolv.conf"),
        (
            {"client": "dhcpcd", "inform": "true", "interface": "eth0", "resolver": "kernel"},
            "../run/diskless/resolv.conf",
        ),
        ({"client": "dhcpcd", "inform": "true", "interface": "eth0", "resolver": "dhcp"}, None),
        ({"client": "none", "nameservers": ["192.168.1.1"], "resolver": "fixed"}, None),
    ],
)
def test_resolv_conf_under_initscripts(network: dict[str, Any], target: str | None, tmp_path: Path) -> None:
    recipe = changed(tmp_path, "arch-initscripts", network=network)
    (entry,) = [entry for entry in image_entries(recipe, {}) if entry.path == "/etc/resolv.conf"]
    assert getattr(entry, "target", None) == target
    assert ("diskless-resolver" in written(recipe)["/etc/rc.conf"]) is (target is not None)


def test_the_lease_of_mkinitcpios_net_hook_is_kept_for_the_resolver(tmp_path: Path) -> None:
    files = written(changed(tmp_path, network={"client": "none", "resolver": "kernel"}))
    # mkinitcpio reads drop-ins sorted by version: after diskless.conf, which sets HOOKS
    names = sorted(path.rpartition("/")[2] for path in files if path.startswith("/etc/mkinitcpio.conf.d/"))
    assert names == ["diskless.conf", "diskless_lease.conf"]
    assert "HOOKS+=(diskless-lease)\n" in files["/etc/mkinitcpio.conf.d/diskless_lease.conf"]
    assert {"/etc/initcpio/hooks/diskless-lease", "/etc/initcpio/install/diskless-lease"} <= set(files)
    assert "nohook resolv.conf" not in files


def test_mkinitcpios_drop_in(tmp_path: Path) -> None:
    initramfs = {
        "generator": "mkinitcpio",
        "modules": ["e1000e", "nfs"],
        "binaries": ["/usr/bin/strace"],
        "files": ["/etc/hosts"],
        "hooks": ["base", "udev", "keyboard", "net"],
        "compression": "gzip",
    }
    files = written(changed(tmp_path, initramfs=initramfs))
    assert files["/etc/mkinitcpio.conf.d/diskless.conf"] == (
        "# written by diskless from the recipe's initramfs\n"
        "MODULES=(nfs nfsv3 e1000e)\n"
        "BINARIES=(/usr/bin/strace)\n"
        "FILES=(/etc/hosts)\n"
        "HOOKS=(base udev keyboard diskless-link net diskless-retry)\n"
        'COMPRESSION="gzip"\n'
    )
    assert files["/etc/initcpio/hooks/diskless-link"].startswith("#!/usr/bin/ash\n")


def test_the_preset_makes_one_image() -> None:
    assert preset("linux-lts").splitlines()[1:] == [
        'ALL_kver="/boot/vmlinuz-linux-lts"',
        "",
        "PRESETS=('default')",
        "",
        'default_image="/boot/initramfs-linux-lts.img"',
    ]


def test_pacman_conf() -> None:
    recipe = shipped("arch-nfs-classic")
    assert resolver_config(arch(recipe), (6, 0), None) == (
        "[options]\nArchitecture = x86_64\nCheckSpace\nParallelDownloads = 5\n\n"
        "[core]\nSigLevel = Required DatabaseNever\nServer = https://geo.mirror.pkgbuild.com/$repo/os/$arch\n\n"
        "[extra]\nSigLevel = Required DatabaseNever\nServer = https://geo.mirror.pkgbuild.com/$repo/os/$arch\n"
    )


@pytest.mark.parametrize(("version", "there"), [((6, 0), False), ((6, 1), False), ((7, 0), True), ((7, 1), True)])
def test_pacman_conf_by_version(version: tuple[int, int], there: bool) -> None:
    text = resolver_config(arch(shipped("arch-nfs")), version, None)
    assert ("DisableSandbox\n" in text) is there
    assert "DownloadUser" not in text


def test_a_snapshot_is_a_day_of_the_archive(tmp_path: Path) -> None:
    recipe = changed(tmp_path, distribution={"name": "arch", "snapshot": "2026-11-01"})
    server = "Server = https://archive.archlinux.org/repos/2026/11/01/$repo/os/$arch\n"
    assert server in resolver_config(arch(recipe), (6, 0), None)
    assert written(recipe)["/etc/pacman.d/mirrorlist"] == server
    assert arch(recipe).release == "2026-11-01"


def test_i686_is_arch_linux_32(tmp_path: Path) -> None:
    recipe = changed(tmp_path, distribution={"name": "arch", "architecture": "i686"})
    text = resolver_config(arch(recipe), (6, 0), None)
    assert "Architecture = i686\n" in text
    assert "Server = https://mirror.archlinux32.org/$arch/$repo\n" in text


def test_a_mirrorlist_is_read_where_the_build_runs(tmp_path: Path) -> None:
    servers = ["https://a.example.org/$repo/os/$arch", "https://b.example.org/$repo/os/$arch"]
    mirrorlist = tmp_path / "mirrorlist"
    mirrorlist.write_text(f"# mirrors\nServer = {servers[0]}\n#Server = https://off\n Server={servers[1]}\n", "utf-8")
    path = write_recipe(tmp_path, "arch-nfs", distribution={"name": "arch", "mirrorlist": str(mirrorlist)})
    before = load_recipe(path)
    assert arch(before.recipe).mirrors == tuple(servers)
    mirrorlist.write_text(f"Server = {servers[0]}\n", "utf-8")
    assert load_recipe(path).sha256 != before.sha256


def test_repositories_and_package_files(tmp_path: Path) -> None:
    package = tmp_path / "tool-1.0-1-any.pkg.tar.zst"
    package.write_bytes(b"")
    distribution = {
        "name": "arch",
        "mirrors": ["https://a.example.org/$repo"],
        "repositories": [
            {"name": "own", "mirrors": ["https://own.example.org/$arch"]},
            {"name": "lab", "mirrors": ["file:///srv/repo"], "signatures": "never"},
            {"name": "core"},
        ],
        "package_files": [package.name],
    }
    recipe = changed(tmp_path, distribution=distribution)
    assert arch(recipe).package_files == (str(package),)
    text = resolver_config(arch(recipe), (6, 0), "/srv/files")
    sections = [section.splitlines() for section in text.split("\n\n")[1:]]
    assert [section[0] for section in sections] == ["[recipe]", "[own]", "[lab]", "[core]"]
    assert [section[1] for section in sections] == [
        "SigLevel = Never",
        "SigLevel = Required DatabaseNever",
        "SigLevel = Never",
        "SigLevel = Required DatabaseNever",
    ]
    files = written(recipe)
    assert "[lab]" not in files["/etc/pacman.conf"]
    assert "[own]\nSigLevel = Required DatabaseOptional\nServer = https://own" in files["/etc/pacman.conf"]
    assert "file:" not in files["/etc/pacman.conf"] + files["/etc/pacman.d/mirrorlist"]


def test_a_pacman_conf_of_ours_keeps_what_the_distributions_says(tmp_path: Path) -> None:
    """Of Arch's pacman 7: without DownloadUser downloads run as root."""
    shipped = b"""\
# a comment
[options]
HoldPkg     = pacman glibc linux
#DisableSandbox
DownloadUser = alpm
 NoExtract=usr/share/help/*
VerbosePkgLists
SigLevel    = Required DatabaseOptional

[core]
Include = /etc/pacman.d/mirrorlist
Usage = All
"""
    recipe = changed(tmp_path, distribution={"name": "arch", "repositories": [{"name": "core"}]})
    ours = written(recipe)["/etc/pacman.conf"]
    options = ours.partition("\n\n")[0]
    kept = keep_options(ours.encode(), shipped).decode()
    assert kept == ours.replace(options, f"{options}\nDownloadUser = alpm\nNoExtract=usr/share/help/*\nVerbosePkgLists")
    assert keep_options(ours.encode(), b"[core]\nServer = x\n").decode() == ours


def test_the_shipped_pacman_conf_stays_with_the_usual_repositories() -> None:
    files = written(shipped("arch-nfs"))
    assert "/etc/pacman.conf" not in files
    assert "/etc/apt/sources.list" not in files
    assert files["/etc/locale.conf"] == "LANG=C.UTF-8\n"


@pytest.mark.parametrize(
    ("text", "version"), [("Pacman v6.0.2 - libalpm v13.0.2", (6, 0)), ("Pacman v7.1.0", (7, 1)), ("", None)]
)
def test_versions_of_pacman(text: str, version: tuple[int, int] | None) -> None:
    assert parse_version(text) == version


def test_failures_that_pacman_hides_are_found_with_their_place() -> None:
    output = [
        "installing good...",
        "installing bad...",
        "no such user",
        "error: command failed to execute correctly",
        "installing linux...",
        ":: Running post-transaction hooks...",
        "(1/2) Updating module dependencies...",
        "depmod: FATAL",
        "error: command failed to execute correctly",
        "(2/2) Reloading...",
        "call to execv failed (No such file or directory)",
    ]
    found = [(failure.where, failure.is_hook, failure.line) for failure in hidden_failures(output)]
    assert found == [
        ("bad", False, "no such user"),
        ("Updating module dependencies...", True, "depmod: FATAL"),
        ("Reloading...", True, "call to execv failed (No such file or directory)"),
    ]
    hook = "[Action]\nDescription = Updating module dependencies...\nExec = /usr/share/libalpm/scripts/depmod\n"
    assert fatal_descriptions([hook, "[Action]\nExec = /usr/bin/true\n"]) == ["Updating module dependencies..."]


@pytest.mark.parametrize(
    ("output", "kind", "words"),
    [
        (
            "error: Partition /work too full: 145773 blocks needed, 15346 blocks free\n"
            "error: not enough free disk space\n",
            HostError,
            "the disk is full: Partition /work too full: 145773 blocks needed",
        ),
        (
            "error: failed retrieving file 'core.db' from a.example.org : Could not resolve host: a.example.org\n"
            "error: failed to synchronize all databases (download library error)\n",
            CommandError,
            "could not be fetched from https://geo.mirror.pkgbuild.com/$repo/os/$arch",
        ),
        (
            "error: failed retrieving file 'a-1-1-any.pkg.tar.zst' from disk : Something that curl says in 2030\n"
            "error: failed to commit transaction (failed to retrieve some files)\n",
            CommandError,
            "packages could not be fetched: a-1-1-any.pkg.tar.zst from disk: Something that curl says in 2030",
        ),
        (
            'error: a: signature from "A Packager <a@example.org>" is unknown trust\n'
            "error: failed to commit transaction (invalid or corrupted package (PGP signature))\n",
            AuditError,
            'not signed by a key that the build trusts: a: signature from "A Packager <a@example.org>" is unknown',
        ),
        (
            ":: File /cache/a.pkg.tar.zst is corrupted (invalid or corrupted package (checksum)).\n"
            "Do you want to delete it? [Y/n] error: failed to commit transaction (invalid or corrupted package)\n",
            AuditError,
            "a.pkg.tar.zst is not the file that the repository's database describes",
        ),
        (
            "error: failed to commit transaction (conflicting files)\n/usr/bin/x exists in both 'a' and 'b'\n",
            InputError,
            "/usr/bin/x exists in both 'a' and 'b'",
        ),
        ("error: something new\n", CommandError, "pacman: something new"),
    ],
    ids=["disk", "mirror", "curl", "trust", "checksum", "files", "unknown"],
)
def test_what_pacman_complains_of(output: str, kind: type[DisklessError], words: str) -> None:
    error = explain(output, CommandError("pacman ...: exit status 1"), arch(shipped("arch-nfs-classic")))
    assert type(error) is kind
    assert words in error.message
    assert error.hint
