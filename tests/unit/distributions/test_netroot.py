"""The scripts that mount a root from an initramfs, run by the shells that will run them, with our programs on PATH."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
from pathlib import Path

import pytest

from builder.generators import netroot
from builder.generators.base import root_modules
from builder.generators.table import generator_of
from builder.model.artifacts.manifest import Mounter, NfsRoot
from builder.model.entry import TreeFile
from builder.model.recipe import GeneratorName, Nfs, NfsVersion, OnFailure, Root, RootMode
from builder.reading import load_recipe
from builder.render.boot.cmdline import bundle_menu, kernel_cmdline
from builder.render.image.entries import image_entries
from tests.golden_files import GOLDEN, check_golden
from tests.images import ROOT, write_recipe
from tests.require import needs_tool
from tests.samples import MANIFEST

pytestmark = [needs_tool("dash", "bash", "busybox")]

OVERLAY = Root(mode=RootMode.OVERLAY, nfs=Nfs(version=NfsVersion.V4_2))
RETRY = OnFailure.RETRY
ROOTS = [Root(mode=mode, nfs=Nfs(version=version)) for mode in RootMode for version in NfsVersion]
SHELLS = [["dash"], ["bash", "--posix"], ["busybox", "ash"]]
# programs of the initramfs: `mount` notes its arguments and fails as often, and with the words, as the test says
PROGRAMS = {
    "mount": 'echo "$*" >> mounts; read -r left < failures; [ "$left" = 0 ] && exit\n'
    "echo $((left - 1)) > failures; cat said >&2; exit 32\n",
    "mkdir": "",
    "umount": "",
    "modprobe": "",
    "sleep": 'echo "$1" >> slept\n',
    # it fails once for each line of `no-lease`
    "ipconfig": 'echo "$*" >> asked; [ -s no-lease ] || exit 0; sed -i 1d no-lease; exit 1\n',
}


def run_script(
    directory: Path,
    shell: list[str],
    script: str,
    *,
    variables: str = "ROOTSERVER=10.0.0.1\nROOTPATH=\nIPV4ADDR=10.0.0.9\nDEVICE=none\n",
    failures: int = 0,
    said: str = "mount: Connection refused",
    stderr: str | None = "",
) -> str:
    """What the script says; `mounts` in the directory has the arguments of every mount."""
    programs = directory / "bin"
    programs.mkdir(exist_ok=True)
    for name, body in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{body}", "ascii")
        (programs / name).chmod(0o755)
    (directory / "failures").write_text(f"{failures}\n", "ascii")
    (directory / "said").write_text(f"{said}\nmore\n", "ascii")
    (directory / "script").write_text(variables + script, "ascii")
    environment = {"PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run(
        [*shell, "./script"],
        cwd=directory,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )
    assert stderr is None or done.stderr == stderr
    return done.stdout


def mounts(directory: Path) -> list[str]:
    return (directory / "mounts").read_text("ascii").splitlines()


def functions(root: Root) -> str:
    """The script for initramfs-tools, without what init calls."""
    return netroot.boot_script(root, RETRY).partition("\nmountroot()")[0] + "\n"


def test_scripts() -> None:
    check_golden(GOLDEN / "netroot" / "initramfs-tools-overlay.sh", netroot.boot_script(OVERLAY, RETRY))
    check_golden(GOLDEN / "netroot" / "mkinitcpio-hook-overlay.sh", netroot.runtime_hook(OVERLAY, RETRY))
    check_golden(GOLDEN / "netroot" / "mkinitcpio-install.sh", netroot.INSTALL)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("root", ROOTS, ids=lambda root: f"{root.mode}-{root.nfs.version}")
def test_syntax(root: Root, shell: list[str], tmp_path: Path) -> None:
    for text in (netroot.boot_script(root, RETRY), netroot.runtime_hook(root, RETRY)):
        assert not re.search(r"@[A-Z]+@", text)
        (tmp_path / "script").write_text(text, "ascii")
        done = subprocess.run([*shell, "-n", tmp_path / "script"], capture_output=True, encoding="utf-8", check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("nfsroot", "options"),
    [
        ("10.0.0.2:/r", "ro,vers=4.2,proto=tcp,clientaddr=10.0.0.9,addr=10.0.0.2 10.0.0.2:/r"),
        ("10.0.0.2:/r,vers=4.2", "ro,vers=4.2,proto=tcp,clientaddr=10.0.0.9,addr=10.0.0.2 10.0.0.2:/r"),
        ("10.0.0.2:/r,vers=4.1,hard", "ro,vers=4.1,proto=tcp,hard,clientaddr=10.0.0.9,addr=10.0.0.2 10.0.0.2:/r"),
        ("10.0.0.2:/r,v3", "ro,vers=3,proto=tcp,nolock,mountproto=tcp,addr=10.0.0.2 10.0.0.2:/r"),
        ("10.0.0.2:/r,nfsvers=3,lock,rw", "ro,vers=3,proto=tcp,nolock,mountproto=tcp,lock,addr=10.0.0.2 10.0.0.2:/r"),
        ("/r", "ro,vers=4.2,proto=tcp,clientaddr=10.0.0.9,addr=10.0.0.1 10.0.0.1:/r"),
        ("", "ro,vers=4.2,proto=tcp,clientaddr=10.0.0.9,addr=10.0.0.7 10.0.0.7:/dhcp"),
        ("auto", "ro,vers=4.2,proto=tcp,clientaddr=10.0.0.9,addr=10.0.0.7 10.0.0.7:/dhcp"),
        ("auto,soft", "ro,vers=4.2,proto=tcp,soft,clientaddr=10.0.0.9,addr=10.0.0.7 10.0.0.7:/dhcp"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_what_nfsroot_and_dhcp_say_is_mounted(shell: list[str], nfsroot: str, options: str, tmp_path: Path) -> None:
    variables = "ROOTSERVER=10.0.0.1\nROOTPATH=10.0.0.7:/dhcp\nIPV4ADDR=10.0.0.9\nDEVICE=none\n"
    script = functions(OVERLAY) + f'diskless_mount_root "{nfsroot}" /root && echo good\n'
    output = run_script(tmp_path, shell, script, variables=variables)
    assert output.splitlines()[-1] == "good"
    assert "diskless: root mounted" in output
    assert mounts(tmp_path) == [
        f"-i -t nfs -o {options} /run/overlay/lower",
        "-t tmpfs -o mode=0700,size=50% tmpfs /run/overlay/rw",
        "-t overlay -o lowerdir=/run/overlay/lower,upperdir=/run/overlay/rw/upper,workdir=/run/overlay/rw/work "
        "overlay /root",
    ]


def test_dhcps_root_path_may_have_options_and_no_server(tmp_path: Path) -> None:
    variables = "ROOTSERVER=10.0.0.1\nROOTPATH=/dhcp,hard,timeo=100\nIPV4ADDR=10.0.0.9\nDEVICE=none\n"
    script = functions(OVERLAY) + 'diskless_mount_root "auto,timeo=200" /root\n'
    run_script(tmp_path, ["dash"], script, variables=variables)
    expected = "ro,vers=4.2,proto=tcp,hard,timeo=100,timeo=200,clientaddr=10.0.0.9,addr=10.0.0.1 10.0.0.1:/dhcp"
    assert mounts(tmp_path)[0] == f"-i -t nfs -o {expected} /run/overlay/lower"


@pytest.mark.parametrize(("nfsroot", "server"), [("", "10.0.0.1"), ("server:/r", "10.0.0.1"), ("/r", "0.0.0.0")])
def test_a_root_that_cannot_be_is_named(nfsroot: str, server: str, tmp_path: Path) -> None:
    variables = f"ROOTSERVER={server}\nROOTPATH=\nIPV4ADDR=\nDEVICE=none\n"
    script = functions(OVERLAY) + f'diskless_mount_root "{nfsroot}" /root || echo bad\n'
    output = run_script(tmp_path, ["dash"], script, variables=variables)
    assert output.splitlines()[0].startswith("diskless: there is no root: ")
    assert output.splitlines()[-1] == "bad"
    assert not (tmp_path / "mounts").exists()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("mount: Protocol not supported", "does the server speak NFS 4.2?"),
        ("mount: /new_root: permission denied.", "is this path exported, and to this client (10.0.0.9)?"),
        ("mount: No such file or directory", "is there such a directory below an export"),
        ("mount: Connection timed out", "is 10.0.0.2 the NFS server"),
    ],
)
def test_a_server_that_is_not_ready_is_asked_again(said: str, words: str, tmp_path: Path) -> None:
    script = functions(OVERLAY) + 'diskless_mount_root "10.0.0.2:/r" /root && echo good\n'
    output = run_script(tmp_path, ["dash"], script, failures=7, said=said)
    assert output.count(f"diskless: NFS mount failed: {said}\n") == 7
    assert output.count(words) == 7
    assert "more" not in output
    assert output.splitlines()[-1] == "good"
    assert (tmp_path / "slept").read_text("ascii").split() == ["1", "2", "3", "4", "5", "5", "5"]


def test_a_server_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    script = functions(OVERLAY) + 'diskless_mount_root "10.0.0.2:/r" /root || echo bad\n'
    output = run_script(tmp_path, ["dash"], script, failures=1000)
    assert output.splitlines()[-1] == "bad"
    assert len(mounts(tmp_path)) == 40
    assert "tmpfs" not in (tmp_path / "mounts").read_text("ascii")


def command_line(style: str, **words: str) -> str:
    """What mkinitcpio's init gives to hooks: variables before release 39, getarg since; both for a while."""
    if style == "variables":
        return "".join(f"{name}={value}\n" for name, value in words.items())
    cases = "".join(f"\t{name}) printf %s '{value}' ;;\n" for name, value in words.items())
    return f"getarg() {{\n\tcase $1 in\n{cases}\tesac\n}}\n"


