"""What a kernel image says of itself."""

from __future__ import annotations

from builder.errors import AuditError

# the kernel's boot.rst, "The Real-Mode Kernel Header"
_MAGIC, _MAGIC_AT, _VERSION_AT = b"HdrS", 0x202, 0x20E


def kernel_release(image: bytes, name: str) -> str:
    """The release that a bzImage, called `name` in messages, says it is; AuditError when it is none."""
    if image[_MAGIC_AT : _MAGIC_AT + 4] != _MAGIC:
        raise AuditError(f"{name} is not a bootable x86 kernel", "only x86 images are built so far")
    start = int.from_bytes(image[_VERSION_AT : _VERSION_AT + 2], "little") + 0x200
    end = image.find(b"\0", start)
    return image[start : end if end >= 0 else None].decode("ascii", "replace").split(" ")[0]
