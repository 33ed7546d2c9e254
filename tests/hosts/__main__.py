"""`make test-hosts`: the README's commands on minimal machines of both Debian releases, as root and as a user."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from builder.progress.progress import Progress
from tests.hosts.cell import run_cell
from tests.hosts.cells import cell_commands, parse_readme, select_cells
from tests.hosts.interpreter import run_interpreter
from tests.hosts.machine import MachineError, Places
from tests.hosts.outside import look_outside
from tests.hosts.table import Row, render_json, render_table

_CHECKOUT = Path(__file__).parent.parent.parent
_NEITHER = "3.12"  # between the releases' own
_ALWAYS = ["ca-certificates"]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make test-hosts", description=__doc__)
    parser.add_argument("--cells", default="", help="patterns of names, for example 'trixie-* bookworm-root-tmp'")
    parser.add_argument(
        "--commands", default="", help="patterns, for example 'make build' or 'make*', with commas between"
    )
    parser.add_argument("--directory", type=Path, default=_CHECKOUT / "output/.hosts", help="machines, caches and logs")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    return parser.parse_args()


def _rows(arguments: argparse.Namespace, progress: Progress) -> Iterator[Row]:
    readme = parse_readme((_CHECKOUT / "README.md").read_text(encoding="utf-8"))
    patterns = [word.strip() for word in arguments.commands.split(",") if word.strip()]
    chosen = arguments.cells.split()
    cells = select_cells(chosen)
    outside, places = look_outside(), Places(arguments.directory.absolute())
    places.directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # roots have programs that are set-user-ID
    places.logs.mkdir(exist_ok=True)
    bundle_commit(places.bundle)
    for cell in cells:
        commands = cell_commands(cell, readme, patterns)
        try:
            yield from run_cell(cell, commands, [*readme.packages, *_ALWAYS], outside, places, progress)
        except MachineError as error:
            yield Row(cell.release, cell.user, cell.variation.name, "", "make the machine", f"failed: {error}", 0.0)
    if not chosen and not patterns:
        yield run_interpreter(_NEITHER, places, progress)


def bundle_commit(path: Path) -> None:
    """Writes the commit of this checkout into a file that git clones; ValueError in git's words."""
    command = ["git", "-c", "safe.directory=*", "-C", str(_CHECKOUT), "bundle", "create", "--quiet", str(path), "HEAD"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8", check=False)
    if done.returncode != 0:
        raise ValueError(f"git bundle: {done.stderr.strip()}")


def main() -> int:
    """Prints the table and returns 1 where a row failed, 2 where nothing fits the arguments, 3 without root."""
    arguments = _arguments()
    if os.geteuid() != 0:
        sys.stderr.write("make test-hosts: mounts and owners of their own need root: run it with sudo\n")
        return 3
    os.umask(0o022)  # what is written here is read by others, inside a machine
    rows: list[Row] = []
    try:
        for row in _rows(arguments, Progress()):
            rows.append(row)
            sys.stderr.write(render_table([row]).splitlines()[-1] + "\n")
    except ValueError as error:
        sys.stderr.write(f"make test-hosts: {error}\n")
        return 2
    finally:
        sys.stdout.write(render_json(rows) if arguments.json else render_table(rows))
    return 1 if any(row.failed for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
