"""mkinitcpio, Arch Linux's: mkinitcpio.conf(5), mkinitcpio(8).

It reads drop-ins since release 36, in order of their names and after /etc/mkinitcpio.conf, unless it is told a file
with -c; a preset without *_config leaves it at that, so that `mkinitcpio -p` in a client works too. nfsroot= and ip= as
the hook `net` of mkinitcpio-nfs-utils reads them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from builder.generators import netroot
from builder.generators.base import BOOTIF_FORM, ConsoleSigns, nfsroot, root_modules
from builder.generators.link import await_link
from builder.model.artifacts.manifest import Manifest, Mounter, NfsRoot
from builder.model.entry import TreeEntry, TreeFile
from builder.model.fault import Fault, Place
from builder.model.recipe import GeneratorName, Mkinitcpio, NfsVersion, Recipe, RootMode

# the hooks that mount a root from NFS: of mkinitcpio-nfs-utils, and ours
NET_HOOK, DISKLESS_HOOK = "net", "diskless"
# hooks of the how-to's time and what took their place, mkinitcpio's CHANGELOG
_HOOKS_OF_2012 = {
    "pata": "block",
    "scsi": "block",
    "sata": "block",
    "usb": "block",
    "fw": "block",
    "mmc": "block",
    "virtio": "block",
    "usbinput": "keyboard",
}
_HEAD = "# written by diskless from the recipe's initramfs\n"
_LINK_HOOK = "diskless-link"
_RETRY_HOOK = "diskless-retry"
MKINITCPIO_DROP_IN = "/etc/mkinitcpio.conf.d/diskless.conf"
_ROOT_HOOKS = (NET_HOOK, DISKLESS_HOOK)

_LINK_RUNTIME = f"""\
#!/usr/bin/ash
# written by diskless: switches the network on and waits, at most five seconds, until one link is up
run_hook() {{
{textwrap.indent(await_link("return 0"), chr(9))}}}
"""
_LINK_INSTALL = """\
#!/usr/bin/bash
# written by diskless: waits for the network's link before the next hook asks for an address
build() {
	add_runscript
}
"""
_RETRY_INSTALL = """\
#!/usr/bin/bash
# written by diskless: tries again what the hook before it tries once
build() {
	add_runscript
}
"""

# after diskless.conf: mkinitcpio sorts drop-ins by name
_LEASE_DROP_IN = "/etc/mkinitcpio.conf.d/diskless_lease.conf"
_SAVE_INSTALL = """\
#!/usr/bin/bash
# written by diskless: keeps what the hook net learnt
build() {
	add_runscript
}
"""
_SAVE_RUNTIME = """\
#!/usr/bin/ash
# written by diskless: /tmp is lost when the root is switched, /run is not
run_latehook() {
	mkdir -p /run/diskless
	for lease in /tmp/net-*.conf; do
		[ ! -e "$lease" ] || cp "$lease" /run/diskless/
	done
}
"""
_SAVE_HOOK = "diskless-lease"


class MkinitcpioGenerator:
    """A drop-in with all of HOOKS: the shipped line, which it replaces, has autodetect and no network."""

    name: GeneratorName = GeneratorName.MKINITCPIO
    signs: ConsoleSigns = ConsoleSigns(
        begun=None,
        root_mounted=r"^:: running (?:late|cleanup) hook ",
        retrying=None,
        gave_up=r"You are now being dropped into an emergency shell|You are being dropped to a recovery shell"
        r"|Bailing out, you are on your own",
        no_init=r"Root device mounted successfully, but \S+ does not exist",
    )

    def entries(self, recipe: Recipe) -> list[TreeEntry]:
        """The drop-in, and those of our hooks that it names."""
        initramfs, root = config_of(recipe), recipe.root
        around = {NET_HOOK: [_LINK_HOOK, NET_HOOK, _RETRY_HOOK], DISKLESS_HOOK: [_LINK_HOOK, DISKLESS_HOOK]}
        hooks = [word for name in initramfs.hooks for word in around.get(name, [name])]
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
        if _RETRY_HOOK in hooks:
            entries += _hook(_RETRY_HOOK, _RETRY_INSTALL, netroot.retry_hook(recipe.boot.on_failure))
        if DISKLESS_HOOK in hooks:
            entries += _hook(DISKLESS_HOOK, netroot.INSTALL, netroot.runtime_hook(root, recipe.boot.on_failure))
        return entries

    def arguments(self, recipe: Recipe) -> list[str]:
        """Mkinitcpio's init waits ten seconds for a device named /dev/nfs.

        Its udev hook does not rename interfaces, and before Linux 6.2 one that is up, as the root's is, cannot be
        renamed later: networkd then waits for the name for ever and never renews the lease (systemd 252, Linux 6.1).
        """
        return ["rootdelay=0", *(["net.ifnames=0"] if set(_ROOT_HOOKS) & set(config_of(recipe).hooks) else [])]

    def lease_entries(self) -> list[TreeEntry]:
        """A late hook, which runs once the root is mounted: the ipconfig of mkinitcpio-nfs-utils writes to /tmp."""
        drop_in = f"# written by diskless\nHOOKS+=({_SAVE_HOOK})\n"
        return [TreeFile(_LEASE_DROP_IN, drop_in.encode()), *_hook(_SAVE_HOOK, _SAVE_INSTALL, _SAVE_RUNTIME)]

    def mounter(self, recipe: Recipe) -> Mounter:
        """Klibc's, which mkinitcpio-nfs-utils took over, with the hook net."""
        return Mounter.NFSMOUNT if NET_HOOK in config_of(recipe).hooks else Mounter.KERNEL

    def root_arguments(self, root: NfsRoot, location: str | None) -> list[str]:
        """Without a location none can be given to the hook net, which reads them from nfsroot= only.

        Its nfsmount's word for the version is v3; our hook knows it too.
        """
        first = ["rootfstype=nfs", "root=/dev/nfs"]
        if root.is_mounted_by_us:
            return [*first, nfsroot(root, location or "auto")]
        if location is None:
            return first
        return [*first, ",".join([f"nfsroot={location}", f"v{root.version}", *root.options])]

    def wants_bootif(self, manifest: Manifest) -> bool:
        """The hook net appends the card to `ip=:::` as the device.

        With any other ip= the pair makes no sense to ipconfig (`dhcp::eth0`), and the root is not mounted. A root that
        the hook net cannot mount is mounted by our hook, which understands both.
        """
        return manifest.root.is_mounted_by_us or BOOTIF_FORM in manifest.cmdline

    def contradictions(self, recipe: Recipe) -> Iterator[Fault]:
        """Of the hooks, of what they need, and of the roots that they can mount."""
        initramfs = config_of(recipe)
        yield from _hooks(initramfs)
        yield from _root_hooks(recipe, initramfs)
        yield from _network(recipe, initramfs)


