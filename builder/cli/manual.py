"""The manual page docs/diskless.1, man(7), made from the commands: `python -m builder.cli.manual`."""

from __future__ import annotations

import inspect
import re
import sys

import click

from builder.cli.main import cli
from builder.errors import DisklessError

_HEAD = """\
.\\" Made from the commands by `make docs`; do not edit.
.TH DISKLESS 1 {date} diskless "User Commands"
.SH NAME
diskless \\- build, boot and deploy images for machines without disks
.SH SYNOPSIS
.B diskless
.RI [ OPTIONS ]
.I COMMAND
.RI [ ARGUMENTS ]
.SH DESCRIPTION
A recipe (YAML) goes in; a versioned root file system and a boot bundle come out.
They are booted in a virtual machine before any machine of yours sees them, and put on a server by one rename.
"""
_DATE = "2026-11-25"  # when the page's own texts were last changed
_TAIL = """\
.SH ENVIRONMENT
.TP
.B DISKLESS_CACHE
Where downloaded packages are kept, instead of /var/cache/diskless.
.TP
.B NO_COLOR
No colours, if it is set and not empty.
.TP
.B TERM
Where it is dumb, plain lines are written, as to a file.
.TP
.B SOURCE_DATE_EPOCH
Seconds since 1970: no file of an image is younger. Left out: when the newest package was built.
.TP
.BR http_proxy ", " https_proxy ", " no_proxy
Ways to the package mirrors.
.SH EXAMPLES
.nf
diskless init lab
diskless build lab/debian\\-nfs.yml
diskless boot output/debian\\-nfs/latest
diskless deploy debian\\-nfs \\-\\-to /disklessroot
diskless doctor \\-\\-to /disklessroot
.fi
.SH SEE ALSO
The references of recipes, site files and events: docs/recipe.md, docs/site.md, docs/events.md.
.PP
.BR mmdebstrap (1),
.BR pacman (8),
.BR dnsmasq (8),
.BR exports (5),
.BR qemu-system-x86_64 (1)
"""


def manual_page() -> str:
    """The whole page."""
    context = click.Context(cli, info_name="diskless", **cli.context_settings)
    parts = [_HEAD.format(date=_DATE), ".SH OPTIONS\n", *_options(cli, context), ".SH COMMANDS\n"]
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        if command is not None:
            parts += _command(command, context)
    return "".join([*parts, _statuses(), _TAIL])


def _command(command: click.Command, parent: click.Context) -> list[str]:
    context = click.Context(command, parent=parent, info_name=command.name)
    usage = " ".join(command.collect_usage_pieces(context))
    paragraphs = [_paragraph(text) for text in re.split(r"\n\n+", inspect.cleandoc(command.help or ""))]
    return [f".SS {_text(f'diskless {command.name} {usage}')}\n", ".PP\n".join(paragraphs), *_options(command, context)]


def _paragraph(text: str) -> str:
    if text.startswith("\b"):  # click's mark for lines that stay as they are
        return f".nf\n{_lines(text[1:])}.fi\n"
    return _lines(" ".join(text.split()))


def _options(command: click.Command, context: click.Context) -> list[str]:
    options = (option for option in command.get_params(context) if isinstance(option, click.Option))
    records = [record for option in options if (record := option.get_help_record(context))]
    return [f".TP\n.B {_text(name)}\n{_lines(' '.join(help.split()))}" for name, help in records]


def _statuses() -> str:
    kinds = [kind for kind in DisklessError.__subclasses__() if kind.__module__ == DisklessError.__module__]
    kinds.sort(key=lambda kind: kind.exit_code)
    listed = [(0, "Success."), *((kind.exit_code, inspect.cleandoc(kind.__doc__ or "")) for kind in kinds)]
    more = [(70, "An error of diskless itself."), (130, "Interrupted.")]
    return ".SH EXIT STATUS\n" + "".join(f".TP\n.B {code}\n{_lines(doc)}" for code, doc in [*listed, *more])


def _lines(text: str) -> str:
    return "".join(f"{_text(line)}\n" for line in text.splitlines() if line.strip())


def _text(text: str) -> str:
    """Text that roff(7) takes for nothing else; a line must not begin with a dot or a quote."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    sys.stdout.write(manual_page())
