"""A version's bill of materials: SPDX 2.3 and CycloneDX 1.6, both in JSON.

A function of the manifest alone: the same version has the same document, to the byte, whoever makes it and when.
Sources: the SPDX specification 2.3; the CycloneDX specification 1.6, ECMA-424.
"""

from __future__ import annotations

import enum
import json
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from builder.model.artifacts.manifest import Manifest, Package
from builder.render.sbom.purl import package_url

_ROOT = "SPDXRef-Image"
_NO_ID = re.compile(r"[^A-Za-z0-9.-]")  # what an SPDX identifier has no place for


class SbomFormat(enum.StrEnum):
    """What a bill of materials is written in."""

    SPDX = "spdx"
    CYCLONEDX = "cyclonedx"


# what they are called beside a manifest, by the endings that their specifications recommend
SBOM_NAMES: Mapping[SbomFormat, str] = {
    SbomFormat.SPDX: "sbom.spdx.json",
    SbomFormat.CYCLONEDX: "sbom.cdx.json",
}


def sbom(manifest: Manifest, form: SbomFormat) -> str:
    """The document, with one line break at its end."""
    return json.dumps(_MAKERS[form](manifest), indent=1, ensure_ascii=False) + "\n"


def _spdx(manifest: Manifest) -> dict[str, Any]:
    packages = [_spdx_package(manifest, number, one) for number, one in enumerate(manifest.materials, 1)]
    image = {
        "SPDXID": _ROOT,
        "name": manifest.image,
        "versionInfo": manifest.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "comment": f"root digest SHA-256 {manifest.root_digest}",
    }
    contained = [_relationship(_ROOT, "CONTAINS", package["SPDXID"]) for package in packages]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{manifest.image}-{manifest.version}",
        "documentNamespace": f"https://spdx.org/spdxdocs/{manifest.image}-{manifest.version}-{_identity(manifest)}",
        "creationInfo": {"created": _moment(manifest), "creators": [f"Tool: diskless-{_maker(manifest)}"]},
        "packages": [image, *packages],
        "relationships": [_relationship("SPDXRef-DOCUMENT", "DESCRIBES", _ROOT), *contained],
    }


def _relationship(element: str, kind: str, related: str) -> dict[str, str]:
    return {"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": related}


def _spdx_package(manifest: Manifest, number: int, package: Package) -> dict[str, Any]:
    purl = {
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": package_url(manifest, package),
    }
    made: dict[str, Any] = {
        "SPDXID": f"SPDXRef-Package-{number}-{_NO_ID.sub('-', package.name)}",
        "name": package.name,
        "versionInfo": package.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "externalRefs": [purl],
    }
    if package.sha256:
        made["checksums"] = [{"algorithm": "SHA256", "checksumValue": package.sha256}]
    if package.source:
        made["sourceInfo"] = f"built from {package.source} {package.source_version}"
    return made


def _cyclonedx(manifest: Manifest) -> dict[str, Any]:
    components = [_component(manifest, package) for package in manifest.materials]
    image = f"{manifest.image}@{manifest.version}"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{_identity(manifest)}",
        "version": 1,
        "metadata": {
            "timestamp": _moment(manifest),
            "tools": {"components": [{"type": "application", "name": "diskless", "version": _maker(manifest)}]},
            "component": {
                "type": "operating-system",
                "bom-ref": image,
                "name": manifest.image,
                "version": manifest.version,
            },
        },
        "components": components,
        "dependencies": [{"ref": image, "dependsOn": [component["bom-ref"] for component in components]}],
    }


def _component(manifest: Manifest, package: Package) -> dict[str, Any]:
    purl = package_url(manifest, package)
    made: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": package.name,
        "version": package.version,
        "purl": purl,
    }
    if package.sha256:
        made["hashes"] = [{"alg": "SHA-256", "content": package.sha256}]
    if package.source:
        made["properties"] = [{"name": "diskless:source", "value": f"{package.source} {package.source_version}"}]
    return made


def _identity(manifest: Manifest) -> str:
    """A UUID of what the manifest says, RFC 9562: another one for another manifest, the same for the same."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, manifest.to_json()))


def _maker(manifest: Manifest) -> str:
    return manifest.tools.get("diskless", "unknown")


def _moment(manifest: Manifest) -> str:
    """The version's date: no clock is in any artifact."""
    return datetime.fromtimestamp(manifest.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_MAKERS: Mapping[SbomFormat, Callable[[Manifest], dict[str, Any]]] = {
    SbomFormat.SPDX: _spdx,
    SbomFormat.CYCLONEDX: _cyclonedx,
}
