"""OpenPGP keys of every sort, in one home: certified, expired, revoked; made by gpg, at whatever time."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.pacman_distribution.package import Package
from tests.pacman_distribution.repository import Key, stop_agent

MADE, EXPIRING = "20200101T000000", "20200102T000000"


@dataclass(frozen=True)
class KeyHome:
    """A GnuPG home at a short path, since the agent's socket is in it. Keys are named by their fingerprints."""

    path: Path

    def make(self, owner: str, *, at: str | None = None, usage: str = "cert,sign") -> str:
        """A new key."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        user = f"{owner} <{owner}@example.org>"
        self.gpg("--passphrase", "", "--quick-generate-key", user, "ed25519", usage, "never", at=at)
        return self._fingerprints(owner)[0]

    def add_subkey(self, key: str) -> str:
        """The fingerprint of a new signing subkey."""
        self.gpg("--passphrase", "", "--quick-add-key", key, "ed25519", "sign", "never")
        return self._fingerprints(key)[-1]

    def certify(self, key: str, *by: str) -> None:
        for master in by:
            self.gpg("--local-user", master, "--quick-sign-key", key)

    def expire(self, key: str) -> None:
        """Makes it, of a key that was made at MADE, one that expired on the first of February 2020."""
        self.gpg("--passphrase", "", "--quick-set-expire", key, "30d", at=EXPIRING)

    def revoke(self, key: str) -> None:
        text = (self.path / f"openpgp-revocs.d/{key}.rev").read_text("utf-8")
        certificate = self.path / "revocation"
        certificate.write_text(text.replace(":-----BEGIN", "-----BEGIN"), "utf-8")
        self.gpg("--import", str(certificate))

    def export(self, *keys: str) -> bytes:
        return self.gpg("--export", *keys)

    def sign(self, path: Path, by: str) -> None:
        """Writes PATH.sig."""
        Key(self.path, by).sign(path)

    def key(self, fingerprint: str) -> Key:
        """For what signs repositories; `FINGERPRINT!` signs with that very subkey."""
        return Key(self.path, fingerprint)

    def stop(self) -> None:
        stop_agent(Key(self.path, ""))

    def gpg(self, *arguments: str, at: str | None = None) -> bytes:
        command = ["gpg", "--homedir", str(self.path), "--batch", "--quiet", "--no-tty", "--yes"]
        command += ["--faked-system-time", f"{at}!"] if at else []
        return subprocess.run([*command, *arguments], check=True, capture_output=True).stdout

    def _fingerprints(self, key: str) -> list[str]:
        listed = self.gpg("--with-colons", "--list-keys", key).decode()
        return [line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:")]


def ring_files(name: str, keys: bytes, trusted: Mapping[str, int], revoked: Iterable[str] = ()) -> dict[str, bytes]:
    """The three files of a pacman keyring."""
    return {
        f"{name}.gpg": keys,
        f"{name}-trusted": "".join(f"{key}:{level}:\n" for key, level in trusted.items()).encode(),
        f"{name}-revoked": "".join(f"{key}\n" for key in revoked).encode(),
    }


def keyring_package(name: str, version: str, files: Mapping[str, bytes]) -> Package:
    """NAME-keyring of pacman's kind."""
    package = Package(f"{name}-keyring", version)
    for file, content in files.items():
        package.add_file(f"usr/share/pacman/keyrings/{file}", content)
    return package
