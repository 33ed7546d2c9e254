"""Which loader a recipe's word means, and what all of them have in common."""

from __future__ import annotations

from collections.abc import Iterable

from builder.loaders.base import BootFile, ClientArchitecture, Loader
from builder.loaders.pxelinux import Pxelinux
from builder.model.menu import Menu
from builder.model.recipe import DistributionName, LoaderName

LOADERS: dict[LoaderName, Loader] = {LoaderName.PXELINUX: Pxelinux()}

# every file that a TFTP root may hold of a loader
LOADER_FILES = tuple(name for loader in LOADERS.values() for name in loader.files)
MENU_DIRECTORIES = tuple(loader.directory for loader in LOADERS.values())
# the first loader of the table that serves an architecture is the one that DHCP names
BOOT_FILES: dict[ClientArchitecture, BootFile] = {
    architecture: file for loader in reversed(LOADERS.values()) for architecture, file in loader.boot_files.items()
}
# what firmware may ask for first, for those who read a TFTP server's log or an offer
FIRST_FILES = tuple(dict.fromkeys(name for file in BOOT_FILES.values() for name in (file.tftp, file.http)))


def chosen(names: Iterable[LoaderName]) -> tuple[Loader, ...]:
    """The loaders of these names, in the table's order."""
    wanted = set(names)
    return tuple(loader for name, loader in LOADERS.items() if name in wanted)


def packages(names: Iterable[LoaderName], distribution: DistributionName) -> dict[str, dict[str, str]]:
    """The packages of a distribution that bring these loaders: name in the bundle -> path, by package."""
    found: dict[str, dict[str, str]] = {}
    for loader in chosen(names):
        for package, files in loader.packages.get(distribution, {}).items():
            found.setdefault(package, {}).update(files)
    return found


def menu_files(menus: Iterable[Menu], loaders: Iterable[Loader]) -> dict[str, str]:
    """The text of every menu for every loader, by path below the TFTP root."""
    found = list(menus)
    return {
        f"{loader.directory}/{loader.menu_file(menu.client)}": loader.render(menu)
        for loader in loaders
        for menu in found
    }


def loader_of(path: str) -> Loader:
    """Whose menu lies at a path below the TFTP root; KeyError for anything else."""
    return {loader.directory: loader for loader in LOADERS.values()}[path.partition("/")[0]]
