"""`diskless server-config --to DIR`"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from builder.cli.options import json_option, store_option
from builder.errors import InputError
from builder.model.share import ServedStore
from builder.model.site import Site
from builder.render.server.files import Format, possible_formats
from builder.server_config import Installed, choose_formats, find_site, install_files, render_files, served_store

_ALL = "all"


@click.command()
@store_option
@click.option("--site", "site_file", metavar="FILE", type=click.Path(path_type=Path), help="Instead of DIR/site.yml.")
@click.option(
    "--server", metavar="ADDRESS", help="This server's address, where neither a site file nor a deploy said it."
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice([*(str(form) for form in Format), _ALL]),
    help="The program to configure; can be repeated. Left out: dnsmasq, exports, and nginx if site.yml has http_port.",
)
@click.option("--install", is_flag=True, help="Write the files to their places; what was there is kept beside them.")
@click.option(
    "--prefix",
    metavar="ROOT",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default="/",
    show_default=True,
    help="With --install: the root directory of the server.",
)
@json_option
def server_config(
    store: Path,
    site_file: Path | None,
    server: str | None,
    formats: tuple[str, ...],
    install: bool,
    prefix: Path,
    as_json: bool,
) -> None:
    """Print or install the configuration of a store's servers.

    They are DHCP, TFTP, HTTP, NFS and the firewall, for clients of the store DIR.

    Each text says in comments where it belongs and why it is so. Installing restarts nothing; it prints what to
    restart.
    """
    site = find_site(store, site_file, server)
    served, fault = served_store(store)
    files = render_files(site, served, _chosen(site, served, formats, install=install))
    if fault is not None:
        click.echo(f"fault: {fault}", err=True)
    if install:
        installed = install_files(files, prefix)
        click.echo(json.dumps([vars(file) for file in installed], indent=1) if as_json else _describe(installed))
    elif as_json:
        click.echo(json.dumps([vars(file) for file in files], indent=1))
    else:
        click.echo("\n".join(file.text for file in files), nl=False)


def _chosen(site: Site, store: ServedStore, formats: Sequence[str], *, install: bool) -> tuple[Format, ...]:
    if _ALL not in formats:
        return choose_formats(site, store, [Format(name) for name in formats] or None)
    if install:
        message = "--format all has every kind of DHCP, TFTP and NFS server; one of each can be installed"
        raise InputError(message, "leave --format out for dnsmasq and exports, or name the formats")
    return possible_formats(site, store)


def _describe(installed: Sequence[Installed]) -> str:
    """What was done as people read it, then what is left to do."""
    lines = []
    for file in installed:
        kept = f" (what was there: {file.backup})" if file.backup else ""
        lines.append(f"wrote {file.path}{kept}" if file.changed else f"{file.path} was so already")
    lines += dict.fromkeys(file.note for file in installed if file.note)
    # DHCP comes first in the list and is restarted last: a client that gets an address finds all the rest
    restarts = list(dict.fromkeys(file.restart for file in reversed(installed) if file.restart))
    if restarts:
        lines += ["nothing was restarted; run:", *(f"  {command}" for command in restarts)]
    return "\n".join(lines)
