"""Removing versions that nobody needs: never one that is active, pinned or in use, never one that may be in use."""

from __future__ import annotations

import dataclasses
import enum
import functools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from builder.errors import AuditError, HostError
from builder.model.artifacts.manifest import MANIFEST
from builder.model.generation import BootName, Generation
from builder.model.site import Site
from builder.model.text.moment import Moment
from builder.model.version import ImageVersion, Version
from builder.store.activation import activate
from builder.store.filesystem import settle
from builder.store.generations import active_generation, history, missing_boot_files, naming_generation
from builder.store.inspection.ages import Age, ages
from builder.store.inspection.clients import describe_clients
from builder.store.inspection.usage import InUse
from builder.store.inventory import Inventory
from builder.store.layout import Store
from builder.store.reaching import is_missing, obstacle, refusal_of
from builder.store.recovery import discard, discard_version, recover
from builder.system.files import FULL

DEFAULT_AGE = 7 * 86400


@dataclass(frozen=True)
class PruneOptions:
    """What may go.

    keep: versions of each image to keep, the active one included, those active last first
    minimum_age: seconds since a version was last what clients booted; younger ones may be running somewhere
    force: take versions that may be in use for unused; what clients have open stays all the same
    evict: take what clients have open, too
    """

    keep: int = 3
    minimum_age: int = DEFAULT_AGE
    force: bool = False
    evict: bool = False


class Ground(enum.StrEnum):
    """Why a version stays: it is needed, or it should go and must not."""

    ACTIVE = "active"
    PINNED = "pinned"
    KEPT = "kept"
    YOUNG = "young"
    UNKNOWN_AGE = "unknown age"
    PERHAPS_USED = "perhaps used"
    USED = "used"
    UNREACHABLE = "unreachable"


_REFUSALS = (Ground.YOUNG, Ground.UNKNOWN_AGE, Ground.PERHAPS_USED, Ground.USED, Ground.UNREACHABLE)


