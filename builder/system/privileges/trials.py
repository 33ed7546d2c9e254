"""Tries what a host may forbid, each thing in a process of its own, and says how it went.

Started by path (`python -I -S trials.py DIRECTORY NAME...`), so it imports only the standard library. Prints one JSON
object: NAME: null where it works, otherwise [what was tried, errno, the capability that it takes or ""]. Nothing is
left.

Sources: capabilities(7), unshare(2), netdevice(7), open_by_handle_at(2), loop(4), PR_SET_IO_FLUSHER(2const), and the
kernel's if_tun.h, loop.h and sockios.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator

NAMESPACES = {"mount": 0x20000, "uts": 0x4000000, "ipc": 0x8000000, "pid": 0x20000000, "network": 0x40000000}
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCBRADDBR = 0x8913, 0x8914, 0x89A0
_TUNSETIFF, _IFF_UP, _IFF_TAP_NO_PI = 0x400454CA, 0x1, 0x1002
_PR_SET_IO_FLUSHER = 57
_AT_EMPTY_PATH, _HANDLE_BYTES = 0x1000, 128
_LOOP_SET_FD, _LOOP_SET_STATUS64, _LOOP_CTL_GET_FREE, _LO_FLAGS_AUTOCLEAR = 0x4C00, 0x4C04, 0x4C82, 4
_MS_SILENT = 0x8000
_TRIES = 10
_ETH_P_ALL_BIG_ENDIAN = 0x0300
_OTHER_IDS = (1, 999, 65534)  # daemon's, one of systemd-sysusers', nobody's
_CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw+ep, capability.h
_libc = ctypes.CDLL(None, use_errno=True)


class RefusedTrialError(Exception):
    """A step that did not work: what it was, errno(3), and the capability that it takes."""


@contextlib.contextmanager
def step(what: str, capability: str) -> Iterator[None]:
    """Names what is tried."""
    try:
        yield
    except OSError as error:
        raise RefusedTrialError(what, error.errno, capability) from error


def _check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), "")


def _unshare(*names: str) -> None:
    for name in names:
        with step(f"unshare(2) of the {name} namespace", "SYS_ADMIN"):
            _check(_libc.unshare(NAMESPACES[name]))


def try_namespaces(directory: str) -> None:
    """Namespaces of every kind, with another host name, and a change of the root directory."""
    _unshare(*NAMESPACES)
    with step("sethostname(2)", "SYS_ADMIN"):
        socket.sethostname("trial")
    with step("chroot(2)", "SYS_CHROOT"):
        os.chroot("/")


def try_owners(directory: str) -> None:
    """Files of other owners with the attributes that packages use."""
    with step("memfd_create(2)", ""):
        file = os.memfd_create("trial")
    for number in _OTHER_IDS:
        with step(f"chown(2) to user and group {number}", "CHOWN"):
            os.fchown(file, number, number)
    with step("chmod(2) of another user's file", "FOWNER"):
        os.fchmod(file, 0o4000)
    with step("opening another user's file", "DAC_OVERRIDE"):
        os.close(os.open(f"/proc/self/fd/{file}", os.O_RDWR))
    with step("setxattr(2) of file capabilities", "SETFCAP"):
        os.setxattr(file, "security.capability", _CAPABILITY)


def try_users(directory: str) -> None:
    """Processes of other users."""
    with step("setgroups(2)", "SETGID"):
        os.setgroups([_OTHER_IDS[-1]])
        os.setresgid(*[_OTHER_IDS[-1]] * 3)
    with step("setuid(2)", "SETUID"):
        os.setresuid(*[_OTHER_IDS[-1]] * 3)


def try_network(directory: str) -> None:
    """A network of its own: a card that is switched on, a bridge, and the sockets of a DHCP server."""
    _unshare("network")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        with step("switching a network card on", "NET_ADMIN"):
            asked = fcntl.ioctl(handle, _SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))
            flags = struct.unpack("16sH14x", asked)[1]
            fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))
        with step("making a bridge", "NET_ADMIN"):
            fcntl.ioctl(handle, _SIOCBRADDBR, b"trial0\0")
        with step("listening on port 67", "NET_BIND_SERVICE"):
            handle.bind(("127.0.0.1", 67))
    with step("a raw socket", "NET_RAW"):
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, _ETH_P_ALL_BIG_ENDIAN).close()


def try_tap(directory: str) -> None:
    """The network card of a virtual machine."""
    _unshare("network")
    with step("opening /dev/net/tun", ""):
        handle = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    with step("making a tap", "NET_ADMIN"):
        fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH14x", b"trial1", _IFF_TAP_NO_PI))


def try_handles(directory: str) -> None:
    """Opening a file by its handle, as an NFS server in user space does; of any file system that has handles."""
    buffer = (ctypes.c_uint32 * (2 + _HANDLE_BYTES // 4))(_HANDLE_BYTES)
    mount = ctypes.c_int()
    with step("memfd_create(2)", ""):
        file = os.memfd_create("trial")
    with step("name_to_handle_at(2)", "DAC_READ_SEARCH"):
        _check(_libc.name_to_handle_at(file, b"", ctypes.byref(buffer), ctypes.byref(mount), _AT_EMPTY_PATH))
    with step("open_by_handle_at(2)", "DAC_READ_SEARCH"):
        _check(_libc.open_by_handle_at(file, ctypes.byref(buffer), os.O_RDONLY))


def try_loop(directory: str) -> None:
    """A file system in a file: a loop device, and ext4 in it."""
    _unshare("mount")
    with step("memfd_create(2)", ""):
        image = os.memfd_create("trial")
        os.truncate(image, 1 << 20)
    with step("opening /dev/loop-control", ""):
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    device = _attached(control, image)
    # what it is told of an empty device shows whether the kernel has it
    if _libc.mount(device.encode(), b"/", b"ext4", ctypes.c_ulong(_MS_SILENT), None) < 0:
        number = ctypes.get_errno()
        if number != errno.EINVAL:
            raise RefusedTrialError("mounting ext4 from a loop device", number, "SYS_ADMIN")


def _attached(control: int, image: int) -> str:
    """The path of a loop device that shows a file, and goes with its last user."""
    for _ in range(_TRIES):
        with step("getting a loop device", ""):
            path = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
        with step(f"opening {path}", ""):
            device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        with step("LOOP_SET_FD of loop(4)", ""):
            try:
                fcntl.ioctl(device, _LOOP_SET_FD, image)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                os.close(device)  # another process was faster
                continue
            fcntl.ioctl(device, _LOOP_SET_STATUS64, struct.pack("52xI176x", _LO_FLAGS_AUTOCLEAR))
            return path
    raise RefusedTrialError("getting a loop device", errno.EBUSY, "")


def try_flusher(directory: str) -> None:
    """What nfs-ganesha asks for, so that it is not kept waiting for its own writes when memory is short."""
    with step("prctl(2) PR_SET_IO_FLUSHER", "SYS_RESOURCE"):
        _check(_libc.prctl(_PR_SET_IO_FLUSHER, *map(ctypes.c_ulong, (1, 0, 0, 0))))


TRIALS: dict[str, Callable[[str], None]] = {
    "namespaces": try_namespaces,
    "owners": try_owners,
    "users": try_users,
    "network": try_network,
    "tap": try_tap,
    "handles": try_handles,
    "flusher": try_flusher,
    "loop": try_loop,
}


def _said(name: str, directory: str) -> object:
    try:
        TRIALS[name](directory)
    except RefusedTrialError as error:
        return error.args
    return None


def attempt(name: str, directory: str) -> object:
    """What a trial said in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(_said(name, directory)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text)


if __name__ == "__main__":
    sys.stdout.write(json.dumps({name: attempt(name, sys.argv[1]) for name in sys.argv[2:]}))
