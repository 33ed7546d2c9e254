"""A version as an OCI 1.1 artifact: the text of its manifest, and what such a text says.

Source: the OCI image specification 1.1, manifest.md, "Guidelines for Artifact Usage".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.errors import AuditError, InputError
from builder.model.artifacts.manifest import BUNDLE, CHECKSUMS, INDEX, MANIFEST, ROOTFS, Manifest
from builder.model.typed import parse_json
from builder.model.version import VERSION, Version
from builder.output.given import SIGNATURE
from builder.output.offer import SignedStatement
from builder.transports.pieces import LEAST_LAYERS, MOST_LAYERS, Cut, Piece

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
ARTIFACT_TYPE = "application/vnd.diskless.version.v1"
EMPTY = b"{}"
EMPTY_SHA256 = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_TITLE = "org.opencontainers.image.title"
_VERSION = "org.opencontainers.image.version"
_MOST = "vnd.diskless.layers"
_STATEMENT, _STATEMENT_SIGNATURE = "vnd.diskless.channel", "vnd.diskless.channel.signature"
_TYPES = {
    MANIFEST: "application/vnd.diskless.manifest.v1+json",
    SIGNATURE: "application/vnd.diskless.signature.v1",
    CHECKSUMS: "text/plain",
    INDEX: "application/vnd.diskless.index.v1+zstd",
}
_PART_TYPES = {
    BUNDLE: "application/vnd.diskless.bundle.v1.tar+zstd",
    ROOTFS: "application/vnd.diskless.rootfs.v1.tar+zstd",
}
_COUNT = re.compile("[0-9]{1,6}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Layer:
    """One blob that an OCI manifest names."""

    title: str
    digest: str
    size: int


@dataclass(frozen=True)
class OciManifest:
    """What an OCI manifest of ours says: the image, files by name, and the parts of bundle and archive in order.

    most: how many layers it was cut into at most; None: it has the fine cut
    version: what the annotation says; None where it is no version
    """

    image: str
    files: Mapping[str, Layer]
    bundle: Sequence[Layer]
    archive: Sequence[Layer]
    statement: SignedStatement | None = None
    most: int | None = None
    version: Version | None = None

    @property
    def digests(self) -> set[str]:
        """Of all blobs."""
        return {layer.digest for layer in (*self.files.values(), *self.bundle, *self.archive)}


def write_document(manifest: Manifest, cut: Cut, statement: SignedStatement | None = None) -> bytes:
    """The OCI manifest of a version; the same version, cut alike, gives the same bytes.

    statement: of a tag that is to have this manifest
    """
    bound = {} if cut.most is None else {_MOST: str(cut.most)}
    signed = {} if statement is None else {_STATEMENT: statement.text, _STATEMENT_SIGNATURE: _text(statement)}
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": {"mediaType": _EMPTY_TYPE, "digest": f"sha256:{EMPTY_SHA256}", "size": len(EMPTY)},
        "layers": [_descriptor(piece) for piece in cut.pieces],
        "annotations": {
            _TITLE: manifest.image,
            _VERSION: manifest.version,
            "vnd.diskless.root-digest": manifest.root_digest,
            **bound,
            **signed,
        },
    }
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def _text(statement: SignedStatement) -> str:
    return statement.signature.decode("ascii")


def _statement(annotations: Mapping[str, Any]) -> SignedStatement | None:
    """ValueError where one of the two is missing, or no text."""
    text, signature = annotations.get(_STATEMENT), annotations.get(_STATEMENT_SIGNATURE)
    if text is None and signature is None:
        return None
    if not isinstance(text, str) or not isinstance(signature, str):
        raise ValueError("a channel statement without a signature, or the other way about")
    return SignedStatement(text, signature.encode("ascii"))


def _version(text: str) -> Version | None:
    return Version(text) if VERSION.accepts(text) else None


def _bound(annotations: Mapping[str, Any]) -> int | None:
    text = str(annotations.get(_MOST, ""))
    return int(text) if _COUNT.fullmatch(text) and LEAST_LAYERS <= int(text) <= MOST_LAYERS else None


def _descriptor(piece: Piece) -> dict[str, Any]:
    return {
        "mediaType": _TYPES.get(piece.name) or _PART_TYPES[piece.part.name],
        "digest": f"sha256:{piece.sha256}",
        "size": piece.size,
        "annotations": {_TITLE: piece.name},
    }


def read_document(data: bytes, name: str) -> OciManifest:
    """Reads an OCI manifest; InputError for other things than versions, AuditError for one that makes no sense."""
    try:
        document = parse_json(data)
        kind = document.get("artifactType") or document.get("mediaType")
        if kind != ARTIFACT_TYPE:
            raise InputError(
                f"{name} is {kind or 'something else'}, no version of an image", "diskless upload makes one"
            )
        layers = [_layer(row) for row in document["layers"]]
        image = str(document["annotations"][_TITLE])
        statement = _statement(document["annotations"])
        most = _bound(document["annotations"])
        version = str(document["annotations"].get(_VERSION))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AuditError(f"{name} has no manifest that we can read: {error}", "upload the version again") from error
    files = {layer.title: layer for layer in layers if layer.title in _TYPES}
    found = OciManifest(
        image, files, _parts(layers, BUNDLE), _parts(layers, ROOTFS), statement, most, _version(version)
    )
    there = {**files, BUNDLE: found.bundle, ROOTFS: found.archive}
    missing = [file for file in (MANIFEST, INDEX, BUNDLE, ROOTFS) if not there.get(file)]
    if missing:
        raise AuditError(f"{name} lacks {', '.join(missing)}", "upload the version again")
    return found


def _parts(layers: Iterable[Layer], name: str) -> list[Layer]:
    return sorted((layer for layer in layers if layer.title.startswith(f"{name}.")), key=lambda layer: layer.title)


def _layer(row: Mapping[str, Any]) -> Layer:
    """ValueError unless sizes and digests are such that they can become addresses and ranges."""
    title, digest, size = row["annotations"][_TITLE], row["digest"], row["size"]
    if not (isinstance(title, str) and isinstance(size, int) and size > 0 and _DIGEST.fullmatch(digest)):
        raise ValueError("a layer without name, size or SHA-256")
    return Layer(title, digest, size)
