"""What a running command tells about itself: one event a line of JSON, the same for people and for programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from builder.model.syntax import key

BYTES = "bytes"


@dataclass(frozen=True)
class Event:
    """Something that happened."""

    kind: ClassVar[str]


@dataclass(frozen=True)
class StepStart(Event):
    """A step begins."""

    kind: ClassVar[str] = "step-start"
    name: str = key("the step, e.g. fetch")
    depth: int = key("how many steps it lies in; 0: the command's own")


@dataclass(frozen=True)
class StepEnd(Event):
    """A step ends."""

    kind: ClassVar[str] = "step-end"
    name: str = key("the step")
    depth: int = key("as when it began")
    took: float = key("seconds that it took")
    ok: bool = key("false: an error ended it")


@dataclass(frozen=True)
class Measured(Event):
    """How far a measured piece of work is: at most twice a second, and when it is done."""

    kind: ClassVar[str] = "progress"
    name: str = key("the work, e.g. download")
    done: int = key("how much is done")
    total: int | None = key("how much there is; null: nobody knows")
    unit: str = key("`bytes`, or what is counted, e.g. packages")
    rate: float | None = key("units a second, lately; null: not known yet")
    remaining: float | None = key("seconds that the rest will take at that rate; null: not known")
    finished: bool = key("whether this is the last word on it")


@dataclass(frozen=True)
class Note(Event):
    """Something worth knowing."""

    kind: ClassVar[str] = "note"
    text: str = key("one line")


@dataclass(frozen=True)
class Warned(Event):
    """Something that is probably not meant, and does not stop the command."""

    kind: ClassVar[str] = "warning"
    text: str = key("one line")


@dataclass(frozen=True)
class Output(Event):
    """A command that was started (`$ ...`), or a line that it printed; only with --verbose."""

    kind: ClassVar[str] = "output"
    text: str = key("one line")


@dataclass(frozen=True)
class Failed(Event):
    """The command failed; nothing comes after it."""

    kind: ClassVar[str] = "error"
    message: str = key("what happened")
    hint: str | None = key("what to do about it")
    phase: str | None = key("the step it happened in")
    details: tuple[str, ...] = key("evidence, such as the last lines of a command")
    exit_status: int = key("the exit status of diskless: 2 input, 3 host, 4 command, 5 audit, 6 boot, 7 transfer")


@dataclass(frozen=True)
class Result(Event):
    """The command succeeded."""

    kind: ClassVar[str] = "result"
    result: Mapping[str, Any] = key("what --json prints on standard output")


EVENTS: tuple[type[Event], ...] = (StepStart, StepEnd, Measured, Note, Warned, Output, Failed, Result)


def to_line(event: Event, seconds: float) -> str:
    """The event as it stands in the stream, with a line break; `seconds` since the command began."""
    values = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    return json.dumps({"event": event.kind, "seconds": round(seconds, 3), **values}, ensure_ascii=True) + "\n"
