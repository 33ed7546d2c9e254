"""An initramfs that does nothing but mount the first virtio disk: a server guest is at its shell in seconds with it."""

from __future__ import annotations

import lzma
import stat
from collections.abc import Iterator
from pathlib import Path

_MODULES = ("virtio_pci", "virtio_blk", "ext4")
_INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do /bin/busybox insmod "$module"; done
while [ ! -b /dev/vda ]; do /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 /dev/vda /root && /bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root {init}
"""


def write_initramfs(path: Path, root: Path, release: str, init: str) -> None:
    """Writes it from a tree with busybox and the modules of the kernel `release`; `init` is started in that tree."""
    directories = ("bin", "dev", "modules", "root")
    entries = dict.fromkeys(directories, (stat.S_IFDIR | 0o755, b""))
    entries["bin/busybox"] = (stat.S_IFREG | 0o755, (root / "usr/bin/busybox").read_bytes())
    entries["init"] = (stat.S_IFREG | 0o755, _INIT.format(init=init).encode())
    for number, module in enumerate(_load_order(root / "usr/lib/modules" / release)):
        entries[f"modules/{number:02}"] = (stat.S_IFREG | 0o644, _content(module))
    path.write_bytes(b"".join(_entries(entries)))


def _load_order(modules: Path) -> list[Path]:
    """What must be loaded, dependencies first; what is built into the kernel is not in modules.dep(5)."""
    needs = {}
    for line in (modules / "modules.dep").read_text("ascii").splitlines():
        module, _, rest = line.partition(":")
        needs[module] = rest.split()
    order: list[str] = []
    for name in _MODULES:
        for module in needs:
            if module.rpartition("/")[2].partition(".")[0] == name:
                order += [needed for needed in (*reversed(needs[module]), module) if needed not in order]
    return [modules / module for module in order]


def _content(module: Path) -> bytes:
    data = module.read_bytes()
    return lzma.decompress(data) if module.suffix == ".xz" else data


def _entries(entries: dict[str, tuple[int, bytes]]) -> Iterator[bytes]:
    """A cpio archive of the new ASCII format, cpio(5)."""
    for number, (name, (mode, content)) in enumerate([*entries.items(), ("TRAILER!!!", (0, b""))], 1):
        fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08X" % value for value in fields) + name.encode() + b"\0"
        yield _padded(head) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
