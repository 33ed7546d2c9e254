#!/usr/bin/ash
# written by diskless: configures the network and mounts the root

diskless_say() {
	echo "diskless: $*"
}

# the value of a word of the kernel command line ($1), else $2: what comes last counts
diskless_from_cmdline() {
	diskless_value=$2
	read -r diskless_line < /proc/cmdline
	set -f
	for diskless_word in $diskless_line; do
		case $diskless_word in "$1"=?*) diskless_value=${diskless_word#*=} ;; esac
	done
	set +f
}

# what boot.on_failure of the recipe says ($1: what is the matter): it comes back where something is to be tried again
diskless_on_failure() {
	diskless_from_cmdline diskless.on_failure retry
	case $diskless_value in
	shell) diskless_shell "$1" ;;
	reboot)
		diskless_say "$1: starting anew in 30 seconds"
		sleep 30
		reboot -f
		sleep 60
		;;
	*)
		diskless_say "$1: trying again; a shell: diskless.on_failure=shell on the kernel command line"
		sleep 5
		;;
	esac
}

diskless_version=4.2
diskless_access=ro

diskless_split() {
	diskless_root=${1%%,*}
	case $1 in *,*) diskless_options=,${1#*,}$diskless_options ;; esac
}

# [SERVER:]/PATH[,OPTIONS] from nfsroot= or, where that is missing or `auto`, from DHCP's root-path (option 17)
diskless_locate() {
	diskless_options=
	case ${1:-auto} in auto) diskless_split auto ;; *) diskless_split "$1" ;; esac
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
	until diskless_said=$(mount -i -t nfs \
		-o "$diskless_access,vers=$diskless_version,proto=tcp$diskless_more,addr=$diskless_server" \
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

# mounts at $2 the root that nfsroot= ($1) names, below a directory in memory that takes all writes
diskless_mount_root() {
	mkdir -p /run/overlay/lower /run/overlay/rw
	diskless_mount_nfs "$1" /run/overlay/lower || return 1
	# for clients with little memory, or much
	diskless_from_cmdline diskless.overlay 50%
	diskless_size=$diskless_value
	modprobe -q overlay
	if mount -t tmpfs -o "mode=0700,size=$diskless_size" tmpfs /run/overlay/rw &&
		mkdir -m 0755 /run/overlay/rw/upper /run/overlay/rw/work &&
		mount -t overlay -o lowerdir=/run/overlay/lower,upperdir=/run/overlay/rw/upper,workdir=/run/overlay/rw/work overlay "$2"; then
		diskless_say "writes go to memory ($diskless_size) and are lost at power-off"
		return 0
	fi
	diskless_say "overlay failed: a tmpfs of size=$diskless_size, or the overlay itself, could not be mounted"
	umount /run/overlay/rw
	umount /run/overlay/lower
	return 1
}

# a word of the kernel command line: mkinitcpio has getarg for that since release 39, and made variables before
diskless_argument() {
	if type getarg > /dev/null 2>&1; then
		getarg "$1"
	else
		eval "echo \"\${$1}\""
	fi
}

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

diskless_shell() {
	echo "$1: you are now being dropped into an emergency shell; leave it (exit) to try again."
	launch_interactive_shell
}

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
