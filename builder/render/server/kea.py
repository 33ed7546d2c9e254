"""kea-dhcp4.conf for Kea, which took the place of ISC dhcpd when its maker ended that in 2022.

Source: the Kea Administrator Reference Manual: DHCPv4 server, client classification. Kea reads JSON with comments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from builder.model.share import ServedStore
from builder.model.site import Site, SiteClient, SiteNetwork, lease_seconds
from builder.render.server.boot_files import HTTP_CLIENT, IPXE, BootFiles, GroupFiles, about_209, choose_boot_files
from builder.render.server.comments import comment, heading
from builder.render.server.services import PXELINUX_MAGIC, ROOT_PATH_NOTE, path_prefix

KEA_FILE = "/etc/kea/kea-dhcp4.conf"
_FOREVER = 0xFFFFFFFF
_IPXE_CLASS = "diskless-ipxe"
_CONFIG_FILE = {"name": "pxelinux-config-file", "code": 209, "space": "dhcp4", "type": "string"}
_NOTES = """\
Kea serves no files: see the formats tftpd and xinetd.
208 lets PXELINUX believe 210, the prefix of all names;
{about_209}.
service-sockets: a network card that comes late is waited for, a second at a time.
match-client-id: firmware, initramfs and system name themselves differently, and are one client with one address.
{root_path}"""


def kea_config(site: Site, store: ServedStore) -> str:
    """The whole configuration: one subnet, a class for each kind of firmware, a reservation for each known client."""
    files = choose_boot_files(site, store)
    server: dict[str, Any] = {
        "interfaces-config": {
            "interfaces": list(site.interfaces) or ["*"],
            "service-sockets-max-retries": 100000,
            "service-sockets-retry-wait-time": 1000,
        },
        "valid-lifetime": lease_seconds(site.client_networks[0].lease) or _FOREVER,
        "match-client-id": False,
        "next-server": site.server,
        "option-def": [
            {"name": "pxelinux-magic", "code": 208, "space": "dhcp4", "type": "binary"},
            *([_CONFIG_FILE] if any(group.config for group in files.groups) else []),
            {"name": "pxelinux-path-prefix", "code": 210, "space": "dhcp4", "type": "string"},
        ],
        "option-data": [
            _option("pxelinux-magic", PXELINUX_MAGIC.replace(":", "")),
            _option("pxelinux-path-prefix", path_prefix(site)),
        ],
        "client-classes": _classes(files),
        **_networks(site),
    }
    if files.bios is not None:
        server["boot-file-name"] = files.bios
    notes = _NOTES.format(about_209=about_209(files), root_path=ROOT_PATH_NOTE)
    head = heading(KEA_FILE, "clients without disks, for Kea's DHCPv4 server", store.path)
    return comment(f"{head}\n{notes}") + json.dumps({"Dhcp4": server}, indent=4) + "\n"


def _classes(files: BootFiles) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = [_group(group) for group in files.groups]
    if files.script is not None:
        test = f"substring(option[77].hex, 0, {len(IPXE)}) == '{IPXE}'"
        for group in files.groups:  # of several classes the first says the file
            both = f"{test} and member('{_group_class(group)}')"
            found.append({"name": f"{_IPXE_CLASS}-{group.name}", "test": both, "boot-file-name": group.script})
        found.append({"name": _IPXE_CLASS, "test": test, "boot-file-name": files.script})
    for kind, name in files.others.items():
        test = f"option[93].hex == 0x{kind:04x}"
        if files.script is not None:
            test += f" and not member('{_IPXE_CLASS}')"
        one: dict[str, Any] = {"name": f"diskless-{kind:d}", "test": test, "boot-file-name": name}
        if kind.over_http:  # without it firmware does not take the offer for one of HTTP boot
            one["option-data"] = [_option("vendor-class-identifier", HTTP_CLIENT)]
        found.append(one)
    return found


def _group_class(group: GroupFiles) -> str:
    return f"diskless-group-{group.name}"


def _group(group: GroupFiles) -> Mapping[str, Any]:
    """A card like the group's, and no menu of its own."""
    cards = " or ".join(
        f"substring(pkt4.mac, 0, {one.count(':') + 1}) == 0x{one.replace(':', '')}" for one in group.prefixes
    )
    test = " and ".join([f"({cards})", *(f"not (pkt4.mac == 0x{mac.replace(':', '')})" for mac in group.own)])
    config = [] if group.config is None else [_option("pxelinux-config-file", group.config)]
    return {"name": _group_class(group), "test": test, "option-data": config}


def _networks(site: Site) -> dict[str, Any]:
    """The subnets; those of one card are a shared network, from which a client gets an address of either."""
    networks = site.client_networks
    if len(networks) == 1:
        return {"subnet4": [_subnet(site, networks[0], 1)]}
    by_card: dict[str, list[dict[str, Any]]] = {}
    for number, network in enumerate(networks, 1):
        one = {**_subnet(site, network, number), "valid-lifetime": lease_seconds(network.lease) or _FOREVER}
        by_card.setdefault(network.interface or f"relay {number}", []).append(one)
    shared = [
        {"name": f"diskless-{card}", "interface": card, "subnet4": subnets}
        for card, subnets in by_card.items()
        if len(subnets) > 1
    ]
    alone = [subnets[0] for subnets in by_card.values() if len(subnets) == 1]
    return {**({"shared-networks": shared} if shared else {}), "subnet4": alone}


def _subnet(site: Site, network: SiteNetwork, number: int) -> dict[str, Any]:
    options: list[dict[str, Any]] = []
    if network.router is not None:
        options.append({"name": "routers", "data": network.router})
    if network.nameservers:
        options.append({"name": "domain-name-servers", "data": ", ".join(network.nameservers)})
    for option in network.options:
        options.append({"code": option.code, "csv-format": False, "data": option.data.hex()})
    dhcp = network.dhcp
    return {
        "id": number,
        "subnet": str(network.network),
        "pools": [{"pool": f"{dhcp.first} - {dhcp.last}"}] if dhcp is not None else [],
        "option-data": options,
        "reservations": [
            _reservation(client, network)
            for client in site.clients
            if client.name or (client.address and network.has(client.address))
        ],
    }


def _reservation(client: SiteClient, network: SiteNetwork) -> dict[str, str]:
    named = {"ip-address": client.address if network.has(client.address) else None, "hostname": client.name}
    return {"hw-address": client.mac.lower(), **{key: value for key, value in named.items() if value is not None}}


def _option(name: str, data: str) -> dict[str, Any]:
    """Sent to every client, asked for or not."""
    return {"name": name, "data": data, "always-send": True}
