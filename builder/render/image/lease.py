"""What the answer to the boot's own DHCP request means for the running system: its name, its card, who renews it.

The files that an ipconfig leaves (see `resolver`) have DEVICE=, HOSTNAME= and DNSDOMAIN=. A script reads them once,
early in the boot, whatever manages the network later:

- The host name is the one that DHCP gave, or `ip=` has; the recipe's stays where neither has one. hostname(5): a root
  below an overlay is one machine's, so /etc/hostname and /etc/hosts say it too; others write no file for it.
- systemd-networkd is told the card that carries the root, by a file in /run that comes before the image's:
  systemd.network(5), the first file that matches counts. The others may be unplugged, and are waited for by nobody.
- Where what manages the network leaves that card alone, dhcpcd renews the lease, if the image has it: `noconfigure`
  (dhcpcd.conf(5) 9.4) changes no address, `request` alone asks for the one that the card has.
"""

from __future__ import annotations

from builder.distributions.table import distro_of
from builder.generators.table import generator_of
from builder.inits.base import LEASE, RENEWER_SCRIPT
from builder.inits.table import init_of
from builder.model.entry import TreeEntry, TreeFile
from builder.model.fault import Fault
from builder.model.recipe import NetworkClient, Recipe
from builder.render.image.network import NETWORKD_FILE, RENEWED
from builder.render.image.resolver import LEASES

# the card that carries the root, a line
_CARD = "/run/diskless/card"
_RENEWER_CONFIG = "/usr/local/lib/diskless/dhcpcd.conf"
_SCRIPT = f"""\
#!/bin/sh
# written by diskless: host name and card of the address that this machine booted with
mkdir -p /run/diskless

HOSTNAME= DNSDOMAIN= DEVICE= # a bash that is sh has the first already
for lease in {LEASES}; do
	[ -r "$lease" ] || continue
	. "$lease"
	break
done

name=$HOSTNAME
case $name in *[!a-zA-Z0-9.-]* | [!a-zA-Z0-9]*) name= ;; *[!0-9.]*) ;; *) name= ;; esac
short=${{name%%.*}}
if [ -n "$short" ]; then
	echo "$short" > /proc/sys/kernel/hostname
	type=
	while read -r _ target found _; do
		[ "$target" != / ] || type=$found
	done < /proc/mounts
	if [ "$type" = overlay ]; then
		[ "$short" != "$name" ] || [ -z "$DNSDOMAIN" ] || name=$short.$DNSDOMAIN
		names=$name
		[ "$short" = "$name" ] || names="$name $short"
		echo "$short" > /etc/hostname
		sed "s/^127\\.0\\.1\\.1[[:space:]].*/127.0.1.1\t$names/" /etc/hosts > /run/diskless/hosts &&
			cat /run/diskless/hosts > /etc/hosts
	fi
fi

# an ipconfig of glibc's names no card where ip= names none
case $DEVICE in "" | *[!a-zA-Z0-9_.-]*) DEVICE=none ;; esac
[ -e "/sys/class/net/$DEVICE/address" ] || while read -r DEVICE _; do
	[ ! -e "/sys/class/net/$DEVICE/address" ] || break
done < /proc/net/route
[ -n "$DEVICE" ] && [ -e "/sys/class/net/$DEVICE/address" ] || exit 0
echo "$DEVICE" > {_CARD}
if grep -qs '^Type=ether$' {NETWORKD_FILE}; then
	mkdir -p /run/systemd/network
	read -r address < "/sys/class/net/$DEVICE/address"
	sed "s/^Type=ether\\$/MACAddress=$address/; /^RequiredForOnline=/d; /^RouteMetric=/d" {NETWORKD_FILE} \\
		> /run/systemd/network/05-diskless.network
fi
"""
_RENEWER = f"""\
#!/bin/sh
# written by diskless: renews the lease of the address that this machine booted with, and changes nothing
read -r card < {_CARD} || exit 0
exec dhcpcd --nobackground --ipv4only --config {_RENEWER_CONFIG} --script /bin/true "$card"
"""


def lease_entries(recipe: Recipe) -> list[TreeEntry]:
    """The script, what runs it, and what renews the lease where nothing else does and the image has dhcpcd."""
    entries: list[TreeEntry] = [
        TreeFile(LEASE.script, _SCRIPT.encode(), 0o755),
        *init_of(recipe).early_entries(LEASE),
        *generator_of(recipe).lease_entries(),
    ]
    if has_renewer(recipe):
        config = "# written by diskless\n" + "\n".join(RENEWED) + "\n"
        entries += [
            TreeFile(_RENEWER_CONFIG, config.encode()),
            TreeFile(RENEWER_SCRIPT, _RENEWER.encode(), 0o755),
            *init_of(recipe).renewer_entries(),
        ]
    return entries


def is_renewed(recipe: Recipe) -> bool:
    """Whether anything in the running system renews the lease of the root's address."""
    return recipe.network.client in (NetworkClient.DHCPCD, NetworkClient.NETWORKD) or has_renewer(recipe)


def lease_advice(recipe: Recipe) -> Fault | None:
    """What to think of where nothing renews the lease: no fault, since a server may keep the address for the client."""
    if is_renewed(recipe):
        return None
    package = distro_of(recipe).dhcpcd_package
    return Fault(
        ("network", "client"),
        f"client: {recipe.network.client}: nothing renews the lease of the address that a client boots with; "
        "when it ends, the DHCP server may give the address to another machine",
        f"add {package} to packages, and it is renewed; or keep addresses for clients: `clients` of site.yml, or "
        "lease: infinite",
    )


def has_renewer(recipe: Recipe) -> bool:
    """Whether dhcpcd runs for nothing but the lease."""
    if recipe.network.client in (NetworkClient.DHCPCD, NetworkClient.NETWORKD):
        return False
    return distro_of(recipe).dhcpcd_package in recipe.package_names and bool(init_of(recipe).renewer_entries())
