"""`upload --keep`: what goes and what stays, in every kind of place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.errors import AuditError, InputError, TransferError
from builder.model.version import Version
from builder.transports.base import Catalog, Options
from builder.transports.retention import Retention, list_outdated
from builder.transports.table import open_transport
from builder.upload import Signing, upload
from tests.images import run_diskless, ssh_key
from tests.integration.transports.test_transports import contents
from tests.places import HASTY, Place, open_place, registry_place, web_place
from tests.require import needs_tool
from tests.servers import run_nginx, run_registry
from tests.strict_registry import Refusal, StrictRegistry, strict_registry
from tests.versions import EPOCH, make_version

pytestmark = [needs_tool("docker-registry", "nginx", "ssh-keygen")]
DAY = 86400
Make = Callable[[int], Path]


@pytest.fixture(params=["directory", "registry", "web", "layout"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with open_place(request.param, tmp_path / "place", monkeypatch) as opened:
        yield opened


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A version of so many days after the first."""

    def version(day: int) -> Path:
        changes = {"etc/day": b"%d\n" % day}
        return make_version(tmp_path / "here", changes, files=30, epoch=EPOCH + day * DAY)

    return version


def send(place: Place, version: Path, *tags: str, key: Path | None = None, **retention: int) -> list[str]:
    done = upload(version, place.target, tags, place.options, Signing(key), Retention(**retention))
    return list(done.removed)


def there(place: Place) -> set[str]:
    return set(open_transport(place.target, place.options)[0].catalog("lab").versions)


def test_the_newest_stay_and_what_a_tag_means(place: Place, make: Make, tmp_path: Path) -> None:
    versions = [make(day) for day in range(6)]
    names = [version.name for version in versions]
    send(place, versions[0], "stable", key=ssh_key())
    send(place, versions[1], "unsigned")
    for version in versions[2:5]:
        assert send(place, version, "testing") == []
    assert send(place, versions[5], "testing", count=2) == names[2:4]
    assert there(place) == {names[0], names[1], *names[4:]}
    for tag, version in (("stable", versions[0]), ("unsigned", versions[1]), ("testing", versions[5])):
        assert contents(place.pull(tag, tmp_path / tag).directory).keys() >= contents(version).keys() - {"report.html"}
    if "://" not in place.target or place.target.startswith("oci"):
        with pytest.raises((TransferError, InputError), match=names[2]):
            place.open(names[2])
    send(place, versions[2], "testing")  # comes back as a whole
    assert contents(place.pull("testing", tmp_path / "back").directory) == contents(versions[2])


def test_by_age(place: Place, make: Make) -> None:
    versions = [make(day) for day in (0, 10, 20, 40)]
    names = [version.name for version in versions]
    for version in versions[:3]:
        send(place, version, "testing")
    assert send(place, versions[3], "testing", days=20, count=1) == names[:2]
    assert there(place) == set(names[2:])
    assert send(place, versions[3], "testing", days=20) == []


def test_one_day_has_many_versions(place: Place, tmp_path: Path) -> None:
    """Whatever the place knows of their order, the last one stays, and what the tag meant before it."""
    versions = [make_version(tmp_path / "here", {"etc/n": b"%d" % number}, files=30) for number in range(5)]
    for version in versions[:4]:
        send(place, version, "testing")
    assert len(send(place, versions[4], "testing", count=2)) == 3
    assert there(place) == {versions[3].name, versions[4].name}


def test_an_old_version_that_is_uploaded_stays(place: Place, make: Make) -> None:
    old, new = make(0), make(1)
    send(place, new, "testing")
    assert send(place, old, "other", count=1) == []
    assert send(place, old, "testing", count=1) == [new.name]


def test_what_is_kept() -> None:
    names = [Version(f"2026010{day}-{day:08x}") for day in range(1, 8)]
    catalog = Catalog(tuple(names), {"stable": names[0], "foreign": None})
    assert list_outdated(catalog, Retention(), names[-1:]) == []
    assert list_outdated(catalog, Retention(2), names[-1:]) == names[1:5]
    assert list_outdated(catalog, Retention(None, 0), names[-1:]) == names[1:6]
    assert list_outdated(catalog, Retention(1, 3), names[-1:]) == names[1:3]
    assert list_outdated(Catalog((), {}), Retention(1), ()) == []


def test_a_registry_that_removes_nothing(make: Make, tmp_path: Path) -> None:
    with run_registry(tmp_path / "server", deletes=False) as server:
        place = registry_place(server, Options(retries=HASTY))
        send(place, make(0), "testing")
        with pytest.raises(TransferError, match=r"was uploaded, no older version was removed: DELETE .*405") as error:
            send(place, make(1), "testing", count=1)
        assert "delete: {enabled: true}" in (error.value.hint or "")
        assert place.open("testing").manifest.version == make(1).name


def test_a_registry_where_tags_outlive_their_manifests(make: Make) -> None:
    with strict_registry(StrictRegistry(keeps_tags=True)) as registry:
        place = registry_place(registry.server, Options(retries=HASTY))
        send(place, make(0), "testing")
        assert send(place, make(1), "testing", count=1) == [make(0).name]
        assert there(place) == {make(1).name}


def test_a_registry_that_says_it_removed_what_is_there(make: Make) -> None:
    with strict_registry() as registry:
        place = registry_place(registry.server, Options(retries=HASTY))
        send(place, make(0), "testing")
        registry.refusals["DELETE", "manifests"] = Refusal(202, b"")
        with pytest.raises(TransferError, match="took the order to remove"):
            send(place, make(1), "testing", count=1)


def test_a_web_server_that_removes_nothing(make: Make, tmp_path: Path) -> None:
    with run_nginx(tmp_path / "server", deletes=False) as server:
        place = web_place(server, Options(retries=HASTY))
        send(place, make(0), "testing")
        with pytest.raises(TransferError, match="was uploaded, no older version was removed: DELETE") as error:
            send(place, make(1), "testing", count=1)
        assert "dav_methods PUT DELETE" in (error.value.hint or "")
        assert place.open("testing").manifest.version == make(1).name
        assert len(there(place)) == 2


def test_a_tag_of_something_else_and_one_that_cannot_be_told(make: Make) -> None:
    with strict_registry() as registry:
        place = registry_place(registry.server, Options(retries=HASTY))
        versions = [make(day) for day in range(3)]
        send(place, versions[0], "testing")
        for tag, data in (("foreign", b'{"mediaType": "foreign"}'), ("broken", b"{")):
            registry.tags[tag] = f"sha256:{hashlib.sha256(data).hexdigest()}"
            registry.manifests[registry.tags[tag]] = data
        with pytest.raises(AuditError, match="broken"):
            send(place, versions[1], "testing", count=1)
        assert versions[0].name in registry.tags
        del registry.tags["broken"]
        assert send(place, versions[2], "testing", count=1) == [version.name for version in versions[:2]]
        assert "foreign" in registry.tags


def test_what_the_command_says(make: Make, tmp_path: Path) -> None:
    share = tmp_path / "share"
    run_diskless("upload", make(0), "--to", share)
    done = run_diskless("upload", make(1), "--to", share, "--keep", "1", "--json")
    assert (done.returncode, json.loads(done.stdout)["removed"]) == (0, [make(0).name])
    assert f"removed {make(0).name}" in done.stderr
    assert not list((share / "lab").glob(".tmp-*"))
