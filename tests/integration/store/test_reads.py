"""A command reads each document of a version once, and hands down what it read; counted by the kernel's calls.

What a command has just written is read back from the disk, since that is what must be whole.
"""

from __future__ import annotations

import collections
import http.server
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.deploy import DeployOptions, deploy
from builder.model.artifacts.manifest import INDEX, MANIFEST
from builder.output.given import SIGNATURE
from builder.output.signature import sign_version
from builder.system.guarded.held import HeldDirectory
from builder.transports.base import Options
from builder.transports.table import find_offer
from tests.images import ssh_key
from tests.places import HASTY
from tests.reads import count_reads
from tests.require import needs_root, needs_tool
from tests.scratch import new_place
from tests.servers import serving
from tests.stores import SERVER, deployed, quiet, version

pytestmark = [needs_root, needs_tool("strace", "ssh-keygen"), pytest.mark.root]

WRITTEN = {f"store/versions/lab/*/{INDEX}": 1}


@pytest.fixture
def place() -> Path:
    """A store with two versions, of which the second is active."""
    place = new_place() / "store"
    deployed(place, version("1"), version("2"))
    return place


def in_store(names: Sequence[str], *versions: Path) -> dict[str, int]:
    """Each document of some versions of a store, read once."""
    return {f"store/versions/{path.parent.name}/{path.name}/{name}": 1 for path in versions for name in names}


def in_source(*names: str) -> dict[str, int]:
    return {f"source/{name}": 1 for name in names}


def test_the_first_deploy() -> None:
    place, one = new_place() / "store", version("1")
    reads = count_reads("deploy", one, "--to", place, "--server", SERVER, store=place, source=one)
    assert reads == {**in_source(MANIFEST, INDEX), **WRITTEN}


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_deploy_that_is_signed_and_prunes(place: Path, form: str) -> None:
    source, signers = new_place() / version("3").name, place.parent / "signers"
    shutil.copytree(version("3"), source)
    sign_version(HeldDirectory.at(source), ssh_key())
    signers.write_text(f"builder {ssh_key().with_suffix('.pub').read_text('ascii')}", encoding="ascii")
    command = ("deploy", form.format(source), "--to", place, "--trust", signers, "--keep", "1")
    there = (version("1"), version("2"))
    assert count_reads(*command, store=place, source=source) == {
        **in_source(MANIFEST, SIGNATURE, INDEX),
        **in_store((MANIFEST, INDEX), *there),  # the indexes say which files need not be fetched
        **WRITTEN,
    }


def test_a_deploy_from_a_web_server(place: Path) -> None:
    source = version("3")
    asked: collections.Counter[str] = collections.Counter()

    class Server(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(source))

        def do_GET(self) -> None:
            asked[self.path.removeprefix("/")] += 1
            super().do_GET()

        def log_message(self, *arguments: object) -> None:
            pass

    with serving(Server) as port:
        offer = find_offer(f"http://127.0.0.1:{port}/{MANIFEST}", Options(retries=HASTY))
        deploy(offer, place, DeployOptions(), quiet())
    assert {name: asked[name] for name in (MANIFEST, SIGNATURE, INDEX)} == {MANIFEST: 1, SIGNATURE: 1, INDEX: 1}


def test_a_deploy_of_what_is_there(place: Path) -> None:
    one = version("1")
    reads = count_reads("deploy", one, "--to", place, store=place, source=one)
    assert reads == {**in_source(MANIFEST), **in_store((MANIFEST,), one, version("2"))}


def test_a_deploy_that_replaces_a_read_write_root(place: Path) -> None:
    """The old version's index is read twice: for its files before the unpacking, whole for what clients changed after
    it. To keep it meanwhile would take memory for a second table of files, when the new one is in use.
    """
    old, new = (version(number, image="desk", mode="rw") for number in "12")
    deployed(place, old)
    reads = count_reads("deploy", new, "--to", place, store=place, source=new)
    manifests = in_store((MANIFEST,), version("1"), version("2"), old)
    indexes = {f"store/versions/desk/{old.name}/{INDEX}": 2, f"store/versions/desk/*/{INDEX}": 1}
    assert reads == {**in_source(MANIFEST, INDEX), **manifests, **indexes}


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (("rollback",), (MANIFEST,)),
        (("rollback", "lab"), (MANIFEST,)),
        (("refresh",), (MANIFEST,)),
        (("status",), (MANIFEST,)),
        (("status", "--json"), (MANIFEST,)),
        (("verify",), (MANIFEST, INDEX)),
        (("verify", "--deep"), (MANIFEST, INDEX)),
        (("prune", "--keep", "1", "--dry-run"), (MANIFEST,)),
        (("prune", "--keep", "1", "--force", "--min-age", "1s"), (MANIFEST,)),
    ],
    ids=" ".join,
)
def test_a_command_about_a_store(place: Path, command: tuple[str, ...], names: tuple[str, ...]) -> None:
    (place / "site.yml").write_text(f"server: {SERVER}\ncmdline: [quiet]\n", encoding="ascii")  # the menus are old
    reads = count_reads(*command, "--to", place, store=place)
    assert reads == in_store(names, version("1"), version("2"))


def test_doctor_reads_what_is_served(place: Path) -> None:
    """No server answers."""
    assert count_reads("doctor", "--to", place, "--wait", "1", status=3, store=place) == {}


def test_adopt_kernel(place: Path) -> None:
    desk = version("1", image="desk", mode="rw")
    deployed(place, desk)
    root, served = place / "writable/desk" / desk.name / "root", place / "boot/desk" / desk.name
    release = next((root / "usr/lib/modules").iterdir()).name
    (root / "boot").mkdir(exist_ok=True)
    (root / f"boot/vmlinuz-{release}").write_bytes((served / "vmlinuz").read_bytes() + b"newer")
    shutil.copyfile(served / "initramfs.img", root / f"boot/initrd.img-{release}")
    reads = count_reads("adopt-kernel", "desk", "--to", place, store=place)
    assert reads == in_store((MANIFEST,), version("1"), version("2"), desk)


def test_pull(tmp_path: Path) -> None:
    """What came is read back from the disk: to know the frames of the archive, and when everything is there."""
    for number, of_written, of_newest in (
        ("1", 2, {}),
        # the newest version's index is linked first, and would stay if it were the same
        ("2", 3, {f"output/lab/{version('1').name}/{INDEX}": 1}),
    ):
        source = version(number)
        reads = count_reads("pull", source, "--output", tmp_path, output=tmp_path, source=source)
        assert reads == {**in_source(MANIFEST, INDEX), f"output/.work/*/artifacts/{INDEX}": of_written, **of_newest}


def test_diff() -> None:
    old, new = version("1"), version("2")
    reads = count_reads("diff", old, new, old=old, new=new)
    assert reads == {f"{place}/{name}": 1 for place in ("new", "old") for name in (INDEX, MANIFEST)}
