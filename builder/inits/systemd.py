"""systemd: systemd.unit(5), systemctl(1).

The lab's shell is systemd's own, debug-shell.service: systemd.debug_shell= of kernel-command-line(7).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator

from builder.inits.base import RENEWER_SCRIPT, RESOLVER, EarlyService
from builder.model.entry import TreeEntry, TreeFile, TreeLink
from builder.model.fault import Fault
from builder.model.identity import KnownIdentity, RemovedFile
from builder.model.recipe import InitName, NetworkClient, Recipe, Resolver

_UNITS = "/etc/systemd/system"
_EARLY_UNIT = """\
[Unit]
Description={title}
DefaultDependencies=no
Before=sysinit.target network-pre.target systemd-networkd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={script}
"""
_RENEWER_UNIT = f"""\
[Unit]
Description=Lease of the address that this machine booted with
After=network-pre.target

[Service]
ExecStart={RENEWER_SCRIPT}
Restart=on-failure
RestartSec=10
"""
_SCRIPTS = "/usr/local/lib/diskless"
_HOST_KEYS = "/etc/ssh/ssh_host_*_key"
_SSH_KEYS_UNIT = f"{_UNITS}/diskless-ssh-keys.service"
# Debian's names, and everybody else's; the sockets, since a connection may come before the service was ever started
_SSH_SERVERS = ("ssh.service", "ssh.socket", "sshd.service", "sshd.socket")
_SSH_KEYS = """\
# An image holds no ssh host keys: a root makes its own when it first boots, one below an overlay at each boot.
# What a distribution has for this may not run here (ConditionFirstBoot=), so this comes first, and leaves it nothing.
[Unit]
Description=Create the ssh host keys of this root
Before=ssh.service ssh.socket sshd.service sshd.socket
Before=sshd-keygen.service sshd-keygen.target sshdgenkeys.service
ConditionPathExists=/usr/bin/ssh-keygen

[Service]
Type=oneshot
RemainAfterExit=yes
# makes the keys that are missing or empty
ExecStart=/usr/bin/ssh-keygen -A
"""
_IDENTITY_SCRIPT = """\
#!/bin/sh
# The image holds none of {title}: a root makes its own when it first boots, one below an overlay at each boot.
set -eu
umask 077
FILES="{files}"
{commands}
{modes}
"""
_IDENTITY_UNIT = """\
[Unit]
Description=Create {title} of this root
DefaultDependencies=no
After=local-fs.target
Before=sysinit.target shutdown.target
Conflicts=shutdown.target
{conditions}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={script}
"""
_CLIENT_UNITS = {
    NetworkClient.DHCPCD: ["dhcpcd.service"],
    NetworkClient.NETWORKD: ["systemd-networkd.service"],
    NetworkClient.NETWORKMANAGER: ["NetworkManager.service"],
    NetworkClient.IFUPDOWN: ["networking.service"],
    NetworkClient.NONE: [],
}


class Systemd:
    """Units."""

    name: InitName = InitName.SYSTEMD
    kind: str = "unit"
    directories: tuple[str, ...] = (_UNITS, "/usr/lib/systemd/system", "/lib/systemd/system")
    clients: frozenset[NetworkClient] = frozenset(NetworkClient)
    resolvers: frozenset[Resolver] = frozenset(Resolver)
    enable: tuple[str, ...] = ("systemctl", "enable")
    mask_directory: str | None = _UNITS
    resolver_file: str = f"{_UNITS}/{RESOLVER.name}.service"
    update_stamps: tuple[str, ...] = ("/etc/.updated", "/var/.updated")
    begun: str = r"systemd\[1\]: systemd \d|Welcome to (?!GRUB!)[^\n]+!"
    speaks: str = r"systemd\[1\]: "
    lab_arguments: tuple[str, ...] = ("systemd.show_status=true", "systemd.debug_shell=ttyS1")
    # a shell at its prompt ignores SIGTERM, and systemd would wait 90 seconds for it
    power_off: str = "systemctl poweroff; exec sleep infinity"

    def entries(self, recipe: Recipe) -> list[TreeEntry]:
        """A unit that makes the ssh host keys before sshd starts, pulled in by it whatever a distribution calls it.

        Where the recipe brings keys, which every client then has, there are no others beside them.
        """
        if any(fnmatch.fnmatchcase(file.path, _HOST_KEYS) for file in recipe.files):
            return []
        wants = [f"{_UNITS}/{server}.wants/diskless-ssh-keys.service" for server in _SSH_SERVERS]
        return [TreeFile(_SSH_KEYS_UNIT, _SSH_KEYS.encode()), *(TreeLink(path, _SSH_KEYS_UNIT) for path in wants)]

    def early_entries(self, service: EarlyService) -> list[TreeEntry]:
        """A unit of sysinit.target."""
        unit = f"{service.name}.service"
        text = _EARLY_UNIT.format(title=service.title, script=service.script)
        wants = f"{_UNITS}/sysinit.target.wants/{unit}"
        return [TreeFile(f"{_UNITS}/{unit}", text.encode()), TreeLink(wants, f"{_UNITS}/{unit}")]

    def renewer_entries(self) -> list[TreeEntry]:
        """A service that comes back."""
        unit = "diskless-renew-lease.service"
        wants = f"{_UNITS}/multi-user.target.wants/{unit}"
        return [TreeFile(f"{_UNITS}/{unit}", _RENEWER_UNIT.encode()), TreeLink(wants, f"{_UNITS}/{unit}")]

    def identity_entries(self, known: KnownIdentity, removed: tuple[RemovedFile, ...]) -> list[TreeEntry]:
        """A unit of sysinit.target for each identity: where one fails, the others are made all the same."""
        script, unit = f"{_SCRIPTS}/make-{known.name}", f"diskless-make-{known.name}.service"
        modes = [f"chown {file.uid}:{file.gid} {file.path}\nchmod {file.mode:04o} {file.path}" for file in removed]
        files = " ".join(file.path for file in removed)
        text = _IDENTITY_SCRIPT.format(title=known.title, files=files, commands=known.commands, modes="\n".join(modes))
        # one that is missing is enough
        conditions = "\n".join(f"ConditionPathExists=|!{file.path}" for file in removed)
        described = _IDENTITY_UNIT.format(title=known.title, conditions=conditions, script=script)
        return [
            TreeFile(script, text.encode(), 0o755),
            TreeFile(f"{_UNITS}/{unit}", described.encode()),
            TreeLink(f"{_UNITS}/sysinit.target.wants/{unit}", f"{_UNITS}/{unit}"),
        ]

    def full_name(self, name: str) -> str:
        """With .service, where no kind of unit is written."""
        return name if "." in name.rpartition("@")[2] else f"{name}.service"

    def file_names(self, full_name: str) -> frozenset[str]:
        """The unit's own, or that of the template that it is an instance of."""
        prefix, at, suffix = full_name.partition("@")
        return frozenset((full_name, f"{prefix}@.{suffix.rpartition('.')[2]}" if at else full_name))

    def enabled(self, recipe: Recipe) -> list[str]:
        """The network client's units, and the recipe's."""
        return list(dict.fromkeys([*_CLIENT_UNITS[recipe.network.client], *recipe.system.services]))

    def contradictions(self, recipe: Recipe) -> Iterator[Fault]:
        """None of its own."""
        return iter(())
