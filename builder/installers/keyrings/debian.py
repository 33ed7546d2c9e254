"""The newest keyring package of Debian: out of a suite whose Release a key signed that this host or the recipe knows.

Which suite that is, is asked with its Release file alone. What is then taken from it apt takes, which checks Release,
index and package by that ring. What is fetched unchecked, with a fingerprint, is only searched for the key that has it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from builder.distributions.apt import archive_urls
from builder.errors import AuditError, CommandError
from builder.installers.base import Job
from builder.installers.keyrings.debian_archive import DebianArchive
from builder.installers.keyrings.gnupg import gather_keys, verify_release
from builder.installers.keyrings.openpgp import Signature, find_key
from builder.installers.keyrings.package import read_files
from builder.installers.keyrings.seen import SeenVersions
from builder.model.recipe import keyring_package
from builder.system.host import os_release

_DIRECTORY = "usr/share/keyrings"
_SUFFIXES = ("gpg", "pgp", "asc")
# where an old ring may find a newer one: the archive's own names, and those of releases, for mirrors without links
_SUITES = ("unstable", "testing", "stable", "oldstable", "oldoldstable", "trixie", "bookworm", "bullseye")


@dataclass
class NewestKeyring:
    """One search for it. `host` is the ring on this host, None where it has none."""

    job: Job
    archive: DebianArchive
    host: Path | None
    refused: list[str] = field(default_factory=list)

    def find(self) -> Path:
        """The ring of the newest package that the host's ring vouches for, or else the recipe's fingerprints.

        AuditError where neither does, or the package is older than one that was seen.
        """
        distribution = self.archive.distribution
        self._package = keyring_package(distribution.keyring.path)
        self._work = Path(tempfile.mkdtemp(prefix="keyring-", dir=self.job.work))
        self._suite = distribution.suite or ""
        self._release = self.archive.require(self._suite)
        found = self._by_host() or self._by_fingerprints(distribution.keyring.keys)
        if found is not None:
            return found
        raise AuditError(
            f"nobody whom this host trusts vouches for {self._package} of {self._suite}",
            "check the fingerprint of the archive's signing key with the distribution, and name it in "
            "distribution.keyring.fingerprints",
            tuple(self.refused),
        )

    def _by_host(self) -> Path | None:
        if self.host is None:
            return None
        ring = self._work / "host.gpg"
        gather_keys(self.job, ring, self.host, [])
        for suite, release in self._releases():
            signer = self._signer(suite, release, ring)
            if signer is None:
                continue
            try:
                new, version = self._take(suite, ring)
            except CommandError as error:
                if suite == self._suite:
                    raise
                self.refused.append(f"{suite}: {error.message}: {error.details[-1] if error.details else ''}")
                continue
            if suite == self._suite or any(it.good for it in verify_release(self.job, self._release, new)):
                self._explain(suite, version, signer, f"which is in {self.host}")
                return new
            self.refused.append(f"{self._package} {version} of {suite} has no key that signed {self._suite}")
        return None

    def _by_fingerprints(self, named: Sequence[str]) -> Path | None:
        """The same by a ring of the named keys alone, wherever their material comes from."""
        if not named:
            return None
        unchecked = self._read(self.archive.take_unchecked(self._suite, self._package), "unchecked.gpg")
        keys = gather_keys(self.job, self._work / "all.gpg", self.host, [unchecked]).values()
        found = {fingerprint: find_key(keys, fingerprint) for fingerprint in named}
        # a subkey's fingerprint stands for that subkey, without its sisters
        only = [name if name == key.fingerprint else f"{name}!" for name, key in found.items() if key is not None]
        self.refused += [f"there is no key {name} in {self._package}" for name, key in found.items() if key is None]
        if only:
            pinned = self._work / "pinned.gpg"
            gather_keys(self.job, pinned, self.host, [unchecked], only)
            signer = self._signer(self._suite, self._release, pinned)
            if signer is not None:
                new, version = self._take(self._suite, pinned)
                self._explain(self._suite, version, signer, "which the recipe names")
                return new
        raise AuditError(
            f"{self._suite} is not signed by a key that the recipe names",
            "correct distribution.keyring.fingerprints, or do not use that mirror",
            tuple(self.refused),
        )

    def _releases(self) -> Iterator[tuple[str, Path]]:
        """The suite that is wanted, then others of the mirror."""
        yield self._suite, self._release
        host = os_release().get("VERSION_CODENAME", "")
        for suite in dict.fromkeys([*_SUITES, *([host] if host else [])]):
            if suite != self._suite:
                release = None
                with suppress(CommandError):
                    release = self.archive.peek(suite)
                if release is not None:
                    yield suite, release

    def _signer(self, suite: str, release: Path, ring: Path) -> Signature | None:
        signatures = verify_release(self.job, release, ring)
        good = next((signature for signature in signatures if signature.good), None)
        if good is None:
            self.refused += [f"{suite}: {it.describe()}" for it in signatures] or [f"{suite} is not signed"]
        return good

    def _take(self, suite: str, ring: Path) -> tuple[Path, str]:
        """The ring of a suite's package, which apt found genuine by `ring`, and the package's version."""
        deb = self.archive.take(suite, ring, self._package)
        version = self.job.sandbox.run(["dpkg-deb", "-f", str(deb), "Version"], capture=True).strip()
        seen = SeenVersions(self.job, f"debian {suite}", archive_urls(self.archive.distribution), self._is_older)
        seen.check(self._package, version)
        new = self._read(deb, f"{suite}.new.gpg")
        keys = gather_keys(self.job, self._work / "new-only.gpg", None, [new])
        merged = self._work / f"{suite}.gpg"
        # with what the host's ring knows of these keys: a revocation stays
        gather_keys(self.job, merged, self.host, [new], list(keys))
        seen.record(self._package, version)
        return merged, version

    def _read(self, deb: Path, name: str) -> Path:
        """The ring in a package, as a file."""
        tar, target = self._work / "data.tar", self._work / name
        self.job.sandbox.run(["sh", "-c", 'exec dpkg-deb --fsys-tarfile "$1" >"$2"', "sh", str(deb), str(tar)])
        stem = Path(self.archive.distribution.keyring.path).stem
        paths = [f"{_DIRECTORY}/{stem}.{suffix}" for suffix in _SUFFIXES]
        found = read_files(tar, paths)
        tar.unlink()
        if not found:
            raise AuditError(
                f"{deb.name} has no {paths[0]}",
                f"the file that distribution.keyring.path names must be called as the one in {self._package} is",
            )
        target.write_bytes(next(iter(found.values())))
        return target

    def _is_older(self, version: str, other: str) -> bool:
        try:
            self.job.sandbox.run(["dpkg", "--compare-versions", version, "lt", other])
        except CommandError as error:
            if error.status != 1:
                raise
            return False
        return True

    def _explain(self, suite: str, version: str, signer: Signature, why: str) -> None:
        who = f"{signer.primary} ({signer.owner})"
        self.job.record(f"keyring: {self._package} {version} of {suite}, which is signed by {who}, {why}")
