"""Boots a version in a lab, as a client without a disk would, and says what happened and when."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from builder.bootlab.console import begin_log, check_log
from builder.bootlab.diagnosis import Diagnosis
from builder.bootlab.lab import Lab, lab_site, lab_tools
from builder.bootlab.machine.firmware import find_flash
from builder.bootlab.machine.guest import Guest, GuestError, Machine
from builder.bootlab.machine.units import Units, await_units, examine_units, runs_systemd
from builder.bootlab.nfs import choose_nfs_server
from builder.bootlab.settings import Patience
from builder.bootlab.walls.volumes import Medium, Volume, available_memory, check_memory, choose_medium, mounted
from builder.cache import hold_cache
from builder.errors import BootError, CommandError, DisklessError, HostError, InputError
from builder.model.artifacts.manifest import BUNDLE, INDEX, Manifest
from builder.model.generation import BootName
from builder.model.menu import KERNEL
from builder.model.recipe import LoaderName
from builder.model.share import TOPS
from builder.model.site import Site
from builder.model.version import Version
from builder.output.offer import offer_directory
from builder.progress.progress import Progress
from builder.store.activation import activate
from builder.store.arrival.admission import add_version
from builder.store.filesystem import check_room
from builder.store.inventory import read_inventory
from builder.store.layout import Store, open_store, store_name
from builder.system.files import FULL, free_bytes, nearest_directory
from builder.system.guarded.private import own_directory
from builder.system.private_mounts import private_mounts
from builder.system.privileges.permissions import LAB, require_permissions
from builder.system.run import describe_status, require_tools
from builder.system.workspace import open_workspace

_BLOCK = 4096
_SPARE = 256 << 20  # of each file system, for what it and the store keep beside the files
# bytes that a guest may write to its root: on a disk as much as half of what is free, in memory a quarter
_MOST_ROOM = 4 << 30


@dataclass(frozen=True)
class BootOptions:
    """How to boot.

    checks: shell commands to run inside as root, after the login prompt
    strict: whether a unit that failed is an error
    site: the server that the lab is; None: the lab's own
    loader: the boot loader that the guest gets; None: the first of the image's that its firmware can start
    console_log: where the console is written to; None: beside the version, as VERSION.console.log
    screenshot: where a picture of the screen is written to, at the login prompt or where it failed; None: none is taken
    work: where the image is unpacked, into file systems of the lab's own
    """

    checks: tuple[str, ...] = ()
    strict: bool = False
    machine: Machine = field(default_factory=Machine)
    site: Site | None = None
    loader: LoaderName | None = None
    patience: Patience = field(default_factory=Patience)
    console_log: Path | None = None
    screenshot: Path | None = None
    work: Path = Path("/var/cache/diskless/boot")


@dataclass(frozen=True)
class CheckResult:
    """One command that ran inside the guest."""

    command: str
    status: int
    output: str


@dataclass(frozen=True)
class Seat:
    """Where somebody sits: the descriptor of the keyboard, how to show bytes, and the keys that end it.

    hold: what the terminal is in meanwhile, so that keys come as they are
    """

    keyboard: int
    show: Callable[[bytes], None]
    leave: bytes
    hold: Callable[[], contextlib.AbstractContextManager[None]]


@dataclass
class BootResult:
    """What a boot showed.

    timeline: seconds from power-on by milestone; error: None when the boot and all checks were good
    units: what became of systemd's units; None where the guest did not come that far, or its init is another one
    """

    version: Version
    console_log: Path
    timeline: dict[str, float] = field(default_factory=dict)
    address: str | None = None
    checks: list[CheckResult] = field(default_factory=list)
    units: Units | None = None
    diagnosis: Diagnosis | None = None
    error: BootError | None = None


@dataclass(frozen=True)
class Bench:
    """A lab that serves one version from a store of its own: the served files may still be changed.

    root: the root directory that the guest will mount; boot_files: its kernel and initramfs, below the TFTP root
    """

    lab: Lab
    manifest: Manifest
    store: Store

    @property
    def root(self) -> Path:
        """What the guest will mount."""
        return self.store.root_of(self.manifest)

    @property
    def tftp_root(self) -> Path:
        """Loaders, menus, kernels."""
        return self.store.boot

    @property
    def boot_files(self) -> Path:
        """The version's kernel and initramfs, as TFTP serves them."""
        return self.store.boot_files(self.manifest.image, BootName(self.manifest.version))

    def power_on(self, console_log: Path, machine: Machine | None = None) -> Guest:
        """Starts a guest."""
        return self.lab.power_on(console_log, self.boot_files / KERNEL, machine)


