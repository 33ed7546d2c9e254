"""Boots a version in a lab, as a client without a disk would, and says what happened and when."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from builder.bootlab.diagnosis import Diagnosis
from builder.bootlab.guest import Guest, GuestError, Machine
from builder.bootlab.lab import Lab, Served
from builder.bootlab.settings import LabSettings
from builder.errors import BootError, HostError
from builder.model.manifest import BUNDLE, INDEX, ROOTFS, Manifest
from builder.render.pxe import KERNEL, image_entry, pxelinux_config
from builder.render.server import Export
from builder.system.members import read_members
from builder.system.progress import Progress
from builder.system.run import describe_status
from builder.system.unpack import unpack
from builder.system.versions import read_manifest, verify_artifacts
from builder.system.workspace import open_workspace

STORE = "/disklessroot"
_WRITABLE_FSID = 1


@dataclass(frozen=True)
class BootOptions:
    """How to boot.

    checks: shell commands to run inside as root, after the login prompt
    console_log: where the console is written to; None: beside the version, as VERSION.console.log
    work: where the image is unpacked, on a file system that NFS can export
    """

    checks: tuple[str, ...] = ()
    machine: Machine = field(default_factory=Machine)
    settings: LabSettings = field(default_factory=LabSettings)
    console_log: Path | None = None
    work: Path = Path("/var/cache/diskless/boot")


@dataclass(frozen=True)
class CheckResult:
    """One command that ran inside the guest."""

    command: str
    status: int
    output: str


@dataclass
class BootResult:
    """What a boot showed.

    timeline: seconds from power-on by milestone; error: None when the boot and all checks were good
    """

    version: str
    console_log: Path
    timeline: dict[str, float] = field(default_factory=dict)
    address: str | None = None
    checks: list[CheckResult] = field(default_factory=list)
    diagnosis: Diagnosis | None = None
    error: BootError | None = None


@dataclass(frozen=True)
class Bench:
    """A lab that serves one version to which nothing has happened yet: the served files may still be changed.

    root: the root directory that the guest will mount; tftp_root: loaders, kernel, pxelinux.cfg
    """

    lab: Lab
    manifest: Manifest
    root: Path
    tftp_root: Path

    def power_on(self, console_log: Path, machine: Machine | None = None) -> Guest:
        """Starts a guest."""
        return self.lab.power_on(console_log, self.tftp_root / KERNEL, machine)


def boot(version: Path, options: BootOptions, progress: Progress) -> BootResult:
    """Boots `version` to its login prompt, runs the checks inside, powers it off.

    What goes wrong with the guest is in the result; InputError, HostError and CommandError are raised before it starts.
    """
    console = options.console_log or default_console_log(version)
    with open_bench(version, options, progress) as bench:
        result = BootResult(bench.manifest.version, console.absolute())
        guest = bench.power_on(result.console_log, options.machine)
        guest.on_milestone = lambda milestone: progress.note(f"{guest.seconds:.0f} s: {milestone}")
        guest.on_wait = lambda: progress.tick(_describe(guest))
        try:
            _exercise(guest, options, progress, result)
        except GuestError as error:
            result.error, result.diagnosis = error, error.diagnosis
        result.timeline = {milestone.value: round(second, 1) for milestone, second in guest.timeline.seconds.items()}
        result.address = guest.address
    return result


def default_console_log(version: Path) -> Path:
    """VERSION.console.log beside the version directory."""
    real = version.resolve()
    return real.with_name(f"{real.name}.console.log")


@contextlib.contextmanager
def open_bench(version: Path, options: BootOptions, progress: Progress) -> Iterator[Bench]:
    """A lab that serves `version` from a private copy; nothing of it is left at the end."""
    manifest = read_manifest(version)
    if os.geteuid() != 0:
        raise HostError("a boot needs root", "sudo diskless boot ...: it makes namespaces and a network of its own")
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(open_workspace(options.work.absolute())).path
        logs = work / "lab"
        logs.mkdir()
        lab = stack.enter_context(Lab(logs, options.settings))
        export = _export(work, options.settings.network.subnet)
        bench = Bench(lab, manifest, work / "writable" / manifest.image / manifest.version / "root", work / "boot")
        with progress.step("unpack"):
            verify_artifacts(version, manifest)
            _unpack(version, bench, progress)
        with progress.step("serve"):
            _serve(bench, export)
        yield bench


def _unpack(version: Path, bench: Bench, progress: Progress) -> None:
    bench.root.mkdir(parents=True)
    with progress.task("unpack", bench.manifest.entries, "files") as task:

        def count(name: str) -> None:
            task.advance()
            progress.tick(name)

        unpack(version / ROOTFS, version / INDEX, bench.root, count)
    for name, content in read_members(version / BUNDLE).items():
        path = bench.tftp_root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _export(work: Path, clients: str) -> Export:
    """The store of read-write roots, as a deployed one is exported."""
    return Export(str(work / "writable"), f"{STORE}/writable", clients, _WRITABLE_FSID, writable=True)


def _serve(bench: Bench, export: Export) -> None:
    """Writes the boot configuration that a deploy would write, with the lab's arguments, and starts the servers."""
    lab, manifest = bench.lab, bench.manifest
    path = f"{lab.nfs.client_path(export)}/{bench.root.relative_to(export.directory)}"
    location = f"{lab.settings.network.server}:{path}"
    entry = image_entry(manifest, location, more=lab.settings.kernel_arguments)
    (bench.tftp_root / "pxelinux.cfg/default").write_text(pxelinux_config([entry]), "utf-8")
    lab.serve(Served(bench.tftp_root, (export,), location))


def _exercise(guest: Guest, options: BootOptions, progress: Progress, result: BootResult) -> None:
    """From power-on to power-off; a failed check is kept for the end, so that the others run."""
    with progress.step("boot"):
        guest.await_login()
    with progress.step("check"):
        for command in options.checks:
            done = guest.run(command)
            result.checks.append(CheckResult(command, done.status, done.output))
    with progress.step("power off"):
        guest.power_off()
    result.error = _failed_check(result.checks)


def _failed_check(checks: list[CheckResult]) -> BootError | None:
    failed = [check for check in checks if check.status != 0]
    if not failed:
        return None
    first = failed[0]
    message = f"check failed: {first.command}: {describe_status(first.status)}"
    return BootError(message, "the image boots; the command is what failed", tuple(first.output.splitlines()[-15:]))


def _describe(guest: Guest) -> str:
    last = guest.console.last_lines(1)
    return f"{guest.seconds:.0f} s: {last[0] if last else 'power on'}"
