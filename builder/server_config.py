"""The configuration of a server for diskless clients: rendered from its site, printed or installed as drop-ins."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.checks.site import site_contradictions
from builder.errors import HostError, InputError
from builder.model.recipe import RootMode
from builder.model.share import ServedStore
from builder.model.site import Site
from builder.probes.configuration import dhcpd_main, what_is_missing
from builder.reading import load_site
from builder.render.server.files import (
    PLACES,
    ROLES,
    Format,
    ServerFile,
    gives_addresses,
    possible_formats,
    server_files,
)
from builder.render.server.tftp import DEFAULTS_FILE, UNIT_FILE
from builder.store.activation import site_of
from builder.store.inventory import read_inventory
from builder.store.layout import Store, find_store, store_name
from builder.store.record import MARKER
from builder.store.served_loaders import read_served_store
from builder.system.files import write_atomic

BACKUP = ".diskless-backup"


@dataclass(frozen=True)
class Installed:
    """One file of the server: `changed` where it was written, `backup` where something else had been there.

    restart: what makes the program take it, None where nothing changed
    note: what else has to be so on this server for the file to be used, None where it is
    """

    path: str
    changed: bool
    backup: str | None = None
    restart: str | None = None
    note: str | None = None


def find_site(root: Path, site_file: Path | None, server: str | None) -> Site:
    """The settings of the server that a store is on, or will be.

    A given file or DIR/site.yml; without one what the last deploy knew; the address `server` overrides. InputError
    where nothing says the address.
    """
    store = Store(root.resolve())
    path = site_file or store.site_file
    written = load_site(path) if site_file is not None or path.exists() else None
    site = site_of(store, server, written)
    for fault in site_contradictions(site):
        raise InputError(f"server {site.server}: {fault.message}", f"{fault.hint}, in {path}")
    return site


def served_store(root: Path) -> tuple[ServedStore, str | None]:
    """What servers are told of a store, or of the one that will be at `root`: that has nothing to export yet.

    And what is wrong with that, None where nothing is.
    """
    name = store_name(root)
    if not (root / MARKER).exists():
        return ServedStore(name, ()), None
    store = find_store(root)
    rw = any(manifest.root.mode is RootMode.RW for manifest in read_inventory(store).manifests)
    return read_served_store(store, rw=rw), store.record.fault(name)


def choose_formats(site: Site, store: ServedStore, wanted: Sequence[Format] | None) -> tuple[Format, ...]:
    """The formats to render: what was asked for, or what one server needs: dnsmasq, an NFS server, nginx if it serves.

    InputError where the site lacks what a format needs.
    """
    if not store.shares and (wanted is None or {Format.EXPORTS, Format.GANESHA} & set(wanted)):
        raise HostError(
            f"{store.path} lies on a file system with other things, and clients would reach all of it",
            f"diskless storage --to {shlex.quote(store.path)} --ro SIZE gives the roots one of their own, such as 20G",
        )
    possible = possible_formats(site, store)
    if wanted is None:
        dhcp = Format.DNSMASQ if gives_addresses(site) else Format.DNSMASQ_PROXY
        return tuple(form for form in possible if form in (dhcp, _nfs(possible), Format.NGINX))
    for form in wanted:
        if form not in possible:
            raise InputError(f"format {form}: {_LACKS[form][0]}", _LACKS[form][1])
    return tuple(dict.fromkeys(wanted))


_ADDRESSES = (
    "the site gives clients no addresses",
    "add dhcp: {first: ADDRESS, last: ADDRESS}, or clients with addresses; beside another DHCP use dnsmasq-proxy",
)
_LACKS = {
    Format.DNSMASQ: _ADDRESSES,
    Format.DHCPD: _ADDRESSES,
    Format.KEA: _ADDRESSES,
    Format.NGINX: ("the site has no http_port", "add http_port: 80 to the site file"),
    Format.EXPORTS: (
        "the site's path is another than the store's, and the kernel's server exports real paths only",
        "remove path, or use nfs-ganesha: --format ganesha",
    ),
}


def _nfs(possible: Sequence[Format]) -> Format:
    return Format.EXPORTS if Format.EXPORTS in possible else Format.GANESHA


def render_files(site: Site, store: ServedStore, formats: Sequence[Format]) -> tuple[ServerFile, ...]:
    """The texts of several formats."""
    return tuple(file for form in formats for file in server_files(form, site, store))


def install_files(files: Sequence[ServerFile], prefix: Path) -> tuple[Installed, ...]:
    """Writes files below `prefix`, each whole or not at all; nothing restarts.

    What was there is kept beside it as NAME.diskless-backup (-2, -3 where there is one). InputError, and nothing
    written, where two of them, or one and what is installed already, would do the same work.
    """
    _refuse_conflicts(files, prefix)
    wanted = [file for file in files if file.path is not None and _fits(file, prefix)]
    if not wanted:
        raise InputError(
            "nothing to install", "the formats router, windows and services are to be read: leave --install out"
        )
    return tuple(_install(file, prefix) for file in wanted)


def _refuse_conflicts(files: Sequence[ServerFile], prefix: Path) -> None:
    formats = list(dict.fromkeys(file.format for file in files))
    for first, second in itertools.combinations(formats, 2):
        both = [role for role in ROLES.get(first, ()) if role in ROLES.get(second, ())]
        if both:
            hint = f"install one of the two: --format {first}, or --format {second}"
            raise InputError(f"{first} and {second} both serve {' and '.join(both)}", hint)
    for form in formats:
        for path, owners in PLACES.items():
            clash = [owner for owner in owners if set(ROLES.get(form, ())) & set(ROLES[owner])]
            if form not in owners and clash and _ours(_below(prefix, path)):
                role = next(role for role in ROLES[form] if role in ROLES[clash[0]])
                hint = f"remove {_below(prefix, path)} first, and stop what reads it"
                raise InputError(f"{form} and the installed {path} both serve {role}", hint)


def _fits(file: ServerFile, prefix: Path) -> bool:
    """Of the two ways to run in.tftpd the one that this server's distribution knows."""
    debian = _below(prefix, DEFAULTS_FILE).exists()
    return {DEFAULTS_FILE: debian, UNIT_FILE: not debian}.get(file.path or "", True)


