"""dhcpd.conf for ISC dhcpd.

Sources: dhcpd.conf(5), dhcp-options(5), dhcp-eval(5); RFC 5071 for PXELINUX's options.
"""

from __future__ import annotations

from builder.model.share import ServedStore
from builder.model.site import Site, SiteClient, SiteNetwork, lease_seconds
from builder.render.server.boot_files import HTTP_CLIENT, IPXE, BootFiles, GroupFiles, about_209, choose_boot_files
from builder.render.server.comments import comment, heading, sections
from builder.render.server.services import PXELINUX_MAGIC, ROOT_PATH_NOTE, path_prefix

_FOREVER = 0xFFFFFFFF  # RFC 2131, 3.3; dhcpd itself counts to January 2038
_FIRST_OF_SPACE = 208  # the lowest code of the space: site-option-space, dhcpd.conf(5)
_INDENT = "    "


def dhcpd_path(name: str) -> str:
    """Where the part of the store with this name lies."""
    return f"/etc/dhcp/{name}.conf"


def dhcpd_config(site: Site, store: ServedStore) -> str:
    """A file that dhcpd.conf includes: one subnet, and a host block for each known client."""
    path = dhcpd_path(store.name)
    head = (
        f"{heading(path, 'clients without disks, for ISC dhcpd', store.path)}\n"
        f'Put this line into /etc/dhcp/dhcpd.conf (Arch Linux: /etc/dhcpd.conf):  include "{path}";'
        f"{_interface_note(site)}\n"
        "dhcpd serves no files: see the formats tftpd and xinetd."
    )
    files = choose_boot_files(site, store)
    options = (
        "PXELINUX's own options (RFC 5071): 208 lets it believe 210, the prefix of all names.\n"
        f"{about_209(files)}\n"
        "names of this store's own: what others call the same options stays theirs"
    )
    name = store.name
    declared = [
        *([f"option {name}-arch code 93 = unsigned integer 16;"] if files.others else []),
        f"option space {name};",
        f"option {name}.magic code 208 = string;",
        *([f"option {name}.config-file code 209 = text;"] if _configs(files) else []),
        f"option {name}.path-prefix code 210 = text;",
    ]
    declared += [f"option {_option_name(name, code)} code {code} = string;" for code in _codes(site)]
    hosts = [line for client in site.clients for line in _host(client, name)]
    title = "the clients' network" if len(site.client_networks) == 1 else "the clients' networks"
    parts = [(head, []), (options, declared), (title, _subnets(site, files, name))]
    return sections(*parts, *([("one block for each known client", hosts)] if hosts else []))


def _codes(site: Site) -> list[int]:
    """The further options that some network has."""
    return sorted({option.code for network in site.client_networks for option in network.options})


def _option_name(store: str, code: int) -> str:
    """What a further option is called; dhcpd takes those from PXELINUX's on from the space that these are in."""
    return f"{store}.option-{code}" if code >= _FIRST_OF_SPACE else f"{store}-{code}"


def _subnets(site: Site, files: BootFiles, name: str) -> list[str]:
    """The clients' network; of several each, in a group with what they have in common."""
    networks, loader = site.client_networks, _loader(site, files, name)
    if len(networks) == 1 and not site.has_relays:
        (network,) = networks
        return _declaration(network, [*_subnet(network, name), *_comment(ROOT_PATH_NOTE), "", *loader])
    lines = [*_comment(ROOT_PATH_NOTE), *loader]
    if not any(network.has(site.server) for network in networks):
        lines += _comment("this server's own address, for dhcpd to listen there: every client's question is passed on")
        lines += [f"subnet {site.server} netmask 255.255.255.255 {{", "}"]
    by_card: dict[str, list[SiteNetwork]] = {}
    for number, network in enumerate(networks):
        by_card.setdefault(network.interface or f"relay {number}", []).append(network)
    for card, there in by_card.items():
        inner = [line for network in there for line in _declaration(network, _subnet(network, name))]
        title = _comment(f"on {card}" if there[0].interface else "through a relay")
        # dhcpd gives addresses of any network that is on the same wire
        shared = [f"shared-network {name}-{card} {{", *_indent(inner), "}"] if len(there) > 1 else inner
        lines += ["", *title, *shared]
    return ["group {", *_indent(lines), "}"]


def _declaration(network: SiteNetwork, inner: list[str]) -> list[str]:
    addresses = network.network
    return [f"subnet {addresses.network_address} netmask {addresses.netmask} {{", *_indent(inner), "}"]


