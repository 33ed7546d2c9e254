"""What an update of a real image costs on the line: a replaced library and 20 edited files, sent and deployed."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest

from builder.deploy import DeployOptions, deploy
from builder.model.artifacts.manifest import LOG
from tests.images import debian_image
from tests.integration.transports.test_transport_faults import behind_proxy, report
from tests.require import needs_network, needs_root, needs_tool
from tests.scratch import new_place, scratch
from tests.stores import SERVER, faults, quiet
from tests.versions import change_version

pytestmark = [
    needs_root,
    needs_network,
    needs_tool("mmdebstrap", "docker-registry"),
    pytest.mark.root,
    pytest.mark.network,
    pytest.mark.full,
]
LARGEST = 6_000_000  # bytes each way
# layers at most -> bytes up: docs/formats.md has what was measured
LARGEST_UP = {None: LARGEST, 300: 16_000_000}


def edit_as_an_update_does(tree: Path) -> None:
    """20 text files of /etc and /usr; the libraries of libssl3 get other bytes that shrink as well."""
    chance = random.Random(20)
    for top in ("etc", "usr"):
        texts = sorted(path for path in (tree / top).rglob("*") if _is_text(path))
        for path in chance.sample(texts, 10):
            path.write_bytes(path.read_bytes() + b"# edited\n")
    for name in ("libcrypto.so.3", "libssl.so.3"):
        [library] = (tree / "usr/lib").glob(f"*/{name}")
        data = library.read_bytes()
        blocks = [data[start : start + 4096] for start in range(0, len(data), 4096)]
        chance.shuffle(blocks)
        library.write_bytes(b"".join(blocks))


def _is_text(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or not 50 < path.stat().st_size < 50_000:
        return False
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("most", LARGEST_UP)
def test_bytes_each_way(most: int | None) -> None:
    first = debian_image()
    second = change_version(first, scratch() / f"changed-{most}", edit_as_an_update_does)
    with behind_proxy("registry", scratch() / f"reference-{most}", seed=6) as (place, _, proxy):
        place = dataclasses.replace(place, options=dataclasses.replace(place.options, layers=most))
        store = new_place()
        place.upload(first, "stable")
        deploy(place.open("stable"), store, DeployOptions(SERVER), quiet())
        proxy.reset()
        place.upload(second, "stable")
        up = proxy.up
        proxy.reset()
        deployed = deploy(place.open("stable"), store, DeployOptions(SERVER), quiet())
        whole = sum(path.stat().st_size for path in second.iterdir() if path.name != LOG)
        report(f"{most} layers: whole {whole}, up {up}, down {proxy.down}")
        assert deployed.manifest.version == second.name
        assert faults(store, deep=False) == []
        assert up <= LARGEST_UP[most]
        assert proxy.down <= LARGEST
