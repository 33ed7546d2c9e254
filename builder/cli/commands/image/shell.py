"""`diskless shell [VERSION | IMAGE | KEPT] [-- COMMAND...]`"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from builder.cli.options import complete_version, output_option
from builder.cli.reporting import reports_progress
from builder.progress.progress import Progress
from builder.shell import open_shell, remove_kept

_COMMAND = "builder.cli.commands.image.shell.command"


class _CommandAfterDashes(click.Command):
    """Takes what follows `--` as it is: without it, a command could not be told from the target."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta[_COMMAND] = tuple(args[at + 1 :])
            args = args[:at]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]"]


@click.command(cls=_CommandAfterDashes)
@click.argument("target", metavar="[VERSION | IMAGE | KEPT]", required=False, shell_complete=complete_version)
@output_option
@click.option("--network", is_flag=True, help="Reach the network, but not this host.")
@click.option("--remove", is_flag=True, help="Remove KEPT.")
@reports_progress
def shell(target: str | None, output: Path, network: bool, remove: bool, progress: Progress) -> None:
    """Open a shell in an image, or run COMMAND there.

    It runs in the sandbox that images are built in.

    VERSION is a directory such as output/IMAGE/latest, IMAGE one below OUTPUT; left out, it is the only image there.
    Of those it is a copy: what is changed is lost. KEPT is what `diskless build --keep-failed` left, which changes.
    Ends with the command's exit status.
    """
    if remove:
        if target is None:
            raise click.UsageError("--remove needs the directory that --keep-failed left")
        progress.note(f"removed: {remove_kept(target)}")
        return
    command = click.get_current_context().meta.get(_COMMAND, ())
    sys.exit(open_shell(target, command, output, progress, network=network))
