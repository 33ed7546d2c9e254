"""Generations: writing a boot configuration, and making it the one that clients get by one rename."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from builder.errors import AuditError, InputError
from builder.model.generation import Generation
from builder.store.layout import GENERATIONS, PXELINUX_DIRECTORY, TEMPORARY, Store
from builder.system.files import swap_symlink, sync_directory

_FILE = "generation.json"


def generation_numbers(store: Store) -> list[int]:
    """All that are there, ascending."""
    return sorted(int(path.name) for path in store.generations.iterdir() if path.name.isdigit() and path.is_dir())


def current_number(store: Store) -> int:
    """The number of the active generation; 0 before the first."""
    try:
        target = str(store.current.readlink())
    except FileNotFoundError:
        return 0
    name = target.rpartition("/")[2]
    if target != f"{GENERATIONS}/{name}" or not name.isdigit():
        raise AuditError(f"{store.current} points at {target!r}, which is no generation", "diskless made no such link")
    return int(name)


def read_generation(store: Store, number: int) -> Generation:
    """A generation; AuditError where it cannot be read."""
    path = store.generations / f"{number:06}" / _FILE
    try:
        return Generation.from_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise AuditError(f"{path}: {error}", "roll back to another version: that writes a new one") from error


def active_generation(store: Store) -> Generation | None:
    """What clients boot now; None before the first deploy."""
    number = current_number(store)
    return read_generation(store, number) if number else None


def history(store: Store) -> list[Generation]:
    """Every generation up to the active one, newest first."""
    current = current_number(store)
    return [read_generation(store, number) for number in reversed(generation_numbers(store)) if number <= current]


def previous_boot_name(store: Store, image: str) -> str | None:
    """What was active of an image before what is active now."""
    names = [generation.active[image] for generation in history(store) if image in generation.active]
    return next((name for name in names if name != names[0]), None)


def commit(store: Store, generation: Generation, menus: Mapping[str, str]) -> None:
    """Writes a generation and makes it the active one: after the rename of `current`, and not before, it is served.

    `menus` are the files of its pxelinux.cfg/. Everything that they name must be on disk by now.
    """
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=store.generations))
    configuration = temporary / PXELINUX_DIRECTORY
    configuration.mkdir()
    for name, text in menus.items():
        _write(configuration / name, text)
    _write(temporary / _FILE, generation.to_json())
    for directory in (configuration, temporary):
        directory.chmod(0o755)  # mkdtemp made it 0700, and TFTP servers run as others
        sync_directory(directory)
    name = f"{generation.number:06}"
    temporary.rename(store.generations / name)
    sync_directory(store.generations)
    swap_symlink(store.current, f"{GENERATIONS}/{name}")


def next_number(store: Store) -> int:
    """The number of the generation to come."""
    return max([0, *generation_numbers(store)]) + 1


def require_active(store: Store) -> Generation:
    """What clients boot now; InputError before the first deploy."""
    generation = active_generation(store)
    if generation is None:
        raise InputError(f"nothing is deployed to {store.root} yet", f"diskless deploy --to {store.root}")
    return generation


def _write(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())
