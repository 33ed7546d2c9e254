"""Which loaders come with a generation: those of the versions that clients boot, and of two of a kind the newer.

A newer shim or GRUB, as a revocation asks for, comes with the deploy of a version that has it, and goes back with the
rollback.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.loaders.base import Loader
from builder.loaders.efi_program import read_efi_program
from builder.loaders.grub import GRUB_FILES, KERNEL_SIGNERS, Grub
from builder.loaders.table import LOADERS
from builder.model.artifacts.manifest import Manifest
from builder.model.generation import BootName, Generation
from builder.model.menu import KERNEL
from builder.model.package_versions.debian import VersionKey, version_key
from builder.model.recipe import Architecture, DistributionName, LoaderName
from builder.model.share import ServedStore
from builder.store.generations import current_number, served_loaders
from builder.store.inventory import Inventory
from builder.store.layout import Store

# of SBAT; upstream's own line of shim says 1 in every version
_COMPONENTS = ("grub.debian", "grub", "shim.debian")
_HTTP_SINCE = "2.12"  # GRUB's signed images have the module since then


@dataclass(frozen=True)
class ServedLoader:
    """A loader of one version that a generation has: its files by their path below the TFTP root."""

    loader: Loader
    manifest: Manifest
    files: dict[str, Path]

    @property
    def versions(self) -> dict[str, str]:
        """What each of its programs says that it is, GRUB before shim's; empty where one says nothing, as of iPXE."""
        there = {path: program_version(file) for path, file in self.files.items()}
        return {path: there.get(path, "") for path in sorted(self.loader.files)}


def loaders_to_serve(inventory: Inventory, active: Sequence[Manifest]) -> tuple[ServedLoader, ...]:
    """One of each loader and architecture that comes with a generation.

    `active` are the versions that clients boot, that of unknown clients first. Where none of them has a loader that
    another version in the store has, that one's is served: its clients' firmware may know no other way.
    """
    there = inventory.manifests
    found = []
    for loader in LOADERS.values():
        for architecture in Architecture:
            own = [one for group in (active, there) if (one := _newest(inventory.store, loader, architecture, group))]
            found += own[:1]
    return tuple(found)


def _newest(
    store: Store, loader: Loader, architecture: Architecture, manifests: Iterable[Manifest]
) -> ServedLoader | None:
    candidates = [
        ServedLoader(loader, manifest, files)
        for manifest in manifests
        if manifest.architecture is architecture and (files := brought_files(store, manifest, loader))
    ]
    return max(candidates, key=_age, default=None)


def _age(served: ServedLoader) -> list[VersionKey]:
    return [version_key(version) for version in served.versions.values()]


def brought_files(store: Store, manifest: Manifest, loader: Loader) -> dict[str, Path]:
    """The files of a loader that comes with a generation, in one version; none where that does not have it."""
    if not loader.with_generation or loader.name not in manifest.loaders:
        return {}
    boot = store.version(manifest.image, manifest.version) / "boot"
    return {name: boot / name for name in loader.files if (boot / name).is_file()}


def program_version(path: Path) -> str:
    """The version of GRUB or of shim and its helpers in a file; empty where it is something else."""
    try:
        program = read_efi_program(path.read_bytes())
    except OSError:
        return ""
    found = map(program.version_of, _COMPONENTS) if program else ()
    return next(filter(None, found), "")


def read_served_store(store: Store, *, rw: bool) -> ServedStore:
    """A store as its servers' texts name it, with the loaders that clients can fetch now."""
    shares = store.record.exported(rw=rw)
    if current_number(store) == 0:
        return ServedStore(str(store.root), shares)
    there = tuple(served_loaders(store))
    grub = {name for file in LOADERS[LoaderName.GRUB].boot_files.values() for name in (file.tftp, file.http)}
    version = next(filter(None, (program_version(store.boot / name) for name in there if name in GRUB_FILES)), "")
    old = bool(version) and version_key(version) < version_key(_HTTP_SINCE)
    return ServedStore(str(store.root), shares, there, tuple(name for name in there if old and name in grub))


def served_shims(store: Store) -> dict[str, tuple[int, ...]]:
    """Each shim that clients can fetch, and the years of Microsoft's authorities that signed it."""
    found = {}
    for name in served_loaders(store):
        program = read_efi_program((store.boot / name).read_bytes()) if name.startswith("shim") else None
        if program is not None:
            found[name] = program.authorities
    return found


def goes_over_http(served: Iterable[ServedLoader]) -> bool:
    """Whether the GRUB that is served fetches kernels over HTTP wherever it came from."""
    versions = [program_version(file) for one in served for path, file in one.files.items() if path in GRUB_FILES]
    return bool(versions) and all(version_key(version) >= version_key(_HTTP_SINCE) for version in versions)


def is_verified(store: Store, manifest: Manifest, boot: BootName, served: Iterable[ServedLoader]) -> bool:
    """Whether GRUB takes a kernel under Secure Boot, by who signed it; True where there is no GRUB to ask."""
    own = [one for one in served if isinstance(one.loader, Grub) and one.manifest.architecture is manifest.architecture]
    return all(_is_signed(store, manifest, boot, one.manifest.distribution) for one in own)


def _is_signed(store: Store, manifest: Manifest, boot: BootName, distribution: DistributionName) -> bool:
    signer = KERNEL_SIGNERS.get(distribution)
    try:
        program = read_efi_program((store.boot_files(manifest.image, boot) / KERNEL).read_bytes())
    except OSError:
        return False
    return signer is not None and program is not None and program.is_signed_by(signer)


def is_refused(store: Store, label: str) -> bool:
    """Whether the active menus of GRUB offer what has this label only where Secure Boot is off."""
    grub = LOADERS[LoaderName.GRUB]
    directory = store.boot / grub.directory
    everybodys = directory / grub.menu_file(None)
    # everybody's may have no image: the first that names it, then
    for menu in (everybodys, *sorted(set(directory.glob("*.cfg")) - {everybodys})):
        text = menu.read_text("utf-8", "replace") if menu.is_file() else ""
        offered = [entry.signed for entry in grub.parse(text) if entry.label == label]
        if offered:
            return not offered[0]
    return False


def outdated(inventory: Inventory, generation: Generation) -> Iterator[tuple[str, str]]:
    """Loaders that clients get older than some version in the store has: the path, and what is so."""
    store = inventory.store
    for path in generation.loaders:
        now = program_version(store.boot / path)
        for manifest in inventory.manifests if now else ():
            own = program_version(store.version(manifest.image, manifest.version) / "boot" / path)
            if version_key(own) > version_key(now) and own:
                yield path, f"is {now}, and {manifest.image} {manifest.version} has {own}: activate it, or deploy anew"
