"""Which accelerator QEMU can really use here."""

from __future__ import annotations

import subprocess
from pathlib import Path

from builder.system.run import CLEAN_ENVIRONMENT, Tool
from builder.system.sandbox import TOOLS as NAMESPACE_TOOLS
from builder.system.sandbox import namespace_prefix

QEMU = Tool("qemu-system-x86_64", "qemu-system-x86", "qemu-system-x86")
TOOLS = (QEMU, *NAMESPACE_TOOLS)
# several threads: without, all virtual processors share one of ours
EMULATION = ("-accel", "tcg,thread=multi", "-cpu", "max")
VIRTUALIZATION = ("-accel", "kvm", "-cpu", "host")
_PROBE_SECONDS = 10


def accelerator_arguments(kernel: Path) -> tuple[str, ...]:
    """QEMU's arguments for the fastest accelerator that works; where KVM seems to be there, `kernel` tries it."""
    return VIRTUALIZATION if Path("/dev/kvm").exists() and starts_under_kvm(kernel) else EMULATION


def starts_under_kvm(kernel: Path) -> bool:
    """Whether a kernel gets to its first words in time.

    That /dev/kvm opens, and that even the firmware runs, proves nothing: nested KVM may hang in 64-bit code.
    """
    command = [
        *namespace_prefix(network=False),
        *("timeout", "--signal=KILL", str(_PROBE_SECONDS)),
        *(QEMU.name, *VIRTUALIZATION, "-M", "q35", "-m", "512", "-nodefaults", "-no-user-config"),
        *("-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot"),
        # without a root it panics, and leaves
        *("-kernel", str(kernel), "-append", "earlyprintk=serial console=ttyS0 panic=-1"),
    ]
    done = subprocess.run(
        command,
        env=CLEAN_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        start_new_session=True,
    )
    return b"Linux version" in done.stdout
