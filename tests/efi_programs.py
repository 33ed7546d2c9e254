"""EFI programs that only say of themselves what loaders and kernels say: who signed them, and their SBAT."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_PE, _OPTIONAL = 0x40, 0x40 + 24
_SECTION = _OPTIONAL + 240


def efi_program(sbat: str = "", signers: Sequence[str] = (), body: bytes = b"") -> bytes:
    """A PE file of `body`, whose first 0x200 bytes become headers; `signers` are names in one signature each."""
    content = bytearray(body.ljust(0x200, b"\0"))
    content += b"\0" * (-len(content) % 8)
    content[0:2] = b"MZ"
    struct.pack_into("<I", content, 0x3C, _PE)
    struct.pack_into("<4sHHIIIHH", content, _PE, b"PE\0\0", 0x8664, 1 if sbat else 0, 0, 0, 0, 240, 0)
    struct.pack_into("<H", content, _OPTIONAL, 0x20B)
    if sbat:
        text = sbat.encode().ljust(-(-len(sbat) // 8) * 8, b"\0")
        struct.pack_into("<8sIIII", content, _SECTION, b".sbat", len(text), 0, len(text), len(content))
        content += text
    table = b"".join(_certificate(name) for name in signers)
    if table:
        struct.pack_into("<II", content, _OPTIONAL + 112 + 8 * 4, len(content), len(table))
    return bytes(content + table)


def grub_program(version: str, generation: int = 5) -> bytes:
    """A GRUB of Debian's."""
    sbat = (
        f"sbat,1,SBAT Version,sbat,1,https://example.org\ngrub.debian,{generation},Debian,grub2,{version},https://x\n"
    )
    return efi_program(sbat, ["Debian Secure Boot CA"], version.encode() * 100)


def shim_program(version: str) -> bytes:
    """A shim, or a helper of it, of Debian's."""
    sbat = "sbat,1,SBAT Version,sbat,1,https://example.org\nshim,4,UEFI shim,shim,1,https://x\n"
    sbat += f"shim.debian,1,Debian,shim,{version},https://x\n"
    return efi_program(sbat, ["Microsoft UEFI CA 2023"], version.encode() * 100)


def _certificate(name: str) -> bytes:
    signature = b"0\x82" + name.encode()
    length = 8 + len(signature)
    return (struct.pack("<IHH", length, 0x0200, 2) + signature).ljust(-(-length // 8) * 8, b"\0")
