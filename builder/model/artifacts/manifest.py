"""The manifest: what was built, from what, with what, and the checksum of every artifact."""

from __future__ import annotations

import dataclasses
import enum
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.model.artifacts.index import FileRecord, root_digest
from builder.model.recipe import Architecture, DistributionName, GeneratorName, LoaderName, NfsVersion, RootMode
from builder.model.recipe.script import RanScript
from builder.model.syntax import IMAGE_NAME
from builder.model.text.digest import is_sha256
from builder.model.typed import parse_json, schema_of, typed
from builder.model.version import Version

MANIFEST_SCHEMA = 2
DIGEST_SCHEMA = 2
_CONTROL = re.compile(r"[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_SURROGATE = re.compile("[\ud800-\udfff]")  # of no UTF-8
_SIZES = range(2**62)  # as of files in the index
_TIMES = range(-(2**31), 2**34)  # what ext4 can hold, seconds
MANIFEST, ROOTFS, BUNDLE, INDEX, CHECKSUMS, LOG, REPORT = (
    "manifest.json",
    "rootfs.tar.zst",
    "boot.tar.zst",
    "index.json.zst",
    "SHA256SUMS",
    "build.log",
    "report.html",
)


@dataclass(frozen=True)
class Package:
    """One installed package.

    sha256: of its file, where the build fetched it; empty for one that a script of the recipe installed
    by_script: whether a script installed it, or another version than was locked
    source, source_version: what it was built from, by which trackers of security know it; empty where nobody wrote it
        down, as releases before this one did
    """

    name: str
    version: str
    architecture: str
    sha256: str
    by_script: bool = False
    source: str = ""
    source_version: str = ""


@dataclass(frozen=True)
class Artifact:
    """One output file: bytes and SHA-256."""

    size: int
    sha256: str


class RootKind(enum.StrEnum):
    """What a client's root is made of."""

    NFS = "nfs"


class Mounter(enum.StrEnum):
    """What mounts a root, and so decides which options of nfs(5) mean something: a program of klibc, or the kernel."""

    NFSMOUNT = "nfsmount"
    KERNEL = "kernel"


@dataclass(frozen=True)
class NfsRoot:
    """How a client mounts its root: the options that follow the path in nfsroot=.

    mounter: what mounts it; None in manifests of 0.1, where mode and version tell
    """

    mode: RootMode
    version: NfsVersion
    options: tuple[str, ...]
    kind: RootKind = RootKind.NFS
    mounter: Mounter | None = None

    @property
    def is_mounted_by_us(self) -> bool:
        """Whether our scripts mount it: klibc's nfsmount, which generators bring, can do rw over NFSv3 only."""
        if self.mounter is None:
            return (self.mode, self.version) != (RootMode.RW, NfsVersion.V3)
        return self.mounter is Mounter.KERNEL


@dataclass(frozen=True)
class Manifest:
    """What manifest.json holds. Paths and times of the build host are not in it.

    root_digest: SHA-256 (hex) of the canonical file table, the bundle's plain digests, and what menus say
    epoch: seconds; no file of the image is younger
    release: the distribution's, empty where it has none
    cmdline: kernel arguments besides those that name the root
    capabilities: files with capabilities that NFS does not carry to clients
    scripts: what ran inside, in order; manifests of before scripts lack it
    loaders: those in the bundle; manifests of before several lack it
    packages: what the tree's own database had when the image was finished; removed: what a script removed of the locked
    loader_packages: what the bundle's loaders were taken from; releases before this key did not write it down
    renews_lease: whether clients renew the lease of the address that they boot with; None: nobody wrote it down
    digest_schema: what the root digest is of: 1, files alone; 2, also what menus say; manifests of 0.1 lack it
    """

    image: str
    version: Version
    root_digest: str
    epoch: int
    distribution: DistributionName
    release: str
    architecture: Architecture
    kernel: str
    initramfs: GeneratorName
    root: NfsRoot
    cmdline: tuple[str, ...]
    recipe_sha256: str
    packages: tuple[Package, ...]
    capabilities: tuple[str, ...]
    entries: int
    size: int
    artifacts: dict[str, Artifact]
    tools: dict[str, str]
    schema: int = MANIFEST_SCHEMA
    scripts: tuple[RanScript, ...] = ()
    loaders: tuple[LoaderName, ...] = (LoaderName.PXELINUX,)
    digest_schema: int = 1
    removed: tuple[Package, ...] = ()
    loader_packages: tuple[Package, ...] = ()
    renews_lease: bool | None = None

    @property
    def materials(self) -> tuple[Package, ...]:
        """Whatever the version is made of, each once: what is installed, and what loaders were taken from."""
        there = {(one.name, one.version, one.architecture) for one in self.packages}
        more = (one for one in self.loader_packages if (one.name, one.version, one.architecture) not in there)
        return (*self.packages, *more)

    def digest_of(self, files: Sequence[FileRecord], bundle: Mapping[str, str]) -> str:
        """The root digest that it should have, with these files, and a bundle of these (name -> SHA-256)."""
        return root_digest(files, bundle, self._boot() if self.digest_schema > 1 else None)

    def _boot(self) -> Mapping[str, Any]:
        """Everything that a menu is made of, but what a site and a store say."""
        root = dataclasses.asdict(self.root)
        if self.root.mounter is None:
            del root["mounter"]  # of versions from before it was written
        return {
            "image": self.image,
            "architecture": self.architecture,
            "kernel": self.kernel,
            "initramfs": self.initramfs,
            "root": root,
            "cmdline": self.cmdline,
            "loaders": self.loaders,
        }

    def to_json(self) -> str:
        """The bytes of manifest.json: keys sorted, one line break at the end."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Reads manifest.json of any schema so far; ValueError when it is not one of ours."""
        try:
            document = parse_json(text)
            _check_texts(document, _SURROGATE, "text that is not valid UTF-8:")
            manifest = typed(_of_this_schema(document), cls)
            shown = {name: value for name, value in document.items() if name != "capabilities"}
            _check_texts(shown, _CONTROL, "control characters")
            _check_values(manifest)
        except ValueError as error:
            raise ValueError(f"not a manifest: {error}") from error
        # it becomes the name of a directory
        if not IMAGE_NAME.accepts(manifest.image):
            raise ValueError(f"not a manifest: image {manifest.image!r}")
        if not 1 <= manifest.digest_schema <= DIGEST_SCHEMA:
            known = f"1 to {DIGEST_SCHEMA} are known"
            raise ValueError(f"not a manifest: a digest of schema {manifest.digest_schema}, {known}")
        if set(manifest.artifacts) != {ROOTFS, BUNDLE, INDEX}:
            raise ValueError(f"not a manifest: it names {', '.join(manifest.artifacts) or 'no artifact'}")
        return manifest


def _check_values(manifest: Manifest) -> None:
    """ValueError for a digest or a number that is none: some become names of files, and what is asked of servers."""
    artifacts = manifest.artifacts.values()
    digests = [manifest.root_digest, manifest.recipe_sha256]
    digests += [one.sha256 for one in manifest.packages if one.sha256 or not one.by_script]
    digests += [
        one.sha256 for some in (manifest.removed, manifest.loader_packages, manifest.scripts, artifacts) for one in some
    ]
    for text in digests:
        if not is_sha256(text):
            raise ValueError(f"{text!r:.80} is not a SHA-256 digest")
    for size in (manifest.entries, manifest.size, *(artifact.size for artifact in artifacts)):
        if size not in _SIZES:
            raise ValueError(f"a size of {size!r:.40}")
    if manifest.epoch not in _TIMES:
        raise ValueError(f"an epoch of {manifest.epoch!r:.40} seconds")


def _check_texts(value: Any, wrong: re.Pattern[str], what: str) -> None:  # noqa: ANN401 - any JSON
    """ValueError for a text with something `wrong` in it.

    Of control characters: a text that a terminal would obey, or that begins a line where it is printed; but not for
    names of files, which may be any.
    """
    if isinstance(value, str) and wrong.search(value):
        raise ValueError(f"{what} in {value!r:.60}")
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for item in value:
            _check_texts(item, wrong, what)


def _of_this_schema(data: Any) -> Any:  # noqa: ANN401 - any JSON
    """What a manifest of an older schema says, as this one says it.

    Schema 1 called the release `suite`, and a root had no kind, since it was NFS.
    """
    if schema_of(data, MANIFEST_SCHEMA) == MANIFEST_SCHEMA:
        return data
    root = data.get("root")
    if "suite" not in data or "release" in data or not isinstance(root, dict) or "kind" in root:
        raise ValueError("it says schema 1 and has other keys")
    kept = {name: value for name, value in data.items() if name != "suite"}
    return {**kept, "schema": MANIFEST_SCHEMA, "release": data["suite"], "root": {**root, "kind": RootKind.NFS.value}}
