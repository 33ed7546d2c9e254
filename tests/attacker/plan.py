"""What the attacker is told, and what it reports: both are JSON, for it runs where the server runs."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

# the first line of every file that no client may read
FORBIDDEN = b"forbidden"
# A machine that has this file at its top was made to be attacked, and nothing else is in it. The attacker writes to
# whatever a handle leads to, so it runs nowhere else.
VICTIM = "/this-machine-is-a-victim"


@dataclass(frozen=True)
class Exposed:
    """An export. path: what clients call it; directory: the server's name; mine: whether the attacker may mount it."""

    path: str
    directory: str
    fsid: int
    writable: bool
    mine: bool = True


@dataclass(frozen=True)
class Plan:
    """One attack.

    kind: `kernel` or `ganesha`: how handles are made
    forbidden: files and directories of the server that no client may reach
    bare: directories that hold nothing, which may be reached although nobody can mount them
    seconds, seed: of the generator; inodes: how many inode numbers are tried
    enough: breaches after which it ends: there is nothing left to learn
    """

    kind: str
    server: str
    exports: tuple[Exposed, ...]
    forbidden: tuple[str, ...]
    bare: tuple[str, ...] = ()
    seconds: float = 0
    seed: int = 1
    inodes: int = 300
    enough: int = 3000

    def to_json(self) -> str:
        """For the command line."""
        return json.dumps(dataclasses.asdict(self))


def parse_plan(text: str) -> Plan:
    """The plan that `to_json` wrote."""
    values: dict[str, Any] = json.loads(text)
    values["exports"] = tuple(Exposed(**export) for export in values["exports"])
    values["forbidden"], values["bare"] = tuple(values["forbidden"]), tuple(values["bare"])
    return Plan(**values)


@dataclass
class Report:
    """What came of it.

    honest: by version of NFS, what an honest client reaches: `PATH kind`
    breaches: what a forged handle reached, the first ones of each kind: version, call, what, handle
    bare: directories of the plan's `bare` that were reached
    crossed: what the client may mount, reached through another export than its own, to be read only
    statuses: how often each answer came
    changed: server's files that are not as they were
    given_away: what an honest client gets although no client may
    faults: what else went wrong: a server that is gone, an honest client that is refused
    """

    honest: dict[str, list[str]] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)
    count: int = 0
    bare: list[str] = field(default_factory=list)
    crossed: list[str] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    given_away: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    calls: int = 0
    generated: int = 0
    notes: dict[str, str] = field(default_factory=dict)


def parse_report(text: str) -> Report:
    """The report that an attack printed as its last line."""
    return Report(**json.loads(text.splitlines()[-1]))