@pytest.mark.parametrize("style", ["variables", "getarg"])
def test_mkinitcpios_hook_asks_for_an_address_and_mounts(style: str, tmp_path: Path) -> None:
    script = netroot.runtime_hook(OVERLAY, RETRY) + "run_hook\n$mount_handler /new_root && echo good\n"
    words = command_line(style, nfsroot="10.0.0.2:/r,vers=4.2", ip="dhcp")
    output = run_script(tmp_path, SHELLS[-1], words + script)
    assert output.splitlines()[-1] == "good"
    assert (tmp_path / "asked").read_text("ascii") == "-t 60 ip=::::::dhcp\n"
    assert mounts(tmp_path)[0].endswith("10.0.0.2:/r /run/overlay/lower")
    assert mounts(tmp_path)[-1].endswith("overlay /new_root")


@pytest.mark.parametrize("style", ["variables", "getarg"])
def test_mkinitcpios_hook_takes_the_card_that_pxe_used(style: str, tmp_path: Path) -> None:
    address = Path("/sys/class/net/lo/address").read_text("ascii").strip()
    bootif = f"01-{address.replace(':', '-')}"
    script = netroot.runtime_hook(OVERLAY, RETRY) + "diskless_configure_network\n"
    for ip in ("dhcp", ":::", "", "::::::dhcp", "10.0.0.9:::255.255.255.0::eth1:off"):
        run_script(tmp_path, SHELLS[-1], command_line(style, BOOTIF=bootif, ip=ip) + script)
    asked = (tmp_path / "asked").read_text("ascii").splitlines()
    assert asked == ["-t 60 ip=:::::lo:dhcp"] * 4 + ["-t 60 ip=10.0.0.9:::255.255.255.0::eth1:off"]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize(
    ("device", "card"),
    [("eth0", "eth0"), ("", "eth1"), ("none", "eth1"), ("\\300\\001x/../", "eth1"), ("..", "eth1"), ("lost", None)],
)
def test_a_server_tells_clients_apart(device: str, card: str | None, shell: list[str], tmp_path: Path) -> None:
    """An ipconfig built with glibc writes garbage where ip= names no card."""
    for name in ("eth0", "eth1"):
        (tmp_path / "net" / name).mkdir(parents=True)
        (tmp_path / "net" / name / "address").write_text(f"address of {name}\n", "ascii")
    route = "Iface\tDestination\tGateway\n" + ("eth1\t00000000\t0100000A\n" if card else "")
    (tmp_path / "route").write_text(route, "ascii")
    (tmp_path / "unique_id").write_text("\n", "ascii")
    script = functions(OVERLAY)
    for path, ours in (
        ("/sys/class/net", "net"),
        ("/proc/net/route", "route"),
        ("/sys/module/nfs/parameters/nfs4_unique_id", "unique_id"),
    ):
        assert path in script
        script = script.replace(path, f"./{ours}")
    output = run_script(tmp_path, shell, f"{script}DEVICE=$(printf '{device}')\ndiskless_identify\n")
    expected = f"address of {card}\n" if card else "\n"
    assert (tmp_path / "unique_id").read_text("ascii") == expected
    assert output == (
        "" if card else "diskless: no card has an address: a server of NFSv4 cannot tell this client from others\n"
    )


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: f"{root.mode}-{root.nfs.version}")
def test_modules(root: Root) -> None:
    modules = root_modules(root)
    assert {"nfs", "nfsv3"} <= set(modules)
    assert ("nfsv4" in modules) is (root.nfs.version != "3")
    assert ("overlay" in modules) is (root.mode == "overlay")


