"""doctor: what this host can do, and whether the servers of a store answer as its clients need."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from builder.bootlab.lab import lab_tools
from builder.bootlab.machine import accelerator
from builder.bootlab.nfs import choose_nfs_server
from builder.distributions.table import DISTRIBUTIONS, how_to_install
from builder.errors import DisklessError
from builder.installers.registry import INSTALLERS
from builder.loaders.table import loader_of
from builder.model.diagnostic import Diagnostic, Level, fail, ok, warn
from builder.model.share import ServedStore
from builder.model.site import Site, lease_seconds
from builder.model.text.quantity import format_bytes
from builder.output.versions import read_manifest
from builder.probes.building import examine_building
from builder.probes.dhcp_answers import examine_dhcp
from builder.probes.firewall import examine_firewall
from builder.probes.host import (
    READ_ONLY_REMEDY,
    examine_cache,
    examine_distribution,
    examine_kernel,
    examine_libraries,
    examine_space,
)
from builder.probes.permissions import examine_permissions
from builder.probes.programs import examine_tools
from builder.probes.server import (
    examine_addresses,
    examine_http,
    examine_nfs,
    examine_read_plus,
    examine_tftp,
    read_boots,
    running_ganesha,
)
from builder.reading import load_site
from builder.shares.state import read_shares
from builder.store.activation import site_of
from builder.store.generations import active_generation, served_menus
from builder.store.layout import Store, find_store
from builder.store.reserve import Reserve
from builder.store.served_loaders import read_served_store, served_shims
from builder.system.files import free_bytes, is_read_only
from builder.system.host import host_family
from builder.system.sandbox.sandbox import TOOLS as SANDBOX_TOOLS

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_KERNELS = ("/boot/vmlinuz-*", "/boot/vmlinuz*", "/usr/lib/modules/*/vmlinuz")


def examine_host(output: Path, cache: Path) -> list[Diagnostic]:
    """Everything that build and boot need here."""
    return [
        examine_distribution(),
        examine_libraries(),
        *examine_kernel(),
        *examine_building(output),
        *examine_permissions(cache),
        *_build_tools(),
        *_boot_tools(),
        _keyring(),
        examine_space("output", output),
        examine_space("cache", cache),
        examine_cache(cache),
    ]


def examine_server(root: Path, seconds: float) -> list[Diagnostic]:
    """The servers of the store at `root`, asked as clients ask; `seconds` to wait for answers to DHCP."""
    store = find_store(root)
    # where nobody wrote one, the address that the last deploy was given
    site = site_of(store, None, load_site(store.site_file) if store.site_file.exists() else None)
    menus = served_menus(store)
    boots = read_boots(entry for path, text in menus for entry in loader_of(path).parse(text))
    return [
        *_store(store, [path for path, _ in menus]),
        *_shim(store),
        *_shares(store),
        _room(store),
        *examine_addresses(site),
        *examine_leases(site, store),
        *_asked_dhcp(site, read_served_store(store, rw=False), seconds),
        *examine_tftp(site, store.boot, boots, [path for path, _ in menus]),
        *examine_http(site, store.boot, boots, [path for path, _ in menus]),
        *examine_nfs(site, boots),
        *examine_read_plus(boots, running_ganesha()),
        *examine_firewall(site),
    ]


def _build_tools() -> list[Diagnostic]:
    found = examine_tools("build", SANDBOX_TOOLS, Level.FAIL, "every build runs in namespaces")
    own = host_family()
    for name, distro in DISTRIBUTIONS.items():
        installer = INSTALLERS[distro.manager]
        level = Level.FAIL if name.value == own else Level.WARN
        found += examine_tools(f"build {name.value}", installer.tools(), level, f"needed to build {name.value} images")
    return found


def _boot_tools() -> list[Diagnostic]:
    return [*examine_tools("boot", lab_tools(choose_nfs_server()), Level.WARN, "`diskless boot` needs it"), _kvm()]


def _kvm() -> Diagnostic:
    """A kernel that starts is the only proof: /dev/kvm may exist and hang."""
    remedy = "boots are emulated, several times slower: switch virtualization on in the firmware, or nested in the host"
    if not Path("/dev/kvm").exists():
        return warn("boot", "KVM", "there is no /dev/kvm", remedy)
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return warn("boot", "KVM", "/dev/kvm is not for this user", "sudo diskless doctor tries it")
    kernels = [path for pattern in _KERNELS for path in sorted(Path("/").glob(pattern[1:])) if os.access(path, os.R_OK)]
    if not kernels or accelerator.QEMU.find() is None or os.geteuid() != 0:
        return warn("boot", "KVM", "/dev/kvm is there, and could not be tried", "`diskless boot` tries it and says so")
    if accelerator.starts_under_kvm(kernels[-1]):
        return ok("boot", "KVM", f"{kernels[-1]} starts under it")
    return warn("boot", "KVM", f"/dev/kvm is there, but {kernels[-1]} does not start under it", remedy)


def _keyring() -> Diagnostic:
    if _KEYRING.is_file():
        return ok("build debian", "keyring", str(_KEYRING))
    return warn("build debian", "keyring", f"{_KEYRING} is missing", how_to_install("debian-archive-keyring"))


def _store(store: Store, menus: list[str]) -> Iterable[Diagnostic]:
    if not menus:
        remedy = f"diskless deploy --to {store.root}"
        return [fail("store", "active", f"nothing is deployed in {store.root}", remedy)]
    first = {file.tftp for path in menus for file in loader_of(path).boot_files.values()}
    missing = sorted(name for name in first if not (store.boot / name).is_file())
    if missing:
        remedy = "diskless deploy --replace-loaders brings them"
        return [fail("store", "loaders", f"{store.boot} lacks {', '.join(missing)}", remedy)]
    number = "one boot menu" if len(menus) == 1 else f"{len(menus)} boot menus"
    return [ok("store", "active", f"{store.root}: {number}")]


def _shim(store: Store) -> Iterable[Diagnostic]:
    """Whose keys firmware needs for Secure Boot: before 2023 it had one authority's, today it may have another's."""
    for name, authorities in served_shims(store).items():
        if not authorities:
            remedy = "deploy a version whose boot.loaders has grub: its shim is signed"
            yield warn("store", name, "is signed by none of Microsoft's authorities: no Secure Boot", remedy)
        else:
            years = " and ".join(map(str, authorities))
            yield ok("store", name, f"is signed by Microsoft's authority of {years}")


def _shares(store: Store) -> Iterable[Diagnostic]:
    """Whether each export holds clients, and has room."""
    shares = read_shares(store)
    command = f"diskless storage --to {shlex.quote(str(store.root))}"
    fault = store.record.fault(str(store.root))
    if fault is not None:
        text, _, remedy = fault.partition(": ")
        yield fail("store", "exports", text, remedy)
    elif not shares:
        text = "roots have no file system of their own, so nothing is exported"
        yield fail("store", "file systems", text, f"{command} --ro SIZE makes one, such as 20G")
    for share in shares:
        if share.fault is None:
            yield ok("store", share.path, f"{format_bytes(share.free or 0)} of {format_bytes(share.size or 0)} free")
        elif not share.mounted:
            yield fail("store", share.path, share.fault, command)
        else:
            yield warn(
                "store", share.path, share.fault, f"{command} --{share.path.partition('/')[0]} SIZE: it can grow"
            )


def examine_leases(site: Site, store: Store) -> Iterable[Diagnostic]:
    """Images whose clients renew no lease, where the site gives unknown clients one that ends."""
    generation = active_generation(store)
    ending = [one for one in site.client_networks if one.dhcp is not None and lease_seconds(one.dhcp.lease) is not None]
    if generation is None or not ending:
        return
    for image in generation.active:
        name = generation.boot_name(image)
        with contextlib.suppress(DisklessError, OSError):
            if name is not None and read_manifest(store.version(image, name.version)).renews_lease is False:
                text = f"its clients never renew their lease ({ending[0].lease}): then others may get their address"
                remedy = (
                    "dhcpcd in its recipe (`diskless check` says how), an address for each client, or lease: infinite"
                )
                yield warn("dhcp", image, text, remedy)


def _room(store: Store) -> Diagnostic:
    text = f"{format_bytes(free_bytes(store.boot))} free in {store.boot}"
    for place in (store.root, store.boot):
        if is_read_only(place):
            return fail("store", "room", f"{place} is on a read-only file system", READ_ONLY_REMEDY)
    if Reserve(store).lacks_room:
        remedy = f"free some space there; diskless prune --to {store.root} removes versions that nobody needs"
        return warn("store", "room", f"{text}: nearly full", remedy)
    return ok("store", "room", text)


def _asked_dhcp(site: Site, store: ServedStore, seconds: float) -> list[Diagnostic]:
    if os.geteuid() != 0:
        return [warn("dhcp", "question", "only root can ask", "sudo diskless doctor --to ...")]
    return examine_dhcp(site, store, seconds)
