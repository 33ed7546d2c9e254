"""What clients can make the NFS server write of them: every text is read to an end, and none stops a prune."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.store.inspection.clients import OpenFiles, TooMuchError, describe_clients, read_mounts, read_opens

STORE = Path("/disklessroot")
ROOT = f"{STORE}/versions/lab/20260102-0123abcd/root"
OPEN = '- 0x01: {{ type: open, access: r-, deny: --, superblock: "{device}", filename: "{name}", owner: "open id:" }}\n'


def mounts(tmp_path: Path, content: bytes) -> list[tuple[str, str]]:
    (tmp_path / "rmtab").write_bytes(content)
    return list(read_mounts(tmp_path / "rmtab", STORE))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (f"10.0.0.1:{ROOT}:0x00000001", ("10.0.0.1", ROOT)),
        (f"fe80::1:{ROOT}:0x00000001", ("fe80::1", ROOT)),
        (f"client.example:{ROOT}/../root/etc:0x00000002", ("client.example", f"{ROOT}/etc")),
        (f"10.0.0.1:{STORE}/versions/../../etc:0x00000001", None),
        (f"10.0.0.1:/srv{STORE}/../..{ROOT}:0x00000001", ("10.0.0.1", ROOT)),
        (f"10.0.0.1:{ROOT}:0x00000000", None),
        (f"10.0.0.1:{STORE}2/versions:0x00000001", None),
        (f"10.0.0.1:{ROOT}", None),
        (f"{ROOT}", None),
        (":::::::", None),
        ("", None),
    ],
)
def test_a_line_of_rmtab(line: str, found: tuple[str, str] | None, tmp_path: Path) -> None:
    assert mounts(tmp_path, f"{line}\n".encode()) == ([found] if found else [])


def test_names_that_are_no_text(tmp_path: Path) -> None:
    ((host, path),) = mounts(tmp_path, b"\xff\x1b]0;x\x07:" + os.fsencode(ROOT) + b"/\xfe\x00\x1b[2J:0x00000001\n")
    assert describe_clients({host}) == "\N{REPLACEMENT CHARACTER}\\x1b]0;x\\x07"
    assert path.startswith(f"{ROOT}/")


def test_a_line_without_an_end(tmp_path: Path) -> None:
    """A later line is read all the same."""
    content = b"10.0.0.1:" + os.fsencode(ROOT) + b"/" + b"x" * (1 << 20) + b"\n" + f"10.0.0.2:{ROOT}:0x1\n".encode()
    assert mounts(tmp_path, content) == [("10.0.0.2", ROOT)]


def test_a_million_lines(tmp_path: Path) -> None:
    """What was read until then is known."""
    line = f"a-client-with-a-name-that-is-as-long-as-some-are.example:{ROOT}:0x00000001\n"
    (tmp_path / "rmtab").write_text(line * 1_000_000, encoding="ascii")
    found = read_mounts(tmp_path / "rmtab", STORE)
    count = 0
    with pytest.raises(TooMuchError, match="rmtab has more than 64 MiB"):
        for _ in found:
            count += 1
    assert count == (64 << 20) // len(line)


def test_a_file_as_large_as_a_disk(tmp_path: Path) -> None:
    with (tmp_path / "rmtab").open("wb") as file:
        file.truncate(1 << 43)
    with pytest.raises(TooMuchError):
        list(read_mounts(tmp_path / "rmtab", STORE))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "directory"])
def test_what_is_no_file_says_nothing(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "rmtab")
    assert list(read_mounts(tmp_path / "rmtab", STORE)) == []
    assert list(read_mounts(tmp_path / "nothing", STORE)) == []


# -- /proc/fs/nfsd/clients


def client(tmp_path: Path, states: str | bytes, status: str = "confirmed") -> OpenFiles:
    """What is read of one client."""
    directory = tmp_path / "7"
    directory.mkdir()
    info = f'clientid: 0x1\naddress: "192.168.1.30:853"\nstatus: {status}\nname: "Linux NFSv4.2 diskless"\n'
    (directory / "info").write_text(info, encoding="ascii")
    (directory / "states").write_bytes(states if isinstance(states, bytes) else states.encode())
    (found,) = read_opens(tmp_path)
    return found


def test_a_name_that_says_that_it_is_another_file(tmp_path: Path) -> None:
    """The kernel writes a file's name as the client made it."""
    name = 'x", superblock: "fe:10:4711", filename: "y'
    found = client(tmp_path, OPEN.format(device="fe:10:12", name=name))
    assert found == OpenFiles("192.168.1.30", {(os.makedev(0xFE, 0x10), 12)}, silent=False, whole=True)


@pytest.mark.parametrize(("status", "silent"), [("confirmed", False), ("courtesy", True), ("expirable", True)])
def test_a_client_that_fell_silent(status: str, silent: bool, tmp_path: Path) -> None:
    """The kernel keeps it until somebody wants what it holds."""
    assert client(tmp_path, OPEN.format(device="fe:10:12", name="x"), status).silent is silent


def test_more_open_files_than_anybody_has(tmp_path: Path) -> None:
    lines = "".join(OPEN.format(device=f"fe:10:{number}", name="x" * 100) for number in range(100_000))
    found = client(tmp_path, lines)
    assert not found.whole
    assert len(found.files) > 10_000


@pytest.mark.parametrize(
    "states",
    [
        b"\xff\xfe\x00",
        b"superblock",
        b'superblock: "zz:10:12"',
        b'superblock: "ffffffff:ffffffff:1"',
        b'superblock: "fe:10:' + b"9" * 5000 + b'"',
        b"",
    ],
)
def test_states_that_are_nonsense(states: bytes, tmp_path: Path) -> None:
    assert client(tmp_path, states).files == set()


def test_a_client_that_goes_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/states").touch()
    assert list(read_opens(tmp_path)) == []


def test_so_many_clients_that_no_line_holds_them() -> None:
    assert describe_clients({f"10.0.0.{number}" for number in range(9)}) == (
        "10.0.0.0, 10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 4 more"
    )
