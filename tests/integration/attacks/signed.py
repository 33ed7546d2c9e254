"""A channel of signed versions, as whoever can write to its place sees it, and a server that follows it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.command import run_command
from tests.images import ssh_key
from tests.scratch import new_place
from tests.stores import SERVER
from tests.versions import make_version


@dataclass
class Fleet:
    """Versions in a directory of an operator, the place that they are sent to, and a server with `trust`."""

    work: Path
    capsys: pytest.CaptureFixture[str]
    store: Path = field(default_factory=new_place)

    def __post_init__(self) -> None:
        self.share = self.work / "share"
        self.signers = self.work / "allowed_signers"
        public = ssh_key().with_suffix(".pub").read_text(encoding="ascii")
        self.signers.write_text(f'builder namespaces="diskless" {public}', encoding="ascii")
        self.site = self.store / "site.yml"
        self.site.write_text(f"server: {SERVER}\ntrust: {self.signers}\n", encoding="utf-8")

    def make(self, name: str, image: str = "lab") -> Path:
        return make_version(self.work / "output", {"etc/name": name.encode()}, image=image, files=30)

    def run(self, *arguments: str | Path) -> tuple[int, str, str]:
        return run_command(self.capsys, *map(str, arguments))

    def upload(self, version: Path, tag: str = "stable", *more: str) -> None:
        options: tuple[str | Path, ...] = ("--tag", tag, "--sign", ssh_key(), "-q", *more)
        status, _, error = self.run("upload", version, "--to", self.share, *options)
        assert status == 0, error

    def deploy(self, reference: str | Path | None = None, *more: str | Path) -> tuple[int, str, str]:
        return self.run("deploy", reference or self.tag(), "--to", self.store, *more)

    def tag(self, name: str = "stable", image: str = "lab") -> str:
        return f"file://{self.share / image / name}"

    def keep(self, image: str = "lab") -> Path:
        """A copy of all that lies in the place now, to be played back."""
        copy = self.work / f"copy-{len(list(self.work.iterdir()))}"
        shutil.copytree(self.share / image, copy, symlinks=True)
        return copy

    def play_back(self, copy: Path, image: str = "lab") -> None:
        """Puts back what tags meant, whatever signs that; versions are there still."""
        for path in (self.share / image).iterdir():
            if path.is_symlink() or path.name == "channels":
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for path in copy.iterdir():
            if path.is_symlink():
                (self.share / image / path.name).symlink_to(path.readlink())
            elif path.name == "channels":
                shutil.copytree(path, self.share / image / "channels")
