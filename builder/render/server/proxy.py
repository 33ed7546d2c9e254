"""DHCP of another machine: dnsmasq as a proxy beside it.

Sources: dnsmasq(8), --pxe-service and `proxy` of --dhcp-range; the Preboot Execution Environment specification 2.1.
Seen with dnsmasq 2.90: without pxe-service a proxy answers nothing, and it never sends options 208 and 210.
"""

from __future__ import annotations

from builder.render.server.comments import sections
from builder.render.server.services import (
    DNSMASQ_FILE,
    TFTP_LOADER,
    DhcpService,
    listening,
)


def proxy_config(service: DhcpService) -> str:
    """A dnsmasq configuration that tells clients the loader only: addresses come from a DHCP server that stays."""
    network = service.network
    return sections(
        (f"{DNSMASQ_FILE} - clients without disks: proxy DHCP and TFTP beside another DHCP server", []),
        ("no DNS; remove this where dnsmasq is to be the name server too", ["port=0"]),
        ("only on this interface", listening(service)),
        (
            "No addresses: the other server, a router for example, gives them and needs no change. It may give each\n"
            "client the same one always, but must not name a boot file of its own.",
            [f"dhcp-range={network.network_address},proxy,{network.netmask}"],
        ),
        (
            "The loader, twice. Firmware that is strict takes it from a menu of one entry, which it asks for at port\n"
            "4011; iPXE and simpler firmware take it from the offer.",
            [
                f'pxe-service=x86PC,"diskless",{TFTP_LOADER.removesuffix(".0")}',
                f"dhcp-boot={TFTP_LOADER},,{service.address}",
            ],
        ),
        (
            "what TFTP serves; nothing below it may lead out of it\n"
            "A proxy's answer has no room for PXELINUX's options, so kernels come over TFTP too.",
            ["enable-tftp", f"tftp-root={service.tftp_root}"],
        ),
    )
