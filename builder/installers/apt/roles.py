"""What the packages of a Debian image must bring, so that it can boot."""

from __future__ import annotations

import re

from builder.errors import InputError
from builder.model.artifacts.lock import Lock

# what an image needs to boot, as (provided by one of these, what it is for, what to write)
_ROLES = (
    (re.compile(r"linux-image-\d.*"), "kernel", "add linux-image-amd64 to packages"),
    (re.compile(r"initramfs-tools"), "initramfs generator", "add initramfs-tools to packages"),
    (re.compile(r"systemd-sysv|sysvinit-core|runit-init"), "init", "add systemd-sysv to packages"),
)


def check_bootable(lock: Lock) -> None:
    """InputError unless the locked packages bring one kernel, an initramfs generator and an init."""
    names = [package.name for package in lock.packages]
    for pattern, role, remedy in _ROLES:
        if not any(pattern.fullmatch(name) for name in names):
            raise InputError(f"the packages bring no {role}, so the image could not boot", remedy)
    kernels = [name for name in names if _ROLES[0][0].fullmatch(name)]
    if len(kernels) > 1:
        raise InputError(
            f"the packages bring {len(kernels)} kernels: {', '.join(kernels)}",
            "an image boots one: keep one linux-image",
        )
