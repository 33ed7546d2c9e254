"""doctor names images whose clients renew no lease, where the site's leases end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builder.doctor import examine_leases
from builder.model.site import Site, SiteClient, SiteDhcp
from builder.output.versions import read_manifest
from builder.store.layout import find_store
from tests.require import needs_root
from tests.scratch import new_place
from tests.stores import SERVER, deployed
from tests.versions import make_version

pytestmark = [needs_root, pytest.mark.root]

NETWORK = SERVER.rpartition(".")[0]


def range_of(lease: str) -> SiteDhcp:
    return SiteDhcp(first=f"{NETWORK}.100", last=f"{NETWORK}.199", lease=lease)


@pytest.mark.parametrize(
    ("renews", "site", "named"),
    [
        (False, Site(server=SERVER, dhcp=range_of("12h")), True),
        (True, Site(server=SERVER, dhcp=range_of("12h")), False),
        (None, Site(server=SERVER, dhcp=range_of("12h")), False),
        (False, Site(server=SERVER, dhcp=range_of("infinite")), False),
        (False, Site(server=SERVER), False),
        (False, Site(server=SERVER, clients=(SiteClient(mac="52:54:00:00:00:01", address=f"{NETWORK}.7"),)), False),
    ],
)
def test_an_address_that_others_may_get(renews: bool | None, site: Site, named: bool, tmp_path: Path) -> None:
    place = new_place()
    version = make_version(tmp_path)
    deployed(place, version)
    store = find_store(place)
    path = store.version("lab", read_manifest(version).version) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "renews_lease": renews}), "utf-8")
    found = list(examine_leases(site, store))
    assert [one.name for one in found] == (["lab"] if named else [])
    assert all("12h" in one.text for one in found)
