"""/etc/resolv.conf, resolv.conf(5), by the recipe's policy.

`kernel` means what the machine learnt when it mounted its root: /proc/net/pnp where the kernel itself asked (the
kernel's nfsroot.rst), else the files that klibc's ipconfig leaves, with IPV4DNS0= and DNSDOMAIN=: /run/net-IFACE.conf
since klibc 2.0, which is Debian's; /tmp/net-IFACE.conf before and in mkinitcpio-nfs-utils, where a hook of ours saves
it. A script makes the file from either, once, early in the boot.
"""

from __future__ import annotations

from typing import assert_never

from builder.inits.base import RESOLVER
from builder.inits.table import init_of
from builder.model.entry import TreeEntry, TreeFile, TreeLink
from builder.model.recipe import Network, Recipe, Resolver

PATH = "/etc/resolv.conf"
RESOLVED_STUB = "../run/systemd/resolve/stub-resolv.conf"
KERNEL_LINK = "../run/diskless/resolv.conf"
# what an ipconfig learnt: where klibc's leaves it, and where a hook of ours saves the others'
LEASES = "/run/net-*.conf /run/diskless/net-*.conf"
_SCRIPT = f"""\
#!/bin/sh
# written by diskless: resolv.conf from the address that the machine booted with
mkdir -p /run/diskless
{{
	[ ! -r /proc/net/pnp ] || sed -n 's/^domain /search /p; /^nameserver /p' /proc/net/pnp
	for lease in {LEASES}; do
		[ -r "$lease" ] || continue
		(
			. "$lease"
			[ -z "$DNSDOMAIN" ] || echo "search $DNSDOMAIN"
			for server in "$IPV4DNS0" "$IPV4DNS1"; do
				case $server in '' | 0.0.0.0) ;; *) echo "nameserver $server" ;; esac
			done
		)
	done
}} | awk '!seen[$0]++' > /run/diskless/resolv.conf.new
mv /run/diskless/resolv.conf.new /run/diskless/resolv.conf
"""


def resolver_entries(recipe: Recipe) -> list[TreeEntry]:
    """/etc/resolv.conf, and whatever fills it."""
    network = recipe.network
    match network.resolver_policy:
        case Resolver.FIXED:
            return [TreeFile(PATH, _fixed(network).encode())]
        case Resolver.RESOLVED:
            return [TreeLink(PATH, RESOLVED_STUB)]
        case Resolver.KERNEL:
            return [TreeLink(PATH, KERNEL_LINK), *_kernel(recipe)]
        case Resolver.DHCP:
            # it must exist: Debian's dhcpcd.service names it in ReadWritePaths= and fails with 226/NAMESPACE without it
            return [TreeFile(PATH, b"# filled in by dhcpcd\n")]
        case other:
            assert_never(other)


def is_left_to_clients(network: Network) -> bool:
    """Whether the DHCP client writes or passes on the name servers that it learns."""
    return network.resolver_policy in (Resolver.DHCP, Resolver.RESOLVED)


def _fixed(network: Network) -> str:
    lines = [f"nameserver {address}" for address in network.nameservers]
    if network.search:
        lines.insert(0, "search " + " ".join(network.search))
    return "\n".join(lines) + "\n"


def _kernel(recipe: Recipe) -> list[TreeEntry]:
    return [
        TreeFile(RESOLVER.script, _SCRIPT.encode(), 0o755),
        *init_of(recipe).early_entries(RESOLVER),
    ]
