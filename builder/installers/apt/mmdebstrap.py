"""mmdebstrap(1): the host's, or where it has none the one of the recipe's own repositories, unpacked, not installed.

No repository of Arch Linux has it. It is a program in Perl that any perl runs, but for two headers that Debian's perl
brings and h2ph(1) makes of the C library's everywhere else.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import CommandError, HostError
from builder.installers.base import Job
from builder.system.run import Tool

# what scripts of packages ask for before there is a file of the recipe's: localhost, by name and by address
_HOSTS = r"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
_MAKE_HOSTS = f'mkdir -p "$1/etc" && printf "{_HOSTS}" >"$1/etc/hosts"'
MMDEBSTRAP = "mmdebstrap"
_TOOL = Tool(MMDEBSTRAP, MMDEBSTRAP, None)
_PERL_DIRECTORIES = "/usr/bin/core_perl"  # where Arch Linux has h2ph
_HEADERS = ("syscall.h", "sys/ioctl.h")


@dataclass(frozen=True)
class Mmdebstrap:
    """How to run it: its program, the directory of its hooks, and variables that it needs."""

    program: str
    hooks: Path
    environment: dict[str, str] = field(default_factory=dict)


def needs_mmdebstrap() -> bool:
    """Whether this host has none."""
    return _TOOL.find() is None


def find_mmdebstrap(job: Job, apt: Callable[[list[str]], str], lent: Path | None = None) -> Mmdebstrap:
    """The host's, else `lent`, its package in the lock, else the recipe's, fetched once a build.

    apt: runs a command of apt with the recipe's sources. HostError where neither has it.
    """
    if not needs_mmdebstrap():
        return Mmdebstrap(_TOOL.name, Path("/usr/share/mmdebstrap/hooks"))
    root = job.work / "mmdebstrap"
    program = root / "usr/bin/mmdebstrap"
    if not program.exists():
        job.notify("this host has no mmdebstrap: the recipe's mirror lends its own")
        root.mkdir(exist_ok=True)
        package = _fetched(apt, root) if lent is None else lent
        job.sandbox.run(["dpkg-deb", "-x", str(package), str(root)])
    return Mmdebstrap(
        job.sandbox.name(program), root / "usr/share/mmdebstrap/hooks", _environment(job, root / "headers")
    )


def _fetched(apt: Callable[[list[str]], str], root: Path) -> Path:
    try:
        # into the directory where it runs, and checked by the signed index
        apt(["env", "-C", str(root), "apt-get", "download", "mmdebstrap"])
    except CommandError as error:
        message = "mmdebstrap is neither on this host nor to be had from the recipe's repositories"
        hint = "Debian: apt-get install mmdebstrap; Arch Linux: add a mirror that has it, or install it from the AUR"
        raise HostError(message, hint, error.details) from error
    (package,) = root.glob("mmdebstrap_*.deb")
    return package


def _environment(job: Job, headers: Path) -> dict[str, str]:
    """Where Perl finds the headers, if it does not know them."""
    if headers.exists():
        return {"PERL5LIB": job.sandbox.name(headers)}
    try:
        job.sandbox.run(["perl", "-e", 'require "syscall.ph"; require "sys/ioctl.ph"'], log_output=False)
    except CommandError:
        return make_headers(job, headers)
    return {}


def make_headers(job: Job, headers: Path) -> dict[str, str]:
    """Perl's form of the headers in a directory, and the variable that names it.

    h2ph complains of what it cannot translate, none of which is wanted here: what counts is that the result loads.
    """
    headers.mkdir()
    script = f'PATH="$PATH:{_PERL_DIRECTORIES}"; cd /usr/include && h2ph -a -d "$1" {" ".join(_HEADERS)} || true'
    job.sandbox.run(["sh", "-c", script, "h2ph", str(headers)], log_output=False)
    environment = {"PERL5LIB": job.sandbox.name(headers)}
    check = ["perl", "-e", 'require "syscall.ph"; require "sys/ioctl.ph"; SYS_unshare() && TIOCGWINSZ()']
    hint = "Perl's h2ph makes them of /usr/include: Arch Linux: pacman -S perl glibc linux-api-headers"
    job.sandbox.run(check, env=environment, hint=hint)
    return environment


def install_hooks(job: Job, answers: Sequence[str], recommended: Sequence[str]) -> list[str]:
    """What is done between mmdebstrap's steps, in which `$1` is the tree: its options.

    answers: lines of debconf-set-selections(1); recommended: packages that nobody asked for by name
    """
    hooks = [f"--setup-hook={_MAKE_HOSTS}"]
    if answers:
        file = job.work / "debconf"
        file.write_text("".join(f"{line}\n" for line in answers), encoding="utf-8")
        # before any package asks; debconf itself comes with the essential ones
        given = shlex.quote(job.sandbox.name(file))
        hooks.append(f'--essential-hook=chroot "$1" debconf-set-selections <{given}')
    if recommended:
        hooks.append(f'--customize-hook=chroot "$1" apt-mark auto {" ".join(recommended)} >/dev/null')
    return hooks
