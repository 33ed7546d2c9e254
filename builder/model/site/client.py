"""Clients that a site knows, one by one or in groups."""

from __future__ import annotations

from dataclasses import dataclass

from builder.model.site.values import Ipv4, MacAddress, MacPrefix, SiteName, VersionName
from builder.model.syntax import HostName, ImageName, KernelArgument, NfsOption, key


@dataclass(frozen=True, kw_only=True)
class SiteClient:
    """One client that the server knows by its network card."""

    mac: MacAddress = key("its network card")
    name: HostName | None = key("its host name", None)
    address: Ipv4 | None = key("its address, which nobody else gets", None)
    image: ImageName | None = key("the image it boots, whatever the others boot", None)
    version: VersionName | None = key("the version of that image, instead of the active one", None)
    group: SiteName | None = key("the group that it is in, one of `groups`; its own image and entry come first", None)
    entry: SiteName | None = key("the entry of the menu that it boots: one of `entries`, or local-disk", None)
    cmdline: tuple[KernelArgument, ...] = key("kernel arguments, after those of the site and its group", ())
    nfs_options: tuple[NfsOption, ...] = key("mount options, after those of the site and its group", ())


@dataclass(frozen=True, kw_only=True)
class SiteGroup:
    """Clients that boot alike: those that name it, and those whose network cards begin alike."""

    name: SiteName = key("its name")
    mac_prefixes: tuple[MacPrefix, ...] = key(
        "how the MAC addresses begin of clients that are in it without being listed", ()
    )
    image: ImageName | None = key("the image they boot", None)
    version: VersionName | None = key("the version of that image, instead of the active one", None)
    entry: SiteName | None = key("the entry of the menu that they boot: one of `entries`, or local-disk", None)
    cmdline: tuple[KernelArgument, ...] = key("kernel arguments, after the site's", ())
    nfs_options: tuple[NfsOption, ...] = key("mount options, after the site's", ())


@dataclass(frozen=True, kw_only=True)
class BootSettings:
    """What one menu says that is not everybody's: of a client, or of a group's clients that are not listed.

    who: for people; client: its MAC address; group: the name of a group that is told by MAC prefixes
    image, version, entry: what boots by itself; all None: what everybody's menu boots
    """

    who: str
    client: str | None = None
    group: str | None = None
    prefixes: tuple[str, ...] = ()
    image: str | None = None
    version: VersionName | None = None
    entry: str | None = None
    cmdline: tuple[str, ...] = ()
    nfs_options: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether they are those of everybody."""
        return not (self.image or self.entry or self.cmdline or self.nfs_options)


def client_settings(client: SiteClient, group: SiteGroup | None) -> BootSettings:
    """Of one client; what it says of image and entry comes before what its group says."""
    own = client if client.image or client.entry else group or client
    shared = group or SiteGroup(name="-")
    return BootSettings(
        who=client.name or client.mac,
        client=client.mac,
        image=own.image,
        version=own.version,
        entry=own.entry,
        cmdline=(*shared.cmdline, *client.cmdline),
        nfs_options=(*shared.nfs_options, *client.nfs_options),
    )


def group_settings(group: SiteGroup) -> BootSettings:
    """Of those that are told by how their cards begin."""
    return BootSettings(
        who=f"group {group.name}",
        group=group.name,
        prefixes=tuple(prefix.lower() for prefix in group.mac_prefixes),
        image=group.image,
        version=group.version,
        entry=group.entry,
        cmdline=group.cmdline,
        nfs_options=group.nfs_options,
    )
