"""Pictures of a screen: QEMU's monitor with a few lines of Python in QEMU's place, and what becomes of a failure."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from builder import boot as booting
from builder.boot import BootOptions, BootResult, boot, preflight
from builder.bootlab.diagnosis import Diagnosis, Failure
from builder.bootlab.machine import guest as guests
from builder.bootlab.machine.guest import Guest, GuestError, Machine
from builder.bootlab.machine.monitor import Monitor
from builder.errors import CommandError, DisklessError, InputError
from builder.model.version import Version
from builder.progress.progress import Progress
from tests.require import needs_root

PICTURE = b"\x89PNG of a screen"
Answers = Mapping[str, bytes]


class Qemu:
    """The machine's end of a monitor: what it was asked, and pictures into the descriptor that it got.

    answers: what it says instead to a command; what it says of others is as QEMU has it, with an event before each
    """

    def __init__(self, monitor: Monitor, answers: Answers) -> None:
        self.asked: list[str] = []
        self._line = monitor.machines_end.dup()
        monitor.machines_end.close()
        self._answers = answers
        self._picture = -1
        self._thread = threading.Thread(target=self._behave, daemon=True)
        self._thread.start()

    def _behave(self) -> None:
        with self._line, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._line.sendall(b'{"QMP": {"version": {}}}\n')
            while True:
                data, files, _, _ = socket.recv_fds(self._line, 65536, 4)
                if not data:
                    break
                order = json.loads(data)
                self.asked.append(order["execute"])
                self._picture = files[0] if files else self._picture
                if order["execute"] == "screendump" and "screendump" not in self._answers:
                    os.write(self._picture, PICTURE)
                returned = {"return": {}, **({"id": order["id"]} if "id" in order else {})}
                answer = self._answers.get(order["execute"], json.dumps(returned).encode() + b"\n")
                self._line.sendall(b'{"event": "RTC_CHANGE"}\n' + answer)
                if not answer:
                    break
        if self._picture >= 0:
            os.close(self._picture)

    def end(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def monitored(answers: Answers) -> Iterator[tuple[Monitor, Qemu]]:
    monitor = Monitor()
    qemu = Qemu(monitor, answers)
    yield monitor, qemu
    monitor.close()
    qemu.end()


ONE = ["add-fd", "screendump", "remove-fd"]


def test_one_picture_after_the_other() -> None:
    with monitored({}) as (monitor, qemu):
        assert [monitor.take_picture(), monitor.take_picture()] == [PICTURE, PICTURE]
    assert qemu.asked == ["qmp_capabilities", *ONE, *ONE]


def test_qemu_lets_go_of_a_picture_that_it_could_not_make() -> None:
    """Else every further one has another place, and none is written to."""
    with monitored({"screendump": b'{"error": {"desc": "no console"}}\n'}) as (monitor, qemu):
        for _ in range(2):
            with pytest.raises(CommandError, match="no picture of the screen: no console"):
                monitor.take_picture()
    assert qemu.asked == ["qmp_capabilities", *ONE, *ONE]


@pytest.mark.parametrize(
    "answer",
    [b"", b"no JSON\n", b"[]\n" * 3 + b"nor this\n", b"x" * 5_000_000, b'{"error": "none"}\n', b"\xff\n"],
    ids=["gone", "no-json", "lists", "endless", "odd-error", "no-text"],
)
@pytest.mark.parametrize("command", ["qmp_capabilities", "screendump"])
def test_what_is_no_answer_is_an_error(command: str, answer: bytes) -> None:
    with monitored({command: answer}) as (monitor, _), pytest.raises(CommandError, match="picture"):
        monitor.take_picture()


class Screen:
    """In the place of a guest that hangs, or not, and whose screen cannot be seen."""

    is_running = True
    console = SimpleNamespace(text="", path=Path("/log"), last_lines=lambda count: ())
    timeline = SimpleNamespace(seconds={})
    address = None
    seconds = 1.0

    def __init__(self, *, hangs: bool) -> None:
        self._hangs = hangs

    def await_login(self) -> None:
        if self._hangs:
            raise GuestError(Diagnosis(Failure.PANIC, "it hangs"), cast(Any, self.console))

    def run(self, command: str) -> Any:
        return SimpleNamespace(status=1, output="")

    def power_off(self) -> None:
        pass

    def take_picture(self) -> bytes:
        raise CommandError("QEMU gave no picture of the screen: no console")


@pytest.fixture
def powered_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def power(*, hangs: bool) -> None:
        @contextlib.contextmanager
        def on(*_: object) -> Iterator[tuple[Any, BootResult]]:
            yield Screen(hangs=hangs), BootResult(Version("20260101-00000000"), tmp_path / "log")

        monkeypatch.setattr(booting, "_powered_on", on)

    return power


def quiet() -> Progress:
    return Progress(io.StringIO(), quiet=True)


@pytest.mark.parametrize(
    ("hangs", "error"), [(True, "kernel panic: it hangs"), (False, "check failed: false: exit status 1")]
)
def test_a_missing_picture_hides_nothing(powered_on: Any, hangs: bool, error: str, tmp_path: Path) -> None:
    powered_on(hangs=hangs)
    said = quiet()
    result = boot(tmp_path, BootOptions(checks=("false",), screenshot=tmp_path / "screen.png"), said)
    assert str(result.error) == error
    assert list(said.warnings) == ["QEMU gave no picture of the screen: no console"]


def test_a_picture_that_was_asked_for_and_is_missing_is_an_error(powered_on: Any, tmp_path: Path) -> None:
    powered_on(hangs=False)
    with pytest.raises(CommandError, match="no picture"):
        boot(tmp_path, BootOptions(screenshot=tmp_path / "screen.png"), quiet())


@needs_root
@pytest.mark.parametrize("option", ["screenshot", "console_log"])
def test_a_bad_name_is_found_before_anything(option: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "kept").write_text("of before", "ascii")
    for name in ("none/x", "link", "."):
        with pytest.raises(InputError, match="written") as caught:
            preflight(BootOptions(**cast(Any, {option: tmp_path / name})))
        assert f"--{option.replace('_', '-')}" in (caught.value.hint or "")
    for name in ("kept", "new"):
        with contextlib.suppress(DisklessError):  # of what this host lacks
            preflight(BootOptions(**cast(Any, {option: tmp_path / name})))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "link"]
    assert (tmp_path / "kept").read_text("ascii") == "of before"


def test_a_machine_that_is_powered_on_once_more_has_a_new_monitor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Monitor] = []

    class Counted(Monitor):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(guests, "Monitor", Counted)
    namespace = SimpleNamespace(end=lambda service: None)
    service = SimpleNamespace(status=None)
    parts = (cast(Any, namespace), lambda files: cast(Any, service), tmp_path / "log", cast(Any, None))
    guest = Guest(Machine(screen=True), *parts, cast(Any, None), lambda: None)
    guest._restart("it hung")
    guest.close()
    assert [monitor._line.fileno() for monitor in made] == [-1, -1]
