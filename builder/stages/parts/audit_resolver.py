"""Whether anything will ever fill /etc/resolv.conf: part of audit."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from builder.inits.table import INITS
from builder.render.image.resolver import PATH
from builder.system.tree import Tree

# where a link may lead that nothing is behind before the boot, and what of an image makes it
_MAKERS = {
    "/run/systemd/resolve/": (
        "/etc/systemd/system/sysinit.target.wants/systemd-resolved.service",
        "/etc/systemd/system/multi-user.target.wants/systemd-resolved.service",
        "/etc/systemd/system/dbus-org.freedesktop.resolve1.service",
        "/usr/lib/systemd/system/sysinit.target.wants/systemd-resolved.service",
    ),
    "/run/diskless/": tuple(init.resolver_file for init in INITS.values()),
    "/run/NetworkManager/": ("/etc/systemd/system/multi-user.target.wants/NetworkManager.service",),
    "/run/resolvconf/": ("/sbin/resolvconf",),
    "/run/connman/": ("/usr/sbin/connmand",),
    "/proc/net/": (),
}


def resolver_faults(tree: Tree) -> Iterator[str]:
    """A line for a resolv.conf that is missing, or a link that leads to nothing."""
    try:
        link = str((tree.root / PATH.lstrip("/")).readlink())
    except FileNotFoundError:
        yield f"{PATH}: missing, no client could resolve a name"
        return
    except OSError:
        return  # a file
    target = posixpath.normpath(posixpath.join(posixpath.dirname(PATH), link))
    for prefix, makers in _MAKERS.items():
        if target.startswith(prefix):
            if makers and not any(_exists(tree, maker) for maker in makers):
                yield f"{PATH}: leads to {target}, which nothing in the image would make"
            return
    if not tree.exists(target):
        yield f"{PATH}: leads to {target}, which does not exist"


def _exists(tree: Tree, path: str) -> bool:
    """Links count themselves: those of enabled units."""
    return posixpath.basename(path) in tree.names(posixpath.dirname(path))
