"""Debian's side: the closure of some packages, downloaded, and what their control files say."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Deb:
    """A downloaded package and its control fields."""

    path: Path
    control: dict[str, str]
    conffiles: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.control["Package"]

    @property
    def version(self) -> str:
        """As pacman writes it: epoch:pkgver-pkgrel, without the characters that pkgver may not have."""
        epoch, _, rest = self.control["Version"].rpartition(":")
        rest = rest.replace("~", ".").replace("-", "_").replace("+", ".")
        return (epoch + ":" if epoch else "") + rest + "-1"

    @property
    def architecture(self) -> str:
        return "any" if self.control["Architecture"] == "all" else "x86_64"

    def relations(self, field: str) -> Iterator[list[str]]:
        """The alternatives of every clause of Depends or its like, without versions."""
        for clause in filter(None, (clause.strip() for clause in self.control.get(field, "").split(","))):
            names = (re.match(r"[a-z0-9.+-]+", alternative.strip()) for alternative in clause.split("|"))
            yield [name[0] for name in names if name]


def download(names: list[str], directory: Path) -> list[Deb]:
    """`names` and all they depend on, resolved as for an empty system; nothing of the host's packages matters."""
    (directory / "archives/partial").mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::State::status": "/dev/null",
        "Dir::State::extended_states": "/dev/null",
        "Dir::Cache::archives": directory / "archives",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "true",
    }
    apt = ["apt-get", "-qq", "-y", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]
    simulated = subprocess.run(
        [*apt, "-s", "install", *names], check=True, capture_output=True, encoding="utf-8"
    ).stdout
    wanted = dict(re.findall(r"^Inst (\S+) \((\S+)", simulated, re.MULTILINE))
    subprocess.run([*apt, "--download-only", "install", *names], check=True, stdout=subprocess.DEVNULL)
    found = []
    for name, version in sorted(wanted.items()):
        (path,) = (directory / "archives").glob(f"{name}_{version.replace(':', '%3a')}_*.deb")
        found.append(_read(path))
    return found


def _read(path: Path) -> Deb:
    text = subprocess.run(["dpkg-deb", "-f", path], check=True, capture_output=True, encoding="utf-8").stdout
    control = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", text, re.MULTILINE))
    listed = subprocess.run(["dpkg-deb", "-I", path, "conffiles"], capture_output=True, encoding="utf-8", check=False)
    conffiles = [line.strip().lstrip("/") for line in listed.stdout.splitlines()] if listed.returncode == 0 else []
    return Deb(path, control, tuple(conffiles))
