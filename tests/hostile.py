"""What a client can leave below an export that it may write to, by a seed; and some of what only a local root can."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import secrets
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from builder.system.guarded.removal import remove_tree

_GETFLAGS, _SETFLAGS, _IMMUTABLE, _APPEND = 0x80086601, 0x40086602, 0x10, 0x20  # linux/fs.h
# of kernel and modules, which commands read; of what a deploy wrote; of what commands give to their own
_READ = (
    *("boot", "boot/vmlinuz-x", "boot/initrd.img-x"),
    *("lib", "usr/lib/modules", "usr/lib/modules/9.9.9/modules.builtin"),
)
_WRITTEN = ("etc/hostname", "etc/shadow", "usr/bin/perl", "usr/share", "etc", "usr/lib/systemd", "tmp")
_NAMES = (
    *(b"\x1b]0;owned\x07", b"\x1b[2J\x1b[H", b"two\nlines", b"\xff\xfe", b"-rf", b"~", b"$(reboot)", b"'; reboot; '"),
    *(b".tmp-", b".tmp-trash-1", b".tmp-20260102-00000000-abc", b"root", b"20260102-00000000", b"n" * 255),
    *(b"\xc2\x9bm", b" ", b"lab", b"desk", b"current", b"generations", b".lock", b"store.json", b"lost+found"),
)


def chosen_seed() -> int:
    """DISKLESS_TEST_SEED, or another one each time: a failure must say it."""
    return int(os.environ.get("DISKLESS_TEST_SEED") or secrets.randbelow(1 << 32))


def chosen_seconds(usual: float) -> float:
    """How long to try: DISKLESS_TEST_SECONDS, or a few."""
    return float(os.environ.get("DISKLESS_TEST_SECONDS") or usual)


@contextlib.contextmanager
def telling_seed(seed: int) -> Iterator[None]:
    """Whatever goes wrong says by which seed it comes again."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"DISKLESS_TEST_SEED={seed}")
        raise


