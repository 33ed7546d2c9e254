"""Which accelerator QEMU can really use here."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

from builder.system.run import CLEAN_ENVIRONMENT, Tool
from builder.system.sandbox import TOOLS as NAMESPACE_TOOLS
from builder.system.sandbox import namespace_prefix

QEMU = Tool("qemu-system-x86_64", "qemu-system-x86", "qemu-system-x86")
TOOLS = (QEMU, *NAMESPACE_TOOLS)
# several threads: without, both virtual processors share one of ours
EMULATION = ("-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max")
VIRTUALIZATION = ("-accel", "kvm", "-cpu", "host")
_PROBE_SECONDS = 5


@functools.cache
def accelerator_arguments() -> tuple[str, ...]:
    """QEMU's arguments for the fastest accelerator that works."""
    return VIRTUALIZATION if Path("/dev/kvm").exists() and _firmware_runs_under_kvm() else EMULATION


def _firmware_runs_under_kvm() -> bool:
    """Whether a guest says its first word in time: /dev/kvm may exist, open and hang."""
    machine = ["-M", "q35", "-m", "64", "-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none"]
    firmware_log = ["-chardev", "stdio,id=log", "-device", "isa-debugcon,iobase=0x402,chardev=log"]
    limit = ["timeout", "--signal=KILL", str(_PROBE_SECONDS)]
    process = subprocess.Popen(
        [*namespace_prefix(network=False), *limit, QEMU.name, "-accel", "kvm", *machine, *firmware_log],
        env=CLEAN_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        return b"SeaBIOS" in process.stdout.read(64)
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
