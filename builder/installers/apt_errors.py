"""What apt's complaints mean and what to do about them."""

from __future__ import annotations

import difflib
import re

from builder.errors import CommandError, InputError
from builder.model.recipe import DebianDistribution

_UNKNOWN = re.compile(r"Unable to locate package (\S+)|Package '?([^\s']+)'? has no installation candidate")
_KEY_TROUBLE = ("NO_PUBKEY", "is not signed", "BADSIG", "EXPKEYSIG")


def explain_update(error: CommandError, distribution: DebianDistribution) -> CommandError:
    """The same error of `apt-get update`, saying which mirror could not be used and why."""
    text = "\n".join(error.details)
    suite, mirrors = distribution.suite, ", ".join(distribution.mirrors)
    error.message = f"the package lists of {suite} could not be fetched from {mirrors}"
    if any(word in text for word in _KEY_TROUBLE):
        keyring = distribution.keyring
        error.hint = f"{keyring} lacks the archive's key: install a newer keyring or set distribution.keyring"
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


def unreachable_hint(distribution: DebianDistribution) -> str:
    """What to do when a mirror does not answer."""
    return f"is {distribution.mirrors[0]} reachable from here? Set distribution.mirrors to one that is"


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
