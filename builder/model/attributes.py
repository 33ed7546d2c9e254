"""Extended attributes that are an image's: whatever else a file has is the build host's, or its file system's.

Sources: capabilities(7), acl(5), xattr(7); overlayfs, fuse-overlayfs and Podman keep their own accounts under `user.`.
"""

from __future__ import annotations

ACLS = ("system.posix_acl_access", "system.posix_acl_default")
_KNOWN = ("security.capability", *ACLS)
_OWN = "user."
_OF_CONTAINERS = ("user.overlay.", "user.fuseoverlayfs.", "user.containers.", "user.rootlesscontainers")


def is_image_attribute(name: str) -> bool:
    """Whether an attribute of this name goes into an archive."""
    return name in _KNOWN or (name.startswith(_OWN) and not name.startswith(_OF_CONTAINERS))
