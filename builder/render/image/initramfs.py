"""Configuration of the initramfs generators: initramfs.conf(5), initramfs-tools(7), mkinitcpio.conf(5).

mkinitcpio reads drop-ins since release 36, in order of their names and after /etc/mkinitcpio.conf, unless it is
told a file with -c; a preset without *_config leaves it at that, so that `mkinitcpio -p` in a client works too.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from builder.model.checks_arch import DISKLESS_HOOK, NET_HOOK
from builder.model.entry import TreeEntry, TreeFile
from builder.model.recipe import Drivers, Initramfs, InitramfsTools, Mkinitcpio, NfsVersion, Root, RootMode
from builder.render.image import netroot

_HEAD = "# written by diskless from the recipe's initramfs\n"
_LINK_HOOK = "diskless-link"
MKINITCPIO_DROP_IN = "/etc/mkinitcpio.conf.d/diskless.conf"
_ROOT_HOOKS = (NET_HOOK, DISKLESS_HOOK)

# A link negotiates for seconds after it is switched on. ipconfig sends its first request at once and the next one ten
# seconds later (klibc 2.0.12), so that without this every boot waits those ten seconds.
_WAIT = """\
waited=0
while [ $waited -lt 50 ]; do
	for device in /sys/class/net/*; do
		[ "${device##*/}" = lo ] && continue
		read -r flags < "$device/flags" || continue
		[ $((flags & 1)) = 1 ] || echo $((flags | 1)) > "$device/flags"
		carrier=0
		read -r carrier < "$device/carrier"
		[ "$carrier" = 1 ] && %s
	done 2>/dev/null
	sleep 0.1
	waited=$((waited + 1))
done
"""
_AWAIT_LINK = f"""\
#!/bin/sh
# written by diskless: switches the network on and waits, at most five seconds, until one link is up
case $1 in prereqs) exit 0 ;; esac
{_WAIT % "exit 0"}"""
_LINK_RUNTIME = f"""\
#!/usr/bin/ash
# written by diskless: switches the network on and waits, at most five seconds, until one link is up
run_hook() {{
{textwrap.indent(_WAIT % "return 0", chr(9))}}}
"""
_LINK_INSTALL = """\
#!/usr/bin/bash
# written by diskless: waits for the network's link before the next hook asks for an address
build() {
	add_runscript
}
"""

# What mkinitramfs does for MODULES=netboot takes seven processes a module (copy_file of hook-functions, modinfo), ten
# seconds in all. Its own choice is made here with a copy_file that only takes notes. Where a later initramfs-tools adds
# modules without copy_file, nothing is noted and everything is there already.
_DRIVERS_HOOK = """\
#!/bin/sh
# written by diskless: adds what MODULES=netboot adds, all of it by one cp, with the firmware that the image has
case $1 in prereqs) exit 0 ;; esac
. /usr/share/initramfs-tools/hook-functions
command -v auto_add_modules > /dev/null || { echo "E: this initramfs-tools is not known to diskless" >&2; exit 1; }
noted=$(mktemp) || exit
copy_file() {
	[ "$1" != module ] || echo "$2" >> "$noted"
	return 1
}
auto_add_modules base net
. /usr/share/initramfs-tools/hook-functions
if [ -s "$noted" ]; then
	sort -u "$noted" | xargs cp -p --parents -t "$DESTDIR" || exit
	for firmware in $(sort -u "$noted" | xargs modinfo -k "$version" -F firmware | sort -u); do
		add_firmware "$firmware"
	done
fi
hidden_dep_add_modules
rm "$noted"
"""


def initramfs_entries(initramfs: Initramfs, root: Root) -> list[TreeEntry]:
    """The files that configure the recipe's generator, with the scripts that mount `root`."""
    return _mkinitcpio(initramfs, root) if isinstance(initramfs, Mkinitcpio) else _initramfs_tools(initramfs, root)


def root_modules(root: Root) -> tuple[str, ...]:
    """The kernel modules that mounting `root` needs, whatever the network driver.

    That of NFSv3 is always there, so that a server's `vers=3` works for any image.
    """
    newer = ("nfsv4",) if root.nfs.version is not NfsVersion.V3 else ()
    return ("nfs", "nfsv3", *newer, *(("overlay",) if root.mode is RootMode.OVERLAY else ()))


