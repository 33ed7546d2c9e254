"""What the logs of a boot say: milestones, faults and their advice, from short transcripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.bootlab.console import Log, clean
from builder.bootlab.diagnosis import ADVICE, Diagnosis, Failure, diagnose, find_fault
from builder.bootlab.timeline import Logs, Milestone, Timeline, find_milestones, leased_address

LEASE = """\
dnsmasq-dhcp: 2 available DHCP range: 10.77.0.100 -- 10.77.0.199
dnsmasq-dhcp: 2 DHCPDISCOVER(lab0) 52:54:00:00:00:01
dnsmasq-dhcp: 2 DHCPOFFER(lab0) 10.77.0.123 52:54:00:00:00:01
dnsmasq-dhcp: 2 DHCPACK(lab0) 10.77.0.123 52:54:00:00:00:01
"""
LOADER = LEASE + "dnsmasq-tftp: sent /srv/boot/lpxelinux.0 to 10.77.0.123\n"
KERNEL = "[    0.000000] Linux version 6.1.0-1-amd64 (someone@somewhere)\n"
INITRAMFS = KERNEL + "[    1.500000] Run /init as init process\nLoading, please wait...\n"
ROOT = INITRAMFS + "Begin: Running /scripts/nfs-bottom ... done.\n"
INIT = ROOT + "[    9.000000] systemd[1]: systemd 252 running in system mode (+PAM)\nWelcome to Debian GNU/Linux 12!\n"
LOGIN = INIT + "\nDebian GNU/Linux 12 diskless ttyS0\n\ndiskless login: "
OFF = LOGIN + "\n[   60.000000] reboot: Power down\n"
MOUNTING = INITRAMFS + "Begin: Waiting ... done.\ndiskless: mounting 10.77.0.1:/root, ro, NFS 4.2\n"
OVERLAY_ROOT = MOUNTING + "diskless: root mounted\n"
# ipconfig without a DHCP server
ASKING = ":: running hook [net]\nIP-Config: eth0 hardware address 52:54:00:00:00:01 mtu 1500 DHCP RARP\n"
IN_ORDER = list(Milestone)


def failed_mount(reason: str) -> str:
    """Three tries of our scripts, in the words of klibc's mount and of util-linux'."""
    said = f"diskless: NFS mount failed: mount: {reason}\n"
    return MOUNTING + "".join(f"{said}diskless: try {number} of 40\n" for number in (2, 3, 4))


@pytest.mark.parametrize(
    ("console", "dhcp", "last"),
    [
        ("", "", None),
        ("", "dnsmasq-dhcp: DHCPOFFER(lab0) 10.77.0.123\n", None),
        ("", LEASE, Milestone.LEASE),
        ("", LOADER, Milestone.LOADER),
        ("", LEASE + "dnsmasq-tftp: sent /srv/boot/pxelinux.0 to 10.77.0.123\n", Milestone.LOADER),
        (KERNEL, LOADER, Milestone.KERNEL),
        (INITRAMFS, LOADER, Milestone.INITRAMFS),
        (ROOT, LOADER, Milestone.ROOT),
        (MOUNTING, LOADER, Milestone.INITRAMFS),
        (OVERLAY_ROOT, LOADER, Milestone.ROOT),
        (INIT, LOADER, Milestone.INIT),
        (LOGIN, LOADER, Milestone.LOGIN),
        (OFF, LOADER, Milestone.OFF),
    ],
)
def test_milestones_come_in_order(console: str, dhcp: str, last: Milestone | None) -> None:
    passed = IN_ORDER[: IN_ORDER.index(last) + 1] if last else []
    assert find_milestones(Logs(console, dhcp)) == set(passed)


def test_what_was_passed_unseen_is_proved_by_what_came_later() -> None:
    assert find_milestones(Logs("diskless login: ")) == set(IN_ORDER[: IN_ORDER.index(Milestone.LOGIN) + 1])


def test_a_login_prompt_stands_at_the_start_of_a_line() -> None:
    assert Milestone.LOGIN not in find_milestones(Logs("Starting getty, see the diskless login: prompt\n"))


@pytest.mark.parametrize(
    ("dhcp", "http"),
    [
        ("dnsmasq-tftp: sent /srv/boot/grub/grub.cfg to 10.77.0.123\n", ""),
        ("dnsmasq-tftp: sent /srv/boot/pxelinux.cfg/01-52-54-00-00-00-01 to 10.77.0.123\n", ""),
        ("", '10.77.0.123 - - [x] "GET /ipxe/boot.ipxe HTTP/1.1" 200 -\n'),
        ("", '10.77.0.123 - - [x] "GET /ipxe/01-52-54-00-00-00-01.ipxe HTTP/1.1" 200 -\n'),
    ],
)
def test_a_menu_is_read_over_tftp_or_http(dhcp: str, http: str) -> None:
    assert Milestone.MENU in find_milestones(Logs("", dhcp, http))


@pytest.mark.parametrize("name", ["shimx64.efi", "ipxe/ipxe.efi"])
def test_a_loader_may_come_over_http(name: str) -> None:
    assert Milestone.LOADER in find_milestones(Logs("", "", f'"GET /{name} HTTP/1.1" 200 -\n'))
    assert Milestone.LOADER not in find_milestones(Logs("", "", f'"GET /{name} HTTP/1.1" 404 -\n'))


def test_grub_welcomes_as_systemd_does() -> None:
    """Seen: a GRUB that found no menu was taken for an image that had come to its init."""
    for said in ("Welcome to GRUB!\n", "Welcome to ", "Welcome to GRU"):  # a console is read while it is written
        assert find_milestones(Logs(said)) == set()
    assert Milestone.INIT in find_milestones(Logs("Welcome to Debian GNU/Linux 12 (bookworm)!\n"))


def test_other_files_over_tftp_are_no_loader() -> None:
    dhcp = LEASE + "dnsmasq-tftp: sent /srv/boot/ldlinux.c32 to 10.77.0.123\nfile /srv/boot/pxelinux.0 not found\n"
    assert Milestone.LOADER not in find_milestones(Logs("", dhcp))


def test_the_last_lease_counts() -> None:
    assert leased_address(Logs("", LEASE)) == "10.77.0.123"
    assert leased_address(Logs("", LEASE + "dnsmasq-dhcp: DHCPACK(lab0) 10.77.0.150 52:54:00:00:00:01 diskless\n")) == (
        "10.77.0.150"
    )
    assert leased_address(Logs("", "dnsmasq-dhcp: DHCPDISCOVER(lab0) 52:54:00:00:00:01\n")) is None


def test_a_timeline_gives_every_milestone_its_first_second() -> None:
    assert Timeline().last is None
    timeline = Timeline()
    assert timeline.note(Logs(""), 0.5) == ()
    assert timeline.note(Logs("", LEASE), 1.0) == (Milestone.LEASE,)
    assert timeline.note(Logs("", LEASE), 2.0) == ()
    assert timeline.note(Logs(INITRAMFS, LOADER), 3.0) == (
        Milestone.LOADER,
        Milestone.MENU,
        Milestone.KERNEL,
        Milestone.INITRAMFS,
    )
    assert timeline.last is Milestone.INITRAMFS
    assert timeline.seconds[Milestone.LEASE] == 1.0
    assert timeline.seconds[Milestone.KERNEL] == 3.0
    timeline.note(Logs(LOGIN, LOADER), 4.0)
    assert list(timeline.seconds) == IN_ORDER[: IN_ORDER.index(Milestone.LOGIN) + 1]


FINAL_SIGNS = [
    (Failure.NO_KERNEL, "Loading lab/vmlinuz... failed: No such file or directory\nboot: "),
    (Failure.NO_KERNEL, "Could not find kernel image: lab/vmlinuz\nboot: "),
    (Failure.NO_BOOT_FILE, "Failed to load ldlinux.c32\nBoot failed: press a key to retry\n"),
    (Failure.NO_BOOT_FILE, "PXE-E32: TFTP open timeout\n"),
    # seen with OVMF, shim 16.1 and GRUB 2.06 under Secure Boot
    (
        Failure.KERNEL_REFUSED,
        "error: bad shim signature.\nerror: you need to load the kernel first.\nPress any key to continue...\n",
    ),
    (
        Failure.LOADER_REFUSED,
        "Fetching Netboot Image grubx64.efi\n|   Verification failed: (0x1A) Security Violation   |\n",
    ),
    (
        Failure.LOADER_REFUSED,
        'BdsDxe: failed to load Boot0001 "UEFI PXEv4 (MAC:525400000001)" from PciRoot(0x0): Access Denied\n',
    ),
    # through the iPXE in the ROM of a network card
    (Failure.LOADER_REFUSED, "|   Verification failed: (0x2) Invalid Parameter   |\n"),
    (
        Failure.NO_BOOT_FILE,
        "Fetching Netboot Image grubx64.efi\nUnable to fetch TFTP image: Not Found\nstart_image() returned Not Found\n",
    ),
    (Failure.NO_MENU, "Welcome to GRUB!\nGNU GRUB  version 2.06-13+deb12u2\n   device or file completions.\ngrub> \n"),
    (Failure.NO_KERNEL, "Booting `lab/2'\nerror: file `/lab/2/vmlinuz' not found.\nerror: you need to load the kernel"),
    (Failure.NO_KERNEL, "diskless: not all of it came, trying again in 30 seconds\n"),
    (Failure.NO_INIT, ROOT + "No init found. Try passing init= bootarg.\n(initramfs) "),
    (Failure.NO_INIT, ROOT + "run-init: can't execute '/sbin/init': No such file or directory\n"),
    (Failure.NO_INIT, INITRAMFS + "ERROR: Root device mounted successfully, but /sbin/init does not exist.\n"),
    (Failure.INIT_KILLED, INIT + "[   10.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000200\n"),
    (
        Failure.PANIC,
        KERNEL + "[    2.0] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,255)\n",
    ),
    (Failure.EMERGENCY, INIT + "You are in emergency mode. After logging in, type journalctl -xb\n"),
    (Failure.EMERGENCY, INIT + "Cannot open access to console, the root account is locked.\n"),
    (Failure.MOUNT_REFUSED, INITRAMFS + "nfsmount: access denied by server\n(initramfs) "),
    (Failure.WRONG_EXPORT, INITRAMFS + "mount call failed - server replied: No such file or directory.\n(initramfs) "),
    (Failure.NO_NFS_SERVER, INITRAMFS + "connect: Connection refused\nBailing out, you are on your own. Good luck.\n"),
    (Failure.NO_NFS_SERVER, INITRAMFS + "connect: Connection refused\n" + "Begin: Retrying nfs mount ... done.\n" * 3),
    # what our own scripts say
    (Failure.MOUNT_REFUSED, failed_mount("Permission denied")),
    (Failure.MOUNT_REFUSED, failed_mount("Operation not permitted")),
    (Failure.NFS_VERSION, failed_mount("Protocol not supported")),
    (Failure.WRONG_EXPORT, failed_mount("No such file or directory")),
    (Failure.NO_NFS_SERVER, failed_mount("Connection refused")),
    (Failure.NO_NFS_SERVER, failed_mount("Connection timed out")),
    (Failure.WRONG_EXPORT, INITRAMFS + "diskless: there is no root: nfsroot= says '', not ADDRESS:/PATH\n(initramfs) "),
    (Failure.NO_LEASE, INITRAMFS + "diskless: no address for ip=:::::eth0:dhcp: does ...?\ndiskless: giving up\n"),
    # the hook `net` of mkinitcpio-nfs-utils
    (
        Failure.WRONG_EXPORT,
        INITRAMFS
        + "IP-Config: eth0 hardware address 52:54:00:00:00:01 mtu 1500 DHCP RARP\nIP-Config: eth0 complete (from "
        "10.77.0.1):\nNFS-Mount: :\nERROR: Unable to mount root filesystem over NFS: wrong parameters.\n"
        "You are being dropped to a recovery shell\n    Type 'exit' to try and continue booting\n",
    ),
    (Failure.NO_OVERLAY, OVERLAY_ROOT + "diskless: overlay failed: a tmpfs of size=x could not be mounted\n"),
]


@pytest.mark.parametrize(
    ("fault", "console"), FINAL_SIGNS, ids=[f"{fault}-{n}" for n, (fault, _) in enumerate(FINAL_SIGNS)]
)
def test_a_final_sign_names_the_fault_with_the_line_that_says_so(fault: Failure, console: str) -> None:
    found = find_fault(Logs(console, LOADER))
    assert found is not None
    assert found.fault is fault
    assert found.evidence
    assert found.evidence in console
    assert "\n" not in found.evidence
    assert found.message == f"{fault}: {found.evidence}"
    # time changes nothing about it
    assert diagnose(Logs(console, LOADER), Milestone.LOADER, running=True) == found


@pytest.mark.parametrize(
    "console",
    [
        *("", KERNEL, MOUNTING, ROOT, INIT),
        INITRAMFS + "connect: Connection refused\nBegin: Retrying nfs mount ... done.\n",
        MOUNTING + "diskless: NFS mount failed: mount: Connection refused\ndiskless: try 2 of 40\n",
    ],
    ids=["power-on", "kernel", "mounting", "root", "init", "first-try", "our-first-try"],
)
def test_there_is_hope_as_long_as_nothing_is_final(console: str) -> None:
    assert find_fault(Logs(console, LOADER)) is None


def test_a_guest_with_a_login_prompt_has_no_fault() -> None:
    for _, console in FINAL_SIGNS:
        assert find_fault(Logs(f"{console}\ndiskless login: ", LOADER)) is None


@pytest.mark.parametrize(
    ("logs", "last", "fault"),
    [
        (Logs(""), None, Failure.NO_LEASE),
        (Logs("", "DHCPDISCOVER(lab0) 52:54:00:00:00:01 no address available\n"), None, Failure.NO_LEASE),
        (Logs("", LEASE), Milestone.LEASE, Failure.NO_BOOT_FILE),
        (Logs('BdsDxe: failed to load Boot0001 "UEFI QEMU": Not Found\n'), None, Failure.NO_DRIVER),
        (Logs(">>Start PXE over IPv4.\nBdsDxe: failed to load Boot0001: Not Found\n"), None, Failure.NO_LEASE),
        (
            Logs(">>Start HTTP Boot over IPv4.\n", "DHCPOFFER(lab0) 10.77.0.123 52:54:00:00:00:01\n"),
            None,
            Failure.NO_HTTP_CLIENT,
        ),
        (
            Logs("", LEASE + "dnsmasq-tftp: file /srv/boot/pxelinux.0 not found\n"),
            Milestone.LEASE,
            Failure.NO_BOOT_FILE,
        ),
        # a slow download or a file that is missing: nothing says which
        (Logs("", LOADER), Milestone.LOADER, Failure.TOO_SLOW),
        (Logs("Linux version 6.1", LOADER), Milestone.KERNEL, Failure.TOO_SLOW),
        (Logs(INITRAMFS, LOADER), Milestone.INITRAMFS, Failure.MOUNT_HANGS),
        (
            Logs(INITRAMFS + "nfs: server 10.77.0.1 not responding\n", LOADER),
            Milestone.INITRAMFS,
            Failure.NO_NFS_SERVER,
        ),
        (Logs(MOUNTING, LOADER), Milestone.INITRAMFS, Failure.NO_NFS_SERVER),
        (Logs(INITRAMFS + ASKING, LOADER), Milestone.INITRAMFS, Failure.NO_LEASE),
        (Logs(INITRAMFS + ASKING + "NFS-Mount: 10.77.0.1:/\n", LOADER), Milestone.INITRAMFS, Failure.MOUNT_HANGS),
        (Logs(ROOT, LOADER), Milestone.ROOT, Failure.MOUNT_HANGS),
        (Logs(INIT, LOADER), Milestone.INIT, Failure.TOO_SLOW),
        (
            Logs(INIT + "nfs: server 10.77.0.1 not responding, still trying\n", LOADER),
            Milestone.INIT,
            Failure.ROOT_LOST,
        ),
        (Logs(INIT, LOADER + "DHCPRELEASE(lab0) 10.77.0.123 52:54:00:00:00:01\n"), Milestone.INIT, Failure.ROOT_LOST),
        (Logs(LOGIN, LOADER), Milestone.LOGIN, Failure.NO_SHELL),
    ],
    ids=lambda value: str(value) if isinstance(value, Failure) else "",
)
def test_a_standstill_is_judged_by_how_far_it_came(logs: Logs, last: Milestone | None, fault: Failure) -> None:
    assert diagnose(logs, last, running=True).fault is fault


def test_a_server_that_answers_again_was_not_lost() -> None:
    console = INIT + "nfs: server 10.77.0.1 not responding, still trying\nnfs: server 10.77.0.1 OK\n"
    assert diagnose(Logs(console, LOADER), Milestone.INIT, running=True).fault is Failure.TOO_SLOW
    again = console + "nfs: server 10.77.0.1 not responding, still trying\n"
    assert diagnose(Logs(again, LOADER), Milestone.INIT, running=True).fault is Failure.ROOT_LOST


def test_a_guest_that_was_ordered_off_hangs_in_its_shutdown() -> None:
    lost = LOGIN + "\nnfs: server 10.77.0.1 not responding, still trying\n"
    silent = diagnose(Logs(LOGIN, LOADER), Milestone.LOGIN, running=True, ordered_off=True)
    assert silent == Diagnosis(Failure.SHUTDOWN_HANGS)
    diagnosis = diagnose(Logs(lost, LOADER), Milestone.LOGIN, running=True, ordered_off=True)
    assert diagnosis == Diagnosis(Failure.SHUTDOWN_HANGS, "nfs: server 10.77.0.1 not responding, still trying")


def test_a_guest_that_ended_by_itself() -> None:
    assert diagnose(Logs(INIT, LOADER), Milestone.INIT, running=False).fault is Failure.ENDED
    # unless something says why
    panic = INIT + "Kernel panic - not syncing: Attempted to kill init!\n"
    assert diagnose(Logs(panic, LOADER), Milestone.INIT, running=False).fault is Failure.INIT_KILLED


@pytest.mark.parametrize("fault", Failure)
def test_every_fault_has_advice(fault: Failure) -> None:
    assert Diagnosis(fault).advice == ADVICE[fault]
    assert Diagnosis(fault).message == str(fault)
    assert set(ADVICE) == set(Failure)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("plain\r\nlines\r\n", "plain\nlines\n"),
        ("progress\rprogress 2\n", "progress\nprogress 2\n"),
        ("\x1b[0;32m  OK  \x1b[0m started\n", "  OK   started\n"),
        ("\x1bc\x1b[?7l\x1b[2JSeaBIOS\n", "\nSeaBIOS\n"),
        ("\x1b[1;1Hone\x1b[2;1Htwo", "\none\ntwo"),
        ("bell\x07 and \x00nothing\n", "bell and nothing\n"),
        ("a\n\n\n  \nb\n", "a\nb\n"),
        ("\x1b]0;title\x07prompt", "prompt"),
        ("tab\tstays\n", "tab\tstays\n"),
        ("umlaut ü\n", "umlaut ü\n"),
    ],
)
def test_a_console_is_cleaned_to_plain_lines(raw: str, text: str) -> None:
    assert clean(raw) == text


def test_a_sign_is_found_although_it_was_painted() -> None:
    painted = "\x1b[0;1;31mYou are in emerg\x1b[0mency mode.\x1b[K\r\n"
    found = find_fault(Logs(clean(painted)))
    assert found == Diagnosis(Failure.EMERGENCY, "You are in emergency mode.")


def test_a_log_is_read_while_it_grows(tmp_path: Path) -> None:
    log = Log(tmp_path / "console")
    assert (log.text, log.last_lines(3)) == ("", ())
    with log.path.open("ab", buffering=0) as file:
        file.write(b"one\r\ntwo \xff\r\nhalf of \xc3")
        assert log.last_lines(2) == ("two \N{REPLACEMENT CHARACTER}", "half of \N{REPLACEMENT CHARACTER}")
        file.write(b"\xbc\r\n")
        assert log.last_lines(1) == ("half of ü",)
    assert log.last_lines(10) == ("one", "two \N{REPLACEMENT CHARACTER}", "half of ü")
