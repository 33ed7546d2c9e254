"""What this host's packet filter lets pass."""

from __future__ import annotations

import json

from builder.model.diagnostic import Diagnostic, ok, warn
from builder.model.site import Site
from builder.probes.programs import run_quietly

_PORTS = "UDP 67, 69, TCP 111, 2049 and mountd's"


def examine_firewall(site: Site) -> list[Diagnostic]:
    """A packet filter that drops by default, which questions from this host itself do not meet."""
    ports = _PORTS + (f", {site.web_port_here}" if site.web_port_here else "")
    status, said = run_quietly(["nft", "--json", "list", "ruleset"])
    if status:
        return []
    try:
        chains = [item["chain"] for item in json.loads(said)["nftables"] if "chain" in item]
    except (ValueError, KeyError, TypeError):
        return []
    dropping = [chain["name"] for chain in chains if chain.get("hook") == "input" and chain.get("policy") == "drop"]
    if dropping:
        text = f"nftables drops what chain {', '.join(dropping)} does not accept; questions from this host pass it by"
        return [warn("network", "firewall", text, f"let {ports} pass from the clients' network: `nft list ruleset`")]
    return [ok("network", "firewall", "nftables drops nothing by default")]
