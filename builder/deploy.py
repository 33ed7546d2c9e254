"""Changes what clients boot: deploy, rollback, adopt a kernel, menus, prune: each by one rename, or not at all."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from builder.archive.unpack import Unpacked, read_index
from builder.errors import AuditError, InputError
from builder.model.artifacts.manifest import INDEX, Manifest
from builder.model.generation import BootName, Generation
from builder.model.recipe import RootMode
from builder.model.site import Site
from builder.model.version import Version
from builder.output.approval import Approval, approve, other_than_channels
from builder.output.offer import Offer
from builder.output.source import MissingPartsError
from builder.progress.progress import Progress
from builder.reading import load_site
from builder.store.activation import activate, check_cmdline, site_of
from builder.store.arrival.admission import add_version, check_storable
from builder.store.arrival.channels import StoreMemory, trust_of
from builder.store.arrival.fetching import fetch_parts
from builder.store.arrival.signatures import Recheck, keep_signature
from builder.store.boot_files import set_up_loaders
from builder.store.choice import known_image, last_changed_image, named_version, previous_version
from builder.store.client_kernel import choose_kernel, take_kernel
from builder.store.generations import active_generation, require_active
from builder.store.inspection.differences import Differences, compare_tree
from builder.store.inspection.remarks import (
    warn_of_clock,
    warn_of_exports,
    warn_of_loaders,
    warn_of_pins,
    warn_of_place,
)
from builder.store.inspection.usage import versions_in_use
from builder.store.inventory import Inventory, read_inventory
from builder.store.layout import Store, check_changeable, find_store, look_at_store, open_store
from builder.store.pruning import Decision, PruneOptions, decide, remove_versions
from builder.store.reaching import hold_root
from builder.store.records.holds import Hold, Holds, read_holds, remember_holds
from builder.store.recovery import recover
from builder.store.reserve import Reserve, with_room
from builder.store.served_loaders import read_served_store
from builder.system.clock import read_moment

T = TypeVar("T")
_ROUNDS = 3  # of fetching what went meanwhile


@dataclass(frozen=True)
class DeployOptions:
    """How to deploy.

    server: this server's address, where the site does not say it or says another
    activate: whether clients boot it next; without, it is in the menus, for a client that the site pins to it
    keep: how many versions of the image to keep; None: prune nothing
    trust, revoked: an ALLOWED_SIGNERS file and a list of revoked keys, instead of the site's
    image: what the version must be of; None: of any
    allow_downgrade: whether an older statement of a channel is believed than one that was seen
    state: this machine's directory for what it has to remember outside of stores; None: it remembers nothing there
    """

    server: str | None = None
    activate: bool = True
    replace_loaders: bool = False
    keep: int | None = None
    trust: Path | None = None
    revoked: Path | None = None
    image: str | None = None
    allow_downgrade: bool = False
    state: Path | None = None


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
    approval: who signed it, and what its channel says; None where the site asks for no signature
    held: why clients do not boot it: somebody rolled back from it, and its channel says nothing new
    """

    manifest: Manifest
    before: Manifest | None
    root: Path
    generation: Generation
    unpacked: Unpacked | None
    replaced: Replaced | None
    pruned: tuple[Decision, ...]
    approval: Approval | None = None
    held: Hold | None = None


def deploy(offer: Offer, root: Path, options: DeployOptions, progress: Progress) -> Deployed:
    """Brings a version into the store at `root` and lets clients boot it next; running clients are not disturbed.

    What comes over a network comes before the store is locked, so that no other command waits for it. What turns out to
    be missing then, since the version that had it went meanwhile, is fetched when the lock was given back.
    """
    with offer.source.finished():
        _fetch_first(offer, root, options, progress)
        for _ in range(_ROUNDS):
            try:
                with offer.source.sealed():
                    return _deploy(offer, root, options, progress)
            except MissingPartsError as error:
                missing = error
            with progress.step("fetch"):
                offer.source.prepare(missing.artifacts, missing.frames)
        raise missing


def _fetch_first(offer: Offer, root: Path, options: DeployOptions, progress: Progress) -> None:
    """Fetches what the store lacks as it is now; errors as of `deploy`, before anything is fetched where possible."""
    if not offer.source.is_remote:
        return
    check_changeable(root, create=True)
    inventory = read_inventory(look_at_store(root))
    site = _site_for(inventory.store, options.server, Progress(quiet=True))
    _approved(offer, inventory.store, site, options, Progress(quiet=True))
    check_cmdline(inventory, site, offer.manifest)
    with progress.step("fetch"):
        fetch_parts(inventory, offer)


