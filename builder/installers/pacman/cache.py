"""The package files that builds share, with their signatures. A fault of one of them is not a fault of another."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import AuditError
from builder.installers.base import Job
from builder.installers.keyrings.openpgp import read_signatures
from builder.installers.pacman.database import DatabaseEntry
from builder.model.artifacts.lock import LockedPackage
from builder.system.files import copy_verified

_MARK = "[DISKLESS]"
# HOME OUTPUT PACKAGE...: the status lines of each package's signature, after a line that names it
_VERIFY = f"""\
set -u
home=$1
exec 3>"$2"
shift 2
for package; do
    printf '{_MARK} %s\\n' "$package" >&3
    gpg --homedir "$home" --batch --quiet --no-tty --disable-dirmngr --status-fd 3 --verify "$package.sig" "$package"
done
exit 0
"""


@dataclass(frozen=True)
class PackageCache:
    """The directory, to be changed under its lock only."""

    job: Job
    directory: Path

    def signed(self, entries: Iterable[DatabaseEntry]) -> list[DatabaseEntry]:
        """Those that are here with a signature of their own."""
        return [entry for entry in entries if signature_of(self._file(entry)).exists()]

    def forget(self, entry: DatabaseEntry) -> None:
        """Removes a package and its signature, so that both are fetched again."""
        self._file(entry).unlink(missing_ok=True)
        signature_of(self._file(entry)).unlink(missing_ok=True)

    def forget_damaged(self, entries: Sequence[DatabaseEntry], unsigned: set[str]) -> None:
        """Forgets what is not what the database says, or lacks its signature though its repository is signed."""
        probe = self.job.work / "probe"
        for entry in entries:
            cached = self._file(entry)
            if self._is_signed(entry, unsigned) and copy_verified(cached, probe, entry.package.sha256):
                probe.unlink()
            else:
                self.forget(entry)

    def missing(self, entries: Iterable[DatabaseEntry], unsigned: set[str]) -> list[DatabaseEntry]:
        """Those that are not here, or without the signature that they need."""
        return [one for one in entries if not self._file(one).exists() or not self._is_signed(one, unsigned)]

    def _is_signed(self, entry: DatabaseEntry, unsigned: set[str]) -> bool:
        return has_signature(entry) or entry.repository in unsigned or signature_of(self._file(entry)).exists()

    def forget_refused(self, entries: Sequence[DatabaseEntry], keys: Path) -> list[DatabaseEntry]:
        """Forgets those of `entries`, which had signatures, that the keys of the GnuPG home do not trust as they are.

        What pacman itself has removed is one of them. Returns them.
        """
        status = self.job.work / "cache.status"
        status.touch()
        here = [str(self._file(entry)) for entry in self.signed(entries)]
        self.job.sandbox.run(
            ["sh", "-c", _VERIFY, "sh", self.job.sandbox.name(keys), str(status), *here], log_output=False
        )
        said = status.read_text("utf-8", "replace").split(f"{_MARK} ")[1:]
        good = {name for name, _, lines in (part.partition("\n") for part in said) if _is_trusted(lines)}
        refused = [entry for entry in entries if str(self._file(entry)) not in good]
        for entry in refused:
            self.forget(entry)
        return refused

    def take(self, package: LockedPackage, target: Path) -> None:
        """Links a package, and its signature if it has one, into a directory; AuditError where it is another one."""
        cached = self.directory / package.filename
        if not copy_verified(cached, target / package.filename, package.sha256):
            raise AuditError(
                f"{package.filename} in the package cache is not what the repository's database says", "build again"
            )
        if signature_of(cached).exists():
            shutil.copyfile(signature_of(cached), target / f"{package.filename}.sig")

    def _file(self, entry: DatabaseEntry) -> Path:
        return self.directory / entry.package.filename


def has_signature(entry: DatabaseEntry) -> bool:
    """Whether the database itself holds the package's signature."""
    return "%PGPSIG%" in entry.package.record


def signature_of(package: Path) -> Path:
    """Where a package's signature lies."""
    return package.with_name(f"{package.name}.sig")


def _is_trusted(status: str) -> bool:
    signatures = read_signatures(status)
    return bool(signatures) and all(signature.good and signature.trusted for signature in signatures)
