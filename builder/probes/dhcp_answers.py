"""Whether the DHCP servers of a network send each kind of client to what a store has for it.

Sources: RFC 4578; the Preboot Execution Environment specification 2.1 (a proxy's offer has no address and says
PXEClient). Seen with dnsmasq 2.90 as a proxy: UEFI is offered neither file nor menu, and asks for both at port 4011.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from builder.loaders.base import ClientArchitecture
from builder.loaders.table import FIRST_FILES, boot_file_loaders
from builder.model.diagnostic import Diagnostic, fail, ok, warn
from builder.model.share import ServedStore
from builder.model.site import Site
from builder.probes.answer import NoAnswerError
from builder.probes.dhcp import DhcpOffer, PxeClient, discover
from builder.render.server.boot_files import HTTP_CLIENT, IPXE, BootFiles, choose_boot_files, describe
from builder.system.network import interface_address

_PXE_CLIENT = "PXEClient"
_BIOS = PxeClient()
_REMEDY = "diskless server-config prints what DHCP must say to each kind of firmware"
Heard = Mapping[PxeClient, Sequence[DhcpOffer]]


def examine_dhcp(site: Site, store: ServedStore, seconds: float) -> list[Diagnostic]:
    """Who answers a client that boots from the network, and with what: firmware of each kind that the store serves."""
    asking = (_BIOS, *_wanted(choose_boot_files(site, store)), *_wanted(choose_boot_files(site, store, by_proxy=True)))
    kinds = tuple(dict.fromkeys(asking))
    return [one for card in site.interfaces for one in _examine_card(site, store, card, seconds, kinds)]


def _examine_card(
    site: Site, store: ServedStore, card: str, seconds: float, asking: tuple[PxeClient, ...]
) -> list[Diagnostic]:
    """Who answers on one card."""
    try:
        heard = discover(card, seconds, asking)
    except NoAnswerError as error:
        return [fail("dhcp", "question", str(error), "run it as root on the server, with its network up")]
    if any(heard.values()):
        own = interface_address(card)
        return examine_offers(site, store, heard, None if own is None else str(own.ip))
    remedy = f"does a DHCP server run and listen on {card}, with addresses left, and does its firewall let"
    text = f"nobody answers on {card} in {seconds:g} s"
    return [fail("dhcp", "answer", text, f"{remedy} UDP 67 pass?")]


def examine_offers(site: Site, store: ServedStore, heard: Heard, own: str | None = None) -> list[Diagnostic]:
    """What these offers, some of which there must be, mean to clients of each kind.

    own: this server's address on the card that was asked, which may be another than the site's
    """
    offers = next(filter(None, (heard.get(_BIOS), *heard.values())))
    proxies = {offer.server for found in heard.values() for offer in found if _is_proxy(offer)}
    files = choose_boot_files(site, store, by_proxy=bool(proxies))
    others = [
        _examine_kind(site, client, name, heard.get(client, ()))
        for client, name in _wanted(files).items()
        if client != _BIOS
    ]
    return [*_examine_servers(offers), *_examine_bios((site.server, own), files, heard.get(_BIOS, ())), *others]


def _wanted(files: BootFiles) -> dict[PxeClient, str]:
    found = {PxeClient(kind): name for kind, name in files.firmware.items()}
    return found if files.script is None else {**found, PxeClient(user_class=IPXE): files.script}


def _is_proxy(offer: DhcpOffer) -> bool:
    return offer.address is None and (offer.vendor_class or "").startswith(_PXE_CLIENT)


def _examine_servers(offers: Sequence[DhcpOffer]) -> list[Diagnostic]:
    findings = [ok("dhcp", offer.server, _describe(offer)) for offer in offers]
    leases = [offer for offer in offers if offer.address]
    if len(leases) > 1:
        names = " and ".join(offer.server for offer in leases)
        text = f"{names} both give addresses: chance decides which one a client hears"
        findings.append(warn("dhcp", "servers", text, "stop one of them, or let one be a proxy for boot files only"))
    if not leases:
        remedy = "a proxy alone is not enough: some server must give addresses"
        findings.append(fail("dhcp", "address", "nobody offers an address", remedy))
    return findings


def _asked_later(offers: Sequence[DhcpOffer]) -> str | None:
    """Which proxy a client asks for its boot file after the offers, none of which names one."""
    return next((offer.server for offer in offers if _is_proxy(offer)), None)


def _examine_kind(site: Site, client: PxeClient, wanted: str, offers: Sequence[DhcpOffer]) -> Diagnostic:
    """Whether a client that is not BIOS firmware is sent to what the store has for it."""
    name = client.user_class or describe(client.architecture)
    named = [offer for offer in offers if offer.boot_file]
    if not named:
        return _unnamed(name, wanted, offers)
    # over TFTP where another server's DHCP has no room for an address
    fitting = [
        offer for offer in named if offer.boot_file in (wanted, wanted.removeprefix(f"http://{site.web_server}/"))
    ]
    if not fitting:
        return fail("dhcp", name, f"{named[0].server} names {named[0].boot_file}, the store has {wanted}", _REMEDY)
    if client.architecture.over_http and fitting[0].vendor_class != HTTP_CLIENT:
        text = f"{fitting[0].server} does not answer with option 60, {HTTP_CLIENT}: firmware passes the offer over"
        return fail("dhcp", name, text, _REMEDY)
    return ok("dhcp", name, f"boot file {fitting[0].boot_file}")


def _unnamed(name: str, wanted: str, offers: Sequence[DhcpOffer]) -> Diagnostic:
    proxy = _asked_later(offers)
    if proxy is None:
        return fail("dhcp", name, f"no answer names a boot file, the store has {wanted}", _REMEDY)
    return ok("dhcp", name, f"is told by the proxy {proxy} at its port 4011, which was not asked")


def _examine_bios(addresses: tuple[str, str | None], files: BootFiles, offers: Sequence[DhcpOffer]) -> list[Diagnostic]:
    """Whether BIOS clients are sent to the loader that the store has for them, if it has one."""
    if files.bios is None:
        return []
    named = [offer for offer in offers if offer.boot_file]
    if not named:
        if _asked_later(offers) is not None:
            return [_unnamed(describe(ClientArchitecture.X86_BIOS), files.bios, offers)]
        remedy = f"the boot file name (dnsmasq: dhcp-boot; others: option 67 and next-server) is {files.bios}"
        return [fail("dhcp", "boot file", "no answer names a boot file", remedy)]
    fitting = _of_the_same_loader(files.bios)
    found = []
    for offer in named:
        if offer.boot_server not in (None, *addresses):
            server = addresses[0]
            text = f"{offer.server} sends clients to {offer.boot_server} for {offer.boot_file}, not to {server}"
            found.append(warn("dhcp", "boot server", text, f"next-server of {offer.server} should be {server}"))
        elif offer.boot_file not in fitting:
            # what it does with a file that is not of a store nobody knows
            say = fail if offer.boot_file in FIRST_FILES else warn
            text = f"{offer.server} names {offer.boot_file} to BIOS, the store has {files.bios}"
            found.append(say("dhcp", "boot file", text, _REMEDY))
    return found


def _of_the_same_loader(name: str) -> set[str]:
    """The boot files for BIOS of the loader that has this one: another server's DHCP may know only that for TFTP."""
    kind = ClientArchitecture.X86_BIOS
    pairs = [{file.tftp, file.http} for file in (loader.boot_files[kind] for loader in boot_file_loaders(kind))]
    return next(pair for pair in pairs if name in pair)


def _describe(offer: DhcpOffer) -> str:
    said = [f"offers {offer.address}" if offer.address else "a proxy, without addresses"]
    said += [f"boot file {offer.boot_file}"] if offer.boot_file else []
    said += [f"from {offer.boot_server}"] if offer.boot_server else []
    said += [f"root-path {offer.root_path}"] if offer.root_path else []
    return ", ".join(said)
