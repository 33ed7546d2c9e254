"""Real images for the tests, built by the command line as a user would."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
DISKLESS = str(Path(sys.executable).with_name("diskless"))


def run_diskless(
    *arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, umask: int = -1
) -> subprocess.CompletedProcess[str]:
    """The command, whatever its exit status."""
    return subprocess.run(
        [DISKLESS, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        umask=umask,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def write_recipe(directory: Path, base: str = "debian-nfs", **changes: Any) -> Path:
    """A recipe of the project with some top-level keys replaced, as NAME.yml in `directory`."""
    recipe = yaml.load((ROOT / "recipes" / f"{base}.yml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    path = directory / f"{base}.yml"
    path.write_text(yaml.safe_dump({**recipe, **changes}, sort_keys=False), encoding="utf-8")
    return path


def boot_recipe(directory: Path, public_key: str, **changes: Any) -> Path:
    """The Debian recipe with a key for root, and a small initramfs: what the boot tests boot."""
    key = {"path": "/root/.ssh/authorized_keys", "text": public_key, "mode": "0600"}
    return write_recipe(directory, files=[key], **changes)


@functools.cache
def scratch() -> Path:
    """A directory of this test run on a real disk; images are too large for a tmpfs."""
    return Path(tempfile.mkdtemp(prefix="diskless-tests-", dir="/var/tmp"))


@functools.cache
def test_key() -> Path:
    """A private ssh key made for this test run; the public one beside it."""
    path = scratch() / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", path], check=True)
    return path


@functools.cache
def debian_image() -> Path:
    """The version directory of the boot recipe, built once a test run."""
    recipe = boot_recipe(scratch(), test_key().with_suffix(".pub").read_text(encoding="ascii"))
    result = run_diskless("build", recipe, "--output", scratch() / "output")
    assert result.returncode == 0, result.stderr
    return Path(result.stdout.strip())


@contextlib.contextmanager
def running_diskless(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """The command in the background, its messages to be read from `stderr`; killed at the end."""
    process = subprocess.Popen(
        [DISKLESS, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
