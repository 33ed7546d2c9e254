"""Changes what clients boot: deploy, rollback, refresh, prune. Each commits by one rename, or changes nothing."""

from __future__ import annotations

import contextlib
import itertools
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.archive.unpack import Unpacked, read_index
from builder.errors import AuditError, InputError
from builder.model.escapes import escaped
from builder.model.generation import BootName, Generation
from builder.model.manifest import INDEX, Manifest
from builder.model.recipe import RootMode
from builder.model.site import Site
from builder.model.version import Version
from builder.output.signature import verify_signature
from builder.output.source import Source
from builder.output.versions import read_manifest
from builder.progress.progress import Progress
from builder.reading import load_site
from builder.store.activation import activate, check_cmdline, missing_pins, site_of
from builder.store.boot_files import set_up_loaders
from builder.store.differences import Differences, compare
from builder.store.generations import active_generation, history, previous_boot_name, require_active
from builder.store.layout import Store, open_store
from builder.store.pruning import Decision, PruneOptions, decide
from builder.store.pruning import prune as remove_versions
from builder.store.recovery import recover
from builder.store.refresh import choose_kernel, take_kernel
from builder.store.staging import add_version, storable_manifest
from builder.store.usage import versions_in_use


@dataclass(frozen=True)
class DeployOptions:
    """How to deploy.

    server: this server's address, where the site does not say it or says another
    activate: whether clients boot it next; without, it is in the menus, for a client that the site pins to it
    keep: how many versions of the image to keep; None: prune nothing
    trust: an ALLOWED_SIGNERS file, instead of the site's; what none of them signed is refused
    """

    server: str | None = None
    activate: bool = True
    replace_loaders: bool = False
    keep: int | None = None
    trust: Path | None = None


@dataclass(frozen=True)
class Replaced:
    """A read-write root that clients do not boot any more, and what they changed in it since it was deployed."""

    version: Version
    root: Path
    differences: Differences


@dataclass(frozen=True)
class Deployed:
    """What a deploy did.

    before: the version that clients booted until now, if it was another one
    unpacked: None where the version was there already
    """

    manifest: Manifest
    before: Manifest | None
    root: Path
    generation: Generation
    unpacked: Unpacked | None
    replaced: Replaced | None
    pruned: tuple[Decision, ...]


def deploy(source: Source, root: Path, options: DeployOptions, progress: Progress) -> Deployed:
    """Brings a version into the store at `root` and lets clients boot it next; running clients are not disturbed."""
    with _opened(root, progress, create=True) as store:
        site = load_site_of(store, options.server)
        _warn_of_another_server(store, options.server, progress)
        data = source.manifest()
        trust = options.trust or (Path(site.trust) if site.trust else None)
        if trust is not None:
            verify_signature(data, source.signature(), trust)
        manifest = storable_manifest(source, data)
        check_cmdline(store, site, manifest)
        with progress.step("unpack"), progress.files("unpack", manifest.entries) as on_file:
            unpacked = add_version(store, source, data, on_file)
        with progress.step("activate"):
            if options.replace_loaders:
                set_up_loaders(store, manifest, replace=True)
            before = _before(store, manifest) if options.activate else None
            replaced = _replaced(store, before, progress)
            generation = _activate(store, site, manifest, options)
            _warn_of_pins(store, site, generation, progress)
        pruned = _prune_after(store, site, manifest, options)
        source.close()
        return Deployed(manifest, before, store.root_of(manifest), generation, unpacked, replaced, pruned)


def rollback(root: Path, image: str | None, version: str | None, progress: Progress) -> Generation:
    """Lets clients boot a version that is in the store: the one that was active before, or the one named."""
    with _opened(root, progress) as store:
        site = load_site_of(store, None)
        image = image or _only_or_last_changed(store)
        name = _named(store, image, version) if version else _previous(store, image)
        return activate(store, site, {image: name}, f"rollback {image} {name}")


def refresh(root: Path, image: str, kernel: str | None, progress: Progress) -> tuple[Generation, BootName] | None:
    """Serves the kernel that a client installed into the active read-write root; None where it is served already."""
    with _opened(root, progress) as store:
        site = load_site_of(store, None)
        active = require_active(store).boot_name(_known(store, image))
        if active is None:
            raise InputError(
                f"no version of {image} is active", f"diskless rollback --to {shlex.quote(str(root))} {image} VERSION"
            )
        manifest = read_manifest(store.version(image, active.version))
        if manifest.root.mode is not RootMode.RW:
            raise InputError(f"{image} has a read-only root: no client can have changed its kernel", "build it again")
        name = take_kernel(store, manifest, choose_kernel(store, manifest, kernel))
        if name == active:
            return None
        return activate(store, site, {image: name}, f"refresh {image} {name}"), name