def test_our_script_mounts_every_root_of_debian(tmp_path: Path) -> None:
    distribution = {"name": "debian", "suite": "bookworm"}
    for root in ({}, {"mode": "overlay"}, {"nfs": {"version": "4.2"}}):
        recipe = load_recipe(write_recipe(tmp_path, root=root, distribution=distribution)).recipe
        files = {
            entry.path: entry.content.decode() for entry in image_entries(recipe, {}) if isinstance(entry, TreeFile)
        }
        assert "/etc/initramfs-tools/scripts/diskless" in files
        assert "BOOT=diskless\n" in files["/etc/initramfs-tools/conf.d/diskless.conf"]


def test_the_size_of_the_overlay(tmp_path: Path) -> None:
    root = dataclasses.replace(OVERLAY, overlay_size="256m")
    run_script(tmp_path, ["dash"], functions(root) + 'diskless_mount_root "10.0.0.2:/r" /root\n')
    assert "size=256m tmpfs" in mounts(tmp_path)[1]


def test_arch_today(tmp_path: Path) -> None:
    recipe = load_recipe(ROOT / "recipes/arch-nfs.yml").recipe
    files = {entry.path: entry for entry in image_entries(recipe, {}) if isinstance(entry, TreeFile)}
    assert (
        "HOOKS=(base udev modconf diskless-link diskless)"
        in files["/etc/mkinitcpio.conf.d/diskless.conf"].content.decode()
    )
    assert "MODULES=(nfs nfsv3 nfsv4 overlay)" in files["/etc/mkinitcpio.conf.d/diskless.conf"].content.decode()
    assert files["/etc/initcpio/hooks/diskless"].mode == 0o755
    assert files["/etc/initcpio/install/diskless"].content.decode() == netroot.INSTALL


