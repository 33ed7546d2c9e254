"""What single values of a site look like."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from builder.model.syntax import Syntax
from builder.model.version import VERSION, Version


def _with_colons(text: str) -> str:
    """A MAC address as other systems write it (52-54-00-12-34-56, 5254.0012.3456) in our form."""
    digits = re.sub(r"[-.: ]", "", text)
    return ":".join(digits[start : start + 2] for start in range(0, len(digits), 2))


MacAddress = Annotated[
    str,
    Syntax("MAC address", r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", "52:54:00:12:34:56", correct=_with_colons),
]
MacPrefix = Annotated[
    str,
    Syntax(
        "beginning of MAC addresses, one to five bytes",
        r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){0,4}",
        "52:54:00",
        correct=_with_colons,
    ),
]
IPV4 = Syntax(
    "IPv4 address", r"[0-9.]+", "192.168.1.1", ipaddress.IPv4Address, correct=lambda text: text.partition("/")[0]
)
Ipv4 = Annotated[str, IPV4]
Subnet = Annotated[
    str,
    Syntax(
        "IPv4 subnet",
        r"[0-9.]+/[0-9]+",
        "192.168.1.0/24",
        ipaddress.IPv4Network,
        correct=lambda text: str(ipaddress.IPv4Network(text, strict=False)),
    ),
]
SignerName = Annotated[str, Syntax("signer, as ssh-keygen(1) names it", r"[!-+\--~]{1,255}", "builder@example.org")]
VersionName = Annotated[Version, VERSION]
DEFAULT_LEASE = "12h"
LeaseTime = Annotated[str, Syntax("lease time", r"[0-9]{1,6}[smhd]?|infinite", "12h")]
# what every loader takes as one word, and DHCP servers as a part of a class's name
SiteName = Annotated[str, Syntax("name (small letters, digits and -)", r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", "lab-2")]
EntryTitle = Annotated[
    str,
    Syntax("title (letters, digits, spaces and . _ + ( ) -)", r"[A-Za-z0-9][A-Za-z0-9 ._+()-]{0,62}", "Memory test"),
]


def _stays_below(path: str) -> None:
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError(path)


TftpPath = Annotated[
    str,
    Syntax(
        "path below boot/ of the store, the TFTP root (letters, digits and . _ - +)",
        r"[A-Za-z0-9._+-]+(/[A-Za-z0-9._+-]+)*",
        "extra/memtest.bin",
        _stays_below,
        correct=lambda text: text.lstrip("/"),
    ),
]
# no comma, quotation mark or backslash: it stands in lists and between quotation marks
DhcpValue = Annotated[
    str,
    Syntax(
        "value of a DHCP option (letters, digits and . : / _ @ + = ~ -)",
        r"[A-Za-z0-9.:/_@+=~-]{1,255}",
        "192.168.1.1",
    ),
]
