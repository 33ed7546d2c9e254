"""updates: what systemd does at boot after /usr has changed is done here, once, and the image says so.

Without /etc/.updated and /var/.updated, as new as /usr, every unit with ConditionNeedsUpdate= would run whenever a
client with an overlay boots. Sources: systemd-update-done.service(8); ConditionNeedsUpdate= in systemd.unit(5).
"""

from __future__ import annotations

import posixpath
import re

from builder.inits.base import Init
from builder.inits.table import init_of
from builder.model.entry import TreeFile
from builder.stages.context import Context
from builder.stages.parts.services import read_service, service_names
from builder.system.tree import Tree

_TEXT = """\
# Written by the build: everything that systemd updates when /usr has changed is up to date.
# See systemd-update-done.service(8).
TIMESTAMP_NSEC={epoch}000000000
"""
_CONDITION = re.compile(r"^ConditionNeedsUpdate\s*=", re.M)
_PROGRAM = re.compile(r"^Exec\w+\s*=[ \t@:+!|-]*(\S+)", re.M)
_STAMPING = "systemd-update-done"
# what such units run, by the program; the hardware database besides only as _needs_hwdb says
_COMMANDS = {
    "ldconfig": ("ldconfig", "-X"),
    "systemd-sysusers": ("systemd-sysusers",),
    "journalctl": ("journalctl", "--update-catalog"),
    "systemd-hwdb": ("systemd-hwdb", "update"),
}


def run(context: Context, epoch: int) -> None:
    """Runs what the image's units with ConditionNeedsUpdate= would run, and writes both stamps.

    Where a unit runs a program that is not known here there are no stamps: each boot then runs all of them.
    """
    init = init_of(context.recipe)
    if not init.update_stamps:
        return
    wanted = needed_programs(context.tree, init)
    unknown = {name: programs - {_STAMPING, *_COMMANDS} for name, programs in wanted.items()}
    for name, programs in unknown.items():
        if programs:
            what = f"{name} runs {', '.join(sorted(programs))} at every boot of a shared root, and with it"
            context.progress.warn(f"{what} all that systemd updates: system.masked can name it")
    if any(unknown.values()):
        return
    with context.progress.step("updates"):
        for program, command in _COMMANDS.items():
            if any(program in programs for programs in wanted.values()) and _applies(context.tree, program):
                context.sandbox.run(command, chroot=context.workspace.tree, env={"SOURCE_DATE_EPOCH": str(epoch)})
        _write_stamps(context, init, epoch)


def needed_programs(tree: Tree, init: Init) -> dict[str, set[str]]:
    """The programs of every unit that runs when /etc or /var is older than /usr; masked ones are left out."""
    texts = {name: read_service(tree, init, name) for name in service_names(tree, init, "*.service")}
    return {
        name: {posixpath.basename(program) for program in _PROGRAM.findall(text)}
        for name, text in texts.items()
        if _CONDITION.search(text)
    }


def _applies(tree: Tree, program: str) -> bool:
    """Whether it has anything to do: systemd-hwdb-update.service leaves a database of packages alone."""
    if program != "systemd-hwdb":
        return True
    built = tree.exists("/usr/lib/udev/hwdb.bin") or tree.exists("/lib/udev/hwdb.bin")
    return not built or tree.exists("/etc/udev/hwdb.bin") or bool(tree.names("/etc/udev/hwdb.d"))


def _write_stamps(context: Context, init: Init, epoch: int) -> None:
    """Their time is compared with /usr's; in an image both are the epoch, the latest time there is."""
    own = {file.path for file in context.recipe.files}
    for path in init.update_stamps:
        if path not in own:
            context.tree.write(TreeFile(path, _TEXT.format(epoch=epoch).encode()))
