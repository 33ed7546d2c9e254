"""RECIPE.lock, beside the recipe."""

from __future__ import annotations

from pathlib import Path

from builder.errors import InputError
from builder.model.artifacts.lock_file import LOCK_SUFFIX, LockFile

_MOST = 64 << 20  # bytes; a desktop's has three million
_AGAIN = "take it from version control, or remove it and make it anew: `diskless lock`"


def lock_path(recipe: Path) -> Path:
    """Where a recipe's lock lies: debian-nfs.lock for debian-nfs.yml."""
    return recipe.with_suffix(LOCK_SUFFIX)


def read_lock(recipe: Path) -> LockFile | None:
    """The lock of a recipe, None where it has none; InputError for what is none of ours."""
    path = lock_path(recipe)
    try:
        with path.open("rb") as file:
            data = file.read(_MOST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", "it has to be a file that you can read") from error
    if len(data) > _MOST:
        raise InputError(f"{path} is larger than any lock", _AGAIN)
    try:
        return LockFile.from_json(data.decode("utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not a lock: {error}", _AGAIN) from error


def load_lock(recipe: Path) -> LockFile:
    """The same, where there has to be one."""
    file = read_lock(recipe)
    if file is None:
        message = f"{recipe} has no lock: there is no {lock_path(recipe)}"
        raise InputError(message, f"`diskless lock {recipe}` makes one")
    return file