def boot(version: Path, options: BootOptions, progress: Progress) -> BootResult:
    """Boots `version` to its login prompt, runs the checks inside, powers it off.

    What goes wrong with the guest is in the result; InputError, HostError and CommandError, which are
    this machine's, are raised.
    """
    with _powered_on(version, options, progress) as (guest, result):
        guest.on_milestone = lambda milestone: progress.note(f"{guest.seconds:.0f} s: {milestone}")
        guest.on_wait = lambda: progress.tick(_describe(guest))
        try:
            _exercise(guest, options, progress, result)
        except GuestError as error:
            result.error, result.diagnosis = error, error.diagnosis
            fault = _picture_fault(guest, options) if guest.is_running else None
            if fault is not None:
                progress.warn(fault.message)
        except (HostError, CommandError) as error:
            error.details = (*error.details, f"console log: {result.console_log}")
            raise
        _note_timeline(guest, result)
    return result


def attend(version: Path, options: BootOptions, progress: Progress, seat: Seat) -> BootResult:
    """Boots `version` with a terminal as its console, until somebody leaves it or the machine is off.

    InputError, HostError and CommandError, which are this machine's, are raised; the guest's own faults are seen.
    """
    with _powered_on(version, options, progress) as (guest, result):
        with seat.hold():
            guest.attend(seat.keyboard, seat.show, seat.leave)
        if guest.is_running:
            _take_picture(guest, options)
        _note_timeline(guest, result)
    return result


@contextlib.contextmanager
def _powered_on(version: Path, options: BootOptions, progress: Progress) -> Iterator[tuple[Guest, BootResult]]:
    """A guest that was just switched on, and a result that nothing is in yet."""
    console = options.console_log or default_console_log(version)
    machine = dataclasses.replace(options.machine, screen=options.screenshot is not None)
    with open_bench(version, options, progress) as bench:
        result = BootResult(bench.manifest.version, console.absolute())
        guest = bench.power_on(result.console_log, machine)
        guest.on_restart = lambda reason: progress.warn(f"{reason}: powered on once more")
        yield guest, result


def _note_timeline(guest: Guest, result: BootResult) -> None:
    result.timeline = {milestone.value: round(second, 1) for milestone, second in guest.timeline.seconds.items()}
    result.address = guest.address


def _take_picture(guest: Guest, options: BootOptions) -> None:
    if options.screenshot is not None:
        picture = guest.take_picture()
        begin_log(options.screenshot, "--screenshot")
        try:
            options.screenshot.write_bytes(picture)
        except OSError as error:
            hint = "make room, or name another place" if error.errno in FULL else None
            raise HostError(f"{options.screenshot} cannot be written: {error.strerror}", hint) from error


def _picture_fault(guest: Guest, options: BootOptions) -> DisklessError | None:
    """Takes the picture that was asked for; why there is none, where something else may be of more weight."""
    try:
        _take_picture(guest, options)
    except (CommandError, HostError, InputError) as error:
        return error
    return None


def default_console_log(version: Path) -> Path:
    """VERSION.console.log beside the version directory."""
    real = version.resolve()
    return real.with_name(f"{real.name}.console.log")


def preflight(options: BootOptions) -> Medium:
    """What the image can be unpacked into here.

    Raises HostError at once for whatever this machine lacks or forbids: privilege, tools, namespaces, a network, file
    systems; InputError for a work directory whose path the servers' configurations could not quote, or a file that
    could not be written at the end.
    """
    if os.geteuid() != 0:
        raise HostError("a boot needs root", "sudo diskless boot ...: it makes namespaces and a network of its own")
    check_work_path(options.work)
    for path, option in ((options.console_log, "--console-log"), (options.screenshot, "--screenshot")):
        if path is not None:
            check_log(path, option)
    nfs = choose_nfs_server()
    require_tools(lab_tools(nfs))
    if options.machine.flash is None:
        find_flash(options.machine.firmware)
    require_permissions((*LAB, *nfs.permissions), "a boot", options.work)
    return choose_medium(nfs.name, exports_tmpfs=nfs.exports_tmpfs())


def choose_loader(manifest: Manifest, options: BootOptions) -> LoaderName:
    """The boot loader that the guest gets; InputError where image and firmware have none in common."""
    firmware = options.machine.firmware
    fitting = [name for name in firmware.loaders if name in manifest.loaders and options.loader in (None, name)]
    if fitting:
        return fitting[0]
    has = f"{manifest.image} {manifest.version} has {', '.join(manifest.loaders)}"
    if options.loader is not None and options.loader not in firmware.loaders:
        raise InputError(
            f"--firmware {firmware} starts no {options.loader}", f"it starts {', '.join(firmware.loaders)}"
        )
    raise InputError(
        f"no loader for --firmware {firmware}: {has}",
        f"build the image with {' or '.join(firmware.loaders)}: boot.loaders in the recipe, or left out",
    )


def check_work_path(work: Path) -> None:
    """InputError where what lies in `work` would have no name that a lab's servers could have."""
    try:
        store_name(work)
    except InputError as error:
        error.hint = (
            "a boot unpacks and serves the image there, and no server could quote the path: choose another --cache"
        )
        raise


