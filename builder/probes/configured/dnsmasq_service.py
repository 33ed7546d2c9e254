"""With which command line a server's service starts dnsmasq.

Sources: systemd.service(5), systemd.exec(5), systemd.unit(5); Debian's /usr/share/dnsmasq/init-system-common, which
takes variables of /etc/default/dnsmasq.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.errors import HostError
from builder.probes.configured.directive import below, continued_lines, read_configuration

_DEFAULTS = "/etc/default/dnsmasq"
_OTHER_DEFAULTS = "/etc/conf.d/dnsmasq"  # of OpenRC
_UNIT = "dnsmasq.service"
# the first that has a unit has it whole; drop-ins of all are added, systemd.unit(5)
_UNIT_DIRECTORIES = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
# of Debian's service, in its order: how each variable becomes options; a list becomes one for each word
_VARIABLES = {
    "DNSMASQ_INTERFACE": "--interface=",
    "DNSMASQ_EXCEPT": "--except-interface=",
    "CONFIG_DIR": "--conf-dir=",
}


@dataclass(frozen=True)
class CommandLine:
    """Words of a command line, and the line of the file that has them."""

    file: str
    line: int
    words: tuple[str, ...]


@dataclass(frozen=True)
class _Variable:
    file: str
    line: int
    value: str


def service_command(prefix: Path) -> tuple[CommandLine, ...]:
    """The parts of the command line, in their order; none where no service is there or it names no option."""
    start = _exec_start(prefix)
    if start is None or "systemd-helper" in start.value or "/init.d/" in start.value:
        return tuple(_debian_command(_shell_variables(prefix, _DEFAULTS))) + tuple(
            _debian_command(_shell_variables(prefix, _OTHER_DEFAULTS))
        )
    variables = _environment(prefix)
    words: list[CommandLine] = []
    for word in _words(start.value, start.file)[1:]:
        found = re.fullmatch(r"\$\{?(\w+)\}?", word)
        if found is None:
            words.append(CommandLine(start.file, start.line, (_expanded(word, variables),)))
        elif found[1] in variables:
            one = variables[found[1]]
            words.append(CommandLine(one.file, one.line, tuple(_words(one.value, one.file))))
    return tuple(_joined(words))


def _debian_command(variables: Mapping[str, _Variable]) -> Iterator[CommandLine]:
    for name, option in _VARIABLES.items():
        if name in variables:
            one = variables[name]
            for word in one.value.split():
                yield CommandLine(one.file, one.line, (option + word,))
    if "DNSMASQ_OPTS" in variables:
        one = variables["DNSMASQ_OPTS"]
        yield CommandLine(one.file, one.line, tuple(_words(one.value, one.file)))


def _joined(parts: list[CommandLine]) -> Iterator[CommandLine]:
    """Neighbours from one line as one part: an option and its value may be two words."""
    held: CommandLine | None = None
    for part in parts:
        if held is not None and (held.file, held.line) == (part.file, part.line):
            held = CommandLine(held.file, held.line, held.words + part.words)
            continue
        if held is not None:
            yield held
        held = part
    if held is not None:
        yield held


def _exec_start(prefix: Path) -> _Variable | None:
    """The last ExecStart= of the unit and its drop-ins; None where there is no unit."""
    found = None
    for file, line, name, value in _unit_lines(prefix):
        if name == "ExecStart":
            found = _Variable(file, line, value.lstrip("@-:+!")) if value else None
    return found


def _environment(prefix: Path) -> dict[str, _Variable]:
    """Variables of the unit: those of its EnvironmentFile= win, systemd.exec(5)."""
    own: dict[str, _Variable] = {}
    of_files: dict[str, _Variable] = {}
    for file, line, name, value in _unit_lines(prefix):
        if name == "Environment":
            for word in _words(value, file):
                key, _, text = word.partition("=")
                own[key] = _Variable(file, line, text)
        elif name == "EnvironmentFile":
            of_files |= _shell_variables(prefix, value.lstrip("-"))
    return own | of_files


def _unit_lines(prefix: Path) -> Iterator[tuple[str, int, str, str]]:
    """File, line, name and value of all settings of the unit, a drop-in's after it."""
    files = [f"{directory}/{_UNIT}" for directory in _UNIT_DIRECTORIES]
    unit = next((path for path in files if below(prefix, path).is_file()), None)
    if unit is None:
        return
    drop_ins: dict[str, str] = {}
    for directory in reversed(_UNIT_DIRECTORIES):
        place = below(prefix, f"{directory}/{_UNIT}.d")
        names = [entry.name for entry in place.iterdir()] if place.is_dir() else []
        drop_ins |= {name: f"{directory}/{_UNIT}.d/{name}" for name in names if name.endswith(".conf")}
    for path in (unit, *(drop_ins[name] for name in sorted(drop_ins))):
        yield from _settings(path, read_configuration(prefix, path) or "")


def _settings(path: str, text: str) -> Iterator[tuple[str, int, str, str]]:
    for number, line in continued_lines(text):
        name, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith(("#", ";")):
            yield path, number, name.strip(), value.strip()


def _shell_variables(prefix: Path, path: str) -> dict[str, _Variable]:
    """What a file of plain assignments gives variables; a value may name others that come before it."""
    text = read_configuration(prefix, path)
    found: dict[str, _Variable] = {}
    for word in _words(text or "", path, comments=True):
        match = re.match(r"(\w+)(\+?)=", word)
        if match is None:
            continue
        lines = [
            number
            for number, line in enumerate((text or "").split("\n"), 1)
            if re.match(rf"[^#]*\b{re.escape(match[0])}", line)
        ]
        before = found[match[1]].value if match[2] and match[1] in found else ""
        value = before + _expanded(word[match.end() :], found)
        found[match[1]] = _Variable(path, max(lines, default=1), value)
    return found


def _expanded(text: str, variables: Mapping[str, _Variable]) -> str:
    def value(found: re.Match[str]) -> str:
        return variables[found[1]].value if found[1] in variables else ""

    return re.sub(r"\$\{?(\w+)\}?", value, text)


def _words(text: str, file: str, *, comments: bool = False) -> list[str]:
    try:
        return shlex.split(text, comments=comments)
    except ValueError as error:
        raise HostError(f"{file}: {error}", "a quotation mark is missing there: correct it") from error
