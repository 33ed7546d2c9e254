"""Who is believed, about what: signers, their images, revoked keys, and what a channel must show."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import AuditError
from builder.model.artifacts.channel import ChannelStatement
from builder.model.artifacts.manifest import Manifest
from builder.output.offer import Offer
from builder.output.signature import verify_signature


@dataclass(frozen=True)
class SignerTrust:
    """What a site, or whoever pulls, says.

    allowed: an ALLOWED_SIGNERS file
    images: image -> the principals who may sign it; where there is any, nobody signs an image that is not there
    revoked: a list of public keys, or a KRL
    require_statement: whether a channel without a statement is refused, although none was ever seen
    """

    allowed: Path
    images: Mapping[str, Sequence[str]] = field(default_factory=dict)
    revoked: Path | None = None
    require_statement: bool = False

    def verify_manifest(self, data: bytes, manifest: Manifest, signature: bytes | None, what: str) -> str:
        """Who signed a manifest's bytes; errors as of `verify_signature`, AuditError for who may not sign the image."""
        found = verify_signature(data, signature, self.allowed, self.revoked, what)
        return self._chosen(found, manifest.image, what)

    def verify_version(self, offer: Offer) -> str:
        """The same of a version that is offered."""
        return self.verify_manifest(offer.data, offer.manifest, offer.signature, "the version")

    def verify_statement(self, offer: Offer) -> ChannelStatement | None:
        """What the channel that was asked for says, signed by whom it may be; None where it says nothing.

        AuditError where it is of another image, tag or version than what came with it.
        """
        signed, tag = offer.statement, offer.asked.tag
        if tag is None or signed is None:
            return None
        what = f"the statement of the channel {tag}"
        found = verify_signature(signed.data, signed.signature, self.allowed, self.revoked, what)
        self._chosen(found, offer.manifest.image, what)
        try:
            statement = ChannelStatement.from_json(signed.text)
        except ValueError as error:
            raise AuditError(f"{what} cannot be read: {error}", _MOVED) from error
        manifest = offer.manifest
        pairs = {
            "image": (statement.image, manifest.image),
            "tag": (statement.tag, tag),
            "version": (statement.version, manifest.version),
            "manifest": (statement.manifest, hashlib.sha256(offer.data).hexdigest()),
        }
        for name, (said, there) in pairs.items():
            if said != there:
                raise AuditError(f"{what} is of the {name} {said}, and {offer.source.name} gives {there}", _MOVED)
        return statement

    def _chosen(self, found: Sequence[str], image: str, what: str) -> str:
        if not self.images:
            return found[0]
        for principal in found:
            if principal in self.images.get(image, ()):
                return principal
        hint = f"in site.yml: signers: [{{image: {image}, names: [{found[0]}]}}], if they may"
        raise AuditError(f"{found[0]} signed {what}, and may not sign the image {image}", hint)


_MOVED = "somebody moved what was signed: upload the version with --tag and --sign again, and ask who can write there"
