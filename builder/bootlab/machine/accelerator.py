"""What QEMU can really use here: an accelerator, and a filter of its own system calls."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from builder.bootlab.namespace import Namespace
from builder.bootlab.settings import QEMU_FILTER, QEMU_USER
from builder.system.run import CLEAN_ENVIRONMENT, Tool
from builder.system.sandbox.sandbox import TOOLS as NAMESPACE_TOOLS
from builder.system.sandbox.sandbox import namespace_prefix

QEMU = Tool("qemu-system-x86_64", "qemu-system-x86", "qemu-system-x86")
TOOLS = (QEMU, *NAMESPACE_TOOLS)
# several threads: without, all virtual processors share one of ours
EMULATION = ("-accel", "tcg,thread=multi", "-cpu", "max")
VIRTUALIZATION = ("-accel", "kvm", "-cpu", "host")
_PROBE_SECONDS = 10
_FIRST_WORDS = "Linux version"


def hardware_arguments(namespace: Namespace, kernel: Path) -> tuple[str, ...]:
    """QEMU's arguments for what it can do in a lab; the image's `kernel` tries KVM as a guest would use it."""
    own = QEMU_FILTER if "-sandbox on" in namespace.run([QEMU.name, "-help"], identity=QEMU_USER).output else ()
    if not Path("/dev/kvm").exists() or not kernel.is_file():
        return (*own, *EMULATION)
    with kernel.open("rb") as file:
        command = [*_probe("/proc/self/fd/3"), *own]
        said = namespace.run(command, identity=QEMU_USER, files=[file.fileno()]).output
    return (*own, *(VIRTUALIZATION if _FIRST_WORDS in said else EMULATION))


def accelerator_arguments(kernel: Path) -> tuple[str, ...]:
    """The same arguments for a QEMU outside of any lab, where it may do all that root may; `kernel` tries KVM."""
    return VIRTUALIZATION if Path("/dev/kvm").exists() and starts_under_kvm(kernel) else EMULATION


def starts_under_kvm(kernel: Path) -> bool:
    """Whether one of this host's own kernels gets to its first words in time.

    That /dev/kvm opens, and that even the firmware runs, proves nothing: nested KVM may hang in 64-bit code.
    """
    done = subprocess.run(
        [*namespace_prefix(network=False), *_probe(str(kernel))],
        env=CLEAN_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        start_new_session=True,
    )
    return _FIRST_WORDS.encode() in done.stdout


def _probe(kernel: str) -> Sequence[str]:
    return (
        *("timeout", "--signal=KILL", str(_PROBE_SECONDS)),
        *(QEMU.name, *VIRTUALIZATION, "-M", "q35", "-m", "512", "-nodefaults", "-no-user-config"),
        *("-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot"),
        # without a root it panics, and leaves
        *("-kernel", kernel, "-append", "earlyprintk=serial console=ttyS0 panic=-1"),
    )
