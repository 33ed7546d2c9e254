"""An ordinary user who runs the program, without a line in this host's tables."""

from __future__ import annotations

import os
from pathlib import Path

from tests.images import ROOT, scratch

# a mount namespace of its own shows the user and their ids in the tables that newuidmap(1) and others read
_TABLES = ("passwd", "group", "subuid", "subgid")
_SCRIPT = """
place=$1 user=$2; shift 2
for table in passwd group subuid subgid; do
    [ -e /etc/$table ] || : >/etc/$table
    mount --bind "$place/$table" /etc/$table
done
exec setpriv --reuid "$user" --regid "$user" --clear-groups --inh-caps=-all -- "$@"
"""


class User:
    """Who owns the checkout, or where that is root's, somebody; with 65,536 subordinate ids.

    home: a directory that nobody else may enter
    """

    def __init__(self, name: str) -> None:
        owner = ROOT.stat().st_uid
        self.number = owner if owner != 0 else 23456
        self._place = scratch() / f"user-{name}"
        self.home = self._place / "home"
        self.home.mkdir(parents=True)
        self.home.chmod(0o700)
        os.chown(self.home, self.number, self.number)
        self._write_tables()

    def _write_tables(self) -> None:
        first = 3_000_000_000
        lines = {
            "passwd": f"tester:x:{self.number}:{self.number}::{self.home}:/bin/sh",
            "group": f"tester:x:{self.number}:",
            "subuid": f"tester:{first}:65536",
            "subgid": f"tester:{first}:65536",
        }
        for table in _TABLES:
            # a name of before is not the one that is looked up by its number
            path = Path("/etc") / table
            others = path.read_text("utf-8").splitlines() if path.exists() else []
            kept = [line for line in others if f":{self.number}:" not in line]
            (self._place / table).write_text("\n".join([lines[table], *kept, ""]), "utf-8")

    def prefix(self) -> list[str]:
        """The words that go before a command."""
        return [
            *("unshare", "--mount", "--propagation", "private", "sh", "-euc", _SCRIPT, "sh"),
            *(str(self._place), str(self.number)),
        ]

    def environment(self) -> dict[str, str]:
        """Their own, with this host's proxies."""
        return {**os.environ, "HOME": str(self.home), "USER": "tester", "XDG_CACHE_HOME": ""}
