"""A directory as a transport: the same layout as OUTPUT, on whatever is mounted there."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from builder.errors import AuditError, InputError, TransferError
from builder.model.artifacts.manifest import MANIFEST, Manifest
from builder.model.version import Version
from builder.output.given import SIGNATURE, open_given, read_given
from builder.output.offer import Offer, offer_directory
from builder.output.versions import manifest_in
from builder.system.files import sha256_of_first
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.owners import group_name, user_name
from builder.system.guarded.private import entered, made_directory
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

    def push(self, version: HeldDirectory, manifest: Manifest, tags: Sequence[str]) -> Pushed:
        """Copies under a temporary name, checks the copy, renames it, then moves the links."""
        path = self._directory / manifest.image
        pieces = whole_files(version, manifest)
        with disk_full(path), self._image(manifest.image) as image:
            for tag in tags:
                _check_tag(image, tag)
            sent = [] if _is_there(image, manifest) else pieces
            if sent:
                self._publish(sent, image, manifest.version)
            else:
                self._add_signature(version, image.enter(manifest.version))
            for tag in tags:
                image.point(tag, manifest.version)
        moved = sum(piece.size for piece in sent)
        size = sum(piece.size for piece in pieces)
        return Pushed(str(path / manifest.version), moved, size, len(sent), len(pieces) - len(sent))

    def _image(self, name: str) -> HeldDirectory:
        """The directory of an image's versions; one that is there keeps its mode: others may be served from it."""
        with made_directory(self._directory, _of_directory(self._options.mode)) as outer:
            return entered(outer, name, _of_directory(self._options.mode))

    def _publish(self, pieces: Sequence[Piece], image: HeldDirectory, version: Version) -> None:
        mode, prefix = self._options.mode, f"{_DRAFT}{version}-"
        for name in image.names():  # of an upload that was killed
            if name.startswith(prefix):
                image.remove(name)
        draft = image.make_temporary(prefix)
        try:
            for piece in pieces:
                with piece.part.open() as file:
                    draft.write(piece.name, file, mode)
                with draft.open(piece.name) as copy:
                    if sha256_of_first(copy, piece.size) != piece.sha256:
                        message = f"{draft.path / piece.name} is not what was written"
                        raise TransferError(message, "see dmesg: the disk may be failing")
            os.fchmod(draft.handle, _of_directory(mode) | stat.S_IMODE(os.fstat(draft.handle).st_mode) & stat.S_ISGID)
            draft.sync_filesystem()
            image.rename(draft.path.name, image, version)
        except BaseException:
            image.remove(draft.path.name)
            raise
        image.sync()
        if not mode & stat.S_IROTH:
            self._options.progress.note(_readers(image.path / version, draft))

    def _add_signature(self, version: HeldDirectory, target: HeldDirectory) -> None:
        """A version that was there unsigned, or signed by another key, gets the signature that came now."""
        if version.kind(SIGNATURE) and read_given(version, MANIFEST) == read_given(target, MANIFEST):
            with open_given(version, SIGNATURE) as file:
                target.write(SIGNATURE, file, self._options.mode)

    def find(self, image: str, name: str) -> Offer:
        """The link is followed once."""
        return offer_directory(self._directory / image / name)

    def names(self, image: str) -> tuple[str, ...] | None:
        """What is in the image's directory."""
        directory = self._directory / image
        if not directory.is_dir():
            return ()
        return tuple(sorted(path.name for path in directory.iterdir() if not path.name.startswith(".")))


def _is_there(image: HeldDirectory, manifest: Manifest) -> bool:
    if not image.kind(manifest.version):
        return False
    with entered(image, manifest.version, 0) as there:
        if manifest_in(there).root_digest != manifest.root_digest:
            raise AuditError(f"{there.path} is another version whose digest begins alike", "move it away")
    return True


def _check_tag(image: HeldDirectory, tag: str) -> None:
    if image.kind(tag) not in (0, stat.S_IFLNK):
        raise InputError(f"{image.path / tag} is not a link, so it cannot become a tag", "choose another tag")


def _of_directory(mode: int) -> int:
    """The mode of a directory whose files have this one: who may read may enter."""
    return mode | mode >> 2 & 0o111


def _readers(version: Path, held: HeldDirectory) -> str:
    """Who can read what was uploaded, and how a web server can."""
    info = os.fstat(held.handle)
    who = f"{user_name(info.st_uid)} and the group {group_name(info.st_gid)}"
    groups = f"give {version.parents[1]} its group: chgrp -R GROUP, chmod -R g+s"
    return f"{version} is for {who} only; for a web server: --mode 0644, or {groups}"


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
    lambda reference, options: offer_directory(_path(reference)),
    lambda target, options: (DirectoryTransport(_path(target), options), ()),
)
