"""YAML to Recipe. Every fault is reported as file:line:column with what is wrong and what to write instead.

Scalars keep what was written: `no`, `010` and `3.10` are text where text is wanted.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import hashlib
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import yaml

from builder.errors import InputError
from builder.model.checks import contradictions
from builder.model.fault import Fault, Place
from builder.model.recipe import ArchDistribution, DebianDistribution, Recipe
from builder.model.site import Site
from builder.model.syntax import MirrorUrl, Syntax
from builder.system.files import sha256_of
from builder.system.host import os_release, read_mirrorlist

_LARGEST_RECIPE = 1 << 20
_SURROGATES = re.compile("[\ud800-\udfff]")
_LONGEST_SHOWN = 80
_CREDENTIALS = re.compile(r"://[^/\s]*@")
_LONGEST_NUMBER = 18  # fits into 64 bits
_MOST_VALUES = 50_000  # with every alias written out
_YAML_TAGS = "tag:yaml.org,2002:"
_KNOWN_TAGS = {
    _YAML_TAGS + name for name in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq", "merge", "value")
}
T = TypeVar("T")


@dataclass(frozen=True)
class RecipeFile:
    """A recipe that was read: `sources` maps each files[].source to its content, `sha256` covers all of it."""

    path: Path
    recipe: Recipe
    sources: Mapping[str, bytes]
    sha256: str


def load_recipe(path: Path) -> RecipeFile:
    """Reads and checks a recipe; raises InputError that lists every fault of the file, in order."""
    text = _read(path)
    reader = _Reader()
    try:
        recipe = reader.read(_parse(path, text), Recipe)
    except _TooManyValuesError:
        raise InputError(f"{path}: more than {_MOST_VALUES} values", "write aliases (*name) out, or fewer") from None
    if recipe is not None and not reader.faults:
        reader.faults.extend(contradictions(recipe))
        sources = _read_sources(recipe, path.parent, reader.faults)
        recipe = _with_host(recipe, path.parent, reader.faults)
    if recipe is None or reader.faults:
        raise _report(path, reader)
    digest = hashlib.sha256(text.encode())
    for name, content in sorted(sources.items()):
        digest.update(f"\0{name}\0{len(content)}\0".encode() + content)
    for name in _host_inputs(recipe):
        digest.update(f"\0{name}".encode())
    return RecipeFile(path, recipe, sources, digest.hexdigest())


def load_site(path: Path) -> Site:
    """Reads and checks a site file; raises InputError that lists every fault."""
    reader = _Reader()
    site = reader.read(_parse(path, _read(path)), Site)
    if site is None or reader.faults:
        raise _report(path, reader)
    return site


def _read(path: Path) -> str:
    try:
        data = path.read_bytes() if path.is_file() else None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", "check the path and its permissions") from error
    if data is None:
        hint = "it is a directory: name the .yml file in it" if path.is_dir() else _near_files(path)
        raise InputError(f"{path}: no such recipe", hint)
    if len(data) > _LARGEST_RECIPE:
        raise InputError(
            f"{path}: larger than 1 MiB, so not a recipe", "put large content into files/ beside the recipe"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8 text", "save the file as UTF-8") from error


def _near_files(path: Path) -> str:
    candidates = [entry.name for entry in path.parent.glob("*.yml")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, candidates, n=1)
    return (
        f"did you mean {path.parent / near[0]}?"
        if near
        else "give the path of a .yml file, such as recipes/debian-nfs.yml"
    )


def _parse(path: Path, text: str) -> yaml.Node:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        began = f", {error.context}" if error.context else ""
        if error.context_mark:
            began += f" that begins on line {error.context_mark.line + 1}"
        hint = "check indentation, brackets and quotes"
        raise InputError(f"{path}{place}: not YAML{began}: {error.problem}", hint) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InputError(f"{path}:{line}: not YAML: {error.reason}", "remove control characters") from error
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: not YAML: {error}", "correct the number or the escape sequence") from error
    except RecursionError as error:
        raise InputError(f"{path}: nested too deeply", "a recipe has at most four levels") from error
    if node is None:
        raise InputError(f"{path}: the file is empty", "start from recipes/debian-nfs.yml")
    return node


def _read_sources(recipe: Recipe, directory: Path, faults: list[Fault]) -> dict[str, bytes]:
    sources: dict[str, bytes] = {}
    for position, file in enumerate(recipe.files):
        if file.source is None:
            continue
        place: Place = ("files", position, "source")
        path = directory / file.source
        try:
            if not path.resolve().is_relative_to(directory.resolve()):
                faults.append(
                    Fault(
                        place, f"'{file.source}' leads out of the recipe's directory", "copy the file beside the recipe"
                    )
                )
            elif not path.is_file():
                faults.append(
                    Fault(place, f"'{file.source}' is no file beside the recipe", f"create {path}, or correct the name")
                )
            else:
                sources[file.source] = path.read_bytes()
        except (OSError, RuntimeError) as error:
            faults.append(Fault(place, f"'{file.source}' cannot be read: {error}", "check its permissions"))
    return sources


def _with_host(recipe: Recipe, directory: Path, faults: list[Fault]) -> Recipe:
    """The recipe with what it takes from this host filled in: Debian's suite, Arch's mirrors and package files."""
    distribution = recipe.distribution
    if isinstance(distribution, DebianDistribution):
        if distribution.suite is not None:
            return recipe
        distribution = dataclasses.replace(distribution, suite=_host_suite())
    else:
        distribution = _with_host_files(distribution, directory, faults)
    return dataclasses.replace(recipe, distribution=distribution)


def _host_suite() -> str:
    host = os_release()
    if host.get("ID") != "debian" or "VERSION_CODENAME" not in host:
        raise InputError(
            "the recipe names no distribution.suite, and this host is not a Debian release to take it from",
            "add `suite: bookworm` (or another) to distribution",
        )
    return host["VERSION_CODENAME"]


def _with_host_files(distribution: ArchDistribution, directory: Path, faults: list[Fault]) -> ArchDistribution:
    files = tuple(str((directory / name).absolute()) for name in distribution.package_files)
    for position, name in enumerate(files):
        place: Place = ("distribution", "package_files", position)
        if not Path(name).is_file():
            faults.append(Fault(place, f"there is no file {name}", "create it, or correct the name"))
        elif ".pkg.tar" not in Path(name).name:
            faults.append(Fault(place, f"{name} is no package file", "give a file such as NAME-1.0-1-any.pkg.tar.zst"))
    mirrors = distribution.mirrors
    if distribution.mirrorlist is not None:
        mirrors = _mirrors_of_host(Path(distribution.mirrorlist), faults)
    return dataclasses.replace(distribution, package_files=files, mirrors=mirrors)


def _mirrors_of_host(path: Path, faults: list[Fault]) -> tuple[str, ...]:
    place: Place = ("distribution", "mirrorlist")
    try:
        servers = read_mirrorlist(path)
    except OSError as error:
        faults.append(Fault(place, f"{path}: {error.strerror}", "correct the path, or list mirrors: [URL]"))
        return ()
    syntax: Syntax = get_args(MirrorUrl)[1]
    wrong = [server for server in servers if not syntax.accepts(server)]
    if wrong:
        faults.append(Fault(place, f"{path} names {wrong[0]!r}, no {syntax.name}", f"write it like {syntax.example}"))
    if not servers:
        faults.append(Fault(place, f"{path} has no line `Server = URL`", "uncomment a mirror in it"))
    return servers


def _host_inputs(recipe: Recipe) -> list[str]:
    """What the recipe's own text does not show of what was read on this host."""
    distribution = recipe.distribution
    if isinstance(distribution, DebianDistribution):
        return []
    files = [f"{Path(name).name} {sha256_of(Path(name))}" for name in distribution.package_files]
    return [*files, *(distribution.mirrors if distribution.mirrorlist else ())]


