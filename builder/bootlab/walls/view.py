"""What the programs of a lab see: the host's programs, the lab's own files, and the directories that it serves."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.bootlab.settings import ACCOUNTS, DIRECTORIES, QEMU_USER, TEXTS


@dataclass(frozen=True)
class View:
    """The root directory of a lab's namespaces; inside/root.py makes it, and says what is always in it.

    served: directories by their own path, and whether programs may write to them
    files: texts by their path
    shared: files and directories of the host, as they are, for programs that the caller runs in the lab besides
    """

    served: Mapping[Path, bool] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    shared: tuple[Path, ...] = ()

    def plan(self) -> dict[str, Any]:
        """As process 1 is told it."""
        return {
            "programs": [path for path in _interpreter() if not Path(path).is_relative_to("/usr")],
            "served": [[str(path), writable] for path, writable in self.served.items()],
            "shared": [str(path) for path in self.shared],
            "files": {**TEXTS, **_accounts(), **self.files},
            "directories": {path: list(what) for path, what in DIRECTORIES.items()},
            "kvm": QEMU_USER.uid,
        }


def _interpreter() -> list[str]:
    """Where this Python lies, which may be a user's own: the web server is written in it."""
    return sorted({os.path.realpath(path) for path in (sys.base_prefix, sys.base_exec_prefix)})


def interpreter_command() -> list[str]:
    """Begins a command that runs this Python in the lab, without any library but its own."""
    return [os.path.realpath(sys.executable), "-I", "-S", "-u"]


def _accounts() -> dict[str, str]:
    """The lab's users, by the names that programs ask for."""
    users = [f"{name}:x:{uid}:{uid}:{name}:/:/bin/sh\n" for name, uid in ACCOUNTS.items()]
    groups = [f"{name}:x:{uid}:\n" for name, uid in ACCOUNTS.items()]
    return {"/etc/passwd": "".join(users), "/etc/group": "".join(groups)}
