"""dnsmasq: DHCP and TFTP for a store's clients, as a guest in a dnsmasq that may serve others too.

Whatever can be tagged is tagged with the store's name, and TFTP is limited to the clients' card, so that names,
addresses and options of everybody else stay as they are. What dnsmasq has only once (port, bind-*, interface ...) is
left to whoever it belongs to; a line of that kind is written only where the rest of the configuration asks for it.

Sources: dnsmasq(8); option_filter, find_config_match and find_boot of dnsmasq 2.90: of options with the same number the
one with tags counts, and hosts with a `tag:` are looked at before hosts without.
"""

from __future__ import annotations

from builder.loaders.base import ClientArchitecture
from builder.model.share import FIRST_NAME, ServedStore
from builder.model.site import Site
from builder.render.server.boot_files import HTTP_CLIENT, IPXE, BootFiles, GroupFiles, about_209, choose_boot_files
from builder.render.server.comments import heading, sections
from builder.render.server.dnsmasq_addresses import BesideDnsmasq, BesideNetwork, address_parts
from builder.render.server.services import PXELINUX_MAGIC, path_prefix

DNSMASQ_DIRECTORY = "/etc/dnsmasq.d"
DEFAULT_LEASES = 1000  # dnsmasq(8), --dhcp-lease-max
DEFAULT_TRANSFERS = 50  # --tftp-max
_MOST_TRANSFERS = 4096  # each is a descriptor and a block


def drop_in_path(name: str) -> str:
    """Where the part of the store with this name lies."""
    return f"{DNSMASQ_DIRECTORY}/{name}.conf"


def alone(site: Site) -> BesideDnsmasq:
    """Where the rest of the configuration says nothing that matters."""
    leases, transfers = wanted_leases(site), wanted_transfers(site)
    relays = next(iter(site.interfaces), None)  # what a relay passes on comes to a card of ours
    return BesideDnsmasq(
        tuple(BesideNetwork(one.interface or relays) for one in site.client_networks),
        leases=leases if leases > DEFAULT_LEASES else None,
        transfers=transfers if transfers > DEFAULT_TRANSFERS else None,
    )


def wanted_leases(site: Site) -> int:
    """How many addresses a site gives at most."""
    ranges = [one.dhcp_range for one in site.client_networks if one.dhcp_range is not None]
    return len(site.known) + sum(int(last) - int(first) + 1 for first, last in ranges)


def wanted_transfers(site: Site) -> int:
    """How many clients may fetch something at once: all of them, after a power cut."""
    machines = max(wanted_leases(site), len(site.clients)) or sum(
        one.network.num_addresses for one in site.client_networks
    )
    return min(machines, _MOST_TRANSFERS)


def dnsmasq_config(site: Site, store: ServedStore, beside: BesideDnsmasq | None = None) -> str:
    """A part of dnsmasq's configuration: addresses, loaders and TFTP for the clients of one store."""
    beside = beside or alone(site)
    path, tag = drop_in_path(store.name), store.name
    what = "clients without disks: DHCP and TFTP"
    files = choose_boot_files(site, store)
    loaders = loader_options(site, files, tag=tag)
    return sections(
        (f"{heading(path, what, store.path)}\n{directory_note(tag)}", []),
        *listening(beside),
        *address_parts(site, tag, beside),
        (_loader_title(site, files), loaders),
        tftp_part(store, beside),
    )


def directory_note(tag: str) -> str:
    """Who reads the file, and what it leaves alone."""
    return (
        "(read where dnsmasq.conf, or Debian's /etc/default/dnsmasq, names that directory: conf-dir)\n"
        f"Only what has the tag {tag} is changed: dnsmasq serves names and everybody else as before."
    )


def listening(beside: BesideDnsmasq) -> list[tuple[str, list[str]]]:
    """The part that has dnsmasq serve the clients' cards too, and its limits; nothing where there is no need."""
    parts = []
    unheard = dict.fromkeys(f"interface={one.interface}" for one in beside.networks if not one.listens)
    if unheard:
        cards = "card" if len(unheard) == 1 else "cards"
        title = f"the clients' {cards} besides the others: the rest of the configuration names each card"
        parts.append((title, list(unheard)))
    limits = []
    if beside.leases is not None:
        limits.append(f"dhcp-lease-max={beside.leases}")
    if beside.transfers is not None:
        limits.append(f"tftp-max={beside.transfers}")
    if limits:
        title = f"for all of the clients at once: dnsmasq's own limits are {DEFAULT_LEASES} and {DEFAULT_TRANSFERS}"
        parts.append((title, limits))
    return parts


