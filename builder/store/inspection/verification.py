"""Whether a store is what it says: boot files, menus, manifests and roots against each other."""

from __future__ import annotations

import enum
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.archive.unpack import read_index
from builder.errors import AuditError, DisklessError, HostError
from builder.loaders.table import LASTING_FILES
from builder.model.artifacts.index import Index
from builder.model.artifacts.manifest import INDEX, Manifest
from builder.model.generation import BootName, Generation
from builder.model.menu import INITRAMFS, KERNEL
from builder.model.recipe import RootMode
from builder.model.version import VERSION, Version
from builder.output.trust import SignerTrust
from builder.store.activation import check_agreement
from builder.store.arrival.signatures import signer_of
from builder.store.boot_files import bundle_digests
from builder.store.generations import (
    damaged_files,
    generation_numbers,
    history,
    missing_boot_files,
    require_active,
)
from builder.store.inspection.differences import compare_tree, shown
from builder.store.inspection.remarks import closed_parents
from builder.store.inventory import Inventory, read_inventory
from builder.store.layout import CURRENT, GENERATIONS, Store, require_mounted
from builder.store.reaching import hold_root, is_missing, obstacle
from builder.store.served_loaders import outdated
from builder.system.files import sha256_of

# where something is wrong that is not a version's
EXPORTS, FILE_SYSTEMS = "exports", "file systems"
OnVersion = Callable[[str], None]


class Severity(enum.StrEnum):
    """How bad a finding is; only the first is a fault.

    The others: what clients of a read-write root did, which is their right; a signature that was not checked; a loader
    that is older than another one in the store.
    """

    FAULT = "fault"
    CHANGED = "changed by clients"
    UNCHECKED = "unchecked"
    OLDER = "older loader"


@dataclass(frozen=True)
class Discrepancy:
    """Something that is not as it was deployed: where, what, and lines of detail."""

    kind: Severity
    where: str
    message: str
    details: tuple[str, ...] = ()


def verify(
    store: Store, *, deep: bool = False, trust: SignerTrust | None = None, on_version: OnVersion = lambda name: None
) -> list[Discrepancy]:
    """Everything that is wrong, and what clients changed; `deep` reads every file of every version.

    trust: whom the site believes; None: signatures are not looked at
    """
    findings = [*_exports(store), *_leading_out(store)]
    try:
        require_mounted(store)
    except HostError as error:
        # every root would seem to be missing
        return [*findings, Discrepancy(Severity.FAULT, FILE_SYSTEMS, error.message)]
    inventory = read_inventory(store)
    for image, version in inventory.found:
        on_version(f"{image} {version}")
        try:
            findings += _version(inventory, image, version, deep=deep)
            findings += [] if trust is None else _signature(inventory, image, version, trust)
        except DisklessError as error:
            findings.append(Discrepancy(Severity.FAULT, f"{image} {version}", error.message))
    return [*findings, *_strays(inventory), *_generations(inventory)]


def _exports(store: Store) -> Iterator[Discrepancy]:
    fault = store.record.fault(str(store.root))
    if fault is not None:
        yield Discrepancy(Severity.FAULT, EXPORTS, fault)


def _strays(inventory: Inventory) -> Iterator[Discrepancy]:
    """Roots of versions that are not in the store: its disk was restored, or lost what another one has."""
    store = inventory.store
    for place in (top / image for top in store.root_tops if top != store.versions for image in _below(store, top)):
        for name in _below(store, place):
            if VERSION.accepts(name) and (place.name, name) not in inventory.found:
                message = "has a root of a version that is not in the store: look what is in it, then remove it"
                yield Discrepancy(Severity.FAULT, str(place / name), message)


def _below(store: Store, path: Path) -> list[str]:
    """The directories in one of the store; none where a client made something else of it."""
    try:
        with store.hold(path) as held:
            return held.directories()
    except OSError:
        return []


def _version(inventory: Inventory, image: str, version: Version, *, deep: bool) -> Iterator[Discrepancy]:
    store, manifest = inventory.store, inventory.require(image, version)
    where = f"{image} {version}"
    if (manifest.image, manifest.version) != (image, version):
        yield Discrepancy(Severity.FAULT, where, f"holds the manifest of {manifest.image} {manifest.version}")
        return
    index = _index(store, manifest)
    yield from _boot_files(store, manifest, index)
    yield from _root(store, manifest, index, deep=deep)


def _signature(inventory: Inventory, image: str, version: Version, trust: SignerTrust) -> Iterator[Discrepancy]:
    if signer_of(inventory.store, inventory.require(image, version), trust) is None:
        message = "came in without a signature, as all did with 0.1: nobody says that it is what was built"
        yield Discrepancy(Severity.UNCHECKED, f"{image} {version}", message)


def _index(store: Store, manifest: Manifest) -> Index:
    """AuditError where it is not the manifest's."""

    def check(sha256: str) -> None:
        if sha256 != manifest.artifacts[INDEX].sha256:
            raise AuditError(f"{INDEX} is not what the manifest says", "deploy the version again, after pruning it")

    return read_index(store.version(manifest.image, manifest.version) / INDEX, check)


