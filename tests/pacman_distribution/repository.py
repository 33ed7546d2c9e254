"""A pacman repository on disk, signed or not, and the keyring that its key is in."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.pacman_distribution.package import Package


@dataclass(frozen=True)
class Key:
    """A signing key without passphrase, in a GnuPG home of its own."""

    home: Path
    fingerprint: str

    def sign(self, path: Path) -> None:
        """Writes PATH.sig, a detached signature."""
        self._gpg("--yes", "--detach-sign", "--local-user", self.fingerprint, "--output", f"{path}.sig", str(path))

    def write_keyring(self, directory: Path, name: str, *, trusted: bool = True) -> Path:
        """NAME.gpg with NAME-trusted and NAME-revoked beside it, as archlinux-keyring has them; returns NAME.gpg."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{name}.gpg"
        path.write_bytes(self._gpg("--export", self.fingerprint))
        (directory / f"{name}-trusted").write_text(f"{self.fingerprint}:4:\n" if trusted else "", "ascii")
        (directory / f"{name}-revoked").write_text("", "ascii")
        return path

    def _gpg(self, *arguments: str) -> bytes:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--no-tty", *arguments]
        return subprocess.run(command, check=True, capture_output=True).stdout


def make_key(home: Path, owner: str) -> Key:
    """A new key of `owner`."""
    home.mkdir(mode=0o700, parents=True)
    key = Key(home, owner)
    key._gpg("--passphrase", "", "--quick-generate-key", f"{owner} <{owner}@example.org>", "ed25519", "sign", "never")
    listed = key._gpg("--with-colons", "--list-keys", owner).decode()
    fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
    stop_agent(key)
    return Key(home, fingerprint)


def stop_agent(key: Key) -> None:
    """Ends the gpg-agent that signing starts."""
    subprocess.run(["gpgconf", "--homedir", key.home, "--kill", "all"], check=True, capture_output=True)


def make_repository(directory: Path, name: str, packages: Iterable[Package], key: Key | None = None) -> Path:
    """Writes the packages and NAME.db into `directory`, signed by `key`; returns the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    index_packages(directory, name, [package.write(directory) for package in packages], key)
    return directory


def index_packages(directory: Path, name: str, files: Sequence[Path], key: Key | None) -> None:
    """NAME.db of package files that lie in `directory`, each signed if there is a key.

    repo-add puts the signatures that it finds into the database, which it no longer does since pacman 6.1: they are
    made after it, so that they are fetched as files.
    """
    command: list[str | Path] = ["repo-add", "--quiet", directory / f"{name}.db.tar.gz", *sorted(files)]
    subprocess.run(command, check=True, capture_output=True)
    if key is not None:
        for file in files:
            key.sign(file)
        stop_agent(key)
