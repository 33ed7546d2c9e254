"""A mount option is checked against what will mount the root, in recipes, sites and before a menu is written."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from builder.checks.site import site_contradictions
from builder.errors import InputError
from builder.generators.mount_options import is_known, mounter_of
from builder.generators.table import generator_of
from builder.model.artifacts.manifest import Mounter, NfsRoot
from builder.model.generation import BootName
from builder.model.recipe import NfsVersion, RootMode
from builder.model.site import Site
from builder.reading import load_recipe
from builder.render.boot.menu import Bootable, check_mount_options
from tests.images import write_recipe
from tests.samples import MANIFEST

# of nfs(5) and mount(8); the ones that nfsmount takes
OPTIONS = {
    **dict.fromkeys(
        ("noatime", "nosuid", "nconnect=4", "lookupcache=all", "actimeo=60", "sec=sys", "proto=tcp"), False
    ),
    **dict.fromkeys(("bsize=4096", "noalignwrite", "fatal_neterrors=none"), False),
    **dict.fromkeys(("fsc", "nordirplus", "softerr", "retry=5", "local_lock=all"), False),
    **dict.fromkeys(("rsize=16384", "wsize=16384", "timeo=600", "retrans=3", "acregmin=3", "acdirmax=60"), True),
    **dict.fromkeys(("soft", "hard", "intr", "nolock", "noacl", "tcp", "port=2049", "noac", "nocto"), True),
}
UNHEARD = ("noatmie", "rsize", "hard=1", "vers4", "x")


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(("hook", "mounter"), [("net", Mounter.NFSMOUNT), ("diskless", Mounter.KERNEL)])
def test_a_recipes_option_is_known_to_what_mounts(hook: str, mounter: Mounter, option: str, tmp_path: Path) -> None:
    initramfs = {"generator": "mkinitcpio", "hooks": ["base", "udev", hook]}
    root = {"mode": "rw", "nfs": {"version": "3", "options": [option]}}
    path = write_recipe(tmp_path, "arch-nfs", initramfs=initramfs, root=root)
    if OPTIONS[option] or mounter is Mounter.KERNEL:
        recipe = load_recipe(path).recipe
        assert generator_of(recipe).mounter(recipe) is mounter
        return
    with pytest.raises(InputError, match=f"klibc's nfsmount mounts this root, and does not know '{option}'") as caught:
        load_recipe(path)
    assert "the hook diskless" in caught.value.message


@pytest.mark.parametrize("option", [option for option in OPTIONS if option not in ("nolock", "noacl")])
@pytest.mark.parametrize(("mode", "version"), [("rw", "3"), ("rw", "4.2"), ("overlay", "3")])
def test_debians_roots_are_mounted_by_the_kernel(mode: str, version: str, option: str, tmp_path: Path) -> None:
    root = {"mode": mode, "nfs": {"version": version, "options": [option]}}
    recipe = load_recipe(write_recipe(tmp_path, distribution={"name": "debian", "suite": "bookworm"}, root=root)).recipe
    assert generator_of(recipe).mounter(recipe) is Mounter.KERNEL


@pytest.mark.parametrize("option", UNHEARD)
def test_what_nobody_knows_is_refused_in_a_site(option: str) -> None:
    for known in OPTIONS:
        assert site_contradictions(Site(server="192.168.1.1", nfs_options=(known,))) == []
    (fault,) = site_contradictions(Site(server="192.168.1.1", nfs_options=(option,)))
    assert option in fault.message


@pytest.mark.parametrize("option", OPTIONS)
def test_a_sites_option_is_known_to_what_mounts_each_version(option: str) -> None:
    site = Site(server="192.168.1.1", nfs_options=(option,))
    name = BootName(MANIFEST.version)
    rw, overlay = (
        Bootable(dataclasses.replace(MANIFEST, root=NfsRoot(mode, NfsVersion.V3, ())), name, "/r")
        for mode in (RootMode.RW, RootMode.OVERLAY)
    )
    check_mount_options([overlay], site)
    if OPTIONS[option]:
        check_mount_options([overlay, rw], site)
        return
    with pytest.raises(InputError, match=f"nfs_options of the site: {rw.label}: klibc's nfsmount"):
        check_mount_options([overlay, rw], site)


def test_who_mounts() -> None:
    assert mounter_of(NfsRoot(RootMode.RW, NfsVersion.V3, ())) is Mounter.NFSMOUNT
    assert mounter_of(NfsRoot(RootMode.OVERLAY, NfsVersion.V3, ())) is Mounter.KERNEL
    assert mounter_of(NfsRoot(RootMode.RW, NfsVersion.V3, (), mounter=Mounter.KERNEL)) is Mounter.KERNEL


_NFSMOUNT = Path("/usr/lib/klibc/bin/nfsmount")


@pytest.mark.skipif(not _NFSMOUNT.exists(), reason="needs klibc-utils: run .ci/host-packages build test")
@pytest.mark.parametrize("option", [*OPTIONS, *UNHEARD])
def test_nfsmount_agrees(option: str) -> None:
    # nobody listens there: it gets as far as that, or says that the option is bad
    argv = [str(_NFSMOUNT), "-o", f"port=1,{option}", "127.0.0.1:/x", "/nowhere"]
    said = subprocess.run(argv, capture_output=True, encoding="utf-8", check=False, timeout=60).stderr
    assert ("bad option" in said or "bad value" in said) == (not is_known(option, Mounter.NFSMOUNT)), said
