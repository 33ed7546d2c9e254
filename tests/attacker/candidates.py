"""The forged handles that an attacker would try first, for each kind of server."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.attacker import ganesha_handles, kernel_handles
from tests.attacker.ganesha_handles import Wire
from tests.attacker.objects import Known, Volume, known
from tests.attacker.plan import Plan
from tests.attacker.truth import Truth

# fsids that an export may have, or had before; the first two are those of the first release
_NUMBERS = (1, 2, 3, 4, 5, 6, 7, 8, 0, 0xFFFFFFFF)


@dataclass(frozen=True)
class Candidate:
    """A forged handle: what it should lead to, and whether every call is tried and not only the first look.

    only: the version of NFS, 3 or 4, in which handles look so; None for both
    """

    label: str
    handle: bytes
    deep: bool = False
    only: str | None = None


def candidates(plan: Plan, objects: Sequence[Known], truths: Sequence[Truth]) -> Iterator[Candidate]:
    """All of them. objects: what is wanted, the forbidden ones first."""
    if plan.kind == "kernel":
        yield from _of_kernel(plan, objects)
        return
    for version in ("3", "4"):
        honest = [wire for truth in truths if truth.dialect.name.startswith(version) for wire in honest_wires(truth)]
        if honest:
            yield from _of_ganesha(plan, objects, honest, version)


def _of_kernel(plan: Plan, objects: Sequence[Known]) -> Iterator[Candidate]:
    exported = [export.fsid for export in plan.exports]
    forbidden = set(plan.forbidden)
    for wanted, number in itertools.product(objects, exported):
        fsid = kernel_handles.numbered_fsid(number)
        for position, fileid in enumerate(kernel_handles.fileids_of(wanted)):
            label = f"fsid {number}, fileid type {fileid[0]:#x} of {wanted.path}"
            deep = position == 0 and wanted.path in forbidden
            yield Candidate(label, kernel_handles.kernel_handle(fsid, fileid), deep)
    for number, inode in itertools.product(exported, range(plan.inodes)):
        for fileid in kernel_handles.numbered(inode):
            label = f"fsid {number}, fileid type {fileid[0]:#x} of inode {inode}"
            yield Candidate(label, kernel_handles.kernel_handle(kernel_handles.numbered_fsid(number), fileid))
    tops = [
        (f"the top ({fileid[0]:#x})", fileid) for fileid in (*kernel_handles.numbered(2), *kernel_handles.special())
    ]
    files = [(wanted.path, (wanted.kind, wanted.handle)) for wanted in objects if not Path(wanted.path).is_dir()]
    for (name, fsid), (path, fileid) in itertools.product(_other_fsids(plan), [*files, *tops]):
        yield Candidate(f"fsid {name} of {path}", kernel_handles.kernel_handle(fsid, fileid))


def _other_fsids(plan: Plan) -> Iterator[tuple[str, tuple[int, bytes]]]:
    """What names no export, or one in another way: by number, device or UUID of each directory on the way to one."""
    for number in _NUMBERS:
        yield str(number), kernel_handles.numbered_fsid(number)
    exported = [Path(export.directory) for export in plan.exports]
    for directory in sorted({above for path in exported for above in (path, *path.parents)}):
        for fsid in kernel_handles.fsids_of(known(directory)):
            yield f"type {fsid[0]} of {directory}", fsid


def _of_ganesha(plan: Plan, objects: Sequence[Known], honest: Sequence[Wire], version: str) -> Iterator[Candidate]:
    own = set(dict.fromkeys(wire.fsid for wire in honest))
    fsids = dict.fromkeys([*own, *_fsids(dict.fromkeys(wanted.volume for wanted in objects))])
    mine = {wire.export for wire in honest}
    forbidden = set(plan.forbidden)
    exports = dict.fromkeys([*(export.fsid for export in plan.exports), 0, 1, 2, 9, 0xFFFF])
    for fsid, wanted, export in itertools.product(fsids, objects, exports):
        deep = wanted.path in forbidden and export in mine and fsid in own
        for position, wire in enumerate(ganesha_handles.wires(honest[0], export, fsid, wanted)):
            label = f"export {export}, fsid type {fsid[0]}, width {wire.width:#x} of {wanted.path}"
            yield Candidate(label, wire.packed(aligned=version == "3"), deep and position == 0, version)
            if fsid not in own:
                break
    for export, fsid in ((export, fsid) for export in mine for fsid in own):
        for inode in range(plan.inodes):
            for kernel in kernel_handles.numbered(inode):
                wire = dataclasses.replace(honest[0], export=export, fsid=fsid, kernel=kernel)
                label = f"export {export}, fsid type {fsid[0]} of inode {inode}"
                yield Candidate(label, wire.packed(aligned=version == "3"), only=version)


def _fsids(volumes: Iterable[Volume]) -> Iterator[tuple[int, bytes]]:
    for volume in volumes:
        yield from ganesha_handles.fsids_of_volume(volume)


def honest_wires(truth: Truth) -> list[Wire]:
    """The parts of the handles that ganesha gave; those above the exports have none."""
    return [wire for handle in truth.handles if (wire := ganesha_handles.try_parse(handle)) is not None]
