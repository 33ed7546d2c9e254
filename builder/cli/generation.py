"""What commands print that may change what clients boot."""

from __future__ import annotations

import json

from builder.cli.reporting import show
from builder.model.generation import Generation
from builder.progress.progress import Progress


def print_generation(
    generation: Generation | None, what: str, unchanged: str, *, as_json: bool, progress: Progress
) -> None:
    """What clients boot next, or that nothing changed."""
    result = {} if generation is None else {"generation": generation.number, "active": dict(generation.active)}
    result = {"unchanged": generation is None, **result}
    if as_json:
        show(json.dumps(result, indent=1))
    else:
        show(f"{what}: generation {generation.number}; clients boot it next" if generation else unchanged)
    progress.result(result)