def _deploy(offer: Offer, root: Path, options: DeployOptions, progress: Progress) -> Deployed:
    manifest = offer.manifest
    with _opened_for_more(root, progress) as inventory:
        store = inventory.store
        warn_of_exports(inventory, manifest, progress)
        site = _site_for(store, options.server, progress)
        approval = _approved(offer, store, site, options, progress)
        check_storable(offer)  # its words go into a menu, if only to measure that
        check_cmdline(inventory, site, manifest)
        holds = read_holds(store.root)
        held = holds.holds(manifest.image, manifest.version) if offer.asked.tag is not None else None
        if held is not None:
            options = replace(options, activate=False)
        with progress.step("unpack"), progress.files("unpack", manifest.entries) as on_file:
            inventory, unpacked = add_version(inventory, offer, on_file)
        with progress.step("activate"):
            before_loaders = read_served_store(store, rw=False)
            if options.replace_loaders:
                set_up_loaders(store, manifest, replace=True)
            before = _before(inventory, manifest) if options.activate else None
            replaced = _replaced(store, before, progress)

            def finish(there: Inventory) -> Generation:
                if unpacked is None:
                    keep_signature(store, offer, None if approval is None else approval.trust)
                if approval is not None:
                    StoreMemory(store.root, options.state).write(approval.memory, progress.warn)
                    Recheck(approval.trust, progress.warn).others(there, manifest)
                generation = _activate(there, site, manifest, options)
                if options.activate:
                    remember_holds(store.root, holds.without(manifest.image), progress.warn)
                return generation

            if unpacked is None:  # as a rollback
                generation = with_room(store, lambda _: finish(recover(inventory).inventory), progress.note)
            else:
                generation = finish(inventory)
            warn_of_place(store, progress)
            warn_of_pins(inventory, site, generation, progress)
            warn_of_loaders(store, site, before_loaders, manifest, progress)
            warn_of_clock(store, generation, progress)
        pruned = _prune_after(inventory, site, manifest, options)
        return Deployed(
            manifest, before, store.root_of(manifest), generation, unpacked, replaced, pruned, approval, held
        )


def _approved(offer: Offer, store: Store, site: Site, options: DeployOptions, progress: Progress) -> Approval | None:
    """That the version may come in, said and remembered; None where nobody asks. AuditError where it may not."""
    if options.image is not None and offer.manifest.image != options.image:
        message = f"{offer.source.name} is of the image {offer.manifest.image}, not {options.image}"
        raise AuditError(message, "check the reference, and ask who can write there")
    trust = trust_of(site, options.trust, options.revoked)
    if trust is None:
        return None
    memory = StoreMemory(store.root, options.state)
    downgrade = options.allow_downgrade
    approval = approve(offer, trust, memory.read(), read_moment(), allow_downgrade=downgrade)
    for text in approval.notes:
        progress.note(text)
    for text in approval.warnings:
        progress.warn(text)
    return approval


def rollback(
    root: Path,
    image: str | None,
    version: str | None,
    progress: Progress,
    *,
    allow_revoked: bool = False,
    state: Path | None = None,
) -> Generation:
    """Lets clients boot a version that is in the store: the one that was active before, or the one named.

    allow_revoked: also one that was signed with a key that is revoked by now; state: as of DeployOptions
    """
    chosen: list[tuple[str, BootName]] = []
    held: dict[str, Holds] = {}

    def roll_back(inventory: Inventory, _: bool) -> Generation:
        site = load_site_of(inventory.store, None)
        if not chosen:  # begun anew it must not go back from where it went
            known = image or last_changed_image(inventory.store)
            chosen.append(
                (known, named_version(inventory, known, version) if version else previous_version(inventory, known))
            )
        changed, name = chosen[0]
        manifest = inventory.get(changed, name.version)
        trust = trust_of(site)
        if trust is not None and manifest is not None:
            Recheck(trust, progress.warn, allow_revoked).chosen(inventory, manifest)
            for text in other_than_channels(manifest, StoreMemory(inventory.store.root, state).read()):
                progress.note(text)
        reason = f"rollback {changed} {name}"
        left = require_active(inventory.store).boot_name(changed)
        if changed not in held:  # begun anew it is not undone
            now = read_holds(inventory.store.root)
            held[changed] = now.after_rollback(changed, left.version if left else None, name.version, reason)
        # first: interrupted between the two, a timer must not undo what somebody wanted
        remember_holds(inventory.store.root, held[changed], progress.warn)
        return activate(inventory, site, {changed: name}, reason)

    return _with_room(root, progress, roll_back)


def adopt_kernel(root: Path, image: str, kernel: str | None, progress: Progress) -> tuple[Generation, BootName] | None:
    """Serves the kernel that a client installed into the active read-write root; None where it is served already."""

    def adopt(inventory: Inventory, _: bool) -> tuple[Generation, BootName] | None:
        store = inventory.store
        site = load_site_of(store, None)
        active = require_active(store).boot_name(known_image(inventory, image))
        if active is None:
            raise InputError(
                f"no version of {image} is active", f"diskless rollback --to {shlex.quote(str(root))} {image} VERSION"
            )
        manifest = inventory.require(image, active.version)
        if manifest.root.mode is not RootMode.RW:
            raise InputError(f"{image} has a read-only root: no client can have changed its kernel", "build it again")
        name = take_kernel(store, manifest, choose_kernel(store, manifest, kernel))
        if name == active:
            return None
        return activate(inventory, site, {image: name}, f"adopt the kernel {image} {name}"), name

    return _with_room(root, progress, adopt)


