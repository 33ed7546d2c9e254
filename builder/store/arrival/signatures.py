"""Signatures of the versions in a store: kept beside their manifests, and looked at again before they are served."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection
from dataclasses import dataclass

from builder.errors import AuditError
from builder.model.artifacts.manifest import MANIFEST, Manifest
from builder.model.version import ImageVersion
from builder.output.given import SIGNATURE, read_given
from builder.output.offer import Offer
from builder.output.signature import RevokedKeyError
from builder.output.trust import SignerTrust
from builder.store.inventory import Inventory
from builder.store.layout import Store

_MODE = 0o644
_DEPLOY = "deploy it again, after pruning it"


def signer_of(store: Store, manifest: Manifest, trust: SignerTrust) -> str | None:
    """Who signed the manifest of a version, as it lies there; None where no signature was kept, as by 0.1.

    AuditError where it does not fit or is of nobody who may sign the image, RevokedKeyError for a revoked key.
    """
    with store.hold(store.version(manifest.image, manifest.version)) as held:
        if not held.kind(SIGNATURE):
            return None
        data, signature = read_given(held, MANIFEST), read_given(held, SIGNATURE)
    return trust.verify_manifest(data, manifest, signature, f"{manifest.image} {manifest.version}")


def keep_signature(store: Store, offer: Offer, trust: SignerTrust | None) -> None:
    """Puts the signature of what was offered beside the same manifest; another manifest keeps its own.

    AuditError where with `trust` the version that is there is signed by nobody, or by nobody who may.
    """
    manifest = offer.manifest
    with store.hold(store.version(manifest.image, manifest.version)) as held:
        there = read_given(held, SIGNATURE) if held.kind(SIGNATURE) else None
        is_new = offer.signature is not None and there != offer.signature
        if is_new and read_given(held, MANIFEST) == offer.data:
            held.write(SIGNATURE, io.BytesIO(offer.signature or b""), _MODE)
    if trust is not None:
        _check_stored(store, manifest, trust)


def _check_stored(store: Store, manifest: Manifest, trust: SignerTrust) -> None:
    """AuditError unless the version that is there now is signed as the one that was offered."""
    if signer_of(store, manifest, trust) is None:
        message = f"{manifest.image} {manifest.version} is in the store with another manifest, which nobody signed"
        raise AuditError(message, "prune that version, and deploy again")


@dataclass(frozen=True)
class Recheck:
    """How versions are looked at again before menus name them.

    trust: whom the site believes; warn: hears what is no reason to refuse
    allow_revoked: whether a version of a revoked key is served all the same
    """

    trust: SignerTrust
    warn: Callable[[str], None]
    allow_revoked: bool = False

    def version(self, store: Store, manifest: Manifest) -> None:
        """AuditError for a version that must not be booted by clients."""
        name = f"{manifest.image} {manifest.version}"
        try:
            if signer_of(store, manifest, self.trust) is None:
                self.warn(f"{name} is not checked: it came in without a signature")
        except RevokedKeyError as error:
            if not self.allow_revoked:
                raise
            self.warn(f"{error.message}: --allow-revoked serves it all the same")

    def chosen(self, inventory: Inventory, manifest: Manifest) -> None:
        """As `version`, and says what is wrong with others, which menus name as well."""
        self.version(inventory.store, manifest)
        self.others(inventory, manifest)

    def others(self, inventory: Inventory, chosen: Manifest) -> None:
        """Says which other versions were altered, or are of a revoked key."""
        for manifest in inventory.manifests:
            if manifest is not chosen and manifest != chosen:
                try:
                    signer_of(inventory.store, manifest, self.trust)
                except AuditError as error:
                    self.warn(f"{error.message}: prune it")

    def menus(self, inventory: Inventory, served: Collection[ImageVersion]) -> None:
        """AuditError where a version was altered, or one that clients boot by themselves is of a revoked key."""
        for manifest in inventory.manifests:
            try:
                self.version(inventory.store, manifest)
            except RevokedKeyError as error:
                if (manifest.image, manifest.version) in served:
                    error.hint = "deploy a version that is signed by another key, or roll back to one"
                    raise
                self.warn(f"{error.message}: prune it")
            except AuditError as error:
                error.hint = error.hint and f"{error.hint}; {_DEPLOY}"
                raise
