"""A directory as a transport: the same layout as OUTPUT, on whatever is mounted there."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from builder.errors import AuditError, InputError, TransferError
from builder.model.artifacts.manifest import MANIFEST, Manifest
from builder.model.version import VERSION, Version
from builder.output.given import SIGNATURE, may_not_read, open_given, read_given
from builder.output.offer import Asked, Offer, SignedStatement, offer_directory
from builder.output.versions import manifest_in, verify_sizes
from builder.system.files import sha256_of_first
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.owners import group_name, user_name
from builder.system.guarded.private import entered, made_directory
from builder.transports.base import Catalog, Options, Pushed, Scheme, TagMove, Transport
from builder.transports.channel_file import CHANNELS, LARGEST_CHANNEL, ChannelFile, read_channel, write_channel
from builder.transports.kept import disk_full
from builder.transports.pieces import Piece, whole_files

_DRAFT, _REMOVED = ".tmp-upload-", ".tmp-remove-"
_FILE = "file://"
_LOOKS, _PAUSE = 20, 0.05  # at a tag that moves just now; seconds


class DirectoryTransport(Transport):
    """DIRECTORY/IMAGE/VERSION, and a symbolic link beside it for each tag; what is signed about it in channels/."""

    def __init__(self, directory: Path, options: Options) -> None:
        self._directory = directory
        self._options = options

    def push(self, version: HeldDirectory, manifest: Manifest, moves: Sequence[TagMove]) -> Pushed:
        """Copies under a temporary name, checks the copy, renames it, then moves the links."""
        path = self._directory / manifest.image
        pieces = whole_files(version, manifest)
        with disk_full(path), self._image(manifest.image) as image:
            for move in moves:
                _check_tag(image, move.tag)
            sent = [] if _is_there(image, manifest) else pieces
            if sent:
                self._publish(sent, image, manifest.version)
            else:
                self._add_signature(version, image.enter(manifest.version))
            with tags_locked(image):
                for move in moves:
                    self._move(image, manifest, move)
        moved = sum(piece.size for piece in sent)
        size = sum(piece.size for piece in pieces)
        return Pushed(str(path / manifest.version), moved, size, len(sent), len(pieces) - len(sent))

    def _move(self, image: HeldDirectory, manifest: Manifest, move: TagMove) -> None:
        move.check_before(_statement_in(image, move.tag))
        with image.enter(manifest.version) as version:
            document = read_given(version, MANIFEST)
            move.check_document(document, str(version.path))
        if move.statement is not None:
            with entered(image, CHANNELS, directory_mode(self._options.mode)) as channels:
                content = write_channel(manifest, document, move.statement)
                channels.write(f"{move.tag}.json", io.BytesIO(content), self._options.mode)
        image.point(move.tag, manifest.version)
        move.check_after(_statement_in(image, move.tag))

    def statement(self, image: str, tag: str) -> SignedStatement | None:
        """What the file of the channel says."""
        try:
            with HeldDirectory.at((self._directory / image).resolve()) as held:
                return _statement_in(held, tag)
        except FileNotFoundError:
            return None

    def _image(self, name: str) -> HeldDirectory:
        """The directory of an image's versions; one that is there keeps its mode: others may be served from it."""
        with made_directory(self._directory, directory_mode(self._options.mode)) as outer:
            return entered(outer, name, directory_mode(self._options.mode))

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
            os.fchmod(draft.handle, directory_mode(mode) | stat.S_IMODE(os.fstat(draft.handle).st_mode) & stat.S_ISGID)
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
        return _find_offer(self._directory / image / name)

    def names(self, image: str) -> tuple[str, ...] | None:
        """What is in the image's directory."""
        directory = self._directory / image
        if not directory.is_dir():
            return ()
        names = (path.name for path in directory.iterdir() if not path.name.startswith("."))
        return tuple(sorted(name for name in names if name != CHANNELS))

    def catalog(self, image: str) -> Catalog:
        """In the order in which they came; a channel is a link, or what is signed about one."""
        try:
            held = HeldDirectory.at((self._directory / image).resolve())
        except FileNotFoundError:
            return Catalog((), {})
        with held:
            names = [name for name in held.directories() if VERSION.accepts(name)]
            names.sort(key=lambda name: os.stat(name, dir_fd=held.handle, follow_symlinks=False).st_mtime_ns)
            return Catalog(tuple(map(Version, names)), _channels_of(held))

    def remove(self, image: str, version: Version) -> None:
        """First the name, then what it had."""
        with HeldDirectory.at((self._directory / image).resolve()) as held, tags_locked(held):
            if version in _channels_of(held).values():
                raise TransferError(f"{held.path / version} is meant by a channel since", "nothing was removed of it")
            removed = f"{_REMOVED}{version}-{secrets.token_hex(4)}"
            held.rename(version, held, removed)
            held.sync()
            held.remove(removed)


