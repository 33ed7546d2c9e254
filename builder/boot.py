"""Boots a version in a lab, as a client without a disk would, and says what happened and when."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from builder.bootlab.diagnosis import Diagnosis
from builder.bootlab.guest import Guest, GuestError, Machine
from builder.bootlab.lab import Lab, Served
from builder.bootlab.settings import LabSettings
from builder.errors import InputError
from builder.model.manifest import BUNDLE, INDEX, MANIFEST, ROOTFS, Manifest
from builder.render.pxe import Entry, INITRAMFS, KERNEL, kernel_cmdline, pxelinux_config
from builder.render.server import Export
from builder.system.progress import Progress


@dataclass(frozen=True)
class BootOptions:
    """How to boot. checks: shell commands to run as root inside; console_log: None puts it beside the version."""

    checks: tuple[str, ...] = ()
    machine: Machine = field(default_factory=Machine)
    settings: LabSettings = field(default_factory=LabSettings)
    console_log: Path | None = None
    work: Path = Path("/var/tmp")  # noqa: S108


@dataclass(frozen=True)
class CheckResult:
    """One command that ran inside the guest."""

    command: str
    status: int
    output: str


@dataclass
class BootResult:
    """What a boot showed. timeline: seconds from power-on by milestone; diagnosis: None when all went well."""

    console_log: Path
    timeline: dict[str, float] = field(default_factory=dict)
    address: str | None = None
    checks: list[CheckResult] = field(default_factory=list)
    diagnosis: Diagnosis | None = None


def unpack(archive, index, destination):
    import subprocess
    destination.mkdir(parents=True)
    subprocess.run(["tar","--zstd","-xpf",archive,"-C",destination],check=True)

@dataclass(frozen=True)
class Bench:
    """A lab that serves one version; nothing has booted yet."""
    lab: Lab
    root: Path
    tftp_root: Path


@contextlib.contextmanager
def open_bench(version: Path, options: BootOptions, progress: Progress) -> Iterator[Bench]:
    manifest = Manifest.from_json((version/MANIFEST).read_text())
    with tempfile.TemporaryDirectory(prefix="diskless-boot-", dir=options.work) as work:
        work = Path(work)
        (work/"lab").mkdir()
        with Lab(work/"lab", options.settings) as lab:
            with progress.step("unpack"):
                export = Export(str(work/"writable"), "/disklessroot/writable", options.settings.network.subnet, 1, True)
                root = work/"writable"/manifest.image/manifest.version/"root"
                root.parent.mkdir(parents=True)
                unpack(version/ROOTFS, version/INDEX, root)
                unpack(version/BUNDLE, None, work/"boot")
            location = f"{options.settings.network.server}:{lab.nfs.client_path(export)}/{manifest.image}/{manifest.version}/root"
            cmd = " ".join([kernel_cmdline(manifest, location), *options.settings.kernel_arguments])
            (work/"boot/pxelinux.cfg/default").write_text(pxelinux_config([Entry(manifest.image,manifest.image,KERNEL,INITRAMFS,cmd)]))
            with progress.step("serve"):
                lab.serve(Served(work/"boot", (export,), location))
            yield Bench(lab, root, work/"boot")

def boot(version: Path, options: BootOptions, progress: Progress) -> BootResult:
    console = options.console_log
    result = BootResult(console)
    with open_bench(version, options, progress) as bench:
        guest = bench.lab.power_on(console, bench.tftp_root/KERNEL, options.machine)
        guest.on_news = lambda g: progress.tick(f"{g.seconds:.0f} s: {g.timeline.last}: {''.join(g.console.last_lines(1))}")
        try:
            with progress.step("boot"):
                guest.await_login()
                for command in options.checks:
                    done = guest.run(command)
                    result.checks.append(CheckResult(command, done.status, done.output))
                guest.power_off()
        except GuestError as error:
            result.diagnosis = error.diagnosis
            print(error.details)
        result.timeline = {k.value: round(v,1) for k,v in guest.timeline.seconds.items()}
        result.address = guest.address
        print(bench.lab.namespace._services["qemu-tap0"].log.read_text(), bench.lab.logs().http, file=__import__('sys').stderr)
    return result
