"""What is planted on a server that is attacked: roots that clients may mount, and around them what they may not have.

The forbidden places are those of docs/store.md beside the shares, and a server's own.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from tests.attacker.dialect import SOURCE
from tests.attacker.plan import FORBIDDEN, Exposed
from tests.attacker.truth import OWN

IMAGE, VERSION = "lab", "20261101-0123abcd"
# below an export: an honest client finds exactly this
_FILES = ("etc/shadow", "etc/motd", "usr/bin/program")
_STORE = (
    "site.yml",
    "store.json",
    "boot/generations/000001/pxelinux.cfg/default",
    "boot/generations/000001/generation.json",
    f"boot/{IMAGE}/{VERSION}/vmlinuz",
    f"versions/{IMAGE}/{VERSION}/manifest.json",
    f"versions/{IMAGE}/{VERSION}/index.json.zst",
    f"versions/{IMAGE}/{VERSION}/boot/vmlinuz",
    f"versions/{IMAGE}/.tmp-7/manifest.json",
)
_SERVER = ("root/secret", "home/admin/.ssh/id_ed25519")


def plant(store: str, exports: Sequence[Exposed]) -> tuple[str, ...]:
    """Fills the directories of exports, and the store and the server around them; the paths of what is forbidden."""
    for export in exports:
        _plant_root(Path(export.directory), export)
    files = [Path(f"{store}/{name}") for name in _STORE] + [Path(f"/{name}") for name in _SERVER]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FORBIDDEN + f" {path}\n".encode())
    shadow = Path("/etc/shadow")
    if not shadow.exists():
        shadow.write_bytes(FORBIDDEN + b" shadow\n")
    images = [path for path in Path(store).glob("filesystems/*") if path.is_file()]
    other = [path for export in exports if not export.mine for path in _below(Path(export.directory))]
    directories = {parent for path in (*files, shadow) for parent in path.parents}
    return tuple(str(path) for path in (shadow, *files, *images, *sorted(directories), *other))


def expected(exports: Sequence[Exposed], *, pseudo: bool) -> list[str]:
    """What an honest client's list must be, as Truth.listing() has it; pseudo: the way to the exports too, as in v4."""
    found = []
    for export in exports:
        if export.mine:
            base = Path(export.directory)
            for path in (base, *_below(base)):
                found.append(f"{export.path}{str(path).removeprefix(export.directory)} {_kind(path)}")
            if pseudo:
                found += [f"{above} directory" for above in Path(export.path).parents]
    return sorted(set(found))


def _plant_root(top: Path, export: Exposed) -> None:
    root = top / IMAGE / VERSION / "root"
    for name in _FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        # of one length, so that a size tells nothing
        (root / name).write_text(f"{export.fsid:3} {name:30}\n", "ascii")
    (root / "etc/shadow").chmod(0o600)
    (root / "etc/mtab").symlink_to("/etc/shadow")
    os.mkfifo(root / "etc/pipe")
    os.mknod(root / "etc/device", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    staged = top / IMAGE / ".tmp-1" / "root"
    staged.mkdir(parents=True)
    (staged / "motd").write_text("staged", "ascii")
    if export.writable and export.mine:
        (top / OWN).mkdir()
        (top / OWN / SOURCE).write_text("source", "ascii")


def _below(top: Path) -> list[Path]:
    """Everything below a directory but what the attacker may do as it likes with."""
    return [path for path in sorted(top.rglob("*")) if path.parts[len(top.parts) :][:2] != (OWN, SOURCE)]


def _kind(path: Path) -> str:
    if path.is_symlink():
        return "link"
    return "directory" if path.is_dir() else "file" if path.is_file() else "other"
