"""Finding and reading the versions that builds left under output/."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from builder.errors import AuditError, InputError
from builder.model.artifacts.manifest import MANIFEST, Artifact, Manifest
from builder.model.version import VERSION
from builder.output.given import (
    VERSION_HINT,
    hold_version,
    may_not_read,
    open_given,
    read_given,
    resolve_version,
    size_of_given,
)
from builder.system.files import sha256_of_first
from builder.system.guarded.held import HeldDirectory

LATEST = "latest"
_COPY_AGAIN = "it was changed or not copied whole: copy it again, or build it again"
_NOT_READ = "it was damaged, or is of a newer diskless: bring the version here again, or use that one"


def read_manifest(version: Path) -> Manifest:
    """The manifest of a version directory; InputError where there is none, else as `parse_manifest`."""
    with hold_version(version) as held:
        return manifest_in(held)


def manifest_in(version: HeldDirectory) -> Manifest:
    """The same of a version directory that is open."""
    return parse_manifest(manifest_bytes(version), str(version.path / MANIFEST))


def manifest_bytes(version: HeldDirectory) -> bytes:
    """What stands in the manifest of a version directory; InputError where there is none."""
    if not version.kind(MANIFEST):
        raise InputError(f"{version.path} is not a version of an image: it has no {MANIFEST}", VERSION_HINT)
    return read_given(version, MANIFEST)


def parse_manifest(data: bytes, name: str) -> Manifest:
    """The manifest that `data` is, found at `name`; AuditError when this program cannot read it as one."""
    try:
        return Manifest.from_json(data.decode("utf-8"))
    except ValueError as error:
        raise AuditError(f"{name}: {error}", _NOT_READ) from error


def _name_latest(output: Path) -> tuple[Path, Path]:
    """The newest version of the only image below `output`; InputError when there is none, or more than one image."""
    found = [output / image / LATEST for image in _images(output)]
    if not found:
        raise InputError(f"{output} holds no version of an image", "diskless build RECIPE makes one; or name another")
    if len(found) > 1:
        raise InputError(f"{output} holds several images", f"name one of: {', '.join(map(str, found))}")
    return found[0], resolve_version(found[0])


def find_version(target: str | None, output: Path) -> Path:
    """A version's directory: `target` is its path, its name, or that of an image below `output`; None: the newest
    version of the only image there.

    InputError where there is none, or a link of another user's leads to it; HostError where it may not be read.
    """
    return name_version(target, output)[1]


def name_version(target: str | None, output: Path) -> tuple[Path, Path]:
    """The name that `find_version` finds a version by, and its directory; errors as of that."""
    if target is None:
        return _name_latest(output)
    names = _images(output)
    named = [output / image / target for image in names] if VERSION.accepts(target) else []
    for path in (Path(target), Path(target) / LATEST, output / target / LATEST, *named):
        real = _real_version(path)
        if real is not None:
            return path, real
    raise InputError(
        f"{target} is not a version of an image, nor an image below {output}",
        f"images there: {', '.join(names) or 'none'}; {VERSION_HINT}",
    )


def _images(output: Path) -> list[str]:
    """The names of the images that have a newest version, sorted; HostError where this user may not look."""
    try:
        entries = sorted(output.iterdir())
    except PermissionError as error:
        raise may_not_read(output) from error
    except OSError:
        return []
    found, closed = [], None
    for path in entries:
        try:
            (path / LATEST).lstat()
            found.append(path.name)
        except PermissionError:
            closed = path
        except OSError:
            continue
    if closed is not None and not found:
        raise may_not_read(closed)
    return found


def _real_version(path: Path) -> Path | None:
    try:
        real = resolve_version(path)
        (real / MANIFEST).lstat()
    except PermissionError as error:
        raise may_not_read(path) from error
    except (OSError, ValueError):
        return None
    return real


def verify_artifacts(version: HeldDirectory, artifacts: Mapping[str, Artifact]) -> None:
    """AuditError when one of these artifacts of a manifest is not, byte for byte, what that says."""
    verify_sizes(version, artifacts)
    for name, artifact in artifacts.items():
        with open_given(version, name) as stream:
            digest = sha256_of_first(stream, artifact.size)
        if digest != artifact.sha256:
            message = f"{version.path / name} is not what {MANIFEST} says: SHA-256 {digest}, not {artifact.sha256}"
            raise AuditError(message, _COPY_AGAIN)


def verify_sizes(version: HeldDirectory, artifacts: Mapping[str, Artifact]) -> None:
    """AuditError when one of these artifacts of a manifest is not as long as that says."""
    for name, artifact in artifacts.items():
        size = size_of_given(version, name)
        if size != artifact.size:
            message = f"{version.path / name} has {size} bytes, {MANIFEST} says {artifact.size}"
            raise AuditError(message, _COPY_AGAIN)
