"""Debian repositories on disk, signed or not, flat or with suites: what a site adds to the distribution's own."""

from __future__ import annotations

import email.utils
import gzip
import hashlib
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.pacman_distribution.repository import Key, stop_agent

EPOCH = 1600000000


def make_deb(
    directory: Path,
    name: str,
    version: str = "1.0",
    says: str = "hello",
    files: Mapping[str, bytes] | None = None,
    fields: str = "",
) -> Path:
    """A package with one program that prints `says`, and further files by their paths without leading slash.

    `fields` are further lines of its control file.
    """
    tree = directory / f"tree-{name}-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Tests <tests@example.org>\n{fields}"
    (tree / "DEBIAN/control").write_text(f"{control}Description: a package of the tests\n", "utf-8")
    program = tree / f"usr/bin/{name}"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho {says}\n", "utf-8")
    program.chmod(0o755)
    for name_inside, content in (files or {}).items():
        (tree / name_inside).parent.mkdir(parents=True, exist_ok=True)
        (tree / name_inside).write_bytes(content)
    path = directory / f"{name}_{version}_all.deb"
    command: list[str | Path] = ["dpkg-deb", "--root-owner-group", "--build", tree, path]
    env = {"SOURCE_DATE_EPOCH": str(EPOCH), "PATH": "/usr/bin:/bin"}
    subprocess.run(command, check=True, capture_output=True, env=env)
    return path


def stanza(deb: Path, filename: str) -> str:
    """The entry of a Packages file."""
    control = subprocess.run(["dpkg-deb", "-f", deb], check=True, capture_output=True, encoding="utf-8").stdout
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    return f"{control.strip()}\nFilename: {filename}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"


def make_suite(root: Path, suite: str, debs: Iterable[Path], key: Key | None, *, date: int = EPOCH) -> None:
    """ROOT/dists/SUITE with the component main, and the packages in ROOT/pool; other dates end a week later."""
    pool = root / "pool"
    pool.mkdir(parents=True, exist_ok=True)
    stanzas = [stanza(deb, f"pool/{deb.name}") for deb in debs]
    for deb in debs:
        (pool / deb.name).write_bytes(deb.read_bytes())
    directory = root / "dists" / suite
    packages = directory / "main/binary-amd64/Packages"
    packages.parent.mkdir(parents=True)
    packages.write_text("\n".join(stanzas), "utf-8")
    packages.with_suffix(".gz").write_bytes(gzip.compress(packages.read_bytes(), mtime=0))
    head = f"Origin: Tests\nSuite: {suite}\nCodename: {suite}\nComponents: main\nArchitectures: all amd64\n"
    if date != EPOCH:
        head += f"Valid-Until: {email.utils.formatdate(date + 7 * 86400, usegmt=True)}\n"
    _release(directory, head, [packages, packages.with_suffix(".gz")], key, date)


def make_flat(root: Path, debs: Iterable[Path], key: Key | None) -> None:
    """A flat repository, as `deb URL ./` reads it."""
    root.mkdir(parents=True, exist_ok=True)
    for deb in debs:
        (root / deb.name).write_bytes(deb.read_bytes())
    packages = root / "Packages"
    packages.write_text("\n".join(stanza(deb, f"./{deb.name}") for deb in debs), "utf-8")
    _release(root, "Origin: Tests\n", [packages], key, EPOCH)


def _release(directory: Path, head: str, files: list[Path], key: Key | None, date: int) -> None:
    lines = [
        f" {hashlib.sha256(f.read_bytes()).hexdigest()} {f.stat().st_size} {f.relative_to(directory)}" for f in files
    ]
    release = directory / "Release"
    text = f"{head}Date: {email.utils.formatdate(date, usegmt=True)}\nSHA256:\n" + "\n".join(lines) + "\n"
    release.write_text(text, "utf-8")
    if key is not None:
        sign_release(directory, key)


def sign_release(directory: Path, key: Key) -> None:
    """Makes DIRECTORY/InRelease, signed by this key."""
    command = ["gpg", "--homedir", str(key.home), "--batch", "--quiet", "--no-tty", "--yes", "--local-user"]
    signed, release = directory / "InRelease", directory / "Release"
    subprocess.run(
        [*command, key.fingerprint, "--clearsign", "--output", signed, release], check=True, capture_output=True
    )
    stop_agent(key)
