"""The manifest: what was built, from what, with what, and the checksum of every artifact."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from dataclasses import dataclass
from typing import Any

from builder.model.script import RanScript
from builder.model.syntax import IMAGE_NAME
from builder.model.typed import conforms

SCHEMA = 1
MANIFEST, ROOTFS, BUNDLE, INDEX, CHECKSUMS, LOG, REPORT = (
    "manifest.json",
    "rootfs.tar.zst",
    "boot.tar.zst",
    "index.json.zst",
    "SHA256SUMS",
    "build.log",
    "report.html",
)


_VERSION = re.compile(r"[0-9]{8}-[0-9a-f]{8}")


@dataclass(frozen=True)
class Package:
    """One installed package."""

    name: str
    version: str
    architecture: str
    sha256: str


@dataclass(frozen=True)
class Artifact:
    """One output file: bytes and SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True)
class NfsRoot:
    """How a client mounts its root: the options that follow the path in nfsroot=."""

    mode: str
    version: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """What manifest.json holds. Paths and times of the build host are not in it.

    root_digest: SHA-256 (hex) of the canonical file table and the bundle's plain digests
    epoch: seconds; no file of the image is younger
    cmdline: kernel arguments besides those that name the root
    capabilities: files with capabilities that NFS does not carry to clients
    scripts: what ran inside, in order; manifests of before scripts lack it
    """

    image: str
    version: str
    root_digest: str
    epoch: int
    distribution: str
    suite: str
    architecture: str
    kernel: str
    initramfs: str
    root: NfsRoot
    cmdline: tuple[str, ...]
    recipe_sha256: str
    packages: tuple[Package, ...]
    capabilities: tuple[str, ...]
    entries: int
    size: int
    artifacts: dict[str, Artifact]
    tools: dict[str, str]
    schema: int = SCHEMA
    scripts: tuple[RanScript, ...] = ()

    def to_json(self) -> str:
        """The bytes of manifest.json: keys sorted, one line break at the end."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    @functools.lru_cache(maxsize=32)  # a deploy reads those of its store again and again
    def from_json(cls, text: str) -> Manifest:
        """Reads manifest.json; ValueError when it is not one of ours."""
        try:
            data: dict[str, Any] = json.loads(text)
            if data.get("schema") != SCHEMA:
                raise ValueError(f"manifest of schema {data.get('schema')!r}, this program reads {SCHEMA}")
            data["root"] = NfsRoot(**{**data["root"], "options": tuple(data["root"]["options"])})
            data["packages"] = tuple(Package(**package) for package in data["packages"])
            data["artifacts"] = {name: Artifact(**value) for name, value in data["artifacts"].items()}
            data["scripts"] = tuple(RanScript(**script) for script in data.get("scripts", ()))
            data["cmdline"] = tuple(data["cmdline"])
            data["capabilities"] = tuple(data["capabilities"])
            manifest = cls(**data)
        except (TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"not a manifest: {error}") from error
        # both become names of directories
        if not (
            conforms(manifest, cls) and IMAGE_NAME.accepts(manifest.image) and _VERSION.fullmatch(manifest.version)
        ):
            raise ValueError(f"not a manifest: image {manifest.image!r}, version {manifest.version!r}")
        if set(manifest.artifacts) != {ROOTFS, BUNDLE, INDEX}:
            raise ValueError(f"not a manifest: it names {', '.join(manifest.artifacts) or 'no artifact'}")
        return manifest
