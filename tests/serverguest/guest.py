"""A server guest: booted by QEMU without firmware's help, ordered about by a root shell, its power cut at any time."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

from builder.bootlab.console import Log
from builder.bootlab.machine.accelerator import QEMU
from builder.bootlab.machine.serial import SERIAL_PORTS, SerialPorts
from builder.bootlab.machine.shell import ShellError
from builder.bootlab.namespace import Completed, Namespace
from tests.serverguest.disks import Drive
from tests.serverguest.root import ServerRoot

MAC = "52:54:00:00:00:fe"
_BOOT_SECONDS = 180
_COMMAND_SECONDS = 1200
_CMDLINE = "console=ttyS0,115200 loglevel=4 panic=-1 net.ifnames=0 mitigations=off"


class PowerCutError(Exception):
    """The guest was switched off while a command ran."""


class ServerGuest:
    """A server guest, just switched on. The root disk is /dev/vda; `drives` follow it.

    namespace: where it runs, and ends with; accelerator: QEMU's arguments; tap: its network card's other end;
    services: whether systemd runs there
    """

    def __init__(
        self,
        namespace: Namespace,
        name: str,
        root: ServerRoot,
        drives: Sequence[Drive],
        accelerator: Sequence[str],
        tap: str | None = None,
        *,
        services: bool = False,
    ) -> None:
        self._namespace = namespace
        self._up = "server login:" if services else "the server guest is up"
        self.console = Log(namespace.directory / f"{name}.console")
        cmdline = f"{_CMDLINE} systemd.debug_shell=ttyS1" if services else _CMDLINE
        command = _qemu_command(root, drives, accelerator, tap, cmdline)
        self._ports = SerialPorts(self.console.path)
        self._service = self._ports.connect(lambda files: namespace.start(name, command, files=files))
        self._await_up()

    def run(
        self, command: str, *, seconds: float = _COMMAND_SECONDS, power_cut_after: float | None = None
    ) -> Completed:
        """Runs a shell command as root; PowerCutError when it was still running `power_cut_after` seconds later."""
        started = time.monotonic()

        def wait() -> None:
            self._namespace.poll(0)
            if power_cut_after is not None and time.monotonic() - started >= power_cut_after:
                self.cut_power()
                raise PowerCutError
            assert self._service.status is None, self._last_words("the server guest ended")

        try:
            return Completed(*self._ports.shell.run(command, seconds=seconds, while_waiting=wait))
        except (ShellError, OSError) as error:
            raise AssertionError(self._last_words(f"no answer to {command}: {error}")) from error

    def check(self, command: str, *, seconds: float = _COMMAND_SECONDS) -> str:
        """What a command printed; it must end well."""
        done = self.run(command, seconds=seconds)
        assert done.status == 0, f"{command}: {done.status}\n{done.output}"
        return done.output

    def cut_power(self) -> None:
        """SIGKILL: nothing that only the guest's memory held is left."""
        self._namespace.stop(self._service, signal.SIGKILL)
        while self._service.status is None:
            self._namespace.poll(0.1)
        self._ports.close()

    def _await_up(self) -> None:
        deadline = time.monotonic() + _BOOT_SECONDS
        while self._up not in self.console.text:
            self._namespace.poll(0.1)
            assert self._service.status is None, self._last_words("the server guest did not boot")
            assert time.monotonic() < deadline, self._last_words("the server guest takes too long")

    def _last_words(self, message: str) -> str:
        return "\n".join([message, *self.console.last_lines(30), *self._service.last_lines()])


def _qemu_command(
    root: ServerRoot, drives: Sequence[Drive], accelerator: Sequence[str], tap: str | None, cmdline: str
) -> list[str]:
    network = ["-netdev", f"tap,id=net,ifname={tap},script=no,downscript=no"]
    network += ["-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile="]
    return [
        QEMU.name,
        *accelerator,
        *("-machine", "q35,graphics=off", "-display", "none", "-nodefaults", "-no-user-config"),
        *("-monitor", "none", "-no-reboot", "-m", "1024", "-smp", "2"),
        *("-kernel", str(root.kernel), "-initrd", str(root.initramfs), "-append", cmdline),
        *(argument for drive in (Drive(root.disk, volatile=True), *drives) for argument in drive.arguments()),
        *(network if tap else ()),
        *SERIAL_PORTS,
    ]
