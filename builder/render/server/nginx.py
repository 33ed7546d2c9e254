"""HTTP, by nginx.

Source: nginx.org/en/docs.
"""

from __future__ import annotations

from builder.render.server.comments import comment

NGINX_FILE = "/etc/nginx/conf.d/diskless.conf"


def nginx_server(boot: str, address: str, port: int, clients: str) -> str:
    """A server block of nginx that serves the store's boot/ for lpxelinux.0."""
    return comment(
        f"{NGINX_FILE} - kernels for clients without disks, over HTTP\n"
        "lpxelinux.0 reads them with it, much faster than over TFTP.\n"
        "(read where nginx.conf includes /etc/nginx/conf.d/*.conf in its http block, as Debian's does)"
    ) + "\n".join(
        [
            "server {",
            f"    listen {address}:{port};",
            f"    root {boot};",
            "    # menus, kernels and initramfs images: no secret, but nobody else's business",
            f"    allow {clients};",
            "    deny all;",
            "}",
            "",
        ]
    )