def _report(path: Path, reader: _Reader) -> InputError:
    lines = []
    for fault in reader.faults:
        mark = reader.mark(fault.place)
        lines.append(
            (mark.line, mark.column, f"{path}:{mark.line + 1}:{mark.column + 1}: {fault.message}\n    {fault.hint}")
        )
    return InputError("\n".join(text for _, _, text in sorted(lines)))


class _TooManyValuesError(Exception):
    """Aliases within aliases grow without bound."""


class _Reader:
    """Turns YAML nodes into dataclasses, remembering where each value stood."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._marks: dict[Place, yaml.Mark] = {}
        self._values = 0

    def mark(self, place: Place) -> yaml.Mark:
        """Where `place` was written, or the nearest thing around it."""
        while place not in self._marks and place:
            place = place[:-1]
        return self._marks[place]

    def read(self, node: yaml.Node, kind: type[T]) -> T | None:
        """The document as a `kind`, or None when it had faults."""
        value = self._value(node, kind, ())
        return value if isinstance(value, kind) else None

    def _fault(self, place: Place, message: str, hint: str) -> None:
        self.faults.append(Fault(place, message, hint))

    def _value(self, node: yaml.Node, kind: Any, place: Place) -> Any:  # noqa: ANN401 - kind is any annotation
        self._marks[place] = node.start_mark
        self._values += 1
        if self._values > _MOST_VALUES:
            raise _TooManyValuesError
        if node.tag not in _KNOWN_TAGS:
            return self._fault(place, f"unknown tag {node.tag!r}", "remove it")
        origin = get_origin(kind)
        if origin in (types.UnionType, typing.Union):
            kind = _choose(node, [option for option in get_args(kind) if option is not type(None)])
            origin = get_origin(kind)
        if dataclasses.is_dataclass(kind):
            return self._mapping(node, typing.cast("type", kind), place)
        if origin is tuple:
            return self._sequence(node, get_args(kind)[0], place)
        return self._scalar(node, kind, place)

    def _mapping(self, node: yaml.Node, kind: type, place: Place) -> Any:  # noqa: ANN401
        fields = {field.name: field for field in dataclasses.fields(kind)}
        if not isinstance(node, yaml.MappingNode):
            wanted = ", ".join(fields)
            return self._fault(
                place, f"expected keys ({wanted}), got {_describe(node)}", "write `key: value` lines, or {key: value}"
            )
        hints = typing.get_type_hints(kind, include_extras=True)
        values: dict[str, Any] = {}
        before = len(self.faults)
        for key_node, value_node in node.value:
            name = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            inside = (*place, name if name is not None else "?")
            if name not in fields:
                self._marks[inside] = key_node.start_mark
                message = f"unknown key {_shown(name)}" if name is not None else "a key must be text"
                self._fault(inside, message, _suggest(str(name), list(fields)))
            elif name in values:
                first = self._marks[inside].line + 1
                self._marks[(*place, f"{name} again")] = key_node.start_mark
                self._fault(
                    (*place, f"{name} again"), f"key '{name}' again, first on line {first}", "keep one of the two"
                )
            else:
                values[name] = self._value(value_node, hints[name], inside)
                self._check_allowed(fields[name], values[name], inside)
        for name, field in fields.items():
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            if required and name not in values:
                self._fault(place, f"required key '{name}' is missing", f"{name}: {field.metadata['doc']}")
        return kind(**values) if len(self.faults) == before else None

    def _check_allowed(self, field: dataclasses.Field[Any], value: object, place: Place) -> None:
        allowed = field.metadata.get("allowed")
        if allowed and value is not None and value not in allowed:
            self._fault(place, f"'{value}' is not allowed here", f"allowed: {', '.join(map(str, allowed))}")

    def _sequence(self, node: yaml.Node, kind: Any, place: Place) -> Any:  # noqa: ANN401
        if not isinstance(node, yaml.SequenceNode):
            return self._fault(place, f"expected a list, got {_describe(node)}", "write [a, b], or one `- a` a line")
        return tuple(self._value(item, kind, (*place, position)) for position, item in enumerate(node.value))

    def _scalar(self, node: yaml.Node, kind: Any, place: Place) -> Any:  # noqa: ANN401
        wanted, hint = _expectation(kind)
        if not isinstance(node, yaml.ScalarNode) or (node.tag == _YAML_TAGS + "null" and node.value == ""):
            return self._fault(place, f"expected {wanted}, got {_describe(node)}", hint)
        if _SURROGATES.search(node.value):
            return self._fault(place, f"{_shown(node.value)} is not Unicode text", "correct the escape sequence")
        value = _convert(node.value, kind)
        if value is not None:
            return value
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            hint = _suggest(node.value, [member.value for member in kind])
            return self._fault(place, f"{_shown(node.value)} is not allowed here", hint)
        verb = "is no" if get_origin(kind) is Annotated else "is not"
        return self._fault(place, f"{_shown(node.value)} {verb} {wanted}", hint)


def _choose(node: yaml.Node, kinds: list[Any]) -> Any:  # noqa: ANN401
    """Of several dataclasses the one whose first field allows what is written there, or is written nowhere."""
    if len(kinds) == 1:
        return kinds[0]
    firsts = {kind: dataclasses.fields(kind)[0] for kind in kinds}
    name = firsts[kinds[0]].name
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    written = next((value.value for key, value in pairs if key.value == name), None)
    fitting = [
        kind
        for kind, field in firsts.items()
        if (field.default if written is None else written) in field.metadata["allowed"]
    ]
    return (fitting or kinds)[0]


def _convert(text: str, kind: Any) -> Any:  # noqa: ANN401
    """The value that was written, or None when it is no `kind`."""
    if get_origin(kind) is Annotated:
        return text if kind.__metadata__[0].accepts(text) else None
    if kind is str:
        return text
    if kind is bool:
        return {"true": True, "false": False}.get(text)
    if kind is int:
        return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER else None
    return next((member for member in kind if member.value == text), None)


def _expectation(kind: Any) -> tuple[str, str]:  # noqa: ANN401
    """What a scalar of this kind is called, and how to write one."""
    if get_origin(kind) is Annotated:
        syntax: Syntax = kind.__metadata__[0]
        return syntax.name, f"write it like {syntax.example}"
    if kind is bool:
        return "true or false", "write true or false"
    if kind is int:
        return f"a whole number of at most {_LONGEST_NUMBER} digits", "write digits only"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "one of " + ", ".join(member.value for member in kind), "write one of them"
    return "text", "write text, in quotes if it has special characters"


def _describe(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "keys"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return _shown(node.value) if node.value else "nothing"


def _shown(text: str) -> str:
    """A value for a message: quoted, cut short, without a password."""
    plain = _CREDENTIALS.sub("://***@", text)
    return repr(plain if len(plain) <= _LONGEST_SHOWN else plain[:_LONGEST_SHOWN] + "...")


def _suggest(word: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(word, allowed, n=1)
    return (f"did you mean '{near[0]}'? " if near else "") + f"allowed: {', '.join(allowed)}"
