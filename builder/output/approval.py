"""Whether a version may come in: signed by whom, as its channel says now, and nothing older than what was seen."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass

from builder.errors import AuditError
from builder.model.artifacts.channel import ChannelStatement
from builder.model.artifacts.manifest import Manifest
from builder.model.artifacts.memory import ChannelMemory, SeenStatement
from builder.model.text.moment import Moment
from builder.output.offer import Offer
from builder.output.trust import SignerTrust

_DAY, _SKEW = 86400, 300  # seconds
_NAME_IT = "name the version itself, if you mean it: its name is no channel's"


@dataclass(frozen=True)
class Approval:
    """A version that may come in.

    signer: who signed it; statement: what its channel says, None where none was asked for, or it says nothing
    trust: whom was believed; memory: what is to be remembered; notes, warnings: sentences for people
    """

    trust: SignerTrust
    signer: str
    statement: ChannelStatement | None
    memory: ChannelMemory
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def approve(
    offer: Offer, trust: SignerTrust, memory: ChannelMemory, now: Moment, *, allow_downgrade: bool = False
) -> Approval:
    """AuditError, which says why, for a version that may not.

    allow_downgrade: whether a statement that is older than what was seen is believed, and remembered instead
    """
    image, tag = offer.manifest.image, offer.asked.tag
    signer = trust.verify_version(offer)
    _check_place(offer, memory)
    memory = memory.with_place(offer.asked.place, image)
    if tag is None:
        return Approval(trust, signer, None, memory, notes=other_than_channels(offer.manifest, memory))
    statement = trust.verify_statement(offer)
    if statement is None:
        return Approval(trust, signer, None, memory, warnings=(_without_statement(offer, tag, trust, memory),))
    sha256 = hashlib.sha256(offer.statement.data if offer.statement else b"").hexdigest()
    seen = memory.seen(image, tag)
    notes: tuple[str, ...] = ()
    if seen is not None and not _follows(statement, sha256, seen):
        if not allow_downgrade:
            raise _older(statement, seen)
        notes = (f"{image} {tag} goes back from serial {seen.serial} to {statement.serial}, as --allow-downgrade says",)
    warnings = _check_time(statement, 0 if allow_downgrade else memory.newest_issued, now)
    memory = memory.with_statement(statement, sha256, forget=allow_downgrade)
    return Approval(trust, signer, statement, memory, notes, warnings)


def _check_place(offer: Offer, memory: ChannelMemory) -> None:
    place, image = offer.asked.place, offer.manifest.image
    known = memory.places.get(place, image)
    if known != image:
        message = f"{place} has the image {image}, and had {known} until now"
        raise AuditError(message, "give each image a place of its own; --image says which one is meant")


def other_than_channels(manifest: Manifest, memory: ChannelMemory) -> tuple[str, ...]:
    """That a version which somebody named is another one than what the image's channels meant at last."""
    notes = []
    for tag, seen in sorted(memory.channels.get(manifest.image, {}).items()):
        if seen.version != manifest.version:
            older = "older than" if manifest.version[:8] < seen.version[:8] else "another version than"
            notes.append(
                f"{manifest.image} {manifest.version} is {older} {seen.version}, which {tag} meant at last "
                f"(serial {seen.serial})"
            )
    return tuple(notes)


def _without_statement(offer: Offer, tag: str, trust: SignerTrust, memory: ChannelMemory) -> str:
    """What to say of a channel that says nothing; AuditError where it should."""
    image = offer.manifest.image
    seen = memory.channels.get(image, {})
    message = f"nobody signed what {tag} of {image} means: it may be an older version"
    if trust.require_statement:
        raise AuditError(message, f"diskless upload --tag {tag} --sign KEY signs it; {_NAME_IT}")
    if seen:
        known = ", ".join(f"{name} has serial {one.serial}" for name, one in sorted(seen.items()))
        hint = f"somebody took the statement away, or moved the tag with an old diskless; {_NAME_IT}"
        raise AuditError(f"{message}; the channels of this image are signed: {known}", hint)
    return f"{message}. `diskless upload --tag {tag} --sign KEY` signs it"


def _follows(statement: ChannelStatement, sha256: str, seen: SeenStatement) -> bool:
    return statement.serial > seen.serial or (statement.serial, sha256) == (seen.serial, seen.sha256)


def _older(statement: ChannelStatement, seen: SeenStatement) -> AuditError:
    name = f"{statement.image} {statement.tag}"
    if statement.serial == seen.serial:
        message = f"{name} has two statements of serial {seen.serial}: {seen.version} was seen, this one is another"
        return AuditError(message, f"two uploads at once: upload what is meant with --serial {seen.serial + 1}")
    message = (
        f"{name} is {statement.version} of serial {statement.serial}, and {seen.version} of {seen.serial} was seen"
    )
    return AuditError(
        message, f"somebody plays back what was signed before; if it is meant: --allow-downgrade; {_NAME_IT}"
    )


def _check_time(statement: ChannelStatement, newest: int, now: Moment) -> tuple[str, ...]:
    """AuditError where a statement holds no more; what is to be said of the clock."""
    name = f"the statement of {statement.image} {statement.tag}"
    if now.clock.synchronised and statement.issued > now.time + _DAY:
        message = f"{name} was issued at {_time(statement.issued)}, and it is {_time(now.time)}"
        raise AuditError(message, "the clock of who uploaded it was wrong: upload it again")
    latest = max(now.time, newest)
    if statement.expires <= latest:
        message = f"{name} expired at {_time(statement.expires)}, and it is {_time(latest)}"
        hint = "somebody keeps newer ones back, or nobody renewed it: diskless upload --renew --tag --sign"
        raise AuditError(message, hint)
    newest = max(newest, statement.issued)
    if now.time + _SKEW < newest:
        return (f"this machine's clock says {_time(now.time)}, and it is {_time(newest)} at least: the clock is wrong",)
    return ()


def _time(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
