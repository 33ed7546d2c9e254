"""What a command says at its end: what there is now, what changed, where the time went, what to type next."""

from __future__ import annotations

from collections.abc import Mapping

from builder.model.artifacts.difference import Difference, FileDifference
from builder.model.artifacts.manifest import Manifest
from builder.model.text.escapes import escaped
from builder.model.text.quantity import format_bytes, format_change, format_seconds

_MOST_PACKAGES = 12
_SHORTEST_PHASE = 0.05


def summary(
    manifest: Manifest,
    difference: Difference | None,
    seconds: Mapping[str, float],
    next_command: str,
    *more: str,
) -> tuple[str, ...]:
    """The closing lines. difference: from the version before; None where there was none, or where it is the same.

    more: further lines about the version itself
    """
    head = (
        f"{manifest.image} {manifest.version}: {len(manifest.packages)} packages, {format_bytes(manifest.size)}, "
        f"Linux {manifest.kernel}"
    )
    changes = () if difference is None else package_lines(difference, _MOST_PACKAGES)
    phases = [f"{name} {format_seconds(took)}" for name, took in seconds.items() if took >= _SHORTEST_PHASE]
    time = f"time: {', '.join(phases)}; together {format_seconds(sum(seconds.values()))}"
    return (head, *more, *changes, *((time,) if phases else ()), f"next: {next_command}")


def package_lines(difference: Difference, most: int | None = None) -> tuple[str, ...]:
    """What changed in the packages, one a line after a line that counts; of many only the first `most`."""
    counts = (
        (len(difference.changed), "changed"),
        (len(difference.added), "added"),
        (len(difference.removed), "removed"),
    )
    counted = ", ".join(f"{count} {what}" for count, what in counts if count) or "the same"
    head = f"since {difference.old}: packages {counted}; {format_change(difference.size)}"
    lines = [f"  ~ {change.name} {_versions(change.old, change.new)}" for change in difference.changed]
    lines += [f"  + {package.name} {package.version}" for package in difference.added]
    lines += [f"  - {package.name} {package.version}" for package in difference.removed]
    if difference.kernel is not None:
        lines.insert(0, f"  kernel {_versions(*difference.kernel)}")
    if most is not None and len(lines) > most:
        lines = [*lines[: most - 1], f"  and {len(lines) - most + 1} more: diskless diff"]
    return (head, *lines)


def file_lines(difference: FileDifference) -> tuple[str, ...]:
    """Every file that differs, one a line."""
    lines = [
        f"  ~ /{escaped(change.path)}  {', '.join(change.what)}{_more(change.size)}" for change in difference.changed
    ]
    lines += [f"  + /{escaped(file.path)}{_more(file.size)}" for file in difference.added]
    lines += [f"  - /{escaped(file.path)}{_more(-file.size)}" for file in difference.removed]
    return tuple(lines)


def count_line(difference: FileDifference) -> str:
    """How many files differ."""
    return f"files: {len(difference.changed)} changed, {len(difference.added)} added, {len(difference.removed)} removed"


def _versions(old: str, new: str) -> str:
    return f"{old} -> {new}" if old != new else f"{old} (built again)"


def _more(size: int) -> str:
    return f"  {format_change(size)}" if size else ""
