"""Generations: writing a boot configuration, and making it the one that clients get by one rename."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from builder.errors import AuditError, InputError
from builder.loaders.table import MENU_DIRECTORIES, loader_of
from builder.model.generation import Generation
from builder.model.version import Version
from builder.store.layout import GENERATIONS, TEMPORARY, Store
from builder.system.files import make_directory, sha256_of, swap_symlink, sync_directory

GENERATION = "generation.json"


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
        raise AuditError(
            f"{store.current} points at {target!r}, which is not a generation", "diskless made no such link"
        )
    return int(name)


def read_generation(store: Store, number: int) -> Generation:
    """A generation; AuditError where it cannot be read."""
    path = store.generations / f"{number:06}" / GENERATION
    try:
        return Generation.from_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise AuditError(
            f"{path}: {error}",
            f"make {store.current} point at an older generation: ln -sfnT {GENERATIONS}/NUMBER {store.current}",
        ) from error


def active_generation(store: Store) -> Generation | None:
    """What clients boot now; None before the first deploy."""
    number = current_number(store)
    return read_generation(store, number) if number else None


def history(store: Store) -> list[Generation]:
    """The active generation and every older one that can be read, newest first."""
    current = current_number(store)
    found = [read_generation(store, current)] if current else []
    for number in reversed(generation_numbers(store)):
        with contextlib.suppress(AuditError):
            if number < current:
                found.append(read_generation(store, number))
    return found


def superseded_numbers(store: Store) -> list[int]:
    """Generations of which all that was active was active in a newer one: nothing is lost without them.

    Never the active one, nor the one before it, which says what was changed last.
    """
    found: list[int] = []
    seen: set[tuple[str, str]] = set()
    for position, generation in enumerate(history(store)):
        active = set(generation.active.items())
        if position > 1 and active <= seen:
            found.append(generation.number)
        seen |= active
    return found


def naming_generation(store: Store, image: str, version: Version) -> int:
    """The number of the first generation whose menus name a version; one more than the newest where none does."""
    word = f" {image}/{version}"
    for number in generation_numbers(store):
        directory = store.generations / f"{number:06}"
        menus = (path for name in MENU_DIRECTORIES for path in sorted((directory / name).glob("*")) if path.is_file())
        if any(word in path.read_text("utf-8", "replace") for path in menus):
            return number
    return next_number(store)


def previous_boot_name(store: Store, image: str) -> str | None:
    """What was active of an image before what is active now."""
    names = [generation.active[image] for generation in history(store) if image in generation.active]
    there = {str(name) for name in store.boot_names(image)}
    return next((name for name in names if name != names[0] and name in there), None)


def commit(store: Store, generation: Generation, menus: Mapping[str, str]) -> None:
    """Writes a generation and makes it the active one: after the rename of `current`, and not before, it is served.

    `menus` are the loaders' menus by path. Everything that they name must be on disk by now.
    """
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=store.generations))
    temporary.chmod(0o755)  # mkdtemp made it 0700, and TFTP servers run as others
    directories = {(temporary / path).parent for path in menus}
    for directory in sorted(directories):
        make_directory(directory, 0o755)
    for path, text in menus.items():
        _write(temporary / path, text)
    _write(temporary / GENERATION, generation.to_json())
    for directory in (*sorted(directories), temporary):
        sync_directory(directory)
    name = f"{generation.number:06}"
    temporary.rename(store.generations / name)
    sync_directory(store.generations)
    swap_symlink(store.current, f"{GENERATIONS}/{name}")


def is_served(store: Store, wanted: Generation, active: Generation) -> bool:
    """Whether clients get just what `wanted` would give them."""
    same = (wanted.active, wanted.default, wanted.server, wanted.menus)
    return same == (active.active, active.default, active.server, active.menus) and not damaged_menus(store, active)


def damaged_menus(store: Store, generation: Generation) -> list[str]:
    """The paths of a generation's menus that are missing, or not as they were written."""
    directory = store.generations / f"{generation.number:06}"
    return [
        path
        for path, sha256 in generation.menus.items()
        if not (directory / path).is_file() or sha256_of(directory / path) != sha256
    ]


def served_menus(store: Store) -> list[tuple[str, str]]:
    """What lies in the directories that the loaders read their menus from: path below the TFTP root, and text."""
    paths = [path for name in MENU_DIRECTORIES for path in sorted((store.boot / name).glob("*")) if path.is_file()]
    return [(str(path.relative_to(store.boot)), path.read_text("utf-8", "replace")) for path in paths]


def missing_boot_files(store: Store) -> list[tuple[str, str]]:
    """What the menus name and is not there: the path of a menu and of the file, both below the TFTP root."""
    return [
        (path, name)
        for path, text in served_menus(store)
        for name in sorted({name for entry in loader_of(path).parse(text) for name in (entry.kernel, entry.initramfs)})
        if not (store.boot / name).is_file()
    ]


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
