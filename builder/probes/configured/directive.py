"""One line of a program's configuration, and where it is."""

from __future__ import annotations

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