def _channels_of(image: HeldDirectory) -> dict[str, Version | None]:
    found = {}
    for name in image.names():
        target = Path(image.link(name) or "").name
        if image.kind(name) == stat.S_IFLNK and not VERSION.accepts(name):
            found[name] = Version(target) if VERSION.accepts(target) else None
    if image.is_directory(CHANNELS):
        with image.enter(CHANNELS) as channels:
            names = [name.removesuffix(".json") for name in channels.names() if name.endswith(".json")]
        for name in names:
            channel = _channel_in(image, name)
            if channel is None or channel.version is None:
                message = f"{image.path / CHANNELS / name}.json does not say which version it means"
                raise AuditError(message, "upload that version again")
            found[f"{CHANNELS}/{name}"] = channel.version
    return found


def _find_offer(path: Path) -> Offer:
    """The version in a directory, or that a link leads to; every name but a version's is a tag, with what is signed
    about it: whoever can write there can put a directory where a link was.

    The link and what is signed change one after the other: a tag that moves just now is looked at again.
    """
    path = path.absolute()  # which has a name
    if VERSION.accepts(path.name):
        return offer_directory(path, Asked(str(path), version=Version(path.name)))
    asked = Asked(str(path), tag=path.name, place=str(path.parent))
    for _ in range(_LOOKS):
        channel, target = _channel_beside(path), _link_of(path)
        if channel is None or target is None or channel.manifest == f"../{target}/{MANIFEST}":
            break
        time.sleep(_PAUSE)
    return offer_directory(path, asked, None if channel is None else channel.statement)


def _link_of(path: Path) -> str | None:
    """The name that a link leads to; None for anything else."""
    try:
        return path.readlink().name
    except OSError:
        return None


def _channel_beside(path: Path) -> ChannelFile | None:
    try:
        with HeldDirectory.at(path.parent.resolve()) as image:
            return _channel_in(image, path.name)
    except PermissionError as error:
        raise may_not_read(path.parent) from error
    except (FileNotFoundError, NotADirectoryError):
        return None


def _channel_in(image: HeldDirectory, tag: str) -> ChannelFile | None:
    """The file of a channel; AuditError where it is no plain file."""
    if not image.is_directory(CHANNELS):
        return None
    with image.enter(CHANNELS) as channels:
        if not channels.kind(f"{tag}.json"):
            return None
        with open_given(channels, f"{tag}.json") as file:
            return read_channel(file.read(LARGEST_CHANNEL + 1))


def _statement_in(image: HeldDirectory, tag: str) -> SignedStatement | None:
    channel = _channel_in(image, tag)
    return None if channel is None else channel.statement


@contextlib.contextmanager
def tags_locked(image: HeldDirectory) -> Iterator[None]:
    """No other upload moves a tag of the image meanwhile; TransferError where one does, or somebody holds it."""
    for _ in range(_LOOKS):
        try:
            fcntl.flock(image.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            time.sleep(_PAUSE)
    else:
        raise TransferError(f"another upload moves tags in {image.path}", "upload again when it is through")
    try:
        yield
    finally:
        fcntl.flock(image.handle, fcntl.LOCK_UN)


def _is_there(image: HeldDirectory, manifest: Manifest) -> bool:
    if not image.kind(manifest.version):
        return False
    with entered(image, manifest.version, 0) as there:
        found = manifest_in(there)
        if found.root_digest != manifest.root_digest:
            raise AuditError(f"{there.path} is another version whose digest begins alike", "move it away")
        try:
            verify_sizes(there, found.artifacts)
        except AuditError as error:
            raise AuditError(error.message, f"remove {there.path}, and upload it again") from error
    return True


def _check_tag(image: HeldDirectory, tag: str) -> None:
    if image.kind(tag) not in (0, stat.S_IFLNK):
        raise InputError(f"{image.path / tag} is not a link, so it cannot become a tag", "choose another tag")


def directory_mode(mode: int) -> int:
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
    lambda reference, options: _find_offer(_path(reference)),
    lambda target, options: (DirectoryTransport(_path(target), options), ()),
)
