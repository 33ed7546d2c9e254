"""What a script of a recipe, or of a package, can do to the host that builds it: nothing."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import AuditError, CommandError, InputError
from builder.installers.keyrings.content import require_archive, require_public_keys
from builder.installers.pacman.tree import take_back
from builder.installers.shared import loader_file
from builder.stages.initramfs import taken
from builder.system.run import Runner
from builder.system.sandbox.init import COVERED
from builder.system.sandbox.network import NetworkAccess
from tests.arch_images import write_arch_recipe
from tests.hostile import chosen_seconds, chosen_seed, telling_seed
from tests.images import ROOT, run_diskless
from tests.integration.builds.test_sandbox import Box, host_mounts, make_box
from tests.require import needs_root, needs_tool
from tests.scratch import scratch
from tests.stages import staged
from tests.trees import copy_programs

SECRET = "a word of the host's, 5f0c3a1d"
pytestmark = [
    needs_root,
    needs_tool("unshare", "setpriv", "python3"),
    pytest.mark.root,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the programs know the calls of x86-64 alone"),
]


@pytest.fixture
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    place = scratch() / "hostile" / request.node.name
    place.mkdir(parents=True)
    (place / "secret").write_text(SECRET, "ascii")
    with Runner(place / "log") as runner:
        yield make_box(runner, place / "work")


def attack(box: Box, program: str, *arguments: str, network: NetworkAccess = NetworkAccess.NONE) -> str:
    """Runs a program of tests/breakout as root of a tree, with the host's Python, and returns what it printed."""
    if not (box.tree / "bin/python3").exists():
        copy_programs(box.tree, ("python3",))
        shutil.copytree(ROOT / "tests/breakout", box.tree / "attack/tests/breakout")
        (box.tree / "attack/tests/__init__.py").touch()
        (box.tree / "mnt").mkdir()
    env = {"PYTHONHOME": "/run/host", "PYTHONPATH": "/attack", "LD_LIBRARY_PATH": "/run/host/lib/x86_64-linux-gnu"}
    argv = ["/bin/python3", "-B", "-m", f"tests.breakout.{program}", *arguments]
    mounts = {"/run/host": Path("/usr")}
    return box.sandbox.run(argv, chroot=box.tree, env=env, mounts=mounts, capture=True, network=network)


@pytest.mark.inside
def test_every_way_out_is_closed(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNING_KEY", SECRET)
    before = host_mounts()
    said: dict[str, Any] = json.loads(attack(box, "escape", SECRET.encode().hex()))
    refused = {"EPERM", "ENOSYS", "EACCES", "EINVAL", "ENODEV", "EAFNOSUPPORT", "EROFS", "ENOENT", "ENXIO", "EBUSY"}
    for group in ("calls", "devices", "mounts"):
        assert {name: result for name, result in said[group].items() if result not in refused} == {}
    allowed = {"signal to all"}
    assert {name for name, result in said["others"].items() if result not in refused} <= allowed, said["others"]
    # covers are /dev/null; the last one is the sandbox's own
    harmless = {*(f"/proc/{name}" for name in COVERED), "/proc/1/oom_score_adj"}
    written = {path for path, result in said["kernel files"].items() if result.startswith("done")}
    assert written <= harmless
    shown = {path for path, result in said["kernel files"].items() if result.endswith("something")}
    assert shown <= {"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname"} | {
        "/proc/1/oom_score_adj"
    }
    assert said["interfaces"] == ["lo"]
    assert said["processes"] == 2
    assert said["secrets"] == []
    assert host_mounts() == before


@pytest.mark.inside
def test_calls_are_refused_and_not_only_useless(box: Box) -> None:
    """EPERM of the filter, whatever the arguments; a user namespace alone would say EINVAL or EFAULT to some."""
    said = json.loads(attack(box, "escape", SECRET.encode().hex()))["calls"]
    missing = {"clone3", "io_uring_setup", "fsopen", "open_tree"}
    x32 = {"the same call of x32", "keyctl of x32"}
    assert {name for name, result in said.items() if result != "EPERM"} <= missing | x32
    assert {said[name] for name in missing} == {"ENOSYS"}
    assert {said[name] for name in x32} <= {"ENOSYS", "EPERM"}


def snapshot() -> dict[str, str]:
    """What of the host a recipe might change."""
    found = {"mounts": host_mounts(), "host": os.uname().nodename}
    names = ("core_pattern", "modprobe", "hostname", "panic", "sysrq", "pid_max", "ngroups_max")
    for path in (*(Path("/proc/sys/kernel") / name for name in names), Path("/proc/swaps"), Path("/proc/modules")):
        found[str(path)] = path.read_text("utf-8") if path.exists() else ""
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, check=True, encoding="utf-8").stdout
    keys = Path("/proc/keys").read_text("utf-8") if Path("/proc/keys").exists() else ""
    return {**found, "links": links, "keys": str(len(keys.splitlines()))}


