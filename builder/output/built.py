"""Which version a build gave, kept by everything that decides it: a build of the same inputs finds that version."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path

from builder.errors import AuditError, InputError
from builder.model.artifacts.manifest import CHECKSUMS, LOG, MANIFEST, REPORT, Manifest
from builder.model.typed import parse_json, typed
from builder.model.version import Version
from builder.output.given import SIGNATURE, read_given
from builder.output.versions import (
    LATEST,
    manifest_bytes,
    manifest_in,
    parse_manifest,
    read_manifest,
    verify_artifacts,
)
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.private import FILE_MODE, Tell, own_directory

_RESULTS = "results"
_MOST = 200  # records of some hundred bytes
_ENDING = ".json"
_BESIDE = {CHECKSUMS, LOG, REPORT}  # files of a version that its manifest does not name


@dataclass(frozen=True)
class BuildResult:
    """What a build gave.

    manifest, checksums: the SHA-256 of manifest.json and SHA256SUMS as they were written
    warnings: what there is to be warned of in the image, which a build that finds the version says again
    """

    version: Version
    manifest: str
    checksums: str
    warnings: tuple[str, ...]


def hold_results(cache: HeldDirectory, tell: Tell) -> HeldDirectory:
    """Where results are kept, below the cache of one map of ids."""
    return own_directory(cache, _RESULTS, tell, 0o700)


@dataclass(frozen=True)
class Earlier:
    """What earlier builds of an image gave.

    results: what is remembered of them; image: the directory of the versions
    newest: the manifest of the newest version that can be read
    """

    results: HeldDirectory
    image: Path
    newest: Manifest | None

    def keep(self, key: str, version: Version, warnings: tuple[str, ...]) -> None:
        """Remembers which version `key` gave."""
        with HeldDirectory.at(self.image.resolve()) as image, image.enter(version) as held:
            result = BuildResult(version, _sha256(manifest_bytes(held)), _sha256(read_given(held, CHECKSUMS)), warnings)
        self.results.write(key + _ENDING, io.BytesIO(json.dumps(dataclasses.asdict(result)).encode()), 0o600)
        self._forget_old()

    def find(self, key: str) -> BuildResult | None:
        """What a build gave under `key`, where it is there still, every byte of every artifact."""
        with contextlib.suppress(OSError, ValueError, InputError, AuditError):
            with self.results.open(key + _ENDING) as file:
                result = typed(parse_json(file.read()), BuildResult)
            with HeldDirectory.at(self.image.resolve()) as image, image.enter(result.version) as version:
                return result if _is_whole(version, result) else None
        return None

    def _forget_old(self) -> None:
        """All but those that were written last; another build may remove one meanwhile."""
        times = {}
        for name in self.results.names():
            with contextlib.suppress(FileNotFoundError):
                if name.endswith(_ENDING):
                    times[name] = os.stat(name, dir_fd=self.results.handle, follow_symlinks=False).st_mtime
        for name in sorted(times, key=lambda name: times[name], reverse=True)[_MOST:]:
            self.results.unlink(name)


def _is_whole(version: HeldDirectory, result: BuildResult) -> bool:
    data = manifest_bytes(version)
    if _sha256(data) != result.manifest or _sha256(read_given(version, CHECKSUMS)) != result.checksums:
        return False
    verify_artifacts(version, parse_manifest(data, str(version.path / MANIFEST)).artifacts)
    return set(version.names()) >= _BESIDE


def newest_of(image: Path) -> Manifest | None:
    """The manifest of the newest version that is there; None where there is none that can be read."""
    with contextlib.suppress(InputError, AuditError):
        return read_manifest(image / LATEST)
    return None


def is_damaged(image: HeldDirectory, manifest: Manifest) -> bool:
    """Whether the same version is there, and lacks a file, or one is not what its own manifest says.

    Not for what cannot be looked at, or is of a newer release.
    """
    try:
        with image.enter(manifest.version) as version:
            there = manifest_in(version)
            if there.root_digest != manifest.root_digest:
                return False
            try:
                verify_artifacts(version, there.artifacts)
            except AuditError:
                return True
            return not set(version.names()) >= _BESIDE
    except (OSError, InputError, AuditError):
        return False


def carry_signature(image: HeldDirectory, version: Version, artifacts: Path) -> None:
    """Copies the signature of the manifest that is there to the same manifest among new artifacts."""
    with (
        contextlib.suppress(OSError, InputError, AuditError),
        image.enter(version) as there,
        HeldDirectory.at(artifacts.resolve()) as here,
    ):
        if manifest_bytes(there) == manifest_bytes(here):
            here.write(SIGNATURE, io.BytesIO(read_given(there, SIGNATURE)), FILE_MODE)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