def initramfs_arguments(initramfs: Initramfs) -> list[str]:
    """Kernel arguments that an image needs, where the recipe does not give others.

    mkinitcpio's init waits ten seconds for a device named /dev/nfs. Its udev hook does not rename interfaces, and
    before Linux 6.2 one that is up, as the root's is, cannot be renamed later: networkd then waits for the name for
    ever and never renews the lease (systemd 252, Linux 6.1).
    """
    if not isinstance(initramfs, Mkinitcpio):
        return []
    return ["rootdelay=0", *(["net.ifnames=0"] if set(_ROOT_HOOKS) & set(initramfs.hooks) else [])]


def preset(pkgbase: str) -> str:
    """The preset of a kernel for mkinitcpio: exactly one image, no fallback that nobody without a disk could choose."""
    return f"""\
{_HEAD}ALL_kver="{kernel_path(pkgbase)}"

PRESETS=('default')

default_image="{image_path(pkgbase)}"
"""


def preset_path(pkgbase: str) -> str:
    """Where mkinitcpio -p PKGBASE reads it."""
    return f"/etc/mkinitcpio.d/{pkgbase}.preset"


def kernel_path(pkgbase: str) -> str:
    """Where Arch's hook copies a kernel to."""
    return f"/boot/vmlinuz-{pkgbase}"


def image_path(pkgbase: str) -> str:
    """Where the initramfs of a kernel lies."""
    return f"/boot/initramfs-{pkgbase}.img"


def _initramfs_tools(initramfs: InitramfsTools, root: Root) -> list[TreeEntry]:
    """A drop-in that wins over initramfs.conf, the list of modules, and scripts.

    scripts/nfs of initramfs-tools, which has klibc's nfsmount, mounts NFSv3 only and makes no overlay.
    """
    is_theirs = (root.mode, root.nfs.version) == (RootMode.RW, NfsVersion.V3)
    boot = "nfs" if is_theirs else "diskless"
    config = f"BOOT={boot}\nMODULES=list\nCOMPRESS={initramfs.compression}\n"
    modules = "".join(f"{name}\n" for name in dict.fromkeys((*root_modules(root), *initramfs.modules)))
    entries: list[TreeEntry] = [
        TreeFile("/etc/initramfs-tools/conf.d/diskless.conf", (_HEAD + config).encode()),
        TreeFile("/etc/initramfs-tools/modules", (_HEAD + modules).encode()),
        TreeFile("/etc/initramfs-tools/scripts/nfs-premount/diskless-link", _AWAIT_LINK.encode(), 0o755),
    ]
    if initramfs.drivers is Drivers.NETBOOT:
        entries.append(TreeFile("/etc/initramfs-tools/hooks/diskless-drivers", _DRIVERS_HOOK.encode(), 0o755))
    if not is_theirs:
        entries.append(TreeFile("/etc/initramfs-tools/scripts/diskless", netroot.boot_script(root).encode()))
    return entries


def _mkinitcpio(initramfs: Mkinitcpio, root: Root) -> list[TreeEntry]:
    """A drop-in with all of HOOKS: the shipped line, which it replaces, has autodetect and no network."""
    hooks = [word for name in initramfs.hooks for word in ([_LINK_HOOK, name] if name in _ROOT_HOOKS else [name])]
    config = (
        f"MODULES={_array(dict.fromkeys((*root_modules(root), *initramfs.modules)))}\n"
        f"BINARIES={_array(initramfs.binaries)}\n"
        f"FILES={_array(initramfs.files)}\n"
        f"HOOKS={_array(hooks)}\n"
        f'COMPRESSION="{initramfs.compression}"\n'
    )
    entries: list[TreeEntry] = [TreeFile(MKINITCPIO_DROP_IN, (_HEAD + config).encode())]
    if _LINK_HOOK in hooks:
        entries += _hook(_LINK_HOOK, _LINK_INSTALL, _LINK_RUNTIME)
    if DISKLESS_HOOK in hooks:
        entries += _hook(DISKLESS_HOOK, netroot.INSTALL, netroot.runtime_hook(root))
    return entries


def _hook(name: str, install: str, runtime: str) -> list[TreeEntry]:
    """A hook of mkinitcpio: what it adds to the image, and what it does in it."""
    return [
        TreeFile(f"/etc/initcpio/install/{name}", install.encode(), 0o755),
        TreeFile(f"/etc/initcpio/hooks/{name}", runtime.encode(), 0o755),
    ]


def _array(words: Iterable[str]) -> str:
    return "(" + " ".join(words) + ")"
