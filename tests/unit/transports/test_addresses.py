"""Where a server leads to."""

from __future__ import annotations

import pytest

from builder.errors import TransferError
from builder.transports.http.addresses import led_to


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("https://a.example/v2/x", "/y", "https://a.example/y"),
        ("https://a.example/v2/x", "https://b.example/y", "https://b.example/y"),
        ("https://a.example/lab/channels/stable.json", "../1/manifest.json", "https://a.example/lab/1/manifest.json"),
        ("http://a.example/x", "https://b.example/y", "https://b.example/y"),
        ("http://a.example/x", "http://b.example/y", "http://b.example/y"),
    ],
)
def test_an_address_that_is_led_to(url: str, location: str, target: str) -> None:
    assert led_to(url, location) == target


@pytest.mark.parametrize("location", ["http://a.example/y", "ftp://a.example/y", "file:///etc/passwd", "HTTP://b/y"])
def test_nothing_leads_away_from_tls(location: str) -> None:
    """Channels, next pages and places of blobs as little as redirections."""
    with pytest.raises(TransferError, match="without TLS"):
        led_to("https://a.example/x", location)
