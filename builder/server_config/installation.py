"""Installing, and taking away what was installed: a look at all that is there, a difference, and only then a change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from builder.model.share import ServedStore
from builder.model.site import Site
from builder.probes.configured.nfs_conf import other_mountd_port
from builder.render.server.files import Format, ServerFile
from builder.render.server.services import NFS_CONF_FILE
from builder.server_config.guest import find_place
from builder.server_config.installing import (
    Change,
    Installed,
    carry_out,
    describe_change,
    plan_install,
    plan_uninstall,
)
from builder.server_config.memory import read_memory, write_memory
from builder.server_config.texts import render_files
from builder.store.inventory import read_inventory
from builder.store.layout import look_at_store, open_store
from builder.store.records.record import write_record

Show = Callable[[Sequence[Change]], None]
Say = Callable[[str], None]


def install(
    site: Site,
    store: ServedStore,
    formats: Sequence[Format],
    prefix: Path,
    *,
    replace_edited: bool,
    dry_run: bool,
    show: Show,
    note: Say,
) -> tuple[Installed, ...]:
    """Writes the files of some formats below `prefix`, after `show` had what will change; `dry_run` ends there.

    InputError, and nothing written, where a line of what is there is in the way, or a file was edited since.
    """
    root = Path(store.path)
    memory = read_memory(root)
    guest = find_place(prefix, site, store, formats, memory, nfs4=_mounts_nfs4(root))
    files = _without_mountd(render_files(site, guest.store, formats, guest.beside), prefix, note)
    changes = plan_install(files, prefix, guest.store, memory, replace_edited=replace_edited)
    show(changes)
    if dry_run:
        return tuple(describe_change(change) for change in changes)
    if guest.store.shares != store.shares:
        _renumber(root, guest.store, note)
    done, after = carry_out(changes, memory)
    write_memory(root, replace(after, name=guest.store.name))
    return done


def uninstall(
    store: ServedStore, prefix: Path, *, replace_edited: bool, dry_run: bool, show: Show
) -> tuple[Installed, ...]:
    """Takes away what was installed for a store below `prefix`, and puts back what had been there before."""
    root = Path(store.path)
    memory = read_memory(root)
    changes = plan_uninstall(prefix, store, memory, replace_edited=replace_edited)
    show(changes)
    if dry_run:
        return tuple(describe_change(change) for change in changes)
    done, after = carry_out(changes, memory)
    gone = {name: one for name, one in after.files.items() if not Path(name).is_relative_to(prefix.absolute())}
    write_memory(root, replace(after, files=gone))
    return done


def _mounts_nfs4(root: Path) -> bool:
    """Whether a client of the store may mount NFSv4: all may, before there is a version that says otherwise."""
    manifests = read_inventory(look_at_store(root)).manifests if root.is_dir() else ()
    return not manifests or any(str(manifest.root.version).startswith("4") for manifest in manifests)


def _renumber(root: Path, store: ServedStore, note: Say) -> None:
    """Numbers that nobody else has, before any client can have mounted by the old ones."""
    numbers = {share.path: share.fsid for share in store.shares}
    with open_store(root, note, mounted=False) as opened:
        shares = {path: numbers.get(path, fsid) for path, fsid in opened.record.shares.items()}
        write_record(root, replace(opened.record, shares=shares))


def _without_mountd(files: Sequence[ServerFile], prefix: Path, note: Say) -> list[ServerFile]:
    """Without our port of mountd where the server has one already: it is the whole server's."""
    stated = other_mountd_port(prefix)
    if stated is None or all(file.path != NFS_CONF_FILE for file in files):
        return list(files)
    note(f"{stated.place}: mountd has the port {stated.value} already, and keeps it: let a firewall pass that one")
    return [file for file in files if file.path != NFS_CONF_FILE]
