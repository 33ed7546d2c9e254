"""An ordinary user who runs the program, without a line in this host's tables."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.images import ROOT
from tests.scratch import scratch

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

    home: a directory that nobody else may enter; program: the command, as they can run it
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
        self.program = self._place / "diskless"
        self._write_program()

    def _write_program(self) -> None:
        """Runs this checkout with the tests' Python, or the host's where that one lies in root's home directory."""
        python = Path(sys.executable).resolve()
        if not all(path.stat().st_mode & 0o001 for path in (python, *python.parents)):
            python = Path("/usr/bin/python3")
            said = subprocess.run([python, "-V"], capture_output=True, check=True, encoding="ascii").stdout
            if not said.startswith(f"Python {sys.version_info.major}.{sys.version_info.minor}."):
                pytest.skip(f"no Python of this version that an ordinary user can run: {sys.executable}")
        paths = f"{ROOT}:{sysconfig.get_path('purelib')}"
        code = "import sys; sys.argv[0] = 'diskless'; from builder.cli.main import main; main()"
        self.program.write_text(f'#!/bin/sh\nPYTHONPATH="{paths}" exec {python} -c "{code}" "$@"\n', "utf-8")
        self.program.chmod(0o755)

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
