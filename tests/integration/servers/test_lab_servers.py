"""The lab's servers run with a site's configuration; one that ends while a guest boots is reported, QEMU too."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.bootlab.dhcp import dnsmasq_options
from builder.bootlab.guest import Guest, GuestError
from builder.bootlab.lab import Lab
from builder.bootlab.namespace import Service
from builder.bootlab.nfs import Ganesha, check_exportable
from builder.bootlab.ready import await_ready
from builder.bootlab.settings import GANESHA_OPTIONS, Patience
from builder.errors import CommandError, HostError
from builder.model.ganesha import exports_tmpfs
from builder.render.server.files import Format, server_files
from builder.render.server.services import Export
from builder.system.files import filesystem_of
from tests.images import UNUSUAL, scratch
from tests.require import needs_root, needs_tool
from tests.shares import served

pytestmark = [
    needs_root,
    needs_tool("dnsmasq", "ganesha.nfsd", "rpcbind", "ip", "qemu-system-x86_64"),
    pytest.mark.root,
]
PARTS = ("boot", "ro", "rw")
LAST_WORDS = {"dnsmasq": "DHCP, sockets bound", "nfs": "NFS SERVER INITIALIZED", "http": "Serving HTTP", "rpcbind": ""}


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    directory: Path = scratch() / "lab-servers" / str(request.node.name)
    for name in ("lab", *PARTS):
        (directory / name).mkdir(parents=True)
    with Lab(directory / "lab") as made:
        made.serve(served(directory))
        yield made


def power_on(lab: Lab) -> Guest:
    """A guest that finds no loader, and tries for minutes."""
    directory = lab.namespace.directory / UNUSUAL
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
    directory = lab.namespace.directory
    config, *options = arguments(lab, "dnsmasq")
    (file,) = server_files(Format.DNSMASQ, lab.site, served(directory.parent))
    assert Path(config.removeprefix("--conf-file=")).read_text("utf-8") == file.text
    assert options == dnsmasq_options(lab.site, directory)
    assert not any(option.startswith(("--conf-", "--servers-file", "--dhcp-hostsfile")) for option in options)


def test_nfs_and_http_serve_the_store_of_the_site(lab: Lab) -> None:
    store = served(lab.namespace.directory.parent)
    if isinstance(lab.nfs, Ganesha):
        switch, config, *options = arguments(lab, "nfs")
        (file,) = lab.nfs.files(lab.site, store)
        assert (switch, Path(config).read_text("utf-8"), options) == ("-f", file.text, list(GANESHA_OPTIONS))
    assert arguments(lab, "http")[-5:] == ["--bind", lab.site.server, "--directory", f"{store.path}/boot", "80"]


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
if [ -e {mark} ]; then echo "diskless login: " > {console}; else echo "{said}" > {console}; touch {mark}; fi
exec sleep 600
"""
INT3 = "[    5.011498] Oops: int3: 0000 [#1] PREEMPT SMP NOPTI"


@pytest.mark.parametrize("said", [INT3, "[    5.1] Kernel panic - not syncing: Fatal exception"], ids=["int3", "panic"])
def test_only_what_is_the_emulations_fault_is_tried_once_more(lab: Lab, said: str) -> None:
    directory = lab.namespace.directory
    console = directory / "console.log"
    script = ONCE.format(mark=directory / "mark", console=console, said=said)
    pids: list[int] = []
    reasons: list[str] = []

    def start() -> Service:
        service = lab.namespace.start("guest", ["sh", "-c", script])
        pids.append(service.pid)
        return service

    guest = Guest(lab.namespace, start, console, directory / "shell", Patience(login=20), lab.logs, lab.check_servers)
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
    place = scratch() / "what-ganesha-says"  # on a disk: it passes over every tmpfs since 5.3
    for name in ("lab", "ro"):
        (place / name).mkdir(parents=True)
    with Lab(place / "lab", nfs=Ganesha()) as made, pytest.raises(CommandError, match="cannot export") as raised:
        made.nfs.start(made.namespace, made.site, served(place))
    assert any(f"{place}/rw" in line for line in raised.value.details)
    assert not any(f"{place}/ro" in line for line in raised.value.details)


def test_a_tmpfs_that_this_ganesha_passes_over_is_refused_before_a_boot() -> None:
    said = subprocess.run(["ganesha.nfsd", "-v"], check=True, capture_output=True, text=True).stdout
    tmpfs = Path("/dev/shm")
    assert filesystem_of(tmpfs) == "tmpfs"
    Ganesha().check_directory(scratch())
    if exports_tmpfs(said):
        Ganesha().check_directory(tmpfs)
    else:
        with pytest.raises(HostError, match="on a tmpfs, which nfs-ganesha does not export"):
            Ganesha().check_directory(tmpfs)
