"""What this host's kernel lets us do, tried and not guessed."""

from __future__ import annotations

import ctypes
import errno
import importlib.metadata
import os
import re
from pathlib import Path

import libarchive.ffi
import zstandard

from builder.model.diagnostic import Diagnostic, fail, ok, warn
from builder.model.text.quantity import format_bytes
from builder.probes.programs import run_quietly
from builder.system.files import free_bytes, is_read_only
from builder.system.host import host_family, os_release
from builder.system.sandbox.sandbox import MINIMUM_KERNEL, namespace_prefix

_AREA = "kernel"
READ_ONLY_REMEDY = "mount it read-write; where it became so by itself, dmesg says why"
# numbers of x86-64 and of every architecture that came after them, syscalls(2)
_SYSTEM_CALLS = {"openat2": 437, "mount_setattr": 442}
_BUILD_BYTES, _COMFORTABLE_BYTES = 3 << 30, 10 << 30
_OVERLAY = (
    "mount -t tmpfs t /tmp && mkdir /tmp/l /tmp/u /tmp/w /tmp/m"
    " && mount -t overlay o -o lowerdir=/tmp/l,upperdir=/tmp/u,workdir=/tmp/w /tmp/m"
)


def examine_kernel() -> list[Diagnostic]:
    """Its release and the features that builds and labs use."""
    return [_release(), _root(), *map(_system_call, _SYSTEM_CALLS), *_overlay()]


def examine_distribution() -> Diagnostic:
    """Whether this host's os-release(5) names a distribution that builds are tried on."""
    name = os_release().get("PRETTY_NAME", "unknown")
    if host_family() is not None:
        return ok("host", "distribution", name)
    return warn("host", "distribution", name, "only Debian and Arch Linux are tried; the tools below are what counts")


def examine_libraries() -> Diagnostic:
    """The versions of libarchive and zstandard; another zstandard than the pinned one writes other bytes."""
    number = libarchive.ffi.version_number()
    archive = f"libarchive {number // 1000000}.{number // 1000 % 1000}.{number % 1000}"
    versions = f"{archive}, zstandard {zstandard.__version__}"
    requirements = importlib.metadata.requires("diskless") or []
    wanted = [line.partition("==")[2] for line in requirements if line.startswith("zstandard==")]
    if wanted and zstandard.__version__ != wanted[0]:
        remedy = f"pip install zstandard=={wanted[0]}"
        return warn("host", "libraries", f"{versions}: other bytes than elsewhere", remedy)
    return ok("host", "libraries", versions)


def examine_space(name: str, directory: Path) -> Diagnostic:
    """Room for what is written below `directory`."""
    free = free_bytes(directory)
    text = f"{format_bytes(free)} free in {directory}"
    if is_read_only(directory):
        return fail("disk", name, f"{directory} is on a read-only file system", READ_ONLY_REMEDY)
    if free < _BUILD_BYTES:
        return fail("disk", name, text, f"a build needs about {format_bytes(_BUILD_BYTES)}: free some space")
    if free < _COMFORTABLE_BYTES:
        return warn("disk", name, text, "a few versions of an image need more: keep an eye on it")
    return ok("disk", name, text)


def examine_cache(cache: Path) -> Diagnostic:
    """How much downloads have filled the cache."""
    places = sorted(cache.glob("ids-*"))
    if not places:
        return ok("disk", "package cache", f"{cache}: empty, the first build fills it")
    found = (path for place in places for path in place.rglob("*") if path.is_file() and not path.is_symlink())
    used = sum(path.lstat().st_size for path in found)
    return ok("disk", "package cache", f"{cache}: {format_bytes(used)}")


def _root() -> Diagnostic:
    if os.geteuid() == 0:
        return ok("host", "root", "running as root: everything works that the lines below allow")
    return ok("host", "root", "not root: boot, deploy and what else changes a store or a network need it")


def _release() -> Diagnostic:
    release = os.uname().release
    number = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    if number < MINIMUM_KERNEL:
        return fail(_AREA, "release", f"Linux {release}", f"Linux {'.'.join(map(str, MINIMUM_KERNEL))} or newer")
    return ok(_AREA, "release", f"Linux {release}")


def _system_call(name: str) -> Diagnostic:
    """Called with nonsense: what is there complains of the arguments."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(ctypes.c_long(_SYSTEM_CALLS[name]), ctypes.c_int(-1), None, ctypes.c_ulong(0), None, ctypes.c_ulong(0))
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EPERM):
        remedy = f"a newer kernel, or a container whose seccomp filter lets {name} pass"
        return fail(_AREA, name, os.strerror(number), remedy)
    return ok(_AREA, name, "there")


def _overlay() -> list[Diagnostic]:
    if os.geteuid() != 0:
        return []
    status, said = run_quietly([*namespace_prefix(network=False), "sh", "-ec", _OVERLAY])
    remedy = "modprobe overlay; only images with an overlay root need it, on their clients too"
    return [warn(_AREA, "overlay", _last(said), remedy) if status else ok(_AREA, "overlay", "works")]


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it failed without a word"
