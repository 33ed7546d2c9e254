"""A server in QEMU, for what a server on this host cannot show: its own disks, its own kernel, its power cut."""
