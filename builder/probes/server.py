"""Whether a server's TFTP, HTTP and NFS answer as its clients need, asked as they would ask."""

from __future__ import annotations

import contextlib
import http.client
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from builder.loaders.base import Loader
from builder.loaders.table import loader_of
from builder.model.diagnostic import Diagnostic, fail, ok, warn
from builder.model.ganesha import answers_with_nothing
from builder.model.menu import MenuEntry
from builder.model.site import Site, SiteNetwork
from builder.probes import rpc, tftp
from builder.probes.answer import ErrorAnswerError, NoAnswerError, RefusedAnswerError
from builder.probes.programs import run_quietly
from builder.probes.rpc import NFS_PORT, PORTMAPPER_PORT, Program
from builder.system.network import interface_address

_LARGEST = 4 << 20
_START = 1024  # bytes of a kernel that show that it is served
_HTTP_SECONDS = 5
_NFSROOT = re.compile(r"\bnfsroot=([^:\s]+):([^\s,]+)(\S*)")
_OVER_4_2 = re.compile(r",vers=4\.2(?!.*,vers=)")  # the last one counts
_GANESHA = "ganesha.nfsd"


@dataclass(frozen=True)
class Boots:
    """What the boot menus of a store send clients to.

    files: paths below the TFTP root; roots: (server, path) of nfsroot=; over_4_2: the paths mounted with NFSv4.2
    """

    files: tuple[str, ...]
    roots: tuple[tuple[str, str], ...]
    over_4_2: tuple[str, ...] = ()


def read_boots(entries: Iterable[MenuEntry]) -> Boots:
    """What the entries of menus name."""
    read = list(entries)
    files = {name for entry in read for name in entry.files}
    found = {match for entry in read for match in _NFSROOT.findall(entry.cmdline)}
    roots = {(server, path) for server, path, _ in found}
    over_4_2 = {path for _, path, options in found if _OVER_4_2.search(options)}
    return Boots(tuple(sorted(files)), tuple(sorted(roots)), tuple(sorted(over_4_2)))


def examine_addresses(site: Site) -> list[Diagnostic]:
    """Whether this host has the address that clients are told, on the card of their network, and the other cards."""
    if not site.interfaces:
        remedy = "add `interface: NAME`: DHCP is asked on it"
        return [warn("network", "interface", "site.yml names no interface", remedy)]
    return [_examine_card(site, network) for network in site.client_networks if network.interface is not None]


def _examine_card(site: Site, network: SiteNetwork) -> Diagnostic:
    card = network.interface or ""
    own = interface_address(card)
    if own is None:
        remedy = "correct interface in site.yml, or bring it up: `ip address` lists what there is"
        return fail("network", "interface", f"{card} has no IPv4 address here", remedy)
    if network.has(site.server) and str(own.ip) != site.server:
        remedy = "correct server in site.yml, or the card's address"
        return fail("network", "interface", f"{card} has {own.ip}, site.yml says {site.server}", remedy)
    return ok("network", "interface", f"{card} has {own}")


def examine_tftp(site: Site, boot: Path, boots: Boots, menus: Iterable[str]) -> list[Diagnostic]:
    """The loaders, their menus and every kernel and initramfs of the store, over TFTP."""
    served = list(menus)
    first = [name for path in served for name in _first_files(loader_of(path))]
    whole = _present(boot, dict.fromkeys((*first, *served)))
    findings = [
        fail("tftp", name, f"{boot / name} does not exist", "deploy the image again, or roll back")
        for name in boots.files
        if not (boot / name).is_file()
    ]
    for name in (*whole, *_present(boot, boots.files)):
        limit = _LARGEST if name in whole else _START
        try:
            content = tftp.fetch(site.server, name, limit)
        except NoAnswerError as error:
            findings.append(fail("tftp", name, str(error), _tftp_remedy(error, boot, name)))
            if not isinstance(error, ErrorAnswerError):
                break  # it will not answer for the others
            continue
        findings.append(_same("tftp", name, content, boot, limit))
    return findings


def _first_files(loader: Loader) -> list[str]:
    """What a loader's clients fetch before a menu; what comes over HTTP alone is asked for there."""
    first = [file.tftp for file in loader.boot_files.values()]
    return [*first, *loader.files] if loader.with_generation else first


def _present(boot: Path, names: Iterable[str]) -> list[str]:
    return [name for name in names if (boot / name).is_file()]


def _tftp_remedy(error: NoAnswerError, boot: Path, name: str) -> str:
    if isinstance(error, RefusedAnswerError):
        return f"start a TFTP server whose root is {boot}"
    if isinstance(error, ErrorAnswerError):
        return f"is the TFTP root {boot}, and may everybody read {boot / name}?"
    return "does UDP port 69 pass the server's firewall, and does the server listen on this address?"


