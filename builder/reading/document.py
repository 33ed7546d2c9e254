"""One YAML file that a person wrote: its text, its values, and its faults as file:line:column."""

from __future__ import annotations

import contextlib
import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml

from builder.errors import InputError
from builder.model.fault import Fault
from builder.reading.reader import MOST_FAULTS, DataclassReader, TooManyValuesError

_DEEPEST = 100
T = TypeVar("T")


@dataclass(frozen=True)
class DocumentKind:
    """What messages say of a kind of file.

    name: what it is called; example: where such a file lies; start: advice to those who have none
    too_large: advice to those who wrote more than fits; levels: how deep it nests at most
    largest: MiB
    """

    name: str
    example: str
    start: str
    too_large: str
    levels: str
    largest: int = 1


class YamlDocument:
    """A file that was read; `faults` are those found so far. InputError where it cannot be read as YAML."""

    def __init__(self, path: Path, kind: DocumentKind) -> None:
        self.path = path
        self.text = _read(path, kind)
        self._node = _parse(path, self.text, kind)
        self._reader = DataclassReader()

    @property
    def faults(self) -> list[Fault]:
        """What is wrong; more can be added."""
        return self._reader.faults

    def read(self, kind: type[T]) -> T | None:
        """The file as a `kind`, or None when it has faults."""
        try:
            return self._reader.read(self._node, kind)
        except TooManyValuesError as error:
            message = f"{self.path}: its aliases (*name) stand for more than {error} values"
            raise InputError(message, "use fewer of them") from None

    def report(self) -> InputError:
        """Every fault with its line and column, in order."""
        lines = []
        for fault in self.faults:
            mark = self._reader.mark(fault.place)
            text = f"{self.path}:{mark.line + 1}:{mark.column + 1}: {fault.message}\n    {fault.hint}"
            lines.append((mark.line, mark.column, text))
        texts = [text for _, _, text in sorted(lines)]
        more = [f"{self.path}: and more, beyond the first {MOST_FAULTS}"] if len(texts) >= MOST_FAULTS else []
        return InputError("\n".join([*texts, *more]))


def _read(path: Path, kind: DocumentKind) -> str:
    try:
        data = path.read_bytes() if path.is_file() else None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", "check the path and its permissions") from error
    if data is None:
        hint = "it is a directory: name the .yml file in it" if path.is_dir() else _near_files(path, kind)
        raise InputError(f"{path}: no such {kind.name}", hint)
    if len(data) > kind.largest << 20:
        raise InputError(f"{path}: larger than {kind.largest} MiB, so not a {kind.name}", kind.too_large)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8 text", "save the file as UTF-8") from error


def _near_files(path: Path, kind: DocumentKind) -> str:
    candidates = [entry.name for entry in path.parent.glob("*.yml")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, candidates, n=1)
    return f"did you mean {path.parent / near[0]}?" if near else f"give the path of a .yml file, such as {kind.example}"


def _compose(text: str) -> yaml.Node | None:
    """The parser in C takes a tenth of the time; what it does not take is left to the one whose words are better."""
    if yaml.__with_libyaml__:
        with contextlib.suppress(yaml.YAMLError, ValueError, OverflowError):
            if _depth(text) <= _DEEPEST:
                return yaml.compose(text, Loader=yaml.CSafeLoader)
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _depth(text: str) -> int:
    """Levels of nesting: of many, some releases of the parser in C die without a word."""
    depth = deepest = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            deepest = max(deepest, depth)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return deepest


def _parse(path: Path, text: str, kind: DocumentKind) -> yaml.Node:
    try:
        node = _compose(text)
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
        raise InputError(f"{path}: nested too deeply", f"a {kind.name} has at most {kind.levels} levels") from error
    if node is None:
        raise InputError(f"{path}: the file is empty", kind.start)
    return node
