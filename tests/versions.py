"""Whole, valid version directories in a second, without packages: what a build leaves, small and deterministic."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import zstandard

from builder.archive.members import read_members
from builder.archive.unpack import unpack
from builder.archive.writer import Member, memory_members, scan_tree, write_archive
from builder.loaders.table import LOADERS, menu_files
from builder.model.artifacts.index import DIRECTORY, FILE, HARDLINK, SYMLINK, FileRecord, Index
from builder.model.artifacts.manifest import (
    BUNDLE,
    CHECKSUMS,
    DIGEST_SCHEMA,
    INDEX,
    LOG,
    MANIFEST,
    ROOTFS,
    Artifact,
    Manifest,
    NfsRoot,
)
from builder.model.menu import INITRAMFS, KERNEL
from builder.model.recipe import NfsVersion, RootMode
from builder.model.version import Version
from builder.output.versions import LATEST, read_manifest
from builder.render.boot.cmdline import bundle_menu
from builder.system.files import sha256_of, swap_symlink
from tests.efi_programs import efi_program, grub_program, shim_program
from tests.samples import MANIFEST as SAMPLE

EPOCH = 1767312000
RELEASE = "6.1.0-1-test"
CAP_NET_RAW = "0100000200200000000000000000000000000000"  # cap_net_raw+ep as capabilities(7) stores it
_MODULES = f"usr/lib/modules/{RELEASE}/kernel/fs/nfs"


@dataclass(frozen=True)
class Entry:
    """One entry of a tree; `link` is the target of a symbolic link or, for HARDLINK, the path that sorts before."""

    content: bytes = b""
    type: str = FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = EPOCH
    link: str = ""
    xattrs: Mapping[str, str] = field(default_factory=dict)


Tree = Mapping[str, Entry]
Changes = Mapping[str, Entry | bytes | None]


def some_bytes(name: str, size: int) -> bytes:
    """Content that belongs to a name, half of it compressible."""
    half = random.Random(name).randbytes((size + 1) // 2)
    return (half + (name.encode() + b"\n") * (size // len(name) + 1))[:size]


def sample_tree(files: int = 300) -> dict[str, Entry]:
    """A tree with everything that a deploy can lose, and plain files up to about `files` entries; 4 MB for 300."""
    tree = {**_special_entries(), **_odd_names()}
    for number in range(max(0, files - len(tree))):
        path = (f"etc/app{number}.conf", f"usr/lib/part{number}.so", f"usr/share/doc/{number}/text")[number % 3]
        size = random.Random(number).choice((100, 1000, 5000, 20000, 60000))
        tree[path] = Entry(some_bytes(path, size), mode=0o755 if number % 3 == 1 else 0o644, mtime=EPOCH - number)
    return tree


def _special_entries() -> dict[str, Entry]:
    ping = Entry(some_bytes("ping", 70000), mode=0o755, xattrs={"security.capability": CAP_NET_RAW})
    return {
        "bin": Entry(type=SYMLINK, mode=0o777, link="usr/bin"),
        "etc/empty": Entry(),
        "etc/hostname": Entry(b"lab\n"),
        "etc/mtab": Entry(type=SYMLINK, mode=0o777, link="../proc/self/mounts"),
        "etc/shadow": Entry(b"root:*:19000:0:99999:7:::\n", mode=0o640, gid=42),
        "tmp": Entry(type=DIRECTORY, mode=0o1777),
        "usr/bin/perl": Entry(some_bytes("perl", 300000), mode=0o755),
        "usr/bin/perl5": Entry(type=HARDLINK, mode=0o755, link="usr/bin/perl"),
        "usr/bin/ping": ping,
        "usr/bin/ping6": dataclasses.replace(ping, content=b"", type=HARDLINK, link="usr/bin/ping", xattrs={}),
        "usr/bin/su": Entry(some_bytes("su", 50000), mode=0o4755),
        "usr/bin/write": Entry(some_bytes("write", 9000), mode=0o2755, gid=5),
        "usr/lib/libbig.so": Entry(some_bytes("libbig", (5 << 19) + 123), mode=0o755),
        "usr/lib/libbig.so.1": Entry(type=SYMLINK, mode=0o777, link="libbig.so"),
        f"{_MODULES}/nfs.ko": Entry(some_bytes("nfs", 200000)),
        f"{_MODULES}/nfsv3.ko": Entry(some_bytes("nfsv3", 40000)),
        "var/mail": Entry(type=DIRECTORY, mode=0o2775, gid=8),
        "var/note": Entry(b"user attributes\n", uid=1000, gid=1000, xattrs={"user.origin": b"\0\xff=\n".hex()}),
    }


def _odd_names() -> dict[str, Entry]:
    names = ("-option", "back\\slash", "new\nline", "quote'\"", "*?[", " space ", "%n", "#", "größe", "日本", "n" * 200)
    return {f"etc/odd/{name}": Entry(name.encode()) for name in names}


def make_version(
    output: Path,
    changes: Changes | None = None,
    *,
    image: str = "lab",
    mode: str = "overlay",
    files: int = 300,
    kernel: bytes = b"",
    epoch: int = EPOCH,
    grub: str | None = None,
    shim: str = "16.1",
    signed: bool = True,
    cmdline: tuple[str, ...] | None = None,
) -> Path:
    """Makes OUTPUT/IMAGE/VERSION of the sample tree with `changes` (None removes) and returns it; latest points there.

    kernel: what follows the header in the stand-in for vmlinuz, so that another one makes another bundle
    grub: the version of the GRUB that is in the bundle too, and iPXE with it; None: PXELINUX alone
    shim: with GRUB, the version of the shim before it
    signed: with GRUB, whether Debian signed the kernel
    cmdline: kernel arguments besides those that name the root; None: the sample's
    """
    tree: dict[str, Entry] = sample_tree(files)
    for path, change in (changes or {}).items():
        tree.pop(path, None)
        if change is not None:
            tree[path] = change if isinstance(change, Entry) else Entry(change)
    (output / image).mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".tmp-version-", dir=output / image))
    nfs = NfsRoot(RootMode(mode), NfsVersion.V4_2 if mode == RootMode.OVERLAY else NfsVersion.V3, ())
    base = dataclasses.replace(SAMPLE, image=image, epoch=epoch, root=nfs, cmdline=cmdline or SAMPLE.cmdline)
    bundle = _bundle(kernel) if grub is None else {**_bundle(kernel, signed=signed), **_uefi_loaders(grub, shim)}
    version = _write_artifacts(draft, tree, base, bundle)
    draft.chmod(0o755)
    target = output / image / version
    if target.exists():
        shutil.rmtree(draft)
    else:
        draft.rename(target)
    swap_symlink(output / image / LATEST, version)
    return target


def change_version(version: Path, output: Path, edit: Callable[[Path], object]) -> Path:
    """A version of the image of another one (a real one, for example), with a tree that `edit` has changed."""
    manifest = read_manifest(version)
    draft = output / manifest.image / ".tmp-draft"
    tree = draft / "tree"
    tree.mkdir(parents=True)
    unpack(version / ROOTFS, version / INDEX, tree)
    edit(tree)
    index = write_archive(scan_tree(tree, manifest.epoch), draft / ROOTFS)
    shutil.rmtree(tree)
    shutil.copyfile(version / BUNDLE, draft / BUNDLE)
    name = _finish_artifacts(draft, manifest, index, read_members(version / BUNDLE))
    return draft.rename(output / manifest.image / name)


def tree_members(tree: Tree, epoch: int = EPOCH) -> Iterator[Member]:
    """The members of an archive of `tree`, with the directories that it needs."""
    parents = {str(parent) for path in tree for parent in PurePosixPath(path).parents}
    whole = {**{path: Entry(type=DIRECTORY, mode=0o755) for path in parents}, **tree}
    for path in sorted(whole, key=str.encode):
        entry = whole[path]
        yield Member(_record(path, entry, epoch), _opener(entry.content) if entry.type == FILE else None)


def _record(path: str, entry: Entry, epoch: int) -> FileRecord:
    return FileRecord(
        path=path,
        type=entry.type,
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        mtime=min(entry.mtime, epoch),
        size=len(entry.content),
        sha256="",
        link=entry.link,
        xattrs=entry.xattrs,
        frame=0,
    )


def _opener(content: bytes) -> Callable[[], BinaryIO]:
    return lambda: io.BytesIO(content)


def _write_artifacts(directory: Path, tree: Tree, base: Manifest, files: Mapping[str, bytes]) -> str:
    """Everything that pack writes, and a log; returns the version."""
    epoch = base.epoch
    loaders = [loader for loader in LOADERS.values() if set(loader.files) & set(files)]
    draft = dataclasses.replace(
        base,
        kernel=RELEASE,
        root_digest="",
        digest_schema=DIGEST_SCHEMA,
        loaders=tuple(loader.name for loader in loaders),
    )
    menus = menu_files([bundle_menu(draft)], loaders)
    bundle = {**files, **{path: text.encode() for path, text in menus.items()}}
    index = write_archive(tree_members(tree, epoch), directory / ROOTFS)
    write_archive(memory_members(bundle, epoch), directory / BUNDLE)
    return _finish_artifacts(directory, draft, index, bundle)


def _finish_artifacts(directory: Path, draft: Manifest, index: Index, bundle: Mapping[str, bytes]) -> str:
    """The index, the manifest and the checksums."""
    _write_index(index, directory / INDEX)
    digest = draft.digest_of(
        index.files, {name: hashlib.sha256(content).hexdigest() for name, content in bundle.items()}
    )
    manifest = dataclasses.replace(
        draft,
        version=Version.of(draft.epoch, digest),
        root_digest=digest,
        capabilities=tuple(f"/{file.path}" for file in index.files if "security.capability" in file.xattrs),
        entries=len(index.files),
        size=sum(file.size for file in index.files),
        artifacts={
            name: Artifact((directory / name).stat().st_size, sha256_of(directory / name))
            for name in (ROOTFS, BUNDLE, INDEX)
        },
    )
    (directory / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    sums = [f"{sha256_of(directory / name)}  {name}\n" for name in sorted((BUNDLE, INDEX, MANIFEST, ROOTFS))]
    (directory / CHECKSUMS).write_text("".join(sums), encoding="ascii")
    (directory / LOG).write_text("$ true\n", encoding="ascii")
    return manifest.version


def _write_index(index: Index, path: Path) -> None:
    compressor = zstandard.ZstdCompressor(level=10, write_checksum=True, write_content_size=True)
    path.write_bytes(compressor.compress(index.to_json()))


def _bundle(kernel: bytes, *, signed: bool = False) -> dict[str, bytes]:
    image = kernel_image(RELEASE) + some_bytes("vmlinuz", 400000) + kernel
    return {
        KERNEL: efi_program(signers=["Debian Secure Boot Signer"], body=image) if signed else image,
        INITRAMFS: _initramfs() + b"\0" * 512,
        "pxelinux.0": some_bytes("pxelinux.0", 40000),
        "lpxelinux.0": some_bytes("lpxelinux.0", 90000),
        "ldlinux.c32": some_bytes("ldlinux.c32", 100000),
    }


def _uefi_loaders(grub: str, shim: str) -> dict[str, bytes]:
    return {
        "shimx64.efi": shim_program(shim),
        "grubx64.efi": grub_program(grub),
        "mmx64.efi": shim_program(shim),
        "ipxe/undionly.kpxe": some_bytes("undionly.kpxe", 70000),
        "ipxe/ipxe.efi": efi_program(),
    }


def kernel_image(release: str) -> bytes:
    """The head of an x86 kernel that says its release where boot.rst says it does."""
    head = bytearray(0x400)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = (0x100).to_bytes(2, "little")
    text = f"{release} (test) #1\0".encode()
    head[0x300 : 0x300 + len(text)] = text
    return bytes(head)


def _initramfs() -> bytes:
    """A plain cpio with the modules that mount a root."""
    names = [f"{_MODULES}/nfs.ko", f"{_MODULES}/nfsv3.ko", "TRAILER!!!"]
    return b"".join(cpio_entry(name.encode()) for name in names)


def cpio_entry(name: bytes) -> bytes:
    fields = [0, 0o100644, 0, 0, 1, 0, 0, 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + name + b"\0"
    return head + b"\0" * (-len(head) % 4)