def examine_http(site: Site, boot: Path, boots: Boots, menus: Iterable[str]) -> list[Diagnostic]:
    """The same kernels over HTTP, where site.yml says so, and the loaders that firmware fetches so."""
    if site.web_address is None:
        return []
    address, port = site.web_address
    findings: list[Diagnostic] = []
    over_http = [loader_of(path) for path in menus]
    first = [file.http for one in over_http for kind, file in one.boot_files.items() if kind.over_http]
    for name in _present(boot, dict.fromkeys((*first, *boots.files))):
        try:
            content = _get(address, port, f"/{name}")
        except (OSError, http.client.HTTPException) as error:
            remedy = f"a web server on port {port} must serve {boot} as its root, and its firewall let it pass"
            where = f"port {port}" if address == site.server else f"{address}, port {port}"
            return [*findings, fail("http", name, f"{where}: {error}", remedy)]
        findings.append(_same("http", name, content, boot, _START))
    return findings


def _get(server: str, port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection(server, port, timeout=_HTTP_SECONDS)
    try:
        connection.request("GET", path, headers={"Range": f"bytes=0-{_START - 1}"})
        answer = connection.getresponse()
        if answer.status not in (200, 206):
            raise http.client.HTTPException(f"status {answer.status} {answer.reason}")
        return answer.read(_START)
    finally:
        connection.close()


def _same(area: str, name: str, content: bytes, boot: Path, limit: int) -> Diagnostic:
    with (boot / name).open("rb") as file:
        wanted = file.read(limit)
    if content != wanted:
        return fail(area, name, f"another file than {boot / name} is served", f"the server's root must be {boot}")
    return ok(area, name, f"served as it lies in {boot}")


def examine_nfs(site: Site, boots: Boots) -> list[Diagnostic]:
    """The port mapper, mountd and nfsd, and every root that clients are sent to."""
    try:
        rpc.ping(site.nfs_server, PORTMAPPER_PORT, Program.PORTMAPPER, 2)
        port = rpc.find_port(site.nfs_server, Program.MOUNT, 3)
    except NoAnswerError as error:
        remedy = "do rpcbind and the NFS server run, and does TCP 111 pass the firewall?"
        return [fail("nfs", "port mapper", str(error), remedy), *_examine_nfsd(site.nfs_server)]
    findings = [ok("nfs", "port mapper", f"mountd is on TCP port {port}"), *_examine_nfsd(site.nfs_server)]
    try:
        exported = rpc.list_exports(site.nfs_server, port)
    except NoAnswerError as error:
        remedy = f"does TCP port {port} pass the firewall? Give mountd a fixed port there"
        return [*findings, fail("nfs", "mountd", str(error), remedy)]
    listed = "; ".join(f"{item.path} to {', '.join(item.clients) or 'everybody'}" for item in exported)
    if exported:
        findings.append(ok("nfs", "exports", listed))
    else:
        findings.append(fail("nfs", "exports", "nothing is exported", "`diskless server-config` prints the exports"))
    return [*findings, *(_examine_root(site, port, server, path) for server, path in boots.roots)]


def running_ganesha(processes: Path = Path("/proc")) -> str | None:
    """What nfs-ganesha says of its release, where one runs on this host."""
    for path in processes.glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if path.read_text("utf-8", "replace").strip() == _GANESHA:
                return run_quietly([_GANESHA, "-v"])[1].strip()
    return None


def examine_read_plus(boots: Boots, ganesha: str | None) -> list[Diagnostic]:
    """The roots that this release of nfs-ganesha, None where another server runs, cannot serve over NFSv4.2."""
    if ganesha is None or not boots.over_4_2 or not answers_with_nothing(ganesha):
        return []
    text = f"{ganesha}: over NFSv4.2 every file is an empty one to Linux 6.6 and later (READ_PLUS)"
    remedy = "root.nfs.version: 4.1 in the recipe, nfs-ganesha 6.2 or later, or the kernel's NFS server"
    return [warn("nfs", path, text, remedy) for path in boots.over_4_2]


def _examine_nfsd(server: str) -> list[Diagnostic]:
    found = []
    for version in (3, 4):
        try:
            rpc.ping(server, NFS_PORT, Program.NFS, version)
            found.append(ok("nfs", f"NFSv{version}", f"answers on TCP port {NFS_PORT}"))
        except NoAnswerError as error:
            remedy = f"does the NFS server run with version {version}, and does TCP {NFS_PORT} pass the firewall?"
            found.append(fail("nfs", f"NFSv{version}", str(error), remedy))
    return found


def _examine_root(site: Site, port: int, server: str, path: str) -> Diagnostic:
    if server != site.nfs_server:
        remedy = "deploy the image again: its boot configuration was written for another address"
        return fail("nfs", path, f"clients are sent to {server}, site.yml says {site.nfs_server}", remedy)
    try:
        rpc.try_mount(server, port, path)
    except NoAnswerError as error:
        remedy = "is it exported under that name, to the clients' subnet and this host, with no_root_squash?"
        return fail("nfs", path, str(error), remedy)
    return ok("nfs", path, "can be mounted")
