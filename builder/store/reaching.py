"""Reaching the roots: clients are root below what is exported read-write, and may make anything of it at any moment.

What one of them does is an error of that image, never of a command about another one.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.errors import AuditError, DisklessError
from builder.model.artifacts.manifest import Manifest
from builder.store.layout import Store
from builder.system.guarded.held import HeldDirectory

# what a client can bring about by exchanging, filling or protecting something; a disk's own errors are none of these
_CLIENTS_DOING = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EEXIST, errno.ENOTEMPTY, errno.EINVAL),
    *(errno.EPERM, errno.EBUSY, errno.EXDEV, errno.ESTALE, errno.ENAMETOOLONG),
)
_HINT = "no deploy makes it, a client may have: see what it is, and remove it"


def hold_root(store: Store, manifest: Manifest) -> HeldDirectory:
    """The root that clients of a version mount, open; AuditError names what is in the way."""
    with reached(store, store.root_of(manifest)):
        return store.hold(store.root_of(manifest))


def is_missing(store: Store, path: Path) -> bool:
    """Whether there is nothing at a path of the store; a link or something else in its place is not nothing."""
    try:
        store.hold(path).close()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in _CLIENTS_DOING:
            raise
    return False


def obstacle(store: Store, path: Path) -> tuple[Path, str] | None:
    """The first thing on the way to a directory of the store that is no directory, and what it is."""
    here = store.hold(store.root)
    for name in path.relative_to(store.root).parts:
        kind = here.kind(name)
        if kind != stat.S_IFDIR:
            words = {0: "is missing", stat.S_IFLNK: "is a link"}
            return here.path / name, words.get(kind, "is not a directory")
        try:
            here = here.enter(name)
        except OSError:
            return here.path / name, "was exchanged just now"
    return None


@contextmanager
def reached(store: Store, path: Path) -> Iterator[None]:
    """What a client did on the way to `path` becomes an AuditError that names it."""
    try:
        yield
    except OSError as error:
        if error.errno not in _CLIENTS_DOING:
            raise
        place, what = obstacle(store, path) or (path, f"was changed meanwhile: {error.strerror}")
        raise AuditError(f"{place} {what}", _HINT) from error


def refusal_of(action: Callable[[], object]) -> str | None:
    """Does something that a client may have made impossible: why it was, or None where it is done."""
    try:
        action()
    except OSError as error:
        if error.errno not in _CLIENTS_DOING:
            raise
        return f"{error.filename}: {error.strerror}"
    except DisklessError as error:
        return error.message
    return None
