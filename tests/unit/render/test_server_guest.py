"""Files of a server that others write to besides: a difference first, nothing of others overwritten, all taken away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.store.records.record import Record, read_record, write_record
from tests.command import run_command

SITE = (
    "server: 192.168.{net}.1\ninterface: eth{net}\ndhcp: {{first: 192.168.{net}.100, last: 192.168.{net}.199}}\n"
    "http_port: 80\n"
)
EVERY_FORMAT = ("dnsmasq", "exports", "nginx", "firewall")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """`diskless server-config` for one of two stores of one server, below a root directory of its own."""
    (tmp_path / "root").mkdir()
    for number in (1, 2):
        store = tmp_path / f"store{number}"
        (store / "versions").mkdir(parents=True)
        (store / "site.yml").write_text(SITE.format(net=number), "utf-8")
        write_record(store, Record({"ro": 3}))

    def run(number: int, *arguments: str) -> tuple[int, str, str]:
        changes = {"--install", "--uninstall", "--dry-run"} & set(arguments)
        prefix = ("--prefix", str(tmp_path / "root")) if changes else ()
        return run_command(capsys, "server-config", "--to", str(tmp_path / f"store{number}"), *arguments, *prefix)

    return run


def formats(*names: str) -> list[str]:
    return [word for name in names for word in ("--format", name)]


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text("utf-8") for path in root.rglob("*") if path.is_file()}


def write(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def test_a_difference_is_shown_before_and_without_a_change(run: Run, tmp_path: Path) -> None:
    status, output, _ = run(1, "--dry-run", *formats(*EVERY_FORMAT))
    assert status == 0
    assert output.count("--- /dev/null") == 5
    assert "+tftp-root=" in output
    assert contents(tmp_path / "root") == {}
    assert not (tmp_path / "store1/server.json").exists()
    assert run(1, "--install", *formats(*EVERY_FORMAT))[1].startswith(output[: output.index("would write")])
    (tmp_path / "store1/site.yml").write_text(SITE.format(net=1).replace("199", "150"), "utf-8")
    changed = run(1, "--install", "--dry-run", *formats(*EVERY_FORMAT))[1]
    lines = [line for line in changed.splitlines() if line.startswith(("+d", "-d"))]
    assert lines == [
        "-dhcp-range=set:diskless,192.168.1.100,192.168.1.199,255.255.255.0,12h",
        "+dhcp-range=set:diskless,192.168.1.100,192.168.1.150,255.255.255.0,12h",
    ]
    assert "nothing was restarted" not in changed


def test_what_only_this_program_wrote_is_written_anew_without_a_backup(run: Run, tmp_path: Path) -> None:
    run(1, "--install")
    (tmp_path / "store1/site.yml").write_text(SITE.format(net=1).replace("199", "150"), "utf-8")
    status, output, _ = run(1, "--install")
    assert status == 0
    assert "what was there" not in output
    assert not [name for name in contents(tmp_path / "root") if "backup" in name]


def test_an_edited_file_stays_until_somebody_says_otherwise(run: Run, tmp_path: Path) -> None:
    run(1, "--install")
    path = tmp_path / "root/etc/exports.d/diskless.exports"
    path.write_text(path.read_text("utf-8") + "/mine *(ro)\n", "utf-8")
    before = contents(tmp_path / "root")
    for arguments in (("--install",), ("--uninstall",), ("--install", "--dry-run")):
        status, output, message = run(1, *arguments)
        assert (status, output) == (2, "")
        assert f"{path} was edited since this program wrote it" in message
        assert "-/mine *(ro)" in message
        assert contents(tmp_path / "root") == before
    assert run(1, "--uninstall", "--replace")[0] == 0
    assert list(contents(tmp_path / "root").values()) == [before["etc/exports.d/diskless.exports"]]


def test_a_file_of_an_earlier_release_is_not_taken_for_unedited(run: Run, tmp_path: Path) -> None:
    old = f"# /etc/dnsmasq.d/diskless.conf - clients without disks: DHCP and TFTP\ntftp-root={tmp_path}/store1/boot\n"
    write(tmp_path / "root", "etc/dnsmasq.d/diskless.conf", old)
    status, _, message = run(1, "--install")
    assert status == 2
    assert "of an earlier release, of which nobody knows whether it was edited" in message
    assert run(1, "--install", "--replace")[0] == 0
    assert contents(tmp_path / "root")["etc/dnsmasq.d/.diskless.conf.diskless-backup"] == old
    assert run(1, "--install")[0] == 0


def test_uninstalling_leaves_what_was_there(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "root", "etc/dnsmasq.conf", "interface=eth1\n")
    write(tmp_path / "root", "etc/default/tftpd-hpa", 'TFTP_DIRECTORY="/srv/phones"\n')
    before = contents(tmp_path / "root")
    assert run(1, "--install", *formats("dhcpd", "tftpd", "exports", "nginx"))[0] == 2
    assert contents(tmp_path / "root") == before
    assert run(1, "--install", "--replace", *formats("dhcpd", "tftpd", "exports", "nginx"))[0] == 0
    assert run(1, "--uninstall", "--dry-run")[1].count("would remove") == 4
    status, output, _ = run(1, "--uninstall")
    assert status == 0
    assert "systemctl restart tftpd-hpa" in output
    assert contents(tmp_path / "root") == before
    assert run(1, "--uninstall")[1] == "nothing is installed\n"


def test_two_stores_have_files_tags_and_numbers_of_their_own(run: Run, tmp_path: Path) -> None:
    for number in (1, 2):
        site = tmp_path / f"store{number}/site.yml"
        status, _, message = run(number, "--install", *formats(*EVERY_FORMAT))
        assert status == 0, message
        assert "name: diskless" not in site.read_text("utf-8")
    files = contents(tmp_path / "root")
    assert set(files) == {
        "etc/nfs.conf.d/diskless.conf",
        *(
            f"etc/{directory}/{name}.{suffix}"
            for name in ("diskless", "diskless-2")
            for directory, suffix in (
                ("dnsmasq.d", "conf"), ("exports.d", "exports"), ("nginx/conf.d", "conf"), ("nftables.d", "nft")
            )
        ),
    }  # fmt: skip
    assert "fsid=3," in files["etc/exports.d/diskless.exports"]
    assert "fsid=4," in files["etc/exports.d/diskless-2.exports"]
    assert read_record(tmp_path / "store2").shares == {"ro": 4}
    second = files["etc/dnsmasq.d/diskless-2.conf"]
    assert "set:diskless-2," in second
    assert not [line for line in second.splitlines() if "tag:diskless," in line or "set:diskless," in line]
    # chosen once
    assert "/etc/dnsmasq.d/diskless-2.conf" in run(2, "--format", "dnsmasq")[1]
    assert run(2, "--install", *formats(*EVERY_FORMAT))[1].count("was so already") == 5
    assert run(1, "--uninstall")[0] == 0
    left = contents(tmp_path / "root")
    assert left == {name: text for name, text in files.items() if "diskless-2" in name or "nfs.conf" in name}
    assert run(2, "--uninstall")[0] == 0
    assert contents(tmp_path / "root") == {}


@pytest.mark.parametrize("form", ["dnsmasq", "dhcpd"])
def test_a_second_store_on_the_same_network_is_refused_with_the_firsts_name(
    form: str, run: Run, tmp_path: Path
) -> None:
    if form == "dhcpd":
        write(tmp_path / "root", "etc/dhcp/dhcpd.conf", 'include "/etc/dhcp/diskless.conf";\n')
    assert run(1, "--install", "--format", form)[0] == 0
    (tmp_path / "store2/site.yml").write_text(SITE.format(net=1), "utf-8")
    before = contents(tmp_path / "root")
    status, _, message = run(2, "--install", "--format", form)
    assert status == 2
    assert f"of the store {tmp_path}/store1: that store serves the network 192.168.1.0/24 already" in message
    assert contents(tmp_path / "root") == before
    assert not (tmp_path / "store2/server.json").exists()


def test_a_program_with_one_file_belongs_to_one_store(run: Run, tmp_path: Path) -> None:
    assert run(1, "--install", "--format", "kea")[0] == 0
    status, _, message = run(2, "--install", "--format", "kea")
    assert status == 2
    assert f"kea-dhcp4.conf is of the store {tmp_path}/store1: it stays as it is" in message


def test_a_tag_that_somebody_has_is_not_taken(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "root", "etc/dnsmasq.conf", "dhcp-host=52:54:00:00:00:77,set:diskless\n")
    assert run(1, "--install", "--format", "dnsmasq")[0] == 0
    assert set(contents(tmp_path / "root")) == {"etc/dnsmasq.conf", "etc/dnsmasq.d/diskless-2.conf"}


def test_a_configuration_as_its_package_brought_it_is_nobodys_work(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "root", "etc/kea/kea-dhcp4.conf", "{}")
    assert run(1, "--install", "--format", "kea")[0] == 2
    digest = "99914b932bd37a50b983c5e7c90ae93b"
    write(tmp_path / "root", "var/lib/dpkg/status", f"Conffiles:\n /etc/kea/kea-dhcp4.conf {digest}\n")
    assert run(1, "--install", "--format", "kea")[0] == 0
    assert run(1, "--uninstall")[0] == 0
    assert contents(tmp_path / "root")["etc/kea/kea-dhcp4.conf"] == "{}"


def test_a_port_that_mountd_has_stays(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "root", "etc/nfs.conf", "[mountd]\nport=4002\n")
    status, _, message = run(1, "--install", "--format", "exports")
    assert status == 0
    assert "/etc/nfs.conf:2: mountd has the port 4002 already" in message
    assert set(contents(tmp_path / "root")) == {"etc/nfs.conf", "etc/exports.d/diskless.exports"}


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema": 1, "name": 5}', '{"schema": 99}', '{"schema": 1, "files": {"a": 1}}']
)
def test_a_damaged_memory_is_an_error(text: str, run: Run, tmp_path: Path) -> None:
    write(tmp_path, "store1/server.json", text)
    status, output, message = run(1, "--install")
    assert (status, output) == (2, "")
    assert "server.json: " in message
    assert contents(tmp_path / "root") == {}


def test_both_at_once_is_an_error(run: Run) -> None:
    assert run(1, "--install", "--uninstall")[0] == 2


def test_a_difference_is_part_of_json(run: Run, tmp_path: Path) -> None:
    (result,) = json.loads(run(1, "--dry-run", "--json", "--format", "dnsmasq")[1])
    assert "+dhcp-range=" in result["diff"]
    assert result["changed"]
    assert contents(tmp_path / "root") == {}
