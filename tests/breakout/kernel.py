"""System calls by their numbers, for programs that run inside a sandbox with the standard library alone. x86-64.

Numbers: unistd_64.h; flags: mount.h, sched.h, socket.h, fcntl.h.
"""

from __future__ import annotations

import ctypes
import errno
import os

CALLS = {
    "acct": 163, "add_key": 248, "adjtimex": 159, "bpf": 321, "chroot": 161, "clock_adjtime": 305, "clock_settime": 227,
    "clone3": 435, "delete_module": 176, "fanotify_init": 300, "finit_module": 313, "fsmount": 432, "fsopen": 430,
    "init_module": 175, "io_uring_setup": 425, "ioperm": 173, "iopl": 172, "kcmp": 312, "kexec_file_load": 320,
    "kexec_load": 246, "keyctl": 250, "lookup_dcookie": 212, "mount": 165, "mount_setattr": 442, "move_mount": 429,
    "name_to_handle_at": 303, "nfsservctl": 180, "open_by_handle_at": 304, "open_tree": 428, "perf_event_open": 298,
    "pidfd_getfd": 438, "pidfd_open": 434, "pivot_root": 155, "process_vm_readv": 310, "process_vm_writev": 311,
    "ptrace": 101, "quotactl": 179, "reboot": 169, "request_key": 249, "sethostname": 170, "setns": 308,
    "settimeofday": 164, "swapoff": 168, "swapon": 167, "syslog": 103, "umount2": 166, "unshare": 272,
    "userfaultfd": 323, "vhangup": 153,
}  # fmt: skip
X32 = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object, bit: int = 0) -> int:
    """The result of a call, or -errno(3); texts are passed as addresses, `bit` is added to the number."""
    given = [ctypes.c_char_p(one) if isinstance(one, bytes) else ctypes.c_long(int(str(one))) for one in arguments]
    result = _libc.syscall(ctypes.c_long(CALLS[name] | bit), *given)
    return -ctypes.get_errno() if result == -1 else int(result)


def name_of(result: int) -> str:
    """A result in words."""
    return "done" if result >= 0 else errno.errorcode.get(-result, os.strerror(-result))
