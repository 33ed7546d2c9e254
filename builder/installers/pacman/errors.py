"""What pacman's complaints mean and what to do about them, and the failures that it does not count as such.

pacman(8) ends with status 0 although a scriptlet or a hook failed; its output shows where.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from builder.distributions.pacman import servers
from builder.errors import AuditError, CommandError, DisklessError, HostError, InputError
from builder.model.recipe import ArchDistribution
from builder.model.text.suggestion import suggest_each

_CONFLICT = re.compile(r"^(?:\S+: )?(?:\S+ exists in .*|.* exists in both .*)$", re.MULTILINE)
_BAD_PACKAGE = re.compile(
    r"(?:^|\[Y/n\] )error: ((?:\S+: )?(?:signature from .*|.*missing required signature.*"
    r"|.*key \"?\w+\"? (?:could not|is unknown).*|required key missing.*))$",
    re.MULTILINE,
)
_DEPENDENCY = re.compile(r"^(?:warning: cannot resolve .*|:: unable to satisfy dependency .*)$", re.MULTILINE)
_EXCLUDING = re.compile(r"^:: (.* (?:and|are in) .*conflict.*)$", re.MULTILINE)
_FAILED_FILE = re.compile(r"failed retrieving file '([^']+)' from (\S+) : (.*)")
_STEP = re.compile(r"^(?:(?:\(\s*\d+/\d+\) )?(?:installing|upgrading|reinstalling) (?P<package>\S+?)(?:\.\.\.)?"
                   r"|\(\s*\d+/\d+\) (?P<hook>.+))$")  # fmt: skip
_HIDDEN = re.compile(r"error: command failed to execute correctly|call to execv failed|error: scriptlet failed")
OTHER_FILE = "{} is not the file that the repository's database describes"
_CORRUPTED = re.compile(r":: File \S*?([^/\s]+) is corrupted")
STALE = "the mirror's database is stale, or being updated right now: build again, or set another mirror first"
# the initramfs is not an image if one of these failed
_FATAL_COMMANDS = ("depmod", "mkinitcpio")


def explain(output: str, error: CommandError, distribution: ArchDistribution) -> DisklessError:
    """What a failed pacman meant: another kind of error where it is not the command's fault."""
    for explanation in (_space, _trust, _mirror, _conflict, _exclusion, _dependency):
        found = explanation(output, distribution)
        if found is not None:
            found.details = found.details or error.details
            return found
    first = re.search(r"^error: (.*)$", output, re.MULTILINE)
    if first:
        error.message = f"pacman: {first[1]}"
    error.hint = "the lines above it in the log say more"
    return error


def explain_unknown(names: Sequence[str], known: list[str], distribution: ArchDistribution) -> InputError:
    """The error for packages that do not exist, with names that come near."""
    repositories = ", ".join(repository.name for repository in distribution.repositories)
    return InputError(
        f"no such package or group in {repositories}: {', '.join(names)}",
        suggest_each(names, known)
        or "add its repository to distribution.repositories; packages of the AUR have to be built "
        "first, and named in distribution.package_files",
    )


def _space(output: str, distribution: ArchDistribution) -> DisklessError | None:
    found = re.search(r"Partition \S+ too full: .*|not enough free disk space|No space left on device", output)
    if found is None:
        return None
    return HostError(f"the disk is full: {found[0]}", "free some space, or choose another place with --output")


def _mirror(output: str, distribution: ArchDistribution) -> DisklessError | None:
    failed = _FAILED_FILE.findall(output)
    lines = tuple(f"{name} from {host}: {reason}" for name, host, reason in failed)
    if "failed to synchronize all databases" in output or "failed to update" in output:
        urls = (url for item in distribution.repositories for url in servers(distribution, item))
        message = f"the package databases could not be fetched from {', '.join(dict.fromkeys(urls))}"
        return CommandError(message, "what pacman says of each server is above: distribution.mirrors names them", lines)
    if not failed:
        return None
    return CommandError(f"packages could not be fetched: {lines[0]}", "build again: what arrived is kept", lines)


