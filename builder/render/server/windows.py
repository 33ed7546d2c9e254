"""The DHCP server of Windows: PowerShell that an administrator there reads and runs.

Source: Microsoft's reference of the module DhcpServer (Add-DhcpServerv4Class, -Policy, Set-DhcpServerv4OptionValue).
Not tried: no Windows is among the programs that the tests run.
"""

from __future__ import annotations

from builder.loaders.base import ClientArchitecture
from builder.model.share import ServedStore
from builder.model.site import Site, SiteNetwork
from builder.render.server.boot_files import HTTP_CLIENT, IPXE, BootFiles, choose_boot_files, describe
from builder.render.server.comments import comment


def windows_config(site: Site, store: ServedStore) -> str:
    """A policy for each kind of firmware in a scope that is there; BIOS clients get the scope's own options."""
    files = choose_boot_files(site, store)
    lines: list[str] = []
    for number, network in enumerate(site.client_networks):
        lines += _scope(site, network, files, once=number == 0)
    return _HEAD.format(server=site.server) + "\n".join(lines) + "\n"


def _scope(site: Site, network: SiteNetwork, files: BootFiles, *, once: bool) -> list[str]:
    """The lines of one scope; `once`: with what the server has only once, classes and definitions."""
    lines = [
        f"$scope = @{{ScopeId = '{network.network.network_address}'}}",
        f"Set-DhcpServerv4OptionValue @scope -OptionId 66 -Value '{site.server}'",
    ]
    if files.bios is not None:
        lines.append(f"Set-DhcpServerv4OptionValue @scope -OptionId 67 -Value '{files.bios}'")
    if once and any(kind.over_http for kind in files.others):
        lines.append("Add-DhcpServerv4OptionDefinition -Name 'Vendor class' -OptionId 60 -Type String")
    if files.script is not None:
        lines += _policy("diskless-ipxe", "User", IPXE, files.script, "", once=once)
    for kind, name in files.others.items():
        lines.append(f"# {describe(kind)}")
        lines += _policy(f"diskless-{kind:d}", "Vendor", _vendor_class(kind), name, "*", once=once)
        if kind.over_http:
            answer = f"-PolicyName 'diskless-{kind:d}' -OptionId 60 -Value '{HTTP_CLIENT}'"
            lines.append(f"Set-DhcpServerv4OptionValue @scope {answer}")
    return lines


_HEAD = comment(
    "for a DHCP server of Windows, in its PowerShell; not tried by us\n"
    "The scope of the clients' network is there already. {server} (this server) has TFTP: see tftpd and xinetd.\n"
    "Windows sends no option 208: PXELINUX's configuration and kernels come over TFTP."
)


def _vendor_class(kind: ClientArchitecture) -> str:
    """The beginning of option 60, as RFC 4578 and UEFI have it."""
    return f"{HTTP_CLIENT if kind.over_http else 'PXEClient'}:Arch:{kind:05d}"


def _policy(name: str, kind: str, data: str, file: str, any_end: str, *, once: bool) -> list[str]:
    condition = f"-{kind}Class EQ,'{name}{any_end}'"
    return [
        *([f"Add-DhcpServerv4Class -Name '{name}' -Type {kind} -Data '{data}'"] if once else []),
        f"Add-DhcpServerv4Policy -Name '{name}' @scope -Condition OR {condition}",
        f"Set-DhcpServerv4OptionValue @scope -PolicyName '{name}' -OptionId 67 `",
        f"    -Value '{file}'",
    ]
