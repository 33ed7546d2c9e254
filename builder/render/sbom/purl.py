"""Package URLs: one name for a package that scanners of any kind know.

Source: the specification of purl, and its types deb and alpm.
"""

from __future__ import annotations

from packageurl import PackageURL

from builder.model.artifacts.manifest import Manifest, Package
from builder.model.recipe import DistributionName

# type and namespace
_KINDS = {DistributionName.DEBIAN: ("deb", "debian"), DistributionName.ARCH: ("alpm", "arch")}


def package_url(manifest: Manifest, package: Package) -> str:
    """The purl of a package of a version. `upstream` is its source, where that has another name or version."""
    qualifiers = {"arch": package.architecture}
    if manifest.distribution is DistributionName.DEBIAN and manifest.release:
        qualifiers["distro"] = manifest.release
    if package.source and (package.source, package.source_version) != (package.name, package.version):
        version = "" if package.source_version == package.version else f"@{package.source_version}"
        qualifiers["upstream"] = package.source + version
    kind, namespace = _KINDS[manifest.distribution]
    return PackageURL(kind, namespace, package.name, package.version, qualifiers).to_string()
