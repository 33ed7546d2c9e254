"""shell: look around in the tree of a failed build, or in a finished version, inside the sandbox."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from builder.archive.unpack import index_in, unpack_version
from builder.errors import InputError
from builder.model.artifacts.manifest import LOG
from builder.output.given import hold_version
from builder.output.places import hold_work
from builder.output.versions import find_version, manifest_in
from builder.progress.progress import Progress
from builder.system.files import make_directory
from builder.system.privileges.permissions import IMAGE, require_permissions
from builder.system.run import Runner, require_tools
from builder.system.sandbox.network import NetworkAccess, require_outside
from builder.system.sandbox.sandbox import TOOLS, Sandbox
from builder.system.tree import Tree
from builder.system.userns.ids import find_ids
from builder.system.userns.inside import call_inside
from builder.system.workspace import Workspace, kept_tree, open_workspace, remove_work, require_execution


def open_shell(target: str | None, command: Sequence[str], output: Path, progress: Progress, *, network: bool) -> int:
    """Runs `command`, or a shell, in the tree of `target` and returns its exit status.

    `target` is what --keep-failed left, or a version as find_version takes it. A version is unpacked into a directory
    of its own and lost afterwards; what is changed in a kept tree stays. Raises InputError, HostError or AuditError.
    """
    require_tools(TOOLS)
    require_execution(output)
    kept = None if target is None else kept_tree(Path(target))
    version = None if kept else find_version(target, output)
    ids = find_ids() if version is None else find_ids(owners_in(version))
    require_permissions(IMAGE, "a shell in an image", output, ids)
    if network:
        require_outside()
    work = hold_work(output, progress.note)
    with open_workspace(work, progress.note, progress.warn) as workspace, Runner(workspace.path / LOG) as runner:

        def run() -> int:
            workspace.move_in()
            tree = kept if kept else _unpacked(version, workspace, progress)
            writable = (workspace.inside, tree) if kept else (workspace.inside,)
            sandbox = Sandbox(runner, directory=workspace.view, writable=writable, temporary=workspace.temporary)
            progress.note(f"{'kept tree' if kept else 'a copy, which is lost at the end'}: {target or version}")
            environment = {"TERM": os.environ.get("TERM", "dumb"), "debian_chroot": "diskless"}
            reached = NetworkAccess.OUTSIDE if network else NetworkAccess.NONE
            return sandbox.attach(command or [_shell(tree)], chroot=tree, network=reached, env=environment)

        places = (workspace.path, *([kept] if kept else []), *([version] if version else []))
        return int(call_inside(ids, run, places))


def remove_kept(target: str) -> Path:
    """Removes what --keep-failed left; InputError where it is something else."""
    path = Path(target)
    if kept_tree(path) is None:
        raise InputError(f"{target} is not a tree that `diskless build --keep-failed` left", "its error named one")
    remove_work(path)
    return path


def owners_in(version: Path) -> set[int]:
    """The numbers of users and groups of a version's files."""
    with hold_version(version) as held:
        index = index_in(held)
    return {number for record in index.files for number in (record.uid, record.gid)}


def _unpacked(version: Path | None, workspace: Workspace, progress: Progress) -> Path:
    assert version is not None
    with hold_version(version) as held:
        manifest = manifest_in(held)
        with progress.step(f"unpack {manifest.image} {manifest.version}"):
            make_directory(workspace.tree, 0o755)
            unpack_version(held, workspace.tree, progress.tick)
    return workspace.tree


def _shell(tree: Path) -> str:
    """The image's best shell; where it has none the sandbox says so."""
    return "/bin/bash" if Tree(tree).exists("/bin/bash") else "/bin/sh"
