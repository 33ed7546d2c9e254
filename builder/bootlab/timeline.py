"""The milestones of a boot and how each shows in the logs. Pure text in, milestones out."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from builder.generators.table import GENERATORS
from builder.inits.table import INITS
from builder.loaders.table import FIRST_FILES, LOADERS, MENU_DIRECTORIES


class Milestone(enum.StrEnum):
    """What every boot passes, in this order."""

    LEASE = "lease"
    LOADER = "loader"
    MENU = "menu"
    KERNEL = "kernel"
    INITRAMFS = "initramfs"
    ROOT = "root mounted"
    INIT = "init"
    LOGIN = "login"
    OFF = "off"


@dataclass(frozen=True)
class Logs:
    """Everything there is to read about one guest, as text: its console and what the servers logged.

    serves: whether clients can find a directory of this path on the NFS server
    """

    console: str
    dhcp: str = ""
    http: str = ""
    nfs: str = ""
    serves: Callable[[str], bool] = lambda path: True


_SIGNS = tuple(generator.signs for generator in GENERATORS.values())


def _any(*patterns: str | None) -> re.Pattern[str]:
    return re.compile("|".join(filter(None, patterns)), re.M)


def _fetched(names: Iterable[str]) -> re.Pattern[str]:
    """A file that went to a client, by what dnsmasq says of TFTP, or a web server."""
    either = "|".join(map(re.escape, names))
    return re.compile(rf"sent \S+?/(?:{either}) to |\"GET /(?:{either}) HTTP/[\d.]+\" 20")


# DHCP's log has the lease and TFTP, the web server's what came over HTTP; kernels announce themselves on the console
_LEASE = re.compile(r"DHCPACK\(\S+\) (\S+)")
_LOADER = _fetched(FIRST_FILES)
_MENU = _fetched(f"{loader.directory}/{loader.menu_file(None)}" for loader in LOADERS.values())
_OWN_MENU = re.compile(rf"(?:sent \S+?/|\"GET /)(?:{'|'.join(map(re.escape, MENU_DIRECTORIES))})/01-[0-9a-f-]+")
_CONSOLE = {
    Milestone.KERNEL: re.compile(r"Linux version \d|Run /init as init process"),
    Milestone.INITRAMFS: _any(r"Run /init as init process", *(signs.begun for signs in _SIGNS)),
    # what we mount ourselves we announce
    Milestone.ROOT: _any(r"diskless: root mounted", *(signs.root_mounted for signs in _SIGNS)),
    Milestone.INIT: _any(*(init.begun for init in INITS.values())),
    Milestone.LOGIN: re.compile(r"^\S+ login: ?", re.M),
    Milestone.OFF: re.compile(r"reboot: Power down|reboot: System halted"),
}


def find_milestones(logs: Logs) -> set[Milestone]:
    """The milestones that the logs prove; one that was passed unseen is proved by a later one."""
    seen = {milestone for milestone, sign in _CONSOLE.items() if sign.search(logs.console)}
    if _LEASE.search(logs.dhcp):
        seen.add(Milestone.LEASE)
    fetched = f"{logs.dhcp}\n{logs.http}"
    if _LOADER.search(fetched):
        seen.add(Milestone.LOADER)
    if _MENU.search(fetched) or _OWN_MENU.search(fetched):
        seen.add(Milestone.MENU)
    order = list(Milestone)
    last = max((order.index(milestone) for milestone in seen), default=-1)
    return set(order[: last + 1])


def leased_address(logs: Logs) -> str | None:
    """The address that the guest got last."""
    addresses: list[str] = _LEASE.findall(logs.dhcp)
    return addresses[-1] if addresses else None


class Timeline:
    """Seconds from power-on to each milestone passed so far."""

    def __init__(self) -> None:
        self.seconds: dict[Milestone, float] = {}

    @property
    def last(self) -> Milestone | None:
        """The latest milestone passed."""
        return max(self.seconds, key=list(Milestone).index, default=None)

    def note(self, logs: Logs, now: float) -> tuple[Milestone, ...]:
        """Gives every newly proved milestone the time `now`; returns them in order."""
        proved = find_milestones(logs)
        new = tuple(milestone for milestone in Milestone if milestone in proved and milestone not in self.seconds)
        self.seconds.update(dict.fromkeys(new, now))
        return new