def tftp_part(store: ServedStore, beside: BesideDnsmasq, note: str = "") -> tuple[str, list[str]]:
    """TFTP, on the clients' cards only where they are known."""
    title = f"what TFTP serves there; nothing below it may lead out of it{note}"
    root = f"tftp-root={store.path}/boot"
    if beside.interfaces is None:
        return title, ["enable-tftp", root]
    return title, [f"enable-tftp={','.join(beside.interfaces)}", *(f"{root},{card}" for card in beside.interfaces)]


def loader_options(site: Site, files: BootFiles, server: str = "", *, tag: str | None = None) -> list[str]:
    """The lines for the loaders, for who has `tag`; `server` is `,NAME,ADDRESS` where TFTP is another machine's."""
    own = _tagged(tag)
    mine = "" if tag is None else f"tag:{tag},"
    configs = [
        f"dhcp-option-force={mine}tag:{_group_tag(group, tag)},209,{group.config}"
        for group in files.groups
        if group.config
    ]
    # forced: PXELINUX needs them and asks for none
    return [
        *_group_lines(files, tag),
        *boot_lines(files, server, tag=tag),
        *configs,
        f"dhcp-option-force={own}208,{PXELINUX_MAGIC}",
        f"dhcp-option-force={own}210,{path_prefix(site)}",
    ]


def boot_lines(files: BootFiles, server: str = "", *, tag: str | None = None) -> list[str]:
    """The lines that name each client's loader, BIOS clients' to whoever says nothing of itself.

    With `tag` no two of them are for the same client: of those that are, an older dnsmasq takes another.
    """
    kinds, own = files.others, _tagged(tag)
    lines = [f"dhcp-match=set:{_kind_tag(kind, tag)},option:client-arch,{kind:d}" for kind in kinds]
    not_ipxe = ""
    if files.script is not None:
        lines.append(f"dhcp-userclass=set:{ipxe_tag(tag)},{IPXE}")
        not_ipxe = f"tag:!{ipxe_tag(tag)},"
    for kind, name in kinds.items():
        mine = f"{own}{not_ipxe}tag:{_kind_tag(kind, tag)},"
        if kind.over_http:
            # without it firmware does not take the offer for one of HTTP boot; an URL needs no server beside it
            lines.append(f"dhcp-option-force={mine}option:vendor-class,{HTTP_CLIENT}")
        lines.append(f"dhcp-boot={mine}{name}{'' if kind.over_http else server}")
    if files.script is not None:
        scripts = {_group_tag(group, tag): group.script for group in files.groups}
        lines += [f"dhcp-boot={own}tag:{ipxe_tag(tag)},tag:{one},{name}{server}" for one, name in scripts.items()]
        rest = "".join(f"tag:!{one}," for one in scripts)
        lines.append(f"dhcp-boot={own}tag:{ipxe_tag(tag)},{rest}{files.script}{server}")
    if files.bios is None:
        return lines
    others = "".join(f"tag:!{_kind_tag(kind, tag)}," for kind in kinds) if tag else ""
    return [*lines, f"dhcp-boot={own}{not_ipxe if tag else ''}{others}{files.bios}{server}"]


def _group_tag(group: GroupFiles, tag: str | None) -> str:
    return f"{tag or FIRST_NAME}-group-{group.name}"


def _group_lines(files: BootFiles, tag: str | None) -> list[str]:
    """The lines that give a group's tag to who has a card like theirs, and no menu of its own."""
    name, lines = tag or FIRST_NAME, []
    own = dict.fromkeys(mac for group in files.groups for mac in group.own)
    lines += [f"dhcp-mac=set:{name}-own,{mac}" for mac in own]
    for group in files.groups:
        mark = f"{name}-mac-{group.name}"
        for prefix in group.prefixes:
            every = ":*" * (5 - prefix.count(":"))
            lines.append(f"dhcp-mac=set:{mark},{prefix}{every}")
        lines.append(f"tag-if=set:{_group_tag(group, tag)},tag:{mark}{f',tag:!{name}-own' if own else ''}")
    return lines


def ipxe_tag(tag: str | None) -> str:
    """The tag of clients that run iPXE."""
    return f"{tag or FIRST_NAME}-ipxe"


def _tagged(tag: str | None) -> str:
    return f"tag:{tag}," if tag else ""


def _kind_tag(kind: ClientArchitecture, tag: str | None) -> str:
    return f"{tag or FIRST_NAME}-{kind:d}"


def _loader_title(site: Site, files: BootFiles) -> str:
    rest = "the same way" if site.web_server is None else "over HTTP, much faster"
    return (
        f"the loader comes over TFTP, its configuration and the kernel {rest}\n"
        f"(208 lets PXELINUX believe 210, the prefix of all names)\n{about_209(files)}"
    )
