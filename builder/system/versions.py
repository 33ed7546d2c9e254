"""Finding and reading the versions that builds left under output/."""

from __future__ import annotations

import hashlib
from pathlib import Path

from builder.errors import AuditError, InputError
from builder.model.manifest import MANIFEST, Manifest

LATEST = "latest"
_HINT = "give OUTPUT/IMAGE/VERSION or OUTPUT/IMAGE/latest"


def read_manifest(version: Path) -> Manifest:
    """The manifest of a version directory; InputError when it is none."""
    try:
        return Manifest.from_json((version / MANIFEST).read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{version} is no version of an image: {MANIFEST}: {error.strerror}", _HINT) from error
    except ValueError as error:
        raise InputError(f"{version} is no version of an image: {error}", _HINT) from error


def find_latest(output: Path) -> Path:
    """The newest version of the only image below `output`; InputError when there is none, or more than one image."""
    found = sorted(link for link in output.glob(f"*/{LATEST}") if link.is_dir())
    if not found:
        raise InputError(f"{output} holds no version of an image", "diskless build RECIPE makes one; or name another")
    if len(found) > 1:
        raise InputError(f"{output} holds several images", f"name one of: {', '.join(map(str, found))}")
    return found[0]


def find_version(target: str | None, output: Path) -> Path:
    """A version's directory: `target` is its path or the name of an image below `output`; None as in find_latest."""
    if target is None:
        return find_latest(output)
    for path in (Path(target), output / target / LATEST):
        if (path / MANIFEST).is_file():
            return path.resolve()
    built = ", ".join(sorted(link.parent.name for link in output.glob(f"*/{LATEST}"))) or "none"
    raise InputError(
        f"{target} is no version of an image, nor an image below {output}", f"images there: {built}; {_HINT}"
    )


def verify_artifacts(version: Path, manifest: Manifest) -> None:
    """AuditError when an artifact is not, byte for byte, what the manifest says."""
    for name, artifact in manifest.artifacts.items():
        path = version / name
        try:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise AuditError(f"{path}: {error.strerror}", "copy the version again, whole, or build it again") from error
        if digest != artifact.sha256:
            hint = "it was changed or not copied whole: copy it again, or build it again"
            raise AuditError(f"{path} is not what {MANIFEST} says: SHA-256 {digest}, not {artifact.sha256}", hint)
