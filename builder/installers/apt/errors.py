"""What a failed apt meant and what to do about it: by what can be seen, else in apt's own words."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass

from builder.distributions.apt import ARCHITECTURES, archive_urls, security_urls
from builder.errors import AuditError, CommandError, InputError
from builder.installers.apt.index import AptIndex, Cause, find_cause
from builder.installers.look import AskMirror
from builder.model.artifacts.lock import LockedPackage
from builder.model.recipe import DebianDistribution, DebianRepository
from builder.model.text.suggestion import suggest_each

# in 2.6 and in 3.0; the tests let the host's apt say them
_KEY_TROUBLE = ("is not signed", "NO_PUBKEY", "BADSIG", "EXPKEYSIG", "signature verification failed")
_OTHER_FILE = (
    "it was changed after the index was made, or not copied whole: make the index again, or use another mirror"
)
_MOST_LOOKS = 3  # of many files that are missing the first tell why
_MOST_WORDS = 40
_ACCOUNT = ("$ ", "# ", "Reading ", "Building ", "Get:", "Hit:", "Ign:", "Fetched ", "'")
_TELLING = 12  # lines before dpkg complains, and as many after
_FIRST_COMPLAINTS = ("dpkg: error", "dpkg-deb: error")
_AFTERMATH = ("Errors were encountered", "E: ", "dpkg: dependency problems")
_BROKEN_PACKAGE = re.compile(r"dpkg: error processing (?:package|archive) (\S+)")
_UNMET = "The following packages have unmet dependencies:"


def explain_update(
    error: CommandError, distribution: DebianDistribution, ask: AskMirror, *, suite: str | None = None
) -> CommandError | AuditError:
    """The error of `apt-get update`, saying which lists could not be used and why.

    suite: the only one that apt was told of, where it was not all of the recipe's sources
    """
    lines = _lines_of(distribution) if suite is None else [_line_of(distribution, suite)]
    for line in lines:
        cause = find_cause(line.index, ask)
        if cause is not None:
            return _explain_cause(error, line, cause, distribution)
    complained = next((line for line in lines if line.repository and _is_named(line, error.details)), lines[0])
    error.message = f"{complained.subject}: {first_complaint(error.details)}"
    if any(word in text for word in _KEY_TROUBLE for text in error.details):
        error.message = f"{complained.subject}: {complained.unsigned}: {first_complaint(error.details)}"
        error.hint = _key_hint(complained.repository, distribution)
    return error


def first_complaint(details: Sequence[str]) -> str:
    """What apt complained of first, in its own words; what it only warns of where there is nothing else."""
    for mark in ("E: ", "W: "):
        for line in details:
            if line.startswith(mark):
                return line.removeprefix(mark).strip()
    return details[-1].strip() if details else "apt says nothing"


def keyring_hint(distribution: DebianDistribution) -> str:
    """What to do when none of the keys on this host signed the archive, or those have expired."""
    keyring = distribution.keyring
    if not keyring.newest:
        return (
            f"{keyring.path} lacks the archive's key: with distribution.keyring: {{newest: true}} the newest is taken "
            "from the mirror, if this one vouches for it; or install a newer one"
        )
    return "no key of the newest keyring package of the mirror signed that: do not use this server"


def _key_hint(repository: DebianRepository | None, distribution: DebianDistribution) -> str:
    if repository is None:
        return keyring_hint(distribution)
    return f"distribution.repositories: is {repository.keyring} the keyring of that repository, and up to date?"


@dataclass(frozen=True)
class _Line:
    """One line of the sources, and how messages speak of it: by the recipe's key that it comes from."""

    index: AptIndex
    key: str
    subject: str
    repository: DebianRepository | None = None

    @property
    def unsigned(self) -> str:
        return "they are not signed by a key that the recipe names" if self.repository else "their signature is refused"


def _lines_of(distribution: DebianDistribution) -> list[_Line]:
    architecture = ARCHITECTURES[distribution.architecture]
    mirrors, security, suite = archive_urls(distribution), security_urls(distribution), distribution.suite or ""
    suites = [(mirrors, suite, "mirrors")]
    suites += [(mirrors, f"{suite}-updates", "updates")] if distribution.updates else []
    suites += [(security, f"{suite}-security", "security_mirrors")] if security else []
    found = []
    for urls, name, key in suites:
        found.append(_line_of(distribution, name, key, urls))
    for one in distribution.repositories:
        index = AptIndex((one.url,), one.suite, one.components, architecture)
        subject = f"the package lists of the repository {one.url} {one.suite} could not be used"
        found.append(_Line(index, "repositories", subject, one))
    return found


def _line_of(
    distribution: DebianDistribution, suite: str, key: str = "mirrors", urls: tuple[str, ...] | None = None
) -> _Line:
    places, dated = urls or archive_urls(distribution), distribution.snapshot is None
    index = AptIndex(places, suite, distribution.components, ARCHITECTURES[distribution.architecture], dated)
    return _Line(index, key, f"the package lists of {suite} could not be fetched from {', '.join(places)}")


def _is_named(line: _Line, details: Sequence[str]) -> bool:
    # apt shows a local repository by its path
    place = urllib.parse.unquote(line.index.urls[0].partition(":")[2]).strip("/")
    return any(place in text for text in details if text.startswith(("E:", "W:", "Err:")))


