"""Scripts that mount the root from an initramfs: any NFS version, read-only below a tmpfs or read-write.

The same shell functions serve initramfs-tools (klibc's or busybox' sh and mount) and mkinitcpio (busybox' sh,
util-linux' mount): no other programs. `mount -i` runs no mount.nfs, which would want /etc/netconfig and
/etc/protocols: the kernel reads the options itself, and asks mountd itself for NFSv3. Sources: nfs(5); the kernel's
nfsroot.rst, overlayfs.rst, tmpfs.rst and nfs-client.rst (nfs4_unique_id); initramfs-tools(7); mkinitcpio(8).
"""

from __future__ import annotations

from builder.generators import persistence
from builder.model.recipe import OnFailure, Root, RootMode

# on the kernel command line: how much a client may write
OVERLAY_ARGUMENT = "diskless.overlay"
# where the parts of an overlay root are found in the running system
LOWER, MEMORY = "/run/overlay/lower", "/run/overlay/rw"
DEFAULT_SIZE = "50%"

_NFS = """\
diskless_version=@VERSION@
diskless_access=@ACCESS@

diskless_split() {
	diskless_root=${1%%,*}
	case $1 in *,*) diskless_options=,${1#*,}$diskless_options ;; esac
}

# [SERVER:]/PATH[,OPTIONS] from nfsroot= or, where that is missing or `auto`, from DHCP's root-path (option 17)
diskless_locate() {
	diskless_options=
	case ${1:-auto} in auto) diskless_split auto@OPTIONS@ ;; *) diskless_split "$1" ;; esac
	[ "$diskless_root" != auto ] || diskless_split "$ROOTPATH"
	case $diskless_root in /*) diskless_root=$ROOTSERVER:$diskless_root ;; esac
	diskless_server=${diskless_root%%:*}
	case $diskless_root in
	0.0.0.0:*) ;;
	[0-9]*.*.*.[0-9]*:/*) return 0 ;;
	esac
	diskless_say "there is no root: nfsroot= and DHCP option 17 say '$diskless_root', not ADDRESS:/PATH"
	return 1
}

diskless_read_options() {
	diskless_more=
	set -f
	IFS=,
	for diskless_word in $diskless_options; do
		case $diskless_word in
		"" | ro | rw | broken_suid) ;; # the last is nfsmount's
		vers=* | nfsvers=*) diskless_version=${diskless_word#*=} ;;
		v[34]*) diskless_version=${diskless_word#v} ;;
		*) diskless_more=$diskless_more,$diskless_word ;;
		esac
	done
	unset IFS
	set +f
	# what comes later wins
	case $diskless_version in
	3) diskless_more=,nolock,mountproto=tcp$diskless_more ;;
	*) diskless_more=$diskless_more${IPV4ADDR:+,clientaddr=$IPV4ADDR} ;;
	esac
}

# the card with the address, which an ipconfig of glibc's does not name where ip= names none: what it writes there is
# memory that it has given back
diskless_find_card() {
	case $DEVICE in
	"" | *[!a-zA-Z0-9_.-]*) ;;
	*) [ ! -e "/sys/class/net/$DEVICE/address" ] || return 0 ;;
	esac
	while read -r DEVICE diskless_line; do
		[ ! -e "/sys/class/net/$DEVICE/address" ] || return 0
	done < /proc/net/route
	return 1
}

# A server tells NFSv4 clients apart by their host names, and there is none yet: without this each client would look
# like the one before it, restarted, and end its session.
diskless_identify() {
	diskless_id=/sys/module/nfs/parameters/nfs4_unique_id
	[ -e "$diskless_id" ] || return 0
	read -r diskless_word < "$diskless_id"
	case $diskless_word in ?*) return 0 ;; esac
	if ! diskless_find_card; then
		diskless_say "no card has an address: a server of NFSv4 cannot tell this client from others"
		return 0
	fi
	read -r diskless_word < "/sys/class/net/$DEVICE/address"
	echo "$diskless_word" > "$diskless_id"
}

diskless_explain() {
	case $1 in
	*"rotocol not supported"*) diskless_say "does the server speak NFS $diskless_version?" ;;
	*"ermission denied"* | *"ot permitted"*)
		diskless_say "is this path exported, and to this client ($IPV4ADDR)?" ;;
	*"o such file"*) diskless_say "is there such a directory below an export of the server?" ;;
	*refused* | *"imed out"* | *"o route"* | *unreachable*)
		diskless_say "is $diskless_server the NFS server, and does its firewall let TCP port 2049 through?" ;;
	esac
}

# mounts what nfsroot= ($1) names at $2; servers that start later than their clients get three minutes
diskless_mount_nfs() {
	diskless_locate "$1" || return 1
	diskless_read_options
	modprobe -q nfs
	diskless_identify
	diskless_try=1
	diskless_say "mounting $diskless_root, $diskless_access, NFS $diskless_version"
	until diskless_said=$(mount -i -t nfs \\
		-o "$diskless_access,vers=$diskless_version,proto=tcp$diskless_more,addr=$diskless_server" \\
		"$diskless_root" "$2" 2>&1); do
		diskless_say "NFS mount failed: ${diskless_said%%
*}"
		diskless_explain "$diskless_said"
		[ "$diskless_try" -lt 40 ] || return 1
		sleep $((diskless_try < 5 ? diskless_try : 5))
		diskless_try=$((diskless_try + 1))
		diskless_say "try $diskless_try of 40"
	done
	diskless_say "root mounted"
}
"""
_DIRECT = """\

diskless_mount_root() {
	diskless_mount_nfs "$1" "$2"
}
"""
_OVERLAY = f"""\

# mounts at $2 the root that nfsroot= ($1) names, below a directory in memory that takes all writes
diskless_mount_root() {{
	mkdir -p {LOWER} {MEMORY}
	diskless_mount_nfs "$1" {LOWER} || return 1
	# for clients with little memory, or much
	diskless_from_cmdline {OVERLAY_ARGUMENT} @SIZE@
	diskless_size=$diskless_value
	modprobe -q overlay
	if mount -t tmpfs -o "mode=0700,size=$diskless_size" tmpfs {MEMORY} &&
		mkdir -m 0755 {MEMORY}/upper {MEMORY}/work &&
		mount -t overlay -o lowerdir={LOWER},upperdir={MEMORY}/upper,workdir={MEMORY}/work overlay "$2"; then
		diskless_say "writes go to memory ($diskless_size) and are lost at power-off"
		return 0
	fi
	diskless_say "overlay failed: a tmpfs of size=$diskless_size, or the overlay itself, could not be mounted"
	umount {MEMORY}
	umount {LOWER}
	return 1
}}
"""
_INITRAMFS_TOOLS = """\
# written by diskless: mounts the root. init reads it after scripts/nfs, whose functions it uses (BOOT=diskless).

@FUNCTIONS@
diskless_shell() {
	panic "$1; leave this shell (exit) to try again"
}

# configure_networking asks for five minutes, and ends the shell that it runs in where nobody answers (initramfs-tools
# 0.142): that is a child here, or it would be the init
diskless_configure_network() {
	case ${IP-} in none | off) return 0 ;; esac
	# what an earlier round got may be somebody else's by now
	rm -f /run/net-*.conf
	(configure_networking)
	for diskless_file in /run/net-*.conf; do
		[ -s "$diskless_file" ] || continue
		. "$diskless_file"
		return 0
	done
	diskless_say "no address: does the DHCP server know this client, and is its cable in?"
	return 1
}

mountroot() {
	nfs_top
	modprobe -q af_packet
	wait_for_udev 10
	nfs_premount
	while true; do
		if ! diskless_configure_network; then
			diskless_on_failure "no address"
		elif diskless_mount_root "$NFSROOT" "${rootmnt?}"; then
			return 0
		else
			diskless_on_failure "the root is not mounted"
		fi
	done
}
"""
_ARGUMENT = """\
# a word of the kernel command line: mkinitcpio has getarg for that since release 39, and made variables before
diskless_argument() {
	if type getarg > /dev/null 2>&1; then
		getarg "$1"
	else
		eval "echo \\"\\${$1}\\""
	fi
}
"""
_SHELL = """\
diskless_shell() {
	echo "$1: you are now being dropped into an emergency shell; leave it (exit) to try again."
	launch_interactive_shell
}
"""
_RUNTIME = """\
#!/usr/bin/ash
# written by diskless: configures the network and mounts the root

@FUNCTIONS@
@ARGUMENT@
# the card that PXE used, where the loader names it (BOOTIF=, PXELINUX's SYSAPPEND 2); nothing: any card
diskless_card() {
	diskless_bootif=$(diskless_argument BOOTIF)
	[ -n "$diskless_bootif" ] || return 0
	for diskless_word in /sys/class/net/*; do
		read -r diskless_line < "$diskless_word/address"
		# busybox' ash replaces, as mkinitcpio's own init has it do
		if [ "${diskless_bootif#*-}" = "${diskless_line//:/-}" ]; then
			echo "${diskless_word##*/}"
			return 0
		fi
	done 2>/dev/null
}

diskless_configure_network() {
	diskless_ip=$(diskless_argument ip)
	case $diskless_ip in
	"" | y | on | any | both | dhcp | ::: | ::::::dhcp) diskless_ip=:::::$(diskless_card):dhcp ;;
	esac
	# a switch that looks for loops first (STP) needs 30 seconds
	ipconfig -t 60 "ip=$diskless_ip" || return 1
	# mkinitcpio-nfs-utils' ipconfig writes to /tmp, klibc's to /run
	for diskless_word in /run/net-*.conf /tmp/net-*.conf; do
		[ ! -r "$diskless_word" ] || . "$diskless_word"
	done
}

diskless_await_network() {
	diskless_rounds=1
	until diskless_configure_network; do
		diskless_say "no address for ip=$diskless_ip: does the DHCP server know this client, and is its cable in?"
		if [ "$diskless_rounds" -lt 5 ]; then
			diskless_rounds=$((diskless_rounds + 1))
		else
			diskless_rounds=1
			diskless_on_failure "no address"
		fi
	done
}

@SHELL@
run_hook() {
	diskless_await_network
	mount_handler=diskless_mount_handler
}

diskless_mount_handler() {
	until diskless_mount_root "$(diskless_argument nfsroot)" "$1"; do
		diskless_on_failure "the root is not mounted"
		# the address may be somebody else's by now
		diskless_await_network
	done
}
"""
_RETRY = """\
#!/usr/bin/ash
# written by diskless: what the hook net does once is done again until there is a root

@PERSISTENCE@
@ARGUMENT@
@SHELL@
diskless_has_address() {
	for diskless_file in /run/net-*.conf /tmp/net-*.conf; do
		[ ! -s "$diskless_file" ] || return 0
	done
	return 1
}

# the hook net has read its variables once, before there was an address: they have a server where nfsroot= names one
diskless_ask_again() {
	ipconfig -t 60 "ip=$(diskless_argument ip)" && diskless_has_address || return 1
	[ -z "$nfs_server" ] || return 0
	diskless_say "an address came late, and nfsroot= names no server: starting anew"
	reboot -f
	return 1
}

diskless_net_handler() {
	while true; do
		if ! diskless_has_address && ! diskless_ask_again; then
			diskless_say "no address: does the DHCP server know this client, and is its cable in?"
			diskless_on_failure "no address"
			continue
		fi
		diskless_try=1
		while [ "$diskless_try" -le 40 ]; do
			nfs_mount_handler "$1" && return 0
			diskless_say "NFS mount failed: try $diskless_try of 40"
			sleep 5
			diskless_try=$((diskless_try + 1))
		done
		diskless_on_failure "the root is not mounted"
		# nobody renewed the address meanwhile
		rm -f /run/net-*.conf /tmp/net-*.conf
	done
}

run_hook() {
	[ "$mount_handler" != nfs_mount_handler ] || mount_handler=diskless_net_handler
}
"""
INSTALL = """\
#!/usr/bin/bash
# written by diskless: what mounts a root on NFS; its kernel modules are in MODULES
build() {
	local file
	# every wired driver: no PXE client comes through the others
	add_checked_modules '/drivers/net/(ethernet|phy|mdio|pcs|mii|virtio_net|vmxnet3|hyperv|usb)'
	add_binary /usr/lib/initcpio/ipconfig /usr/bin/ipconfig
	# an ipconfig of klibc needs its loader
	for file in /usr/lib/klibc-*.so; do
		[[ ! -e $file ]] || add_file "$file"
	done
	add_runscript
}

help() {
	echo 'Configures the network (ip=, BOOTIF=) and mounts the root from NFS (nfsroot=, or DHCP option 17).'
}
"""


