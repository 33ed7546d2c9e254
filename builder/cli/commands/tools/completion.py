"""`diskless completion SHELL`"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_DISKLESS_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a shell's completion of diskless commands.

    It completes commands, options, images and files.

    \b
    bash:  echo 'eval "$(diskless completion bash)"' >> ~/.bashrc
    zsh:   echo 'eval "$(diskless completion zsh)"' >> ~/.zshrc
    fish:  diskless completion fish > ~/.config/fish/completions/diskless.fish
    """  # noqa: D301 - click wants the character itself
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "diskless", VARIABLE).source())
