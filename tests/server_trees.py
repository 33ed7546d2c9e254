"""A server's /etc as the packages of Debian and of Arch Linux leave it, where our files are read or not."""

from __future__ import annotations

from pathlib import Path

PROGRAMS = ("dnsmasq", "dhcpd", "in.tftpd", "xinetd", "exportfs", "ganesha.nfsd", "nft", "nginx")

# the parts that matter; dnsmasq's is upstream's example, where every line is a comment
_NFTABLES = """#!/usr/sbin/nft -f
table inet filter {
\tchain input {
\t\ttype filter hook input priority filter;
\t}
}
"""
_NGINX = """events {
    worker_connections 1024;
}
http {
    default_type application/octet-stream;
%s    server {
        listen 127.0.0.1:8099;
    }
}
"""
_DNSMASQ = "# Include all the files in a directory except those ending in .bak\n#conf-dir=/etc/dnsmasq.d,.bak\n"
_DHCPD = "# option definitions common to all supported networks...\ndefault-lease-time 600;\n"
DEBIAN = {
    "os-release": "ID=debian\nVERSION_CODENAME=trixie\n",
    "dnsmasq.conf": _DNSMASQ,
    "default/dnsmasq": "#DOMAIN_SUFFIX=`dnsdomainname`\nCONFIG_DIR=/etc/dnsmasq.d,.dpkg-dist,.dpkg-old,.dpkg-new\n",
    "dhcp/dhcpd.conf": _DHCPD,
    "nftables.conf": _NFTABLES,
    "nginx/nginx.conf": _NGINX % "    include /etc/nginx/conf.d/*.conf;\n",
    "xinetd.conf": "defaults\n{\n}\n\nincludedir /etc/xinetd.d\n",
    "default/tftpd-hpa": 'TFTP_USERNAME="tftp"\n',
    "exports": "",
}
ARCH = {
    "os-release": 'NAME="Arch Linux"\nID=arch\n',
    "dnsmasq.conf": _DNSMASQ,
    "dhcpd.conf": _DHCPD,
    "nftables.conf": _NFTABLES,
    "nginx/nginx.conf": _NGINX % "",
    "conf.d/tftpd": 'TFTPD_ARGS="--secure /srv/tftp/"\n',
    "exports": "",
}


def make_server(root: Path, files: dict[str, str], programs: tuple[str, ...] = PROGRAMS) -> None:
    """Writes its /etc below `root`, and the names of its programs."""
    for name, text in files.items():
        path = root / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    (root / "usr/bin").mkdir(parents=True, exist_ok=True)
    for name in programs:
        (root / "usr/bin" / name).touch()
