"""Whether a server's own configuration reads the files that are put beside it, and the line that is missing if not.

Debian's and Arch Linux's packages differ: of dnsmasq, dhcpd and nginx only Debian's read a directory of drop-ins or lie
below /etc/dhcp; in.tftpd is started by another unit. Sources: the packages of both, dnsmasq(8), dhcpd.conf(5), nft(8),
nginx.org/en/docs, xinetd.conf(5). exports.d and nfs.conf.d are read everywhere, exports(5), nfs.conf(5).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from builder.render.server.dhcpd import DHCPD_FILE
from builder.render.server.files import Format
from builder.render.server.firewall import FIREWALL_FILE
from builder.render.server.nginx import NGINX_FILE
from builder.render.server.services import DNSMASQ_FILE
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


def what_is_missing(form: Format, prefix: Path) -> str | None:
    """What keeps a format's installed file from being used on the server at `prefix`; None where nothing does."""
    tool = PROGRAMS.get(form)
    if tool is not None and not any((prefix / directory / tool.name).exists() for directory in _DIRECTORIES):
        return f"{tool.name} is not installed: {install_hint([tool])}; then run this again"
    check = _CHECKS.get(form)
    return check(prefix) if check else None


def dhcpd_main(prefix: Path) -> str:
    """Where dhcpd's own configuration lies: /etc/dhcp/dhcpd.conf on Debian, /etc/dhcpd.conf on Arch Linux."""
    debian, arch = "/etc/dhcp/dhcpd.conf", "/etc/dhcpd.conf"
    if _below(prefix, debian).exists() or (not _below(prefix, arch).exists() and host_family(prefix) != "arch"):
        return debian
    return arch


def _dnsmasq(prefix: Path) -> str | None:
    """Debian's service gives dnsmasq the directory of /etc/default/dnsmasq; elsewhere dnsmasq.conf has to name it."""
    given = [value for key, value in _shell_settings(prefix, "/etc/default/dnsmasq") if key == "CONFIG_DIR"]
    named = [value for key, value in _dnsmasq_options(prefix, "/etc/dnsmasq.conf", 0) if key == "conf-dir"]
    files = [value for key, value in _dnsmasq_options(prefix, "/etc/dnsmasq.conf", 0) if key == "conf-file"]
    if any(map(_reads_drop_in, [*given[-1:], *named])) or DNSMASQ_FILE in files:
        return None
    directory = PurePosixPath(DNSMASQ_FILE).parent
    return f"/etc/dnsmasq.conf does not read {directory}: add the line  conf-dir={directory},*.conf"


def _reads_drop_in(value: str) -> bool:
    """Whether `DIRECTORY[,PATTERN...]` of dnsmasq takes our file: patterns with * are what is read, others are not."""
    directory, *patterns = (part.strip() for part in value.split(","))
    drop_in = PurePosixPath(DNSMASQ_FILE)
    if PurePosixPath(directory) != drop_in.parent:
        return False
    wanted = [pattern[1:] for pattern in patterns if pattern.startswith("*")]
    unwanted = [pattern for pattern in patterns if pattern and not pattern.startswith("*")]
    fits = not wanted or any(drop_in.name.endswith(suffix) for suffix in wanted)
    return fits and not any(drop_in.name.endswith(suffix) for suffix in unwanted)


def _dnsmasq_options(prefix: Path, name: str, depth: int) -> Iterator[tuple[str, str]]:
    for line in _lines(_below(prefix, name)):
        key, _, value = (part.strip() for part in line.partition("="))
        yield key, value
        if key == "conf-file" and depth < 5:
            yield from _dnsmasq_options(prefix, value, depth + 1)


def _dhcpd(prefix: Path) -> str | None:
    main = dhcpd_main(prefix)
    if any(re.fullmatch(rf'include\s+"{DHCPD_FILE}"\s*;', line) for line in _lines(_below(prefix, main))):
        return None
    return f'{main} must have the line:  include "{DHCPD_FILE}";'


def _firewall(prefix: Path) -> str | None:
    main = "/etc/nftables.conf"
    included = (re.match(r'include\s+"([^"]+)"', line) for line in _lines(_below(prefix, main)))
    if any(match and fnmatch.fnmatchcase(FIREWALL_FILE, match[1]) for match in included):
        return None
    return f'{main} must have the line:  include "{FIREWALL_FILE}"'


def _nginx(prefix: Path) -> str | None:
    main = "/etc/nginx/nginx.conf"
    text = "\n".join(_lines(_below(prefix, main)))
    for pattern in re.findall(r"(?:^|[;{\s])include\s+([^;]+);", text):
        if fnmatch.fnmatchcase(NGINX_FILE, str(PurePosixPath(main).parent / pattern.strip().strip("\"'"))):
            return None
    directory = PurePosixPath(NGINX_FILE).parent
    return f"{main} must have the line, in its http block:  include {directory}/*.conf;"


def _xinetd(prefix: Path) -> str | None:
    main, directory = "/etc/xinetd.conf", PurePosixPath(XINETD_FILE).parent
    lines = (line.split() for line in _lines(_below(prefix, main)))
    if any(words[:1] == ["includedir"] and PurePosixPath(words[1]) == directory for words in lines if len(words) == 2):
        return None
    return f"{main} must have the line:  includedir {directory}"


def _tftpd(prefix: Path) -> str | None:
    """Arch Linux's own unit listens on the same port with a directory of its own."""
    if host_family(prefix) != "arch":
        return None
    return "Arch Linux's own unit must not serve besides:  systemctl disable --now tftpd.service tftpd.socket"


_CHECKS: dict[Format, Callable[[Path], str | None]] = {
    Format.DNSMASQ: _dnsmasq,
    Format.DNSMASQ_PROXY: _dnsmasq,
    Format.DHCPD: _dhcpd,
    Format.FIREWALL: _firewall,
    Format.NGINX: _nginx,
    Format.TFTPD: _tftpd,
    Format.XINETD: _xinetd,
}


def _shell_settings(prefix: Path, name: str) -> Iterator[tuple[str, str]]:
    for line in _lines(_below(prefix, name)):
        key, _, value = line.partition("=")
        yield key, value.strip("\"'")


def _lines(path: Path) -> list[str]:
    """The lines of a configuration without comments, which all of these programs begin with #; none where it is not."""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return []
    return [line for line in (re.sub(r"(^|\s)#.*", "", raw).strip() for raw in text.splitlines()) if line]


def _below(prefix: Path, path: str) -> Path:
    return prefix / path.removeprefix("/")