def _interface_note(site: Site) -> str:
    cards = " ".join(site.interfaces)
    if not cards:
        return ""
    interfaces = "interface" if len(site.interfaces) == 1 else "interfaces"
    return f'\nand name the {interfaces} (Debian: /etc/default/isc-dhcp-server):  INTERFACESv4="{cards}"'


def _subnet(network: SiteNetwork, name: str) -> list[str]:
    lines = [*_comment("clients may boot, old ones with BOOTP"), "allow booting;", "allow bootp;"]
    lines += _comment("firmware, initramfs and system name themselves differently, and are one client with one address")
    lines.append("ignore-client-uids true;")
    if network.dhcp is None:
        lines += _comment("no range: only clients with a host block get an address")
    else:
        lines += [*_comment("what unknown clients get"), "allow unknown-clients;"]
        lines.append(f"range {network.dhcp.first} {network.dhcp.last};")
    seconds = lease_seconds(network.lease) or _FOREVER
    lines += [f"default-lease-time {seconds};", f"max-lease-time {seconds};"]
    if network.router is not None:
        lines.append(f"option routers {network.router};")
    if network.nameservers:
        lines.append(f"option domain-name-servers {', '.join(network.nameservers)};")
    for option in network.options:
        lines += _comment(f"{option.code}: {', '.join(option.values)}")
        lines.append(f"option {_option_name(name, option.code)} {option.data.hex(':')};")
    return lines


def _loader(site: Site, files: BootFiles, name: str) -> list[str]:
    sent = "d0, d1, d2" if _configs(files) else "d0, d2"
    return [
        *_comment("the machine with TFTP, and the loader that it serves"),
        f"next-server {site.server};",
        *_file_names(files, name),
        "",
        *_comment("sent although nobody asks for them: 208 and 210 join every client's list of wanted options"),
        f'site-option-space "{name}";',
        f"option {name}.magic {PXELINUX_MAGIC};",
        f'option {name}.path-prefix "{path_prefix(site)}";',
        *(line for group in _configs(files) for line in _config(group, name)),
        "if exists dhcp-parameter-request-list {",
        f"{_INDENT}option dhcp-parameter-request-list = concat(option dhcp-parameter-request-list, {sent});",
        "}",
    ]


def _configs(files: BootFiles) -> list[GroupFiles]:
    """The groups whose clients are told PXELINUX's file."""
    return [group for group in files.groups if group.config is not None]


def _config(group: GroupFiles, name: str) -> list[str]:
    # dhcpd takes the first parenthesis of a condition for one around all of it
    return [f"if ({_in_group(group)}) {{", f'{_INDENT}option {name}.config-file "{group.config}";', "}"]


def _in_group(group: GroupFiles) -> str:
    """A card like the group's, and no menu of its own."""
    cards = " or ".join(f"substring(hardware, 1, {one.count(':') + 1}) = {one}" for one in group.prefixes)
    return " and ".join([f"({cards})", *(f"not (hardware = 1:{mac})" for mac in group.own)])


def _file_names(files: BootFiles, store: str) -> list[str]:
    """The last is for whoever names no architecture (option 93, RFC 4578)."""
    cases = [(f"option {store}-arch = 00:{kind:02x}", name, kind.over_http) for kind, name in files.others.items()]
    if files.script is not None:
        ipxe = f'exists user-class and option user-class = "{IPXE}"'
        scripts = [(f"{ipxe} and {_in_group(group)}", group.script or "", False) for group in files.groups]
        cases = [*scripts, (ipxe, files.script, False), *cases]
    lines: list[str] = []
    for condition, name, over_http in cases:
        lines += [f"{'elsif' if lines else 'if'} {condition} {{", f'{_INDENT}filename "{name}";']
        if over_http:  # without it firmware does not take the offer for one of HTTP boot
            lines.append(f'{_INDENT}option vendor-class-identifier "{HTTP_CLIENT}";')
        lines.append("}")
    if files.bios is None or not cases:
        return [*lines, *([f'filename "{files.bios}";'] if files.bios else [])]
    return [*lines, "else {", f'{_INDENT}filename "{files.bios}";', "}"]


def _host(client: SiteClient, name: str) -> list[str]:
    if client.address is None and client.name is None:
        return []
    lines = [f"hardware ethernet {client.mac};"]
    if client.address is not None:
        lines.append(f"fixed-address {client.address};")
    if client.name is not None:
        lines.append(f'option host-name "{client.name}";')
    return [f"host {name}-{client.mac.replace(':', '').lower()} {{", *_indent(lines), "}"]


def _comment(text: str) -> list[str]:
    return comment(text).splitlines()


def _indent(lines: list[str]) -> list[str]:
    return [_INDENT + line if line else "" for line in lines]
