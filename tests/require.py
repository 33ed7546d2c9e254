"""What a test needs; where it is missing the test is skipped with the reason, or fails: see conftest.py."""

from __future__ import annotations

import os
import socket

import pytest

from builder.bootlab.machine.firmware import Firmware, find_flash
from builder.bootlab.nfs import SERVERS
from builder.errors import HostError
from builder.system.run import Tool
from tests.images import ROOT

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def needs_tool(*names: str) -> pytest.MarkDecorator:
    """Programs of other packages; `.ci/host-packages` installs them."""
    missing = [name for name in names if Tool(name, name, name).find() is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}: run .ci/host-packages build test")


# in a home directory of mode 0700 root finds nothing once it is without its capabilities
_open = all(path.stat().st_uid == 0 or path.stat().st_mode & 0o001 for path in (ROOT, *ROOT.parents))
needs_open_checkout = pytest.mark.skipif(
    not _open, reason=f"needs a checkout that others may enter, and {ROOT} lies in somebody's own directory"
)


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, 80)
    except OSError:
        return False
    return True


# behind a proxy the mirror's name may not resolve, and yet be reached
_reachable = "http_proxy" in os.environ or _resolves("deb.debian.org")
needs_network = pytest.mark.skipif(not _reachable, reason="needs a package mirror: deb.debian.org has no address here")

_pacman = needs_tool("pacman", "repo-add", "gpg", "bsdtar", "apt-get", "dpkg-deb")
# what building an Arch image needs: the tests' distribution is made of Debian's packages
needs_arch_build = (needs_root, needs_network, _pacman, pytest.mark.root, pytest.mark.network)

# what booting an image needs: it is built first
needs_boot = (
    needs_root,
    needs_network,
    needs_tool("mmdebstrap", "qemu-system-x86_64", "dnsmasq", "ip", "ssh-keygen", "ssh"),
    pytest.mark.skipif(
        not any(server.runs_here() for server in SERVERS),
        reason="needs nfs-ganesha, or a kernel with nfsd and its tools: run .ci/host-packages build test",
    ),
    pytest.mark.root,
    pytest.mark.network,
    pytest.mark.boot,
)


# a UEFI guest boots besides what needs_boot says; Secure Boot needs firmware with keys in it
def _has_flash(firmware: Firmware) -> bool:
    try:
        return find_flash(firmware) is not None
    except HostError:
        return False


needs_ovmf = pytest.mark.skipif(
    not all(map(_has_flash, (Firmware.UEFI, Firmware.UEFI_SECURE))),
    reason="needs OVMF with Microsoft's keys, as Debian's ovmf has it: run .ci/host-packages build test",
)

# a server guest is built like any image, and booted without a network
needs_server_guest = (
    needs_root,
    needs_network,
    needs_tool("mmdebstrap", "qemu-system-x86_64", "qemu-img", "mke2fs"),
    pytest.mark.root,
    pytest.mark.network,
    pytest.mark.boot,
)
