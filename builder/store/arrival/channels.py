"""What a store has seen of channels, and whom its site believes.

DIR/channels.json remembers it, and so does a file of this machine outside of the store: a store that was restored from
a backup does not believe what it saw replaced. No prune touches either. Of the two the higher serial counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from builder.errors import AuditError, HostError, InputError
from builder.model.artifacts.memory import ChannelMemory
from builder.model.site import Site
from builder.output.trust import SignerTrust
from builder.system.files import FULL, write_atomic

MEMORY = "channels.json"
_MOST = 4 << 20  # bytes


def trust_of(site: Site, allowed: Path | None = None, revoked: Path | None = None) -> SignerTrust | None:
    """Whom a site believes; None where it asks for no signature. `allowed` and `revoked` take the place of its own.

    InputError where it says who may sign, and nothing says by which keys.
    """
    keys = allowed or (Path(site.trust) if site.trust else None)
    if keys is None:
        if site.signers or site.revoked or site.require_statement or revoked:
            message = "signers, revoked keys or statements are configured, but no trusted keys are"
            raise InputError(
                message, "write trust: FILE into site.yml, an allowed_signers file (deploy also takes --trust)"
            )
        return None
    images = {signer.image: signer.names for signer in site.signers}
    lists = revoked or (Path(site.revoked) if site.revoked else None)
    return SignerTrust(keys, images, lists, site.require_statement)


class StoreMemory:
    """Reads and writes what was seen. state: the directory of this machine for that, None: the store's file alone."""

    def __init__(self, root: Path, state: Path | None) -> None:
        self._path = root / MEMORY
        name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
        self._beside = None if state is None else state / "channels" / f"{name}.json"

    def read(self) -> ChannelMemory:
        """All that either file says; AuditError where one cannot be read."""
        memory = _read(self._path)
        return memory if self._beside is None else memory.merged(_read(self._beside))

    def write(self, memory: ChannelMemory, warn: Callable[[str], None]) -> None:
        """Remembers it in both, on disk; where this machine's cannot be written that is said."""
        content = memory.to_json().encode()
        _write(self._path, content)
        if self._beside is None:
            return
        try:
            self._beside.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(self._beside, content)
        except OSError as error:
            if error.errno in FULL:
                raise
            warn(
                f"{self._beside}: {error.strerror}: if the store is restored from a backup, older versions are believed"
            )


def _write(path: Path, content: bytes) -> None:
    try:
        if path.read_bytes() == content:
            return
    except FileNotFoundError:
        pass
    write_atomic(path, content, 0o600)


def _read(path: Path) -> ChannelMemory:
    try:
        with path.open("rb") as file:
            return ChannelMemory.from_json(file.read(_MOST))
    except FileNotFoundError:
        return ChannelMemory()
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", "it says which versions were seen last") from error
    except ValueError as error:
        hint = "it says which versions were seen last; remove it, and older ones than those are believed again"
        raise AuditError(f"{path} cannot be read: {error}", hint) from error
