"""Whether a server's own configuration reads the files that are put beside it, and the line that is missing if not.

Debian's and Arch Linux's packages differ: of dnsmasq, dhcpd and nginx only Debian's read a directory of drop-ins or lie
below /etc/dhcp; in.tftpd is started by another unit. Sources: the packages of both, dnsmasq(8), dhcpd.conf(5), nft(8),
nginx.org/en/docs, xinetd.conf(5). exports.d and nfs.conf.d are read everywhere, exports(5), nfs.conf(5).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from builder.probes.configured.directive import below
from builder.probes.configured.dnsmasq import read_dnsmasq
from builder.render.server.dhcpd import dhcpd_path
from builder.render.server.dnsmasq import DNSMASQ_DIRECTORY, drop_in_path
from builder.render.server.files import Format
from builder.render.server.firewall import firewall_path
from builder.render.server.nginx import nginx_path
from builder.render.server.tftp import XINETD_FILE
from builder.system.host import host_family
from builder.system.run import Tool, install_hint

_DNSMASQ = Tool("dnsmasq", "dnsmasq", "dnsmasq")
_NFS = Tool("exportfs", "nfs-kernel-server", "nfs-utils")
PROGRAMS = {
    Format.DNSMASQ: _DNSMASQ,
    Format.DNSMASQ_PROXY: _DNSMASQ,
    Format.DHCPD: Tool("dhcpd", "isc-dhcp-server", "dhcp"),
    Format.KEA: Tool("kea-dhcp4", "kea-dhcp4-server", "kea"),
    Format.TFTPD: Tool("in.tftpd", "tftpd-hpa", "tftp-hpa"),
    Format.XINETD: Tool("xinetd", "xinetd", None),
    Format.EXPORTS: _NFS,
    Format.GANESHA: Tool("ganesha.nfsd", "nfs-ganesha nfs-ganesha-vfs", None),
    Format.FIREWALL: Tool("nft", "nftables", "nftables"),
    Format.NGINX: Tool("nginx", "nginx", "nginx"),
}
_DIRECTORIES = ("usr/sbin", "usr/bin", "sbin", "bin", "usr/local/sbin", "usr/local/bin")


def what_is_missing(form: Format, prefix: Path, name: str) -> str | None:
    """What keeps a format's installed file from being used on the server at `prefix`; None where nothing does.

    `name`: of the store whose file it is.
    """
    tool = PROGRAMS.get(form)
    if tool is not None and not any((prefix / directory / tool.name).exists() for directory in _DIRECTORIES):
        return f"{tool.name} is not installed: {install_hint([tool])}; then run this again"
    check = _CHECKS.get(form)
    return check(prefix, name) if check else None


def dhcpd_main(prefix: Path) -> str:
    """Where dhcpd's own configuration lies: /etc/dhcp/dhcpd.conf on Debian, /etc/dhcpd.conf on Arch Linux."""
    debian, arch = "/etc/dhcp/dhcpd.conf", "/etc/dhcpd.conf"
    if below(prefix, debian).exists() or (not below(prefix, arch).exists() and host_family(prefix) != "arch"):
        return debian
    return arch


def _dnsmasq(prefix: Path, name: str) -> str | None:
    """Debian's service gives dnsmasq the directory of /etc/default/dnsmasq; elsewhere dnsmasq.conf has to name it."""
    if read_dnsmasq(prefix).reads(drop_in_path(name)):
        return None
    line = f"conf-dir={DNSMASQ_DIRECTORY},*.conf"
    directory = below(prefix, DNSMASQ_DIRECTORY)
    if directory.is_dir() and any(not entry.name.startswith((".", name)) for entry in directory.iterdir()):
        line = f"conf-file={drop_in_path(name)}"  # what else lies there is for somebody else to have read
    return f"/etc/dnsmasq.conf does not read {DNSMASQ_DIRECTORY}: add the line  {line}"


def _dhcpd(prefix: Path, name: str) -> str | None:
    main, path = dhcpd_main(prefix), dhcpd_path(name)
    if any(re.fullmatch(rf'include\s+"{re.escape(path)}"\s*;', line) for line in _lines(below(prefix, main))):
        return _dhcpd_interfaces(prefix)
    return f'{main} must have the line:  include "{path}";'


def _dhcpd_interfaces(prefix: Path) -> str | None:
    """Debian's service is told its cards; where it is told none it takes all that a subnet is declared for."""
    path = "/etc/default/isc-dhcp-server"
    for line in _lines(below(prefix, path)):
        found = re.fullmatch(r"(INTERFACES(?:v4)?)=[\"']?([^\"']+)[\"']?", line)
        if found is not None:
            return f"{path}: {found[1]} lists the cards that dhcpd serves, {found[2]}: the clients' card must be there"
    return None


def _firewall(prefix: Path, name: str) -> str | None:
    main, path = "/etc/nftables.conf", firewall_path(name)
    included = (re.match(r'include\s+"([^"]+)"', line) for line in _lines(below(prefix, main)))
    if any(match and fnmatch.fnmatchcase(path, match[1]) for match in included):
        return None
    return f'{main} must have the line:  include "{path}"'


def _nginx(prefix: Path, name: str) -> str | None:
    main = "/etc/nginx/nginx.conf"
    text = "\n".join(_lines(below(prefix, main)))
    for pattern in re.findall(r"(?:^|[;{\s])include\s+([^;]+);", text):
        if fnmatch.fnmatchcase(nginx_path(name), str(PurePosixPath(main).parent / pattern.strip().strip("\"'"))):
            return None
    directory = PurePosixPath(nginx_path(name)).parent
    return f"{main} must have the line, in its http block:  include {directory}/*.conf;"


def _xinetd(prefix: Path, _name: str) -> str | None:
    main, directory = "/etc/xinetd.conf", PurePosixPath(XINETD_FILE).parent
    lines = (line.split() for line in _lines(below(prefix, main)))
    if any(words[:1] == ["includedir"] and PurePosixPath(words[1]) == directory for words in lines if len(words) == 2):
        return None
    return f"{main} must have the line:  includedir {directory}"


def _tftpd(prefix: Path, _name: str) -> str | None:
    """Arch Linux's own unit listens on the same port with a directory of its own."""
    if host_family(prefix) != "arch":
        return None
    return "Arch Linux's own unit must not serve besides:  systemctl disable --now tftpd.service tftpd.socket"


_CHECKS: dict[Format, Callable[[Path, str], str | None]] = {
    Format.DNSMASQ: _dnsmasq,
    Format.DNSMASQ_PROXY: _dnsmasq,
    Format.DHCPD: _dhcpd,
    Format.FIREWALL: _firewall,
    Format.NGINX: _nginx,
    Format.TFTPD: _tftpd,
    Format.XINETD: _xinetd,
}


def _lines(path: Path) -> list[str]:
    """The lines of a configuration without comments, which all of these programs begin with #; none where it is not."""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return []
    return [line for line in (re.sub(r"(^|\s)#.*", "", raw).strip() for raw in text.splitlines()) if line]