@pytest.mark.parametrize(
    ("initramfs", "root", "location", "arguments"),
    [
        ("initramfs-tools", ("overlay", "4.2"), "10.0.0.1:/r", "root=/dev/nfs nfsroot=10.0.0.1:/r,vers=4.2,hard"),
        ("initramfs-tools", ("overlay", "3"), "10.0.0.1:/r", "root=/dev/nfs nfsroot=10.0.0.1:/r,vers=3,hard"),
        ("initramfs-tools", ("overlay", "4.2"), None, "root=/dev/nfs nfsroot=auto,vers=4.2,hard"),
        ("initramfs-tools", ("rw", "3"), None, "root=/dev/nfs nfsroot=auto"),
        ("mkinitcpio", ("rw", "4.1"), "10.0.0.1:/r", "rootfstype=nfs root=/dev/nfs nfsroot=10.0.0.1:/r,vers=4.1,hard"),
        ("mkinitcpio", ("rw", "4.1"), None, "rootfstype=nfs root=/dev/nfs nfsroot=auto,vers=4.1,hard"),
        ("mkinitcpio", ("rw", "3"), "10.0.0.1:/r", "rootfstype=nfs root=/dev/nfs nfsroot=10.0.0.1:/r,v3,hard"),
        ("mkinitcpio", ("rw", "3"), None, "rootfstype=nfs root=/dev/nfs"),
    ],
)  # fmt: skip
def test_root_arguments(initramfs: str, root: tuple[str, str], location: str | None, arguments: str) -> None:
    nfs = NfsRoot(RootMode(root[0]), NfsVersion(root[1]), ("hard",))
    manifest = dataclasses.replace(MANIFEST, initramfs=GeneratorName(initramfs), root=nfs)
    assert " ".join(generator_of(manifest).root_arguments(manifest.root, location)) == arguments
    assert f" {'rw' if root[0] == 'rw' else 'ro'}" in kernel_cmdline(manifest, location)


def test_our_hook_is_told_the_card_whatever_ip_says() -> None:
    manifest = dataclasses.replace(
        MANIFEST, initramfs=GeneratorName.MKINITCPIO, root=NfsRoot(RootMode.OVERLAY, NfsVersion.V4_2, ())
    )
    assert generator_of(manifest).wants_bootif(manifest)
    assert bundle_menu(manifest).entries[0].bootif
    theirs = dataclasses.replace(manifest, root=NfsRoot(RootMode.RW, NfsVersion.V3, ()))
    assert not generator_of(theirs).wants_bootif(theirs)
    ours = dataclasses.replace(manifest.root, mounter=Mounter.KERNEL)
    debian = dataclasses.replace(manifest, initramfs=GeneratorName.INITRAMFS_TOOLS, root=ours)
    assert generator_of(debian).wants_bootif(debian)
