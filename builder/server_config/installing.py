"""Files of a server: shown as a difference first, written whole, and never over what somebody else wrote or edited."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builder.errors import HostError, InputError
from builder.model.share import ServedStore
from builder.probes.configured.directive import below
from builder.probes.configured.exports import read_exports
from builder.probes.configured.inclusion import dhcpd_main, what_is_missing
from builder.probes.configured.stock import is_stock
from builder.render.server.comments import store_in_heading
from builder.render.server.files import ROLES, Format, ServerFile, format_places
from builder.render.server.services import NFS_CONF_FILE
from builder.render.server.tftp import DEFAULTS_FILE, tftpd_unit_path
from builder.server_config.memory import ServerMemory, WrittenFile
from builder.system.files import write_atomic

BACKUP = ".diskless-backup"
_DETAILS = 40  # lines of a difference that an error shows


@dataclass(frozen=True)
class Change:
    """What is to become of one file: `after` None where it is taken away, `before` None where there is none.

    note: what else has to be so on this server for the file to be used, None where it is
    keeps: whether what was there is kept beside it; back: the file that had been there before this program's
    """

    path: Path
    before: str | None
    after: str | None
    restart: str | None = None
    note: str | None = None
    keeps: bool = False
    back: Path | None = None

    @property
    def changes(self) -> bool:
        """Whether anything is to be done."""
        return self.before != self.after

    @property
    def diff(self) -> str:
        """The difference, as diff -u has it; empty where there is none."""
        names = (
            ("/dev/null" if self.before is None else str(self.path)),
            ("/dev/null" if self.after is None else str(self.path)),
        )
        old, new = (self.before or "").splitlines(), (self.after or "").splitlines()
        return "".join(f"{line}\n" for line in difflib.unified_diff(old, new, *names, lineterm=""))


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
    diff: str = ""
    removed: bool = False


def plan_install(
    files: Sequence[ServerFile], prefix: Path, store: ServedStore, memory: ServerMemory, *, replace_edited: bool
) -> tuple[Change, ...]:
    """What installing would change; nothing is written.

    InputError where two of the files, or one and what is installed already, would do the same work, where a file was
    edited since it was written, or is somebody else's, unless `replace_edited`.
    """
    _refuse_conflicts(files, prefix, store)
    wanted = [file for file in files if file.path is not None and _fits(file, prefix, store)]
    if not wanted:
        raise InputError(
            "nothing to install", "the formats router, windows and services are to be read: leave --install out"
        )
    changes = tuple(_change(file, prefix, store, memory) for file in wanted)
    if not replace_edited:
        _refuse_edited(changes, memory)
    return changes


def plan_uninstall(
    prefix: Path, store: ServedStore, memory: ServerMemory, *, replace_edited: bool
) -> tuple[Change, ...]:
    """What taking away all that was installed for a store below `prefix` would change; InputError as above."""
    changes = []
    shared = any(one.store not in (None, store.path) for one in read_exports(prefix))
    for name, written in memory.files.items():
        path = Path(name)
        if not path.is_relative_to(prefix.absolute()):
            continue
        before = _read(path)
        if before is None or (shared and path == below(prefix.absolute(), NFS_CONF_FILE)):
            continue
        back = Path(written.backup) if written.backup and Path(written.backup).is_file() else None
        after = _read(back) if back else None
        keeps = _digest(before) != written.sha256
        changes.append(Change(path, before, after, written.restart, keeps=keeps, back=back))
    if not replace_edited:
        _refuse_edited(changes, memory)
    return tuple(changes)


def carry_out(changes: Iterable[Change], memory: ServerMemory) -> tuple[tuple[Installed, ...], ServerMemory]:
    """Does what was planned, each file whole or not at all; nothing restarts. What was done, and what to remember."""
    done, files = [], dict(memory.files)
    begun: list[Change] = []
    for change in changes:
        try:
            begun.append(change)
            backup = _write(change) if change.changes else None
        except OSError as error:
            for one in reversed(begun):
                _put_back(one)
            raise HostError(
                f"{change.path}: {error.strerror}", "everything is as it was: correct that, and try again"
            ) from error
        if change.after is None or change.back is not None:
            files.pop(str(change.path), None)
        else:
            before = files.get(str(change.path))
            kept = backup or (before.backup if before else None)
            files[str(change.path)] = WrittenFile(_digest(change.after), change.restart, kept)
        done.append(describe_change(change, backup))
    return tuple(done), replace(memory, files=files)


def describe_change(change: Change, backup: str | None = None) -> Installed:
    """A change as it is shown, done or not."""
    restart = change.restart if change.changes else None
    removed = change.after is None
    return Installed(str(change.path), change.changes, backup, restart, change.note, change.diff, removed)


def _write(change: Change) -> str | None:
    path = change.path
    backup = _keep(path, change.before) if change.keeps and change.before is not None else None
    if change.after is None:
        path.unlink(missing_ok=True)
        return backup
    _make_directories(path.parent)
    write_atomic(path, _bytes(change.after), 0o644)
    if change.back is not None:
        change.back.unlink(missing_ok=True)
    return backup


def _put_back(change: Change) -> None:
    """What was there before a change that may have been made, as far as it can be."""
    with contextlib.suppress(OSError):
        if not change.changes:
            return
        if change.before is None:
            change.path.unlink(missing_ok=True)
        elif _read(change.path) != change.before:
            write_atomic(change.path, _bytes(change.before), 0o644)


def _change(file: ServerFile, prefix: Path, store: ServedStore, memory: ServerMemory) -> Change:
    assert file.path is not None
    path = below(prefix.absolute(), file.path)
    before = _read(path)
    written = memory.files.get(str(path))
    own = written is not None and before is not None and _digest(before) == written.sha256
    note = what_is_missing(file.format, prefix, store.name)
    return Change(path, before, file.text, _restart(file, prefix), note, keeps=before is not None and not own)


def _refuse_edited(changes: Iterable[Change], memory: ServerMemory) -> None:
    for change in changes:
        if not change.changes or not change.keeps or change.before is None:
            continue
        prefix = _root_of(change)
        if is_stock(prefix, f"/{change.path.relative_to(prefix)}", _bytes(change.before)):
            continue
        owner = store_in_heading(change.before)
        state = "was edited since this program wrote it"
        if str(change.path) not in memory.files:
            state = "is somebody else's, or of an earlier release, of which nobody knows whether it was edited"
            state = state if owner is None else f"is of the store {owner}"
        raise InputError(
            f"{change.path} {state}: it stays as it is",
            "bring your lines into a file of their own beside it; or --replace writes it anyway, and keeps it as "
            f"*{BACKUP}",
            tuple(change.diff.splitlines()[:_DETAILS]),
        )


def _root_of(change: Change) -> Path:
    """The server's root directory: all files of a server are below its etc."""
    parts = change.path.parts
    return Path(*parts[: len(parts) - 1 - parts[::-1].index("etc")])


