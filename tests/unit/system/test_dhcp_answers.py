"""What DHCP servers say, judged: each kind of client must be sent to what the store has for it."""

from __future__ import annotations

import pytest

from builder.loaders.base import ClientArchitecture
from builder.loaders.grub import Grub
from builder.model.diagnostic import Level
from builder.model.recipe import LoaderName
from builder.model.share import ServedStore
from builder.model.site import Site
from builder.probes.dhcp import DhcpOffer, PxeClient
from builder.probes.dhcp_answers import examine_offers

SERVER, ROUTER = "192.168.1.1", "192.168.1.254"
BIOS, UEFI, IPXE = PxeClient(), PxeClient(ClientArchitecture.X64_UEFI), PxeClient(user_class="iPXE")
UEFI_9 = PxeClient(ClientArchitecture.X64_UEFI_OLD)
SITE = Site(server=SERVER)
WHOLE = ServedStore("/store", ())
UEFI_ONLY = ServedStore("/store", (), Grub().files)


def offer(boot_file: str | None, server: str = SERVER) -> DhcpOffer:
    return DhcpOffer(server, "192.168.1.100", boot_file, SERVER, None)


def of_a_proxy(boot_file: str | None) -> DhcpOffer:
    return DhcpOffer(SERVER, None, boot_file, SERVER, None, "PXEClient")


def complaints(site: Site, store: ServedStore, heard: dict[PxeClient, list[DhcpOffer]]) -> dict[str, tuple[Level, str]]:
    found = examine_offers(site, store, heard)
    return {one.name: (one.level, one.text) for one in found if one.level is not Level.OK}


def whole(bios: str) -> dict[PxeClient, list[DhcpOffer]]:
    uefi = [offer("shimx64.efi")]
    return {BIOS: [offer(bios)], UEFI: uefi, UEFI_9: uefi, IPXE: [offer("ipxe/boot.ipxe")]}


@pytest.mark.parametrize("name", ["pxelinux.0", "lpxelinux.0"])
def test_either_file_of_the_loader_for_bios_is_well(name: str) -> None:
    assert complaints(SITE, WHOLE, whole(name)) == {}


@pytest.mark.parametrize(
    ("name", "level"),
    [("shimx64.efi", Level.FAIL), ("ipxe/undionly.kpxe", Level.FAIL), ("own.0", Level.WARN)],
)
def test_bios_is_sent_to_what_is_not_for_it(name: str, level: Level) -> None:
    text = f"{SERVER} names {name} to BIOS, the store has pxelinux.0"
    assert complaints(SITE, WHOLE, whole(name)) == {"boot file": (level, text)}


def test_a_site_that_prefers_another_loader() -> None:
    site = Site(server=SERVER, loaders=(LoaderName.IPXE, LoaderName.GRUB))
    heard = {**whole("ipxe/undionly.kpxe"), UEFI: [offer("ipxe/ipxe.efi")], UEFI_9: [offer("ipxe/ipxe.efi")]}
    assert complaints(site, WHOLE, heard) == {}


def test_no_answer_names_a_file() -> None:
    found = complaints(SITE, WHOLE, {client: [offer(None)] for client in whole("")})
    assert set(found) == {"boot file", "UEFI (7)", "UEFI, as some firmware calls itself (9)", "iPXE"}
    assert {level for level, _ in found.values()} == {Level.FAIL}


@pytest.mark.parametrize("bios", [[], [offer(None)], [offer("own.0")]])
def test_a_store_for_uefi_alone_has_nothing_for_bios(bios: list[DhcpOffer]) -> None:
    uefi = [offer("shimx64.efi")]
    assert complaints(SITE, UEFI_ONLY, {BIOS: bios, UEFI: uefi, UEFI_9: uefi}) == {}


def test_beside_a_proxy_uefi_is_told_at_its_own_port() -> None:
    lease = offer(None, ROUTER)
    heard = {
        BIOS: [lease, of_a_proxy("pxelinux.0")],
        UEFI: [lease, of_a_proxy(None)],
        UEFI_9: [lease, of_a_proxy("ipxe/ipxe.efi")],
        IPXE: [lease, of_a_proxy("ipxe/boot.ipxe")],
    }
    site = Site(server=SERVER, http_port=80)
    assert complaints(site, WHOLE, heard) == {}
    # a proxy says nothing of HTTP, and sends nobody to GRUB
    heard[UEFI] = [lease, of_a_proxy("shimx64.efi")]
    text = f"{SERVER} names shimx64.efi, the store has ipxe/ipxe.efi"
    assert complaints(site, WHOLE, heard) == {"UEFI (7)": (Level.FAIL, text)}


def test_a_proxy_that_says_nothing_to_a_kind() -> None:
    lease = offer(None, ROUTER)
    heard = {BIOS: [lease, of_a_proxy("pxelinux.0")], UEFI: [lease], UEFI_9: [lease, of_a_proxy(None)]}
    site = Site(server=SERVER, loaders=(LoaderName.PXELINUX, LoaderName.IPXE))
    assert set(complaints(site, WHOLE, heard)) == {"UEFI (7)", "iPXE"}
