"""A guest without any disk, in QEMU: from power-on to login, commands inside, power-off."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builder.bootlab.console import Log, begin_log
from builder.bootlab.diagnosis import Diagnosis, Failure, diagnose, find_fault
from builder.bootlab.machine.accelerator import QEMU
from builder.bootlab.machine.firmware import Firmware, Flash, find_flash, firmware_arguments, nic_device
from builder.bootlab.machine.monitor import MONITOR, Monitor
from builder.bootlab.machine.serial import SERIAL_PORTS, SerialPorts
from builder.bootlab.machine.shell import ShellError
from builder.bootlab.namespace import Completed, Namespace, Service
from builder.bootlab.settings import Patience
from builder.bootlab.timeline import Logs, Milestone, Timeline, leased_address
from builder.errors import BootError, HostError
from builder.inits.table import running_init
from builder.system.run import describe_status

_LAST_LINES = 15
_POLL_SECONDS = 0.1
_KEYS = 4096  # read at once


@dataclass(frozen=True)
class Machine:
    """The guest's hardware.

    memory: MiB
    nic: a network card of QEMU that its firmware boots from; None: one that it does
    more_nics: further cards, which it does not boot from; their addresses follow that of the first
    flash: another UEFI firmware than the host's
    medium: a file that it boots from instead of the network; cd: as a CD, else as a disk
    screen: whether it has a screen, of which pictures can be taken
    """

    memory: int = 1024
    processors: int = 2
    nic: str | None = None
    mac: str = "52:54:00:00:00:01"
    firmware: Firmware = Firmware.BIOS
    flash: Flash | None = None
    more_nics: tuple[str, ...] = ()
    medium: Path | None = None
    cd: bool = False
    screen: bool = False


class GuestError(BootError):
    """A guest failed; `diagnosis` says how."""

    def __init__(self, diagnosis: Diagnosis, console: Log, waited: float | None = None) -> None:
        details = (*console.last_lines(_LAST_LINES), f"console log: {console.path}")
        if waited is not None:
            details = (*details, f"given up after {waited:.0f} s")
        super().__init__(diagnosis.message, diagnosis.advice, details)
        self.diagnosis = diagnosis


def taps_of(machine: Machine, tap: str) -> list[str]:
    """The taps that a machine's network cards are plugged into; `tap` is the first card's."""
    return [tap, *(f"{tap}-{number}" for number in range(1, len(machine.more_nics) + 1))]


def _nic_arguments(machine: Machine, tap: str) -> list[str]:
    start, _, last = machine.mac.rpartition(":")
    devices = [nic_device(machine.firmware, machine.nic), *machine.more_nics]
    arguments = []
    for number, (name, device) in enumerate(zip(taps_of(machine, tap), devices, strict=True)):
        mac = f"{start}:{(int(last, 16) + number) % 256:02x}"
        first = ",bootindex=0" if number == 0 and machine.medium is None else ""
        arguments += ["-netdev", f"tap,id=net{number},ifname={name},script=no,downscript=no"]
        arguments += ["-device", f"{device},netdev=net{number},mac={mac}{first}"]
    return arguments


def _medium_arguments(machine: Machine) -> list[str]:
    if machine.medium is None:
        return []
    device = "ide-cd" if machine.cd else "virtio-blk-pci"
    drive = f"if=none,id=medium,format=raw,readonly=on,file={machine.medium}"
    return ["-drive", drive, "-device", f"{device},drive=medium,bootindex=0"]


def qemu_command(machine: Machine, hardware: Sequence[str], tap: str) -> list[str]:
    """A machine with network cards, two serial ports and nothing else; the ports lead to descriptors 3 and 4.

    With a screen it has a monitor too, at descriptor 5.
    """
    return [
        QEMU.name,
        *hardware,
        *firmware_arguments(machine.firmware, machine.flash or find_flash(machine.firmware)),
        *("-display", "none", "-nodefaults", "-no-user-config"),
        *("-monitor", "none", "-no-reboot"),
        *("-m", str(machine.memory), "-smp", str(machine.processors)),
        *_nic_arguments(machine, tap),
        *_medium_arguments(machine),
        *("-device", "virtio-rng-pci"),
        *SERIAL_PORTS,
        *(MONITOR if machine.screen else ()),
    ]


class Guest:
    """A guest that was just powered on.

    start: starts its QEMU, with descriptors for its serial ports
    on_milestone: hears every milestone once, in order; on_wait: is called several times a second while waiting
    on_restart: hears why it is powered on once more, with an empty console
    server_logs: what the lab's servers logged so far; check_servers: raises CommandError when one of them has ended
    """

    def __init__(
        self,
        machine: Machine,
        namespace: Namespace,
        start: Callable[[Sequence[int]], Service],
        console: Path,
        patience: Patience,
        server_logs: Callable[[], Logs],
        check_servers: Callable[[], None],
    ) -> None:
        self._namespace = namespace
        self._start = start
        self._monitor = Monitor() if machine.screen else None
        self._machine = machine
        self._ports = self._new_ports(console)
        self._service = self._ports.connect(start)
        self._restarts = 0
        self._patience = patience
        self._server_logs = server_logs
        self._check_servers = check_servers
        self._started = time.monotonic()
        self.console = Log(console)
        self.timeline = Timeline()
        self.on_milestone: Callable[[Milestone], None] = lambda milestone: None
        self.on_wait: Callable[[], None] = lambda: None
        self.on_restart: Callable[[str], None] = lambda reason: None

    @property
    def seconds(self) -> float:
        """Seconds since power-on."""
        return time.monotonic() - self._started

    @property
    def logs(self) -> Logs:
        """Everything known about this guest."""
        return replace(self._server_logs(), console=self.console.text)

    @property
    def address(self) -> str | None:
        """The address it got last."""
        return leased_address(self.logs)

    @property
    def is_running(self) -> bool:
        """Whether it is still powered on."""
        return self._service.status is None

    def await_login(self) -> None:
        """Waits for the login prompt; GuestError with a diagnosis when it fails or takes too long.

        What is a fault of the emulation, and none of the image, is tried a second time. HostError when QEMU itself
        fails.
        """
        while Milestone.LOGIN not in self.timeline.seconds:
            self._observe()
            fault = find_fault(self.logs)
            if fault is not None:
                if fault.fault is not Failure.EMULATION or self._restarts:
                    raise GuestError(fault, self.console)
                self._restart(fault.message)
            if not self.is_running:
                raise GuestError(diagnose(self.logs, self.timeline.last, running=False), self.console)
            if self.seconds > self._patience.login:
                raise GuestError(diagnose(self.logs, self.timeline.last, running=True), self.console, self.seconds)

    def _new_ports(self, console: Path) -> SerialPorts:
        return SerialPorts(console, [self._monitor.machines_end] if self._monitor else [])

    def take_picture(self) -> bytes:
        """Its screen, as a PNG file; ValueError where it has none, CommandError where QEMU gives no picture."""
        if self._monitor is None:
            raise ValueError("this machine has no screen")
        return self._monitor.take_picture()

    def attend(self, keyboard: int, show: Callable[[bytes], None], leave: bytes) -> None:
        """Connects the descriptor of a terminal with its console, until it is off or `leave` is typed.

        HostError when QEMU fails.
        """
        self._ports.on_output = show
        try:
            while self.is_running:
                self._observe()
                if select.select([keyboard], [], [], 0)[0]:
                    keys = os.read(keyboard, _KEYS)
                    if leave in keys or not keys:
                        return
                    with contextlib.suppress(OSError):  # it was switched off meanwhile
                        self._ports.type(keys)
        finally:
            self._ports.on_output = lambda said: None

    def _restart(self, reason: str) -> None:
        self._restarts += 1
        self.on_restart(reason)
        self._namespace.end(self._service)
        self._ports.close()
        begin_log(self.console.path)
        if self._monitor is not None:
            self._monitor.close()
        self._monitor = Monitor() if self._machine.screen else None
        self._ports = self._new_ports(self.console.path)
        self._service = self._ports.connect(self._start)
        self._started = time.monotonic()
        self.timeline = Timeline()

    def run(self, command: str, *, seconds: float | None = None) -> Completed:
        """Runs a shell command as root inside; GuestError when the guest does not answer in time."""
        patience = self._patience.check if seconds is None else seconds
        try:
            return Completed(*self._ports.shell.run(command, seconds=patience, while_waiting=self._observe))
        except (ShellError, OSError) as error:
            self._observe()
            raise GuestError(diagnose(self.logs, self.timeline.last, running=self.is_running), self.console) from error

    def power_off(self) -> None:
        """Orders a clean shutdown and waits for the machine to switch itself off; GuestError when it hangs."""
        try:
            self._ports.shell.send(f"\n{running_init(self.console.text).power_off}\n")
        except OSError as error:
            self._observe()
            raise GuestError(diagnose(self.logs, self.timeline.last, running=self.is_running), self.console) from error
        ordered = time.monotonic()
        while self.is_running:
            self._observe()
            if time.monotonic() - ordered > self._patience.power_off:
                raise GuestError(diagnose(self.logs, self.timeline.last, running=True, ordered_off=True), self.console)
        self._observe()
        self.timeline.seconds[Milestone.OFF] = self.seconds

    def close(self) -> None:
        """Lets go of its serial ports; the machine itself ends with the lab."""
        self._ports.close()
        if self._monitor is not None:
            self._monitor.close()

    def is_on(self, service: Service) -> bool:
        """Whether `service` is the machine that it runs on."""
        return service is self._service

    def _check_machine(self) -> None:
        if self._service.status:
            hint = f"`{QEMU.name} -device help` lists network cards; is there memory left?"
            message = f"QEMU could not run the guest: {describe_status(self._service.status)}"
            raise HostError(message, hint, self._service.last_lines())

    def _observe(self) -> None:
        """Takes note of what happened; HostError when QEMU failed, CommandError when a server ended."""
        self._namespace.poll(_POLL_SECONDS)
        if not self.is_running:
            self._ports.finish()
        self._check_machine()
        self._check_servers()
        for milestone in self.timeline.note(self.logs, self.seconds):
            self.on_milestone(milestone)
        self.on_wait()
