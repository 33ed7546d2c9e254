"""The real programs, with /etc as each distribution leaves it: what we say is read is read, and what we miss is not.

A mistake in our own file shows whether its program reads it.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from builder.store.records.record import Record, write_record
from tests.images import run_diskless
from tests.require import needs_root, needs_tool
from tests.server_trees import ARCH, DEBIAN, make_server
from tests.unit.store.test_server_reads import DNSMASQ_LINE, SITE

pytestmark = [
    needs_root,
    needs_tool("unshare", "dnsmasq", "dhcpd", "nft", "nginx", "exportfs"),
    pytest.mark.root,
]
MISTAKE = "\nthis is a mistake\n"
_NETWORK = "ip link set lo up; ip address add 192.168.1.1/24 dev lo"
CHECKS = {
    "dnsmasq": ("dnsmasq", "--test"),
    "dhcpd": ("dhcpd", "-t", "-cf", "{main}"),
    "firewall": ("nft", "--check", "--file", "/etc/nftables.conf"),
    "nginx": ("nginx", "-t", "-q", "-e", "stderr", "-g", "pid /run/server-reads.pid;"),
    "exports": ("exportfs", "-ra"),
}
OURS = {
    "dnsmasq": "dnsmasq.d/diskless.conf",
    "dhcpd": "dhcp/diskless.conf",
    "firewall": "nftables.d/diskless.nft",
    "nginx": "nginx/conf.d/diskless.conf",
    "exports": "exports.d/diskless.exports",
}


@dataclass(frozen=True)
class Server:
    """A root directory whose /etc takes the host's place for one command."""

    root: Path
    store: Path
    said: list[str] = field(default_factory=list)

    def install(self, form: str) -> str | None:
        """Installs a format and says what is missing."""
        arguments = ("--to", self.store, "--format", form, "--install", "--prefix", self.root, "--json")
        done = run_diskless("server-config", *arguments)
        assert done.returncode == 0, done.stderr
        note: str | None = json.loads(done.stdout)[0]["note"]
        return note

    def reads(self, form: str, *more: str) -> bool:
        """Whether its program stumbles over a mistake in our file; without it, it must not."""
        ours = self.root / "etc" / OURS[form]
        good = ours.read_text("utf-8")
        assert self._accepts(form, *more), self.said
        ours.write_text(good + MISTAKE, "utf-8")
        try:
            return not self._accepts(form, *more)
        finally:
            ours.write_text(good, "utf-8")

    def _accepts(self, form: str, *more: str) -> bool:
        main = next(name for name in ("/etc/dhcp/dhcpd.conf", "/etc/dhcpd.conf") if (self.root / name[1:]).exists())
        command = shlex.join([*(word.format(main=main) for word in CHECKS[form]), *more])
        hide = (
            "mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /var/lib/nfs; touch /var/lib/nfs/etab /var/lib/nfs/rmtab"
        )
        script = f"mount --bind {self.root}/etc /etc; {hide}; {_NETWORK}; exec {command}"
        unshare = ["unshare", "--mount", "--net", "--propagation", "private", "bash", "-ec", script]
        done = subprocess.run(unshare, capture_output=True, text=True, check=False)
        self.said.append(done.stderr)
        # exportfs(8) leaves out what it cannot read, with a word
        return done.returncode == 0 and (form != "exports" or done.stderr == "")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "root", tmp_path / "store")
    for directory in ("versions", "ro", "boot"):
        (made.store / directory).mkdir(parents=True)
    write_record(made.store, Record({"ro": 3}))
    (made.store / "site.yml").write_text(SITE, "utf-8")
    yield made


def furnish(server: Server, files: dict[str, str]) -> None:
    example = "/usr/share/doc/dnsmasq-base/examples/dnsmasq.conf.example"
    examples = {"dnsmasq.conf": example, "dhcpd.conf": "/usr/share/doc/isc-dhcp-server/examples/dhcpd.conf.example"}
    # as Arch's packages do, upstream's example whole
    texts = {
        name: Path(examples[name]).read_text("utf-8") if name in examples and Path(examples[name]).exists() else text
        for name, text in files.items()
    }
    make_server(server.root, texts)
    for name in ("passwd", "group", "nsswitch.conf", "services", "protocols", "netconfig", "ld.so.cache"):
        if Path("/etc", name).exists():
            shutil.copy(Path("/etc", name), server.root / "etc" / name)


def add_line(server: Server, form: str, note: str) -> None:
    """Follows the advice."""
    name, line = note.split(" ", 1)[0], note.rsplit("  ", 1)[1]
    main = server.root / name[1:]
    text = main.read_text("utf-8")
    main.write_text(text.replace("http {\n", f"http {{\n{line}\n") if form == "nginx" else f"{text}\n{line}\n", "utf-8")


@pytest.mark.parametrize(
    ("host", "form"),
    [
        *((ARCH, form) for form in ("dnsmasq", "dhcpd", "firewall", "nginx")),
        *((DEBIAN, form) for form in ("dhcpd", "firewall")),
    ],
)
def test_the_line_that_is_said_is_the_one_that_is_missing(host: dict[str, str], form: str, server: Server) -> None:
    furnish(server, host)
    note = server.install(form)
    assert note is not None
    assert not server.reads(form)
    add_line(server, form, note)
    assert server.install(form) is None
    assert server.reads(form)


def test_debians_nginx_reads_it_at_once(server: Server) -> None:
    furnish(server, DEBIAN)
    assert server.install("nginx") is None
    assert server.reads("nginx")


def test_debians_service_gives_dnsmasq_the_directory(server: Server) -> None:
    furnish(server, DEBIAN)
    assert server.install("dnsmasq") is None
    # what /etc/init.d/dnsmasq and its unit add for CONFIG_DIR
    assert server.reads("dnsmasq", "-7", "/etc/dnsmasq.d,.dpkg-dist,.dpkg-old,.dpkg-new")
    (server.root / "etc/default/dnsmasq").write_text("#CONFIG_DIR=/etc/dnsmasq.d\n", "utf-8")
    note = server.install("dnsmasq")
    assert note is not None
    assert note.endswith(DNSMASQ_LINE)
    assert not server.reads("dnsmasq")


@pytest.mark.parametrize("value", ["/etc/dnsmasq.d", "/etc/dnsmasq.d/", "/etc/dnsmasq.d,.bak", "/etc/dnsmasq.d,*.conf"])
def test_every_form_of_conf_dir_that_reads_it(value: str, server: Server) -> None:
    furnish(server, {**ARCH})
    (server.root / "etc/dnsmasq.conf").write_text(f"conf-dir={value}\n", "utf-8")
    assert server.install("dnsmasq") is None
    assert server.reads("dnsmasq")


@pytest.mark.parametrize("value", ["/etc/dnsmasq.d,.conf", "/etc/dnsmasq.d,*.dns", "/etc/dnsmasq.d/,*.dns,.conf"])
def test_every_form_of_conf_dir_that_does_not(value: str, server: Server) -> None:
    furnish(server, {**ARCH})
    (server.root / "etc/dnsmasq.conf").write_text(f"conf-dir={value}\n", "utf-8")
    assert server.install("dnsmasq") is not None
    assert not server.reads("dnsmasq")


@pytest.mark.parametrize("files", [DEBIAN, ARCH], ids=["debian", "arch"])
def test_exports_are_read_everywhere(files: dict[str, str], server: Server) -> None:
    furnish(server, files)
    assert server.install("exports") is None
    assert server.reads("exports")
