"""Finding and reading the versions that builds left under output/."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from builder.errors import AuditError, InputError
from builder.model.artifacts.manifest import MANIFEST, Artifact, Manifest
from builder.model.version import VERSION
from builder.system.files import swap_symlink, sync_directory

LATEST = "latest"
_COPY_AGAIN = "it was changed or not copied whole: copy it again, or build it again"
_NOT_READ = "it was damaged, or is of a newer diskless: bring the version here again, or use that one"
_HINT = "give OUTPUT/IMAGE/VERSION or OUTPUT/IMAGE/latest"


def read_manifest(version: Path) -> Manifest:
    """The manifest of a version directory; InputError where there is none, else as `parse_manifest`."""
    return parse_manifest(manifest_bytes(version), str(version / MANIFEST))


def manifest_bytes(version: Path) -> bytes:
    """What stands in the manifest of a version directory; InputError where there is none."""
    try:
        return (version / MANIFEST).read_bytes()
    except OSError as error:
        raise InputError(f"{version} is not a version of an image: {MANIFEST}: {error.strerror}", _HINT) from error


def parse_manifest(data: bytes, name: str) -> Manifest:
    """The manifest that `data` is, found at `name`; AuditError when this program cannot read it as one."""
    try:
        return Manifest.from_json(data.decode("utf-8"))
    except ValueError as error:
        raise AuditError(f"{name}: {error}", _NOT_READ) from error


def find_latest(output: Path) -> Path:
    """The newest version of the only image below `output`; InputError when there is none, or more than one image."""
    found = sorted(link for link in output.glob(f"*/{LATEST}") if link.is_dir())
    if not found:
        raise InputError(f"{output} holds no version of an image", "diskless build RECIPE makes one; or name another")
    if len(found) > 1:
        raise InputError(f"{output} holds several images", f"name one of: {', '.join(map(str, found))}")
    return found[0]


def find_version(target: str | None, output: Path) -> Path:
    """A version's directory: `target` is its path, its name, or that of an image below `output`; None: find_latest."""
    if target is None:
        return find_latest(output)
    named = list(output.glob(f"*/{target}")) if VERSION.accepts(target) else []
    for path in (Path(target), Path(target) / LATEST, output / target / LATEST, *named[:1]):
        if (path / MANIFEST).is_file():
            return path.resolve()
    built = ", ".join(sorted(link.parent.name for link in output.glob(f"*/{LATEST}"))) or "none"
    raise InputError(
        f"{target} is not a version of an image, nor an image below {output}", f"images there: {built}; {_HINT}"
    )


def verify_artifacts(version: Path, artifacts: Mapping[str, Artifact]) -> None:
    """AuditError when one of these artifacts of a manifest is not, byte for byte, what that says."""
    for name, artifact in artifacts.items():
        path = version / name
        try:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise AuditError(f"{path}: {error.strerror}", _COPY_AGAIN) from error
        if digest != artifact.sha256:
            message = f"{path} is not what {MANIFEST} says: SHA-256 {digest}, not {artifact.sha256}"
            raise AuditError(message, _COPY_AGAIN)


def verify_sizes(version: Path, artifacts: Mapping[str, Artifact]) -> None:
    """AuditError when one of these artifacts of a manifest is not as long as that says."""
    for name, artifact in artifacts.items():
        path = version / name
        try:
            size = path.stat().st_size
        except OSError as error:
            raise AuditError(f"{path}: {error.strerror}", _COPY_AGAIN) from error
        if size != artifact.size:
            raise AuditError(f"{path} has {size} bytes, {MANIFEST} says {artifact.size}", _COPY_AGAIN)


def publish_version(artifacts: Path, image: Path, manifest: Manifest) -> tuple[Path, bool]:
    """Gives a finished directory its name, IMAGE/VERSION, and lets latest point there: the directory, and whether it
    was there already, in which case it stays as it is. AuditError where it is another version with this name.
    """
    target = image / manifest.version
    image.mkdir(parents=True, exist_ok=True)
    unchanged = target.exists()
    if unchanged:
        _check_same(target, manifest)
    else:
        for path in (artifacts, *artifacts.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
        sync_directory(artifacts)
        artifacts.rename(target)
        sync_directory(image)
    swap_symlink(image / LATEST, manifest.version)
    return target, unchanged


def _check_same(target: Path, manifest: Manifest) -> None:
    try:
        there = read_manifest(target)
    except (InputError, AuditError) as error:
        raise AuditError(error.message, f"move {target} away and try again") from error
    if there.root_digest != manifest.root_digest:
        raise AuditError(
            f"{target} is another version whose digest begins alike: {there.root_digest}, not {manifest.root_digest}",
            f"move {target} away and try again",
        )