class Client:
    """One that is root below `image`, the directory of its image, and puts names beside it."""

    def __init__(self, image: Path, outside: Path, chance: random.Random) -> None:
        self._image = image
        self._outside = outside
        self._chance = chance
        self._protected_handles: list[int] = []
        self.done: list[str] = []

    def act(self) -> None:
        """One to four things, at random places."""
        things: tuple[Callable[[Path], object], ...] = (
            *(self._link, self._loop, self._fifo, self._socket, self._device, self._sparse, self._text, self._empty),
            *(self._deep, self._many, self._odd_names, self._closed, self._protected, self._attributes),
            *(self._hard_links, self._nothing, self._elsewhere, self._exchanged),
        )
        for _ in range(self._chance.randint(1, 4)):
            thing, place = self._chance.choice(things), self._place()
            # its parent may be none any more, or lead out, where no client gets to
            real = Path(os.path.realpath(place.parent))
            if place.is_symlink() or not real.is_relative_to(os.path.realpath(self._image.parent)):
                continue
            with contextlib.suppress(OSError):
                thing(place)
                self.done.append(f"{thing.__name__.strip('_')} at {place}")

    def release(self) -> None:
        """So that everything can be removed, wherever it is by now."""
        for handle in self._protected_handles:
            _change_flags(handle, 0)
            os.close(handle)

    def _place(self) -> Path:
        """A name, which may exist: above the roots, in a root, beside everything."""
        roots = sorted(self._image.glob("*/root")) or [self._image / "20260102-11111111/root"]
        root = self._chance.choice(roots)
        above = [self._image, root.parent, root, *(place / self._odd() for place in (self._image, self._image.parent))]
        inside = [root / self._chance.choice((*_READ, *_WRITTEN)), root / "etc" / self._odd(), root / self._odd()]
        return self._chance.choice(above if self._chance.random() < 0.5 else inside)

    def _odd(self) -> str:
        return os.fsdecode(self._chance.choice(_NAMES))

    def _clear(self, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir() and not place.is_symlink():
            remove_tree(place)
        else:
            place.unlink(missing_ok=True)

    def _link(self, place: Path) -> None:
        targets = ("/etc", "/", "../../../..", "/proc/self/root", "/dev/zero", ".")
        self._clear(place)
        place.symlink_to(self._chance.choice((self._outside, self._outside / "file", *targets)))

    def _loop(self, place: Path) -> None:
        self._clear(place)
        place.symlink_to(place.name)

    def _fifo(self, place: Path) -> None:
        self._clear(place)
        os.mkfifo(place, self._chance.choice((0o600, 0o777)))

    def _socket(self, place: Path) -> None:
        self._clear(place)
        os.mknod(place, stat.S_IFSOCK | 0o777)

    def _device(self, place: Path) -> None:
        """No driver has this number: opening it is an error that would be seen."""
        self._clear(place)
        os.mknod(place, self._chance.choice((stat.S_IFCHR, stat.S_IFBLK)) | 0o666, os.makedev(511, 9999))

    def _sparse(self, place: Path) -> None:
        self._clear(place)
        with place.open("wb") as file:
            file.truncate(self._chance.choice((3 << 30, 1 << 43)))

    def _text(self, place: Path) -> None:
        self._clear(place)
        place.write_bytes(self._chance.choice((b"", b"\x7fELF", b"\x1b]0;owned\x07\n", b"{" * 100_000)))

    def _empty(self, place: Path) -> None:
        self._clear(place)
        place.mkdir(parents=True)

    def _deep(self, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        for _ in range(self._chance.choice((50, 400, 1200))):
            os.mkdir("d", dir_fd=handle)
            below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=handle)
            os.close(handle)
            handle = below
        os.symlink(self._outside, "link", dir_fd=handle)
        os.close(handle)

    def _many(self, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        for number in range(800):
            (place / f".tmp-{number}").touch()

    def _odd_names(self, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        for name in _NAMES:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(os.fsencode(place) + b"/" + name, os.O_WRONLY | os.O_CREAT | os.O_EXCL))

    def _closed(self, place: Path) -> None:
        place.chmod(self._chance.choice((0, 0o7777, 0o111)))
        os.chown(place, 4_000_000_000, 4_000_000_000, follow_symlinks=False)

    def _protected(self, place: Path) -> None:
        """No NFS client can set these flags, an administrator of the server can."""
        if stat.S_IFMT(place.lstat().st_mode) in (stat.S_IFREG, stat.S_IFDIR):
            handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW)
            self._protected_handles.append(handle)
            _change_flags(handle, self._chance.choice((_IMMUTABLE, _APPEND)))

    def _attributes(self, place: Path) -> None:
        for number in range(20):
            os.setxattr(place, f"user.{number}\x1b[2J", b"x" * 100, follow_symlinks=False)

    def _hard_links(self, place: Path) -> None:
        found = [path for path in self._image.glob("*/root/etc/*") if path.is_file() and not path.is_symlink()]
        if found:
            self._clear(place)
            place.hardlink_to(self._chance.choice(found))

    def _nothing(self, place: Path) -> None:
        self._clear(place)

    def _elsewhere(self, place: Path) -> None:
        place.rename(place.with_name(self._odd()))

    def _exchanged(self, place: Path) -> None:
        """One version's root is the other's."""
        roots = sorted(self._image.glob("*/root"))
        if len(roots) > 1:
            one, other = roots[0], roots[-1]
            one.rename(place)
            other.rename(one)
            place.rename(other)


def _change_flags(handle: int, flags: int) -> None:
    """Sets flags of an open file or directory, or removes all but its own: ioctl_iflags(2)."""
    before = struct.unpack("l", fcntl.ioctl(handle, _GETFLAGS, bytes(8)))[0]
    fcntl.ioctl(handle, _SETFLAGS, struct.pack("l", before & ~(_IMMUTABLE | _APPEND) | flags))
