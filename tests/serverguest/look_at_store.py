#!/usr/bin/python3 -P
"""look-at-store STORE VERSIONS: what clients would boot now, what is wrong with that, and what lies about. As JSON.

It changes nothing, so it sees what a power cut left before any recovery. VERSIONS: where it was deployed from.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from builder.model.artifacts.manifest import MANIFEST
from builder.model.generation import BootName
from builder.model.version import ImageVersion
from builder.store.generations import current_number, generation_numbers, require_active
from builder.store.inspection.verification import verify
from builder.store.layout import TEMPORARY, Store, find_store
from builder.store.reserve import RESERVE


def served(store: Store) -> set[ImageVersion]:
    """(image, version) of every kernel and initramfs that the menus name."""
    found = set()
    for menu in (store.current / "pxelinux.cfg").iterdir():
        for line in menu.read_text("utf-8").splitlines():
            word, _, name = line.strip().partition(" ")
            if word in ("KERNEL", "INITRD"):
                image, boot, _ = name.split("/")
                found.add((image, BootName.parse(boot).version))
    return found


def faults(store: Store, versions: Path) -> Iterator[str]:
    """What is wrong with what is served; other versions may be half there until the next deploy."""
    names = served(store)
    excused = {f"{image} {version}" for image in store.images() for version in store.version_names(image)}
    excused -= {f"{image} {version}" for image, version in names}
    excused |= {f"generation {number}" for number in generation_numbers(store)}
    for finding in verify(store, deep=True):
        if finding.where not in excused:
            yield f"{finding.where}: {finding.message}: {' '.join(finding.details)}"
    for image, version in sorted(names):
        manifest = store.version(image, version) / MANIFEST
        if manifest.read_bytes() != (versions / image / version / MANIFEST).read_bytes():
            yield f"{manifest} is not what was deployed"
    for image, name in require_active(store).active.items():
        if (image, BootName.parse(name).version) not in names:
            yield f"no menu names {image} {name}, which is active"


def left(store: Store) -> Iterator[str]:
    """What nothing refers to."""
    for parent, directories, files in os.walk(store.root):
        directories[:] = [name for name in directories if name != "root"]  # clients' own
        yield from (f"{parent}/{name}" for name in directories + files if name.startswith(TEMPORARY))
    versions = {(image, version) for image in store.images() for version in store.version_names(image)}
    for place in (*store.root_tops, store.boot):
        for path in place.glob("*/*"):
            own = (store.generations, store.boot / RESERVE)
            if path.parent not in own and not path.parent.is_symlink():  # links lead into a generation
                image, version = path.parent.name, path.name.partition(".")[0]
                if (image, version) not in versions:
                    yield str(path)
    yield from (f"generation {number}" for number in generation_numbers(store) if number > current_number(store))


def main() -> None:
    store, versions = find_store(Path(sys.argv[1])), Path(sys.argv[2])
    report = {
        "active": dict(require_active(store).active),
        "faults": list(faults(store, versions)),
        "left": list(left(store)),
    }
    sys.stdout.write(json.dumps(report))


main()
