"""DHCP of another machine: dnsmasq as a proxy beside it.

Sources: dnsmasq(8), --pxe-service and `proxy` of --dhcp-range; the Preboot Execution Environment specification 2.1.
Seen with dnsmasq 2.90: without pxe-service a proxy answers nothing, and it never sends options 208 and 210.
"""

from __future__ import annotations

from builder.loaders.base import ClientArchitecture
from builder.model.share import ServedStore
from builder.model.site import Site
from builder.render.server.boot_files import BootFiles, choose_boot_files
from builder.render.server.comments import heading, sections
from builder.render.server.dnsmasq import (
    alone,
    boot_lines,
    directory_note,
    drop_in_path,
    ipxe_tag,
    listening,
    tftp_part,
)
from builder.render.server.dnsmasq_addresses import BesideDnsmasq, join_tags, range_tags

# dnsmasq's names of client systems, dnsmasq(8)
_SYSTEMS = {
    ClientArchitecture.X86_BIOS: "x86PC",
    ClientArchitecture.IA32_UEFI: "IA32_EFI",
    ClientArchitecture.X64_UEFI: "BC_EFI",  # as RFC 4578 had it before its erratum
    ClientArchitecture.X64_UEFI_OLD: "X86-64_EFI",
    ClientArchitecture.ARM64_UEFI: "ARM64_EFI",
}


def proxy_config(site: Site, store: ServedStore, beside: BesideDnsmasq | None = None) -> str:
    """A dnsmasq configuration that tells clients the loader only: addresses come from a DHCP server that stays."""
    beside = beside or alone(site)
    tag, path = store.name, drop_in_path(store.name)
    tags = range_tags(site, tag)
    networks = [one.network for one in site.client_networks]
    what = "clients without disks: proxy DHCP and TFTP beside another DHCP server"
    files = choose_boot_files(site, store, by_proxy=True)
    return sections(
        (f"{heading(path, what, store.path)}\n{directory_note(tag)}", []),
        *listening(beside),
        (
            "No addresses: the other server, a router for example, gives them and needs no change. It may give each\n"
            "client the same one always, but must not name a boot file of its own.",
            [
                *(
                    f"dhcp-range=set:{mark},{network.network_address},proxy,{network.netmask}"
                    for mark, network in zip(tags, networks, strict=True)
                ),
                *join_tags(tags, tag),
            ],
        ),
        (
            "The loader, twice. Firmware that is strict takes it from a menu of one entry, which it asks for at port\n"
            "4011; iPXE and simpler firmware take it from the offer.",
            [*_services(files, tag), *boot_lines(files, f",,{site.server}", tag=tag)],
        ),
        tftp_part(
            store, beside, "\nA proxy's answer has no room for PXELINUX's options, so kernels come over TFTP too."
        ),
    )


def _services(files: BootFiles, tag: str) -> list[str]:
    """One menu entry each; dnsmasq appends .0, the layer, to a name without a suffix of its own.

    iPXE asks for the menu too: with the firmware's entry it would load itself again and again.
    """
    if files.script is None:
        return [_service(f"tag:{tag},", kind, name) for kind, name in files.firmware.items()]
    firmware = [_service(f"tag:{tag},tag:!{ipxe_tag(tag)},", kind, name) for kind, name in files.firmware.items()]
    return [*firmware, *(_service(f"tag:{tag},tag:{ipxe_tag(tag)},", kind, files.script) for kind in files.firmware)]


def _service(tags: str, kind: ClientArchitecture, name: str) -> str:
    return f'pxe-service={tags}{_SYSTEMS[kind]},"diskless",{name.removesuffix(".0")}'
