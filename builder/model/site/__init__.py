"""The site: what one server knows of its network and its clients, as site.yml in its store says it."""

from builder.model.site.client import BootSettings, SiteClient, SiteGroup
from builder.model.site.entry import LOCAL_DISK, REFUSED_ENTRY, SiteEntry, Unknown
from builder.model.site.network import (
    DhcpOptionType,
    SiteDhcp,
    SiteDhcpOption,
    SiteNetwork,
    lease_seconds,
)
from builder.model.site.servers import SiteHttp, SiteNfs
from builder.model.site.site import Site, SiteSigner
from builder.model.site.values import IPV4

__all__ = [
    "IPV4",
    "LOCAL_DISK",
    "REFUSED_ENTRY",
    "BootSettings",
    "DhcpOptionType",
    "Site",
    "SiteClient",
    "SiteDhcp",
    "SiteDhcpOption",
    "SiteEntry",
    "SiteGroup",
    "SiteHttp",
    "SiteNetwork",
    "SiteNfs",
    "SiteSigner",
    "Unknown",
    "lease_seconds",
]