def _trust(output: str, distribution: ArchDistribution) -> DisklessError | None:
    lines = tuple(dict.fromkeys(match[1] for match in _BAD_PACKAGE.finditer(output)))
    if "(checksum)" in output or "is corrupted (invalid or corrupted package)" in output:
        names = ", ".join(_CORRUPTED.findall(output)) or "a package"
        return AuditError(OTHER_FILE.format(names), STALE, lines)
    if "PGP signature" not in output and "required signature" not in output and not lines:
        return None
    reason = "is not signed by a key that the build trusts"
    if "is invalid" in output:
        reason, hint = "was changed after it was signed", "do not use that mirror; set another one in mirrors"
    else:
        hint = _keyring_hint(distribution)
    return AuditError(f"a package {reason}: {lines[0] if lines else 'see the log'}", hint, lines)


def _keyring_hint(distribution: ArchDistribution) -> str:
    """What to do when a package's signer is unknown, expired, or certified by too few master keys."""
    if distribution.keyring.newest:
        return (
            "the mirror's newest keyring does not know the signer, as far as the master keys that are trusted here "
            "vouch for it: check today's with the distribution, and name them in distribution.keyring.fingerprints"
        )
    ring = distribution.keyring.path or "archlinux-keyring on this host"
    return (
        f"{ring} may be older than the package: with distribution.keyring: {{newest: true}} the newest is taken from "
        "the mirror, if this one vouches for it; or install a newer one, or name the repository's own as keyring"
    )


def _conflict(output: str, distribution: ArchDistribution) -> DisklessError | None:
    if "conflicting files" not in output:
        return None
    lines = tuple(match[0] for match in _CONFLICT.finditer(output))
    return InputError(
        f"two packages bring the same file: {lines[0] if lines else 'see the log'}",
        "remove one of the packages from the recipe, or report it to their maintainers",
        lines,
    )


def _exclusion(output: str, distribution: ArchDistribution) -> DisklessError | None:
    found = _EXCLUDING.search(output)
    if found is None and "unresolvable package conflicts" not in output:
        return None
    return InputError(
        f"packages of the recipe exclude each other: {found[1] if found else 'see the log'}",
        "remove one of them from packages (members of a group: name it in distribution.ignore)",
    )


def _dependency(output: str, distribution: ArchDistribution) -> DisklessError | None:
    lines = tuple(match[0] for match in _DEPENDENCY.finditer(output))
    if not lines:
        return None
    return InputError(
        f"a dependency is in no repository: {lines[0].removeprefix(':: ').removeprefix('warning: ')}",
        "add its repository, or take it as fulfilled with distribution.assume_installed",
        lines,
    )


@dataclass(frozen=True)
class HiddenFailure:
    """A scriptlet or hook that failed: of which package or hook, and what was said last."""

    where: str
    is_hook: bool
    line: str


def hidden_failures(output: Sequence[str]) -> list[HiddenFailure]:
    """Every failure that pacman's exit status does not show."""
    found: list[HiddenFailure] = []
    where, is_hook, last = "the transaction", False, ""
    for line in output:
        step = _STEP.match(line)
        if step:
            where, is_hook, last = step["package"] or step["hook"], step["hook"] is not None, ""
        elif _HIDDEN.search(line):
            if not found or found[-1].where != where:
                found.append(HiddenFailure(where, is_hook, last or line))
        elif line.strip():
            last = line.strip()
    return found


def check_hidden(failures: Sequence[HiddenFailure], fatal: Sequence[str], warn: Callable[[str], None]) -> None:
    """Warns of every failure; AuditError for a package or hook that is in `fatal`."""
    for failure in failures:
        what = "the hook" if failure.is_hook else "the scriptlet of"
        if failure.where in fatal:
            raise AuditError(
                f"{what} {failure.where!r} failed, and without it the image does not boot: {failure.line}",
                "the lines above it in the log say why",
            )
        warn(f"{what} {failure.where!r} failed: {failure.line}")


def fatal_descriptions(hooks: Sequence[str]) -> list[str]:
    """Of libalpm hook files, the descriptions of those that make what boots, alpm-hooks(5)."""
    found = []
    for text in hooks:
        described = re.search(r"^Description\s*=\s*(.+?)\s*$", text, re.MULTILINE)
        command = re.search(r"^Exec\s*=\s*(.+?)\s*$", text, re.MULTILINE)
        if command and any(name in command[1] for name in _FATAL_COMMANDS):
            found.append(described[1] if described else command[1])
    return found
