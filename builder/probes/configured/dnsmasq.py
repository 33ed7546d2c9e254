"""dnsmasq's configuration, as its service starts it.

Read are the command line, which Debian's service makes of /etc/default/dnsmasq, then dnsmasq.conf or what stands in its
place, and whatever those name: conf-file, conf-dir with its suffixes, and the lists of hosts and options.

Sources: dnsmasq(8); read_file, one_file and read_opts of its option.c (2.90); Debian's
/usr/share/dnsmasq/init-system-common and systemd-helper.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from builder.probes.configured.directive import Directive, below, read_configuration
from builder.probes.configured.dnsmasq_service import CommandLine, service_command
from builder.render.server.comments import store_in_heading
from builder.render.server.dnsmasq import DNSMASQ_DIRECTORY

_MAIN = "/etc/dnsmasq.conf"
# of those that begin with a letter or digit alone: the ones that are looked at, and which of all take a value
_SHORT = {
    "C": "conf-file", "7": "conf-dir", "i": "interface", "I": "except-interface", "a": "listen-address", "p": "port",
    "z": "bind-interfaces", "F": "dhcp-range", "G": "dhcp-host", "O": "dhcp-option", "M": "dhcp-boot",
    "X": "dhcp-lease-max", "U": "dhcp-vendorclass", "j": "dhcp-userclass", "J": "dhcp-ignore", "2": "no-dhcp-interface",
    "4": "dhcp-mac", "Z": "read-ethers", "K": "dhcp-authoritative",
}  # fmt: skip
_SHORT_WITH_VALUE = "rmpclsituga xSCATHQIBFGOMXVUjPJWY24678031".replace(" ", "")
# names of one option
_SAME = {"tftp-prefix": "tftp-root", "no-dhcpv4-interface": "no-dhcp-interface", "dhcp-optsdir": "dhcp-optsfile"}
# lists in files of their own: what each of their lines is
_LISTS = {"dhcp-hostsfile": "dhcp-host", "dhcp-hostsdir": "dhcp-host", "dhcp-optsfile": "dhcp-option"}
_ETHERS = "/etc/ethers"
# between quotation marks these mean nothing; until a value is split they are characters of no language
_META = ",:.#"
_HIDDEN = {character: chr(0xE000 + number) for number, character in enumerate(_META)}
_SHOWN = str.maketrans({hidden: character for character, hidden in _HIDDEN.items()})
_ESCAPES = {"t": "\t", "n": "\n", "b": "\b", "r": "\r", "e": "\x1b", '"': '"', "\\": "\\"}


@dataclass(frozen=True)
class ReadDirectory:
    """A directory whose files dnsmasq reads: only those with one of `wanted` suffixes, if any, none of `unwanted`."""

    path: str
    wanted: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()

    def takes(self, name: str) -> bool:
        """Whether a file of this name is read."""
        if name.startswith(".") or name.endswith("~") or (name.startswith("#") and name.endswith("#")):
            return False
        if self.wanted and not any(_ends(name, suffix) for suffix in self.wanted):
            return False
        return not any(_ends(name, suffix) for suffix in self.unwanted)


@dataclass(frozen=True)
class DnsmasqConfiguration:
    """All that dnsmasq is told, in the order in which it takes it.

    directories: those that are read for further files
    files: what was read
    stores: the store that a file is of, of those that this program wrote
    """

    directives: tuple[Directive, ...] = ()
    directories: tuple[ReadDirectory, ...] = ()
    files: tuple[str, ...] = ()
    stores: Mapping[str, str] = field(default_factory=dict)

    def named(self, *names: str) -> tuple[Directive, ...]:
        """What some options are given."""
        return tuple(one for one in self.directives if one.name in names)

    def reads(self, path: str) -> bool:
        """Whether dnsmasq would read a file here."""
        name = PurePosixPath(path)
        named = {unquoted(one.value) for one in self.named("conf-file")}
        return (
            path in self.files
            or path in named
            or any(PurePosixPath(one.path) == name.parent and one.takes(name.name) for one in self.directories)
        )

    def without(self, path: str) -> DnsmasqConfiguration:
        """What it is told by all files but one."""
        kept = tuple(one for one in self.directives if one.file != path)
        return DnsmasqConfiguration(kept, self.directories, self.files, self.stores)


def read_dnsmasq(prefix: Path, *, stores: bool = False) -> DnsmasqConfiguration:
    """What the dnsmasq of the server at `prefix` is told when its service starts it.

    stores: with what was installed for stores and is not read yet: somebody is told to see to that
    HostError where a file of it cannot be read.
    """
    reader = _Reader(prefix)
    main = None
    for command in service_command(prefix):
        main = reader.take_command(command, main)
    reader.take_file(_MAIN if main is None else main)
    if stores:
        reader.take_stores(DNSMASQ_DIRECTORY)
    return DnsmasqConfiguration(tuple(reader.directives), tuple(reader.directories), tuple(reader.files), reader.stores)


def value_parts(value: str | None) -> list[str]:
    """The parts of a value between commas, without the marks of quotation."""
    return [part.strip().translate(_SHOWN) for part in (value or "").split(",")]


def unquoted(value: str | None) -> str:
    """A value as it was written, but for its quotation marks."""
    return (value or "").translate(_SHOWN)


@dataclass
class _Reader:
    prefix: Path
    directives: list[Directive] = field(default_factory=list)
    directories: list[ReadDirectory] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    stores: dict[str, str] = field(default_factory=dict)
    _seen: set[tuple[int, int]] = field(default_factory=set)

    def take_command(self, command: CommandLine, main: str | None) -> str | None:
        """Options of a command line; the first --conf-file is read last, instead of dnsmasq.conf."""
        for name, value in _options(command.words):
            if name == "conf-file" and main is None:
                main = value or ""
            else:
                self._take(Directive(command.file, command.line, name, value))
        return main

    def take_file(self, path: str, each: str | None = None) -> None:
        """A file, once however often it is named; `each` is the option that every line gives a value."""
        text = read_configuration(self.prefix, path)
        if text is None or not self._is_new(path):
            return
        self.files.append(path)
        store = store_in_heading(text)
        if store is not None:
            self.stores[path] = store
        for number, raw in enumerate(text.split("\n"), 1):
            line = _plain(raw)
            if line and each is not None:
                self._take(Directive(path, number, each, line))
            elif line:
                name, equals, value = line.partition("=")
                self._take(Directive(path, number, name.strip(), value.strip() if equals else None))

    def take_stores(self, directory: str) -> None:
        """The files of a directory that were written for stores."""
        for path in self._files_of(directory):
            if store_in_heading(read_configuration(self.prefix, path) or "") is not None:
                self.take_file(path)

    def _take(self, one: Directive) -> None:
        name = _SAME.get(one.name, one.name)
        one = Directive(one.file, one.line, name, one.value)
        self.directives.append(one)
        path = unquoted(one.value)
        if name == "conf-file":
            self.take_file(path)
        elif name == "conf-dir":
            self._take_directory(value_parts(one.value))
        elif name in _LISTS:
            for file in self._files_of(path):
                self.take_file(file, _LISTS[name])
        elif name == "read-ethers":
            self._take_ethers()

    def _take_directory(self, parts: Sequence[str]) -> None:
        suffixes = [part for part in parts[1:] if part and part != "*"]
        directory = ReadDirectory(
            str(PurePosixPath(parts[0])),
            tuple(suffix[1:] for suffix in suffixes if suffix.startswith("*")),
            tuple(suffix for suffix in suffixes if not suffix.startswith("*")),
        )
        self.directories.append(directory)
        for file in self._files_of(directory.path):
            if directory.takes(PurePosixPath(file).name):
                self.take_file(file)

    def _files_of(self, path: str) -> list[str]:
        place = below(self.prefix, path)
        if not place.is_dir():
            return [path]
        names = sorted(entry.name for entry in place.iterdir() if entry.is_file() and not entry.name.startswith("."))
        return [str(PurePosixPath(path) / name) for name in names]

    def _take_ethers(self) -> None:
        for number, raw in enumerate((read_configuration(self.prefix, _ETHERS) or "").split("\n"), 1):
            words = raw.partition("#")[0].split()
            if len(words) == 2:
                self.directives.append(Directive(_ETHERS, number, "dhcp-host", ",".join(words)))

    def _is_new(self, path: str) -> bool:
        status = below(self.prefix, path).stat()
        identity = (status.st_dev, status.st_ino)
        if identity in self._seen:
            return False
        self._seen.add(identity)
        return True


def _plain(raw: str) -> str:
    """A line without comment and quotation marks; what they enclose means nothing but itself."""
    out: list[str] = []
    quoted, after_space, characters = False, True, iter(raw)
    for character in characters:
        if character == '"':
            quoted, after_space = not quoted, False
        elif quoted:
            if character == "\\":
                character = next(characters, "")
                character = _ESCAPES.get(character, "\\" + character)
            out.append("".join(_HIDDEN.get(one, one) for one in character))
        elif character == "#" and after_space:
            break
        else:
            after_space = character.isspace()
            out.append(" " if after_space else character)
    return "".join(out).strip()


def _options(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Options and their values, as getopt_long(3) takes them: dnsmasq knows no other word on its command line."""
    left = list(words)
    while left:
        word = left.pop(0)
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if not equals and left and not left[0].startswith("-"):
                equals, value = "=", left.pop(0)
            yield name, value if equals else None
        elif word.startswith("-"):
            yield from _short_options(word[1:], left)


def _short_options(letters: str, left: list[str]) -> Iterator[tuple[str, str | None]]:
    for number, letter in enumerate(letters):
        name = _SHORT.get(letter, f"-{letter}")
        if letter in _SHORT_WITH_VALUE:
            rest = letters[number + 1 :]
            yield name, rest or (left.pop(0) if left else None)
            return
        yield name, None


def _ends(name: str, suffix: str) -> bool:
    return len(name) > len(suffix) and name.endswith(suffix)
