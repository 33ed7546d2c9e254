"""diskless doctor against real servers in a network of their own: all well, and one thing broken at a time."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.bootlab import dhcp
from builder.bootlab.lab import Lab
from builder.bootlab.namespace import Service
from builder.bootlab.settings import DNSMASQ_OPTIONS
from builder.reading import load_site
from builder.render.server.files import Format, server_files
from builder.store.layout import find_store
from tests.images import DISKLESS, ROOT, run_diskless
from tests.require import needs_root, needs_tool
from tests.scratch import scratch
from tests.shares import make_shares, mounted, served
from tests.versions import make_version

pytestmark = [
    needs_root,
    needs_tool("dnsmasq", "ganesha.nfsd", "rpcbind", "ip", "qemu-system-x86_64", "nsenter"),
    pytest.mark.root,
]
SERVER, BRIDGE = "10.77.0.1", "lab0"
BIOS = "dhcp-boot=tag:diskless,tag:!diskless-ipxe,tag:!diskless-7,"  # the line for whoever says nothing of itself
SITE = f"""\
schema: 1
server: {SERVER}
subnet: 10.77.0.0/24
interface: {BRIDGE}
dhcp: {{first: 10.77.0.100, last: 10.77.0.199}}
http_port: 80
"""


class Clinic:
    """A store that was deployed for real, and a lab that serves it."""

    def __init__(self, directory: Path) -> None:
        self.store = directory / "store"
        (self.store / "site.yml").write_text(SITE, encoding="utf-8")
        version = make_version(directory / "output", mode="rw", grub="2.12-9+deb13u1")
        result = run_diskless("deploy", version, "--to", self.store)
        assert result.returncode == 0, result.stderr
        self.version = version.name
        (directory / "lab").mkdir()
        site = load_site(self.store / "site.yml")
        # diskless runs in it too, and finds its configuration of dnsmasq there
        self.lab = Lab(directory / "lab", find_store(self.store).served(rw=True), site=site, shared=(ROOT, directory))

    @property
    def services(self) -> dict[str, Service]:
        return self.lab.namespace._services

    def stop(self, name: str) -> None:
        service = self.services[name]
        self.lab.namespace.stop(service, signal.SIGKILL)
        while service.status is None:
            self.lab.namespace.poll(0.2)
        del self.services[name]
        service.log.unlink()

    def start_dnsmasq(self, change: str = "", by: str = "") -> None:
        text = server_files(Format.DNSMASQ, self.lab.site, served(self.store))[0].text
        assert change in text
        lines = [by if change and line.startswith(change) else line for line in text.splitlines()]
        config = self.store.parent / "changed.conf"
        config.write_text("\n".join([*lines, ""]), encoding="utf-8")
        self._start("dnsmasq", ["dnsmasq", *DNSMASQ_OPTIONS, f"--conf-file={config}"], "started, version")

    def _start(self, name: str, argv: list[str], sign: str) -> None:
        started = self.lab.namespace.start(name, argv)
        while sign not in started.log.read_text(encoding="utf-8"):
            assert started.status is None, started.last_lines()
            self.lab.namespace.poll(0.1)

    def examine(self) -> tuple[int, dict[str, dict[str, str]]]:
        """Exit status and findings of `diskless doctor --to`, by `area name`."""
        done = self.lab.run([DISKLESS, "doctor", "--to", str(self.store), "--json", "--wait", "2"])
        assert done.output.startswith("["), done.output
        findings = json.loads(done.output)
        # servers cannot write to boot/, and doctor runs beside them
        rooms = [finding for finding in findings if (finding["area"], finding["name"]) == ("store", "room")]
        assert all("read-only file system" in finding["text"] for finding in rooms)
        found = {f"{finding['area']} {finding['name']}": finding for finding in findings if finding not in rooms}
        assert done.status == 3
        return 3 if any(finding["level"] == "fail" for finding in found.values()) else 0, found

    def complaints(self) -> dict[str, str]:
        """What is not well, and that the exit status and the remedies agree with it."""
        status, findings = self.examine()
        assert status == (3 if any(finding["level"] == "fail" for finding in findings.values()) else 0)
        assert all((finding["level"] == "ok") == (finding["remedy"] is None) for finding in findings.values())
        return {name: finding["text"] for name, finding in findings.items() if finding["level"] != "ok"}


@pytest.fixture(scope="module")
def clinic() -> Iterator[Clinic]:
    directory = scratch() / "doctor"
    directory.mkdir()
    make_shares(directory / "store")
    with mounted(directory / "store"):
        made = Clinic(directory)
        with made.lab:
            made.lab.serve()
            yield made


def test_healthy_servers(clinic: Clinic) -> None:
    status, findings = clinic.examine()
    assert {name: finding for name, finding in findings.items() if finding["level"] != "ok"} == {}
    assert status == 0
    kernel = f"lab/{clinic.version}/vmlinuz"
    assert findings["store shimx64.efi"]["text"] == "is signed by Microsoft's authority of 2023"
    for name in (
        "dhcp UEFI (7)",
        "dhcp UEFI that boots over HTTP (16)",
        "dhcp iPXE",
        "tftp grubx64.efi",
        "http shimx64.efi",
    ):
        assert name in findings
    for name in (f"dhcp {SERVER}", "tftp pxelinux.0", f"tftp {kernel}", f"http {kernel}", "nfs NFSv3", "nfs NFSv4"):
        assert name in findings
    assert findings[f"dhcp {SERVER}"]["text"].startswith("offers 10.77.0.")
    assert "boot file lpxelinux.0" in findings[f"dhcp {SERVER}"]["text"]
    assert f"nfs {clinic.store}/rw/lab/{clinic.version}/root" in findings


def test_nobody_gives_addresses_or_loaders(clinic: Clinic) -> None:
    clinic.stop("dnsmasq")
    try:
        assert clinic.complaints() == {
            "dhcp answer": "nobody answers on lab0 in 2 s",
            "tftp pxelinux.0": "nothing listens on UDP port 69",
        }
    finally:
        clinic.start_dnsmasq()


@pytest.mark.full
@pytest.mark.parametrize(
    ("change", "by", "complaints"),
    [
        (BIOS, "", {"dhcp boot file": "no answer names a boot file"}),
        (BIOS, "dhcp-boot=grub.efi", {"dhcp boot file": f"{SERVER} names grub.efi to BIOS, the store has lpxelinux.0"}),
        (
            BIOS,
            "dhcp-boot=shimx64.efi",
            {"dhcp boot file": f"{SERVER} names shimx64.efi to BIOS, the store has lpxelinux.0"},
        ),
        (BIOS, "dhcp-boot=pxelinux.0", {}),
        (
            BIOS,
            "dhcp-boot=pxelinux.0,other,10.77.0.7",
            {"dhcp boot server": f"{SERVER} sends clients to 10.77.0.7 for pxelinux.0, not to {SERVER}"},
        ),
        ("dhcp-range=", "", {"dhcp answer": "nobody answers on lab0 in 2 s"}),
        (
            "dhcp-boot=tag:diskless,tag:!diskless-ipxe,tag:diskless-7,",
            "",
            {"dhcp UEFI (7)": "no answer names a boot file, the store has shimx64.efi"},
        ),
        (
            "dhcp-option-force=tag:diskless,tag:!diskless-ipxe,tag:diskless-16,",
            "",
            {
                "dhcp UEFI that boots over HTTP (16)": f"{SERVER} does not answer with option 60, HTTPClient: "
                "firmware passes the offer over"
            },
        ),
        (
            "dhcp-userclass=",
            "",
            {"dhcp iPXE": f"{SERVER} names lpxelinux.0, the store has http://{SERVER}/ipxe/boot.ipxe"},
        ),
    ],
    ids=[
        "no-boot-file",
        "another-boot-file",
        "another-kind",
        "over-tftp",
        "another-server",
        "no-range",
        "no-uefi",
        "no-http-client",
        "no-ipxe",
    ],
)
def test_a_dhcp_server_that_says_something_else(
    clinic: Clinic, change: str, by: str, complaints: dict[str, str]
) -> None:
    clinic.stop("dnsmasq")
    clinic.start_dnsmasq(change, by)
    try:
        assert clinic.complaints() == complaints
    finally:
        clinic.stop("dnsmasq")
        clinic.start_dnsmasq()


def test_another_tftp_root(clinic: Clinic) -> None:
    other = clinic.store.parent / "other"
    other.mkdir()
    (other / "pxelinux.0").write_bytes(b"something else")
    clinic.stop("dnsmasq")
    clinic.start_dnsmasq("tftp-root=", f"tftp-root={other}")
    try:
        complaints = clinic.complaints()
        assert complaints["tftp pxelinux.0"] == f"another file than {clinic.store}/boot/pxelinux.0 is served"
        assert "not found" in complaints[f"tftp lab/{clinic.version}/vmlinuz"]
    finally:
        clinic.stop("dnsmasq")
        clinic.start_dnsmasq()


@contextlib.contextmanager
def second_server(clinic: Clinic) -> Iterator[None]:
    """Another DHCP server on another machine of the same network."""
    namespace = clinic.lab.namespace
    machine = namespace.start("machine", ["unshare", "--net", "sleep", "infinity"])
    run = ["nsenter", "--target", str(machine.pid), "--net"]
    own = clinic.lab.run(["readlink", "/proc/self/ns/net"]).output
    while clinic.lab.run(["readlink", f"/proc/{machine.pid}/ns/net"]).output == own:
        namespace.poll(0.1)
    namespace.check(["ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire1"])
    namespace.check(["ip", "link", "set", "wire1", "netns", str(machine.pid)])
    namespace.check(["ip", "link", "set", "wire0", "master", BRIDGE, "up"])
    namespace.check([*run, "ip", "address", "add", "10.77.0.2/24", "dev", "wire1"])
    namespace.check([*run, "ip", "link", "set", "wire1", "up"])
    options = ("--conf-file=/dev/null", "--dhcp-range=10.77.0.200,10.77.0.210,1h", "--bind-interfaces")
    clinic._start("second", [*run, "dnsmasq", *DNSMASQ_OPTIONS, *options, "--interface=wire1"], "sockets bound")
    try:
        yield
    finally:
        clinic.stop("second")
        clinic.stop("machine")
        clinic.lab.run(["ip", "link", "delete", "wire0"])


def test_two_servers_that_give_addresses(clinic: Clinic) -> None:
    with second_server(clinic):
        complaints = clinic.complaints()
    assert set(complaints) == {"dhcp servers"}
    assert "10.77.0.2" in complaints["dhcp servers"]
    assert SERVER in complaints["dhcp servers"]


def test_no_web_server(clinic: Clinic) -> None:
    clinic.stop("http")
    try:
        assert list(clinic.complaints()) == ["http shimx64.efi"]
    finally:
        dhcp.start_web_server(clinic.lab.namespace, clinic.lab.site, served(clinic.store))


def test_a_kernel_that_is_gone(clinic: Clinic) -> None:
    kernel = clinic.store / "boot" / "lab" / clinic.version / "vmlinuz"
    kernel.rename(kernel.with_name("hidden"))
    try:
        assert clinic.complaints() == {f"tftp lab/{clinic.version}/vmlinuz": f"{kernel} does not exist"}
    finally:
        kernel.with_name("hidden").rename(kernel)


@pytest.mark.parametrize(
    ("line", "by", "name"),
    [
        ("interface: lab0", "interface: eth9", "network interface"),
        ("server: 10.77.0.1", "server: 10.77.0.9", "network interface"),
    ],
)
def test_a_site_that_is_not_this_host(clinic: Clinic, line: str, by: str, name: str) -> None:
    site = clinic.store / "site.yml"
    site.write_text(SITE.replace(line, by), encoding="utf-8")
    try:
        assert name in clinic.complaints()
    finally:
        site.write_text(SITE, encoding="utf-8")


def test_a_root_that_is_not_exported(clinic: Clinic) -> None:
    default = clinic.store / "boot/pxelinux.cfg/default"
    text = default.read_text(encoding="utf-8")
    default.write_text(text.replace("/rw/", "/elsewhere/"), encoding="utf-8")
    try:
        complaints = clinic.complaints()
    finally:
        default.write_text(text, encoding="utf-8")
    assert list(complaints) == [f"nfs {clinic.store}/elsewhere/lab/{clinic.version}/root"]


def test_no_nfs_server(clinic: Clinic) -> None:
    """Last: the NFS server is not started again."""
    clinic.stop("nfs")
    complaints = clinic.complaints()
    assert set(complaints) >= {"nfs NFSv3", "nfs NFSv4"}
    assert complaints["nfs NFSv3"] == "nothing listens on TCP port 2049"


def test_the_host_itself_is_examined() -> None:
    result = run_diskless("doctor", "--json")
    findings = {f"{finding['area']} {finding['name']}": finding for finding in json.loads(result.stdout)}
    assert findings["permissions namespaces of its own"]["level"] == "ok"
    assert findings["boot dnsmasq"]["level"] == "ok"
    assert result.returncode in (0, 3)
