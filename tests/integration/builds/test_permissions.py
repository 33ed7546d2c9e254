"""What a container does not permit: each command says so before it begins, by what is missing, and how to get it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from builder.bootlab.nfs import Ganesha
from builder.system.private_mounts import private_mounts
from builder.system.privileges.permissions import Permission
from tests.confined import DOCKER, PODMAN, confined
from tests.images import DISKLESS, ROOT
from tests.require import needs_open_checkout, needs_root, needs_tool
from tests.scratch import scratch
from tests.versions import make_version

pytestmark = [
    needs_root,
    needs_tool("unshare", "setpriv", "dnsmasq", "ganesha.nfsd", "rpcbind", "ip", "qemu-system-x86_64", "mmdebstrap"),
    pytest.mark.root,
]
RECIPE = ROOT / "recipes/debian-nfs.yml"
SETS = {
    "sys_admin": ("--drop", "sys_admin"),
    "net_admin": ("--drop", "net_admin"),
    "dac_read_search": ("--drop", "dac_read_search"),
    "docker": ("--keep", DOCKER, "--refuse-calls"),
    "docker, more": ("--keep", f"{DOCKER},sys_admin,net_admin", "--refuse-calls"),
    "podman": ("--ids", "65536", "--keep", PODMAN, "--refuse-calls"),
    "ids": ("--ids", "65536"),
    "one id": ("--ids", "1"),
    "no loop devices": ("--hide", "/dev/loop-control"),
}
# a release that does not export what lies in memory
GANESHA_6_5 = """#!/bin/sh
[ "$1" != -v ] || exec echo 'NFS-Ganesha Release = V6.5'
exec /usr/bin/ganesha.nfsd "$@"
"""


@pytest.fixture(scope="module")
def version() -> Path:
    return make_version(scratch() / "permissions" / "output", mode="rw")


def run(kind: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*confined(*SETS[kind]), DISKLESS, *map(str, arguments)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", check=False)


def refused(kind: str, *arguments: str | Path) -> str:
    """What a command says that must not begin."""
    done = run(kind, *arguments)
    assert done.returncode == 3, done.stderr
    assert "hint: " in done.stderr
    assert "resolve ..." not in done.stderr
    assert "unpack" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("kind", "cause", "remedy"),
    [
        ("docker", "a seccomp filter is in force", "seccomp=unconfined"),
        ("docker, more", "a seccomp filter is in force", "seccomp=unconfined"),
        ("podman", "a seccomp filter is in force", "seccomp=unconfined"),
        pytest.param("one id", "has 0 user ids beside root's, an image needs", "--uidmap", marks=needs_open_checkout),
    ],
)
@pytest.mark.parametrize("command", ["build", "shell"])
def test_a_build_needs_a_user_namespace(command: str, kind: str, cause: str, remedy: str, version: Path) -> None:
    place = scratch() / "permissions"
    arguments: dict[str, tuple[str | Path, ...]] = {
        "build": ("build", RECIPE, "--output", place / "built", "--cache", place / "cache"),
        "shell": ("shell", version, "--output", place / "shells", "--", "true"),
    }
    said = refused(kind, *arguments[command])
    assert cause in said
    assert remedy in said
    assert not list(place.glob("*/.work/build-*"))


@pytest.mark.parametrize("kind", ["sys_admin", "net_admin", "dac_read_search", "ids"])
def test_and_no_right_outside_of_it(kind: str, version: Path) -> None:
    entered = run(kind, "shell", version, "--output", scratch() / "permissions/shells", "--", "no-such-program")
    assert entered.returncode == 127, entered.stderr


@pytest.mark.parametrize(
    ("kind", "cause", "remedy"),
    [
        ("sys_admin", "CAP_SYS_ADMIN is missing", "--cap-add SYS_ADMIN"),
        ("docker", "CAP_SYS_ADMIN is missing", "--cap-add SYS_ADMIN"),
        ("docker, more", "a seccomp filter is in force", "seccomp=unconfined"),
        ("podman", "CAP_SYS_ADMIN is missing", "--cap-add SYS_ADMIN"),
        pytest.param("one id", "this user namespace has one id", "--add-subuids", marks=needs_open_checkout),
    ],
)
def test_a_lab_needs_namespaces_and_owners(kind: str, cause: str, remedy: str, version: Path) -> None:
    place = scratch() / "permissions"
    said = refused(kind, "boot", version, "--cache", place / "cache")
    assert cause in said
    assert remedy in said
    assert not list(place.glob("*/boot/build-*"))


@pytest.mark.parametrize(
    ("kind", "cause"),
    [("net_admin", "CAP_NET_ADMIN is missing"), ("dac_read_search", "CAP_DAC_READ_SEARCH is missing")],
)
def test_a_lab_needs_more(kind: str, cause: str, version: Path) -> None:
    said = refused(kind, "boot", version, "--cache", scratch() / "permissions/cache")
    assert cause in said
    assert f"--cap-add {kind.upper()}" in said


def test_a_recipe_is_not_built_for_a_boot_that_is_refused() -> None:
    place = scratch() / "permissions/recipe"
    said = refused("net_admin", "boot", RECIPE, "--output", place, "--cache", place)
    assert "CAP_NET_ADMIN is missing" in said
    assert not place.exists()


def test_without_loop_devices_the_lab_is_in_memory(version: Path) -> None:
    done = run("no loop devices", "boot", version, "--cache", scratch() / "permissions/memory", "--timeout", "1")
    if Ganesha.runs_here() and not Ganesha().exports_tmpfs():
        assert done.returncode == 3, done.stderr
    else:
        assert done.returncode == 6, done.stderr
        assert "unpack" in done.stderr


def test_a_lab_needs_a_file_system_of_its_own(version: Path) -> None:
    programs, cache = scratch() / "permissions/programs", scratch() / "permissions/cache"
    programs.mkdir(parents=True)
    (programs / "ganesha.nfsd").write_text(GANESHA_6_5, "ascii")
    (programs / "ganesha.nfsd").chmod(0o755)
    with private_mounts():
        subprocess.run(["mount", "--bind", programs, "/usr/local/sbin"], check=True)
        said = refused("no loop devices", "boot", version, "--cache", cache)
        assert "file system of its own" in said
        assert "nfs-ganesha exports no tmpfs" in said
        assert "--device /dev/loop-control" in said
    assert not list(cache.glob("boot/build-*"))


@needs_open_checkout
def test_a_store_needs_owners(version: Path) -> None:
    store = scratch() / "permissions/store"
    said = refused("one id", "deploy", version, "--to", store, "--server", "10.0.0.1")
    assert "this user namespace has one id" in said
    assert "which has no owners" not in said
    assert not store.exists()


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("net_admin", {"a network of its own": "warn", "network cards of guests": "warn"}),
        ("dac_read_search", {"opening files by handle": "warn"}),
        ("no loop devices", {"file systems of its own": "warn"}),
        pytest.param(
            "one id",
            {
                "files of other owners": "fail",
                "ids": "fail",
                "opening files by handle": "warn",
                "file systems of its own": "warn",
            },
            marks=needs_open_checkout,
        ),
        ("docker", {"namespaces of its own": "fail", "user namespace": "fail", "opening files by handle": "warn"}),
    ],
)
def test_doctor_has_a_line_for_each(kind: str, bad: dict[str, str]) -> None:
    done = run(kind, "doctor", "--json", "--cache", scratch() / "permissions/cache")
    assert done.returncode == (3 if "fail" in bad.values() else 0), done.stdout
    lines = json.loads(done.stdout)
    permissions = {item["name"]: item for item in lines if item["area"] == "permissions"}
    assert len(permissions) == len(Permission) - 1  # mounts are made in a build's user namespace only
    found = {item["name"]: item for item in lines if item["area"] == "build"} | permissions
    for name, level in bad.items():
        assert found[name]["level"] == level, found[name]
        assert found[name]["remedy"]
