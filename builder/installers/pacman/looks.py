"""What pacman could not fetch, asked for once more: whether it is not there, or another file than the database says."""

from __future__ import annotations

from collections.abc import Sequence

from builder.distributions.pacman import servers, signatures
from builder.errors import AuditError, CommandError, DisklessError
from builder.installers.look import NOT_FOUND, AskMirror, Look
from builder.installers.pacman.cache import has_signature
from builder.installers.pacman.database import DatabaseEntry
from builder.installers.pacman.errors import OTHER_FILE, STALE
from builder.model.recipe import ArchDistribution, Repository, Signatures

_MOST_LOOKS = 3  # of many files that are missing the first tell why
_SIGNATURE_LIMIT = 1 << 16
_DATABASE_LIMIT = 1 << 10  # that it is there is what counts
_OTHER_MIRRORS = (
    "set distribution.mirrors to servers that answer (file:///path for a local repository), or "
    "distribution.mirrorlist to a file of them"
)


def explain_databases(error: CommandError, distribution: ArchDistribution, ask: AskMirror) -> CommandError:
    """The error of a failed `pacman -Sy`, saying which database no server gives and why."""
    for repository in distribution.repositories:
        looks = [ask(f"{url}/{repository.name}.db", _DATABASE_LIMIT) for url in _urls(distribution, repository)]
        failed = _all_failed(looks)
        if failed is not None:
            error.message += f": {failed.url}: {failed.trouble}"
            error.hint = "; ".join(filter(None, (failed.hint, _OTHER_MIRRORS)))
            break
    return error


def explain_missing(
    entries: Sequence[DatabaseEntry], error: DisklessError, distribution: ArchDistribution, ask: AskMirror
) -> DisklessError:
    """The error of a failed download: what can be seen of the packages that did not arrive, else `error` itself.

    entries: those whose file or signature is not in the cache.
    """
    named = {repository.name: repository for repository in distribution.repositories}
    for entry in entries[:_MOST_LOOKS]:
        repository = named.get(entry.repository)
        found = None if repository is None else _look_for(entry, repository, distribution, ask)
        if found is not None:
            found.details = error.details
            return found
    return error


def _look_for(
    entry: DatabaseEntry, repository: Repository, distribution: ArchDistribution, ask: AskMirror
) -> DisklessError | None:
    package = entry.package
    places = [f"{url}/{package.filename}" for url in _urls(distribution, repository)]
    looks = [ask(place, package.size + 1) for place in places]
    for look in looks:
        if look is not None and not look.trouble and (look.size, look.sha256) != (package.size, package.sha256):
            return AuditError(f"{OTHER_FILE.format(package.filename)}: {look.url}", STALE)
    failed = _all_failed(looks)
    if failed is not None and failed.status == NOT_FOUND:
        message = f"the mirror's database names {package.filename}, and the mirror does not have it: {failed.url}"
        return CommandError(message, STALE)
    if failed is not None:
        return CommandError(f"{failed.url} could not be fetched: {failed.trouble}", failed.hint or _OTHER_MIRRORS)
    if signatures(distribution, repository) is Signatures.NEVER or has_signature(entry):
        return None
    failed = _all_failed([ask(f"{place}.sig", _SIGNATURE_LIMIT) for place in places])
    if failed is None or failed.status != NOT_FOUND:
        return None
    remedy = "sign the repository's packages (makepkg --sign); signatures: never is for local repositories"
    return AuditError(f"a package is not signed: there is no {failed.url}", remedy)


def _all_failed(looks: Sequence[Look | None]) -> Look | None:
    """The first of the looks where none came to something; None where one did, or could not be taken."""
    failed = [look for look in looks if look is not None and look.trouble]
    return failed[0] if failed and len(failed) == len(looks) else None


def _urls(distribution: ArchDistribution, repository: Repository) -> list[str]:
    """Its servers, as pacman reads them."""
    fill = {"$repo": repository.name, "$arch": str(distribution.architecture)}
    found = []
    for url in servers(distribution, repository):
        for variable, value in fill.items():
            url = url.replace(variable, value)
        found.append(url.rstrip("/"))
    return found
