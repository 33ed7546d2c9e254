"""The contract of transports: what every place that keeps versions can do."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import AuditError, TransferError
from builder.model.artifacts.channel import ChannelStatement
from builder.model.artifacts.manifest import Manifest
from builder.model.version import Version
from builder.output.offer import Offer, SignedStatement
from builder.progress.progress import Progress
from builder.system.guarded.held import HeldDirectory
from builder.transports.retries import Retries


@dataclass(frozen=True)
class Limits:
    """What is waited for.

    rate: bytes a second, over `window` seconds of waiting; longest: seconds for a whole transfer
    """

    rate: float = 1000.0
    window: float = 120.0
    longest: float = 4 * 3600.0


@dataclass(frozen=True)
class Options:
    """What a user can say about a transfer.

    headers: for every request to the target itself, never to where it redirects
    ca: a file with certificates (PEM) to trust instead of the system's
    plain_http: speak HTTP without TLS to a host that is not this one
    token_servers: hosts of another domain than the registry's that may get its login to give a token
    cache: where transfers keep what the next attempt can use; None: nothing outlives this process
    streams: how many requests are under way at once
    mode: of files in a directory that is uploaded to
    layers: how many a version may have at most in a registry; None: as many as the fine cut has, unless it refuses them
    """

    headers: tuple[tuple[str, str], ...] = ()
    ca: Path | None = None
    plain_http: bool = False
    token_servers: tuple[str, ...] = ()
    cache: Path | None = None
    retries: Retries = field(default_factory=Retries)
    limits: Limits = field(default_factory=Limits)
    streams: int = 6
    mode: int = 0o640
    layers: int | None = None
    progress: Progress = field(default_factory=lambda: Progress(quiet=True))


@dataclass(frozen=True)
class Pushed:
    """What an upload did.

    reference: names exactly this version, for deploy and pull
    sent: bytes that went over the line, those that were sent again included
    size: bytes of the whole version; files: pieces that were sent; there: pieces that were there already
    """

    reference: str
    sent: int
    size: int
    files: int
    there: int


@dataclass(frozen=True)
class TagMove:
    """A tag that is to mean a version from now on.

    statement: what is signed about it; None: nothing is
    before: what was signed about it when that was made; it must be so still when the tag moves
    """

    tag: str
    statement: SignedStatement | None = None
    before: SignedStatement | None = None

    def check_document(self, document: bytes, place: str) -> None:
        """AuditError where the manifest that is at `place` is not the one that was signed for."""
        if self.statement is not None:
            try:
                wanted = ChannelStatement.from_json(self.statement.text).manifest
            except ValueError as error:
                raise AuditError(f"the statement of {self.tag} cannot be read: {error}") from error
            if hashlib.sha256(document).hexdigest() != wanted:
                message = f"{place} has the same version with another manifest, as another program packed it"
                raise AuditError(message, f"pull it from there, and upload that with --tag {self.tag} --sign KEY")

    def check_before(self, there: SignedStatement | None) -> None:
        """TransferError where somebody else moved the tag meanwhile."""
        if there != self.before:
            raise self.refusal()

    def refusal(self) -> TransferError:
        """What to say where somebody else moved the tag meanwhile."""
        return TransferError(f"another upload moved {self.tag} meanwhile", "look what it means now, and upload again")

    def check_after(self, there: SignedStatement | None) -> None:
        """The same, when it was moved."""
        if self.statement is not None and there != self.statement:
            message = f"another upload moved {self.tag} at the same time, and both have one serial"
            raise TransferError(message, "look what it means now, and upload again")


@dataclass(frozen=True)
class Catalog:
    """What a place keeps of an image.

    versions: in the order in which they came, as far as the place can tell
    channels: tag -> the version that it means; None where it means no version of ours
    """

    versions: tuple[Version, ...]
    channels: Mapping[str, Version | None]


class Transport(abc.ABC):
    """A place that keeps versions of images under their names and under tags."""

    @abc.abstractmethod
    def push(self, version: HeldDirectory, manifest: Manifest, moves: Sequence[TagMove]) -> Pushed:
        """Sends what is not there of a version directory, then moves the tags to it.

        Nothing half sent is ever found under a name. Raises TransferError, or AuditError where the directory is damaged
        or the place holds another version under this name.
        """

    @abc.abstractmethod
    def statement(self, image: str, tag: str) -> SignedStatement | None:
        """What is signed about a tag now; None where nothing is, or there is no such tag."""

    @abc.abstractmethod
    def find(self, image: str, name: str) -> Offer:
        """The version that a tag or a version's name means now; whatever the tag does later, the offer stays."""

    @abc.abstractmethod
    def names(self, image: str) -> tuple[str, ...] | None:
        """The tags and versions there are, sorted; None where the place cannot tell."""

    @abc.abstractmethod
    def catalog(self, image: str) -> Catalog:
        """What is there of an image now; AuditError where it cannot be told what a channel means."""

    @abc.abstractmethod
    def remove(self, image: str, version: Version) -> None:
        """Removes a version that no channel means; TransferError where the place does not remove anything."""


@dataclass(frozen=True)
class Scheme:
    """How references of one transport are written, and what they mean.

    prefixes: how they begin; example: one, for hints
    find_offer: the version that a reference means now
    open_transport: where uploads to a target go, and the tags that the target itself names
    has_layers: whether versions are kept in layers there
    """

    prefixes: tuple[str, ...]
    example: str
    find_offer: Callable[[str, Options], Offer]
    open_transport: Callable[[str, Options], tuple[Transport, tuple[str, ...]]]
    has_layers: bool = False
