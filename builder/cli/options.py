"""Options that several commands share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

recipe_argument = click.argument("recipe", type=click.Path(path_type=Path))
output_option = click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default="output",
    show_default=True,
    help="Where versions are kept, as OUTPUT/IMAGE/VERSION.",
)


def _default_cache() -> Path:
    """The system's for root; a user's own, as the XDG Base Directory Specification has it."""
    if os.geteuid() == 0:
        return Path("/var/cache/diskless")
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if given.startswith("/") else Path("~/.cache").expanduser()
    return base / "diskless"


def _cache_option(kept: str) -> Callable[[Decorated], Decorated]:
    return click.option(
        "--cache",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="DISKLESS_CACHE",
        default=_default_cache,
        show_default="/var/cache/diskless, or a user's ~/.cache/diskless",
        help=f"Where {kept} [env: DISKLESS_CACHE]",
    )


cache_option = _cache_option("packages and installed trees are kept; builds share it.")
transfer_cache_option = _cache_option("moved parts of versions are kept, so that none is moved twice.")
packages_option = click.option(
    "--packages",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    multiple=True,
    metavar="DIR",
    help="A directory to take locked packages from before any mirror, as `lock --keep DIR` made it; may be repeated.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
store_option = click.option(
    "--to",
    "store",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="The store on this server, such as /disklessroot.",
)


class Duration(click.ParamType[int]):
    """A number of seconds, or with a unit: 90s, 30m, 12h, 7d."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Seconds."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", str(value))
        if found is None:
            self.fail(f"{value!r} is not a duration; write 90s, 30m, 12h or 7d", param, ctx)
        return int(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def complete_version(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What a shell offers for a version: the images below --output that begin so, and paths."""
    output = Path(context.params.get("output") or "output")
    names = sorted(path.parent.name for path in output.glob("*/latest"))
    found = (CompletionItem(name) for name in names if name.startswith(incomplete))
    # paths first: bash forgets what came before them
    return [CompletionItem(incomplete, "file"), *found]
