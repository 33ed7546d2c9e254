"""Names what went wrong from what the console and the servers said, and says what to do about it. Pure text.

A *sign* is final: nothing good comes after it, the guest need not be waited for. What only time can tell (a mount
that hangs) is judged by `diagnose` once the patience is over.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from builder.bootlab.timeline import Logs, Milestone, find_milestones
from builder.generators.table import GENERATORS
from builder.loaders.table import FIRST_FILES


class Failure(enum.StrEnum):
    """What can go wrong, in the order of a boot."""

    NO_LEASE = "no lease"
    NO_DRIVER = "no driver for the network card in the firmware"
    NO_HTTP_CLIENT = "no offer for a client that boots over HTTP"
    NO_BOOT_FILE = "boot file not found"
    LOADER_REFUSED = "Secure Boot refused a loader"
    NO_MENU = "menu not found"
    NO_KERNEL = "kernel or initramfs not found"
    KERNEL_REFUSED = "Secure Boot refused the kernel"
    EMULATION = "fault of the emulation"
    PANIC = "kernel panic"
    NO_NFS_SERVER = "NFS server not reached"
    WRONG_EXPORT = "wrong export"
    MOUNT_REFUSED = "mount refused"
    NFS_VERSION = "NFS version not served"
    NO_OVERLAY = "overlay not mounted"
    NO_INIT = "init missing"
    INIT_KILLED = "init killed"
    MOUNT_HANGS = "hang while mounting"
    ROOT_LOST = "the DHCP client dropped the root"
    EMERGENCY = "emergency mode"
    NO_SHELL = "no shell for checks"
    SHUTDOWN_HANGS = "shutdown hang"
    ENDED = "the guest ended by itself"
    TOO_SLOW = "no login prompt in time"


ADVICE = {
    Failure.NO_LEASE: "is the network card first in the boot order, is an address left in dhcp-range for this client's"
    " subnet, and do UDP ports 67, 68 and 4011 pass the server's firewall?",
    Failure.NO_BOOT_FILE: "does dhcp-boot name a file below tftp-root that all may read, and does UDP port 69 pass the"
    " server's firewall?",
    Failure.NO_DRIVER: "UEFI boots from cards that it has a driver for, or that bring one in their ROM: --nic"
    " virtio-net-pci in the lab, another card in a real machine, or `diskless media`",
    Failure.NO_HTTP_CLIENT: "firmware that boots over HTTP takes an offer only with option 60 HTTPClient and an URL as"
    " file name, for client architecture 16: `diskless server-config` writes both where the site has http_port",
    Failure.LOADER_REFUSED: "the first loader must be the distribution's signed shim, what it loads the signed GRUB"
    " of the same distribution, and neither revoked by the firmware's dbx or shim's SBAT level: deploy a newer image,"
    " or switch Secure Boot off; iPXE is signed by nobody, and in a card's ROM it hands shim a GRUB that looks damaged",
    Failure.NO_MENU: "GRUB's network image reads /grub/grub.cfg from the server that it came from, and the signed one"
    " of Debian 12 reads nothing over HTTP: is boot/grub there, and did GRUB come over TFTP?",
    Failure.NO_KERNEL: "compare the kernel and initramfs in the loader's menu (pxelinux.cfg/default, grub/grub.cfg,"
    " ipxe/boot.ipxe) with what lies below the TFTP root: their paths are relative to it",
    Failure.KERNEL_REFUSED: "the kernel was changed, or is signed by another distribution than GRUB and shim, or by"
    " nobody: compare it with `diskless verify`, or switch Secure Boot off",
    Failure.EMULATION: "QEMU, which emulates several processors, ran code that the kernel had changed meanwhile: boot"
    " it again; with KVM it does not happen",
    Failure.PANIC: "read the lines above the panic; without its initramfs the kernel cannot mount NFS",
    Failure.NO_NFS_SERVER: "is the server's address in nfsroot= right, do rpcbind and the NFS server run, and do TCP"
    " ports 111 and 2049 pass its firewall?",
    Failure.WRONG_EXPORT: "does nfsroot=SERVER:/path in pxelinux.cfg/default name a directory just as it is exported?",
    Failure.MOUNT_REFUSED: "may this client's subnet mount the directory nfsroot= names (exports(5)), with"
    " no_root_squash, and does the server speak the NFS version asked for?",
    Failure.NFS_VERSION: "the server does not speak the NFS version of nfsroot=...,vers=: allow it there (vers4.2=y in"
    " /etc/nfs.conf), or set another root.nfs.version in the recipe",
    Failure.NO_OVERLAY: "is root.overlay_size, or diskless.overlay= on the kernel command line, an amount that tmpfs(5)"
    " understands, and has the kernel the modules tmpfs and overlay?",
    Failure.NO_INIT: "the root was mounted but holds no init: is nfsroot= the root directory itself, and was the image"
    " unpacked whole?",
    Failure.INIT_KILLED: "init died, most often because it could not read its root file system: check the export, its"
    " no_root_squash, and init= on the kernel command line",
    Failure.MOUNT_HANGS: "check the image's /etc/fstab (`filesystems` in the recipe) and nfsroot= in"
    " pxelinux.cfg/default",
    Failure.ROOT_LOST: "nothing may give up the address that the root is mounted over; in the recipe's `network`:"
    " dhcpcd with `inform: true`, or systemd-networkd, or `client: none` with fixed nameservers",
    Failure.EMERGENCY: "a unit that the boot needs has failed: read its lines above, then the image's /etc/fstab"
    " (`filesystems` in the recipe)",
    Failure.NO_SHELL: "commands run in systemd's debug shell: does the image run systemd, and did the command end?",
    Failure.SHUTDOWN_HANGS: "the network must stay up until / is unmounted: nothing may stop a DHCP client or an"
    " interface before that",
    Failure.ENDED: "it was reset, or QEMU failed: read the last lines",
    Failure.TOO_SLOW: "the last lines show what it waits for; emulation is slow: --timeout gives it more time",
}


@dataclass(frozen=True)
class Diagnosis:
    """A named fault, and the line that gave it away (empty where only time did)."""

    fault: Failure
    evidence: str = ""

    @property
    def message(self) -> str:
        """One line for an error message."""
        return f"{self.fault}: {self.evidence}" if self.evidence else str(self.fault)

    @property
    def advice(self) -> str:
        """What to look at first."""
        return ADVICE[self.fault]


def _line(pattern: str) -> re.Pattern[str]:
    """Matches the whole line that holds the pattern."""
    return re.compile(rf"^.*(?:{pattern}).*$", re.M | re.I)


_GENERATORS = tuple(generator.signs for generator in GENERATORS.values())
# final signs on the console; the first that matches names the fault, so the particular stand before the general
_SIGNS = (
    # what GRUB says next is that there is no kernel
    (Failure.KERNEL_REFUSED, _line(r"bad shim signature|diskless: nobody whom this loader trusts signed")),
    (
        Failure.LOADER_REFUSED,
        _line(r"Security Violation|Verification failed: \(0x|BdsDxe: failed to (?:load|start) .*: Access Denied"),
    ),
    (
        Failure.NO_KERNEL,
        _line(
            r"Could not find kernel image|Loading \S+?\.\.\. ?failed|No DEFAULT or UI configuration"
            r"|error: file .*/(?:vmlinuz|initramfs\.img)' not found|diskless: not all of it came"
        ),
    ),
    (Failure.NO_MENU, re.compile(r"^grub> ", re.M)),
    (Failure.NO_BOOT_FILE, _line(r"start_image\(\) returned Not Found")),
    (Failure.NO_BOOT_FILE, _line(r"Failed to load ldlinux\.c32|PXE-T01|PXE-E3[268]|PXE-E53")),
    (
        Failure.NO_INIT,
        _line("|".join([r"No working init found", *(signs.no_init for signs in _GENERATORS)])),
    ),
    (Failure.NO_OVERLAY, _line(r"diskless: overlay failed")),
    # the breakpoint that the kernel writes while it changes an instruction, met after it was done
    (Failure.EMULATION, _line(r"Oops: int3:")),
    (Failure.INIT_KILLED, _line(r"Attempted to kill init")),
    (Failure.PANIC, _line(r"Kernel panic - not syncing|VFS: Unable to mount root fs")),
    (Failure.EMERGENCY, _line(r"You are in emergency mode|Cannot open access to console, the root account is locked")),
)
# what the mount of the root says, before the initramfs tries again or gives up
_NO_SUCH_VERSION = _line(r"mount.*Protocol not supported")
_NO_LOCATION = _line(r"diskless: there is no root|Unable to mount root filesystem over NFS: wrong parameters")
_NO_ANSWER = _line(r"diskless: no address for")
# ipconfig of mkinitcpio-nfs-utils says no more until it has an answer, for which it waits for ever
_ASKING = _line(r"IP-Config: \S+ hardware address")
_ANSWERED = re.compile(r"IP-Config: \S+ (?:complete|guessed)|NFS-Mount: ")
_MOUNTING = _line(r"diskless: mounting .*")
_REFUSED = _line(r"access denied|Permission denied|not permitted|refused by server")
_NO_SUCH_EXPORT = _line(r"mount call failed.*No such file|server replied: No such file|mount\S*: .*No such file")
_UNREACHABLE = _line(
    r"Connection refused|portmap query failed|No route to host|Network is unreachable|Connection timed out"
    r"|can't (?:reach|connect)|RPC: (?:Unable|Timed out)"
)
_GAVE_UP = _line("|".join([r"diskless: giving up", *(signs.gave_up for signs in _GENERATORS)]))
_RETRIES = re.compile("|".join([r"diskless: try \d+ of ", *filter(None, (signs.retrying for signs in _GENERATORS))]))
_MOUNT_TRIES = 3
_NOT_RESPONDING = _line(r"nfs: server \S+ not responding")
_RESPONDING_AGAIN = re.compile(r"nfs: server \S+ OK")
_FIRMWARE_GAVE_UP = _line(
    r"No bootable device|No more network devices|Boot failed: |Nothing to boot|No bootable option or device was found"
)
_STARTED_NETWORK = re.compile(r">>Start (?:PXE|HTTP Boot) over IPv4")
_STARTED_HTTP = _line(r">>Start HTTP Boot over IPv4")
_IS_UEFI = re.compile(r"^BdsDxe: ", re.M)
_NFSROOT = re.compile(r"^.*Kernel command line: .*\bnfsroot=[^\s:]+:([^\s,]+)", re.M)
# what dnsmasq says
_BOOT_FILE_MISSING = _line(rf"file \S*?/(?:{'|'.join(map(re.escape, FIRST_FILES))}) not found")
_NO_ADDRESS = _line(r"DHCPDISCOVER\(\S+\).* no address (?:available|range)")
_RELEASED = _line(r"DHCP(?:RELEASE|DECLINE)\(")


def find_fault(logs: Logs) -> Diagnosis | None:
    """The fault that a final sign names; None while there is hope."""
    if Milestone.LOGIN in find_milestones(logs):
        return None
    for fault, sign in _SIGNS:
        found = sign.search(logs.console)
        if found:
            return Diagnosis(fault, found[0].strip(" \t\r|"))  # shim draws a box around what it says
    if _FIRMWARE_GAVE_UP.search(logs.console):
        return _diagnose_firmware(logs)
    if _GAVE_UP.search(logs.console) or len(_RETRIES.findall(logs.console)) >= _MOUNT_TRIES:
        return _diagnose_mount(logs)
    return None


def diagnose(logs: Logs, last: Milestone | None, *, running: bool, ordered_off: bool = False) -> Diagnosis:
    """The likeliest fault of a guest that ended, or that did not get further than `last` in time."""
    known = find_fault(logs)
    if known is not None:
        return known
    lost = _lost_server(logs)
    if lost and last is not None and list(Milestone).index(last) >= list(Milestone).index(Milestone.INIT):
        return Diagnosis(Failure.SHUTDOWN_HANGS if ordered_off else Failure.ROOT_LOST, lost)
    if ordered_off:
        return Diagnosis(Failure.SHUTDOWN_HANGS)
    if not running:
        return Diagnosis(Failure.ENDED)
    return _diagnose_standstill(logs, last)


def _diagnose_standstill(logs: Logs, last: Milestone | None) -> Diagnosis:
    """What a guest waits for that says nothing final, from how far it came."""
    if last is None or last is Milestone.LEASE:
        return _diagnose_firmware(logs)
    if last is Milestone.INITRAMFS:
        return _diagnose_mount(logs)
    if last is Milestone.LOGIN:
        return Diagnosis(Failure.NO_SHELL)
    if last is Milestone.ROOT:
        return Diagnosis(Failure.MOUNT_HANGS)
    return Diagnosis(Failure.TOO_SLOW)


def _diagnose_firmware(logs: Logs) -> Diagnosis:
    refused = _NO_ADDRESS.search(logs.dhcp)
    if _IS_UEFI.search(logs.console) and not _STARTED_NETWORK.search(logs.console):
        return Diagnosis(Failure.NO_DRIVER)
    if Milestone.LEASE not in find_milestones(logs):
        over_http = _STARTED_HTTP.search(logs.console)
        if over_http and "DHCPOFFER" in logs.dhcp:
            return Diagnosis(Failure.NO_HTTP_CLIENT, over_http[0].strip())
        return Diagnosis(Failure.NO_LEASE, refused[0] if refused else "")
    missing = _BOOT_FILE_MISSING.search(logs.dhcp)
    return Diagnosis(Failure.NO_BOOT_FILE, missing[0] if missing else "")


def _diagnose_mount(logs: Logs) -> Diagnosis:
    """Why the root is not mounted, by what the mount said; a mount that says nothing hangs."""
    asking = _ASKING.search(logs.console)
    if asking and not _ANSWERED.search(logs.console):
        return Diagnosis(Failure.NO_LEASE, asking[0].strip())
    asked = _asked_root(logs.console)
    refused = _REFUSED.search(logs.console)
    if refused and not logs.serves(asked):
        # nfs-ganesha refuses what it does not find; the kernel's server says that there is no such file
        return Diagnosis(Failure.WRONG_EXPORT, f"{refused[0].strip()} (there is no {asked})")
    for fault, said in (
        (Failure.NO_LEASE, _NO_ANSWER),
        (Failure.MOUNT_REFUSED, _REFUSED),
        (Failure.NFS_VERSION, _NO_SUCH_VERSION),
        (Failure.WRONG_EXPORT, _NO_LOCATION),
        (Failure.WRONG_EXPORT, _NO_SUCH_EXPORT),
        (Failure.NO_NFS_SERVER, _UNREACHABLE),
        # the kernel tries for minutes to reach a server that does not answer at all
        (Failure.NO_NFS_SERVER, _MOUNTING),
    ):
        found = said.search(logs.console)
        if found:
            return Diagnosis(fault, found[0].strip())
    lost = _lost_server(logs)
    return Diagnosis(Failure.NO_NFS_SERVER, lost) if lost else Diagnosis(Failure.MOUNT_HANGS)


def _asked_root(console: str) -> str:
    """The path that the guest wants to mount: its command line names it, for the lab's DHCP never does."""
    named = _NFSROOT.search(console)
    return named[1] if named else "/"


def _lost_server(logs: Logs) -> str:
    """The line that says that a mounted root does not answer any more, or that its address was given up."""
    released = _RELEASED.search(logs.dhcp)
    if released:
        return released[0].strip()
    silent = list(_NOT_RESPONDING.finditer(logs.console))
    if silent and not _RESPONDING_AGAIN.search(logs.console, silent[-1].end()):
        return silent[-1][0].strip()
    return ""
