"""The whole distribution, made once and kept for later test runs until what makes it changes."""

from __future__ import annotations

import concurrent.futures
import fcntl
import functools
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from builder.system.guarded.locks import locked
from tests.pacman_distribution.convert import arch_names, base_package, convert
from tests.pacman_distribution.debian import Deb, download
from tests.pacman_distribution.names import ASKED, DROPPED, KERNEL, LOADERS
from tests.pacman_distribution.package import Package
from tests.pacman_distribution.repository import Key, index_packages, make_key
from tests.pacman_distribution.shape import base_files, loaders

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("DISKLESS_TEST_CACHE", "/var/tmp/diskless-test-cache"))
# a directory of package files that take the place of ours of the same name, such as the real mkinitcpio
EXTRA = os.environ.get("DISKLESS_TEST_PACKAGES")
NAME = "core"
_KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Distribution:
    """directory: the repository `core` and its packages; keyring: the key that signed it; key: the key itself."""

    directory: Path
    keyring: Path
    key: Key

    @property
    def recipe(self) -> dict[str, object]:
        """The recipe's `distribution`."""
        return {
            "name": "arch",
            "mirrors": [f"file://{self.directory}"],
            "repositories": [{"name": NAME}],
            "keyring": str(self.keyring),
        }


@functools.cache
def pacman_distribution() -> Distribution:
    """The distribution, from the cache or made now (one to three minutes)."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(CACHE / "lock", "another run makes the same distribution", print):
        directory = CACHE / f"pacman-{_fingerprint()}"
        if not directory.exists():
            for old in CACHE.glob("pacman-*"):
                if time.time() - old.stat().st_mtime > _KEPT_SECONDS and not _is_used(old):
                    shutil.rmtree(old)
            work = Path(tempfile.mkdtemp(prefix=".new-", dir=CACHE))
            work.chmod(0o755)
            try:
                _make(work)
                work.rename(directory)
            finally:
                shutil.rmtree(work, ignore_errors=True)
        _use(directory)
        # a key's home is moved with the directory
        home = directory / "key"
        return Distribution(
            directory / NAME, directory / "keyring/test.gpg", Key(home, (home / "id").read_text("ascii"))
        )


def _use(directory: Path) -> None:
    """Until this process ends, however that comes."""
    fcntl.flock(os.open(directory, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_SH)


def _is_used(directory: Path) -> bool:
    """Whether another test run has it, however old a clock says that it is."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _fingerprint() -> str:
    """Of everything that decides what the packages are, but not of Debian's mirror."""
    digest = hashlib.sha256()
    extra = sorted(Path(EXTRA).glob("*.pkg.tar.*")) if EXTRA else []
    for path in [
        *sorted(path for path in HERE.rglob("*") if path.is_file() and "__pycache__" not in path.parts),
        *extra,
    ]:
        digest.update(f"\0{path.name}\0{path.stat().st_mode & 0o100}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _make(work: Path) -> None:
    repository = work / NAME
    repository.mkdir()
    # a short path: gpg-agent's socket is in it
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        key = make_key(Path(home) / "key", "tests")
        files = {package.name: package.write(repository) for package in _packages(work)}
        for extra in sorted(Path(EXTRA).glob("*.pkg.tar.zst")) if EXTRA else []:
            name = extra.name.rsplit("-", 3)[0]
            if name in files:
                files[name].unlink()
            files[name] = Path(shutil.copy(extra, repository))
        index_packages(repository, NAME, list(files.values()), key)
        key.write_keyring(work / "keyring", "test")
        (key.home / "id").write_text(key.fingerprint, "ascii")
        shutil.copytree(key.home, work / "key", ignore=shutil.ignore_patterns("S.*"))
    (work / "key").chmod(0o700)
    shutil.rmtree(work / "debs")


def _packages(work: Path) -> Iterable[Package]:
    debs = [deb for deb in download([*ASKED, KERNEL, *LOADERS], work / "debs") if deb.name not in {*DROPPED, KERNEL}]
    names = arch_names(debs)
    yield base_files()
    yield base_package()
    sources = {}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for deb, package in zip(debs, pool.map(functools.partial(convert, names=names), debs), strict=True):
            if deb.name in (*LOADERS, "busybox", "klibc-utils", "libklibc"):
                sources[deb.name] = package
            else:
                yield package
    yield from loaders(sources)
    yield from _standins(sources, next(deb for deb in debs if deb.name == "klibc-utils"))


def _standins(sources: dict[str, Package], klibc: Deb) -> Iterable[Package]:
    """mkinitcpio and its like: our own scripts, and Debian's programs where Arch's have them."""
    mkinitcpio = Package("mkinitcpio", "41-1", description="A stand-in for mkinitcpio")
    mkinitcpio.provides, mkinitcpio.backup = ["initramfs"], ["etc/mkinitcpio.conf"]
    mkinitcpio.depends = [
        "bash",
        "mkinitcpio-busybox",
        "kmod",
        "util-linux",
        "libarchive",
        "coreutils",
        "findutils",
        "grep",
        "gawk",
        "zstd",
    ]
    mkinitcpio.add_tree(HERE / "standin/mkinitcpio")
    mkinitcpio.add_directory("etc/mkinitcpio.conf.d")
    mkinitcpio.add_directory("etc/mkinitcpio.d")
    for target in ("poweroff", "reboot", "halt", "kexec"):
        unit = "mkinitcpio-generate-shutdown-ramfs.service"
        mkinitcpio.add_link(f"usr/lib/systemd/system/{target}.target.wants/{unit}", f"../{unit}")
    yield mkinitcpio
    busybox = sources["busybox"]
    package = Package("mkinitcpio-busybox", busybox.version, "x86_64", depends=["glibc"])
    package.add_file("usr/lib/initcpio/busybox", busybox.members["usr/bin/busybox"][1], 0o755)
    yield package
    package = Package("mkinitcpio-nfs-utils", klibc.version, "x86_64", "A stand-in for mkinitcpio-nfs-utils")
    package.add_tree(HERE / "standin/mkinitcpio-nfs-utils")
    for name in ("ipconfig", "nfsmount"):
        content = sources["klibc-utils"].members[f"usr/lib/klibc/bin/{name}"][1]
        package.add_file(f"usr/lib/initcpio/{name}", content, 0o755)
    for path, (info, content) in sources["libklibc"].members.items():
        if path.endswith(".so") and info.isreg():
            package.add_file(path, content, 0o755)
    yield package
