"""A real image: its formats are plain, two builds are identical, nothing is left when it is killed or fails."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from builder.archive.members import read_members
from builder.archive.unpack import read_index
from builder.loaders.efi_program import read_efi_program
from builder.loaders.grub import KERNEL_SIGNERS
from builder.model.artifacts.manifest import ROOTFS, Manifest
from builder.model.recipe import DistributionName
from builder.system.cpio import initramfs_names
from tests.images import debian_image, descendants, run_diskless, running_diskless, wait_until_gone, write_recipe
from tests.require import needs_network, needs_root, needs_tool
from tests.scratch import scratch

pytestmark = [needs_root, needs_network, needs_tool("mmdebstrap"), pytest.mark.root, pytest.mark.network]
STAGES = ("resolve", "fetch", "install", "configure", "initramfs", "scrub", "audit", "pack")
ARTIFACTS = ("SHA256SUMS", "boot.tar.zst", "index.json.zst", "manifest.json", "rootfs.tar.zst")


@functools.cache
def manifest() -> Manifest:
    return Manifest.from_json((debian_image() / "manifest.json").read_text(encoding="utf-8"))


@functools.cache
def unpacked() -> Path:
    """The root file system as GNU tar unpacks it."""
    target = scratch() / "gnu-tar"
    target.mkdir()
    subprocess.run(
        [
            "tar",
            "--zstd",
            "--xattrs",
            "--xattrs-include=*",
            "--numeric-owner",
            "-xpf",
            debian_image() / "rootfs.tar.zst",
        ],
        cwd=target,
        check=True,
    )
    return target


def test_artifacts_are_plain_files_with_checksums() -> None:
    names = {path.name for path in debian_image().iterdir()}
    assert names == {*ARTIFACTS, "build.log", "report.html", "sbom.spdx.json", "sbom.cdx.json"}
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=debian_image(), check=True)
    for name in ("rootfs.tar.zst", "boot.tar.zst", "index.json.zst"):
        subprocess.run(["zstd", "-tq", debian_image() / name], check=True)
    assert (debian_image().parent / "latest").resolve() == debian_image().resolve()


def test_other_programs_list_what_the_index_lists() -> None:
    paths = {file.path for file in read_index(debian_image() / "index.json.zst").files}
    for tar in (["tar", "--quoting-style=literal", "--zstd"], ["bsdtar"]):
        listed = subprocess.run(
            [*tar, "-tf", str(debian_image() / ROOTFS)], check=True, capture_output=True, encoding="utf-8"
        ).stdout.splitlines()
        # bsdtar doubles backslashes
        assert {os.path.normpath(name.replace("\\\\", "\\")) for name in listed} == paths
        assert len(listed) == len(paths)


def test_the_unpacked_tree_runs() -> None:
    command = ["chroot", str(unpacked()), "dpkg", "--audit"]
    result = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    assert result.stdout == ""
    status = subprocess.run(
        ["chroot", unpacked(), "dpkg-query", "-W", "-f", "${Package} ${Version}\n"],
        check=True,
        capture_output=True,
        encoding="utf-8",
    ).stdout
    assert set(status.splitlines()) == {f"{package.name} {package.version}" for package in manifest().packages}


def test_the_bundle_holds_what_a_tftp_server_needs() -> None:
    members = read_members(debian_image() / "boot.tar.zst")
    assert set(members) == {
        "vmlinuz",
        "initramfs.img",
        "pxelinux.0",
        "lpxelinux.0",
        "ldlinux.c32",
        "pxelinux.cfg/default",
        "shimx64.efi",
        "grubx64.efi",
        "mmx64.efi",
        "grub/grub.cfg",
        "ipxe/undionly.kpxe",
        "ipxe/ipxe.efi",
        "ipxe/boot.ipxe",
    }
    shim, grub, kernel = (read_efi_program(members[name]) for name in ("shimx64.efi", "grubx64.efi", "vmlinuz"))
    assert shim is not None
    assert shim.authorities
    assert grub is not None
    assert grub.version_of("grub.debian")
    assert kernel is not None
    assert all(program.is_signed_by(KERNEL_SIGNERS[DistributionName.DEBIAN]) for program in (grub, kernel))
    config = members["pxelinux.cfg/default"].decode()
    assert "nfsroot=auto" in config
    assert manifest().version not in config
    assert members["vmlinuz"] == (unpacked() / "boot" / f"vmlinuz-{manifest().kernel}").read_bytes()


def test_nothing_of_the_host_is_in_the_image() -> None:
    tree = unpacked()
    assert (tree / "etc/machine-id").read_bytes() == b""
    assert not list((tree / "etc/ssh").glob("ssh_host_*"))
    assert (tree / "etc/hostname").read_text(encoding="ascii") == "diskless\n"
    assert not list((tree / "dev").iterdir())
    assert not [path for path in (tree / "var/log").rglob("*") if path.is_file()]
    assert "mmdebstrap" not in " ".join(path.name for path in (tree / "etc/apt/apt.conf.d").iterdir())
    assert (tree / "etc/apt/sources.list").read_text(encoding="ascii").startswith("deb http")


def test_no_file_is_younger_than_the_epoch() -> None:
    assert max(file.mtime for file in read_index(debian_image() / "index.json.zst").files) <= manifest().epoch


def test_capabilities_are_listed_as_they_are() -> None:
    """Which there are depends on the suite: Debian's ping has had none since trixie."""
    result = subprocess.run(["getcap", "-r", "."], cwd=unpacked(), check=True, capture_output=True, encoding="utf-8")
    assert manifest().capabilities == tuple(sorted(line.split()[0][1:] for line in result.stdout.splitlines()))


