"""`diskless init [DIRECTORY]`"""

from __future__ import annotations

import contextlib
import ipaddress
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import click

from builder.cli.typed import as_typed
from builder.distributions.table import DISTRIBUTIONS
from builder.errors import InputError
from builder.model.recipe import DistributionName, RootMode
from builder.model.syntax import IMAGE_NAME
from builder.render.documents.starter import Answers, address_range
from builder.starter import SUITE, Surroundings, look_around, read_ssh_key, refuse_other_site, write_start
from builder.system.network import interface_address

T = TypeVar("T")


@click.command()
@click.argument("directory", required=False, default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option("--distribution", type=click.Choice([name.value for name in DistributionName]), help="What to install.")
@click.option("--image", metavar="NAME", help="What the image is called.")
@click.option("--mode", type=click.Choice([mode.value for mode in RootMode]), help="How clients use their root.")
@click.option("--interface", metavar="NAME", help="This server's network card that the clients are on.")
@click.option("--server", metavar="ADDRESS", help="This server's address there.")
@click.option("--subnet", metavar="SUBNET", help="The clients' network, e.g. 192.168.1.0/24.")
@click.option("--dhcp/--no-dhcp", default=None, help="Whether this server gives addresses to clients.")
@click.option("--ssh-key", type=click.Path(path_type=Path, dir_okay=False), help="A public key for root.")
@click.option("-y", "--yes", is_flag=True, help="Ask nothing: take what was found on this host.")
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
def init(
    directory: Path,
    distribution: str | None,
    image: str | None,
    mode: str | None,
    interface: str | None,
    server: str | None,
    subnet: str | None,
    dhcp: bool | None,
    ssh_key: Path | None,
    yes: bool,
    force: bool,
) -> None:
    """Write a first recipe and a site.yml into DIRECTORY.

    They fit this host's distribution and network. Asks for what no option says, with what was found here as the answer.
    """
    refuse_other_site(directory, force=force)
    found = look_around()
    ask = _Asker(yes)
    name = DistributionName(distribution or ask("Distribution", _known(found), _distribution))
    keys = DISTRIBUTIONS[name].first_keys
    called = image or ask("Name of the image", "lab", _image)
    shared = RootMode(mode or ask("Root: shared by many (overlay), or written to by one (rw)", "overlay", _mode))
    card = interface or ask("Network card of the clients' network", found.interface or "eth0", str)
    address = _server(ask, found, card, server, subnet)
    router = found.router if found.router and ipaddress.ip_address(found.router) in address.network else None
    free = address_range(address, (router,) if router else ())
    gives = dhcp if dhcp is not None else ask.yes_or_no("Does this server give out addresses (DHCP)?", default=False)
    answers = Answers(
        distribution=name,
        image=_image(called),
        mode=shared,
        server=address,
        suite=(found.suite or SUITE) if "suite" in keys else None,
        mirrorlist=found.mirrorlist if "mirrorlist" in keys else None,
        interface=card,
        router=router,
        nameservers=found.nameservers or ((router,) if router else ()),
        dhcp=free if gives else None,
        ssh_key=_ssh_key(ask, found, ssh_key),
    )
    if gives and free is None:
        raise InputError(f"{address.network} has no room for clients' addresses", "--no-dhcp, or another --subnet")
    recipe, site = write_start(directory, answers, force=force)
    click.echo(f"{recipe}\n{site}")
    hint = "" if answers.ssh_key else f"Nobody can log in yet: put your public ssh key into {recipe}.\n"
    click.echo(as_typed(f"{hint}next: diskless build {shlex.quote(str(recipe))}"), err=True)
    click.echo(f"before a deploy to DIR: cp {shlex.quote(str(site))} DIR/", err=True)


class _Asker:
    """Asks on standard error; with --yes it takes every default."""

    def __init__(self, yes: bool) -> None:
        self._yes = yes

    def __call__(self, question: str, default: str, convert: Callable[[str], T]) -> T:
        if self._yes:
            return convert(default)
        with _answered():
            return click.prompt(question, default=default, value_proc=_prompted(convert), err=True)

    def yes_or_no(self, question: str, *, default: bool) -> bool:
        with _answered():
            return default if self._yes else click.confirm(question, default=default, err=True)


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    """The end of the input is not an interruption: nobody is there to ask."""
    try:
        yield
    except click.Abort as error:
        if sys.stdin.isatty():
            raise
        raise InputError(
            "there is nobody to ask", "--yes takes what is found on this host; options say the rest"
        ) from error


def _prompted(convert: Callable[[str], T]) -> Callable[[str], T]:
    """As click wants it: a wrong answer is said to be wrong, and asked for again."""

    def converted(text: str) -> T:
        try:
            return convert(text)
        except InputError as error:
            raise click.UsageError(f"{error.message}: {error.hint}") from error

    return converted


def _known(found: Surroundings) -> str:
    return (found.distribution or DistributionName.DEBIAN).value


def _distribution(text: str) -> str:
    if text not in list(DistributionName):
        raise InputError(f"{text!r} is not a distribution", f"one of {', '.join(DistributionName)}")
    return text


def _mode(text: str) -> str:
    if text not in list(RootMode):
        raise InputError(f"{text!r} is not a mode", f"one of {', '.join(RootMode)}")
    return text


def _image(text: str) -> str:
    if not IMAGE_NAME.accepts(text):
        raise InputError(f"{text!r} is not an image name", f"small letters, digits and -, like {IMAGE_NAME.example}")
    return text


def _server(
    ask: _Asker, found: Surroundings, card: str, server: str | None, subnet: str | None
) -> ipaddress.IPv4Interface:
    """The server's address with its prefix, from the options, the network card, or the dialogue."""
    own = found.server if card == found.interface else interface_address(card)
    given = server or ask("This server's address there", str(own.ip) if own else "192.168.1.1", str)
    address = _parse(f"{given}/32", "--server").ip
    near = own if own is not None and address in own.network else None
    proposed = near.network if near else _parse(f"{address}/24", "--server").network
    network = _parse(subnet or ask("The clients' network", str(proposed), str), "--subnet").network
    if address not in network:
        raise InputError(f"the server's address {address} is not in {network}", "correct --server or --subnet")
    return ipaddress.IPv4Interface(f"{address}/{network.prefixlen}")


def _parse(text: str, option: str) -> ipaddress.IPv4Interface:
    try:
        return ipaddress.IPv4Interface(text)
    except ValueError as error:
        raise InputError(f"{option}: {error}", "give an IPv4 address, such as 192.168.1.1") from error


def _ssh_key(ask: _Asker, found: Surroundings, given: Path | None) -> str | None:
    if given is not None:
        return read_ssh_key(given)
    default = str(found.ssh_keys[0]) if found.ssh_keys else "none"
    chosen = ask("Public ssh key for root (none: nobody can log in)", default, str)
    return None if chosen == "none" else read_ssh_key(Path(chosen).expanduser())
