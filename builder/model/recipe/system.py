"""What the machine is, what it runs, and its files."""

from __future__ import annotations

from dataclasses import dataclass

from builder.model.recipe.account import Group, User
from builder.model.recipe.choices import InitName
from builder.model.syntax import (
    FilePath,
    FstabWord,
    HostName,
    LocaleName,
    Mode,
    MountOption,
    MountTarget,
    Owner,
    SourcePath,
    TimeZone,
    UnitName,
    key,
)


@dataclass(frozen=True, kw_only=True)
class System:
    """What the machine is called, who can log in and what it runs."""

    hostname: HostName = key("the host name; with DHCP clients usually get their own", "diskless")
    timezone: TimeZone = key("a name of the tz database", "UTC")
    locale: LocaleName = key("the system's LANG", "C.UTF-8")
    users: tuple[User, ...] = key("accounts: who can log in, and how", ())
    groups: tuple[Group, ...] = key("groups that are made, with their numbers, before the accounts", ())
    init: InitName = key(
        "what starts the services; initscripts: rc.conf, for derivatives that keep it", InitName.SYSTEMD
    )
    services: tuple[UnitName, ...] = key("units to enable; the distribution's defaults stay", ())
    masked: tuple[UnitName, ...] = key("units of the image that must never start", ())
    shared_identities: tuple[FilePath, ...] = key(
        "files made by packages or scripts that all clients may have in common, although they are private keys, "
        "secrets or ids of one machine; a build that finds another which it cannot have made anew at boot fails",
        (),
    )


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of the image, from text or from a file beside the recipe."""

    path: FilePath = key("where it lies in the image")
    text: str | None = key("what it holds", None)
    source: SourcePath | None = key("a file beside the recipe, instead of `text`", None)
    mode: Mode = key("its permissions", "0644")
    owner: Owner = key("its user and group, as numbers", "0:0")


@dataclass(frozen=True, kw_only=True)
class Filesystem:
    """One line of the image's /etc/fstab, fstab(5)."""

    source: FstabWord = key("what is mounted, or none")
    target: MountTarget = key("where, or none")
    type: FstabWord = key("the file system type, or none")
    options: tuple[MountOption, ...] | None = key(
        "mount options; left out: `defaults`, and nothing at all for the `none / none` placeholder", None
    )
