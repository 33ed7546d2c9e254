"""The command `diskless`: prints errors with their hints, and nothing else than errors as errors."""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib
import importlib.util
import locale
import os
import signal
import sys
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from builder.cli.failures import explain_failure
from builder.errors import DisklessError, HostError
from builder.model.text.escapes import escaped

_PACKAGE = "builder.cli.commands"
_IMAGE = ("init", "check", "lock", "build", "boot", "shell", "diff", "sbom", "upload", "pull")
_STORE = (
    *("storage", "deploy", "rollback", "status", "prune", "verify", "refresh", "adopt-kernel", "server-config"),
    "media",
)
_TOOLS = ("doctor", "schema", "completion")
# the room of each, in the order of a first day
COMMANDS = {**dict.fromkeys(_IMAGE, "image"), **dict.fromkeys(_STORE, "store"), **dict.fromkeys(_TOOLS, "tools")}


class Ordered(click.Group):
    """Commands in the order of a first day."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return list(COMMANDS)


class Commands(Ordered):
    """The commands; each is imported when it is asked for, so that the others cost no time."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does it, from what their modules say, and without importing them."""
        Ordered(commands={name: described(name) for name in COMMANDS}).format_commands(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The same."""
        names = [name for name in COMMANDS if name.startswith(incomplete)]
        found = [CompletionItem(name, help=described(name).get_short_help_str()) for name in names]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, from the module of its name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(_module_of(cmd_name)), _function_of(cmd_name))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with a suggestion for a name that is mistyped."""
        near = difflib.get_close_matches(args[0], COMMANDS, n=1)
        if near and args[0] not in COMMANDS:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)


def described(name: str) -> click.Command:
    """A command that has nothing but its help."""
    function = _function_of(name)
    spec = importlib.util.find_spec(_module_of(name))
    assert spec is not None
    assert spec.origin is not None
    for node in ast.parse(Path(spec.origin).read_bytes()).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return click.Command(name, help=ast.get_docstring(node))
    raise LookupError(name)


def _module_of(name: str) -> str:
    return f"{_PACKAGE}.{COMMANDS[name]}.{_function_of(name)}"


def _function_of(name: str) -> str:
    return name.replace("-", "_")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="diskless", prog_name="diskless")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Builds images for machines without disks, boots them, and moves them to where they are served."""
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8":
        raise HostError(f"names of files in images are UTF-8, and {encoding} in this locale", "export LC_ALL=C.UTF-8")


def main() -> None:
    """Entry point of the console script; every failure ends with a message and an exit status of its kind."""
    os.umask(0o027)  # what others are to read gets its mode where it is made
    # libarchive takes paths through the C library's locale, which LC_ALL=C makes one of ASCII; Python's is UTF-8 there
    with contextlib.suppress(locale.Error):
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # an orderly end, like Ctrl-C
    try:
        cli.main(prog_name="diskless", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, Exception) and "--debug" in sys.argv[1:]:
            raise
        _report(explain_failure(error))


def _report(error: DisklessError) -> None:
    lines = [f"  {line}" for line in error.details]
    lines.append(f"error: {f'{error.phase}: ' if error.phase else ''}{error.message}")
    lines += [f"hint: {error.hint}"] if error.hint else []
    for line in lines:
        click.echo(escaped(line, keep="\n\t"), err=True)
    sys.exit(error.exit_code)