def refresh_menus(root: Path, progress: Progress) -> Generation | None:
    """Writes the menus again, for what site.yml says now; None where they say it already."""
    with _opened(root, progress) as store:
        site = load_site_of(store, None)
        before = require_active(store)
        generation = activate(store, site, {}, "refresh the menus")
        _warn_of_pins(store, site, generation, progress)
        return generation if generation.number != before.number else None


def prune(root: Path, options: PruneOptions, progress: Progress, *, dry_run: bool = False) -> list[Decision]:
    """Removes versions that nobody needs; what was decided for each."""
    with _opened(root, progress) as store:
        site = load_site_of(store, None)
        decisions = decide(store, site, options, versions_in_use(store), int(time.time()))
        if not dry_run:
            remove_versions(store, site, decisions)
        return decisions


def load_site_of(store: Store, server: str | None) -> Site:
    """The settings of the server that a store is on."""
    written = load_site(store.site_file) if store.site_file.exists() else None
    return site_of(store, server, written)


@contextlib.contextmanager
def _opened(root: Path, progress: Progress, *, create: bool = False) -> Iterator[Store]:
    with open_store(root, progress.note, create=create) as store:
        for path in recover(store):
            progress.note(f"removed what an interrupted run left: {escaped(path)}")
        yield store


def _activate(store: Store, site: Site, manifest: Manifest, options: DeployOptions) -> Generation:
    before = active_generation(store)
    name = BootName(manifest.version)
    now = before.boot_name(manifest.image) if before else None
    if now is not None and now.version == manifest.version:
        name = now  # with the kernel that was refreshed meanwhile
    changes = {manifest.image: name} if options.activate or before is None else {}
    return activate(store, site, changes, f"deploy {manifest.image} {manifest.version}")


def _before(store: Store, manifest: Manifest) -> Manifest | None:
    """The version that clients boot until now, if it is another one."""
    active = active_generation(store)
    name = active.boot_name(manifest.image) if active else None
    if name is None or name.version == manifest.version:
        return None
    with contextlib.suppress(InputError, AuditError):
        return read_manifest(store.version(manifest.image, name.version))
    return None  # somebody removed or damaged it


def _replaced(store: Store, old: Manifest | None, progress: Progress) -> Replaced | None:
    """The read-write root of a version, with what clients have changed in it."""
    if old is None or old.root.mode is not RootMode.RW:
        return None
    found = Differences()
    try:
        index = read_index(store.version(old.image, old.version) / INDEX)
        found = compare(store.root_of(old), index, times_of_directories=False)
    except (AuditError, OSError) as error:
        progress.warn(f"what clients changed in {store.root_of(old)} is not known: {error}")
    return Replaced(old.version, store.root_of(old), found)


def _prune_after(store: Store, site: Site, manifest: Manifest, options: DeployOptions) -> tuple[Decision, ...]:
    if options.keep is None:
        return ()
    prune_options = PruneOptions(keep=options.keep)
    decisions = decide(store, site, prune_options, versions_in_use(store), int(time.time()))
    mine = [decision for decision in decisions if decision.image == manifest.image]
    remove_versions(store, site, mine)
    return tuple(mine)


def _warn_of_pins(store: Store, site: Site, generation: Generation, progress: Progress) -> None:
    for mac in missing_pins(store, site, generation):
        progress.warn(f"{store.site_file} pins {mac} to a version that is not in the store: it boots as others do")


def _warn_of_another_server(store: Store, server: str | None, progress: Progress) -> None:
    if server is not None and store.site_file.exists():
        written = load_site(store.site_file).server
        if written != server:
            progress.warn(f"{store.site_file} says server: {written}; --server {server} is for this deploy only")


def _known(store: Store, image: str) -> str:
    images = store.images()
    if image not in images:
        raise InputError(f"{store.root} has no image {image}", f"it has {', '.join(images) or 'none'}")
    return image


def _named(store: Store, image: str, version: str) -> BootName:
    names = store.boot_names(_known(store, image))
    for name in names:
        if str(name) == version:
            return name
    raise InputError(f"{store.root} has no {image} {version}", f"it has {', '.join(map(str, names))}")


def _previous(store: Store, image: str) -> BootName:
    name = previous_boot_name(store, _known(store, image))
    if name is None:
        names = ", ".join(map(str, store.boot_names(image)))
        raise InputError(f"no other version of {image} was active before", f"name one of: {names}")
    return BootName.parse(name)


def _only_or_last_changed(store: Store) -> str:
    """The image whose active version changed last."""
    generations = history(store)
    for newer, older in itertools.pairwise(generations):
        changed = [image for image in newer.active if newer.active[image] != older.active.get(image)]
        if changed:
            return changed[0]
    images = list(require_active(store).active)
    if len(images) > 1:
        raise InputError("nothing was changed that could be taken back", f"name an image: {', '.join(images)}")
    return images[0]
