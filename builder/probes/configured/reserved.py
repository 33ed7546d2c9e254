"""Whether what a DHCP server reserves for a machine is reserved in a site already: 10,000 of either are looked up."""

from __future__ import annotations

from collections.abc import Iterable

from builder.model.site import Site


class Reserved:
    """What a site reserves: the card, address and name of each client that has an address or a name."""

    def __init__(self, site: Site) -> None:
        clients = [client for client in site.clients if client.address is not None or client.name is not None]
        self._what = {
            **{f"name {client.name}": f"the name {client.name}" for client in clients if client.name},
            **{f"address {client.address}": f"the address {client.address}" for client in clients if client.address},
            **{f"card {client.mac.lower()}": f"the card {client.mac}" for client in clients},
        }

    def shared(self, cards: Iterable[str], addresses: Iterable[str], name: str | None = None) -> str | None:
        """What of these the site reserves too, in words; `cards` in lower case with colons."""
        keys = [*(f"card {card}" for card in cards), *(f"address {one}" for one in addresses)]
        keys += [] if name is None else [f"name {name}"]
        return next((self._what[key] for key in keys if key in self._what), None)
