"""What this host knows of its own network, from the kernel and without any program."""

from __future__ import annotations

import array
import contextlib
import fcntl
import ipaddress
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

_SIOCGIFADDR, _SIOCGIFNETMASK = 0x8915, 0x891B  # netdevice(7)
_SIOCGIFCONF, _ENTRY, _MOST_ADDRESSES = 0x8912, 40, 1024
_ROUTE_UP, _ROUTE_GATEWAY = 0x1, 0x2  # route.h
_MOST_NAMESERVERS = 3  # MAXNS, resolv.conf(5)


@dataclass(frozen=True)
class Route:
    """The way out: the network card, and the router if there is one."""

    interface: str
    gateway: ipaddress.IPv4Address | None


def default_route() -> Route | None:
    """The IPv4 route that the kernel prefers for everything else, proc(5); None where there is none."""
    rows = [line.split() for line in Path("/proc/net/route").read_text("ascii").splitlines()[1:]]
    routes = [row for row in rows if row[1] == row[7] == "00000000" and int(row[3], 16) & _ROUTE_UP]
    if not routes:
        return None
    best = min(routes, key=lambda row: int(row[6]))
    gateway = ipaddress.IPv4Address(struct.pack("=I", int(best[2], 16)))
    return Route(best[0], gateway if int(best[3], 16) & _ROUTE_GATEWAY else None)


def interface_address(name: str) -> ipaddress.IPv4Interface | None:
    """The first IPv4 address of a network card with its prefix, e.g. 192.168.1.1/24; None where it has none."""
    request = struct.pack("256s", name.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle, contextlib.suppress(OSError):
        address, netmask = (
            socket.inet_ntoa(fcntl.ioctl(handle.fileno(), number, request)[20:24])
            for number in (_SIOCGIFADDR, _SIOCGIFNETMASK)
        )
        return ipaddress.IPv4Interface(f"{address}/{netmask}")
    return None


def ipv4_interfaces() -> list[tuple[str, ipaddress.IPv4Interface]]:
    """Every IPv4 address of every network card, with its prefix, netdevice(7)."""
    room = array.array("B", bytes(_MOST_ADDRESSES * _ENTRY))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("iL", len(room), room.buffer_info()[0])
        used = struct.unpack("iL", fcntl.ioctl(handle.fileno(), _SIOCGIFCONF, request))[0]
    found = []
    for start in range(0, used, _ENTRY):
        entry = room[start : start + _ENTRY].tobytes()
        label = entry[:16].split(b"\0")[0].decode()
        address = interface_address(label)
        if address is not None:
            length = address.network.prefixlen
            found.append(
                (label.partition(":")[0], ipaddress.IPv4Interface(f"{socket.inet_ntoa(entry[20:24])}/{length}"))
            )
    return found


def nameservers(path: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """The name servers of resolv.conf(5) that others can ask too, none on this host: the three that count."""
    found = []
    with contextlib.suppress(OSError):
        for line in path.read_text("utf-8", "replace").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == "nameserver":
                with contextlib.suppress(ValueError):
                    address = ipaddress.IPv4Address(words[1])
                    found += [] if address.is_loopback else [str(address)]
    return tuple(dict.fromkeys(found))[:_MOST_NAMESERVERS]
