"""What the boot's own lease means for the running system: a script, run by the shells that will run it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from builder.inits.base import LEASE
from builder.model.entry import TreeFile
from builder.model.recipe import Recipe
from builder.reading import load_recipe
from builder.render.image.entries import image_entries
from builder.render.image.lease import has_renewer, is_renewed
from tests.images import write_recipe
from tests.require import needs_tool

pytestmark = [needs_tool("dash", "bash", "busybox")]

SUITE = {"name": "debian", "suite": "bookworm"}
SHELLS = [["dash"], ["bash", "--posix"], ["busybox", "ash"]]
NETWORKD = "etc/systemd/network/10-diskless.network"


def recipe_of(directory: Path, client: str, *packages: str, **network: object) -> Recipe:
    """The stock recipe with another client."""
    usual = load_recipe(write_recipe(directory, distribution=SUITE)).recipe
    network = {"client": client, "nameservers": ["192.0.2.1"], **network}
    path = write_recipe(directory, distribution=SUITE, packages=[*usual.packages, *packages], network=network)
    return load_recipe(path).recipe


def files_of(recipe: Recipe) -> dict[str, str]:
    return {entry.path: entry.content.decode() for entry in image_entries(recipe, {}) if isinstance(entry, TreeFile)}


def machine(directory: Path, lease: str, *, root: str = "nfs", files: dict[str, str] | None = None) -> Path:
    """A system with two cards, of which the second has a route."""
    for card in ("eth0", "eth1"):
        (directory / "sys/class/net" / card).mkdir(parents=True)
        (directory / "sys/class/net" / card / "address").write_text(f"52:54:00:00:00:0{card[-1]}\n", "ascii")
    for path in ("proc/net", "proc/sys/kernel", "run", "etc"):
        (directory / path).mkdir(parents=True)
    (directory / "proc/mounts").write_text(f"rootfs / rootfs rw 0 0\nx / {root} rw 0 0\ny /dev devtmpfs rw 0 0\n")
    (directory / "proc/sys/kernel/hostname").write_text("diskless\n", "ascii")
    (directory / "proc/net/route").write_text("Iface\tDestination\neth1\t00000000\n", "ascii")
    if lease:
        (directory / "run/net-eth0.conf").write_text(lease, "ascii")
    for path, text in (files or {}).items():
        (directory / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (directory / path.lstrip("/")).write_text(text, "utf-8")
    return directory


def run_script(directory: Path, shell: list[str], script: str) -> None:
    """Runs the script with the directory in place of the root."""
    moved = re.sub(r"(?<![.\w/'])/(run|proc|sys|etc)/", r"./\1/", script)
    (directory / "script").write_text(moved, "utf-8")
    done = subprocess.run([*shell, "./script"], cwd=directory, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize(
    ("lease", "name"),
    [
        ("DEVICE='eth0'\nHOSTNAME='pc7'\nDNSDOMAIN='lan'\n", "pc7"),
        ("DEVICE='eth0'\nHOSTNAME='pc7.lab.example.org'\n", "pc7"),
        ("DEVICE='eth0'\nHOSTNAME=''\nDNSDOMAIN='lan'\n", "diskless"),
        ("DEVICE='eth0'\nHOSTNAME='192.0.2.9'\n", "diskless"),
        ("DEVICE='eth0'\nHOSTNAME='a b; reboot'\n", "diskless"),
        ("", "diskless"),
    ],
)
def test_the_network_names_the_machine(shell: list[str], lease: str, name: str, tmp_path: Path) -> None:
    files = files_of(recipe_of(tmp_path, "dhcpcd"))
    place = machine(tmp_path, lease, files={path: files[path] for path in ("/etc/hostname", "/etc/hosts")})
    run_script(place, shell, files[LEASE.script])
    assert (place / "proc/sys/kernel/hostname").read_text("ascii").strip() == name
    assert (place / "etc/hostname").read_text("ascii") == "diskless\n", "a root that others may share"
    assert (place / "etc/hosts").read_text("ascii") == files["/etc/hosts"]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_root_of_this_machine_alone_says_it_too(shell: list[str], tmp_path: Path) -> None:
    files = files_of(recipe_of(tmp_path, "dhcpcd"))
    own = {path: files[path] for path in ("/etc/hostname", "/etc/hosts")}
    place = machine(tmp_path, "DEVICE=eth0\nHOSTNAME=pc7\nDNSDOMAIN=lan\n", root="overlay", files=own)
    run_script(place, shell, files[LEASE.script])
    assert (place / "etc/hostname").read_text("ascii") == "pc7\n"
    assert "127.0.1.1\tpc7.lan pc7\n" in (place / "etc/hosts").read_text("ascii")
    assert "diskless" not in (place / "etc/hosts").read_text("ascii")
    assert "127.0.0.1\tlocalhost\n" in (place / "etc/hosts").read_text("ascii")


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize(
    ("lease", "card"),
    [("DEVICE=eth0\n", "eth0"), ("DEVICE='\\300/..'\n", "eth1"), ("DEVICE=lost\n", "eth1"), ("", "eth1")],
)
def test_networkd_is_told_the_card_that_carries_the_root(
    shell: list[str], lease: str, card: str, tmp_path: Path
) -> None:
    files = files_of(recipe_of(tmp_path, "systemd-networkd"))
    place = machine(tmp_path, lease, files={NETWORKD: files[f"/{NETWORKD}"]})
    run_script(place, shell, files[LEASE.script])
    assert (place / "run/diskless/card").read_text("ascii") == f"{card}\n"
    own = (place / "run/systemd/network/05-diskless.network").read_text("utf-8")
    assert f"MACAddress=52:54:00:00:00:0{card[-1]}\n" in own
    assert "KeepConfiguration=yes\n" in own
    assert "RequiredForOnline" not in own and "RouteMetric" not in own and "Type=" not in own
    others = files[f"/{NETWORKD}"]
    assert "RequiredForOnline=no\n" in others and "RouteMetric=2048\n" in others


def test_a_card_that_the_recipe_names_is_left_at_that(tmp_path: Path) -> None:
    files = files_of(recipe_of(tmp_path, "systemd-networkd", interface="eth1"))
    place = machine(tmp_path, "DEVICE=eth0\n", files={NETWORKD: files[f"/{NETWORKD}"]})
    run_script(place, SHELLS[0], files[LEASE.script])
    assert not (place / "run/systemd").exists()
    assert "RequiredForOnline" not in files[f"/{NETWORKD}"]


@pytest.mark.parametrize("client", ["NetworkManager", "ifupdown", "none"])
def test_who_renews_the_lease(client: str, tmp_path: Path) -> None:
    nobody = recipe_of(tmp_path, client)
    assert not is_renewed(nobody)
    assert not any("renew-lease" in path for path in files_of(nobody))
    ours = recipe_of(tmp_path, client, "dhcpcd-base")
    assert has_renewer(ours) and is_renewed(ours)
    files = files_of(ours)
    assert "noconfigure\n" in files["/usr/local/lib/diskless/dhcpcd.conf"]
    assert (
        "ExecStart=/usr/local/lib/diskless/renew-lease\n" in files["/etc/systemd/system/diskless-renew-lease.service"]
    )
    for managed in ("dhcpcd", "systemd-networkd"):
        recipe = recipe_of(tmp_path, managed, "dhcpcd-base")
        assert is_renewed(recipe) and not has_renewer(recipe)
