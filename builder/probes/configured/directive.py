"""One line of a program's configuration, and where it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.errors import HostError


@dataclass(frozen=True)
class Directive:
    """What one line says: `file` as its program names it, without the root directory that is looked into.

    value: what the line gives `name`, None where it gives nothing
    """

    file: str
    line: int
    name: str
    value: str | None = None

    @property
    def place(self) -> str:
        """FILE:LINE, for people and editors."""
        return f"{self.file}:{self.line}"


def continued_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines and the numbers at which they begin; a backslash at the end goes on in the next, as after a space."""
    held, first = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        first = first or number
        if line.endswith("\\"):
            held += f"{line[:-1]} "
            continue
        yield first, held + line
        held, first = "", 0


def below(prefix: Path, path: str) -> Path:
    """A path of the server whose root directory is `prefix`."""
    return prefix / path.lstrip("/")


def read_configuration(prefix: Path, path: str) -> str | None:
    """The text of a file; None where there is none.

    HostError where it cannot be read: what a program does is not guessed.
    """
    try:
        return below(prefix, path).read_text("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", "run this as root, or correct the file") from error
