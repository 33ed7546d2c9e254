"""What every init can do: the contract between recipes, the stages, the boot lab and what starts the services."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from builder.model.entry import TreeEntry
from builder.model.fault import Fault
from builder.model.identity import KnownIdentity, RemovedFile
from builder.model.recipe import InitName, NetworkClient, Recipe, Resolver


@dataclass(frozen=True)
class EarlyService:
    """A script that each init runs once, before the network is used."""

    name: str
    title: str
    script: str


# what fills resolv.conf with what the boot's own DHCP request learnt
RESOLVER = EarlyService(
    "diskless-resolver", "Name servers of the address that this machine booted with", "/usr/local/lib/diskless/resolver"
)
# what gives the system the host name and the card of that request
LEASE = EarlyService(
    "diskless-lease", "Host name and card of the address that this machine booted with", "/usr/local/lib/diskless/lease"
)

# runs as long as the system does, and renews the lease of that address
RENEWER_SCRIPT = "/usr/local/lib/diskless/renew-lease"


class Init(Protocol):
    """What starts the services of an image.

    name: what recipes call it
    kind: its word for what it starts
    directories: where the files of what it can start lie; of two with one name the first directory's counts
    clients, resolvers: what of the network it can run
    enable: the command of an image that enables the names after it; empty: `entries` say what is enabled
    mask_directory: where a link to /dev/null masks what has its name; None: `entries` say what is masked
    resolver_file: shows that an image runs the script of RESOLVER
    update_stamps: files as new as /usr that keep it from updating the image whenever it boots; none: it never does
    begun: what it writes to the console when it starts, a regular expression
    speaks: what every line of its own on the console has, a regular expression
    lab_arguments: kernel arguments that give the boot lab its root shell on the second serial port
    power_off: what is typed there for a clean power-off
    """

    name: InitName
    kind: str
    directories: tuple[str, ...]
    clients: frozenset[NetworkClient]
    resolvers: frozenset[Resolver]
    enable: tuple[str, ...]
    mask_directory: str | None
    resolver_file: str
    update_stamps: tuple[str, ...]
    begun: str
    speaks: str
    lab_arguments: tuple[str, ...]
    power_off: str

    def entries(self, recipe: Recipe) -> list[TreeEntry]:
        """The files that configure it."""
        ...

    def early_entries(self, service: EarlyService) -> list[TreeEntry]:
        """What runs a script before the network is used."""
        ...

    def renewer_entries(self) -> list[TreeEntry]:
        """What keeps RENEWER_SCRIPT running; none: it cannot."""
        ...

    def identity_entries(self, known: KnownIdentity, removed: tuple[RemovedFile, ...]) -> list[TreeEntry]:
        """What makes an identity anew at boot, before any service, where a file of it is missing; none: it cannot."""
        ...

    def full_name(self, name: str) -> str:
        """The whole name of what a recipe calls `name`."""
        ...

    def file_names(self, full_name: str) -> frozenset[str]:
        """The files in `directories` of which one must be there, so that it can be started."""
        ...

    def enabled(self, recipe: Recipe) -> list[str]:
        """What has to be enabled in the finished tree, without repetition; nothing where `entries` say it."""
        ...

    def contradictions(self, recipe: Recipe) -> Iterator[Fault]:
        """What cannot work of a recipe that uses it."""
        ...
