"""The versions of a store, read once when a command begins, and handed down through its steps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from builder.errors import AuditError, InputError
from builder.model.artifacts.manifest import Manifest
from builder.model.version import ImageVersion, Version
from builder.output.versions import read_manifest
from builder.store.layout import Store

Unreadable = InputError | AuditError


@dataclass(frozen=True)
class Inventory:
    """What a store holds.

    found: every version by its place, in the order of their names, with its manifest or why that cannot be read
    """

    store: Store
    found: Mapping[ImageVersion, Manifest | Unreadable]

    @property
    def manifests(self) -> list[Manifest]:
        """Of every version that can be read and is in its own place; `verify` names the others."""
        return [
            manifest
            for place, manifest in self.found.items()
            if isinstance(manifest, Manifest) and place == (manifest.image, manifest.version)
        ]

    @property
    def images(self) -> list[str]:
        """The names of all images that have a version, sorted."""
        return list(dict.fromkeys(image for image, _ in self.found))

    def versions(self, image: str) -> list[Version]:
        """The versions of an image, readable or not, oldest name first."""
        return [version for name, version in self.found if name == image]

    def get(self, image: str, version: Version) -> Manifest | None:
        """The manifest of a version; None where there is none that can be read."""
        found = self.found.get((image, version))
        return found if isinstance(found, Manifest) else None

    def require(self, image: str, version: Version) -> Manifest:
        """The manifest of a version; InputError or AuditError where there is none that can be read."""
        found = self.found.get((image, version))
        if found is None:  # who only looks holds no lock: it may have come since, else this says what is missing
            return read_manifest(self.store.version(image, version))
        if isinstance(found, Manifest):
            return found
        raise found

    def plus(self, manifest: Manifest) -> Inventory:
        """With a version that has come into the store."""
        found = {**self.found, (manifest.image, manifest.version): manifest}
        return Inventory(self.store, dict(sorted(found.items(), key=lambda item: item[0])))

    def minus(self, gone: Collection[ImageVersion]) -> Inventory:
        """Without some versions."""
        return Inventory(self.store, {place: found for place, found in self.found.items() if place not in gone})


def read_inventory(store: Store) -> Inventory:
    """Reads every manifest of a store."""
    found: dict[ImageVersion, Manifest | Unreadable] = {}
    for image in store.images():
        for version in store.version_names(image):
            try:
                found[image, version] = read_manifest(store.version(image, version))
            except (InputError, AuditError) as error:
                found[image, version] = error
    return Inventory(store, found)