def config_of(recipe: Recipe) -> Mkinitcpio:
    """The recipe's initramfs, which must be mkinitcpio's."""
    assert isinstance(recipe.initramfs, Mkinitcpio)
    return recipe.initramfs


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


def _hook(name: str, install: str, runtime: str) -> list[TreeEntry]:
    """A hook of mkinitcpio: what it adds to the image, and what it does in it."""
    return [
        TreeFile(f"/etc/initcpio/install/{name}", install.encode(), 0o755),
        TreeFile(f"/etc/initcpio/hooks/{name}", runtime.encode(), 0o755),
    ]


def _array(words: Iterable[str]) -> str:
    return "(" + " ".join(words) + ")"


def _hooks(initramfs: Mkinitcpio) -> Iterator[Fault]:
    hooks = initramfs.hooks
    for position, hook in enumerate(hooks):
        place: Place = ("initramfs", "hooks", position)
        if hook in hooks[:position]:
            yield Fault(place, f"'{hook}' is listed twice", "keep one of the two")
        if hook in _HOOKS_OF_2012:
            yield Fault(
                place,
                f"'{hook}' is a hook of 2012: mkinitcpio has none of that name any more",
                f"it became '{_HOOKS_OF_2012[hook]}', which a root on NFS does not need: remove it",
            )
        if hook == "autodetect" and not initramfs.autodetect:
            yield Fault(
                place,
                "'autodetect' keeps only the drivers of the build host's hardware, so other clients find no network",
                "remove it; if every client has the build host's hardware, add autodetect: true",
            )