def _install(file: ServerFile, prefix: Path) -> Installed:
    assert file.path is not None
    target = _below(prefix, file.path)
    content = file.text.encode()
    try:
        before = target.read_bytes()
    except FileNotFoundError:
        before = None
    except OSError as error:
        raise HostError(f"{target}: {error.strerror}", "remove it, or correct its permissions") from error
    note = what_is_missing(file.format, prefix)
    if before == content:
        return Installed(str(target), changed=False, note=note)
    _make_directories(target.parent)
    backup = None if before is None else _keep(target, before)
    write_atomic(target, content, 0o644)
    return Installed(str(target), changed=True, backup=backup, restart=_restart(file, prefix), note=note)


def _restart(file: ServerFile, prefix: Path) -> str | None:
    """Dhcpd's unit is called otherwise where its configuration lies elsewhere."""
    if file.format is Format.DHCPD and dhcpd_main(prefix) == "/etc/dhcpd.conf":
        return "systemctl restart dhcpd4"
    return file.restart


def _make_directories(directory: Path) -> None:
    """Whatever the umask: not every server reads its configuration as root."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir()
        path.chmod(0o755)


def _keep(target: Path, content: bytes) -> str:
    """Keeps what was there under the first free name; where a backup holds the same, that is enough.

    In a directory of drop-ins the name begins with a dot: its program reads every other file too.
    """
    hidden = "." if target.parent.suffix == ".d" else ""
    for number in itertools.count(1):
        backup = target.with_name(f"{hidden}{target.name}{BACKUP}{'' if number == 1 else f'-{number}'}")
        if not backup.exists():
            write_atomic(backup, content, target.stat().st_mode & 0o777)
            return str(backup)
        if backup.read_bytes() == content:
            return str(backup)
    raise AssertionError("unreachable")


def _ours(path: Path) -> bool:
    """Whether a file is one that this module installed: each says so in its first line."""
    try:
        return b"without disks" in path.read_bytes().split(b"\n", 1)[0]
    except OSError:
        return False


def _below(prefix: Path, path: str) -> Path:
    return prefix / path.removeprefix("/")