def boot_script(root: Root, on_failure: OnFailure) -> str:
    """scripts/diskless for initramfs-tools: what BOOT=diskless runs in place of scripts/nfs."""
    return _INITRAMFS_TOOLS.replace("@FUNCTIONS@\n", _functions(root, on_failure))


def runtime_hook(root: Root, on_failure: OnFailure) -> str:
    """The runtime script of the hook `diskless` for mkinitcpio."""
    return _for_mkinitcpio(_RUNTIME.replace("@FUNCTIONS@\n", _functions(root, on_failure)))


def retry_hook(on_failure: OnFailure) -> str:
    """The runtime script of a hook after `net`, which asks once for an address and mounts once."""
    return _for_mkinitcpio(_RETRY.replace("@PERSISTENCE@\n", persistence.functions(on_failure) + "\n"))


def _for_mkinitcpio(text: str) -> str:
    return text.replace("@ARGUMENT@\n", _ARGUMENT + "\n").replace("@SHELL@\n", _SHELL + "\n")


def _functions(root: Root, on_failure: OnFailure) -> str:
    is_overlay = root.mode is RootMode.OVERLAY
    text = persistence.functions(on_failure) + "\n" + _NFS + (_OVERLAY if is_overlay else _DIRECT) + "\n"
    values = {
        "@VERSION@": root.nfs.version,
        "@ACCESS@": "ro" if is_overlay else "rw",
        "@OPTIONS@": "".join(f",{option}" for option in root.nfs.options),
        "@SIZE@": root.overlay_size or DEFAULT_SIZE,
    }
    for name, value in values.items():
        text = text.replace(name, value)
    return text
