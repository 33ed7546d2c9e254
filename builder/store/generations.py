"""Generations: writing a boot configuration, and making it the one that clients get by one rename."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from builder.errors import AuditError, InputError
from builder.loaders.table import LOADER_FILES, MENU_DIRECTORIES, is_menu, loader_of
from builder.model.generation import Generation
from builder.model.version import Version
from builder.store.boot_files import copy_synced, hard_link
from builder.store.layout import CURRENT, GENERATIONS, TEMPORARY, Store
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
    word = f" {image}/{version}"  # of a label in every version's menus
    for number in generation_numbers(store):
        directory = store.generations / f"{number:06}"
        if any(word in text for _, text in _menus_below(directory)):
            return number
    return next_number(store)


def previous_boot_name(store: Store, image: str) -> str | None:
    """What was active of an image before what is active now."""
    names = [generation.active[image] for generation in history(store) if image in generation.active]
    there = {str(name) for name in store.boot_names(image)}
    return next((name for name in names if name != names[0] and name in there), None)


def commit(store: Store, generation: Generation, menus: Mapping[str, str], loaders: Mapping[str, Path]) -> None:
    """Writes a generation and makes it the active one: after the rename of `current`, and not before, it is served.

    `menus` are the loaders' menus by path, `loaders` the files that come with it. Everything that the menus name must
    be on disk by now.
    """
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=store.generations))
    temporary.chmod(0o755)  # mkdtemp made it 0700, and TFTP servers run as others
    directories = {(temporary / path).parent for path in (*menus, *loaders)}
    for directory in sorted(directories):
        make_directory(directory, 0o755)
    for path, text in menus.items():
        _write(temporary / path, text)
    for path, file in loaders.items():
        if not hard_link(file, temporary / path):
            copy_synced(file, temporary / path)
    _write(temporary / GENERATION, generation.to_json())
    for directory in (*sorted(directories), temporary):
        sync_directory(directory)
    name = f"{generation.number:06}"
    temporary.rename(store.generations / name)
    sync_directory(store.generations)
    _make_entrances(store, {path.partition("/")[0] for path in (*menus, *loaders)})
    swap_symlink(store.current, f"{GENERATIONS}/{name}")


def _make_entrances(store: Store, names: Iterable[str]) -> None:
    """The links to what comes with a generation; a store of 0.1 has that of PXELINUX alone.

    What an administrator put in the place of one stays, and `verify` names it.
    """
    missing = [name for name in sorted(names) if not os.path.lexists(store.boot / name)]
    for name in missing:
        (store.boot / name).symlink_to(f"{CURRENT}/{name}")
    if missing:
        sync_directory(store.boot)


def is_served(store: Store, wanted: Generation, active: Generation) -> bool:
    """Whether clients get just what `wanted` would give them."""
    same = (wanted.active, wanted.default, wanted.server, wanted.menus, wanted.loaders)
    now = (active.active, active.default, active.server, active.menus, active.loaders)
    return same == now and not damaged_files(store, active)


def damaged_files(store: Store, generation: Generation) -> list[str]:
    """The paths of a generation's menus and loaders that are missing, or not as they were written."""
    directory = store.generations / f"{generation.number:06}"
    return [
        path
        for path, sha256 in (*generation.menus.items(), *generation.loaders.items())
        if not (directory / path).is_file() or sha256_of(directory / path) != sha256
    ]


def served_menus(store: Store) -> list[tuple[str, str]]:
    """What lies in the directories that the loaders read their menus from: path below the TFTP root, and text."""
    return list(_menus_below(store.boot))


def served_loaders(store: Store) -> list[str]:
    """The loaders' own files that clients can fetch: paths below the TFTP root."""
    return [name for name in LOADER_FILES if (store.boot / name).is_file()]


def _menus_below(directory: Path) -> Iterator[tuple[str, str]]:
    """The menus of a generation, or of the TFTP root: path below it, and text."""
    for path in (path for name in MENU_DIRECTORIES for path in sorted((directory / name).glob("*"))):
        name = str(path.relative_to(directory))
        if is_menu(name) and path.is_file():
            yield name, path.read_text("utf-8", "replace")


def missing_boot_files(store: Store) -> list[tuple[str, str]]:
    """What the menus name and is not there: the path of a menu and of the file, both below the TFTP root."""
    return [
        (path, name)
        for path, text in served_menus(store)
        for name in sorted({name for entry in loader_of(path).parse(text) for name in entry.files})
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
