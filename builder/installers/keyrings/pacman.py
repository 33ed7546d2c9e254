"""Fetching the newest keyring package of a pacman repository, for arch.py to judge."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path

from builder.distributions.pacman import servers
from builder.errors import AuditError, DisklessError, InputError
from builder.installers.base import Job
from builder.installers.keyrings.arch import KeyringOffer, newest_keyring
from builder.installers.keyrings.seen import SeenVersions
from builder.installers.pacman.cache import signature_of
from builder.installers.pacman.database import DatabaseEntry, fields
from builder.installers.pacman.keyring import keyring_name
from builder.model.recipe import ArchDistribution, keyring_package
from builder.system.files import sha256_of

# fetches a package and its signature into a directory; returns what pacman has against them
Fetch = Callable[[DatabaseEntry, Path], DisklessError | None]


def take_keyring(
    job: Job, distribution: ArchDistribution, entries: Sequence[DatabaseEntry], host: Path | None, fetch: Fetch
) -> Path:
    """The newest ring of `entries`, the packages of repositories that are signed.

    host: the ring on this host. Raises AuditError where neither that nor the recipe vouches for the new one, or it is
    older than one that was seen, and InputError where there is none.
    """
    name = keyring_package(f"{keyring_name(distribution)}.gpg")
    entry = next((entry for entry in entries if entry.package.name == name), None)
    if entry is None:
        raise InputError(
            f"no signed repository has {name}, the keyring package that newest: true asks for",
            "distribution.keyring.path must be called as the ring in that package: NAME.gpg of NAME-keyring",
        )

    def is_older(version: str, other: str) -> bool:
        return int(job.sandbox.run(["vercmp", version, other], capture=True, log_output=False)) < 0

    repository = next(item for item in distribution.repositories if item.name == entry.repository)
    seen = SeenVersions(job, f"arch {entry.repository}", servers(distribution, repository), is_older)
    seen.check(name, entry.package.version)
    directory = job.work / "keyring"
    offer = _offer(entry, directory, keyring_name(distribution), fetch(entry, directory))
    ring = newest_keyring(job, offer, host, distribution.keyring.keys)
    seen.record(name, entry.package.version)
    return ring


def _offer(entry: DatabaseEntry, directory: Path, name: str, failure: DisklessError | None) -> KeyringOffer:
    """What came: the file that the database describes, and its signature, from there or beside it."""
    package = entry.package
    file = directory / package.filename
    signature = signature_of(file)
    if not file.exists():
        raise failure or AuditError(f"pacman left no {file.name}", "please report this")
    if sha256_of(file) != package.sha256:
        message = f"{file.name} is not the file that the repository's database describes"
        raise AuditError(message, "the mirror is being updated, or altered: set another one in mirrors")
    if not signature.exists():
        inside = fields(package.record).get("PGPSIG")
        if inside is None:
            raise failure or AuditError(f"{file.name} is not signed", "set another mirror")
        signature.write_bytes(base64.b64decode(inside[0]))
    return KeyringOffer(name, package.name, package.version, file, signature)
