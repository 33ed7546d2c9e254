"""init: the first recipe and site file, for what this host and its network look like."""

from __future__ import annotations

import ipaddress
import os
import pwd
import re
from dataclasses import dataclass
from pathlib import Path

from builder.checks.site import site_contradictions
from builder.errors import InputError
from builder.model.recipe import DistributionName
from builder.model.site import Site
from builder.model.syntax import INTERFACE_NAME
from builder.render.documents.schema import json_schema
from builder.render.documents.starter import Answers, recipe_text, site_text
from builder.system.files import write_atomic
from builder.system.host import debian_suite, host_family, os_release
from builder.system.network import default_route, interface_address, nameservers

SITE = "site.yml"
SUITE = "bookworm"  # for hosts that are not Debian
_MIRRORLIST = Path("/etc/pacman.d/mirrorlist")
_KEY = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/]+=*( [^\x00-\x1f\x7f]*)?")


@dataclass(frozen=True)
class Surroundings:
    """What was found on this host; None or empty where nothing was."""

    distribution: DistributionName | None
    suite: str | None
    mirrorlist: str | None
    interface: str | None
    server: ipaddress.IPv4Interface | None
    router: str | None
    nameservers: tuple[str, ...]
    ssh_keys: tuple[Path, ...]


def look_around() -> Surroundings:
    """Looks at os-release, the default route, resolv.conf and the user's ssh keys.

    A derivative of Arch Linux has mirrors of its own, which have other packages than Arch's.
    """
    family = host_family()
    route = default_route()
    return Surroundings(
        distribution=DistributionName(family) if family else None,
        suite=debian_suite(),
        mirrorlist=str(_MIRRORLIST) if os_release().get("ID") == "arch" and _MIRRORLIST.is_file() else None,
        interface=route.interface if route else None,
        server=interface_address(route.interface) if route else None,
        router=str(route.gateway) if route and route.gateway else None,
        nameservers=nameservers(),
        ssh_keys=tuple(sorted((_home() / ".ssh").glob("*.pub"))),
    )


def read_ssh_key(path: Path) -> str:
    """The public key in a file; InputError where it holds none, or a private one."""
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}", "give a public key, such as ~/.ssh/id_ed25519.pub") from error
    if not _KEY.fullmatch(text):
        raise InputError(f"{path} is not a public ssh key", "give the file that ends in .pub; `ssh-keygen` makes one")
    return text


def refuse_other_site(directory: Path, *, force: bool) -> None:
    """InputError where a site file is there, unless `force`: before anything is asked."""
    if os.path.lexists(directory / SITE) and not force:
        raise InputError(f"there already: {directory / SITE}", "choose another directory, or --force")


def write_start(directory: Path, answers: Answers, *, force: bool) -> tuple[Path, Path]:
    """Writes IMAGE.yml and site.yml and returns their paths; InputError where one is there, unless `force`.

    InputError, too, for answers that make no site. What editors need comes beside them, where it is missing.
    """
    _check(answers)
    texts = {directory / f"{answers.image}.yml": recipe_text(answers), directory / SITE: site_text(answers)}
    there = [str(path) for path in texts if os.path.lexists(path)]
    if there and not force:
        raise InputError(f"there already: {', '.join(there)}", "choose another directory or --image, or --force")
    directory.mkdir(parents=True, exist_ok=True)
    schema = directory / "recipe.schema.json"
    if not os.path.lexists(schema):
        write_atomic(schema, json_schema("recipe").encode(), 0o644)
    for path, text in texts.items():
        write_atomic(path, text.encode(), 0o644)
    recipe, site = texts
    return recipe, site


def _check(answers: Answers) -> None:
    if f"{answers.image}.yml" == SITE:
        raise InputError(f"an image's recipe cannot be {SITE}: that is the site's", "choose another --image")
    if answers.interface is not None and not INTERFACE_NAME.accepts(answers.interface):
        hint = INTERFACE_NAME.hint(answers.interface)
        raise InputError(f"{answers.interface!r} is not {INTERFACE_NAME.one}", hint)
    site = Site(
        server=str(answers.server.ip),
        subnet=str(answers.server.network),
        interface=answers.interface,
        router=answers.router,
        nameservers=answers.nameservers,
    )
    for fault in site_contradictions(site):
        raise InputError(fault.message, fault.hint)


def _home() -> Path:
    """The home of who typed the command, also behind sudo."""
    user = os.environ.get("SUDO_USER")
    try:
        return Path(pwd.getpwnam(user).pw_dir) if user else Path.home()
    except (KeyError, RuntimeError):
        return Path("/nonexistent")
