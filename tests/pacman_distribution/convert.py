"""A Debian package in Arch's shape: merged /usr, relative links, no maintainer scripts, pacman's metadata."""

from __future__ import annotations

import copy
import io
import posixpath
import re
import subprocess
import tarfile

from tests.pacman_distribution.debian import Deb
from tests.pacman_distribution.names import BASE, DROPPED, GROUPS, KERNEL, RENAMED, is_left_out, merged
from tests.pacman_distribution.package import Package
from tests.pacman_distribution.shape import shape, shape_kernel

# links of `filesystem`: a package's own of the same name would point to itself
_TOP_LINKS = ("bin", "sbin", "lib", "lib64", "usr/sbin", "usr/lib64", "var/run", "var/lock")


def arch_names(debs: list[Deb]) -> dict[str, str]:
    """Arch's name of every Debian package that is kept, and of what these provide."""
    known = {}
    for deb in debs:
        if deb.name not in DROPPED and deb.name != KERNEL:
            known[deb.name] = "linux" if re.match(r"linux-image-\d", deb.name) else RENAMED.get(deb.name, deb.name)
    for deb in debs:
        for provided, *_ in deb.relations("Provides"):
            if deb.name in known:
                known.setdefault(provided, known[deb.name])
    return known


def convert(deb: Deb, names: dict[str, str]) -> Package:
    """The package that stands for `deb`; dependencies on what was dropped are dropped."""
    package = Package(
        names[deb.name], deb.version, deb.architecture, deb.control.get("Description", ""), groups=_groups(deb, names)
    )
    data = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb.path], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for info in tar:
            _take(package, tar, info)
    package.built = max((int(info.mtime) for info, _ in package.members.values()), default=package.built)
    package.depends = _depends(deb, names, package.name)
    package.provides = _provides(deb, names, package.name)
    if package.name == "linux":
        shape_kernel(package)
    shape(deb.name, package)
    _drop_empty_directories(package)
    package.backup = [path for path in deb.conffiles if path in package.members]
    return package


def base_package() -> Package:
    """The meta package: nothing but what every system has."""
    return Package("base", "3-2", description="Minimal package set", depends=list(BASE))


def _groups(deb: Deb, names: dict[str, str]) -> list[str]:
    return GROUPS.get(names[deb.name], [])


def _depends(deb: Deb, names: dict[str, str], own: str) -> list[str]:
    found = ["filesystem"]
    for field in ("Pre-Depends", "Depends"):
        for alternatives in deb.relations(field):
            kept = next((names[name] for name in alternatives if name in names), None)
            if kept not in (None, own, *found):
                found.append(kept or "")
    return found


def _provides(deb: Deb, names: dict[str, str], own: str) -> list[str]:
    provided = {name for (name, *_) in deb.relations("Provides")} | ({deb.name} if deb.name != own else set())
    return sorted(provided - set(names.values()))


def _take(package: Package, tar: tarfile.TarFile, info: tarfile.TarInfo) -> None:
    path = posixpath.normpath(info.name)
    target = merged(path)
    if path == "." or target in ("usr/bin", "usr/lib") or is_left_out(target) or path in _TOP_LINKS:
        return
    there = package.members.get(target)
    if there is not None and not there[0].issym():
        return  # one of two files that merging /usr brings together
    content, link, kind = b"", "", info.type
    if info.isfile() or info.islnk():
        file, kind = tar.extractfile(info), tarfile.REGTYPE
        content = file.read() if file else b""
    elif info.issym():
        link = _link(path, target, info.linkname)
        if not link:
            return
    elif not info.isdir():
        raise ValueError(f"{package.name}: {path} is a special file")
    info = copy.copy(info)  # the archive finds hard links by what it read
    info.name, info.size, info.linkname, info.type = target, len(content), link, kind
    info.uname, info.gname, info.pax_headers = "", "", {}
    package.members[target] = (info, content)


def _link(path: str, target: str, link: str) -> str:
    """Relative, as the initramfs tests /new_root/sbin/init without chroot; empty where it would point to itself."""
    inside = merged(posixpath.normpath(posixpath.join("/", posixpath.dirname(path), link)).lstrip("/"))
    if inside == target:
        return ""
    if not re.match(r"/?(usr|s?bin|lib)", link) and posixpath.dirname(path) == posixpath.dirname(target):
        return link
    return posixpath.relpath(inside, posixpath.dirname(target) or ".")


def _drop_empty_directories(package: Package) -> None:
    """Directories of documentation that is left out; all others are kept, empty or not."""
    for path, (info, _) in list(package.members.items()):
        if info.isdir() and re.match(r"usr/share/(doc|man|locale)|etc/(init\.d|default)", path):
            del package.members[path]
