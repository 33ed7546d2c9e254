"""media: a medium that boots what a store serves, for machines whose network card or firmware cannot.

Kernel, initramfs and loaders are on it, the root is the store's. One file is a CD and a disk, for BIOS (ISOLINUX) and
UEFI (shim and GRUB, as they are served).

Sources: the syslinux wiki, ISOLINUX and isohybrid; UEFI 2.10, 3.5.1.1 (EFI/BOOT/BOOTX64.EFI) and El Torito;
xorrisofs(1); GRUB's manual, search. GRUB's network image reads /grub/grub.cfg of the file system that it came from.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from builder.errors import HostError, InputError
from builder.loaders.table import LOADERS, loader_of
from builder.model.menu import Menu, MenuEntry
from builder.model.recipe import LoaderName
from builder.progress.progress import Progress
from builder.store.generations import require_active, served_menus
from builder.store.layout import Store
from builder.store.served_loaders import is_refused
from builder.system.run import Runner, Tool, install_hint, require_tools

_XORRISO = Tool("xorriso", "xorriso", "libisoburn")
_MTOOLS = Tool("mformat", "mtools", "mtools")
_ISOLINUX = Tool("isolinux.bin", "isolinux syslinux-common", "syslinux")
# what each distribution calls the files of ISOLINUX, which must be of one build
_PLACES = (
    {
        "isolinux.bin": "/usr/lib/ISOLINUX/isolinux.bin",
        "isohdpfx.bin": "/usr/lib/ISOLINUX/isohdpfx.bin",
        "ldlinux.c32": "/usr/lib/syslinux/modules/bios/ldlinux.c32",
    },
    {name: f"/usr/lib/syslinux/bios/{name}" for name in ("isolinux.bin", "isohdpfx.bin", "ldlinux.c32")},
)
# names of the medium: ISOLINUX reads eight letters and three
_KERNEL, _INITRAMFS = "boot/vmlinuz", "boot/initrd.img"
_UEFI = {"shimx64.efi": "BOOTX64.EFI", "grubx64.efi": "grubx64.efi", "mmx64.efi": "mmx64.efi"}
_MEGABYTE = 1 << 20
_SPARE = _MEGABYTE  # of the FAT file system, beside its files


@dataclass(frozen=True)
class BootMedium:
    """What was written. uefi: whether UEFI boots it, too; label: the version, as menus name it"""

    path: Path
    size: int
    label: str
    uefi: bool


def make_medium(store: Store, image: str, target: Path, progress: Progress) -> BootMedium:
    """Writes what `image` boots now to a file, whole or not at all; its root stays on the server.

    InputError for an image that is not active, or a target that is no file; HostError for what this machine lacks.
    """
    isolinux = _find_isolinux()
    require_tools((_XORRISO, _MTOOLS))
    _check_target(target)
    label, entry = _active_entry(store, image)
    parent = target.absolute().parent
    with tempfile.TemporaryDirectory(prefix=".diskless-medium-", dir=parent) as name:
        work = Path(name)
        tree = work / "tree"
        with progress.step("collect"):
            uefi = _fill(store, label, entry, isolinux, tree)
        if uefi and not entry.signed:
            progress.warn(
                f"{label}: its kernel is signed by nobody whom this GRUB trusts: UEFI with Secure Boot will not boot it"
            )
        with Runner(work / "log", progress.output) as runner, progress.step("write"):
            if uefi:
                _make_efi_image(runner, work, tree)
            _run_xorriso(runner, tree, isolinux["isohdpfx.bin"], work / "medium", uefi=uefi)
        (work / "medium").chmod(0o644)
        (work / "medium").replace(target)
    return BootMedium(target, target.stat().st_size, label, uefi)


def _find_isolinux() -> dict[str, Path]:
    """Its files by name, of one build."""
    for places in _PLACES:
        found = {name: Path(path) for name, path in places.items()}
        if all(path.is_file() for path in found.values()):
            return found
    raise HostError("a medium for BIOS needs ISOLINUX, which is not on this host", install_hint([_ISOLINUX]))


def _check_target(target: Path) -> None:
    if target.is_dir() or (target.exists() and not target.is_file()):
        raise InputError(
            f"{target} is not a file", "name a file; `dd if=FILE of=DEVICE bs=4M` then writes it to a stick"
        )
    if not target.absolute().parent.is_dir():
        raise InputError(f"{target.absolute().parent} is not there", "make that directory, or name another")


def _active_entry(store: Store, image: str) -> tuple[str, MenuEntry]:
    """The label of what an image boots now, and its entry of the menu that is served."""
    active = require_active(store).boot_name(image)
    if active is None:
        raise InputError(f"no version of {image} is active in {store.root}", f"diskless status --to {store.root}")
    label = f"{image}/{active}"
    found = [
        (not _is_everybodys(path), len(entry.cmdline), number, entry)
        for number, (path, text) in enumerate(served_menus(store))
        for entry in loader_of(path).parse(text)
        if entry.label == label
    ]
    if found:
        # a client's own arguments are no part of it; the first may be of a loader that knows no signatures
        entry = min(found, key=lambda one: one[:3])[3]
        return label, dataclasses.replace(entry, signed=not is_refused(store, label))
    raise InputError(f"no menu in {store.root} names {label}", f"diskless refresh --to {store.root}")


def _is_everybodys(path: str) -> bool:
    """Whether a menu is that of clients without one of their own."""
    loader = loader_of(path)
    return path == f"{loader.directory}/{loader.menu_file(None)}"


def _fill(store: Store, label: str, entry: MenuEntry, isolinux: dict[str, Path], tree: Path) -> bool:
    """Puts everything into the tree of the medium; whether UEFI finds something in it."""
    there = dataclasses.replace(entry, kernel=_KERNEL, initramfs=_INITRAMFS, bootif=False)
    menu = Menu((there,), label, note=f"{label}, written by diskless media")
    for name in ("boot", "isolinux"):
        (tree / name).mkdir(parents=True)
    for source, name in ((entry.kernel, _KERNEL), (entry.initramfs, _INITRAMFS)):
        shutil.copyfile(store.boot / source, tree / name)
    for name in ("isolinux.bin", "ldlinux.c32"):
        shutil.copyfile(isolinux[name], tree / "isolinux" / name)
    # its configuration is PXELINUX's, with names from the top of the medium
    at_the_top = dataclasses.replace(there, kernel=f"/{_KERNEL}", initramfs=f"/{_INITRAMFS}")
    text = LOADERS[LoaderName.PXELINUX].render(dataclasses.replace(menu, entries=(at_the_top,)))
    (tree / "isolinux/isolinux.cfg").write_text(text, encoding="utf-8")
    if not all((store.boot / name).is_file() for name in _UEFI):
        return False
    efi = tree.parent / "efi"
    (efi / "EFI/BOOT").mkdir(parents=True)
    for source, name in _UEFI.items():
        shutil.copyfile(store.boot / source, efi / "EFI/BOOT" / name)
    mark = f"/boot/{label.rpartition('-')[2][:8]}"  # of the version: another medium in the machine has another
    (tree / mark.lstrip("/")).touch()
    grub = LOADERS[LoaderName.GRUB].render(menu)
    # its prefix is on the file system that firmware says it came from: this one, or where that is not told the whole
    for directory in (efi / "grub", tree / "grub"):
        directory.mkdir()
        (directory / "grub.cfg").write_text(f"search --no-floppy --file --set=root {mark}\n{grub}", encoding="utf-8")
    return True


def _make_efi_image(runner: Runner, work: Path, tree: Path) -> None:
    """The FAT file system that UEFI looks into."""
    efi, image = work / "efi", tree / "boot/efi.img"
    size = sum(path.stat().st_size for path in efi.rglob("*") if path.is_file()) + _SPARE
    with image.open("xb") as file:
        file.truncate(-(-size // _MEGABYTE) * _MEGABYTE)
    runner.run(["mformat", "-i", str(image), "-v", "DISKLESS", "-N", "0", "::"])
    runner.run(["mcopy", "-s", "-i", str(image), str(efi / "EFI"), str(efi / "grub"), "::/"])


def _run_xorriso(runner: Runner, tree: Path, mbr: Path, target: Path, *, uefi: bool) -> None:
    argv = [_XORRISO.name, "-as", "mkisofs", "-quiet", "-R", "-V", "DISKLESS", "-o", str(target)]
    argv += ["-isohybrid-mbr", str(mbr), "-c", "isolinux/boot.cat", "-b", "isolinux/isolinux.bin"]
    argv += ["-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]
    if uefi:
        argv += ["-eltorito-alt-boot", "-e", "boot/efi.img", "-no-emul-boot", "-isohybrid-gpt-basdat"]
    runner.run([*argv, str(tree)])