@pytest.mark.parametrize("usual", [25, pytest.param(3600, marks=pytest.mark.full)])
def test_hostile_scripts(usual: int, box: Box) -> None:
    """A seeded generator of mounts, namespaces, devices, keys, signals, files, terminals and sockets, by turns."""
    before, seed, seconds = snapshot(), chosen_seed(), chosen_seconds(usual)
    mark = f"86400.{os.getpid()}9"
    with telling_seed(seed), subprocess.Popen(["sleep", mark]) as canary:
        code = (
            "import sys; from pathlib import Path; from builder.system.run import Runner; "
            "from tests.integration.builds.test_hostile_recipes import run_generator; "
            "run_generator(Path(sys.argv[1]), *sys.argv[2:])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, box.work, str(seed), str(seconds), SECRET.encode().hex()],
            cwd=ROOT,
            env={**os.environ, "SIGNING_KEY": SECRET},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout.splitlines()[-1])
        assert canary.poll() is None
        canary.kill()
    assert report["seen"] == []
    assert report["steps"] > 20 * seconds
    assert set(report["done"]) >= {"mount", "unshare", "chroot", "socket", "open", "mknod", "kill"}
    assert snapshot() == before
    assert (box.work.parent / "secret").read_text("ascii") == SECRET


def run_generator(work: Path, seed: str, seconds: str, secret: str) -> None:
    """Prints its report; runs in a process of its own, whose environment holds the secret."""
    from builder.system.sandbox.sandbox import Sandbox
    from builder.system.userns.ids import find_ids
    from builder.system.userns.inside import call_inside

    def run() -> str:
        with Runner(work.parent / "generator.log") as runner:
            box = Box(Sandbox(runner, work / "view", (work,), work / "tmp"), work)
            return attack(box, "generator", seed, seconds, secret)

    print(call_inside(find_ids(), run))  # noqa: T201 - the other process's answer


NEWER = """
import ctypes, os, sys
from builder.system.sandbox.calls import compile_filter
from builder.system.sandbox.init import install_filter
libc, seccomp = ctypes.CDLL(None, use_errno=True), ctypes.CDLL("libseccomp.so.2")
seccomp.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
number = next(one for one in range(424, 1024) if not any(map(
    lambda later: seccomp.seccomp_syscall_resolve_num_arch(0, later), range(one, 1024))))
def said():
    ctypes.set_errno(0)
    libc.syscall(ctypes.c_long(number), ctypes.c_long(-1), None, None, ctypes.c_long(-1))
    return os.strerror(ctypes.get_errno())
before = said()
assert install_filter(compile_filter([]))
print(before, said(), os.getpid() > 0, sep=";")
"""


def test_calls_that_are_newer_than_libseccomp_are_missing() -> None:
    """No list of names refuses what it has no name for."""
    done = subprocess.run([sys.executable, "-c", NEWER], cwd=ROOT, capture_output=True, check=True, encoding="utf-8")
    before, after, alive = done.stdout.strip().split(";")
    if before == os.strerror(errno.ENOSYS):
        pytest.skip("this kernel has no call that libseccomp does not know")
    assert (after, alive) == (os.strerror(errno.ENOSYS), "True")


@pytest.mark.inside
def test_packages_write_to_the_tree_and_nowhere_else(box: Box) -> None:
    """What they leave elsewhere this program would go by: sources of apt, a cache, the place of the tree itself."""
    cache = box.work.parent / "cache"
    cache.mkdir()
    sandbox = replace(
        box.sandbox,
        writable=(box.work, cache),
        places={"/run/diskless/kept": cache, "/run/diskless/build": box.work},
        only=(box.tree, box.work / "tmp"),
    )
    for path in (box.work / "planted", cache / "planted", "/run/diskless/kept/planted", "/run/diskless/build/planted"):
        with pytest.raises(CommandError) as caught:
            sandbox.run(["ln", "-s", str(box.work.parent / "secret"), str(path)])
        assert "Read-only" in "\n".join(caught.value.details)
    for path in (box.tree, "/run/diskless/build/tree"):
        with pytest.raises(CommandError):
            sandbox.run(["mv", str(path), f"{box.work}/away"])
        sandbox.run(["sh", "-c", f"echo here > '{path}/etc/note'; echo x > \"$TMPDIR/x\""])
    assert (box.tree / "etc/note").read_text("ascii") == "here\n"


@pytest.mark.inside
def test_a_link_of_a_package_leads_out_of_nothing(box: Box) -> None:
    """Where this program reads or writes what packages brought, which it does with the caller's rights."""
    secret = box.work.parent / "secret"
    with pytest.raises(AuditError, match="has no file boot/loader"):
        (box.work / "unpacked/boot").mkdir(parents=True)
        (box.work / "unpacked/boot/loader").symlink_to(secret)
        loader_file(box.work / "unpacked", "boot/loader", "evil")
    local = box.tree / "var/lib/pacman/local"
    (local / "evil-1-1").mkdir(parents=True)
    (local / "evil-1-1/desc").symlink_to(secret)
    secret.write_text("%INSTALLDATE%\n1\n", "ascii")
    (box.tree / "var/lib/pacman/sync").symlink_to(box.work.parent)
    take_back(box.tree, 7, ())
    assert secret.read_text("ascii") == "%INSTALLDATE%\n1\n"
    assert not (box.tree / "var/lib/pacman/sync").is_symlink()


