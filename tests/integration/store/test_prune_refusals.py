"""What a prune is told of clients: a hint keeps a version until somebody insists, an open file until it is evicted."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import HostError
from builder.store.inspection.usage import versions_in_use
from tests.command import run_command
from tests.require import needs_root
from tests.scratch import new_place
from tests.stores import deployed, named, version

pytestmark = [needs_root, pytest.mark.root]
RESULT = tuple[int, str, str]


class Server:
    """A store with two versions, and what its NFS server would say of the clients of the first."""

    def __init__(self, directory: Path) -> None:
        self.place = directory / "store"
        self.rmtab, self.clients = directory / "rmtab", directory / "clients"
        self.clients.mkdir()
        deployed(self.place, version("1"), version("2"))
        self.root = self.place / "versions/lab" / version("1").name / "root"

    def mounted(self, *addresses: str) -> None:
        """NFSv3: anybody can say so."""
        self.rmtab.write_text("".join(f"{address}:{self.root}:0x00000001\n" for address in addresses), "utf-8")

    def opened(self, address: str, status: str = "confirmed") -> None:
        """NFSv4: a file of the first version that no other has."""
        info = (self.root / "usr/only-in-1/file").stat()
        device = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}"
        client = self.clients / str(len(list(self.clients.iterdir())))
        client.mkdir()
        (client / "info").write_text(f'clientid: 0x1\naddress: "{address}:853"\nstatus: {status}\n', "ascii")
        (client / "states").write_text(f'- 0x1: {{ type: open, superblock: "{device}:{info.st_ino}" }}\n', "ascii")

    def prune(self, capsys: pytest.CaptureFixture[str], *options: str) -> RESULT:
        """To the active version, however young the other is."""
        return run_command(capsys, "prune", "--to", str(self.place), "--keep", "1", "--min-age", "0s", *options)

    def has(self, number: str) -> bool:
        return ("lab", version(number).name) in named(self.place)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    found = Server(new_place())
    ask = functools.partial(versions_in_use, rmtab=found.rmtab, clients=found.clients)
    for module in ("builder.deploy", "builder.store.inspection.status"):
        monkeypatch.setattr(f"{module}.versions_in_use", ask)
    yield found


def test_nobody_that_is_known_of(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert server.prune(capsys)[0] == 0
    assert not server.has("1")


def hint_by_rmtab(server: Server) -> None:
    server.mounted("10.0.0.66")


def hint_by_a_client_that_fell_silent(server: Server) -> None:
    server.opened("10.0.0.66", "courtesy")


def hint_that_is_too_long(server: Server) -> None:
    with server.rmtab.open("wb") as file:
        file.truncate(1 << 40)


HINTS = (hint_by_rmtab, hint_by_a_client_that_fell_silent, hint_that_is_too_long)


@pytest.mark.parametrize("hint", HINTS)
def test_a_hint_keeps_a_version_and_stops_no_force(hint, server: Server, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    hint(server)
    status, out, errors = server.prune(capsys)
    assert status == HostError.exit_code
    assert f"refused lab {version('1').name}: " in out
    assert f"error: kept, though more than 1: lab {version('1').name}\n" in errors
    assert "hint: --force" in errors
    assert server.has("1")
    status, out, errors = server.prune(capsys, "--force")
    assert (status, errors) == (0, "")
    assert f"removed lab {version('1').name}, although " in out
    assert not server.has("1")


def test_a_million_hints_stop_no_force(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.mounted(*(f"{number}.example" for number in range(1_000_000)))
    status, out, _ = server.prune(capsys, "--force")
    assert status == 0
    assert len(out) < 1000
    assert not server.has("1")


def test_names_that_no_terminal_should_obey(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.mounted("\x1b]0;owned\x07", "\N{RIGHT-TO-LEFT OVERRIDE}")
    for options in ((), ("--force",)):
        _, out, errors = server.prune(capsys, *options)
        assert not [char for char in out + errors if not char.isprintable() and char != "\n"]


def test_open_files_stay_until_they_are_evicted(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.opened("10.0.0.7")
    for options in ((), ("--force",)):
        status, out, errors = server.prune(capsys, *options)
        assert status == HostError.exit_code
        assert f"refused lab {version('1').name}: in use by 10.0.0.7\n" in out
        assert "hint: switch those clients off, or --evict" in errors
        assert server.has("1")
    status, out, errors = server.prune(capsys, "--evict")
    assert (status, errors) == (0, "")
    assert f"removed lab {version('1').name}, although in use by 10.0.0.7\n" in out
    assert not server.has("1")


def test_too_many_open_files_hide_nobody_elses(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.opened("10.0.0.66")
    with (server.clients / "0/states").open("a", encoding="ascii") as states:
        states.write('- 0x1: { type: open, superblock: "00:01:7" }\n' * 200_000)
    server.opened("10.0.0.7")
    status, out, _ = server.prune(capsys, "--force")
    assert status == HostError.exit_code
    assert "in use by 10.0.0.66, 10.0.0.7\n" in out


def test_what_programs_are_told(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.mounted("10.0.0.66")
    server.opened("10.0.0.7")
    status, out, _ = server.prune(capsys, "--force", "--json")
    assert status == HostError.exit_code
    first = next(entry for entry in json.loads(out) if entry["version"] == version("1").name)
    assert first == {
        "image": "lab",
        "version": version("1").name,
        "ground": "used",
        "reason": "in use by 10.0.0.7",
        "refused": True,
        "disregarded": [],
    }
    status, out, _ = server.prune(capsys, "--evict", "--json", "--dry-run")
    first = next(entry for entry in json.loads(out) if entry["version"] == version("1").name)
    assert (status, first["ground"]) == (0, None)
    assert first["disregarded"] == ["in use by 10.0.0.7", "10.0.0.66 mounted it once and may still run it"]


def test_a_deploy_that_prunes_says_what_stays_and_has_done_its_work(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.opened("10.0.0.7")
    status, out, _ = run_command(capsys, "deploy", str(version("3")), "--to", str(server.place), "--keep", "1", "-q")
    assert status == 0
    assert f"kept {version('1').name}: in use by 10.0.0.7\n" in out
    assert f"kept {version('2').name}: clients booted it until " in out


def test_status_tells_hints_from_what_is_known(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.mounted("10.0.0.66")
    server.opened("10.0.0.7")
    _, out, _ = run_command(capsys, "status", "--to", str(server.place))
    assert "in use by 10.0.0.7, mounted once by 10.0.0.66\n" in out
