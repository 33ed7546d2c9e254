"""Which loader a recipe's word means, and what all of them have in common."""

from __future__ import annotations

from collections.abc import Iterable

from builder.loaders.base import ClientArchitecture, Loader
from builder.loaders.grub import Grub
from builder.loaders.ipxe import Ipxe
from builder.loaders.pxelinux import Pxelinux
from builder.model.menu import Menu
from builder.model.recipe import Architecture, DistributionName, LoaderName, Recipe

# where several serve an architecture the first is the one that DHCP names, if the site says nothing else
LOADERS: dict[LoaderName, Loader] = {
    LoaderName.PXELINUX: Pxelinux(),
    LoaderName.GRUB: Grub(),
    LoaderName.IPXE: Ipxe(),
}

# every file that a TFTP root may hold of a loader, and those that stay there from one generation to the next
LOADER_FILES = tuple(name for loader in LOADERS.values() for name in loader.files)
LASTING_FILES = tuple(name for loader in LOADERS.values() if not loader.with_generation for name in loader.files)
MENU_DIRECTORIES = tuple(loader.directory for loader in LOADERS.values())
# what firmware may ask for first, for those who read a TFTP server's log or an offer
FIRST_FILES = tuple(
    dict.fromkeys(
        name for loader in LOADERS.values() for file in loader.boot_files.values() for name in (file.tftp, file.http)
    )
)


def chosen(names: Iterable[LoaderName]) -> tuple[Loader, ...]:
    """The loaders of these names, in the table's order."""
    wanted = set(names)
    return tuple(loader for name, loader in LOADERS.items() if name in wanted)


def available(distribution: DistributionName, architecture: Architecture) -> tuple[Loader, ...]:
    """The loaders that a distribution has."""
    return tuple(loader for loader in LOADERS.values() if loader.packages(distribution, architecture))


def wanted(recipe: Recipe) -> tuple[Loader, ...]:
    """The loaders that a recipe names; left out: all that its distribution has."""
    if recipe.boot.loaders is None:
        return available(recipe.distribution.name, recipe.distribution.architecture)
    return chosen(recipe.boot.loaders)


def packages(loaders: Iterable[Loader], recipe: Recipe) -> dict[str, dict[str, str]]:
    """The packages of the recipe's distribution that bring these loaders: name in the bundle -> path, by package."""
    found: dict[str, dict[str, str]] = {}
    for loader in loaders:
        brought = loader.packages(recipe.distribution.name, recipe.distribution.architecture)
        for package, files in brought.items():
            found.setdefault(package, {}).update(files)
    return found


def menu_files(menus: Iterable[Menu], loaders: Iterable[Loader]) -> dict[str, str]:
    """The text of every menu for every loader, by path below the TFTP root."""
    found = list(menus)
    clients = [menu.client for menu in found if menu.client is not None]
    groups = {prefix: menu.group for menu in found if menu.group is not None for prefix in menu.prefixes}
    # the longest first: it is the one that means a client
    groups = dict(sorted(groups.items(), key=lambda item: -len(item[0])))
    texts = {}
    for loader in loaders:
        for menu in found:
            own = menu.client is not None or menu.group is not None
            text = loader.render(menu) if own else loader.render(menu, clients, groups)
            texts[f"{loader.directory}/{loader.menu_file(menu.client, menu.group)}"] = text
    return texts


def boot_file_loaders(architecture: ClientArchitecture) -> tuple[Loader, ...]:
    """The loaders that firmware of an architecture can start with."""
    return tuple(loader for loader in LOADERS.values() if architecture in loader.boot_files)


def is_menu(path: str) -> bool:
    """Whether a path below the TFTP root is that of a menu, and not of a loader's own file."""
    directory = path.partition("/")[0]
    return directory in MENU_DIRECTORIES and path not in LOADER_FILES


def loader_of(path: str) -> Loader:
    """Whose menu lies at a path below the TFTP root; KeyError for anything else."""
    return {loader.directory: loader for loader in LOADERS.values()}[path.partition("/")[0]]
