"""The lab's servers run with a site's configuration; one that ends while a guest boots is reported, QEMU too."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from builder.bootlab.dhcp import dnsmasq_options
from builder.bootlab.lab import Lab, lab_site
from builder.bootlab.machine.guest import Guest, GuestError, Machine
from builder.bootlab.namespace import Namespace, Service
from builder.bootlab.nfs import Ganesha, KernelNfsd, check_exportable
from builder.bootlab.ready import await_ready
from builder.bootlab.settings import GANESHA_OPTIONS, MOUNTD_USER, RPCBIND_STARTER, Patience
from builder.bootlab.walls.view import View
from builder.errors import CommandError, HostError
from builder.model.ganesha import exports_tmpfs
from builder.model.share import ServedStore
from builder.render.server.files import Format, server_files
from builder.render.server.services import Export
from builder.system.private_mounts import private_mounts
from tests.images import UNUSUAL
from tests.require import needs_root, needs_tool
from tests.scratch import scratch
from tests.shares import served

pytestmark = [
    needs_root,
    needs_tool("dnsmasq", "ganesha.nfsd", "rpcbind", "ip", "qemu-system-x86_64"),
    pytest.mark.root,
]
PARTS = ("boot", "ro", "rw")
LAST_WORDS = {"dnsmasq": "TFTP enabled", "nfs": "NFS SERVER INITIALIZED", "http": "Serving HTTP", "rpcbind": ""}


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    directory: Path = scratch() / "lab-servers" / str(request.node.name)
    with Lab(*lab_places(directory)) as made:
        made.serve()
        yield made


def lab_places(directory: Path) -> tuple[Path, ServedStore]:
    """Where a lab logs, and a small store."""
    for name in ("lab", *(f"store/{part}" for part in PARTS)):
        (directory / name).mkdir(parents=True)
    return directory / "lab", served(directory / "store")


def stored(lab: Lab) -> ServedStore:
    assert lab.store is not None
    return lab.store


def power_on(lab: Lab) -> Guest:
    """A guest that finds no loader, and tries for minutes."""
    directory = lab.namespace.directory.parent / UNUSUAL
    directory.mkdir()
    return lab.power_on(directory / "console, log", directory / "no-kernel")


def kill(lab: Lab, name: str) -> None:
    lab.namespace.stop(lab.namespace._services[name], signal.SIGKILL)


@pytest.mark.parametrize("name", LAST_WORDS)
def test_a_server_that_dies_later(lab: Lab, name: str) -> None:
    guest = power_on(lab)
    kill(lab, name)
    with pytest.raises(CommandError) as raised:
        guest.await_login()
    assert raised.value.message == f"the lab's {name} server ended: killed by SIGKILL"
    assert LAST_WORDS[name] in "\n".join(raised.value.details)


def arguments(lab: Lab, name: str) -> list[str]:
    """What a server of the lab was really started with, its name left out."""
    pid = lab.namespace._services[name].pid
    return lab.run(["cat", f"/proc/{pid}/cmdline"]).output.rstrip("\0").split("\0")[1:]


def test_dnsmasq_reads_what_server_config_writes(lab: Lab) -> None:
    config, *options = arguments(lab, "dnsmasq")
    (file,) = server_files(Format.DNSMASQ, lab.site, stored(lab))
    assert lab.run(["cat", config.removeprefix("--conf-file=")]).output == file.text
    assert options == dnsmasq_options(lab.site)
    assert not any(option.startswith(("--conf-", "--servers-file", "--dhcp-hostsfile")) for option in options)


def test_nfs_and_http_serve_the_store_of_the_site(lab: Lab) -> None:
    store = stored(lab)
    if isinstance(lab.nfs, Ganesha):
        switch, config, *options = arguments(lab, "nfs")
        (file,) = lab.nfs.files(lab.site, store)
        assert (switch, lab.run(["cat", config]).output, options) == ("-f", file.text, list(GANESHA_OPTIONS))
    assert arguments(lab, "http")[-3:] == [lab.site.server, "80", f"{store.path}/boot"]


def test_any_console_log(lab: Lab) -> None:
    guest = power_on(lab)
    while "PXE" not in guest.console.text:
        lab.check_servers()
        assert guest.is_running, (guest.console.text, guest._service.last_lines())
        lab.namespace.poll(0.2)


@pytest.mark.parametrize("doing", ["await_login", "run", "power_off"])
def test_qemu_that_dies_later(lab: Lab, doing: str) -> None:
    guest = power_on(lab)
    kill(lab, "qemu-tap0")
    with pytest.raises(HostError) as raised:
        guest.run("true") if doing == "run" else getattr(guest, doing)()
    assert "killed by SIGKILL" in raised.value.message


ONCE = """
if [ -e /run/mark ]; then echo "diskless login: " >&3; else echo "{said}" >&3; touch /run/mark; fi
exec sleep 600
"""
INT3 = "[    5.011498] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI"


@pytest.mark.parametrize("said", [INT3, "[    5.1] Kernel panic - not syncing: Fatal exception"], ids=["int3", "panic"])
def test_only_what_is_the_emulations_fault_is_tried_once_more(lab: Lab, said: str) -> None:
    console = lab.namespace.directory / "console.log"
    pids: list[int] = []
    reasons: list[str] = []

    def start(files: Sequence[int]) -> Service:
        service = lab.namespace.start("guest", ["sh", "-c", ONCE.format(said=said)], files=files)
        pids.append(service.pid)
        return service

    guest = Guest(Machine(), lab.namespace, start, console, Patience(login=20), lab.logs, lab.check_servers)
    guest.on_restart = reasons.append
    lab._guests.append(guest)
    if said != INT3:
        with pytest.raises(GuestError, match="kernel panic"):
            guest.await_login()
        assert (len(pids), reasons) == (1, [])
        return
    guest.await_login()
    assert reasons == [f"fault of the emulation: {INT3}"]
    assert len(set(pids)) == 2
    assert lab.namespace.run(["test", "-e", f"/proc/{pids[0]}"]).status == 1


def test_programs_that_run_and_end_are_no_servers(lab: Lab) -> None:
    lab.run(["false"])
    lab.check_servers()


def test_a_server_that_does_not_start(lab: Lab) -> None:
    service = lab.namespace.start("other", ["sh", "-c", "echo no port; exit 3"])
    with pytest.raises(CommandError) as raised:
        await_ready(lab.namespace, service, lambda: False)
    assert raised.value.message == "the lab's other server ended: exit status 3"
    assert raised.value.details == ("no port",)


def test_a_file_system_that_no_server_can_export() -> None:
    export = Export("/proc/sys", "/root", ("10.77.0.0/24",), 1, writable=True)
    with pytest.raises(HostError, match=r"/proc/sys .*no file handles"):
        check_exportable([export])


def test_what_ganesha_has_against_an_export_is_said_in_its_own_words() -> None:
    logs, store = lab_places(scratch() / "what-ganesha-says")  # on a disk: it passes over every tmpfs since 5.3
    nfs = Ganesha()
    view = View({Path(store.path, "ro"): False}, nfs.lab_files(lab_site(nfs), store))
    with Namespace(logs, view) as namespace, pytest.raises(CommandError, match="cannot export") as raised:
        nfs.start(namespace, lab_site(nfs), store)
    assert any(f"{store.path}/rw" in line for line in raised.value.details)
    assert not any(f"{store.path}/ro" in line for line in raised.value.details)


def test_mountd_has_its_port() -> None:
    with Lab(*lab_places(scratch() / "ganesha-port"), nfs=Ganesha()) as lab:
        lab.nfs.start(lab.namespace, lab.site, stored(lab))
        ports = lab.run(["rpcinfo", "-p", "127.0.0.1"]).output
    assert {line.split()[3] for line in ports.splitlines() if line.endswith("mountd")} == {"20048"}
    assert {line.split()[3] for line in ports.splitlines() if line.endswith(" nfs")} == {"2049"}


@needs_tool("exportfs", "rpc.mountd")
def test_a_lab_exports_nothing_of_the_host() -> None:
    directory = scratch() / "host-exports"
    logs, store = lab_places(directory)
    with private_mounts():
        etc = directory / "etc"
        subprocess.run(["cp", "-a", "/etc", etc], check=True)
        for name, text in {
            "exports": "/var/tmp 10.0.0.0/8(ro,fsid=7)\n",
            "exports.d/host.exports": "/var 10.0.0.0/8(ro,fsid=8)\n",
            "nfs.conf.d/host.conf": "[mountd]\nport=999\n",
        }.items():
            (etc / name).parent.mkdir(exist_ok=True)
            (etc / name).write_text(text, "ascii")
        subprocess.run(["mount", "--bind", etc, "/etc"], check=True)
        with Lab(logs, store, nfs=KernelNfsd()) as lab:
            assert lab.run(["exportfs", "-ra"]).status == 0
            listed = lab.run(["exportfs", "-v"]).output
            assert set(re.findall(r"^/\S+", listed, re.M)) == {f"{store.path}/ro", f"{store.path}/rw"}
            for file in lab.nfs.files(lab.site, store):
                assert lab.run(["cat", str(file.path)]).output == file.text
            lab.namespace.start("rpcbind", ["rpcbind", "-f"], identity=RPCBIND_STARTER)
            mountd = lab.namespace.start("mountd", ["rpc.mountd", "--foreground"], identity=MOUNTD_USER)
            await_ready(lab.namespace, mountd, lambda: "20048" in lab.run(["ss", "-Hlnt"]).output)


def test_a_tmpfs_that_this_ganesha_passes_over_is_known() -> None:
    said = subprocess.run(["ganesha.nfsd", "-v"], check=True, capture_output=True, text=True).stdout
    assert Ganesha().exports_tmpfs() is exports_tmpfs(said)
