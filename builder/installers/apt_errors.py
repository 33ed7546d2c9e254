"""What apt's complaints mean and what to do about them."""

from __future__ import annotations

import difflib
import re

from builder.errors import AuditError, CommandError, InputError
from builder.model.recipe import DebianDistribution, DebianRepository
from builder.render.image.apt import archive_urls

_UNKNOWN = re.compile(r"Unable to locate package (\S+)|Package '?([^\s']+)'? has no installation candidate")
_KEY_TROUBLE = ("NO_PUBKEY", "is not signed", "BADSIG", "EXPKEYSIG", "no public key", "not available")
_WRONG_FILE = (
    "Hash Sum mismatch",
    "File has unexpected size",
    "Hashes of expected file",
    "Clearsigned file isn't valid",
)


def explain_update(error: CommandError, distribution: DebianDistribution) -> CommandError:
    """The same error of `apt-get update`, saying which mirror could not be used and why."""
    text = "\n".join(error.details)
    suite, mirrors = distribution.suite, ", ".join(archive_urls(distribution))
    error.message = f"the package lists of {suite} could not be fetched from {mirrors}"
    other = _complained_repository(text, distribution)
    if other is not None:
        return _explain_repository(error, other, text)
    if any(word in text for word in _KEY_TROUBLE):
        error.hint = keyring_hint(distribution)
    elif distribution.snapshot and "404" in text:
        error.hint = f"is there a snapshot of {distribution.snapshot}, with {suite}, on that server?"
    elif "404" in text or "does not have a Release file" in text:
        error.hint = (
            f"is there a suite {suite} (with {suite}-updates) on that mirror? "
            "Without it set updates: false; without a security archive set security_mirrors: []"
        )
    elif "not valid yet" in text or "expired" in text:
        error.hint = "the mirror is out of date, or this machine's clock is wrong: see `date`"
    else:
        error.hint = unreachable_hint(distribution)
    return error


def keyring_hint(distribution: DebianDistribution) -> str:
    """What to do when none of the keys on this host signed the archive, or those have expired."""
    keyring = distribution.keyring
    if not keyring.newest:
        return (
            f"{keyring.path} lacks the archive's key: with distribution.keyring: {{newest: true}} the newest is taken "
            "from the mirror, if this one vouches for it; or install a newer one"
        )
    return "no key of the newest keyring package of the mirror signed that: do not use this server"


def unreachable_hint(distribution: DebianDistribution) -> str:
    """What to do when a mirror does not answer."""
    return f"is {archive_urls(distribution)[0]} reachable from here? Set distribution.mirrors to one that is"


def explain_download(error: CommandError, distribution: DebianDistribution) -> CommandError | AuditError:
    """The error for package files that cannot be had, or are not what the signed index says."""
    text = "\n".join(error.details)
    if any(word in text for word in _WRONG_FILE):
        failed = re.search(r"^E: Failed to fetch (\S+)", text, re.MULTILINE)
        what = failed[1] if failed else "a package file"
        return AuditError(
            f"{what} is not what its repository's index says",
            "it was changed after the index was made, or not copied whole: make the index again, or use another mirror",
            error.details,
        )
    error.hint = unreachable_hint(distribution)
    return error


def _complained_repository(text: str, distribution: DebianDistribution) -> DebianRepository | None:
    """The further repository that apt's errors are about, if they are about one."""
    errors = [line for line in text.splitlines() if line.startswith(("E:", "W:", "Err:"))]
    for repository in distribution.repositories:
        place = repository.url.partition(":")[2].strip("/")
        if any(place in line for line in errors):
            return repository
    return None


def _explain_repository(error: CommandError, repository: DebianRepository, text: str) -> CommandError:
    error.message = f"the package lists of the repository {repository.url} {repository.suite} could not be used"
    if any(word in text for word in (*_KEY_TROUBLE, *_WRONG_FILE)):
        error.message += ": they are not signed by a key that the recipe names"
        error.hint = (
            f"distribution.repositories: is {repository.keyring} the keyring of that repository, and up to date?"
        )
    else:
        error.hint = "distribution.repositories: check its url, suite and components"
    return error


def unknown_packages(error: CommandError, named: tuple[str, ...]) -> list[str]:
    """Which of the packages that the recipe names do not exist, by apt's own words."""
    matches = _UNKNOWN.findall("\n".join(error.details))
    return [name for match in matches for name in match if name in named]


def explain_unknown(names: list[str], known: list[str], distribution: DebianDistribution) -> InputError:
    """The error for packages that do not exist, with names that come near."""
    near = {name: difflib.get_close_matches(name, known, n=3) for name in names}
    hints = [f"{name}: did you mean {' or '.join(close)}?" for name, close in near.items() if close]
    return InputError(
        f"no such package in {distribution.suite}: {', '.join(names)}",
        "; ".join(hints) or "is its component listed? Firmware needs components: [main, non-free-firmware]",
    )


def explain_conflict(error: CommandError) -> CommandError:
    """The error for packages that exist and exclude each other."""
    error.message = "the packages of the recipe cannot be installed together"
    error.hint = "the lines above name the packages in conflict: remove one of them from packages"
    return error
