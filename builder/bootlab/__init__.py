"""A network of its own with DHCP, TFTP, NFS and QEMU: boots what was built."""
