"""A machine's serial ports, with a few lines of Python in place of QEMU; and what QEMU is asked before it starts."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from builder.bootlab.machine import serial
from builder.bootlab.machine.accelerator import EMULATION, hardware_arguments
from builder.bootlab.machine.serial import SerialPorts
from builder.bootlab.namespace import Completed, Namespace, Service
from builder.bootlab.settings import QEMU_FILTER, QEMU_USER

SERVICE = Service("qemu", 1, Path("/dev/null"))


def machine(behave: Callable[[socket.socket, socket.socket], None]) -> Callable[[Sequence[int]], Service]:
    """Starts one that does something at its ends of the ports, and is gone then."""

    def start(files: Sequence[int]) -> Service:
        console, line = (socket.socket(fileno=os.dup(file)) for file in files)

        def run() -> None:
            with console, line:
                behave(console, line)

        threading.Thread(target=run).start()
        return SERVICE

    return start


def test_all_that_a_machine_said_is_in_the_file_once_it_is_off(tmp_path: Path) -> None:
    path = tmp_path / "console"
    path.write_text("of the boot before", "ascii")
    said = os.urandom(3_000_000)
    ports = SerialPorts(path)
    assert ports.connect(machine(lambda console, line: console.sendall(said))) is SERVICE
    ports.finish()
    assert path.read_bytes() == said
    ports.close()


def test_a_machine_that_says_too_much_goes_on_unheard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial, "CONSOLE_BYTES", 1000)
    ports = SerialPorts(tmp_path / "console")
    ports.connect(machine(lambda console, line: console.sendall(b"x" * 1_000_000)))
    ports.finish()
    assert (tmp_path / "console").read_bytes() == b"x" * 1000
    ports.close()


def test_a_machine_that_runs_can_be_unplugged(tmp_path: Path) -> None:
    hung_up = threading.Event()

    def wait(console: socket.socket, line: socket.socket) -> None:
        console.recv(1)
        line.recv(1)
        hung_up.set()

    ports = SerialPorts(tmp_path / "console")
    ports.connect(machine(wait))
    ports.close()
    assert hung_up.wait(60)


def test_a_machine_that_cannot_start_leaves_nothing(tmp_path: Path) -> None:
    def fail(files: Sequence[int]) -> Service:
        raise ZeroDivisionError

    before = sorted(Path("/proc/self/fd").iterdir())
    with pytest.raises(ZeroDivisionError):
        SerialPorts(tmp_path / "console").connect(fail)
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_a_shell_whose_machine_is_gone(tmp_path: Path) -> None:
    ports = SerialPorts(tmp_path / "console")
    ports.connect(machine(lambda console, line: cast("None", line.recv(1))))
    with pytest.raises(OSError, match=r"gone|reset|Broken pipe"):
        ports.shell.run("true", seconds=60, while_waiting=lambda: None)
    ports.close()


class Asked:
    """A namespace in which every program says the same."""

    def __init__(self, said: str) -> None:
        self.said = said

    def run(self, argv: Sequence[str], **options: Any) -> Completed:
        assert options == {"identity": QEMU_USER}
        return Completed(0, self.said)


@pytest.mark.parametrize(("said", "own"), [("-sandbox on[,...]\n", QEMU_FILTER), ("-m [size=]megs\n", ())])
def test_qemus_filter_is_used_where_it_was_built_with_it(said: str, own: tuple[str, ...], tmp_path: Path) -> None:
    arguments = hardware_arguments(cast("Namespace", Asked(said)), tmp_path / "no-kernel")
    assert arguments == (*own, *EMULATION)
