"""docs/boot-matrix.md, from what the runs noted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from builder.bootlab.timeline import Milestone
from tests.bootmatrix.cells import CELLS, ROOTS, MatrixCell, why_missing

_SHOWN = (Milestone.LOADER, Milestone.MENU, Milestone.KERNEL, Milestone.INIT, Milestone.LOGIN)
_HEAD = """\
# The boot matrix

Written by `make test-boot` from its own results; by row: `make test-boot CELLS='uefi-*/debian-12/*'`. Every cell is a
whole boot in the lab: firmware, DHCP, loader, kernel, root over NFS, login prompt, every unit started, power-off.
Seconds are from power-on, on the machine of the run, without KVM where it has none: they compare loaders, not machines.
"""


@dataclass(frozen=True)
class CellResult:
    """What a cell showed. fault: empty where it passed; seconds: by milestone; day: when; loader: which"""

    fault: str
    seconds: Mapping[str, float]
    day: str
    loader: str


def render_matrix(results: Mapping[str, CellResult]) -> str:
    """The document: a table for each root, then why the other cells do not exist."""
    parts = [_HEAD]
    for root in ROOTS:
        rows = [_row(cell, results.get(cell.name)) for cell in CELLS if cell.root is root and not why_missing(cell)]
        head = ["firmware and loader", "system", *(milestone.value for milestone in _SHOWN), "result"]
        lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *rows]
        parts.append(f"## {root.name}\n\n" + "\n".join(lines) + "\n")
    reasons: dict[str, list[str]] = {}
    for cell in CELLS:
        reason = why_missing(cell)
        if reason is not None:
            reasons.setdefault(reason, []).append(f"{cell.way.name}/{cell.system.name}")
    lines = [f"- {', '.join(dict.fromkeys(names))}: {reason}" for reason, names in reasons.items()]
    return "\n".join([*parts, "## Cells that do not exist\n\n" + "\n".join(lines) + "\n"])


def _row(cell: MatrixCell, result: CellResult | None) -> str:
    if result is None:
        values, verdict = ["" for _ in _SHOWN], "not run"
    else:
        values = [f"{result.seconds[one]:.0f}" if one in result.seconds else "" for one in _SHOWN]
        verdict = f"failed, {result.day}: {result.fault}" if result.fault else f"passed, {result.day}"
    return f"| {cell.way.name} ({cell.loader}) | {cell.system.name} | {' | '.join(values)} | {verdict} |"
