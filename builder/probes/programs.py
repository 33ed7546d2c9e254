"""Which programs are there, and of which version."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence

from builder.model.diagnostic import Diagnostic, Level, ok
from builder.system.run import CLEAN_ENVIRONMENT, Tool, install_hint

_SECONDS = 10
_VERSION = re.compile(r"\d+(?:\.\d+)+\S*|(?<=-V)\d+")
# all others know --version; None: it tells nobody
_OPTIONS = {"ip": "-V", "ganesha.nfsd": "-v", "rpcbind": None, "rpc.nfsd": None, "exportfs": None, "rpc.mountd": None}


def run_quietly(argv: Sequence[str], seconds: float = _SECONDS) -> tuple[int, str]:
    """Exit status and output of a program; a status of 127 and the reason where it does not run or does not end."""
    try:
        done = subprocess.run(
            argv,
            env=CLEAN_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return 127, f"{argv[0]} does not end"
    except OSError as error:
        return 127, f"{argv[0]}: {error.strerror}"
    return done.returncode, done.stdout.decode("utf-8", "replace")


def examine_tools(area: str, tools: Iterable[Tool], level: Level, purpose: str) -> list[Diagnostic]:
    """One finding a program; a missing one is as bad as `level`, and needed for `purpose`."""
    return [_examine(area, tool, level, purpose) for tool in {tool.name: tool for tool in tools}.values()]


def _examine(area: str, tool: Tool, level: Level, purpose: str) -> Diagnostic:
    path = tool.find()
    if path is None:
        return Diagnostic(area, tool.name, level, f"missing: {purpose}", install_hint([tool]))
    option = _OPTIONS.get(tool.name, "--version")
    found = _VERSION.search(run_quietly([path, option])[1]) if option else None
    return ok(area, tool.name, found[0].rstrip(",;)") if found else path)
