"""Deploying from a registry or a web server: only what the store lacks comes, and a store is never left half done."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from builder.deploy import Deployed, DeployOptions, deploy
from builder.errors import AuditError, TransferError
from builder.model.artifacts.manifest import LOG
from tests.images import run_diskless, running_diskless, ssh_key
from tests.integration.transports.test_transport_faults import PLACES, behind_proxy, heavy_kernel, kill_when, report
from tests.places import Place
from tests.require import needs_root, needs_tool
from tests.scratch import new_place
from tests.stores import SERVER, faults, quiet
from tests.versions import make_version, some_bytes

pytestmark = [needs_root, needs_tool("docker-registry", "nginx"), pytest.mark.root]


def deploy_from(place: Place, store: Path, name: str = "stable", trust: Path | None = None) -> Deployed:
    return deploy(place.open(name), store, DeployOptions(SERVER, trust=trust), quiet())


def size_of(version: Path) -> int:
    return sum(path.stat().st_size for path in version.iterdir() if path.name != LOG)


@pytest.mark.parametrize(("kind", "mode"), [("registry", "overlay"), ("web", "overlay"), ("registry", "rw")])
def test_only_what_the_store_lacks_comes(kind: str, mode: str, tmp_path: Path) -> None:
    """Of a read-write root too, whose files are copied where they cannot be cloned."""
    with behind_proxy(kind, tmp_path, seed=1) as (place, _, proxy):
        store = new_place()
        first = make_version(tmp_path / "here", mode=mode)
        place.upload(first, "stable")
        assert deploy_from(place, store).manifest.version == first.name
        second = make_version(tmp_path / "here", {"etc/hostname": b"changed\n"}, mode=mode)
        place.upload(second, "stable")
        proxy.reset()
        assert deploy_from(place, store).manifest.version == second.name
        assert proxy.down < size_of(second) / 10
        assert not any(path.endswith("boot.tar.zst") for _, path, _ in proxy.requests)
        assert faults(store) == []


def test_a_channel_that_did_not_move_costs_one_request(tmp_path: Path) -> None:
    with behind_proxy("registry", tmp_path, seed=1) as (place, _, proxy):
        store = new_place()
        place.upload(make_version(tmp_path / "here"), "stable")
        deploy_from(place, store)
        proxy.reset()
        assert deploy_from(place, store).unpacked is None
        assert [(method, path) for method, path, _ in proxy.requests] == [("HEAD", "/v2/images/lab/manifests/stable")]
        assert proxy.down == 0


@pytest.mark.parametrize("kind", PLACES)
def test_a_tag_that_moves_meanwhile(kind: str, tmp_path: Path) -> None:
    with behind_proxy(kind, tmp_path, seed=1) as (place, _, _proxy):
        first, second = make_version(tmp_path / "here"), make_version(tmp_path / "here", {"etc/hostname": b"x\n"})
        place.upload(first, "stable")
        source = place.open("stable")
        place.upload(second, "stable")
        store = new_place()
        assert deploy(source, store, DeployOptions(SERVER), quiet()).manifest.version == first.name
        assert faults(store) == []


@pytest.mark.parametrize("kind", PLACES)
def test_killed_deploy_continues(kind: str, tmp_path: Path) -> None:
    with behind_proxy(kind, tmp_path, seed=2) as (place, _, proxy):
        changes = {f"usr/lib/large{number}": some_bytes(f"large{number}", 3 << 20) for number in range(8)}
        version = make_version(tmp_path / "here", changes, kernel=heavy_kernel()[: 8 << 20])
        place.upload(version, "stable")
        proxy.reset()
        proxy.pause = 0.02  # slower than we read
        store = new_place()
        arguments: list[str | Path] = ["deploy", place.reference("stable"), "--to", store, "--server", SERVER]
        arguments += ["--cache", tmp_path / "cache"]
        for share in (0.2, 0.7):
            with running_diskless(*arguments) as process:
                kill_when(process.pid, lambda share=share: proxy.down > size_of(version) * share)  # type: ignore[misc]
                process.wait()
        proxy.pause = 0.0
        result = run_diskless(*arguments)
        assert result.returncode == 0, result.stderr
        report(f"{size_of(version)} bytes, {proxy.down} with two kills")
        assert proxy.down < size_of(version) + (8 << 20)
        assert faults(store) == []
        assert not list((tmp_path / "cache/transfers").glob("versions/*/*"))


@pytest.mark.parametrize("kind", PLACES)
def test_a_deploy_that_cannot_go_on_changes_nothing(kind: str, tmp_path: Path) -> None:
    with behind_proxy(kind, tmp_path, seed=3) as (place, _, proxy):
        store = new_place()
        first, second = make_version(tmp_path / "here"), make_version(tmp_path / "here", {"bin": None}, kernel=b"new")
        place.upload(first, "stable")
        deploy_from(place, store)
        place.upload(second, "stable")
        source = place.open("stable")
        proxy.rate = 1.0
        for fault, error in (("damage answer", AuditError), ("cut answer", TransferError), ("503", TransferError)):
            proxy.only = fault
            with pytest.raises(error):
                deploy(source, store, DeployOptions(SERVER), quiet())
            assert [path.name for path in (store / "versions/lab").iterdir()] == [first.name]
            assert faults(store) == []


def test_trust(tmp_path: Path) -> None:
    trust = tmp_path / "allowed_signers"
    trust.write_text(f"admin {ssh_key().with_suffix('.pub').read_text(encoding='ascii')}", encoding="ascii")
    with behind_proxy("registry", tmp_path, seed=4) as (place, _, _proxy):
        store = new_place()
        version = make_version(tmp_path / "here")
        place.upload(version, "stable")
        with pytest.raises(AuditError, match="not signed"):
            deploy_from(place, store, trust=trust)
        assert not list(store.glob("versions/*/*"))
        place.upload(version, "stable", sign=ssh_key())
        deploy_from(place, store, trust=trust)
        result = run_diskless(
            *("deploy", place.reference("stable"), "--to", store, "--server", SERVER, "--trust", tmp_path / "none"),
            *("--cache", tmp_path / "cache"),
        )
        assert result.returncode == 2, result.stderr


def test_ten_stores_update_at_once(tmp_path: Path) -> None:
    with behind_proxy("registry", tmp_path, seed=5) as (place, _, proxy):
        stores = [new_place() for _ in range(10)]
        first, second = make_version(tmp_path / "here"), make_version(tmp_path / "here", {"etc/hostname": b"x\n"})
        errors: list[BaseException] = []

        def update(store: Path, version: Path) -> None:
            try:
                assert deploy_from(place, store).manifest.version == version.name
            except BaseException as error:
                errors.append(error)

        for version in (first, second):
            place.upload(version, "stable")
            proxy.reset()
            threads = [threading.Thread(target=update, args=(store, version)) for store in stores]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            report(f"{len(stores)} stores: {proxy.down} bytes; one version has {size_of(version)}")
        assert errors == []
        assert [faults(store, deep=False) for store in stores] == [[]] * len(stores)
        assert proxy.down < size_of(second)


@pytest.mark.parametrize("count", [5, pytest.param(30, marks=pytest.mark.full)])
def test_successive_versions(count: int, tmp_path: Path) -> None:
    """Bytes per update, beside the whole; old versions are pruned on the way."""
    with behind_proxy("registry", tmp_path, seed=7) as (place, _, proxy):
        store, down, up, whole = new_place(), [], [], 0
        changes: dict[str, bytes] = {}
        for number in range(count):
            changes[f"etc/app{number * 3}.conf"] = b"release %d\n" % number
            version = make_version(tmp_path / "here", changes)
            whole = size_of(version)
            proxy.reset()
            place.upload(version, "stable")
            up.append(proxy.up)
            deploy(place.open("stable"), store, DeployOptions(SERVER, keep=3), quiet())
            down.append(proxy.down)
        report(f"whole {whole}; up {up}; down {down}")
        assert faults(store) == []
        assert max(down[1:]) < whole / 4
        assert max(up[1:]) < whole / 4
        assert (sum(down[1:]) + sum(up[1:])) / (2 * count - 2) < whole / 15
