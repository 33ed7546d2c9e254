"""Texts for the programs of a server: DHCP, TFTP, HTTP, NFS, a packet filter."""
