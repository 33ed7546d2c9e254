"""What a server of diskless clients is configured with, pure text: dnsmasq, exports(5), nfs-ganesha.

Sources: dnsmasq(8); exports(5); ganesha-core-config(8) and ganesha-export-config(8); RFC 5071 for DHCP options 208
and 210. Option 209 is never sent: PXELINUX would fetch that one file and ask for no client's own configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TFTP_LOADER, HTTP_LOADER = "pxelinux.0", "lpxelinux.0"
_PXELINUX_MAGIC = "f1:00:74:7e"


@dataclass(frozen=True)
class Client:
    """A client with a fixed address; nobody else gets that address."""

    mac: str
    address: str
    hostname: str | None = None


@dataclass(frozen=True)
class DhcpService:
    """What DHCP and TFTP offer on one interface.

    address, netmask: the server's own; first, last: what unknown clients get; lease: e.g. 12h
    tftp_root: the directory that loaders, kernels and their configuration are served from
    root_path: SERVER:/path of the image for clients whose command line names none (option 17)
    http: the URL of tftp_root, ending in /, where a web server serves it too: much faster than TFTP
    """

    interface: str
    address: str
    netmask: str
    first: str
    last: str
    tftp_root: str
    lease: str = "12h"
    root_path: str | None = None
    router: str | None = None
    nameservers: tuple[str, ...] = ()
    clients: tuple[Client, ...] = ()
    http: str | None = None


@dataclass(frozen=True)
class Export:
    """One directory for NFS clients; `fsid` must never change while clients run.

    directory: where it lies on the server
    path: what clients call it; the kernel's server knows no other name than `directory`
    clients: the subnet that may mount it, never `*`
    """

    directory: str
    path: str
    clients: str
    fsid: int
    writable: bool


def dnsmasq_config(service: DhcpService) -> str:
    """A dnsmasq configuration with DHCP and TFTP on one interface and without DNS."""
    dhcp = [
        f"dhcp-range={service.first},{service.last},{service.netmask},{service.lease}",
        *(_reservation(client) for client in service.clients),
        # an option without a value is not sent: dnsmasq would name itself as router
        f"dhcp-option=option:router{_value(service.router)}",
    ]
    if service.nameservers:
        dhcp.append(f"dhcp-option=option:dns-server,{','.join(service.nameservers)}")
    if service.root_path is not None:
        dhcp.append(f"dhcp-option=option:root-path,{service.root_path}")
    # forced: PXELINUX needs both and asks for neither
    loader = [
        f"dhcp-boot={TFTP_LOADER if service.http is None else HTTP_LOADER}",
        f"dhcp-option-force=208,{_PXELINUX_MAGIC}",
        f"dhcp-option-force=210,{service.http or '/'}",
    ]
    return _sections(
        ("Clients without disks: DHCP and TFTP, no DNS", ["port=0"]),
        ("only on this interface", [f"interface={service.interface}", "except-interface=lo", "bind-interfaces"]),
        ("addresses", dhcp),
        ("the loader", loader),
        ("what TFTP serves; nothing below it may lead out of it", ["enable-tftp", f"tftp-root={service.tftp_root}"]),
    )


def exports(exported: Sequence[Export]) -> str:
    """/etc/exports for the kernel's NFS server, one line an export."""
    return "".join(_exports_line(export) for export in exported)


def ganesha_config(exported: Sequence[Export]) -> str:
    """ganesha.conf for the same exports. Clients mount `path`, whatever the directory's real name is.

    Numeric owners only: with name@domain strings nothing in a fresh client maps them and setuid programs lose root.
    """
    core = {"Protocols": "3, 4", "mount_path_pseudo": "true", "Enable_NLM": "false", "Enable_RQUOTA": "false"}
    # recovery on disk and no grace period: a restarted server answers at once
    version_4 = {"Graceless": "true", "Only_Numeric_Owners": "true", "RecoveryBackend": "fs"}
    blocks = [_block("NFS_CORE_PARAM", core), _block("NFSv4", version_4)]
    return "\n".join([*blocks, *(_ganesha_export(export) for export in exported)])


def _ganesha_export(export: Export) -> str:
    client = _block("CLIENT", {"Clients": export.clients, "Access_Type": "RW" if export.writable else "RO"})
    values = {
        "Export_Id": str(export.fsid),
        "Filesystem_Id": f"{export.fsid}.{export.fsid}",
        "Path": f'"{export.directory}"',
        "Pseudo": f'"{export.path}"',
        "Access_Type": "None",
        "Squash": "No_Root_Squash",
        "SecType": "sys",
        "Protocols": "3, 4",
        "Transports": "TCP",
    }
    return _block("EXPORT", values, client, _block("FSAL", {"Name": "VFS"}))


def _exports_line(export: Export) -> str:
    access = "rw" if export.writable else "ro"
    directory = export.directory.replace("\\", "\\134").replace(" ", "\\040")
    return f"{directory} {export.clients}({access},fsid={export.fsid},no_root_squash,no_subtree_check)\n"


def _reservation(client: Client) -> str:
    return ",".join(["dhcp-host=" + client.mac, client.address, *([client.hostname] if client.hostname else [])])


def _value(text: str | None) -> str:
    return "" if text is None else f",{text}"


def _sections(*sections: tuple[str, list[str]]) -> str:
    return "\n".join("\n".join([f"# {title}", *lines, ""]) for title, lines in sections)


def _block(name: str, values: dict[str, str], *inner: str) -> str:
    lines = [f"{key} = {value};" for key, value in values.items()]
    lines += [line for block in inner for line in block.splitlines()]
    return "\n".join([f"{name} {{", *(f"    {line}" for line in lines), "}"]) + "\n"
