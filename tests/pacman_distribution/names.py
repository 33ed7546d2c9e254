"""Which Debian packages become which packages of Arch's names."""

from __future__ import annotations

# what the distribution is made of; the rest comes by dependency
ASKED = [
    "systemd",
    "systemd-sysv",
    "systemd-resolved",
    "udev",
    "dbus",
    "libpam-modules",
    "libpam-runtime",
    "libpam-systemd",
    "libnss-systemd",
    "kmod",
    "bash",
    "coreutils",
    "util-linux",
    "mount",
    "passwd",
    "login",
    "hostname",
    "findutils",
    "grep",
    "sed",
    "gawk",
    "tar",
    "gzip",
    "zstd",
    "xz-utils",
    "bzip2",
    "file",
    "less",
    "nano",
    "procps",
    "psmisc",
    "iproute2",
    "iputils-ping",
    "netbase",
    "tzdata",
    "locales",
    "libc-bin",
    "ca-certificates",
    "openssh-server",
    "openssh-client",
    "nfs-common",
    "dhcpcd",
    "dhcpcd-base",
    "pacman-package-manager",
    "libarchive-tools",
    "busybox",
    "klibc-utils",
    "archlinux-keyring",
    "gpg",
    "gpg-agent",
]
KERNEL = "linux-image-amd64"
LOADERS = ("pxelinux", "syslinux-common", "ipxe")

# Debian's own tools, replaced by `filesystem` and by Arch's hooks; `sh` is bash's on Arch
DROPPED = frozenset(
    [
        "python3",
        "runit-helper",
        "dpkg",
        "debconf",
        "debconf-2.0",
        "perl-base",
        "adduser",
        "init-system-helpers",
        "base-files",
        "base-passwd",
        "debianutils",
        "sensible-utils",
        "ucf",
        "initramfs-tools",
        "linux-initramfs-tool",
        "install-info",
        "debian-archive-keyring",
        "apt",
        "gpgv",
        "lsb-base",
        "sysvinit-utils",
        "dash",
        "linux-base",
        "pinentry-curses",
    ]
)
RENAMED = {
    "libc6": "glibc",
    "systemd-sysv": "systemd-sysvcompat",
    "openssh-server": "openssh",
    "nfs-common": "nfs-utils",
    "libarchive-tools": "libarchive",
    "pacman-package-manager": "pacman",
    "procps": "procps-ng",
    "iputils-ping": "iputils",
    "passwd": "shadow",
    "klibc-utils": "klibc",
    "xz-utils": "xz",
}
# what `base` depends on, by Arch's names
BASE = [
    "filesystem",
    "glibc",
    "libc-bin",
    "bash",
    "coreutils",
    "file",
    "findutils",
    "gawk",
    "grep",
    "gzip",
    "sed",
    "tar",
    "xz",
    "zstd",
    "iproute2",
    "iputils",
    "kmod",
    "pacman",
    "procps-ng",
    "psmisc",
    "shadow",
    "login",
    "mount",
    "util-linux",
    "systemd",
    "systemd-sysvcompat",
    "systemd-resolved",
    "udev",
    "dbus",
    "libpam-modules",
    "libpam-runtime",
    "libpam-systemd",
    "libnss-systemd",
    "hostname",
    "netbase",
    "tzdata",
    "locales",
    "archlinux-keyring",
    "ca-certificates",
]
# a group, so that groups can be tested
GROUPS = {"less": ["tools"], "nano": ["tools"], "psmisc": ["tools"]}

_MERGED = (
    ("usr/sbin", "usr/bin"),
    ("sbin", "usr/bin"),
    ("bin", "usr/bin"),
    ("usr/lib64", "usr/lib"),
    ("lib64", "usr/lib"),
    ("lib32", "usr/lib"),
    ("libx32", "usr/lib"),
    ("lib", "usr/lib"),
)
_LEFT_OUT = (
    "usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/locale/", "usr/share/lintian/",
    "usr/share/bug/", "usr/share/doc-base/", "usr/share/menu/", "usr/share/initramfs-tools/", "etc/init.d/",
    "etc/default/", "etc/cron.daily/", "var/lib/dpkg/", "etc/kernel/",
)  # fmt: skip


def merged(path: str) -> str:
    """Where a path lies once /bin, /sbin, /lib and their like are links into /usr."""
    for old, new in _MERGED:
        if path == old or path.startswith(old + "/"):
            return merged(new + path[len(old) :])
    return path


def is_left_out(path: str) -> bool:
    """Documentation and what only Debian's own tools use."""
    return any((path + "/").startswith(top) for top in _LEFT_OUT)
