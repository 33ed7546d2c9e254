#!/bin/sh
# Process 1 of a server guest: mounts what programs need and offers a root shell on the second serial port. A service
# manager takes longer than all that most tests do here: it is started where the kernel's command line names its shell.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
mount -t proc proc /proc
grep -q 'systemd\.debug_shell=' /proc/cmdline && exec /usr/lib/systemd/systemd
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=0755 tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /dev/pts /dev/shm /run/lock /mnt
mount -t devpts -o gid=5,mode=620 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
hostname server
ip link set lo up
echo 'the server guest is up'
while :; do
    setsid -c sh -i </dev/ttyS1 >/dev/ttyS1 2>&1
done
