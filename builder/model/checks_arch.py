"""Contradictions that only recipes of Arch Linux can hold: mirrors, trust, mkinitcpio."""

from __future__ import annotations

import collections
from collections.abc import Iterator

from builder.model.checks_keyring import keyring_contradictions
from builder.model.fault import Fault, Place
from builder.model.recipe import (
    ArchDistribution,
    Architecture,
    Init,
    Mkinitcpio,
    NetworkClient,
    NfsVersion,
    Recipe,
    Repository,
    RootMode,
    Signatures,
)

_OFFICIAL = ("core", "extra", "multilib", "community", "core-testing", "extra-testing", "multilib-testing", "testing")
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
# interfaces are configured by these forms alone: with BOOTIF the hook appends `::DEVICE`, which fits `ip=:::` only
BOOTIF_FORM = "ip=:::"
# the hooks that mount a root from NFS: of mkinitcpio-nfs-utils, and ours
NET_HOOK, DISKLESS_HOOK = "net", "diskless"
_ROOT_HOOKS = (NET_HOOK, DISKLESS_HOOK)


def arch_contradictions(recipe: Recipe, distribution: ArchDistribution) -> Iterator[Fault]:
    """All contradictions of an Arch recipe besides those that any recipe can hold."""
    yield from _mirrors(distribution)
    yield from _repositories(distribution)
    yield from _trust(distribution)
    yield from _selection(recipe, distribution)
    yield from _init(recipe)
    if isinstance(recipe.initramfs, Mkinitcpio):
        yield from _hooks(recipe.initramfs)
        yield from _root_hooks(recipe, recipe.initramfs)
        yield from _network(recipe, recipe.initramfs)
    else:
        yield Fault(
            ("initramfs", "generator"),
            "images of Arch Linux are made with mkinitcpio",
            "write initramfs: {generator: mkinitcpio}",
        )


def _mirrors(distribution: ArchDistribution) -> Iterator[Fault]:
    given = {"mirrors": distribution.mirrors, "mirrorlist": distribution.mirrorlist, "snapshot": distribution.snapshot}
    names = [name for name, value in given.items() if value]
    if len(names) > 1:
        yield Fault(
            ("distribution", names[-1]),
            f"{' and '.join(names)} all say where the packages are",
            "keep one of them",
        )
    if distribution.snapshot and distribution.architecture is Architecture.I686:
        yield Fault(
            ("distribution", "snapshot"),
            "the Arch Linux Archive has no packages for i686",
            "give the URL of a dated mirror of Arch Linux 32 as mirrors",
        )


def _repositories(distribution: ArchDistribution) -> Iterator[Fault]:
    if not distribution.repositories:
        yield Fault(("distribution", "repositories"), "'repositories' is empty", "list at least one, or leave it out")
    for position, repository in enumerate(distribution.repositories):
        place: Place = ("distribution", "repositories", position, "name")
        if repository.name in [other.name for other in distribution.repositories[:position]]:
            yield Fault(place, f"repository '{repository.name}' is listed twice", "keep one of the two")
        own = repository.mirrors or distribution.mirrors or distribution.mirrorlist
        if not own and repository.name not in _OFFICIAL:
            yield Fault(
                place,
                f"the mirrors of Arch Linux have no repository '{repository.name}'",
                "give it mirrors: [URL] of its own",
            )


def _trust(distribution: ArchDistribution) -> Iterator[Fault]:
    keyring = distribution.keyring
    yield from keyring_contradictions(keyring, keyring.path)
    if keyring.newest and all(_signatures(distribution, it) is Signatures.NEVER for it in distribution.repositories):
        yield Fault(
            ("distribution", "keyring", "newest"),
            "no repository has to be signed, so no keyring is used",
            "remove it, or signatures: never",
        )
    for position, repository in enumerate(distribution.repositories):
        if _signatures(distribution, repository) is Signatures.NEVER:
            urls = repository.mirrors or distribution.mirrors
            if not urls or not all(url.startswith("file://") for url in urls):
                yield Fault(
                    ("distribution", "repositories", position, "signatures")
                    if repository.signatures
                    else ("distribution", "signatures"),
                    f"signatures: never is for local repositories only, and '{repository.name}' is none",
                    "use a file:// mirror, or sign the repository and name the key as keyring",
                )


def _signatures(distribution: ArchDistribution, repository: Repository) -> Signatures:
    return repository.signatures or distribution.signatures


def _selection(recipe: Recipe, distribution: ArchDistribution) -> Iterator[Fault]:
    for position, name in enumerate(distribution.ignore):
        if name in recipe.packages:
            yield Fault(
                ("distribution", "ignore", position), f"'{name}' is ignored and also in packages", "keep one of the two"
            )
    for name in ("ignore", "assume_installed", "package_files", "mirrors"):
        values: tuple[str, ...] = getattr(distribution, name)
        for value, count in collections.Counter(values).items():
            if count > 1:
                position = len(values) - 1 - values[::-1].index(value)
                place: Place = ("distribution", name, position)
                yield Fault(place, f"'{value}' is listed {count} times", "keep one of them")
    if not 1 <= distribution.parallel_downloads <= 32:
        yield Fault(
            ("distribution", "parallel_downloads"),
            f"{distribution.parallel_downloads} downloads at once make no sense",
            "write a number from 1 to 32",
        )


def _init(recipe: Recipe) -> Iterator[Fault]:
    network = recipe.network
    if recipe.system.init is not Init.INITSCRIPTS:
        return
    if network.client is NetworkClient.NETWORKD:
        yield Fault(("network", "client"), "systemd-networkd needs system.init: systemd", "use dhcpcd, or none")
    for position, name in enumerate(recipe.system.masked):
        if "." in name or "@" in name:
            yield Fault(
                ("system", "masked", position),
                f"'{name}' is a unit of systemd, initscripts has daemons",
                "write the daemon's name as in /etc/rc.d",
            )
    if network.client is NetworkClient.DHCPCD and not (network.inform and network.interface):
        yield Fault(
            ("network", "client"),
            "dhcpcd under initscripts would ask for a new address and lose the root",
            "add inform: true and interface: eth0, which make it keep the kernel's (dhcpcd -s)",
        )


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
    if "mkinitcpio-nfs-utils" not in recipe.packages:
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
