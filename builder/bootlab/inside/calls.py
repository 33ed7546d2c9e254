"""System calls that no server of a lab needs, and by which one that was taken over could reach for more.

They would be refused to most of these processes anyway; a namespace of its own, of which it would be root, would not,
and the kernel's keyrings know no namespace of files or processes. Source: the default filters of docker (moby's
profiles/seccomp) and of systemd (@debug, @keyring, @module, @mount, @privileged of systemd.exec(5)).
"""

from __future__ import annotations

import errno
import os

from builder.system.sandbox.init import ALLOW, AUDIT_ARCH_X86_64, EQUAL, ERRNO, LOAD, RETURN, filter_calls

# numbers of x86-64, the only machine whose calls are filtered
_DENIED = {
    "ptrace": 101,
    "pivot_root": 155,
    "chroot": 161,
    "mount": 165,
    "umount2": 166,
    "init_module": 175,
    "delete_module": 176,
    "kexec_load": 246,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "unshare": 272,
    "perf_event_open": 298,
    "setns": 308,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "finit_module": 313,
    "kexec_file_load": 320,
    "bpf": 321,
    "userfaultfd": 323,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "mount_setattr": 442,
}
_CLONE, _CLONE3 = 56, 435
_ANY_NAMESPACE = 0x7E020000  # CLONE_NEW* of sched.h
_X32 = 0x40000000  # the same calls by other numbers
_ARCH_AT, _NUMBER_AT, _FLAGS_AT = 4, 0, 16  # seccomp_data: arch, nr, the low half of the first argument
_AT_LEAST, _ANY_BIT = 0x35, 0x45  # BPF_JMP+JGE+K, BPF_JMP+JSET+K


def deny_calls() -> None:
    """EPERM for these calls from now on, in this process and in what it starts; nothing on other machines."""
    if os.uname().machine == "x86_64":
        filter_calls(_program())


def _program() -> list[tuple[int, int, int, int]]:
    refused = (RETURN, 0, 0, ERRNO | errno.EPERM)
    missing = (RETURN, 0, 0, ERRNO | errno.ENOSYS)  # the C library then does without
    program = [(LOAD, 0, 0, _ARCH_AT), (EQUAL, 1, 0, AUDIT_ARCH_X86_64), missing]
    program += [(LOAD, 0, 0, _NUMBER_AT), (_AT_LEAST, 0, 1, _X32), missing, (EQUAL, 0, 1, _CLONE3), missing]
    for number in _DENIED.values():
        program += [(EQUAL, 0, 1, number), refused]
    program += [(EQUAL, 0, 3, _CLONE), (LOAD, 0, 0, _FLAGS_AT), (_ANY_BIT, 0, 1, _ANY_NAMESPACE), refused]
    return [*program, (RETURN, 0, 0, ALLOW)]
