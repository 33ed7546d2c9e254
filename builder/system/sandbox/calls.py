"""What programs in a sandbox may ask of the kernel, as a filter for seccomp(2) that libseccomp makes.

libseccomp knows the calls of every machine, and puts those of all that this kernel runs (32-bit programs, x32) into one
filter. What is listed no package needs; most of it a user namespace refuses anyway, but each is a door that was open
once. Sources: the default filters of docker (moby's profiles/seccomp) and of systemd (@clock, @debug, @keyring,
@module, @obsolete, @raw-io, @reboot, @swap of
systemd.exec(5)); seccomp_init(3), seccomp_rule_add(3), seccomp_export_bpf(3).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import functools
import os
import platform
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from builder.errors import HostError
from builder.system.run import Tool, install_hint

_LIBRARY = Tool("libseccomp", "libseccomp2", "libseccomp")
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000  # SCMP_ACT_ALLOW, SCMP_ACT_ERRNO
_AT_LEAST, _MASKED = 5, 7  # SCMP_CMP_GE, SCMP_CMP_MASKED_EQ
_INT = 0xFFFFFFFF  # what the kernel takes of an argument that is an int
_UNKNOWN = -1  # __NR_SCMP_ERROR
_NUMBERED = range(424, 1024)
_X32 = 0x40000000  # numbers of x32 are above
_LOAD, _AT_LEAST_JUMP, _RETURN = 0x20, 0x35, 0x06  # BPF_LD+W+ABS, BPF_JMP+JGE+K, BPF_RET+K, bpf_common.h
# the others that a kernel of this machine runs
_OTHERS = {
    "x86_64": ("x86", "x32"),
    "aarch64": ("arm",),
    "ppc64": ("ppc",),
    "s390x": ("s390",),
    "mips64": ("mips", "mips64n32"),
    "mipsel64": ("mipsel", "mipsel64n32"),
}
REFUSED = (
    *("add_key", "keyctl", "request_key"),  # keyrings know no namespace of files or processes
    *("bpf", "perf_event_open", "lookup_dcookie", "userfaultfd", "kcmp", "process_vm_readv", "process_vm_writev"),
    *("ptrace", "process_madvise", "pidfd_getfd"),
    *("init_module", "finit_module", "delete_module", "create_module", "kexec_load", "kexec_file_load"),
    *("open_by_handle_at", "quotactl", "quotactl_fd", "swapon", "swapoff", "reboot", "acct", "vhangup", "nfsservctl"),
    *("settimeofday", "clock_settime", "clock_settime64", "clock_adjtime", "clock_adjtime64", "adjtimex", "stime"),
    *("iopl", "ioperm", "pciconfig_read", "pciconfig_write", "pciconfig_iobase", "syslog", "uselib", "modify_ldt"),
    *("setns", "pivot_root", "fanotify_init", "fanotify_mark", "memfd_secret"),
)
MISSING = (
    "socketcall",  # its arguments are in memory, where no filter sees them
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "move_mount", "open_tree", "open_tree_attr", "mount_setattr"),
)
_SYNC = ("fsync", "fdatasync", "sync", "sync_file_range", "sync_file_range2", "syncfs")
# unix, IPv4, IPv6, netlink; others lead to a hypervisor, to hardware, or to code of the kernel that nobody looks at
FAMILIES = (1, 2, 10, 16)
_KNOWN_FAMILIES = 46  # AF_MAX of socket.h
_CLONE_NEWUSER = 0x10000000  # in a further one a program has capabilities anew
_INTO_TERMINAL = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: keys that nobody pressed


class _Comparison(ctypes.Structure):
    """A scmp_arg_cmp: argument, operator, two numbers."""

    _fields_ = (("argument", ctypes.c_uint), ("operator", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


@dataclass(frozen=True)
class Rule:
    """What is answered to a call, whatever its arguments, or where one compares like that."""

    action: int
    call: str
    comparison: _Comparison | None = None


def refuse(*calls: str) -> Iterator[Rule]:
    """EPERM."""
    return (Rule(_ERRNO | errno.EPERM, call) for call in calls)


def miss(*calls: str) -> Iterator[Rule]:
    """ENOSYS, as from a kernel that does not have them: programs then do without."""
    return (Rule(_ERRNO | errno.ENOSYS, call) for call in calls)


def refuse_namespaces(*flags: int) -> Iterator[Rule]:
    """EPERM to unshare(2) and clone(2) with any of these CLONE_NEW*; clone3(2) is missed: nobody sees its flags."""
    yield from miss("clone3")
    # the flags are the first argument, but of clone on s390x
    for call, argument in (("unshare", 0), ("clone", 1 if platform.machine() == "s390x" else 0)):
        for flag in flags:
            yield Rule(_ERRNO | errno.EPERM, call, _Comparison(argument, _MASKED, flag, flag))


@functools.cache
def filter_program(*, ignore_sync: bool) -> bytes:
    """The filter of a build's programs; with `ignore_sync` waiting for the disk is done at once, without doing it.

    HostError where libseccomp is missing.
    """
    return compile_filter(_rules(ignore_sync=ignore_sync))


def compile_filter(rules: Iterable[Rule]) -> bytes:
    """A filter as seccomp(2) takes it: an array of struct sock_filter; of no use on another machine.

    Calls that are newer than libseccomp are missed: a list of names could not refuse them. HostError where libseccomp
    is missing.
    """
    library = _load()
    context = library.seccomp_init(_ALLOW)
    if not context:
        raise HostError("libseccomp makes no filter: seccomp_init failed", "the kernel needs CONFIG_SECCOMP_FILTER")
    context = ctypes.c_void_p(context)
    try:
        for name in _OTHERS.get(platform.machine(), ()):
            machine = library.seccomp_arch_resolve_name(name.encode())
            if machine and library.seccomp_arch_exist(context, machine) != 0:
                _check(library.seccomp_arch_add(context, machine), f"seccomp_arch_add {name}")
        for rule in rules:
            _add(library, context, rule)
        with open(os.memfd_create("filter"), "w+b") as file:
            _check(library.seccomp_export_bpf(context, file.fileno()), "seccomp_export_bpf")
            file.seek(0)
            return _miss_newer(library) + file.read()
    finally:
        library.seccomp_release(context)


def _miss_newer(library: ctypes.CDLL) -> bytes:
    """Instructions that come first: numbers of 424 and more are the same on all machines but mips, syscalls(2)."""
    if platform.machine().startswith("mips"):
        return b""
    known = [number for number in _NUMBERED if library.seccomp_syscall_resolve_num_arch(0, number)]
    program = (
        (_LOAD, 0, 0, 0),  # seccomp_data.nr
        (_AT_LEAST_JUMP, 2, 0, _X32),
        (_AT_LEAST_JUMP, 0, 1, max(known) + 1),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    )
    return b"".join(struct.pack("=HBBI", *line) for line in program)


def _rules(*, ignore_sync: bool) -> Iterator[Rule]:
    yield from refuse(*REFUSED)
    yield from miss(*MISSING)
    yield from refuse_namespaces(_CLONE_NEWUSER)
    for request in _INTO_TERMINAL:
        yield Rule(_ERRNO | errno.EPERM, "ioctl", _Comparison(1, _MASKED, _INT, request))
    unsupported = _ERRNO | errno.EAFNOSUPPORT
    for call in ("socket", "socketpair"):
        for family in range(_KNOWN_FAMILIES):
            if family not in FAMILIES:
                yield Rule(unsupported, call, _Comparison(0, _MASKED, _INT, family))
        yield Rule(unsupported, call, _Comparison(0, _AT_LEAST, _KNOWN_FAMILIES, 0))
    if ignore_sync:
        yield from (Rule(_ERRNO, call) for call in _SYNC)


def _add(library: ctypes.CDLL, context: ctypes.c_void_p, rule: Rule) -> None:
    number = library.seccomp_syscall_resolve_name(rule.call.encode())
    if number == _UNKNOWN:
        return  # newer than libseccomp, so missed already
    given = () if rule.comparison is None else (rule.comparison,)
    array = (_Comparison * max(1, len(given)))(*given)
    result = library.seccomp_rule_add_array(context, rule.action, number, len(given), array)
    if result not in (0, -errno.EDOM):  # EDOM: this machine has no such call
        _check(result, f"seccomp_rule_add of {rule.call}")


def _check(result: int, what: str) -> None:
    if result != 0:
        raise HostError(f"libseccomp makes no filter: {what}: {os.strerror(abs(result))}", "please report it")


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        message = "libseccomp, which keeps recipes from the host's kernel, is missing"
        raise HostError(message, install_hint([_LIBRARY])) from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    for name in ("seccomp_arch_exist", "seccomp_arch_add"):
        getattr(library, name).argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
    library.seccomp_syscall_resolve_num_arch.argtypes = [ctypes.c_uint32, ctypes.c_int]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Comparison),
    ]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    return library
