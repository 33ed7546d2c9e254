"""What is written below --output: kept from others, in directories that others can lead nowhere else."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

from builder.errors import AuditError, InputError
from builder.model.artifacts.manifest import Manifest
from builder.model.version import VERSION
from builder.output.versions import LATEST, manifest_in
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.owners import readers
from builder.system.guarded.private import (
    FILE_MODE,
    Tell,
    keep_private,
    outer_directory,
    own_directory,
)
from builder.system.workspace import WORK

FAILED_LOG = "failed-build.log"
# what pulls saw of channels, in the directory of all images; an older release kept it in that of each
CHANNEL_MEMORY = ".channels.json"
_OURS = {WORK, CHANNEL_MEMORY, ".hosts", ".gitkeep", ".gitignore"}


def hold_output(output: Path, tell: Tell) -> HeldDirectory:
    """The directory of all images."""
    return outer_directory(output, tell, _is_output)


def hold_image(output: Path, image: str, tell: Tell) -> HeldDirectory:
    """The directory of an image's versions; what releases left open to others in it is closed."""
    with hold_output(output, tell) as outer:
        held = own_directory(outer, image, tell)
    keep_private(held, tell)
    return held


def hold_work(output: Path, tell: Tell) -> HeldDirectory:
    """The directory of work directories, on the same file system."""
    with hold_output(output, tell) as outer:
        return own_directory(outer, WORK, tell, 0o700)


def publish_version(artifacts: Path, image: HeldDirectory, manifest: Manifest) -> tuple[Path, bool]:
    """Gives a finished directory its name, IMAGE/VERSION, and lets latest point there: the directory, and whether it
    was there already, in which case it stays as it is. AuditError where it is another version with this name.
    """
    unchanged = bool(image.kind(manifest.version))
    if unchanged:
        _check_same(image, manifest)
    else:
        group = _group_of(image)
        with HeldDirectory.at(artifacts.parent.resolve()) as work, work.enter(artifacts.name) as made:
            for name in made.names():
                made.protect(name, ~FILE_MODE & 0o777, group)
            os.fchown(made.handle, -1, group)
            os.fchmod(made.handle, stat.S_IMODE(os.fstat(image.handle).st_mode))
            made.sync()
            work.rename(artifacts.name, image, manifest.version)
        image.sync()
    image.point(LATEST, manifest.version)
    return image.path / manifest.version, unchanged


def keep_failed_log(image: HeldDirectory, log: Path) -> Path:
    """Keeps the log of a build that failed; where it is."""
    with log.open("rb") as file:
        image.write(FAILED_LOG, file, FILE_MODE, readers())
    return image.path / FAILED_LOG


def write_output(directory: HeldDirectory, name: str, content: bytes) -> None:
    """Writes a file beside the artifacts of a version, whole or not at all."""
    directory.write(name, io.BytesIO(content), FILE_MODE, readers())


def _group_of(image: HeldDirectory) -> int:
    """Whose the files of a new version are besides: who called sudo, else the group that the directory hands down."""
    own, info = readers(), os.fstat(image.handle)
    if own != -1 or not info.st_mode & stat.S_ISGID:
        return own
    return info.st_gid if os.geteuid() == 0 or info.st_gid in (os.getegid(), *os.getgroups()) else -1


def _is_output(held: HeldDirectory) -> bool:
    """Whether there is nothing in a directory but images of ours."""
    return all(name in _OURS or name.startswith(".tmp-") or _is_image(held, name) for name in held.names())


def _is_image(held: HeldDirectory, name: str) -> bool:
    try:
        with held.enter(name) as image:
            names = image.names()
    except OSError:
        return False
    return any(entry in (LATEST, FAILED_LOG) or VERSION.accepts(entry) for entry in names)


def _check_same(image: HeldDirectory, manifest: Manifest) -> None:
    target = image.path / manifest.version
    try:
        with image.enter(manifest.version) as held:
            there = manifest_in(held)
    except (OSError, InputError, AuditError) as error:
        message = error.message if isinstance(error, InputError | AuditError) else f"{target}: {error.strerror}"
        raise AuditError(message, f"move {target} away and try again") from error
    if there.root_digest != manifest.root_digest:
        raise AuditError(
            f"{target} is another version whose digest begins alike: {there.root_digest}, not {manifest.root_digest}",
            f"move {target} away and try again",
        )
