"""Name, time, language and first boot of the image."""

from __future__ import annotations

from builder.model.entry import TreeEntry, TreeFile, TreeLink
from builder.model.recipe import System

# units that a distribution may have for this already, openssh's packaging in Arch, Fedora and later Debian
SSH_KEY_UNITS = ("sshdgenkeys.service", "sshd-keygen.service", "sshd-keygen@.service", "ssh-keygen.service")
BUILT_IN_LOCALES = ("C", "POSIX", "C.UTF-8")
SSH_KEYS_UNIT = "/etc/systemd/system/diskless-ssh-keys.service"
_SSH_KEYS = """\
# An image holds no ssh host keys: each root makes its own when it first boots.
[Unit]
Description=Create the ssh host keys of this root
Before=ssh.service sshd.service ssh.socket
ConditionPathExists=/usr/bin/ssh-keygen
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/ssh-keygen -A
"""


def system_entries(system: System, *, locale_file: str = "/etc/default/locale") -> list[TreeEntry]:
    """Host name, hosts, time zone, locale and an empty machine-id, machine-id(5): filled in at first boot."""
    entries: list[TreeEntry] = [
        TreeFile("/etc/hostname", f"{system.hostname}\n".encode()),
        TreeFile("/etc/hosts", _hosts(system.hostname).encode()),
        TreeLink("/etc/localtime", f"/usr/share/zoneinfo/{system.timezone}"),
        TreeFile("/etc/timezone", f"{system.timezone}\n".encode()),
        TreeFile("/etc/machine-id", b"", mode=0o444),
    ]
    entries.append(TreeFile(locale_file, f"LANG={system.locale}\n".encode()))
    if system.locale not in BUILT_IN_LOCALES:
        entries.append(TreeFile("/etc/locale.gen", f"{system.locale} UTF-8\n".encode()))
    return entries


def ssh_key_entries() -> list[TreeEntry]:
    """A unit that makes the host keys before sshd starts, pulled in by it."""
    wants = "/etc/systemd/system/ssh.service.wants/diskless-ssh-keys.service"
    return [TreeFile(SSH_KEYS_UNIT, _SSH_KEYS.encode()), TreeLink(wants, SSH_KEYS_UNIT)]


def _hosts(hostname: str) -> str:
    short = hostname.partition(".")[0]
    names = hostname if short == hostname else f"{hostname} {short}"
    return f"127.0.0.1\tlocalhost\n127.0.1.1\t{names}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
