"""Mounting a store's shares: now, and at every start of the server."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from builder.errors import HostError
from builder.render.server.mounts import UNIT_DIRECTORY, fstab_line, mount_unit, mount_unit_name
from builder.shares.image_file import KIND, MOUNT_OPTIONS, mount_filesystem, run
from builder.store.layout import Store
from builder.system.files import make_directory, write_atomic
from builder.system.mounts import is_own_filesystem, mount_at

IMAGES = "filesystems"
_RUNNING_SYSTEMD = Path("/run/systemd/system")  # sd_booted(3)


@dataclass(frozen=True)
class Places:
    """What belongs to one share: its directory, and the image file that it may be mounted from."""

    directory: Path
    image: Path


def places(store: Store, share: str) -> Places:
    """Where a share and its image file lie, whether there is one or not."""
    return Places(store.root / share, store.root / IMAGES / f"{share.replace('/', '-')}.img")


def mount_share(store: Store, share: str) -> None:
    """Mounts a share from its image file, where it is not mounted; HostError where there is nothing to mount.

    Its top directory is root's alone: roots have programs that are set-user-ID in them, and /etc/shadow.
    """
    place = places(store, share)
    if is_own_filesystem(place.directory):
        return
    if not place.image.is_file():
        raise HostError(
            f"{place.directory} is not mounted, and it is not from an image file of this store",
            f"mount it: is it in /etc/fstab? Where its disk is lost: restore it, then {_again(store)}",
        )
    make_directory(place.directory, 0o700)
    mount_filesystem(place.image, place.directory)
    place.directory.chmod(0o700)


def install_mount(store: Store, share: str) -> str | None:
    """Has a share mounted at every start; what is left to do by hand, None where that is nothing."""
    place = places(store, share)
    if not place.image.is_file():
        return None  # the administrator's own file system
    texts = (str(place.image), str(place.directory), KIND, MOUNT_OPTIONS)
    if not _RUNNING_SYSTEMD.is_dir():
        return f"add to /etc/fstab: {fstab_line(*texts)}"
    name = mount_unit_name(str(place.directory))
    unit, text = Path(UNIT_DIRECTORY) / name, mount_unit(*texts).encode()
    if not unit.exists() or unit.read_bytes() != text:
        write_atomic(unit, text, 0o644)
        run(["systemctl", "daemon-reload"])
    run(["systemctl", "enable", name])
    return None


def is_from_image(store: Store, share: str) -> bool:
    """Whether a share is mounted from its image file, and not by the administrator from elsewhere."""
    place = places(store, share)
    mount = mount_at(place.directory)
    if mount is None or not place.image.is_file():
        return False
    backing = Path("/sys/block") / Path(mount.source).name / "loop/backing_file"
    try:
        return backing.read_text("utf-8").rstrip("\n") == str(place.image)
    except OSError:
        return False


def _again(store: Store) -> str:
    return f"diskless storage --to {shlex.quote(str(store.root))}"