@contextlib.contextmanager
def open_bench(version: Path, options: BootOptions, progress: Progress) -> Iterator[Bench]:
    """A lab that serves `version` as a deploy would, from a private store; nothing of it is left at the end."""
    offer = offer_directory(version)
    manifest = offer.manifest
    loader = choose_loader(manifest, options)
    medium = preflight(options)
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(hold_cache(options.work.parent, progress.note))
        place = stack.enter_context(own_directory(cache, options.work.name, progress.note, 0o700))
        work = stack.enter_context(open_workspace(place, progress.note, progress.warn)).path
        logs, images = work / "lab", work / "images"
        for directory in (logs, images):
            directory.mkdir()
        stack.enter_context(private_mounts())
        stack.enter_context(mounted(store_volumes(work / "store", manifest, options, medium), medium, images))
        store = stack.enter_context(open_store(work / "store", progress.note, create=True))
        nfs = choose_nfs_server()
        site = dataclasses.replace(options.site or lab_site(nfs), loaders=(loader,))
        machine = options.machine
        flash = [machine.flash.code, machine.flash.variables] if machine.flash else []
        shared = (*flash, *([machine.medium] if machine.medium else []))
        lab = stack.enter_context(
            Lab(logs, store.served(rw=True), site=site, patience=options.patience, nfs=nfs, shared=shared)
        )
        with progress.step("unpack"), progress.files("unpack", manifest.entries) as on_file:
            inventory, _ = add_version(read_inventory(store), offer, on_file)
        with progress.step("serve"):
            bench = Bench(lab, manifest, store)
            site = dataclasses.replace(lab.site, nfs_options=_usable_version(lab, manifest, progress))
            activate(inventory, site, {manifest.image: BootName(manifest.version)}, "boot")
            lab.serve()
        yield bench


def store_volumes(store: Path, manifest: Manifest, options: BootOptions, medium: Medium) -> list[Volume]:
    """The file systems of a lab's store: one for all that no guest may reach, and one for the roots.

    HostError where disk or memory have no room for them.
    """
    artifacts = manifest.artifacts
    # bundle and index, as they come and as they are kept
    common = 4 * artifacts[BUNDLE].size + 2 * artifacts[INDEX].size + _SPARE
    root = manifest.size + manifest.entries * _BLOCK
    place = options.work if medium is Medium.LOOP else None
    if place is None:
        check_memory(common + root, options.machine.memory << 20)
        room = (available_memory() - common - root - (options.machine.memory << 20)) // 4
    else:
        check_room(nearest_directory(place), common + root, "this boot")
        room = (free_bytes(place) - common - root) // 2
    size = common + root + min(room, _MOST_ROOM)
    files = manifest.entries + (size - common - root) // (2 * _BLOCK)
    return [Volume(store, common, 0), Volume(store / TOPS[manifest.root.mode], size, files)]


def _usable_version(lab: Lab, manifest: Manifest, progress: Progress) -> tuple[str, ...]:
    """Nothing, or the option for another NFS version than the image's, where the lab's server is not up to that one."""
    wanted, kernel = manifest.root.version, manifest.kernel
    version = lab.nfs.usable_version(lab.namespace, wanted, kernel)
    if version == wanted:
        return ()
    progress.warn(
        f"this host's NFS server would serve every file to Linux {kernel} as an empty one over NFSv{wanted} "
        f"(READ_PLUS, repaired in nfs-ganesha 6.2): the root is mounted with vers={version}"
    )
    return (f"vers={version}",)


def _exercise(guest: Guest, options: BootOptions, progress: Progress, result: BootResult) -> None:
    """From power-on to power-off; a failed check is kept for the end, so that the others run."""
    with progress.step("boot"):
        guest.await_login()
    has_units = runs_systemd(guest.console.text)
    if has_units:
        with progress.step("units"):
            await_units(guest, options.patience.units)
    with progress.step("check"):
        for command in options.checks:
            done = guest.run(command)
            result.checks.append(CheckResult(command, done.status, done.output))
        result.units = examine_units(guest) if has_units else None
    picture_fault = _picture_fault(guest, options)
    with progress.step("power off"):
        guest.power_off()
    result.error = _failed_check(result.checks) or (_failed_units(result.units) if options.strict else None)
    if picture_fault is not None:
        if result.error is None:
            raise picture_fault
        progress.warn(picture_fault.message)


def _failed_check(checks: list[CheckResult]) -> BootError | None:
    failed = [check for check in checks if check.status != 0]
    if not failed:
        return None
    first = failed[0]
    message = f"check failed: {first.command}: {describe_status(first.status)}"
    return BootError(message, "the image boots; the command is what failed", tuple(first.output.splitlines()[-15:]))


def _failed_units(units: Units | None) -> BootError | None:
    if units is None or units.fault is None:
        return None
    hint = "the image boots, and not all of it works: its journal says why; without --strict this is a warning"
    return BootError(units.fault, hint, units.evidence)


def _describe(guest: Guest) -> str:
    last = guest.console.last_lines(1)
    return f"{guest.seconds:.0f} s: {last[0] if last else 'power on'}"
