"""What a recipe chooses among."""

from __future__ import annotations

import enum


class DistributionName(enum.StrEnum):
    """The distributions that an installer exists for."""

    DEBIAN = "debian"
    ARCH = "arch"


class Architecture(enum.StrEnum):
    """The machines that images are built for, by the kernel's name."""

    X86_64 = "x86_64"
    I686 = "i686"


class NetworkClient(enum.StrEnum):
    """What configures the network after the kernel has done so to mount the root."""

    DHCPCD = "dhcpcd"
    NETWORKD = "systemd-networkd"
    NETWORKMANAGER = "NetworkManager"
    IFUPDOWN = "ifupdown"
    NONE = "none"


class Resolver(enum.StrEnum):
    """Where /etc/resolv.conf comes from."""

    FIXED = "fixed"
    KERNEL = "kernel"
    RESOLVED = "resolved"
    DHCP = "dhcp"


class GeneratorName(enum.StrEnum):
    """What makes the initramfs."""

    INITRAMFS_TOOLS = "initramfs-tools"
    MKINITCPIO = "mkinitcpio"


class Signatures(enum.StrEnum):
    """Whether packages must be signed by a trusted key (SigLevel of pacman.conf(5))."""

    REQUIRED = "required"
    NEVER = "never"


class InitName(enum.StrEnum):
    """What starts the system's services."""

    SYSTEMD = "systemd"
    INITSCRIPTS = "initscripts"


class Drivers(enum.StrEnum):
    """Which network drivers the initramfs carries: what MODULES= of initramfs.conf(5) means by these words."""

    NETBOOT = "netboot"
    LIST = "list"


class Compression(enum.StrEnum):
    """How the initramfs is compressed; the image must have the program."""

    GZIP = "gzip"
    ZSTD = "zstd"
    LZ4 = "lz4"
    XZ = "xz"


class RootMode(enum.StrEnum):
    """How clients use their root."""

    RW = "rw"
    OVERLAY = "overlay"


class NfsVersion(enum.StrEnum):
    """The NFS protocol that the root is mounted with."""

    V3 = "3"
    V4_1 = "4.1"
    V4_2 = "4.2"


class OnFailure(enum.StrEnum):
    """What a client does that gets no address, or no root."""

    RETRY = "retry"
    REBOOT = "reboot"
    SHELL = "shell"


class LoaderName(enum.StrEnum):
    """The boot loaders that a bundle can hold."""

    PXELINUX = "pxelinux"
    GRUB = "grub"
    IPXE = "ipxe"
