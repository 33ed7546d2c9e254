"""Servers that are other machines are asked where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.model.diagnostic import Level
from builder.model.site import Site, SiteHttp, SiteNfs
from builder.probes import rpc, server
from builder.probes.server import Boots, examine_http, examine_nfs

SITE = Site(
    server="192.168.1.1",
    nfs=SiteNfs(address="192.168.1.5", path="/volume1/roots"),
    http=SiteHttp(address="192.168.1.6", port=8080),
)
ROOT = "/volume1/roots/ro/lab/1/root"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that are asked; the exports are there."""
    found: list[str] = []

    def remember(address: str, *_: object) -> int:
        found.append(address)
        return 20048

    for name in ("ping", "find_port", "try_mount"):
        monkeypatch.setattr(rpc, name, remember)

    def exports(address: str, _port: int) -> list[object]:
        found.append(address)
        return []

    monkeypatch.setattr(rpc, "list_exports", exports)
    return found


def test_the_nfs_server_of_the_site_is_asked(asked: list[str]) -> None:
    findings = examine_nfs(SITE, Boots((), ((SITE.nfs_server, ROOT),)))
    assert set(asked) == {"192.168.1.5"}
    assert findings[-1].level is Level.OK
    (menu,) = [one for one in examine_nfs(SITE, Boots((), (("192.168.1.1", ROOT),))) if one.name == ROOT]
    assert "clients are sent to 192.168.1.1, site.yml says 192.168.1.5" in menu.text


def test_the_web_server_of_the_site_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def refuse(address: str, port: int, name: str) -> bytes:
        asked.append((address, port, name))
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(server, "_get", refuse)
    (tmp_path / "kernel").write_bytes(b"k")
    (finding,) = examine_http(SITE, tmp_path, Boots(("kernel",), ()), ())
    assert (finding.level, asked) == (Level.FAIL, [("192.168.1.6", 8080, "/kernel")])
    assert "192.168.1.6, port 8080" in finding.text
