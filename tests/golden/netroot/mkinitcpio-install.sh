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