@pytest.mark.inside
def test_a_kernel_that_is_a_link_to_a_file_of_the_host() -> None:
    place = scratch() / "hostile" / "kernel"
    place.mkdir(parents=True)
    (place / "secret").write_text(SECRET, "ascii")
    with staged(place) as context:
        (context.workspace.tree / "boot").mkdir()
        for target in (place / "secret", "../../../../secret"):
            (context.workspace.tree / "boot/vmlinuz").symlink_to(target)
            with pytest.raises(AuditError, match="/boot/vmlinuz is not there, or not a plain file"):
                taken(context, "/boot/vmlinuz")
            (context.workspace.tree / "boot/vmlinuz").unlink()


@pytest.mark.parametrize("name", ["run", "dev", "sys", "proc", "tmp", "etc"])
@pytest.mark.parametrize("target", ["/", "/proc/self/cwd", "/proc/self/root", "{outside}"])
@pytest.mark.inside
def test_a_directory_of_the_tree_that_is_a_link(
    name: str, target: str, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mounts and files of the sandbox's own would land where it leads, with the caller's rights."""
    outside, here = box.work.parent / "outside", box.work.parent / "here"
    for place in (outside, here):
        place.mkdir()
    monkeypatch.chdir(here)
    path = box.tree / name
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.symlink_to(target.format(outside=outside))
    before = set(Path("/").iterdir())
    for sandbox, chroot in ((box.sandbox, box.tree), (replace(box.sandbox, prepared=box.tree), None)):
        with pytest.raises(AuditError, match=f"/{name} of the image is a link"):
            sandbox.run(["/bin/sh", "-c", "true"], chroot=chroot)
    assert list(outside.iterdir()) == list(here.iterdir()) == []
    assert set(Path("/").iterdir()) == before


REACH = """
import os, sys
print("session", os.getsid(1) == 1)
print("handles", sorted(int(name) for name in os.listdir("/proc/self/fd")))
"""


@pytest.mark.inside
def test_what_runs_inside_has_no_file_and_no_session_of_ours(box: Box) -> None:
    said = box.run("/usr/bin/python3", "-c", REACH).splitlines()
    assert said == ["session True", "handles [0, 1, 2, 3]"]  # the last one is what lists them


@pytest.mark.parametrize(
    ("content", "fits"),
    [
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n", True),
        (b"\x99\x01\x0d\x04", True),
        (b"\xc6\x33\x04", True),
        (b"", True),
        (b"# comment\n4AA4767BBC9C4B1D18AE28B77F2D434B9741E8AC:4:\n", True),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\n", False),
        (b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n", False),
        (b"\x95\x03\x98\x04", False),  # a secret key's packet
        (b"password\n", False),
        (b"root:$6$salt$hash:1::::::\n", False),
    ],
)
def test_a_keyring_is_no_other_file_of_the_caller(content: bytes, fits: bool, tmp_path: Path) -> None:
    """Its bytes are shown to programs of packages."""
    (tmp_path / "ring.gpg").write_bytes(content)
    if fits:
        require_public_keys(tmp_path / "ring.gpg")
    else:
        with pytest.raises(InputError, match="holds no public keys"):
            require_public_keys(tmp_path / "ring.gpg")


@pytest.mark.parametrize("content", [b"-----BEGIN OPENSSH PRIVATE KEY-----\n", b"", b"text"])
def test_a_package_file_is_no_other_file_of_the_caller(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pkg.tar").write_bytes(content)
    with pytest.raises(InputError, match="is not a pacman package"):
        require_archive(tmp_path / "x.pkg.tar")


def test_a_package_that_repo_add_evaluates(tmp_path: Path) -> None:
    """`a[$(command)] = x` of a .PKGINFO runs the command: the next step must not write through what it leaves."""
    victim, package = tmp_path / "victim", tmp_path / "evil-1-1-any.pkg.tar"
    victim.write_text("of the caller", "ascii")
    inside = Path("/run/diskless")  # where the build's directories are seen
    names = (inside / "work" / "installer" / "pacman.conf", inside / "packages" / "planted")
    command = "; ".join(f"ln -sf {victim} {name}" for name in names)
    text = f"pkgname = evil\npkgver = 1-1\narch = any\na[$({command.replace(' ', '${IFS}')})] = x\n"
    with tarfile.open(package, "w") as archive:
        member = tarfile.TarInfo(".PKGINFO")
        member.size = len(text.encode())
        archive.addfile(member, io.BytesIO(text.encode()))
    recipe = write_arch_recipe(tmp_path, distribution={"package_files": [str(package)]})
    done = run_diskless("build", recipe, "--output", tmp_path / "output", "--cache", tmp_path / "cache")
    assert done.returncode != 0
    assert victim.read_text("ascii") == "of the caller"
    assert not list(tmp_path.rglob("planted"))
