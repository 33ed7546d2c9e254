"""Which version a build gave, kept by everything that decides it: a build of the same inputs finds that version."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import os
from dataclasses import dataclass

from builder.errors import AuditError, InputError
from builder.model.artifacts.manifest import CHECKSUMS, LOG, MANIFEST, REPORT, Manifest
from builder.model.typed import parse_json, typed
from builder.model.version import Version
from builder.output.given import read_given
from builder.output.versions import manifest_bytes, manifest_in, parse_manifest, verify_artifacts
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.private import Tell, own_directory

RESULTS = "results"
_MOST = 200  # records of some hundred bytes
_ENDING = ".json"


@dataclass(frozen=True)
class Result:
    """What a build gave.

    manifest, checksums: the SHA-256 of manifest.json and SHA256SUMS as they were written
    warnings: what the build warned of, which a build that finds the version says again
    """

    version: Version
    manifest: str
    checksums: str
    warnings: tuple[str, ...]


def hold_results(cache: HeldDirectory, tell: Tell) -> HeldDirectory:
    """Where results are kept, below the cache of one map of ids."""
    return own_directory(cache, RESULTS, tell, 0o700)


def keep_result(results: HeldDirectory, key: str, version: HeldDirectory, warnings: tuple[str, ...]) -> None:
    """Remembers which version `key` gave."""
    data = manifest_bytes(version)
    name = parse_manifest(data, str(version.path / MANIFEST)).version
    result = Result(name, _sha256(data), _sha256(read_given(version, CHECKSUMS)), warnings)
    results.write(key + _ENDING, io.BytesIO(json.dumps(dataclasses.asdict(result)).encode()), 0o600)
    names = results.names()
    times = {name: os.stat(name, dir_fd=results.handle, follow_symlinks=False).st_mtime for name in names}
    for old in sorted(names, key=lambda old: times[old], reverse=True)[_MOST:]:
        results.unlink(old)


def find_result(results: HeldDirectory, key: str) -> Result | None:
    """What a build gave under `key`; None where nobody remembers."""
    with contextlib.suppress(OSError, ValueError), results.open(key + _ENDING) as file:
        return typed(parse_json(file.read()), Result)
    return None


def whole_version(image: HeldDirectory, result: Result) -> Manifest | None:
    """The manifest of the version that `result` means, where it is still there, every byte of every artifact."""
    try:
        with image.enter(result.version) as version:
            data = manifest_bytes(version)
            if _sha256(data) != result.manifest or _sha256(read_given(version, CHECKSUMS)) != result.checksums:
                return None
            manifest = parse_manifest(data, str(version.path / MANIFEST))
            verify_artifacts(version, manifest.artifacts)
            return manifest if {LOG, REPORT} <= set(version.names()) else None
    except (OSError, InputError, AuditError):
        return None


def is_damaged(image: HeldDirectory, version: Version) -> bool:
    """Whether there is a version of this name with an artifact that is not what its manifest says."""
    if not image.is_directory(version):
        return False
    try:
        with image.enter(version) as held:
            verify_artifacts(held, manifest_in(held).artifacts)
    except (OSError, InputError, AuditError):
        return True
    return False


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