def _refuse_conflicts(files: Sequence[ServerFile], prefix: Path, store: ServedStore) -> None:
    formats = list(dict.fromkeys(file.format for file in files))
    for first, second in itertools.combinations(formats, 2):
        both = [role for role in ROLES.get(first, ()) if role in ROLES.get(second, ())]
        if both:
            hint = f"install one of the two: --format {first}, or --format {second}"
            raise InputError(f"{first} and {second} both serve {' and '.join(both)}", hint)
    for form in formats:
        for path, owners in format_places(store.name).items():
            clash = [owner for owner in owners if set(ROLES.get(form, ())) & set(ROLES[owner])]
            if form not in owners and clash and _ours(below(prefix, path)):
                role = next(role for role in ROLES[form] if role in ROLES[clash[0]])
                hint = f"remove {below(prefix, path)} first (--uninstall), and stop what reads it"
                raise InputError(f"{form} and the installed {path} both serve {role}", hint)


def _fits(file: ServerFile, prefix: Path, store: ServedStore) -> bool:
    """Of the two ways to run in.tftpd the one that this server's distribution knows."""
    debian = below(prefix, DEFAULTS_FILE).exists()
    return {DEFAULTS_FILE: debian, tftpd_unit_path(store.name): not debian}.get(file.path or "", True)


def _restart(file: ServerFile, prefix: Path) -> str | None:
    """Dhcpd's unit is called otherwise where its configuration lies elsewhere."""
    if file.format is Format.DHCPD and dhcpd_main(prefix) == "/etc/dhcpd.conf":
        return "systemctl restart dhcpd4"
    return file.restart


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _digest(text: str) -> str:
    return hashlib.sha256(_bytes(text)).hexdigest()


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", "remove it, or correct its permissions") from error


def _make_directories(directory: Path) -> None:
    """Whatever the umask: not every server reads its configuration as root."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir()
        path.chmod(0o755)


def _keep(target: Path, text: str) -> str:
    """Keeps what was there under the first free name; where a backup holds the same, that is enough.

    In a directory of drop-ins the name begins with a dot: its program reads every other file too.
    """
    content = _bytes(text)
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
    """Whether a file is one that this program installed: each says so in its first line."""
    try:
        return b"without disks" in path.read_bytes().split(b"\n", 1)[0]
    except OSError:
        return False