def _root_hooks(recipe: Recipe, initramfs: Mkinitcpio) -> Iterator[Fault]:
    """What the hooks that mount the root need beside them, and what they cannot mount."""
    hooks = initramfs.hooks
    systemd = [hook for hook in hooks if hook == "systemd" or hook.startswith("sd-")]
    for position, hook in enumerate(hooks):
        if hook not in _ROOT_HOOKS or hook in hooks[:position]:
            continue
        place: Place = ("initramfs", "hooks", position)
        if systemd:
            yield Fault(
                place,
                f"'{hook}' is never run beside '{systemd[0]}': it has a script for the busybox init only",
                "use base and udev instead of the systemd hooks",
            )
        if "base" not in hooks[:position]:
            yield Fault(
                place, f"'{hook}' needs 'base' before it, which brings the init that runs it", "add base in front"
            )
        if "udev" not in hooks and not systemd and _only_nfs(initramfs.modules):
            yield Fault(place, "without 'udev' no network driver would be loaded", "add udev, or the driver to modules")
        yield from _limits(recipe, hook, place)
    if set(_ROOT_HOOKS) <= set(hooks):
        yield Fault(("initramfs", "hooks"), "'net' and 'diskless' both mount the root", "keep one of the two")


def _limits(recipe: Recipe, hook: str, place: Place) -> Iterator[Fault]:
    """What a hook asks of the packages, and which roots it can mount."""
    root = recipe.root
    if "mkinitcpio-nfs-utils" not in recipe.package_names:
        whose = "is" if hook == NET_HOOK else "needs ipconfig"
        yield Fault(place, f"the hook '{hook}' {whose} of mkinitcpio-nfs-utils", "add it to packages")
    if hook == NET_HOOK and root.mode is not RootMode.RW:
        yield Fault(place, f"'net' cannot make a root of mode {root.mode}", "write diskless in its place")
    elif hook == NET_HOOK and root.nfs.version is not NfsVersion.V3:
        yield Fault(place, f"'net' mounts NFSv3 only, root.nfs.version is {root.nfs.version}", "write diskless instead")


def _only_nfs(modules: tuple[str, ...]) -> bool:
    return all(name.startswith("nfs") for name in modules)


def _network(recipe: Recipe, initramfs: Mkinitcpio) -> Iterator[Fault]:
    own = {file.path.rpartition("/")[2] for file in recipe.files if file.path.startswith("/etc/initcpio/install/")}
    if not {*_ROOT_HOOKS, *own} & set(initramfs.hooks):
        yield Fault(
            ("initramfs", "hooks"),
            "no hook mounts the root from NFS",
            "add diskless or net, or files of your own, /etc/initcpio/install/NAME and /etc/initcpio/hooks/NAME",
        )
    words = recipe.boot.cmdline
    if "net" in initramfs.hooks and not any(word.startswith("ip=") for word in words):
        yield Fault(
            ("boot", "cmdline"), "the hook 'net' does nothing without ip=", f'add "ip=dhcp", or "{BOOTIF_FORM}"'
        )
    for position, word in enumerate(words):
        if word.startswith("BOOTIF="):
            yield Fault(
                ("boot", "cmdline", position),
                "BOOTIF= names the card of one client",
                f'remove it; with "{BOOTIF_FORM}" in its place PXELINUX adds it for every client',
            )