@dataclass(frozen=True)
class Decision:
    """One version and why it stays: `ground`, None for one that goes, and `reason`, for people.

    disregarded: what speaks against it and was not listened to, as it was asked for
    """

    image: str
    version: Version
    ground: Ground | None
    reason: str | None
    disregarded: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether it is more than there should be, and must not go."""
        return self.ground in _REFUSALS

    @property
    def unmet(self) -> bool:
        """Whether it should go by what was asked for, its age too, and stays."""
        return self.refused and self.ground is not Ground.YOUNG

    def to_json(self) -> dict[str, object]:
        """As --json prints it."""
        return {**vars(self), "disregarded": list(self.disregarded), "refused": self.refused}


@dataclass(frozen=True)
class _Last:
    """When clients could boot a version last.

    order: sorts those that were active last before others, and never by a clock; age: how long ago that ended
    """

    order: tuple[int, int]
    age: Age


def decide(inventory: Inventory, site: Site, options: PruneOptions, in_use: InUse, now: Moment) -> list[Decision]:
    """What would happen to every version, by image, those active last first."""
    decisions = []
    if not site.nfs_here:
        in_use = dataclasses.replace(in_use, doubt=in_use.doubt or f"clients mount it from {site.nfs_server}")
    last = _last_booted(inventory, now)
    active = active_generation(inventory.store)
    for image in inventory.images:
        versions = sorted(inventory.versions(image), key=lambda version: last[image, version].order, reverse=True)
        for position, version in enumerate(versions):
            decision = _decide((image, version), position, active, site, options)
            if decision.ground is None:
                decision = _refuse(decision, options, in_use, last[image, version].age)
            if decision.ground is None:
                decision = _refuse_unreachable(decision, inventory)
            decisions.append(decision)
    return decisions


def remove_versions(
    inventory: Inventory, site: Site, decisions: Sequence[Decision], *, menus_first: bool = True
) -> list[str]:
    """Removes what was decided; what it removed, as paths below the store.

    The menus forget the versions first; each version then goes by one rename, its root before it. Where there
    is no room for menus the versions go first; nothing that is active or pinned is one of them.
    """
    doomed = {(decision.image, decision.version) for decision in decisions if decision.ground is None}
    if not doomed and not missing_boot_files(inventory.store):
        return []
    names = ", ".join(f"{image} {version}" for image, version in sorted(doomed))
    kept, reason = inventory.minus(doomed), f"prune {names}".rstrip()
    if menus_first:
        activate(kept, site, {}, reason)
    removed: list[str] = []
    kept_all_the_same = []
    for image, version in sorted(doomed):
        # what a client does meanwhile keeps no other version
        refusal = refusal_of(functools.partial(_remove_version, inventory.store, image, version, removed))
        kept_all_the_same += [] if refusal is None else [f"{image} {version}: {refusal}"]
    removed += recover(kept).removed
    if not menus_first:
        settle(inventory.store.boot)
        _activate_at_last(kept, site, reason)
    if kept_all_the_same:
        raise AuditError(f"not removed: {'; '.join(kept_all_the_same)}", "diskless verify --to DIR says what is there")
    return removed


def _activate_at_last(kept: Inventory, site: Site, reason: str) -> None:
    """HostError where there is no room for menus even now."""
    try:
        activate(kept, site, {}, reason)
    except OSError as error:
        if error.errno not in FULL:
            raise
        root = shlex.quote(str(kept.store.root))
        raise HostError(
            f"{error.filename}: {error.strerror}: the versions are gone, but the menus name them still; "
            "what clients boot by themselves is whole",
            f"free some space there, then diskless prune --to {root}",
        ) from error


def _remove_version(store: Store, image: str, version: Version, removed: list[str]) -> None:
    # roots first: a version without one is removed by recovery, a root without a version would stay
    for top in store.root_tops:
        if top != store.versions and not is_missing(store, top / image / version):
            removed.append(discard(top / image / version, store, store.version(image, version) / MANIFEST))
    if store.version(image, version).is_dir():
        removed.append(discard_version(store, image, version))


def _decide(key: ImageVersion, position: int, active: Generation | None, site: Site, options: PruneOptions) -> Decision:
    image, version = key
    name = active.boot_name(image) if active else None
    if name is not None and name.version == version:
        return Decision(image, version, Ground.ACTIVE, "active")
    pinned = [own.who for own in site.own_settings if (own.image, own.version) == key]
    if pinned:
        return Decision(image, version, Ground.PINNED, f"pinned by {', '.join(pinned)}")
    if position < options.keep:
        return Decision(image, version, Ground.KEPT, f"one of the last {options.keep}")
    return Decision(image, version, None, None)


def _refuse(decision: Decision, options: PruneOptions, in_use: InUse, age: Age) -> Decision:
    """The decision for what should go, with the first thing that speaks against it and is listened to."""
    disregarded = []
    for ground, reason in _objections((decision.image, decision.version), options, in_use, age):
        if not (options.evict or (options.force and ground is not Ground.USED)):
            return dataclasses.replace(decision, ground=ground, reason=reason)
        disregarded.append(reason)
    return dataclasses.replace(decision, disregarded=tuple(disregarded))


def _refuse_unreachable(decision: Decision, inventory: Inventory) -> Decision:
    """A version whose root a client put something in the way of."""
    manifest = inventory.get(decision.image, decision.version)
    found = manifest and obstacle(inventory.store, inventory.store.root_of(manifest))
    if not found:
        return decision
    return dataclasses.replace(decision, ground=Ground.UNREACHABLE, reason=f"{found[0]} {found[1]}")


def _objections(key: ImageVersion, options: PruneOptions, in_use: InUse, age: Age) -> Iterator[tuple[Ground, str]]:
    """Why a version should not go, what is known for certain first."""
    if key in in_use.opened:
        yield Ground.USED, f"in use by {describe_clients(in_use.opened[key])}"
    if key in in_use.hinted:
        yield Ground.PERHAPS_USED, f"{describe_clients(in_use.hinted[key])} mounted it once and may still run it"
    if in_use.doubt is not None:
        yield Ground.PERHAPS_USED, f"who uses it is not known: {in_use.doubt}"
    if age.at_least < options.minimum_age:
        passed = describe_age(age.at_least)
        if age.doubt is None:
            yield Ground.YOUNG, f"clients booted it until {passed} ago and may still run it"
        else:
            yield Ground.UNKNOWN_AGE, f"clients may have booted it until {passed} ago, or longer: {age.doubt}"


def _last_booted(inventory: Inventory, now: Moment) -> Mapping[ImageVersion, _Last]:
    """Of every version: each generation lasted until the one after it was made. One that was never active came in with
    the first generation that names it, and one that none names came in now.
    """
    last: dict[ImageVersion, _Last] = {}
    generations = history(inventory.store)
    made, until = ages(generations, now), Age(0)
    for generation in generations:  # newest first
        for image, name in generation.active.items():
            last.setdefault((image, BootName.parse(name).version), _Last((generation.number, 1), until))
        until = made[generation.number]
    for image, version in inventory.found:
        if (image, version) not in last:
            number = naming_generation(inventory.store, image, version)
            last[image, version] = _Last((number, 0), made.get(number, Age(0)))
    return last


def describe_age(seconds: int) -> str:
    """A duration as people say it."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} seconds"
