"""Which mount options the program knows that mounts a root: nfs(5) is mount.nfs's page, and no root is mounted by that.

Sources: nfsmount's main.c of klibc 2.0 (int_opts, bool_opts), which mkinitcpio-nfs-utils took over; nfs_fs_parameters
of the kernel's fs/nfs/fs_context.c, and the flags of mount(8) for every file system.
"""

from __future__ import annotations

from builder.model.artifacts.manifest import Mounter, NfsRoot

_TITLES = {Mounter.NFSMOUNT: "klibc's nfsmount", Mounter.KERNEL: "the kernel"}


def _both(*names: str) -> set[str]:
    return {*names, *(f"no{name}" for name in names)}


# with =NUMBER, and without
_NFSMOUNT_NUMBERS = {
    "port", "nfsvers", "vers", "rsize", "wsize", "timeo", "retrans", "acregmin", "acregmax", "acdirmin", "acdirmax",
}  # fmt: skip
_NFSMOUNT_WORDS = {
    "soft", "hard", "v2", "v3", "udp", "tcp", "broken_suid", "ro", "rw",
    *_both("intr", "posix", "cto", "ac", "lock", "acl"),
}  # fmt: skip
_KERNEL_VALUES = {
    "acdirmax", "acdirmin", "acregmax", "acregmin", "actimeo", "addr", "bsize", "clientaddr", "fatal_neterrors", "fsc",
    "local_lock", "lookupcache", "max_connect", "minorversion", "mountaddr", "mounthost", "mountport", "mountproto",
    "mountvers", "namlen", "nconnect", "nfsvers", "port", "proto", "rdirplus", "retrans", "retry", "rsize", "sec",
    "source", "timeo", "vers", "write", "wsize", "xprtsec",
}  # fmt: skip
_KERNEL_WORDS = {
    "bg", "fg", "hard", "soft", "softerr", "softreval", "nosoftreval", "sloppy", "tcp", "udp", "rdma", "v2", "v3", "v4",
    "v4.0", "v4.1", "v4.2", "trunkdiscovery", "notrunkdiscovery",
    *_both("ac", "acl", "alignwrite", "cto", "fsc", "intr", "lock", "migration", "posix", "rdirplus", "resvport"),
    *_both("sharecache"),
    # of every file system
    "ro", "rw", "sync", "async", "dirsync", "defaults", "nosymfollow",
    *_both("atime", "diratime", "relatime", "strictatime", "suid", "dev", "exec", "mand", "lazytime", "iversion"),
}  # fmt: skip
_KNOWN = {
    Mounter.NFSMOUNT: (_NFSMOUNT_NUMBERS, _NFSMOUNT_WORDS),
    Mounter.KERNEL: (_KERNEL_VALUES, _KERNEL_WORDS),
}


def mounter_of(root: NfsRoot) -> Mounter:
    """What mounts a root: our scripts leave the options to the kernel."""
    return Mounter.KERNEL if root.is_mounted_by_us else Mounter.NFSMOUNT


def is_known(option: str, mounter: Mounter) -> bool:
    """Whether a mount option means something to what mounts; it refuses the root otherwise."""
    values, words = _KNOWN[mounter]
    name, equals, value = option.partition("=")
    if not equals:
        return name in words
    return name in values and (mounter is Mounter.KERNEL or value.isdecimal())


def why_unknown(option: str, mounter: Mounter) -> str:
    """What an error says of an option that `mounter` does not know."""
    return f"{_TITLES[mounter]} mounts this root, and does not know '{option}': no client would boot"


def remedy(option: str, mounter: Mounter) -> str:
    """What to do about it."""
    if mounter is Mounter.NFSMOUNT and is_known(option, Mounter.KERNEL):
        return "remove it, or write the hook diskless in place of net: the kernel itself mounts the root then"
    names = ", ".join(sorted(name for known in _KNOWN[mounter] for name in known))
    return f"remove it; there are: {names}"
