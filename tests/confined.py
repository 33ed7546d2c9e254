"""Runs a command as the root of a container, without a container engine.

    python -I -S confined.py [--drop CAPABILITY,...] [--keep CAPABILITY,...] [--ids N] [--refuse-calls] [--hide FILE]
        -- COMMAND...

--drop, --keep: the capabilities that are missing, or all that there are, as capabilities(7) names them in lower case
--ids: in a user namespace with so many ids; they are the host's own, so that its files belong to somebody in there
--refuse-calls: with a filter that answers mount(2), unshare(2) and their like with EPERM, as docker's does
--hide: with nothing in place of a device
"""

from __future__ import annotations

import argparse
import ctypes
import os
import struct
import sys
from pathlib import Path

# the defaults of docker (moby's oci/caps/defaults.go) and of podman (containers.conf(5))
DOCKER = (
    "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,sys_chroot,mknod,audit_write"
    ",setfcap"
)
PODMAN = "chown,dac_override,fowner,fsetid,kill,net_bind_service,setfcap,setgid,setpcap,setuid,sys_chroot"
_CLONE_NEWUSER, _CLONE_NEWNS = 0x10000000, 0x20000
_MS_BIND, _MS_REC_PRIVATE = 0x1000, 0x44000
# of x86-64: mount, umount2, pivot_root, setns, unshare, open_tree to fspick, mount_setattr
_REFUSED = (165, 166, 155, 308, 272, 428, 429, 430, 431, 432, 433, 442)
_libc = ctypes.CDLL(None, use_errno=True)


def confined(*options: str) -> list[str]:
    """The words that go before a command."""
    return [sys.executable, "-I", "-S", __file__, *options, "--"]


def refuse_calls() -> None:
    """A seccomp filter, seccomp(2)."""
    program = [(0x20, 0, 0, 0)]
    program += [(0x15, len(_REFUSED) - position, 0, number) for position, number in enumerate(_REFUSED)]
    program += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x00050001)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    if _libc.prctl(22, 2, head, 0, 0) != 0:
        sys.exit("no seccomp filter here")


def enter_user_namespace(ids: int) -> None:
    """Root of `ids` ids; a process outside writes the maps."""
    ready, written = os.pipe(), os.pipe()
    parent = os.getpid()
    if os.fork() == 0:
        os.close(ready[1])
        os.read(ready[0], 1)
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{parent}/{name}").write_text(f"0 0 {ids}\n", "ascii")
        os.write(written[1], b"x")
        os._exit(0)
    if _libc.unshare(_CLONE_NEWUSER) != 0:
        sys.exit("no user namespaces here")
    os.write(ready[1], b"x")
    os.close(written[1])
    if os.read(written[0], 1) != b"x":
        sys.exit("no id map here")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    os.setgroups([])


def hide(path: str) -> None:
    """Puts /dev/null over a file, for this process and what it starts."""
    if _libc.unshare(_CLONE_NEWNS) or _libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None):
        sys.exit("no mount namespaces here")
    if _libc.mount(b"/dev/null", path.encode(), None, ctypes.c_ulong(_MS_BIND), None):
        sys.exit(f"{path} cannot be hidden")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--drop")
    parser.add_argument("--keep")
    parser.add_argument("--ids", type=int)
    parser.add_argument("--refuse-calls", action="store_true")
    parser.add_argument("--hide")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    if options.hide:
        hide(options.hide)
    if options.ids:
        enter_user_namespace(options.ids)
    if options.refuse_calls:
        refuse_calls()
    command = options.command
    words = [f"-{name}" for name in (options.drop or "").split(",") if name]
    if options.keep is not None:
        words = ["-all", *(f"+{name}" for name in options.keep.split(",") if name)]
    if words:
        command = ["setpriv", f"--bounding-set={','.join(words)}", f"--inh-caps={','.join(words)}", "--", *command]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