def _boot_files(store: Store, manifest: Manifest, index: Index) -> Iterator[Discrepancy]:
    where = f"{manifest.image} {manifest.version}"
    digests = bundle_digests(store.version(manifest.image, manifest.version) / "boot")
    if manifest.digest_of(index.files, digests) != manifest.root_digest:
        message = "its boot/, or what its manifest lets menus say, is not as it was built"
        yield Discrepancy(Severity.FAULT, where, message)
    served = store.boot_files(manifest.image, BootName(manifest.version))
    for name in (KERNEL, INITRAMFS):
        path = served / name
        if not path.is_file():
            yield Discrepancy(Severity.FAULT, where, f"{path} is missing")
        elif sha256_of(path) != digests.get(name):
            yield Discrepancy(Severity.FAULT, where, f"{path} is not the version's")
        elif path.stat().st_mode & 0o444 != 0o444:
            yield Discrepancy(Severity.FAULT, where, f"{path} is not readable for TFTP servers")


def _root(store: Store, manifest: Manifest, index: Index, *, deep: bool) -> Iterator[Discrepancy]:
    is_writable = manifest.root.mode is RootMode.RW
    root = store.root_of(manifest)
    amiss = obstacle(store, root)
    if amiss is not None and is_missing(store, root):
        yield Discrepancy(Severity.FAULT, f"{manifest.image} {manifest.version}", f"{root} is missing")
        return
    if amiss is not None:
        yield Discrepancy(Severity.FAULT, str(amiss[0]), f"{amiss[1]}: nothing below it was looked at")
        return
    with hold_root(store, manifest) as held:
        found = compare_tree(held, index, deep=deep, times_of_directories=not is_writable)
    if found:
        lines = found.lines()
        kind = Severity.CHANGED if is_writable else Severity.FAULT
        message = f"{len(lines)} paths of {root} are not as they were deployed"
        yield Discrepancy(kind, f"{manifest.image} {manifest.version}", message, tuple(shown(lines)))


def _generations(inventory: Inventory) -> Iterator[Discrepancy]:
    store = inventory.store
    try:
        current = require_active(store)
        generations = history(store)
    except DisklessError as error:
        yield Discrepancy(Severity.FAULT, "generations", error.message)
        return
    for number in set(generation_numbers(store)) - {generation.number for generation in generations}:
        yield Discrepancy(Severity.FAULT, f"generation {number}", "cannot be read; it is not what clients boot")
    for image, name in current.active.items():
        boot = BootName.parse(name)
        try:
            manifest = inventory.require(image, boot.version)
            if obstacle(store, store.root_of(manifest)) is None:  # else it was named above
                check_agreement(store, manifest, boot)
        except (DisklessError, OSError) as error:
            yield Discrepancy(Severity.FAULT, f"{image} {name}", str(error))
    yield from _entrances(store, current)
    yield from _menus(store, current)
    for path, message in outdated(inventory, current):
        yield Discrepancy(Severity.OLDER, path, message)


def _entrances(store: Store, current: Generation) -> Iterator[Discrepancy]:
    """What a client asks for first: loaders and the way to the menus."""
    for closed in closed_parents(store.boot):
        message = f"TFTP and web servers, which give root up, cannot enter it: chmod o+x {shlex.quote(str(closed))}"
        yield Discrepancy(Severity.FAULT, str(closed), message)
    for name in sorted({path.partition("/")[0] for path in (*current.menus, *current.loaders)}):
        link = store.boot / name
        if not link.is_symlink() or str(link.readlink()) != f"{CURRENT}/{name}":
            yield Discrepancy(Severity.FAULT, str(link), f"leads elsewhere than to {CURRENT}/{name}")
    boot = [
        store.version(image, BootName.parse(name).version) / "boot" / loader
        for image, name in current.active.items()
        for loader in LASTING_FILES
    ]
    for loader in sorted({path.name for path in boot if path.exists()}):
        served = store.boot / loader
        if not served.is_file() or served.stat().st_mode & 0o444 != 0o444:
            yield Discrepancy(Severity.FAULT, str(served), "is missing, or not readable for TFTP servers")


def _menus(store: Store, current: Generation) -> Iterator[Discrepancy]:
    """The active menus are as they were written, and what they name is there."""
    for name in damaged_files(store, current):
        yield Discrepancy(Severity.FAULT, f"{GENERATIONS}: {name}", "is missing, or is not as it was written")
    for path, name in missing_boot_files(store):
        yield Discrepancy(Severity.FAULT, f"{GENERATIONS}: {path}", f"names {name}, which is not there")


def _leading_out(store: Store) -> Iterator[Discrepancy]:
    """Links below boot/ that lead out of it: dnsmasq would follow them and serve what they name."""
    top = store.boot.resolve()
    for path in sorted(store.boot.rglob("*")):
        if path.is_symlink() and not path.resolve().is_relative_to(top):
            yield Discrepancy(Severity.FAULT, str(path), f"leads out of {store.boot}, to {path.readlink()}")
