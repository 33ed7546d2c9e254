"""mkinitcpio: what Arch's own hook does after a kernel is installed, with an exit status that somebody looks at.

The installer keeps pacman from running that hook, so that there is one image, made when everything that it holds is
in its final state; here its command runs with the kernel as its target: copy, preset, image.
"""

from __future__ import annotations

import posixpath
import re
import shlex

from builder.errors import AuditError, CommandError, DisklessError, InputError
from builder.generators.base import root_modules
from builder.generators.mkinitcpio import MKINITCPIO_DROP_IN, config_of, image_path, kernel_path, preset, preset_path
from builder.model.entry import TreeFile, TreeLink
from builder.model.text.suggestion import suggest
from builder.stages.context import Context

_HOOK = "/usr/share/libalpm/hooks/90-mkinitcpio-install.hook"
_INSTALL_HOOKS = ("/etc/initcpio/install", "/usr/lib/initcpio/install")
_FEED = 'printf "%s\\n" "$0" | "$@"'  # the hook's command reads its targets from standard input, alpm-hooks(5)
_FIRST_WITH_DROP_INS = 36
# the hooks udev and systemd of this release want the second too, which Arch's packages do not make; 41.1 does not
_PKGBASE = re.compile(r"[A-Za-z0-9@_+][A-Za-z0-9@._+-]*")  # PKGBUILD(5)
_HWDB, _SECOND_HWDB = "/usr/lib/udev/hwdb.bin", "/etc/udev/hwdb.bin"
_WANTS_SECOND_HWDB = "41"
_ERROR = re.compile(r"^==> ERROR: (.*)$")
_RUNNING = re.compile(r"^ +-> Running build hook: \[(.+)\]$")
_NO_HOOK = re.compile(r"Hook '([^']+)' cannot be found")
_NO_MODULE = re.compile(r"module not found: '([^']+)'")
_NO_FILE = re.compile(r"(?:file|binary) not found: '([^']+)'")


def make_image(context: Context, release: str, epoch: int) -> tuple[str, str]:
    """Makes the one image of the kernel and returns the paths of kernel and image in the tree.

    Raises InputError for what the recipe's initramfs names and the image lacks, CommandError for any other ERROR of
    mkinitcpio, which writes an image all the same.
    """
    pkgbase = _pkgbase(context, release)
    _check_programs(context)
    version = _version(context)
    _include_drop_in(context, version)
    _link_hwdb(context, version)
    context.tree.write(TreeFile(preset_path(pkgbase), preset(pkgbase).encode()))
    runner = context.sandbox.runner
    before = runner.position()
    try:
        context.sandbox.run(
            _command(context, release),
            chroot=context.workspace.tree,
            env={"SOURCE_DATE_EPOCH": str(epoch)},
            hint="the lines that begin with ==> ERROR name the cause",
        )
    except CommandError as error:
        raise _explain(context, runner.since(before), error) from error
    found = _errors(runner.since(before))
    if found:
        raise CommandError(
            f"mkinitcpio: {found[0]}", "no image is used that mkinitcpio had an error with", tuple(found)
        )
    images = context.tree.names("/boot", "initramfs-*.img")
    if images != [image_path(pkgbase).rpartition("/")[2]]:
        raise AuditError(f"/boot holds {', '.join(images) or 'no image'}", "exactly one initramfs was to be made")
    return kernel_path(pkgbase), image_path(pkgbase)


def _pkgbase(context: Context, release: str) -> str:
    """What the kernel's package is called; Arch's kernels say it in a file beside their modules."""
    content = context.tree.read(f"/usr/lib/modules/{release}/pkgbase")
    if content is None:
        raise AuditError(
            f"/usr/lib/modules/{release} has no pkgbase, so mkinitcpio's hook would not know the kernel",
            "use a kernel that is packaged as Arch's are",
        )
    name = content.decode("ascii", "replace").strip()
    if not _PKGBASE.fullmatch(name):
        raise AuditError(f"/usr/lib/modules/{release}/pkgbase is not the name of a package", "use another kernel")
    return name


def _version(context: Context) -> str:
    """As `mkinitcpio --version` says it, such as 41 or 39.2; empty where it says none."""
    said = context.sandbox.run(["mkinitcpio", "--version"], chroot=context.workspace.tree, capture=True)
    release = re.search(r"mkinitcpio\D*(\d[\d.]*)", said)
    return release[1] if release else ""


