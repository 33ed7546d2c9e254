"""Name, time, language and first boot of the image."""

from __future__ import annotations

from builder.model.entry import TreeEntry, TreeFile, TreeLink
from builder.model.recipe import System

BUILT_IN_LOCALES = ("C", "POSIX", "C.UTF-8")


def system_entries(system: System, *, locale_file: str = "/etc/default/locale") -> list[TreeEntry]:
    """Host name, hosts, time zone, locale and an empty machine-id.

    machine-id(5): systemd fills in an empty one, and does not take the boot for a first one. That would ask for what
    the recipe says already (systemd-firstboot), and enable whatever the distribution's presets enable.
    """
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


def _hosts(hostname: str) -> str:
    short = hostname.partition(".")[0]
    names = hostname if short == hostname else f"{hostname} {short}"
    return f"127.0.0.1\tlocalhost\n127.0.1.1\t{names}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
