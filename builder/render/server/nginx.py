"""HTTP, by nginx.

Source: nginx.org/en/docs.
"""

from __future__ import annotations

from collections.abc import Sequence

from builder.model.share import ServedStore
from builder.render.server.comments import comment, heading


def nginx_path(name: str) -> str:
    """Where the server block of the store with this name lies."""
    return f"/etc/nginx/conf.d/{name}.conf"


def nginx_server(store: ServedStore, address: str, port: int, clients: Sequence[str]) -> str:
    """A server block of nginx that serves the store's boot/ for lpxelinux.0, to the networks `clients`."""
    return comment(
        f"{heading(nginx_path(store.name), 'kernels for clients without disks, over HTTP', store.path)}\n"
        "lpxelinux.0 reads them with it, much faster than over TFTP.\n"
        "(read where nginx.conf includes /etc/nginx/conf.d/*.conf in its http block, as Debian's does)"
    ) + "\n".join(
        [
            "server {",
            f"    listen {address}:{port};",
            f"    root {store.path}/boot;",
            "    # menus, kernels and initramfs images: no secret, but nobody else's business",
            *(f"    allow {network};" for network in clients),
            "    deny all;",
            "}",
            "",
        ]
    )
