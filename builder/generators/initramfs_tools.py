"""initramfs-tools, Debian's: initramfs.conf(5), initramfs-tools(7).

nfsroot= and ip= as initramfs-tools(7) documents them and scripts/nfs reads them: `nfsroot=auto` takes server and path
from DHCP option 17, root-path.
"""

from __future__ import annotations

from collections.abc import Iterator

from builder.generators import netroot
from builder.generators.base import ConsoleSigns, nfsroot, root_modules
from builder.generators.link import await_link
from builder.model.artifacts.manifest import Manifest, Mounter, NfsRoot
from builder.model.entry import TreeEntry, TreeFile
from builder.model.fault import Fault
from builder.model.recipe import Drivers, GeneratorName, InitramfsTools, Recipe

_HEAD = "# written by diskless from the recipe's initramfs\n"
_AWAIT_LINK = f"""\
#!/bin/sh
# written by diskless: switches the network on and waits, at most five seconds, until one link is up
case $1 in prereqs) exit 0 ;; esac
{await_link("exit 0")}"""

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


class InitramfsToolsGenerator:
    """A drop-in that wins over initramfs.conf, the list of modules, and scripts."""

    name: GeneratorName = GeneratorName.INITRAMFS_TOOLS
    signs: ConsoleSigns = ConsoleSigns(
        begun=r"Loading, please wait",
        root_mounted=r"Running /scripts/(?:nfs|init)-bottom",
        retrying=r"Retrying nfs mount",
        gave_up=r"^\(initramfs\)|Dropping to a shell",
        no_init=r"No init found\. Try passing|Target filesystem doesn't have|run-init: .*No such file",
    )

    def entries(self, recipe: Recipe) -> list[TreeEntry]:
        """A script of ours mounts every root.

        scripts/nfs of initramfs-tools, which has klibc's nfsmount, mounts NFSv3 only, makes no overlay, and is ended
        with the whole initramfs where no address comes (0.142).
        """
        initramfs, root = _config(recipe), recipe.root
        config = f"BOOT=diskless\nMODULES=list\nCOMPRESS={initramfs.compression}\n"
        modules = "".join(f"{name}\n" for name in dict.fromkeys((*root_modules(root), *initramfs.modules)))
        script = netroot.boot_script(root, recipe.boot.on_failure)
        entries: list[TreeEntry] = [
            TreeFile("/etc/initramfs-tools/conf.d/diskless.conf", (_HEAD + config).encode()),
            TreeFile("/etc/initramfs-tools/modules", (_HEAD + modules).encode()),
            TreeFile("/etc/initramfs-tools/scripts/nfs-premount/diskless-link", _AWAIT_LINK.encode(), 0o755),
            TreeFile("/etc/initramfs-tools/scripts/diskless", script.encode()),
        ]
        if initramfs.drivers is Drivers.NETBOOT:
            entries.append(TreeFile("/etc/initramfs-tools/hooks/diskless-drivers", _DRIVERS_HOOK.encode(), 0o755))
        return entries

    def arguments(self, recipe: Recipe) -> list[str]:
        """None: it waits for no device, and udev names the interfaces before they are up."""
        return []

    def lease_entries(self) -> list[TreeEntry]:
        """None: klibc's ipconfig leaves its answer below /run, which the running system keeps."""
        return []

    def mounter(self, recipe: Recipe) -> Mounter:
        """A script of ours leaves the options to the kernel."""
        return Mounter.KERNEL

    def root_arguments(self, root: NfsRoot, location: str | None) -> list[str]:
        """scripts/nfs, of images of 0.1, takes `auto` literally: no mount options can be given beside it."""
        if root.is_mounted_by_us:
            return ["root=/dev/nfs", nfsroot(root, location or "auto")]
        return ["root=/dev/nfs", "nfsroot=auto" if location is None else nfsroot(root, location)]

    def wants_bootif(self, manifest: Manifest) -> bool:
        """Without it ipconfig asks on every card, and takes the first that answers; menus of 0.1 stay as they were."""
        return manifest.root.mounter is not None

    def contradictions(self, recipe: Recipe) -> Iterator[Fault]:
        """Drivers that nobody lists."""
        initramfs = _config(recipe)
        if initramfs.drivers is Drivers.LIST and not initramfs.modules:
            yield Fault(
                ("initramfs", "drivers"),
                "drivers: list takes only 'modules', and there are none",
                "list the clients' network drivers, nfsv3 and nfs, or use drivers: netboot",
            )


def _config(recipe: Recipe) -> InitramfsTools:
    assert isinstance(recipe.initramfs, InitramfsTools)
    return recipe.initramfs
