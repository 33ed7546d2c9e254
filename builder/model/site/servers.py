"""Servers of a site that are not this one."""

from __future__ import annotations

from dataclasses import dataclass

from builder.model.site.values import Ipv4
from builder.model.syntax import StorePath, key


@dataclass(frozen=True, kw_only=True)
class SiteNfs:
    """An NFS server of its own: it exports what is mounted here below the store, or has the same store."""

    address: Ipv4 = key("its address, as clients see it")
    path: StorePath | None = key("what it calls the store's directory; left out: as this server does", None)


@dataclass(frozen=True, kw_only=True)
class SiteHttp:
    """The web server that serves the store's boot/ as its root; kernels come from it."""

    address: Ipv4 | None = key("its address, as clients see it; left out: this server", None)
    port: int = key("its port", 80)
