"""A directory as a transport: the same layout as OUTPUT, on whatever is mounted there."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from builder.errors import AuditError, InputError, TransferError
from builder.model.artifacts.manifest import MANIFEST, Manifest
from builder.output.offer import Offer, offer_directory
from builder.output.source import SIGNATURE
from builder.output.versions import read_manifest
from builder.system.files import remove_tree, sha256_of, swap_symlink, sync_directory, sync_filesystem, write_atomic
from builder.transports.base import Options, Pushed, Scheme, Transport
from builder.transports.kept import disk_full
from builder.transports.pieces import Piece, whole_files

_DRAFT = ".tmp-upload-"
_FILE = "file://"


class DirectoryTransport(Transport):
    """DIRECTORY/IMAGE/VERSION, and a symbolic link beside it for each tag."""

    def __init__(self, directory: Path, options: Options) -> None:
        self._directory = directory
        self._options = options

    def push(self, version: Path, manifest: Manifest, tags: Sequence[str]) -> Pushed:
        """Copies under a temporary name, checks the copy, renames it, then moves the links."""
        image = self._directory / manifest.image
        target = image / manifest.version
        pieces = whole_files(version, manifest)
        for tag in tags:
            _check_tag(image / tag)
        with disk_full(image):
            image.mkdir(parents=True, exist_ok=True)
            sent = [] if _is_there(target, manifest) else pieces
            if sent:
                _publish(sent, image / f"{_DRAFT}{manifest.version}", target)
            else:
                _add_signature(version, target)
            for tag in tags:
                swap_symlink(image / tag, manifest.version)
        moved = sum(piece.size for piece in sent)
        size = sum(piece.size for piece in pieces)
        return Pushed(str(target), moved, size, len(sent), len(pieces) - len(sent))

    def find(self, image: str, name: str) -> Offer:
        """The link is followed once."""
        return offer_directory((self._directory / image / name).resolve())

    def names(self, image: str) -> tuple[str, ...] | None:
        """What is in the image's directory."""
        directory = self._directory / image
        if not directory.is_dir():
            return ()
        return tuple(sorted(path.name for path in directory.iterdir() if not path.name.startswith(".")))


def _is_there(target: Path, manifest: Manifest) -> bool:
    if not target.exists():
        return False
    if read_manifest(target).root_digest != manifest.root_digest:
        raise AuditError(f"{target} is another version whose digest begins alike", "move it away")
    return True


def _publish(pieces: Sequence[Piece], draft: Path, target: Path) -> None:
    if draft.exists():  # of an upload that was killed
        remove_tree(draft)
    draft.mkdir()
    for piece in pieces:
        copy = draft / piece.name
        shutil.copyfile(piece.part.path, copy)
        if sha256_of(copy) != piece.sha256:
            raise TransferError(f"{copy} is not what was written", "see dmesg: the disk may be failing")
    sync_filesystem(draft)
    draft.rename(target)
    sync_directory(target.parent)


def _add_signature(version: Path, target: Path) -> None:
    """A version that was there unsigned, or signed by another key, gets the signature that came now."""
    signature = version / SIGNATURE
    if signature.exists() and (version / MANIFEST).read_bytes() == (target / MANIFEST).read_bytes():
        write_atomic(target / SIGNATURE, signature.read_bytes())


def _check_tag(link: Path) -> None:
    if link.exists() and not link.is_symlink():
        raise InputError(f"{link} is not a link, so it cannot become a tag", "choose another tag")


def _path(text: str) -> Path:
    if not text.startswith(_FILE):
        return Path(text)
    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost"):
        raise InputError(f"{text} names a host", "file:///PATH")
    return Path(unquote(parts.path))


DIRECTORY = Scheme(
    (_FILE,),
    "a directory",
    lambda reference, options: offer_directory(_path(reference).resolve()),
    lambda target, options: (DirectoryTransport(_path(target), options), ()),
)
