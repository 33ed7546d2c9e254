"""What holds this process back: missing capabilities, a user namespace, filters; and how to start it without.

Sources: capabilities(7), user_namespaces(7), proc_pid_status(5), apparmor(7), the manual pages of docker-run,
podman-run and systemd-nspawn.
"""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path

# linux/capability.h; those that anything here takes
_CAPABILITIES = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "DAC_READ_SEARCH": 2,
    "FOWNER": 3,
    "SETGID": 6,
    "SETUID": 7,
    "NET_BIND_SERVICE": 10,
    "NET_ADMIN": 12,
    "NET_RAW": 13,
    "SYS_CHROOT": 18,
    "SYS_ADMIN": 21,
    "SYS_RESOURCE": 24,
    "SETFCAP": 31,
}
_ALL_IDS = 2**32 - 1
ALL_CAPABILITIES = 2**64 - 1
ENOUGH_IDS = 65536  # packages use up to nobody's, 65534
_APPARMOR_SWITCH = "kernel.apparmor_restrict_unprivileged_userns"
SWITCHES = {"kernel.unprivileged_userns_clone": "1", "user.max_user_namespaces": "65536", _APPARMOR_SWITCH: "0"}


@dataclass(frozen=True)
class Refusal:
    """What the kernel refused: the step, errno(3) or 0 where it is not known, the capability that it takes, if one."""

    tried: str
    number: int
    capability: str = ""

    @property
    def text(self) -> str:
        """In one line."""
        return f"{self.tried}: {os.strerror(self.number)}" if self.number else self.tried

    @property
    def is_permission(self) -> bool:
        """Whether it was forbidden, and not missing."""
        return self.number in (errno.EPERM, errno.EACCES)


@dataclass(frozen=True)
class Confinement:
    """What a process may not do, by what.

    capabilities: a bit for each one it has, CapEff of proc_pid_status(5)
    ids: how many user ids its user namespace has; all of them outside of containers
    filtered: whether a seccomp filter looks at its calls
    label: AppArmor's or SELinux' name for it, empty where none confines it
    proc_masked: whether something is mounted over parts of /proc, as containers do: no other proc may then be mounted
    userns_off: the switches of sysctl(8) by which this host keeps user namespaces from ordinary users
    """

    capabilities: int
    ids: int
    filtered: bool
    label: str = ""
    proc_masked: bool = False
    userns_off: tuple[str, ...] = ()

    def has(self, capability: str) -> bool:
        """Whether it has a capability, named without CAP_."""
        return bool(self.capabilities >> _CAPABILITIES[capability] & 1)

    @property
    def in_user_namespace(self) -> bool:
        """Whether its root is not the host's."""
        return self.ids < _ALL_IDS


def explain_refusal(refusal: Refusal, confinement: Confinement) -> tuple[str, str | None]:
    """What forbids it, as far as that can be known, and what to do; the remedy is None where nothing forbids it."""
    if refusal.number == errno.EINVAL and confinement.in_user_namespace and refusal.capability == "CHOWN":
        return f"this user namespace has {_count(confinement.ids)}, packages need {ENOUGH_IDS}", _more_ids()
    if refusal.number in (errno.ENOSPC, errno.EUSERS):
        return (
            "the limit of namespaces is reached",
            "sysctl user.max_mnt_namespaces and its like, user.max_*_namespaces",
        )
    if not refusal.is_permission:
        return "", None
    if refusal.capability and not confinement.has(refusal.capability):
        return f"CAP_{refusal.capability} is missing", _with_capability(refusal.capability)
    found = _candidates(refusal, confinement)
    return "; ".join(cause for cause, _ in found), "; ".join(dict.fromkeys(remedy for _, remedy in found)) or None


def _candidates(refusal: Refusal, confinement: Confinement) -> list[tuple[str, str]]:
    """What may forbid a thing although its capability is there; which of several did it, the kernel does not say."""
    found = []
    if refusal.tried.startswith("mount proc") and confinement.in_user_namespace and confinement.proc_masked:
        remedy = "podman run --security-opt unmask=ALL, docker run --security-opt systempaths=unconfined"
        return [("parts of /proc are hidden from this container", remedy)]
    if confinement.filtered:
        options = "--security-opt seccomp=unconfined"
        found.append(("a seccomp filter is in force", _started(options, "SystemCallFilter= is set")))
    if confinement.label:
        options = "--security-opt apparmor=unconfined, or --security-opt label=disable for SELinux"
        found.append(
            (
                f"the security label is {confinement.label}",
                _started(options, "AppArmorProfile= is set"),
            )
        )
    if confinement.in_user_namespace:
        remedy = "run it as the host's own root: sudo, or a container that root starts with --privileged"
        if _APPARMOR_SWITCH in confinement.userns_off:
            remedy = f"as root of the host: sysctl {_APPARMOR_SWITCH}=0; or {remedy}"
        found.append(("this is root of a user namespace, to whom the host's kernel refuses it", remedy))
    return found


def _count(ids: int) -> str:
    return "one id" if ids == 1 else f"{ids} ids"


def _with_capability(name: str) -> str:
    # docker's AppArmor profile forbids mount(2) whatever the capabilities are
    unconfined = " --security-opt apparmor=unconfined" if name == "SYS_ADMIN" else ""
    return _started(f"--cap-add {name}{unconfined}, or --privileged", f"CapabilityBoundingSet= lacks CAP_{name}")


def _started(options: str, unit: str) -> str:
    return (
        f"docker run or podman run {options}; systemd-nspawn --capability=all; in a unit of systemd, see whether {unit}"
    )


def _more_ids() -> str:
    return (
        "give your user 65536 ids (usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER,"
        " then podman system migrate), with newuidmap installed (Debian: uidmap; Arch Linux: shadow); or run it as the"
        " host's own root: sudo"
    )


def read_confinement() -> Confinement:
    """That of this process, from /proc."""
    status = dict(line.split(":\t", 1) for line in _read("/proc/self/status").splitlines() if ":\t" in line)
    maps = [int(line.split()[2]) for line in _read("/proc/self/uid_map").splitlines()]
    return Confinement(
        int(status.get("CapEff", "0"), 16),
        sum(maps) if maps else _ALL_IDS,
        status.get("Seccomp", "0").strip() == "2",
        _label(),
        any(line.split()[4].startswith("/proc/") for line in _read("/proc/self/mountinfo").splitlines()),
        tuple(name for name in SWITCHES if _is_off(name)),
    )


def _label() -> str:
    label = _read("/proc/self/attr/current").rstrip("\n\0")
    return "" if label.startswith(("unconfined", "kernel")) else label


def _is_off(name: str) -> bool:
    value = _read(f"/proc/sys/{name.replace('.', '/', 1)}").strip()
    return value == "1" if name == _APPARMOR_SWITCH else value == "0"


def _read(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text("utf-8", "replace")
    return ""
