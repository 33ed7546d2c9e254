"""YAML to Site: the settings of one server, checked like a recipe."""

from __future__ import annotations

from pathlib import Path

from builder.checks.site import site_contradictions
from builder.model.site import Site
from builder.reading.document import DocumentKind, YamlDocument

_SITE = DocumentKind(
    name="site file",
    example="/disklessroot/site.yml",
    start='one line is enough: "server: 192.168.1.1", with this server\'s address',
    too_large="a site lists one client in a line: split it between servers",
    levels="three",
    largest=4,
)


def load_site(path: Path) -> Site:
    """Reads and checks a site file; raises InputError that lists every fault of the file, in order."""
    document = YamlDocument(path, _SITE)
    site = document.read(Site)
    if site is not None and not document.faults:
        document.faults.extend(site_contradictions(site))
    if site is None or document.faults:
        raise document.report()
    return site
