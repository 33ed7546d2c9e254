"""A server guest as an administrator sets one up: a store on its own disk, the kernel's NFS server, dnsmasq."""

from __future__ import annotations

import json
from typing import Any

from builder.bootlab.settings import KERNEL_ARGUMENTS
from tests.serverguest.guest import ServerGuest
from tests.serverguest.root import ADDRESS

STORE = "/srv/diskless"
VERSIONS = "/mnt/versions"
SITE = f"""server: {ADDRESS}
interface: eth0
path: {STORE}
dhcp: {{first: 10.77.0.100, last: 10.77.0.199}}
cmdline: {json.dumps(KERNEL_ARGUMENTS)}
"""
# what the units of Debian's nfs-kernel-server, rpcbind and dnsmasq start, in the order that server-config names
_START = """
modprobe -a nfsd
mkdir -p /run/rpcbind /run/sendsigs.omit.d
rpcbind -w
mount -t nfsd nfsd /proc/fs/nfsd
exportfs -ra
rpc.nfsd 8
rpc.mountd
dnsmasq --conf-dir=/etc/dnsmasq.d --log-dhcp --log-facility=/run/dnsmasq.log
"""


class Server:
    """Commands on the server guest, whose store lies on /dev/vdb and whose versions to deploy lie on /dev/vdc.

    The generated configuration is installed and every service started with it.
    """

    def __init__(self, guest: ServerGuest) -> None:
        self._guest = guest
        self._guest.check(
            f"set -e; modprobe -a virtio_net loop; ip address add {ADDRESS}/24 dev eth0; ip link set eth0 up; "
            f"mkdir -p {STORE} {VERSIONS}; mount /dev/vdb {STORE}; mount -o ro /dev/vdc {VERSIONS}"
        )
        self._guest.check(f"diskless storage --to {STORE}")
        self._guest.check(f"diskless server-config --to {STORE} --install")
        self._guest.check(f"set -e\n{_START}")

    def deploy(self, version: str) -> Any:
        """What `diskless deploy` says."""
        # under emulation some ten minutes on a busy machine
        command = f"diskless deploy {VERSIONS}/{version} --to {STORE} -q --json"
        return json.loads(self._guest.check(command, seconds=1800))

    def prune(self, keep: int) -> dict[str, str | None]:
        """Why each version stays, None for those that went; however young they are."""
        command = f"diskless prune --to {STORE} --keep {keep} --min-age 0 --json"
        # what is in use stays, and is named beside the decisions
        decisions = json.loads(self._guest.check(f"{command} 2> /run/prune.log || test $? = 3"))
        return {decision["version"]: decision["reason"] for decision in decisions}

    def run(self, command: str) -> str:
        """Any command."""
        return self._guest.check(command)
