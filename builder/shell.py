"""shell: look around in the tree of a failed build, or in a finished version, inside the sandbox."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from builder.archive.unpack import unpack_version
from builder.errors import HostError
from builder.model.artifacts.manifest import LOG
from builder.output.given import hold_version
from builder.output.places import hold_work
from builder.output.versions import find_version, manifest_in
from builder.progress.progress import Progress
from builder.system.files import make_directory
from builder.system.permissions import IMAGE, require_permissions
from builder.system.run import Runner, require_tools
from builder.system.sandbox import TOOLS, Sandbox
from builder.system.tree import Tree
from builder.system.workspace import Workspace, kept_tree, open_workspace


def open_shell(target: str | None, command: Sequence[str], output: Path, progress: Progress, *, network: bool) -> int:
    """Runs `command`, or a shell, in the tree of `target` and returns its exit status.

    `target` is what --keep-failed left, or a version as find_version takes it. A version is unpacked into a directory
    of its own and lost afterwards; what is changed in a kept tree stays. Raises InputError, HostError or AuditError.
    """
    if os.geteuid() != 0:
        raise HostError("entering a tree needs root: it has other owners and mounts of its own", "run it with sudo")
    require_tools(TOOLS)
    require_permissions(IMAGE, "a shell in an image", output)
    kept = None if target is None else kept_tree(Path(target))
    version = None if kept else find_version(target, output)
    work = hold_work(output, progress.note)
    with open_workspace(work, progress.note) as workspace, Runner(workspace.path / LOG) as runner:
        tree = kept if kept else _unpacked(version, workspace, progress)
        writable = (workspace.path, tree) if kept else (workspace.path,)
        sandbox = Sandbox(runner, directory=workspace.view, writable=writable, temporary=workspace.temporary)
        progress.note(f"{'kept tree' if kept else 'a copy, which is lost at the end'}: {target or version}")
        environment = {"TERM": os.environ.get("TERM", "dumb"), "debian_chroot": "diskless"}
        return sandbox.attach(command or [_shell(tree)], chroot=tree, network=network, env=environment)


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
