"""What a new lock changes of an old one."""

from __future__ import annotations

from dataclasses import dataclass

from builder.model.artifacts.lock_file import LockFile, PackageLine, differences


@dataclass(frozen=True)
class LockedChange:
    """A package of both locks: its versions, alike where it was only built again."""

    name: str
    old: str
    new: str


@dataclass(frozen=True)
class LockChange:
    """What became of one lock in another.

    added, removed: NAME VERSION of packages, with what they are for where that is not to be installed
    asked: what the recipe asks for in other words; tools: NAME OLD -> NEW; epoch: old and new, where they differ
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[LockedChange, ...]
    asked: tuple[str, ...]
    tools: tuple[str, ...]
    epoch: tuple[int, int] | None


def compare_locks(old: LockFile, new: LockFile) -> LockChange:
    """What became of `old` in `new`."""
    before, after = _by_name(old), _by_name(new)
    changed = [
        LockedChange(name, before[name].version, after[name].version)
        for name in sorted(before.keys() & after.keys())
        if before[name].sha256 != after[name].sha256
    ]
    tools = [
        f"{name} {old.tools.get(name, 'none')} -> {new.tools.get(name, 'none')}"
        for name in sorted(old.tools.keys() | new.tools.keys())
        if old.tools.get(name) != new.tools.get(name)
    ]
    return LockChange(
        added=tuple(f"{name} {after[name].version}" for name in sorted(after.keys() - before.keys())),
        removed=tuple(f"{name} {before[name].version}" for name in sorted(before.keys() - after.keys())),
        changed=tuple(changed),
        asked=tuple(differences(new.asked, old.asked)),
        tools=tuple(tools),
        epoch=None if old.epoch == new.epoch else (old.epoch, new.epoch),
    )


def _by_name(file: LockFile) -> dict[str, PackageLine]:
    """By name, with what it is for where that is not to be installed."""
    groups = {"": file.packages, " (loader)": file.loaders, " (lent)": file.lent}
    return {line.name + group: line for group, lines in groups.items() for line in lines}
