"""Small files in which a store remembers something beside its record: read whole, written whole."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from builder.errors import HostError, InputError
from builder.model.typed import parse_json, schema_of, typed
from builder.system.files import write_atomic

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def read_state(path: Path, kind: type[T], newest: int, hint: str) -> T:
    """What a file says as a `kind` of a schema up to `newest`, or an empty one where there is no file.

    InputError, with `hint`, where it is none of ours; HostError where it cannot be read.
    """
    try:
        data = parse_json(path.read_bytes())
        schema_of(data, newest)
        return typed(data, kind)
    except FileNotFoundError:
        return kind()
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", "run this as root, or correct the file") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}", hint) from error


def write_state(path: Path, state: T) -> None:
    """Writes it for others to read, whole or not at all."""
    write_atomic(path, json.dumps(asdict(state), indent=1).encode() + b"\n", 0o644)
