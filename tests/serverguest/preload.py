#!/usr/bin/python3 -P
"""Runs commands without the start of Python, which under emulation takes longer than a deploy: it forks for each.

A command's words come from the pipe ORDERS; its output goes to the pipe ANSWERS and its exit status to STATUS.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import shlex
import sys
import traceback
from pathlib import Path

from builder.cli.commands.store.deploy import deploy
from builder.cli.commands.store.prune import prune

_COMMANDS = {"deploy": deploy, "prune": prune}
_DIRECTORY = Path("/run/preload")
_LOOK = "/usr/local/sbin/look-at-store"


def run(words: list[str]) -> None:
    """A command as its program would run it, but for the form of its errors."""
    answers = os.open(_DIRECTORY / "answers", os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(answers, stream)
    os.close(answers)
    sys.argv = words
    if words[0] == "diskless":
        _COMMANDS[words[1]].main(words[2:], standalone_mode=False)
    else:
        runpy.run_path(_LOOK, run_name="__main__")


def main() -> None:
    _DIRECTORY.mkdir()
    for name in ("orders", "answers", "status"):
        os.mkfifo(_DIRECTORY / name)
    while True:
        words = shlex.split((_DIRECTORY / "orders").read_text("utf-8"))
        child = os.fork()
        if child == 0:
            status = 1
            try:
                run(words)
                status = 0
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        _, ended = os.waitpid(child, 0)
        with contextlib.suppress(BrokenPipeError):
            (_DIRECTORY / "status").write_text(f"{os.waitstatus_to_exitcode(ended)}\n", "ascii")


main()