def _link_hwdb(context: Context, version: str) -> None:
    """Gives mkinitcpio 41 the file that it wants, here and in a client that makes its own image; updates reach it."""
    if version == _WANTS_SECOND_HWDB and context.tree.exists(_HWDB) and not context.tree.exists(_SECOND_HWDB):
        target = posixpath.relpath(_HWDB, posixpath.dirname(_SECOND_HWDB))
        context.tree.write(TreeLink(_SECOND_HWDB, target))


def _include_drop_in(context: Context, version: str) -> None:
    """Lets a mkinitcpio of before 2023, which knows no drop-ins, read ours at the end of its own configuration."""
    if not version or int(version.partition(".")[0]) >= _FIRST_WITH_DROP_INS:
        return
    config = context.tree.read("/etc/mkinitcpio.conf") or b""
    directory = posixpath.dirname(MKINITCPIO_DROP_IN)
    lines = [f". {directory}/{name}" for name in context.tree.names(directory, "diskless*.conf")]
    include = "\n".join(["\n# written by diskless: this mkinitcpio reads no drop-ins", *lines, ""])
    context.tree.write(TreeFile("/etc/mkinitcpio.conf", config.rstrip(b"\n") + include.encode()))


def _command(context: Context, release: str) -> list[str]:
    text = (context.tree.read(_HOOK) or b"").decode("utf-8", "replace")
    command = re.search(r"^Exec\s*=\s*(.+?)\s*$", text, re.MULTILINE)
    if command is None:
        raise AuditError(f"{_HOOK} is missing or runs nothing", "is it mkinitcpio that the packages bring?")
    return ["sh", "-c", _FEED, f"usr/lib/modules/{release}/vmlinuz", *shlex.split(command[1])]


def _errors(output: list[str]) -> list[str]:
    return [found[1] for line in output if (found := _ERROR.match(line))]


def _explain(context: Context, output: list[str], error: CommandError) -> DisklessError:
    for text in _errors(output):
        hook, module, file = (pattern.search(text) for pattern in (_NO_HOOK, _NO_MODULE, _NO_FILE))
        if hook:
            known = sorted({name for directory in _INSTALL_HOOKS for name in context.tree.names(directory)})
            hint = f"{suggest(hook[1], known, most=1)} known: {', '.join(known)}".lstrip()
            return InputError(f"initramfs.hooks: no package brings the hook {hook[1]}", hint)
        if module:
            return _missing_module(context, module[1], _hook_of(output, text))
        if file:
            return _missing_file(context, file[1], _hook_of(output, text))
    errors = _errors(output)
    if errors:
        error.message, error.details = f"mkinitcpio: {errors[0]}", tuple(errors)
    return error


def _missing_module(context: Context, name: str, hook: str) -> InputError:
    """The recipe's own fault where it names the module, else that of its root or of the hook which asked for it."""
    if name in context.recipe.initramfs.modules:
        return InputError(
            f"initramfs.modules: the kernel has no module {name}", f"correct it, or write {name}? if it may lack"
        )
    if name in root_modules(context.recipe.root):
        return InputError(f"packages: the kernel has no module {name}, which mounts its root", "choose another kernel")
    return InputError(f"initramfs.hooks: {hook} wants the module {name}, which the kernel has not", f"leave {hook} out")


def _missing_file(context: Context, name: str, hook: str) -> InputError:
    """The recipe's own fault where it names the file, else that of the hook which asked for it."""
    initramfs = config_of(context.recipe)
    if not hook or {name, f"/usr/bin/{name}"} & {*initramfs.binaries, *initramfs.files}:
        return InputError(
            f"initramfs: no package brings {name}", "correct binaries or files, or add the package that brings it"
        )
    return InputError(
        f"initramfs.hooks: {hook} wants {name}, which no package brings",
        f"add the package that brings it, or leave {hook} out of hooks",
    )


def _hook_of(output: list[str], error: str) -> str:
    """The hook that ran when the error was said; empty where none did any more."""
    hook = ""
    for line in output:
        if found := _RUNNING.match(line):
            hook = found[1]
        elif line == f"==> ERROR: {error}":
            return hook
    return hook


def _check_programs(context: Context) -> None:
    """Refuses what the build would only find out after minutes: programs of `binaries` that are not there."""
    initramfs = config_of(context.recipe)
    for name, paths in (("binaries", initramfs.binaries), ("files", initramfs.files)):
        for path in paths:
            if not context.tree.exists(path):
                raise InputError(f"initramfs.{name}: the image has no {path}", "add the package that brings it")
