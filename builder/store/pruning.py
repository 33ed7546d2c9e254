"""Removing versions that nobody needs: never one that is active, pinned or in use, never one that may be in use."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builder.errors import AuditError
from builder.model.generation import BootName, Generation
from builder.model.site import Site
from builder.model.version import ImageVersion, Version
from builder.store.activation import activate
from builder.store.generations import active_generation, history
from builder.store.inventory import Inventory
from builder.store.layout import Store
from builder.store.reaching import is_missing, obstacle, refusal_of
from builder.store.recovery import discard, recover
from builder.store.usage import InUse

DEFAULT_AGE = 7 * 86400


@dataclass(frozen=True)
class PruneOptions:
    """What may go.

    keep: versions of each image to keep, the active one included, those active last first
    minimum_age: seconds since a version was last what clients booted; younger ones may be running somewhere
    force: take versions that may be in use for unused; what is known to be in use stays all the same
    """

    keep: int = 3
    minimum_age: int = DEFAULT_AGE
    force: bool = False


@dataclass(frozen=True)
class Decision:
    """One version and why it stays; `reason` is None for one that goes. `refused`: it should go, and must not."""

    image: str
    version: Version
    reason: str | None
    refused: bool = False


def decide(inventory: Inventory, site: Site, options: PruneOptions, in_use: InUse, now: int) -> list[Decision]:
    """What would happen to every version, by image, those active last first."""
    decisions = []
    last = _last_active(inventory, now)
    active = active_generation(inventory.store)
    for image in inventory.images:
        versions = sorted(inventory.versions(image), key=lambda version: last[image, version], reverse=True)
        for position, version in enumerate(versions):
            decision = _decide((image, version), position, active, site, options)
            if decision.reason is None:
                decision = _refuse(decision, options, in_use, now - last[image, version][0])
            if decision.reason is None:
                decision = _refuse_unreachable(decision, inventory)
            decisions.append(decision)
    return decisions


def remove_versions(inventory: Inventory, site: Site, decisions: Sequence[Decision]) -> list[str]:
    """Removes what was decided; what it removed, as paths below the store.

    The menus forget the versions first; each version then goes by one rename, its writable root before it.
    """
    doomed = {(decision.image, decision.version) for decision in decisions if decision.reason is None}
    if not doomed:
        return []
    names = ", ".join(f"{image} {version}" for image, version in sorted(doomed))
    store, kept = inventory.store, inventory.minus(doomed)
    activate(kept, site, {}, f"prune {names}")
    removed: list[str] = []
    kept_all_the_same = []
    for image, version in sorted(doomed):
        # what a client does meanwhile keeps no other version
        reason = refusal_of(functools.partial(_remove_version, store, image, version, removed))
        kept_all_the_same += [] if reason is None else [f"{image} {version}: {reason}"]
    removed += recover(kept).removed
    if kept_all_the_same:
        raise AuditError(f"not removed: {'; '.join(kept_all_the_same)}", "diskless verify --to DIR says what is there")
    return removed


def _remove_version(store: Store, image: str, version: Version, removed: list[str]) -> None:
    for place in (store.writable, store.versions):
        if not is_missing(store, place / image / version):
            removed.append(discard(place / image / version, store))


def _decide(key: ImageVersion, position: int, active: Generation | None, site: Site, options: PruneOptions) -> Decision:
    image, version = key
    name = active.boot_name(image) if active else None
    if name is not None and name.version == version:
        return Decision(image, version, "active")
    pinned = [client.name or client.mac for client in site.clients if (client.image, client.version) == key]
    if pinned:
        return Decision(image, version, f"pinned by {', '.join(pinned)}")
    if position < options.keep:
        return Decision(image, version, f"one of the last {options.keep}")
    return Decision(image, version, None)


def _refuse(decision: Decision, options: PruneOptions, in_use: InUse, age: int) -> Decision:
    clients = in_use.get((decision.image, decision.version))
    if clients:
        reason = f"in use by {', '.join(sorted(clients))}"
        return dataclasses.replace(decision, reason=reason, refused=True)
    if age < options.minimum_age and not options.force:
        reason = f"clients booted it until {describe_age(age)} ago and may still run it"
        return dataclasses.replace(decision, reason=reason, refused=True)
    return decision


def _refuse_unreachable(decision: Decision, inventory: Inventory) -> Decision:
    """A version whose root a client put something in the way of."""
    manifest = inventory.get(decision.image, decision.version)
    found = manifest and obstacle(inventory.store, inventory.store.root_of(manifest))
    if not found:
        return decision
    return dataclasses.replace(decision, reason=f"{found[0]} {found[1]}", refused=True)


def _last_active(inventory: Inventory, now: int) -> Mapping[ImageVersion, tuple[int, int]]:
    """When each version was last what clients booted: seconds since 1970, and the number of the generation.

    For one that never was: when it came, and 0.
    """
    last: dict[ImageVersion, tuple[int, int]] = {}
    until = now
    for generation in history(inventory.store):  # newest first: each lasted until the one after it was made
        for image, name in generation.active.items():
            last.setdefault((image, BootName.parse(name).version), (until, generation.number))
        until = generation.made
    for image, version in inventory.found:
        last.setdefault((image, version), (int(inventory.store.version(image, version).stat().st_ctime), 0))
    return last


def describe_age(seconds: int) -> str:
    """A duration as people say it."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} seconds"
