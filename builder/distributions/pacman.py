"""pacman's configuration, pure text: for the build host, by pacman's version, and for the image.

Sources: pacman.conf(5) of 6.0 and of 7.1; the mirror layouts of Arch Linux, of its archive and of Arch Linux 32.
Run for real with pacman 6.0.2 and 7.1.0. Of 7.0 and later: DownloadUser and the sandbox that goes with it are left out,
because the account must exist on the build host, and because downloads run in the build's own namespaces, where
Landlock may be missing ("switching to sandbox user 'alpm' failed").
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from builder.model.entry import TreeEntry, TreeFile
from builder.model.recipe import ArchDistribution, Architecture, Repository, Signatures

PacmanRelease = tuple[int, int]
OLDEST: PacmanRelease = (6, 0)
RECIPE_REPOSITORY = "recipe"  # holds the recipe's package_files
_SANDBOX_SINCE: PacmanRelease = (7, 0)
_MIRRORS = {
    Architecture.X86_64: "https://geo.mirror.pkgbuild.com/$repo/os/$arch",
    Architecture.I686: "https://mirror.archlinux32.org/$arch/$repo",
}
_ARCHIVE = "https://archive.archlinux.org/repos/{}/$repo/os/$arch"
# a database's signature is not protection where it may be missing, as Arch's is: packages are what is verified
_SIGLEVELS = {Signatures.REQUIRED: "Required DatabaseNever", Signatures.NEVER: "Never"}
_SHIPPED_SIGLEVEL = "Required DatabaseOptional"
_SHIPPED = ("core", "extra")  # the repositories of the pacman.conf that pacman's package brings
_IMAGE_MIRRORLIST = "/etc/pacman.d/mirrorlist"
IMAGE_CONFIG = "/etc/pacman.conf"


def parse_version(text: str) -> PacmanRelease | None:
    """Major and minor of what `pacman --version` prints."""
    found = re.search(r"Pacman v(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def servers(distribution: ArchDistribution, repository: Repository | None = None) -> tuple[str, ...]:
    """Where packages come from, with $repo and $arch as written: a repository's own mirrors, or those of all."""
    if repository is not None and repository.mirrors:
        return repository.mirrors
    if distribution.snapshot is not None:
        return (_ARCHIVE.format(distribution.snapshot.replace("-", "/")),)
    return distribution.mirrors or (_MIRRORS[distribution.architecture],)


def package_urls(distribution: ArchDistribution, repository: Repository, filename: str) -> tuple[str, ...]:
    """Where a package file of a repository lies, with nothing left to fill in."""
    architecture = str(distribution.architecture)
    bases = (
        url.replace("$repo", repository.name).replace("$arch", architecture)
        for url in servers(distribution, repository)
    )
    return tuple(f"{base.rstrip('/')}/{filename}" for base in bases)


def signatures(distribution: ArchDistribution, repository: Repository) -> Signatures:
    """Whether a repository's packages must be signed."""
    return repository.signatures or distribution.signatures


def resolver_config(distribution: ArchDistribution, version: PacmanRelease, package_files: str | None) -> str:
    """pacman.conf(5) of a build: nothing of the host's; `package_files` is the directory of the recipe's own."""
    lines = _resolver_options(distribution, version)
    if package_files is not None:
        lines += ["", f"[{RECIPE_REPOSITORY}]", "SigLevel = Never", f"Server = file://{package_files}"]
    for repository in distribution.repositories:
        lines += _section(repository, _SIGLEVELS[signatures(distribution, repository)])
        lines += [f"Server = {url}" for url in servers(distribution, repository)]
    return "\n".join(lines) + "\n"


def locked_config(distribution: ArchDistribution, version: PacmanRelease, repositories: Sequence[str]) -> str:
    """The same for a locked build: no server, and no signature, since every file is what the lock's checksum says."""
    lines = _resolver_options(distribution, version)
    for name in repositories:
        lines += ["", f"[{name}]", "SigLevel = Never", "Server = file:///run/diskless/no-server"]
    return "\n".join(lines) + "\n"


def _resolver_options(distribution: ArchDistribution, version: PacmanRelease) -> list[str]:
    lines = [
        "[options]",
        f"Architecture = {distribution.architecture}",
        "CheckSpace",
        f"ParallelDownloads = {distribution.parallel_downloads}",
    ]
    if version >= _SANDBOX_SINCE:
        # a line that 7.0 knows; 7.1 takes it for DisableSandboxFilesystem and DisableSandboxSyscalls together
        lines.append("DisableSandbox")
    return lines


def pacman_entries(distribution: ArchDistribution) -> list[TreeEntry]:
    """What lets a client install packages: the mirrors that it can reach, and pacman.conf where it is not the shipped.

    Paths of the build host are not mirrors for clients.
    """
    entries: list[TreeEntry] = [TreeFile(_IMAGE_MIRRORLIST, _mirrorlist(distribution).encode())]
    reachable = [item for item in distribution.repositories if _remote(servers(distribution, item))]
    shipped = [item.name for item in reachable] == list(_SHIPPED) and not any(item.mirrors for item in reachable)
    if reachable and not shipped:
        entries.append(TreeFile(IMAGE_CONFIG, _image_config(distribution, reachable).encode()))
    return entries


def keep_options(config: bytes, shipped: bytes) -> bytes:
    """Our pacman.conf of the image with every option of the distribution's that it does not set, as DownloadUser."""
    head, repositories, rest = config.partition(b"\n[options]\n")
    ours, blank, sections = rest.partition(b"\n\n")
    known = {_option(line) for line in ours.splitlines()}
    kept = [line for line in _options(shipped) if _option(line) not in known]
    return head + repositories + b"\n".join([ours, *kept]) + blank + sections


def _options(config: bytes) -> list[bytes]:
    """The lines of the section [options], without comments, pacman.conf(5)."""
    section, found = b"", []
    for line in map(bytes.strip, config.splitlines()):
        if line.startswith(b"["):
            section = line
        elif section == b"[options]" and line and not line.startswith(b"#"):
            found.append(line)
    return found


def _option(line: bytes) -> bytes:
    return line.partition(b"=")[0].strip()


def _remote(urls: Sequence[str]) -> list[str]:
    return [url for url in urls if not url.startswith("file:")]


def _mirrorlist(distribution: ArchDistribution) -> str:
    urls = _remote(servers(distribution))
    if not urls:
        return "# built from a local repository: write the clients' mirrors here, as Server = URL\n"
    return "".join(f"Server = {url}\n" for url in urls)


def _image_config(distribution: ArchDistribution, repositories: Sequence[Repository]) -> str:
    lines = [
        "# written by diskless from the recipe's distribution.repositories",
        "[options]",
        "HoldPkg = pacman glibc",
        f"Architecture = {distribution.architecture}",
        "CheckSpace",
        f"ParallelDownloads = {distribution.parallel_downloads}",
        f"SigLevel = {_SHIPPED_SIGLEVEL}",
        "LocalFileSigLevel = Optional",
    ]
    for repository in repositories:
        lines += _section(repository, _SHIPPED_SIGLEVEL)
        own = _remote(repository.mirrors)
        lines += [f"Server = {url}" for url in own] if own else [f"Include = {_IMAGE_MIRRORLIST}"]
    return "\n".join(lines) + "\n"


def _section(repository: Repository, level: str) -> list[str]:
    return ["", f"[{repository.name}]", f"SigLevel = {level}"]
