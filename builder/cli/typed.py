"""Commands in hints as they have to be typed here: with sudo, and by the path that this program was called by."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from builder.system.run import CLEAN_ENVIRONMENT

# who changes a store, or gives a guest its network
_ROOT = ("boot", "storage", "deploy", "rollback", "prune", "refresh", "adopt-kernel")
# who writes what the same user goes on with
_SAME = ("lock", "build", "shell")
_OTHERS = (
    *("init", "check", *_SAME, "diff", "sbom", "upload", "pull", "status", "verify", "server-config", "doctor"),
    *("schema", "completion"),
)
# not the end of a path or of a longer word; a sudo that is there already is replaced by what is needed
_COMMAND = re.compile(rf"(?<![\w./-])(?:sudo )?diskless (?=({'|'.join((*_ROOT, *_OTHERS))})\b)")


def as_typed(text: str, called: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """`text` with every command of this program as its user has to type it.

    called: the path by which the program was started, sys.argv[0]; environment: os.environ
    """
    environment = os.environ if environment is None else environment
    called = sys.argv[0] if called is None else called
    behind_sudo = os.geteuid() == 0 and environment.get("SUDO_UID", "0") != "0"
    ordinary = os.geteuid() != 0 or behind_sudo

    def type_it(found: re.Match[str]) -> str:
        sudo = (ordinary and found[1] in _ROOT) or (behind_sudo and found[1] in _SAME)
        # sudo(8) looks in a path of its own, where no virtual environment is
        path = CLEAN_ENVIRONMENT["PATH"] if sudo else environment.get("PATH", "")
        return f"{'sudo ' if sudo else ''}{_program(called, path)} "

    return _COMMAND.sub(type_it, text)


def _program(called: str, search_path: str) -> str:
    """Its bare name where that is found in `search_path`, otherwise a path that leads to it from here."""
    program = Path(called)
    if program.name != "diskless" or not program.exists():  # python -m
        return "diskless"
    found = shutil.which("diskless", path=search_path)
    if found is not None and Path(found).samefile(program):
        return "diskless"
    if program.is_absolute() and program.is_relative_to(Path.cwd()):
        return shlex.quote(str(program.relative_to(Path.cwd())))
    return shlex.quote(called)
