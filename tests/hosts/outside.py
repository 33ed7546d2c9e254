"""What a machine takes over from the one that it runs on, so that it reaches the same package mirrors."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

_VARIABLES = re.compile(
    r"(https?|ftp|all|no)_proxy|PIP_\w+|\w*(CERT|CA_BUNDLE|CA_PATH|CAINFO|CAFILE|CA_CERTS)\w*", re.I
)
_APT_SETTINGS = re.compile(r"Acquire::(https?|ftp|Retries|Check-Valid-Until|Check-Date|ForceIPv[46])\b", re.I)
ANCHORS = (Path("/usr/local/share/ca-certificates"), Path("/etc/ca-certificates/trust-source/anchors"))
_TRUST = Path("/etc/ssl")  # what update-ca-certificates(8) makes anew in the machine


@dataclass(frozen=True)
class Outside:
    """Settings of this machine.

    environment: proxies, pip's variables, certificate files; pip: the text of a pip.conf; apt: that of an apt.conf;
    paths: what of the file system the settings name
    """

    environment: Mapping[str, str]
    pip: str
    apt: str
    paths: tuple[Path, ...]

    def sources(self, release: str) -> list[str]:
        """Lines of a sources.list for a release, at the mirrors that this machine has; none: mmdebstrap's own."""
        return translate_sources(_sources(), _codename(), release)


def look_outside() -> Outside:
    """Reads the settings of this machine."""
    environment = chosen_variables(os.environ)
    pip = parse_pip(_output(sys.executable, "-m", "pip", "config", "list"))
    dump = _output("apt-config", "dump", "--no-empty") if shutil.which("apt-config") else ""
    apt = "".join(line + "\n" for line in dump.splitlines() if _APT_SETTINGS.match(line))
    values = [*environment.values(), *pip.values()]
    paths = tuple(path for path in named_paths(values) if path.exists() and not path.is_relative_to(_TRUST))
    return Outside(environment, render_pip(pip), apt, paths)


def chosen_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Those that say how to reach a mirror."""
    return {name: value for name, value in environment.items() if _VARIABLES.fullmatch(name)}


def parse_pip(listed: str) -> dict[str, str]:
    """`pip config list` by section.name; what is set by variables is left out, since they are handed on."""
    found = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        if not name.startswith(":env:"):
            found[name] = str(ast.literal_eval(value))
    return found


def render_pip(settings: Mapping[str, str]) -> str:
    """A pip.conf of the settings that `parse_pip` found."""
    sections: dict[str, str] = {}
    for name, value in settings.items():
        section, _, key = name.partition(".")
        lines = "\n    ".join(value.splitlines())
        sections[section] = sections.get(section, "") + f"{key} = {lines}\n"
    return "".join(f"[{section}]\n{text}" for section, text in sections.items())


def named_paths(values: Iterable[str]) -> list[Path]:
    """The absolute paths in the values of settings, and what is around the indexes at file: addresses."""
    found = []
    for word in (word for value in values for word in value.split()):
        if word.startswith("file:"):
            index = Path(unquote(urlsplit(word).path))
            found.append(index.parent if len(index.parents) > 1 else index)  # its links lead to files beside it
        elif word.startswith("/"):
            found.append(Path(word))
    return list(dict.fromkeys(found))


def translate_sources(lines: Iterable[str], ours: str, release: str) -> list[str]:
    """`URI SUITE COMPONENT` lines of our release as sources.list(5) lines of another; other archives are left out."""
    found = []
    for line in lines:
        uri, suite, component = line.split()
        if suite == ours or suite.startswith(f"{ours}-"):
            found.append(f"deb {uri} {release}{suite.removeprefix(ours)} {component}")
    return list(dict.fromkeys(found))


def _sources() -> list[str]:
    if not shutil.which("apt-get"):
        return []
    words = ("--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages")
    return _output("apt-get", "indextargets", *words).splitlines()


def _codename() -> str:
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    return next((line.partition("=")[2].strip('"') for line in lines if line.startswith("VERSION_CODENAME=")), "none")


def _output(*argv: str) -> str:
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, encoding="utf-8", stdin=subprocess.DEVNULL).stdout