@pytest.mark.full
def test_the_initramfs_holds_what_initramfs_tools_would_choose() -> None:
    """Our hook against MODULES=netboot of mkinitramfs itself."""
    tree, kernel = unpacked(), manifest().kernel
    own, theirs = tree / "etc/initramfs-tools", tree / "tmp/initramfs-tools"
    shutil.copytree(own, theirs)
    (theirs / "hooks/diskless-drivers").unlink()
    config = theirs / "conf.d/diskless.conf"
    config.write_text(config.read_text("ascii").replace("MODULES=list", "MODULES=netboot"), "ascii")
    make = f"mkinitramfs -d /tmp/initramfs-tools -o /tmp/image {kernel}"
    subprocess.run(
        ["unshare", "--mount", "sh", "-euc", f"mount --bind /dev {tree}/dev; exec chroot {tree} {make}"], check=True
    )
    assert initramfs_names(tree / "tmp/image") == initramfs_names(tree / f"boot/initrd.img-{kernel}")


@pytest.mark.full  # an ordinary user's build elsewhere is among the tests of every change, test_same_version.py
def test_another_build_elsewhere_gives_the_same_bytes(tmp_path: Path) -> None:
    recipe_directory = scratch() / "another place"
    recipe_directory.mkdir()
    recipe = shutil.copy(scratch() / "recipes/debian-nfs/debian-nfs.yml", recipe_directory)
    env = {"LC_ALL": "C", "TMPDIR": str(tmp_path), "TZ": "Asia/Tokyo", "LANG": "tr_TR.UTF-8"}
    arguments = ("build", recipe, "--fresh", "--output", "out put", "--json")
    result = run_diskless(*arguments, cwd=recipe_directory, env=env, umask=0o077)
    assert result.returncode == 0, result.stderr
    other = recipe_directory / json.loads(result.stdout)["directory"]
    assert other.name == debian_image().name
    for name in ARTIFACTS:
        assert (other / name).read_bytes() == (debian_image() / name).read_bytes(), name
    assert (other / "rootfs.tar.zst").stat().st_mode & 0o777 == 0o640
    assert not list((recipe_directory / "out put/.work").glob("build-*"))


@pytest.mark.parametrize(
    "stage", [pytest.param(stage, marks=() if stage == "install" else pytest.mark.full) for stage in STAGES]
)
def test_kill_leaves_no_process_and_no_mount(stage: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    output = scratch() / f"killed-{stage}"
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    with running_diskless("build", scratch_recipe(), "--fresh", "--output", output) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(f"{stage} ..."):
                break
        time.sleep(1.0 if stage in ("install", "initramfs", "pack") else 0.02)
        running = descendants(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert wait_until_gone(running) == set()
    assert Path("/proc/self/mountinfo").read_text(encoding="utf-8") == mounts
    assert len(list((output / ".work").glob("build-*"))) == 1
    assert not list(output.glob("*/2*"))

    # the next run, whatever becomes of it, removes what the killed one left
    unreachable = write_recipe(
        tmp_path_factory.mktemp("next"),
        distribution={"name": "debian", "suite": "bookworm", "mirrors": ["http://127.0.0.1:9/"]},
    )
    assert run_diskless("build", unreachable, "--output", output).returncode == 4
    assert not list((output / ".work").glob("build-*"))


@functools.cache
def scratch_recipe() -> Path:
    directory = scratch() / "recipe"
    directory.mkdir()
    return write_recipe(directory)


def test_an_interrupt_ends_everything_at_once() -> None:
    output = scratch() / "interrupted"
    with running_diskless("build", scratch_recipe(), "--fresh", "--output", output) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("install ..."):
                break
        time.sleep(1)
        running = descendants(process.pid)
        assert running
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 130
    assert wait_until_gone(running) == set()
    assert not list((output / ".work").glob("build-*"))


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        (
            {"distribution": {"name": "debian", "suite": "bookworm", "mirrors": ["http://127.0.0.1:9/debian"]}},
            4,
            ("http://127.0.0.1:9/debian", "distribution.mirrors"),
        ),
        ({"distribution": {"name": "debian", "suite": "bookwurm"}}, 4, ("bookwurm", "updates: false")),
        ({"packages": ["linux-image-amd64", "nginxx"]}, 2, ("nginxx", "did you mean nginx")),
        ({"packages": ["systemd-sysv", "initramfs-tools", "dhcpcd"]}, 2, ("no kernel", "linux-image-amd64")),
        (
            {"distribution": {"name": "debian", "suite": "bookworm", "keyring": "/nonexistent/ring.gpg"}},
            3,
            ("/nonexistent/ring.gpg", "debian-archive-keyring"),
        ),
    ],
    ids=["mirror-down", "no-such-suite", "no-such-package", "no-kernel", "no-keyring"],
)
def test_failures_name_cause_and_remedy(
    changes: dict[str, Any], status: int, words: tuple[str, ...], tmp_path: Path
) -> None:
    result = run_diskless("build", write_recipe(tmp_path, **changes), "--output", tmp_path / "output")
    assert result.returncode == status, result.stderr
    message = result.stderr.partition("error: ")[2]
    assert message.startswith("resolve: "), result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in message, result.stderr
    assert not list((tmp_path / "output/.work").glob("build-*"))


@pytest.mark.full
def test_two_builds_at_once() -> None:
    outputs = [scratch() / "at-once-1", scratch() / "at-once-2"]
    with (
        running_diskless("build", scratch_recipe(), "--output", outputs[0]) as one,
        running_diskless("build", scratch_recipe(), "--output", outputs[1]) as two,
    ):
        results = [process.communicate()[0].strip() for process in (one, two)]
        assert [one.returncode, two.returncode] == [0, 0]
    assert Path(results[0]).name == Path(results[1]).name
