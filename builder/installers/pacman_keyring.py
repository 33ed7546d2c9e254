"""The keys that packages must be signed by: populated once into the cache, copied for each build, never into an image.

The steps are those of `pacman-key --populate`, whose directory of keyrings is fixed and differs between
distributions; gpg-agent, which gpg starts, ends with the sandbox's process namespace.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from pathlib import Path

from builder.errors import CommandError, HostError, InputError
from builder.installers.base import Job
from builder.installers.shared import locked
from builder.model.recipe import ArchDistribution, Architecture

# where Arch and where Debian install archlinux-keyring
_DIRECTORIES = ("/usr/share/pacman/keyrings", "/usr/share/keyrings")
_NAMES = {Architecture.X86_64: "archlinux", Architecture.I686: "archlinux32"}
_FINGERPRINT = re.compile(r"^[0-9A-F]{40}(?=:|\s*$)", re.MULTILINE)
# gpg: commands after the key's name are what it would ask for
_DISABLE = 'for key; do gpg --homedir "$0" --batch --quiet --no-tty --edit-key "$key" disable quit; done'
_FORMAT = "1"  # of the cached directory


def find_keyring(distribution: ArchDistribution) -> Path:
    """The keyring file on this host; HostError that says how to get one."""
    name = _NAMES[distribution.architecture]
    if distribution.keyring is not None:
        candidates = [Path(distribution.keyring)]
    else:
        candidates = [Path(directory) / f"{name}.gpg" for directory in _DIRECTORIES]
    found = next((path for path in candidates if path.is_file()), None)
    if found is not None:
        return found
    if distribution.keyring is not None:
        raise HostError(
            f"the keyring {distribution.keyring} is not on this host",
            "correct distribution.keyring: NAME.gpg, with NAME-trusted and NAME-revoked beside it",
        )
    package = f"{name}-keyring"
    raise HostError(
        f"the keyring of {package} is not on this host",
        f"Debian: apt-get install {package}; Arch Linux: pacman -S {package}; or unpack the package anywhere and set "
        f"distribution.keyring to its {name}.gpg",
    )


def prepare_keyring(job: Job, keyring: Path, target: Path, config: Path) -> None:
    """Makes `target` a GnuPG home for pacman that trusts what `keyring` says; `config` is any pacman.conf.

    InputError when the file holds no key.
    """
    parts = [_read(keyring), _read(_beside(keyring, "trusted")), _read(_beside(keyring, "revoked"))]
    digest = hashlib.sha256(b"\0".join([_FORMAT.encode(), *parts])).hexdigest()[:16]
    store = job.cache / "pacman" / "keyrings"
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    cached = store / digest
    with locked(store / "lock", job.notify):
        if not cached.is_dir():
            job.notify(f"preparing the keyring {keyring}: once, about a minute for Arch Linux's")
            _populate(job, keyring, cached, config)
    shutil.copytree(cached, target)
    target.chmod(0o700)


def _populate(job: Job, keyring: Path, cached: Path, config: Path) -> None:
    home = Path(tempfile.mkdtemp(prefix=".tmp-", dir=cached.parent))
    try:
        # the agent's socket elsewhere: the path of one has at most 107 bytes, unix(7)
        (home / "S.gpg-agent").write_text("%Assuan%\nsocket=/tmp/agent\n", "ascii")
        key = ["pacman-key", "--config", str(config), "--gpgdir", str(home)]
        gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--no-tty", "--no-permission-warning"]
        job.sandbox.run([*key, "--init"])
        try:
            job.sandbox.run([*gpg, "--import", str(keyring)])
        except CommandError as error:
            raise InputError(
                f"{keyring} holds no keys that gpg can read", "give the NAME.gpg of a keyring package"
            ) from error
        trusted = _fingerprints(_beside(keyring, "trusted"))
        if trusted:
            job.sandbox.run([*key, "--lsign-key", *trusted])
            job.sandbox.run([*gpg, "--import-ownertrust", str(_beside(keyring, "trusted"))])
        revoked = _fingerprints(_beside(keyring, "revoked"))
        if revoked:
            job.sandbox.run(["sh", "-c", _DISABLE, str(home), *revoked])
        job.sandbox.run([*gpg, "--check-trustdb"])
        for leftover in home.glob("S.*"):
            leftover.unlink()
        home.rename(cached)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _beside(keyring: Path, kind: str) -> Path:
    return keyring.with_name(f"{keyring.stem}-{kind}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _fingerprints(path: Path) -> list[str]:
    return _FINGERPRINT.findall(_read(path).decode("ascii", "replace"))
