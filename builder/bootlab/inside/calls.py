"""System calls that no server of a lab needs, and by which one that was taken over could reach for more.

They would be refused to most of these processes anyway; a namespace of its own, of which it would be root, would not,
and the kernel's keyrings know no namespace of files or processes. Source: the default filters of docker (moby's
profiles/seccomp) and of systemd (@debug, @keyring, @module, @mount, @privileged of systemd.exec(5)).
"""

from __future__ import annotations

import functools

from builder.errors import HostError
from builder.system.sandbox.calls import compile_filter, miss, refuse, refuse_namespaces
from builder.system.sandbox.init import install_filter

_REFUSED = (
    *("add_key", "keyctl", "request_key", "bpf", "perf_event_open", "userfaultfd", "ptrace"),
    *("process_vm_readv", "process_vm_writev", "init_module", "finit_module", "delete_module"),
    *("kexec_load", "kexec_file_load", "chroot", "mount", "umount", "umount2", "pivot_root", "setns"),
    *("open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr"),
)
_NAMESPACES = tuple(1 << bit for bit in (17, 25, 26, 27, 28, 29, 30))  # CLONE_NEW* of sched.h


@functools.cache
def lab_filter() -> bytes:
    """EPERM for these calls, on every machine that the kernel runs; HostError where libseccomp is missing."""
    return compile_filter([*refuse(*_REFUSED), *miss("socketcall"), *refuse_namespaces(*_NAMESPACES)])


def deny_calls() -> None:
    """The filter holds from now on, in this process and in what it starts."""
    if not install_filter(lab_filter()):
        raise HostError("the kernel refuses the filter of system calls", "it needs CONFIG_SECCOMP_FILTER")
