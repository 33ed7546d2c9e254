"""One guest: QEMU, its firmware, its serial ports, its monitor and the shell inside."""
