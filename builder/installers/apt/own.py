"""Package files that a recipe names: a flat repository of copies of them, which apt reads beside the archive."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from builder.errors import CommandError, InputError
from builder.installers.apt.errors import read_fields
from builder.installers.apt.formats import AR_MAGIC
from builder.installers.base import Job
from builder.system.files import sha256_of


@dataclass(frozen=True)
class OwnPackages:
    """directory: of the repository; requests: NAME=VERSION of each package in it, as apt is asked for it."""

    directory: Path
    requests: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The packages' names."""
        return tuple(request.partition("=")[0] for request in self.requests)


def make_own_packages(job: Job, files: tuple[str, ...]) -> OwnPackages:
    """The repository of these files; InputError for one that is no Debian package."""
    directory = job.work / "own"
    directory.mkdir(exist_ok=True)
    stanzas, requests = [], []
    for number, name in enumerate(files):
        # called by a number: a name may mean something to a program
        copy = directory / f"{number}.deb"
        shutil.copyfile(name, copy)
        stanza = f"{_control(job, Path(name), copy)}\nFilename: ./{copy.name}\nSize: {copy.stat().st_size}\n"
        stanza += f"SHA256: {sha256_of(copy)}\n"
        fields = read_fields(stanza)
        stanzas.append(stanza)
        requests.append(f"{fields['Package']}={fields['Version']}")
    (directory / "Packages").write_text("\n".join(stanzas), encoding="utf-8")
    return OwnPackages(directory, tuple(requests))


def _control(job: Job, given: Path, copy: Path) -> str:
    with copy.open("rb") as file:
        is_package = file.read(len(AR_MAGIC)) == AR_MAGIC
    try:
        if is_package:
            sandbox = replace(job.sandbox, only=(job.sandbox.temporary,))
            return sandbox.run(["dpkg-deb", "-f", str(copy)], capture=True).strip()
    except CommandError as error:
        raise InputError(f"{given} cannot be read as a Debian package", "is it whole?", error.details) from error
    raise InputError(f"{given} is not a Debian package", "package_files are files such as NAME_1.0-1_all.deb")