def _explain_cause(
    error: CommandError, line: _Line, cause: Cause, distribution: DebianDistribution
) -> CommandError | AuditError:
    message = f"{line.subject}: {cause.url}: {cause.what}"
    hint = "; ".join(filter(None, (cause.hint, _remedy(line, cause, distribution))))
    if cause.altered:
        return AuditError(message, hint, error.details)
    error.message, error.hint = message, hint
    return error


def _remedy(line: _Line, cause: Cause, distribution: DebianDistribution) -> str:
    """Which key of the recipe could be otherwise."""
    if line.repository is not None:
        return "distribution.repositories: check its url, suite and components"
    if not cause.missing:
        return (
            "set distribution.mirrors to one that works"
            if line.key != "security_mirrors"
            else f"see distribution.{line.key}"
        )
    if distribution.snapshot:
        return f"is there a snapshot of {distribution.snapshot}, with {line.index.suite}, on that server?"
    suite = distribution.suite
    return (
        f"is there a suite {suite} (with {suite}-updates) on that mirror? "
        "Without it set updates: false; without a security archive set security_mirrors: []"
    )


def explain_download(
    error: CommandError, missing: Sequence[tuple[LockedPackage, tuple[str, ...]]], ask: AskMirror
) -> CommandError | AuditError:
    """The error for package files that cannot be had, or are not what the signed index says.

    missing: what apt did not bring, each with the URLs where it should lie.
    """
    for package, urls in missing[:_MOST_LOOKS]:
        looks = [look for look in (ask(url, package.size + 1) for url in urls) if look is not None]
        other = [
            look for look in looks if not look.trouble and (look.size, look.sha256) != (package.size, package.sha256)
        ]
        if other:
            return AuditError(f"{other[0].url} is not what its repository's index says", _OTHER_FILE, error.details)
        if looks and all(look.trouble for look in looks):
            error.message = f"{looks[0].url} could not be fetched: {looks[0].trouble}"
            error.hint = (
                looks[0].hint
                or "the index names it, and the mirror does not have it: build again, or use another mirror"
            )
            return error
    error.message = f"packages could not be fetched: {first_complaint(error.details)}"
    error.hint = "build again: what arrived is kept"
    return error


def apt_words(lines: Sequence[str]) -> tuple[str, ...]:
    """What apt itself said last, without its account of what it reads and fetches."""
    return tuple(line for line in lines if line.strip() and not line.startswith(_ACCOUNT))[-_MOST_WORDS:]


_REQUIRED = ("Package", "Version", "Architecture", "Size", "SHA256")


def read_fields(stanza: str) -> dict[str, str]:
    """The fields of an entry in a repository's index; InputError where it lacks one that a build goes by."""
    fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", stanza, re.MULTILINE))
    missing = [name for name in _REQUIRED if name not in fields]
    if missing:
        raise InputError(
            f"the index that has {fields.get('Package', 'a package')} {fields.get('Version', '')} gives no "
            f"{' and no '.join(missing)} of it",
            "a build takes nothing whose SHA-256 is not known: make the repository's index with a newer tool "
            "(apt-ftparchive, reprepro and aptly write SHA256), or take the package from another repository",
        )
    if not fields["Size"].isdecimal():
        raise InputError(f"the index says that {fields['Package']} has {fields['Size']!r} bytes", "make it again")
    return fields


def explain_unknown(
    names: Sequence[str], known: Sequence[str], distribution: DebianDistribution, details: tuple[str, ...]
) -> InputError:
    """The error for packages that do not exist, with names that come near."""
    return InputError(
        f"no such package in {distribution.suite}: {', '.join(names)}",
        suggest_each(names, known) or "is its component listed? Firmware needs components: [main, non-free-firmware]",
        details,
    )


def explain_virtual(providers: dict[str, list[str]], details: tuple[str, ...]) -> InputError:
    """The error for names that several packages provide: apt(8) does not choose."""
    listed = [f"{name} is provided by {', '.join(found)}" for name, found in providers.items()]
    return InputError(f"not a package: {'; '.join(listed)}", "name one of them in packages", details)


def explain_conflict(error: CommandError) -> CommandError:
    """The error for packages that exist and cannot be installed together, with what apt has against it."""
    lines = error.details
    if _UNMET not in lines:
        error.message, error.details = f"apt cannot resolve the packages: {first_complaint(lines)}", apt_words(lines)
        return error
    error.details = apt_words(lines[lines.index(_UNMET) :])
    error.message = f"the packages of the recipe cannot be installed together: {first_complaint(lines)}"
    error.hint = (
        "the lines above name them: remove one that excludes another; for one that is not installable, add the "
        "component or the repository that has it"
    )
    return error


def explain_install(error: CommandError, lines: Sequence[str]) -> CommandError:
    """The error of an installation that failed, with the lines that tell why: those before dpkg's first complaint.

    What comes last is what failed because of it, and mmdebstrap's own.
    """
    complaints = [number for number, line in enumerate(lines) if line.startswith(_FIRST_COMPLAINTS)]
    if complaints:
        first = complaints[0]
        end = next((number for number in range(first, len(lines)) if lines[number].startswith(_AFTERMATH)), len(lines))
        error.details = tuple(lines[max(0, first - _TELLING) : max(end, first + 1)][: 2 * _TELLING])
        package = _BROKEN_PACKAGE.match(lines[first])
        if package:
            error.message = f"the package {package[1]} cannot be installed: {_reason(lines, first)}"
    return error


def _reason(lines: Sequence[str], first: int) -> str:
    """What stands below dpkg's complaint, or in the line itself."""
    below = lines[first + 1].strip() if first + 1 < len(lines) else ""
    return below if lines[first].endswith(":") and below else lines[first]
