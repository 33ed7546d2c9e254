"""A Python that no release has as its own: the tests that need no root run with it where one is found."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from builder.progress.progress import Progress
from tests.hosts.machine import Places
from tests.hosts.table import Row

_TESTS = "not root and not network and not boot and not full"


def run_interpreter(version: str, places: Places, progress: Progress) -> Row:
    """One row: the tests in a fresh clone and environment, or that there is no such interpreter here."""
    command = "pytest, what needs no root"
    python = find_interpreter(version)
    if python is None:
        return Row("this one", "root", "", version, command, f"untried: there is no python{version} here", 0.0)
    log = places.logs / f"python{version}.log"
    started = time.monotonic()
    with progress.step(f"python{version}: {command}"), tempfile.TemporaryDirectory(dir=places.directory) as directory:
        clone = shlex.quote(str(Path(directory) / "diskless"))
        line = (
            f"git clone --quiet {places.bundle} {clone} && cd {clone} && {python} -m venv .venv"
            f" && .venv/bin/pip install --quiet --editable '.[dev]' && .venv/bin/pytest -m '{_TESTS}' tests"
        )
        with log.open("wb") as output:
            status = subprocess.run(
                ["sh", "-c", line], stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
            ).returncode
    last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-1:]
    result = f"{'passed' if status == 0 else f'failed: exit status {status}'}: {''.join(last).strip('= ')}"
    return Row("this one", "root", "", version, command, result, (time.monotonic() - started) / 60)


def find_interpreter(version: str) -> str | None:
    """One that can make environments: the running one, on PATH or of pyenv."""
    on_path = shutil.which(f"python{version}")
    others = sorted(map(str, Path.home().glob(f".pyenv/versions/{version}*/bin/python3")))
    running = [sys.executable] if sys.version.startswith(f"{version}.") else []
    return next((path for path in (*running, on_path, *others) if path and _can_make_environments(path)), None)


def _can_make_environments(python: str) -> bool:
    command = [python, "-c", "import ensurepip, venv"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
