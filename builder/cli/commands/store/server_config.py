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
from builder.server_config.installation import install as put_in_place
from builder.server_config.installation import uninstall as take_away
from builder.server_config.installing import Change, Installed
from builder.server_config.texts import choose_formats, find_site, render_files, served_store

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
@click.option("--install", is_flag=True, help="Show what changes, and write the files to their places.")
@click.option("--uninstall", is_flag=True, help="Show what changes, and take away what --install wrote.")
@click.option("--dry-run", is_flag=True, help="Show what --install, or --uninstall, would change; change nothing.")
@click.option(
    "--replace", is_flag=True, help="Also what was edited since, or is somebody else's; it is kept beside the new file."
)
@click.option(
    "--prefix",
    metavar="ROOT",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default="/",
    show_default=True,
    help="With --install and --uninstall: the root directory of the server.",
)
@json_option
def server_config(
    store: Path,
    site_file: Path | None,
    server: str | None,
    formats: tuple[str, ...],
    install: bool,
    uninstall: bool,
    dry_run: bool,
    replace: bool,
    prefix: Path,
    as_json: bool,
) -> None:
    """Print or install the configuration of a store's servers.

    They are DHCP, TFTP, HTTP, NFS and the firewall, for clients of the store DIR.

    Each text says in comments where it belongs and why it is so. Installing reads what the programs are configured for
    already, refuses what would change it for others, and restarts nothing; it prints what to restart.
    """
    if install and uninstall:
        raise InputError("--install and --uninstall at once", "give one of the two")
    served, fault = served_store(store)
    show = _quiet if as_json else _show
    if uninstall:
        removed = take_away(served, prefix, replace_edited=replace, dry_run=dry_run, show=show)
        click.echo(_report(removed, dry_run=dry_run, as_json=as_json))
        return
    site = find_site(store, site_file, server)
    installs = install or dry_run
    chosen = _chosen(site, served, formats, install=installs)
    if fault is not None:
        click.echo(f"fault: {fault}", err=True)
    if installs:
        done = put_in_place(
            site, served, chosen, prefix, replace_edited=replace, dry_run=dry_run, show=show, note=_note
        )
        click.echo(_report(done, dry_run=dry_run, as_json=as_json))
        return
    files = render_files(site, served, chosen)
    if as_json:
        click.echo(json.dumps([vars(file) for file in files], indent=1))
    else:
        click.echo("\n".join(file.text for file in files), nl=False)


def _show(changes: Sequence[Change]) -> None:
    for change in changes:
        click.echo(change.diff, nl=False)


def _quiet(_changes: Sequence[Change]) -> None:
    """With --json the differences are part of the result."""


def _note(text: str) -> None:
    click.echo(f"note: {text}", err=True)


def _chosen(site: Site, store: ServedStore, formats: Sequence[str], *, install: bool) -> tuple[Format, ...]:
    if _ALL not in formats:
        return choose_formats(site, store, [Format(name) for name in formats] or None)
    if install:
        message = "--format all has every kind of DHCP, TFTP and NFS server; one of each can be installed"
        raise InputError(message, "leave --format out for dnsmasq and exports, or name the formats")
    return possible_formats(site, store)


def _report(done: Sequence[Installed], *, dry_run: bool, as_json: bool) -> str:
    if as_json:
        return json.dumps([vars(file) for file in done], indent=1)
    return _describe(done, dry_run=dry_run)


def _describe(done: Sequence[Installed], *, dry_run: bool) -> str:
    """What was done as people read it, then what is left to do."""
    lines = []
    for file in done:
        verb = "remove" if file.removed else "write"
        did = f"would {verb}" if dry_run else {"remove": "removed", "write": "wrote"}[verb]
        kept = f" (what was there: {file.backup})" if file.backup else ""
        lines.append(f"{did} {file.path}{kept}" if file.changed else f"{file.path} was so already")
    lines += dict.fromkeys(file.note for file in done if file.note)
    # DHCP comes first in the list and is restarted last: a client that gets an address finds all the rest
    restarts = list(dict.fromkeys(file.restart for file in reversed(done) if file.restart))
    if restarts and not dry_run:
        lines += ["nothing was restarted; run:", *(f"  {command}" for command in restarts)]
    return "\n".join(lines) or "nothing is installed"