def refresh_menus(root: Path, progress: Progress) -> Generation | None:
    """Writes the menus again, for what site.yml says now; None where they say it already."""

    def refresh(inventory: Inventory, _: bool) -> Generation | None:
        site = load_site_of(inventory.store, None)
        before = require_active(inventory.store)
        trust = trust_of(site)
        if trust is not None:
            Recheck(trust, progress.warn).menus(inventory, _served(site, before))
        generation = activate(inventory, site, {}, "refresh the menus")
        warn_of_pins(inventory, site, generation, progress)
        return generation if generation.number != before.number else None

    return _with_room(root, progress, refresh)


def _served(site: Site, active: Generation) -> set[tuple[str, Version]]:
    """What clients boot by themselves."""
    pinned = {(own.image, own.version) for own in site.own_settings if own.image and own.version}
    return pinned | {(image, BootName.parse(name).version) for image, name in active.active.items()}


def prune(root: Path, options: PruneOptions, progress: Progress, *, dry_run: bool = False) -> list[Decision]:
    """Removes versions that nobody needs; what was decided for each. A dry run writes nothing at all."""

    def look(inventory: Inventory) -> list[Decision]:
        site = load_site_of(inventory.store, None)
        return decide(inventory, site, options, versions_in_use(inventory), read_moment())

    def remove(inventory: Inventory, last: bool) -> list[Decision]:
        decisions = look(inventory)
        remove_versions(inventory, load_site_of(inventory.store, None), decisions, menus_first=not last)
        return decisions

    return look(read_inventory(find_store(root))) if dry_run else _with_room(root, progress, remove)


def load_site_of(store: Store, server: str | None) -> Site:
    """The settings of the server that a store is on."""
    return site_of(store, server, _written_site(store))


def _written_site(store: Store) -> Site | None:
    return load_site(store.site_file) if store.site_file.exists() else None


def _site_for(store: Store, server: str | None, progress: Progress) -> Site:
    """The settings to deploy with; that the address is another one than the file's is said."""
    written = _written_site(store)
    site = site_of(store, server, written)
    if server is not None and written is not None and written.server != server:
        progress.warn(f"{store.site_file} says server: {written.server}; --server {server} is for this deploy only")
    return site


@contextlib.contextmanager
def _opened_for_more(root: Path, progress: Progress) -> Iterator[Inventory]:
    """What the store holds, made if there is none, after recovery; nobody else works on it until the end."""
    with open_store(root, progress.note, create=True) as store:
        inventory = _recovered(store, progress)
        reserve = Reserve(store)
        reserve.keep()  # what it takes is not there for the version
        yield inventory
        reserve.keep()


def _with_room(root: Path, progress: Progress, work: Callable[[Inventory, bool], T]) -> T:
    """What `work` gives for what the store holds after recovery; it begins anew where the disk is full: with_room."""
    with open_store(root, progress.note) as store:
        done = with_room(store, lambda last: work(_recovered(store, progress), last), progress.note)
        Reserve(store).keep()
        return done


def _recovered(store: Store, progress: Progress) -> Inventory:
    recovered = recover(read_inventory(store))
    for path in recovered.removed:
        progress.note(f"removed what an interrupted run left: {path}")
    for text in recovered.amiss:
        progress.warn(text)
    return recovered.inventory


def _activate(inventory: Inventory, site: Site, manifest: Manifest, options: DeployOptions) -> Generation:
    before = active_generation(inventory.store)
    name = BootName(manifest.version)
    now = before.boot_name(manifest.image) if before else None
    if now is not None and now.version == manifest.version:
        name = now  # with the kernel that was adopted meanwhile
    changes = {manifest.image: name} if options.activate or before is None else {}
    return activate(inventory, site, changes, f"deploy {manifest.image} {manifest.version}")


def _before(inventory: Inventory, manifest: Manifest) -> Manifest | None:
    """The version that clients boot until now, if it is another one; None where somebody removed or damaged it."""
    active = active_generation(inventory.store)
    name = active.boot_name(manifest.image) if active else None
    if name is None or name.version == manifest.version:
        return None
    return inventory.get(manifest.image, name.version)


def _replaced(store: Store, old: Manifest | None, progress: Progress) -> Replaced | None:
    """The read-write root of a version, with what clients have changed in it."""
    if old is None or old.root.mode is not RootMode.RW:
        return None
    found = Differences()
    try:
        index = read_index(store.version(old.image, old.version) / INDEX)
        with hold_root(store, old) as held:
            found = compare_tree(held, index, times_of_directories=False)
    except (AuditError, OSError) as error:
        progress.warn(f"what clients changed in {store.root_of(old)} is not known: {error}")
    return Replaced(old.version, store.root_of(old), found)


def _prune_after(inventory: Inventory, site: Site, manifest: Manifest, options: DeployOptions) -> tuple[Decision, ...]:
    if options.keep is None:
        return ()
    prune_options = PruneOptions(keep=options.keep)
    decisions = decide(inventory, site, prune_options, versions_in_use(inventory), read_moment())
    mine = [decision for decision in decisions if decision.image == manifest.image]
    remove_versions(inventory, site, mine)
    return tuple(mine)
