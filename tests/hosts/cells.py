"""What is run where: the README's commands, the machines, and what varies between them."""

from __future__ import annotations

import fnmatch
import re
import shlex
from dataclasses import dataclass

RELEASES = ("bookworm", "trixie")
USERS = ("root", "user")


@dataclass(frozen=True)
class Variation:
    """How a stranger's machine differs from ours.

    place: where the clone lies, below the home directory unless it is absolute
    """

    name: str
    place: str = "diskless"
    umask: int = 0o022
    environment: tuple[tuple[str, str], ...] = ()


TMP = Variation("tmp", place="/tmp/diskless")
SPACES = Variation("spaces", place="Größe & Maß/das 'Labor'/diskless")
UMASK = Variation("umask", umask=0o077)
LOCALE = Variation("locale", environment=(("LC_ALL", "C"),))


@dataclass(frozen=True)
class Cell:
    """One machine; `tested`: `make test` runs in it, too."""

    release: str
    user: str
    variation: Variation
    tested: bool = False

    @property
    def name(self) -> str:
        """As `--cells` takes it."""
        return f"{self.release}-{self.user}-{self.variation.name}"


# every variation is in a cell that is tested, and in the other release without `make test`
CELLS = (
    Cell("bookworm", "root", TMP, tested=True),
    Cell("bookworm", "user", SPACES, tested=True),
    Cell("trixie", "root", UMASK, tested=True),
    Cell("trixie", "user", LOCALE, tested=True),
    Cell("trixie", "user", TMP),
    Cell("trixie", "root", SPACES),
    Cell("bookworm", "user", UMASK),
    Cell("bookworm", "root", LOCALE),
)


def select_cells(patterns: list[str]) -> list[Cell]:
    """Those whose names match one of the patterns of fnmatch(3), all without any; ValueError names one without any."""
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(cell.name, pattern) for cell in CELLS):
            raise ValueError(f"no cell is named {pattern}; there are {', '.join(cell.name for cell in CELLS)}")
    return [
        cell for cell in CELLS if not patterns or any(fnmatch.fnmatchcase(cell.name, pattern) for pattern in patterns)
    ]


@dataclass(frozen=True)
class Command:
    """One line of the README, and what the table calls it."""

    name: str
    line: str


@dataclass(frozen=True)
class Readme:
    """What the README tells a stranger to type: the packages of its first line, and the commands after it."""

    packages: tuple[str, ...]
    commands: tuple[Command, ...]


_MAKE = ("make build", "make boot", "make test")
_LINT = Command("make lint", "make lint")


def parse_readme(text: str) -> Readme:
    """Reads the indented lines; ValueError where one that a stranger needs is missing."""
    lines = [line.strip() for line in re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)]
    typed = [re.split(r"\s+#", line)[0] for line in lines]
    packages = _only(typed, "apt-get install").removeprefix("apt-get install").split()
    build, boot_it, test = (Command(line, _only(typed, line)) for line in _MAKE)
    boot = Command("diskless boot", _only(typed, "diskless boot "))
    return Readme(tuple(word for word in packages if not word.startswith("-")), (build, _LINT, boot_it, boot, test))


def _only(lines: list[str], start: str) -> str:
    found = [line for line in lines if line.startswith(start)]
    if not found:
        raise ValueError(f"README.md has no line that begins with {start!r}")
    return found[0]


def cell_commands(cell: Cell, readme: Readme, patterns: list[str]) -> list[Command]:
    """What a cell runs, in order; `patterns` choose by name. `make test` comes last, after what it could repair."""
    chosen = [
        command
        for command in readme.commands
        if not patterns or any(fnmatch.fnmatchcase(command.name, pattern) for pattern in patterns)
    ]
    return [as_typed(command, cell.user) for command in chosen if cell.tested or command.name != "make test"]


def as_typed(command: Command, user: str) -> Command:
    """`diskless` as the README says to type it: through sudo by its path, or in the activated environment."""
    if not command.line.startswith("diskless "):
        return command
    if user == "root":
        return Command(command.name, f". .venv/bin/activate && {command.line}")
    return Command(command.name, f"sudo .venv/bin/{command.line}")


def in_directory(directory: str, line: str) -> str:
    """The shell's words for a command in a directory."""
    return f"cd {shlex.quote(directory)} && {line}"
