"""`make test-boot`: boots every cell of the matrix, notes what each showed, and writes docs/boot-matrix.md."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from builder.model.recipe import DistributionName, RootMode
from builder.model.typed import typed
from builder.system.files import write_atomic
from tests.bootmatrix.cells import MatrixCell, select_matrix
from tests.bootmatrix.document import CellResult, render_matrix
from tests.images import ROOT, run_diskless, write_recipe
from tests.pacman_distribution.distribution import pacman_distribution

_DOCUMENT = ROOT / "docs/boot-matrix.md"
_BASES = {
    (DistributionName.DEBIAN, RootMode.RW): "debian-nfs",
    (DistributionName.DEBIAN, RootMode.OVERLAY): "debian-nfs-overlay",
    (DistributionName.ARCH, RootMode.RW): "arch-nfs",
    (DistributionName.ARCH, RootMode.OVERLAY): "arch-nfs",
}
_TIMEOUT = 900  # seconds to the login prompt: the machine may be shared


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make test-boot", description=__doc__)
    parser.add_argument("--cells", default="", help="patterns of names, for example 'uefi-*/debian-12/*'")
    parser.add_argument("--directory", type=Path, default=ROOT / "output/.boot-matrix", help="images, logs, results")
    parser.add_argument("--list", action="store_true", help="only names the cells")
    return parser.parse_args()


def _build(cell: MatrixCell, directory: Path) -> str:
    """The version that a cell boots, built where it is not there; ValueError in the build's words."""
    recipes = directory / "recipes" / cell.image
    recipes.mkdir(parents=True, exist_ok=True)
    distribution: dict[str, Any] = (
        pacman_distribution().recipe if cell.system.suite is None else {"name": "debian", "suite": cell.system.suite}
    )
    base = _BASES[cell.system.distribution, cell.root.mode]
    recipe = write_recipe(recipes, base, image=cell.image, distribution=distribution, root=cell.root.key)
    done = run_diskless("build", recipe, "--output", directory)
    if done.returncode != 0:
        raise ValueError(f"build: {done.stderr.strip().splitlines()[-2:]}")
    return done.stdout.strip()


def _boot(cell: MatrixCell, version: str, directory: Path) -> CellResult:
    console = directory / "consoles" / (cell.name.replace("/", "-") + ".log")
    console.parent.mkdir(exist_ok=True)
    options = ["--firmware", cell.way.firmware.value, "--loader", cell.loader.value, "--console-log", console]
    done = run_diskless("boot", version, *options, "--timeout", str(_TIMEOUT), "--strict", "--json")
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    try:
        shown = json.loads(done.stdout)
    except ValueError:
        return CellResult((done.stderr.strip().splitlines() or ["nothing"])[-1], {}, day, cell.loader.value)
    fault = "" if shown["ok"] else shown["fault"] or ", ".join(unit["unit"] for unit in shown["failed_units"] or [])
    return CellResult(fault or ("" if shown["ok"] else "failed"), shown["timeline"], day, cell.loader.value)


def _run(cells: list[MatrixCell], directory: Path) -> Iterator[tuple[MatrixCell, CellResult]]:
    """Each cell's result; one that fails keeps none of the others from being run."""
    versions: dict[str, str] = {}
    for cell in cells:
        try:
            if cell.image not in versions:
                versions[cell.image] = _build(cell, directory)
            yield cell, _boot(cell, versions[cell.image], directory)
        except ValueError as error:
            yield cell, CellResult(str(error), {}, "", cell.loader.value)


def _read(path: Path) -> dict[str, CellResult]:
    if not path.is_file():
        return {}
    return {name: typed(one, CellResult) for name, one in json.loads(path.read_text("utf-8")).items()}


def main() -> int:
    """Runs, writes results and document after every cell; 1 where one failed, 2 where no cell fits, 3 without root."""
    arguments = _arguments()
    try:
        cells = select_matrix(arguments.cells.split())
    except ValueError as error:
        sys.stderr.write(f"make test-boot: {error}\n")
        return 2
    if arguments.list:
        sys.stdout.write("".join(f"{cell.name}\n" for cell in cells))
        return 0
    if os.geteuid() != 0:
        sys.stderr.write("make test-boot: builds and boots need root: run it with sudo\n")
        return 3
    directory: Path = arguments.directory.absolute()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    results = _read(directory / "results.json")
    failed = 0
    for cell, result in _run(cells, directory):
        results[cell.name] = result
        failed += bool(result.fault)
        noted = {name: dataclasses.asdict(one) for name, one in sorted(results.items())}
        write_atomic(directory / "results.json", json.dumps(noted, indent=1).encode() + b"\n", 0o644)
        write_atomic(_DOCUMENT, render_matrix(results).encode(), 0o644)
        sys.stderr.write(f"{cell.name}: {result.fault or 'passed'} {dict(result.seconds)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
