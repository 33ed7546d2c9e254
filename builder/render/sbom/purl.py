"""Package URLs: one name for a package that scanners of any kind know.

Source: the specification of purl, and its types deb and alpm.
"""

from __future__ import annotations

import urllib.parse

from builder.model.artifacts.manifest import Manifest, Package
from builder.model.recipe import DistributionName

_TYPES = {DistributionName.DEBIAN: "deb/debian", DistributionName.ARCH: "alpm/arch"}


def package_url(manifest: Manifest, package: Package) -> str:
    """The purl of a package of a version. `upstream` is its source, where that has another name or version."""
    qualifiers = {"arch": package.architecture}
    if manifest.distribution is DistributionName.DEBIAN and manifest.release:
        qualifiers["distro"] = manifest.release
    if package.source and (package.source, package.source_version) != (package.name, package.version):
        version = "" if package.source_version == package.version else f"@{package.source_version}"
        qualifiers["upstream"] = package.source + version
    query = "&".join(f"{key}={_quoted(value)}" for key, value in sorted(qualifiers.items()))
    return f"pkg:{_TYPES[manifest.distribution]}/{_quoted(package.name)}@{_quoted(package.version)}?{query}"


def _quoted(text: str) -> str:
    """A colon stays as it is, everywhere in a purl."""
    return urllib.parse.quote(text, safe=":")
