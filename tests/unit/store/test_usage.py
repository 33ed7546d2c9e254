"""Who uses a version, from what the kernel's NFS server says; its texts are as Linux 6.1 writes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.deploy import DeployOptions, deploy
from builder.output.offer import offer_directory
from builder.progress.progress import Progress
from builder.store.inspection.usage import versions_in_use
from builder.store.inventory import read_inventory
from builder.store.layout import Store, find_store
from tests.require import needs_root
from tests.scratch import scratch
from tests.versions import Entry, make_version

pytestmark = [needs_root, pytest.mark.root]

INIT = "usr/lib/systemd/systemd"
CLIENT = 'clientid: 0x5ee6b6d665f6e2d4\naddress: "{address}:926"\nstatus: confirmed\nname: "Linux NFSv4.2 diskless"\n'
OPEN = (
    "- 0x00000001d4e2f665d6b6e65e01000000: {{ type: open, access: r-, deny: --, "
    'superblock: "{major:02x}:{minor:02x}:{inode}", filename: "systemd/systemd", owner: "open id:\\x00\\x00\\x00." }}\n'
)


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    """Two versions of an image that share nearly all files."""
    directory = scratch() / "usage"
    for text in (b"old\n", b"new\n"):
        version = make_version(directory / "output", {INIT: Entry(b"init", mode=0o755), "etc/motd": text})
        deploy(offer_directory(version), directory / "store", DeployOptions("10.0.0.1"), Progress(quiet=True))
    yield find_store(directory / "store")


def state(device: int, inode: int) -> str:
    return OPEN.format(major=os.major(device), minor=os.minor(device), inode=inode)


def opened(directory: Path, number: int, address: str, *files: Path) -> None:
    """A client of the kernel's NFS server that has files open."""
    client = directory / str(number)
    client.mkdir(parents=True)
    (client / "info").write_text(CLIENT.format(address=address), encoding="ascii")
    states = "".join(state(file.stat().st_dev, file.stat().st_ino) for file in files)
    (client / "states").write_text(states, encoding="ascii")


def used(store: Store, clients: Path, rmtab: str = "") -> dict[str, set[str]]:
    (clients.parent / "rmtab").write_text(rmtab, encoding="ascii")
    found = versions_in_use(read_inventory(store), clients.parent / "rmtab", clients)
    assert {image for image, _ in (*found.opened, *found.hinted)} <= {"lab"}
    assert found.doubt is None
    return {version: addresses for (_, version), addresses in (found.hinted if rmtab else found.opened).items()}


def test_a_client_uses_the_version_whose_init_it_runs(store: Store, tmp_path: Path) -> None:
    for number, version in enumerate(store.version_names("lab")):
        root = store.version("lab", version) / "root"
        shared = root / "usr/lib/libbig.so"
        assert shared.stat().st_nlink == 2
        opened(tmp_path / "clients", number, f"10.0.0.{10 + number}", root / INIT, shared)
    first, second = store.version_names("lab")
    assert used(store, tmp_path / "clients") == {first: {"10.0.0.10"}, second: {"10.0.0.11"}}


def test_what_a_client_may_use_counts_as_used(store: Store, tmp_path: Path) -> None:
    first, second = store.version_names("lab")
    shared = store.version("lab", first) / "root/usr/lib/libbig.so"
    opened(tmp_path / "clients", 1, "fe80::1", shared)
    assert used(store, tmp_path / "clients") == {first: {"fe80::1"}, second: {"fe80::1"}}


def test_a_client_that_has_two_versions_mounted_uses_both(store: Store, tmp_path: Path) -> None:
    first, second = store.version_names("lab")
    inits = [store.version("lab", version) / "root" / INIT for version in (first, second)]
    opened(tmp_path / "clients", 1, "10.0.0.10", *inits)
    assert used(store, tmp_path / "clients") == {first: {"10.0.0.10"}, second: {"10.0.0.10"}}


def test_what_is_open_elsewhere_says_nothing(store: Store, tmp_path: Path) -> None:
    elsewhere = tmp_path / "file"
    elsewhere.touch()
    opened(tmp_path / "clients", 1, "10.0.0.10", elsewhere)
    opened(tmp_path / "clients", 2, "10.0.0.11")
    assert used(store, tmp_path / "clients") == {}


def test_nfs3_mounts_are_in_rmtab(store: Store, tmp_path: Path) -> None:
    first, second = store.version_names("lab")
    lines = [
        f"10.0.0.12:{store.versions}/lab/{first}/root:0x00000001",
        f"10.0.0.13:{store.versions}/lab/{second}/root:0x00000000",
        "10.0.0.14:/srv/other:0x00000001",
    ]
    assert used(store, tmp_path / "clients", "\n".join(lines)) == {first: {"10.0.0.12"}}


def test_a_file_of_another_file_system_is_another_file(store: Store, tmp_path: Path) -> None:
    first, _ = store.version_names("lab")
    init = store.version("lab", first) / "root" / INIT
    opened(tmp_path / "clients", 0, "10.0.0.10")
    elsewhere = state(os.makedev(0xFE, 0x10), init.stat().st_ino)
    (tmp_path / "clients/0/states").write_text(elsewhere, encoding="ascii")
    assert used(store, tmp_path / "clients") == {}
