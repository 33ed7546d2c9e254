"""upload: from a version here to a registry, a web server or a directory elsewhere."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builder.errors import AuditError, DisklessError, InputError
from builder.model.artifacts.channel import LARGEST_SERIAL, TAG, ChannelStatement
from builder.model.artifacts.manifest import Manifest
from builder.model.version import VERSION, Version
from builder.output.given import hold_version
from builder.output.offer import SignedStatement
from builder.output.signature import sign_bytes, sign_version, verify_signature
from builder.output.versions import manifest_bytes, manifest_in
from builder.system.clock import read_moment
from builder.system.guarded.held import HeldDirectory
from builder.transports.base import Options, Pushed, TagMove, Transport
from builder.transports.oci.transport import DEFAULT_TAG
from builder.transports.retention import Retention, list_outdated
from builder.transports.table import open_transport

DEFAULT_LIFE = 30 * 86400  # seconds


@dataclass(frozen=True)
class Signing:
    """How a version and its tags are signed.

    key: an ssh key, or its public half; None: nothing is signed
    life: seconds until what is signed about a tag expires
    serial: of what is signed about a tag; None: one more than that of what is signed about it now
    renew: whether the tag must mean this version already
    trust: who may have signed what a tag means now, an ALLOWED_SIGNERS file; None: whoever can write there
    """

    key: Path | None = None
    life: int = DEFAULT_LIFE
    serial: int | None = None
    renew: bool = False
    trust: Path | None = None


@dataclass(frozen=True)
class Uploaded:
    """What an upload did: the version, the tags that mean it now, and what was sent.

    before: what the first of the tags meant until now; None where it meant nothing, or nobody could tell
    serials: tag -> serial of what was signed about it
    removed: versions that were not to be kept any longer
    """

    manifest: Manifest
    tags: tuple[str, ...]
    pushed: Pushed
    before: Manifest | None
    serials: dict[str, int]
    removed: tuple[Version, ...] = ()


def upload(
    version: Path,
    target: str,
    tags: Sequence[str],
    options: Options,
    signing: Signing | None = None,
    retention: Retention | None = None,
) -> Uploaded:
    """Sends what `target` lacks of a version and moves the tags to it; signs both first, if asked.

    Without tags the version becomes the target's `latest`. Half an upload is never found under a name. TransferError,
    and no tag moved, where another upload moved it meanwhile; InputError where a signed tag would move unsigned.

    retention: what is kept there besides; where that cannot be done, the error says that the version was uploaded
    """
    signing = signing or Signing()
    held = hold_version(version)
    manifest = manifest_in(held)
    transport, own_tags = open_transport(target, options)
    names = tuple(dict.fromkeys((*own_tags, *tags))) or (DEFAULT_TAG,)
    for name in names:
        if not TAG.accepts(name) or VERSION.accepts(name):
            raise InputError(f"{name!r} cannot be a tag", "letters, digits, `.`, `_`, `-`, and no version's name")
    if signing.key is not None:
        with options.progress.step("sign"):
            sign_version(held, signing.key)
    with options.progress.step("upload"):
        before = _meaning(target, names[0], manifest.image, options)
        moves, serials = _moves(transport, held, manifest, names, signing)
        pushed = transport.push(held, manifest, moves)
        newest = [one.version for one in (before, manifest) if one is not None and one.image == manifest.image]
        removed = _remove_outdated(transport, manifest.image, newest, retention or Retention(), pushed, options)
    return Uploaded(manifest, names, pushed, before, serials, removed)


def _remove_outdated(
    transport: Transport,
    image: str,
    newest: Sequence[Version],
    retention: Retention,
    pushed: Pushed,
    options: Options,
) -> tuple[Version, ...]:
    removed: list[Version] = []
    if retention == Retention():
        return ()
    try:
        for version in list_outdated(transport.catalog(image), retention, tuple(dict.fromkeys(newest))):
            transport.remove(image, version)
            options.progress.note(f"removed {version}")
            removed.append(version)
    except DisklessError as error:
        done = f"{len(removed)} older versions were removed" if removed else "no older version was removed"
        error.message = f"{pushed.reference} was uploaded, {done}: {error.message}"
        error.args = (error.message,)
        raise
    return tuple(removed)


def _moves(
    transport: Transport, version: HeldDirectory, manifest: Manifest, names: Sequence[str], signing: Signing
) -> tuple[list[TagMove], dict[str, int]]:
    """What is signed about each tag is read first; the next one has a higher serial."""
    digest = hashlib.sha256(manifest_bytes(version)).hexdigest()
    moves, serials = [], {}
    for name in names:
        there = transport.statement(manifest.image, name)
        if signing.key is None:
            if there is not None:
                raise InputError(
                    f"what {name} means is signed", "give --sign KEY, or leave that tag to who has the key"
                )
            moves.append(TagMove(name))
            continue
        before = _read(there, name, signing)
        if signing.renew and (before is None or before.version != manifest.version):
            meant = "nothing that is signed" if before is None else before.version
            raise InputError(
                f"{name} means {meant}, not {manifest.version}", "pull what it means, or leave out --renew"
            )
        now = read_moment().time
        serial = signing.serial or (1 if before is None else before.serial + 1)
        statement = ChannelStatement(
            manifest.image, name, manifest.version, digest, serial, now, now + signing.life
        ).to_json()
        moves.append(TagMove(name, SignedStatement(statement, sign_bytes(statement.encode(), signing.key)), there))
        serials[name] = serial
    return moves, serials


def _read(there: SignedStatement | None, name: str, signing: Signing) -> ChannelStatement | None:
    """What a tag says now. AuditError for nonsense, and InputError for a serial that does not follow."""
    if there is None:
        return None
    begins_anew = signing.serial is not None and not signing.renew
    hint = "--serial N begins anew, with a number that is higher than what any server has seen"
    try:
        if signing.trust is not None:
            verify_signature(there.data, there.signature, signing.trust, what=f"what {name} means")
        before = ChannelStatement.from_json(there.text)
    except (ValueError, AuditError) as error:
        if begins_anew:
            return None
        message = error.message if isinstance(error, AuditError) else f"{name} is signed with nonsense: {error}"
        raise AuditError(message, hint) from error
    if signing.serial is not None and signing.serial <= before.serial:
        message = f"--serial {signing.serial}: {name} has serial {before.serial} already"
        raise InputError(message, f"give a higher one, {before.serial + 1} for example, or leave it out")
    if before.serial >= LARGEST_SERIAL:
        raise AuditError(f"{name} has the highest serial that there is", "use another tag, and ask who signed that")
    return before


def _meaning(target: str, tag: str, image: str, options: Options) -> Manifest | None:
    """Asked for once: it is for the summary only."""
    once = replace(options, cache=None, retries=replace(options.retries, attempts=1))
    with contextlib.suppress(DisklessError, OSError):
        return open_transport(target, once)[0].find(image, tag).manifest
    return None
