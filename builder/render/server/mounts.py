"""How a server mounts the file systems of a store at every start: systemd.mount(5), or a line of fstab(5)."""

from __future__ import annotations

import re

from builder.render.server.comments import comment

UNIT_DIRECTORY = "/etc/systemd/system"


def mount_unit_name(directory: str) -> str:
    """The unit of a mount point, as `systemd-escape --path` names it."""
    path = directory.strip("/")
    escaped = re.sub(r"[^a-zA-Z0-9:_./]", lambda found: "".join(f"\\x{byte:02x}" for byte in found[0].encode()), path)
    first = escaped[:1].replace(".", r"\x2e")
    return f"{first}{escaped[1:]}".replace("/", "-") + ".mount"


def mount_unit(image: str, directory: str, kind: str, options: str) -> str:
    """The unit that mounts an image file, before any NFS server starts: those come after local-fs.target."""
    name = f"{UNIT_DIRECTORY}/{mount_unit_name(directory)}"
    title = f"{name} - roots of clients without disks: a file system of their own"
    return (
        comment(title)
        + f"""[Unit]
RequiresMountsFor={image}

[Mount]
What={image}
Where={directory}
Type={kind}
Options={options}

[Install]
WantedBy=local-fs.target
"""
    )


def fstab_line(image: str, directory: str, kind: str, options: str) -> str:
    """The same for a server without systemd."""
    return f"{image} {directory} {kind} {options} 0 2"
