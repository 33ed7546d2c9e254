"""Registries, token servers and web servers that steal, stall and fill; in 0.1 each of these did."""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import json
import os
import resource
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from builder.archive.unpack import read_index
from builder.deploy import DeployOptions, deploy, rollback
from builder.errors import AuditError, DisklessError, InputError, TransferError
from builder.model.artifacts.manifest import BUNDLE, CHECKSUMS, INDEX, MANIFEST, ROOTFS
from builder.output.versions import read_manifest
from builder.pull import pull
from builder.system.guarded.held import HeldDirectory
from builder.transports.base import Limits, Options
from builder.transports.http.addresses import is_akin
from builder.transports.http.tokens import parse_challenge
from builder.transports.oci.document import write_document
from builder.transports.pieces import layers
from builder.transports.retries import Retries
from builder.transports.table import find_offer, open_transport
from tests.images import DISKLESS
from tests.integration.attacks.answers import Answer, Asked, answering, as_json
from tests.places import HASTY
from tests.require import needs_root
from tests.scratch import new_place
from tests.servers import PASSWORD, USER
from tests.stores import SERVER, deployed, quiet
from tests.versions import make_version

ONCE = Retries(attempts=1)
Answering = Callable[[Asked], Answer]


def registry_of(version: Path, change: Callable[[dict[str, object]], None] = lambda document: None) -> Answering:
    """A registry that has one version under every tag; `change` makes something else of its OCI manifest."""
    held = HeldDirectory.at(version)
    manifest = read_manifest(version)
    cut = layers(held, manifest)
    document = json.loads(write_document(manifest, cut))
    change(document)
    data = as_json(document)
    blobs = {piece.sha256: piece.part.read() for piece in cut.pieces}

    def answer(asked: Asked) -> Answer:
        if "/manifests/" in asked.path:
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            return Answer(headers={"Docker-Content-Digest": digest}, body=data)
        if "/tags/" in asked.path:
            return Answer(body=as_json({"tags": ["stable"]}))
        body = blobs.get(asked.path.rpartition("sha256:")[2])
        return Answer(404) if body is None else Answer(body=body)

    return answer


def always(answer: Answer) -> Answering:
    return lambda asked: answer


@pytest.fixture
def login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISKLESS_USERNAME", USER)
    monkeypatch.setenv("DISKLESS_PASSWORD", PASSWORD)


@pytest.mark.usefixtures("login")
def test_a_login_goes_to_nobody_that_was_only_led_to(tmp_path: Path) -> None:
    version = make_version(tmp_path, files=30)
    with answering(lambda asked: Answer(body=b'{"token": "x"}')) as thief:

        def storage(asked: Asked) -> Answer:
            return Answer(401, {"WWW-Authenticate": f'Bearer realm="http://{thief.address}/token",service="x"'})

        with answering(storage) as store:
            honest = registry_of(version)

            def front(asked: Asked) -> Answer:
                if "/blobs/" in asked.path:
                    return Answer(307, {"Location": f"http://{store.address}{asked.path}"})
                return honest(asked)

            with answering(front) as registry, pytest.raises(TransferError):
                find_offer(f"oci://{registry.address}/lab:stable", Options(retries=ONCE))
            assert store.asked
            assert (store.logins, thief.asked) == ([], [])


@pytest.mark.usefixtures("login")
def test_a_login_does_not_come_back_by_a_detour(tmp_path: Path) -> None:
    """Led away and back, to an address that the other one chose."""
    with answering(lambda asked: Answer(307, {"Location": f"http://{web.address}/secret"})) as other:

        def front(asked: Asked) -> Answer:
            if asked.path == "/secret":
                return Answer(401 if "Authorization" not in asked.headers else 200, body=b"{}")
            return Answer(307, {"Location": f"http://{other.address}/"})

        with answering(front) as web:
            with pytest.raises(DisklessError):
                find_offer(f"http://{web.address}/lab/x/manifest.json", Options(retries=ONCE))
            assert [asked.headers.get("Authorization") for asked in web.asked if asked.path == "/secret"] == [None]


@pytest.mark.parametrize(("title", "size"), [(INDEX, 10 << 30), (f"{BUNDLE}.00001", 10 << 30), (f"{ROOTFS}.00001", 7)])
def test_sizes_are_the_manifests_before_a_byte_is_fetched(tmp_path: Path, title: str, size: int) -> None:
    version = make_version(tmp_path, files=30)

    def change(document: dict[str, object]) -> None:
        for layer in document["layers"]:  # type: ignore[attr-defined]
            if layer["annotations"]["org.opencontainers.image.title"] == title:
                layer["size"] = size

    with answering(registry_of(version, change)) as registry:
        with pytest.raises(AuditError, match="its manifest says"):
            find_offer(f"oci://{registry.address}/lab:stable", Options(retries=ONCE))
        assert registry.sent < 1 << 20


SLOW = {
    "the head": Answer(raw=b"HTTP/1.1 200 OK\r\nX: ", endless=b"a", pause=0.05),
    "100 Continue": Answer(raw=b"HTTP/1.1 100 Continue\r\n\r\n", endless=b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.01),
    "the body": Answer(headers={"Content-Length": "100000"}, body=b"a" * 1000, pause=0.05),
    "chunks": Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", endless=b"1\r\na\r\n", pause=0.01),
    "the trailer": Answer(
        raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", endless=b"a: b\r\n", pause=0.01
    ),
}


@pytest.mark.parametrize("what", SLOW)
def test_a_server_that_is_too_slow(what: str) -> None:
    limits = Limits(rate=1000, window=0.4, longest=60)
    with answering(lambda asked: SLOW[what]) as web, pytest.raises(TransferError, match="slower than 1000 bytes"):
        find_offer(f"http://{web.address}/lab/x/manifest.json", Options(retries=ONCE, limits=limits))


def test_a_transfer_that_takes_too_long() -> None:
    """Fast enough, and endless; and one that always has to be tried again."""
    limits = Limits(rate=1, window=60, longest=1.5)
    options = Options(retries=Retries(attempts=10**9, first=0.01, longest=0.01), limits=limits)
    slow = Answer(raw=b"HTTP/1.1 200 OK\r\n\r\n", endless=b"a" * 50, pause=0.002)
    for answer in (slow, Answer(503)):
        with answering(always(answer)) as web, pytest.raises(TransferError, match="not through"):
            find_offer(f"http://{web.address}/lab/x/manifest.json", options)


def test_an_endless_answer_is_cut() -> None:
    endless = answering(lambda asked: Answer(endless=b"a" * 65536))
    with endless as web, pytest.raises(TransferError, match="an answer of more than"):
        find_offer(f"http://{web.address}/lab/x/manifest.json", Options(retries=ONCE))


def test_what_a_server_packed_is_not_unpacked(tmp_path: Path) -> None:
    """Not even a manifest that would be right."""
    manifest = (make_version(tmp_path / "here", files=3) / MANIFEST).read_bytes()

    def answer(asked: Asked, *, packs: bool) -> Answer:
        if not asked.path.endswith(MANIFEST):
            return Answer(404)
        packed = {"Content-Encoding": "gzip"} if packs else {}
        return Answer(headers=packed, body=gzip.compress(manifest) if packs else manifest)

    for packs in (False, True):
        with answering(functools.partial(answer, packs=packs)) as web:
            expected = pytest.raises(DisklessError) if packs else contextlib.nullcontext()
            with expected:
                find_offer(f"http://{web.address}/lab/x/{MANIFEST}", Options(retries=ONCE))


def test_an_endless_list_of_tags() -> None:
    def answer(asked: Asked) -> Answer:
        if "/tags/" not in asked.path:
            return Answer(404)
        number = int(asked.path.partition("?")[2] or 0) + 1
        return Answer(
            headers={"Link": f'<{asked.path.partition("?")[0]}?{number}>; rel="next"'}, body=b'{"tags": ["a"]}'
        )

    with answering(answer) as registry:
        with pytest.raises(TransferError, match="has no stable"):
            find_offer(f"oci://{registry.address}/lab:stable", Options(retries=ONCE))
        assert len(registry.asked) < 1000


@pytest.mark.parametrize("body", [b"[" * 500_000, b'{"a":' * 200_000, b"[[]," * 300_000], ids=["[", "{", "[[],"])
@pytest.mark.parametrize("where", ["manifests", "tags", "token"])
def test_nested_documents(where: str, body: bytes) -> None:
    def answer(asked: Asked) -> Answer:
        if f"/{where}" in asked.path:
            return Answer(body=body)
        if where == "token":
            challenge = f'Bearer realm="http://{registry.address}/token"'
            return Answer(401, {"WWW-Authenticate": challenge})
        return Answer(404)

    with answering(answer) as registry, pytest.raises(DisklessError):
        find_offer(f"oci://{registry.address}/lab:stable", Options(retries=ONCE))


@pytest.mark.parametrize(
    "text", ["Bearer " + "a" * 60000, "Bearer " + "a" * 30000 + " " * 30000, "Bearer " + 'a="' * 20000]
)
def test_a_challenge_is_read_in_no_time(text: str) -> None:
    """The expression of 0.1 took 40 seconds."""
    limited("from builder.transports.http.tokens import parse_challenge as p; p('Bearer ' + sys.stdin.read())", text)
    assert parse_challenge('Bearer realm="https://a/b",service=c')[1] == {"realm": "https://a/b", "service": "c"}


def test_a_link_is_read_in_no_time() -> None:
    limited("from builder.transports.oci.registry import _NEXT as n; n.search(sys.stdin.read())", "<" * 65000)


def limited(program: str, text: str) -> None:
    """Runs a program in ten seconds of processor time at most."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {program}"],
        input=text,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (10, 10)),
    )
    assert done.returncode == 0


def test_a_digest_that_is_a_path(tmp_path: Path) -> None:
    """What is kept is looked for by it: 0.1 opened what it led to."""
    pipe = tmp_path / "cache/transfers/pipe"
    (pipe.parent / "documents").mkdir(parents=True)
    os.mkfifo(pipe)

    def answer(asked: Asked) -> Answer:
        if asked.method == "HEAD":
            return Answer(headers={"Docker-Content-Digest": "sha256:../pipe"})
        return Answer(404)

    with answering(answer) as registry, pytest.raises(TransferError):
        find_offer(f"oci://{registry.address}/lab:stable", Options(retries=ONCE, cache=tmp_path / "cache"))


@pytest.mark.parametrize("number", ["9" * 5000, "-1", "1e5", "0x10", "²"])
def test_numbers_that_are_none(number: str, tmp_path: Path) -> None:
    version = make_version(tmp_path, files=30)

    def answer(asked: Asked) -> Answer:
        if asked.method == "HEAD":
            return Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n" % number.encode("latin-1", "replace"))
        if asked.method == "GET":
            return Answer(404)
        return Answer(201)

    with answering(answer) as web, pytest.raises(DisklessError):
        transport, _ = open_transport(f"http://{web.address}/x", Options(retries=ONCE))
        transport.push(HeldDirectory.at(version), read_manifest(version), ())


def put(version: Path, name: str, data: bytes) -> None:
    """Makes this the content of an artifact, and lets the manifest say so."""
    small = zstandard.ZstdCompressor(level=3).compress(data)
    (version / name).write_bytes(small)
    manifest = json.loads((version / MANIFEST).read_text("utf-8"))
    manifest["artifacts"][name] = {"size": len(small), "sha256": hashlib.sha256(small).hexdigest()}
    (version / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def _tar_of_zeros(size: int) -> bytes:
    info = tarfile.TarInfo("vmlinuz")
    info.size = size
    return info.tobuf() + bytes(size + 1024)


# made when they are needed: they are large
BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "an index of nothing": (INDEX, lambda: b'{"schema":1,"x":[' + b"[]," * (60 << 20) + b"[]]}"),
    "an index of zeros": (INDEX, lambda: b"[" + b"0," * (100 << 20) + b"0]"),
    "a bundle of zeros": (BUNDLE, lambda: _tar_of_zeros(400 << 20)),
}


@needs_root
@pytest.mark.root
@pytest.mark.parametrize("name", BOMBS)
def test_memory_is_not_taken_for_a_few_bytes(name: str, tmp_path: Path) -> None:
    """A deploy in a process with 700 MB of address space; the sender sent less than one."""
    version = make_version(tmp_path, files=30)
    artifact, content = BOMBS[name]
    put(version, artifact, content())
    place = new_place()
    done = subprocess.run(
        [DISKLESS, "deploy", version, "--to", place, "--server", SERVER],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20)),
    )
    assert done.returncode == 5, done.stderr
    assert "MemoryError" not in done.stderr


@needs_root
@pytest.mark.root
def test_rollback_waits_for_no_server(tmp_path: Path) -> None:
    """A deploy from a server that stops answering in the middle; meanwhile the store is rolled back."""
    place = new_place()
    first, second = (
        make_version(tmp_path, {"etc/name": b"1"}, files=30),
        make_version(tmp_path, {"etc/name": b"2"}, files=30),
    )
    deployed(place, first, second)
    third = make_version(tmp_path, {"etc/name": b"3"}, files=30, kernel=b"new")
    honest, asked_for_parts, go = registry_of(third), threading.Event(), threading.Event()

    def answer(asked: Asked) -> Answer:
        if "/blobs/" in asked.path and "Range" not in asked.headers and len(server.asked) > 5:
            asked_for_parts.set()
            go.wait(60)
        return honest(asked)

    with answering(answer) as server:
        offer = find_offer(f"oci://{server.address}/lab:stable", Options(retries=HASTY, cache=tmp_path / "cache"))
        failed: list[BaseException] = []

        def update() -> None:
            try:
                deploy(offer, place, DeployOptions(SERVER), quiet())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=update)
        thread.start()
        assert asked_for_parts.wait(60)
        began = time.monotonic()
        assert rollback(place, "lab", None, quiet()).active["lab"] == first.name
        waited = not go.is_set()
        go.set()
        thread.join()
        assert waited, time.monotonic() - began
        assert failed == []


@needs_root
@pytest.mark.root
def test_a_base_that_goes_meanwhile_is_fetched(tmp_path: Path) -> None:
    """What was looked at before the lock is looked at again under it."""
    place = new_place()
    first = make_version(tmp_path, {"etc/name": b"1"}, files=30)
    deployed(place, first)
    second = make_version(tmp_path, {"etc/name": b"2"}, files=30)
    with answering(registry_of(second)) as server:
        offer = find_offer(f"oci://{server.address}/lab:stable", Options(retries=HASTY, cache=tmp_path / "cache"))
        prepare = offer.source.prepare

        def prepare_and_lose(*arguments: object) -> None:
            prepare(*arguments)  # type: ignore[arg-type]
            for path in (place / "versions/lab" / first.name / "root/usr/lib").glob("*.so"):
                path.unlink()

        offer.source.prepare = prepare_and_lose  # type: ignore[method-assign, assignment]
        done = deploy(offer, place, DeployOptions(SERVER), quiet())
        assert done.unpacked is not None
        assert (place / "versions/lab" / second.name / "root/usr/lib/libbig.so").stat().st_size > 1 << 20


def test_what_is_refused_does_not_stay(tmp_path: Path) -> None:
    """Each part is what its digest says, and all together are not the bundle."""
    version = make_version(tmp_path / "here", files=30)
    data = bytearray((version / BUNDLE).read_bytes())
    data[len(data) // 2] ^= 1

    def change(document: dict[str, object]) -> None:
        for layer in document["layers"]:  # type: ignore[attr-defined]
            if layer["annotations"]["org.opencontainers.image.title"].startswith(BUNDLE):
                layer["digest"] = f"sha256:{hashlib.sha256(data).hexdigest()}"

    honest = registry_of(version, change)

    def answer(asked: Asked) -> Answer:
        if asked.path.endswith(hashlib.sha256(data).hexdigest()):
            return Answer(body=bytes(data))
        return honest(asked)

    with answering(answer) as registry:
        options = Options(retries=ONCE, cache=tmp_path / "cache")
        offer = find_offer(f"oci://{registry.address}/lab:stable", options)
        with pytest.raises((AuditError, InputError)):
            offer.source.fetch(BUNDLE, tmp_path / "bundle")
        left = [path for path in (tmp_path / "cache").rglob("*.part") if path.stat().st_size]
        assert left == []


@pytest.mark.parametrize("kind", ["registry", "web"])
def test_a_manifests_digest_that_is_a_path(kind: str, tmp_path: Path) -> None:
    """A manifest's digests become names in the cache: one led to any file, to make or to remove it."""
    version, victim = make_version(tmp_path / "here", files=30), tmp_path / "victim"
    for path in (victim, victim.with_suffix(".part")):
        path.write_bytes(b"mine")
    honest = json.loads((version / MANIFEST).read_text("utf-8"))
    for name in (INDEX, BUNDLE):
        document = {**honest, "artifacts": {**honest["artifacts"], name: {**honest["artifacts"][name]}}}
        document["artifacts"][name]["sha256"] = str(victim)
        data = json.dumps(document).encode()

        def answer(asked: Asked, data: bytes = data) -> Answer:
            path = version / asked.path.rpartition("/")[2]
            if path.name == MANIFEST:
                return Answer(body=data)
            return Answer(body=path.read_bytes()) if path.is_file() and path.name != CHECKSUMS else Answer(404)

        def change(document: dict[str, object], data: bytes = data) -> None:
            for layer in document["layers"]:  # type: ignore[attr-defined]
                if layer["annotations"]["org.opencontainers.image.title"] == MANIFEST:
                    layer.update(digest=f"sha256:{hashlib.sha256(data).hexdigest()}", size=len(data))

        packed = registry_of(version, change)

        def registry(asked: Asked, data: bytes = data, packed: Answering = packed) -> Answer:
            is_it = asked.path.endswith(hashlib.sha256(data).hexdigest())
            return Answer(body=data) if is_it else packed(asked)

        with answering(registry if kind == "registry" else answer) as server:
            web = f"http://{server.address}/lab/x/{MANIFEST}"
            form = f"oci://{server.address}/lab:stable" if kind == "registry" else web
            with pytest.raises((AuditError, TransferError), match="is not a SHA-256 digest"):
                offer = find_offer(form, Options(retries=ONCE, cache=tmp_path / "cache"))
                pull(offer, tmp_path / "there", quiet())
        assert sorted(path.name for path in tmp_path.glob("victim*")) == ["victim", "victim.part"]
        assert not (tmp_path / "there").exists()


@pytest.mark.parametrize(
    ("host", "other", "akin"),
    [
        ("registry-1.docker.io", "auth.docker.io", True),
        ("registry.gitlab.com", "gitlab.com", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("registry.example.org", "example.com", False),
        ("10.0.0.1", "10.9.0.1", False),
        ("registry", "evil", False),
        ("registry.example.org", "evil.org", False),
        ("[::1]", "::2", False),
    ],
)
def test_who_may_get_the_login_of_a_registry(host: str, other: str, akin: bool) -> None:
    assert is_akin(host, other) == akin


@pytest.mark.usefixtures("login")
@pytest.mark.parametrize("form", ["oci://{}/lab:stable", "http://{}/lab/x/manifest.json"])
def test_a_server_that_wants_the_login_to_go_elsewhere(form: str) -> None:
    with answering(lambda asked: Answer(body=b'{"token": "x"}')) as thief:
        realm = f'Bearer realm="http://localhost:{thief.address.rpartition(":")[2]}/token",service="x"'
        with answering(always(Answer(401, {"WWW-Authenticate": realm}))) as server, pytest.raises(TransferError):
            find_offer(form.format(server.address), Options(retries=ONCE))
        assert thief.asked == []


def test_two_fetches_of_one_version_share_their_work(tmp_path: Path) -> None:
    version = make_version(tmp_path / "here", files=30)
    size = sum((version / name).stat().st_size for name in (INDEX, BUNDLE, ROOTFS))
    honest = registry_of(version)

    def slowly(asked: Asked) -> Answer:
        time.sleep(0.02)
        return honest(asked)

    with answering(slowly) as server:
        options = Options(retries=HASTY, cache=tmp_path / "cache")
        offers = [find_offer(f"oci://{server.address}/lab:stable", options) for _ in range(3)]
        frames = read_index(version / INDEX).frames
        threads = [threading.Thread(target=offer.source.prepare, args=((INDEX, BUNDLE), frames)) for offer in offers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.sent < size + (1 << 20)
        archive = (version / ROOTFS).read_bytes()
        offers[0].source.close()  # the others use it still
        for offer in offers[1:]:
            with offer.source.sealed():
                assert b"".join(offer.source.frames(frames)) == archive
            offer.source.close()
        assert not list((tmp_path / "cache/transfers/versions").iterdir())


@needs_root
@pytest.mark.root
def test_a_version_that_is_refused_does_not_stay(tmp_path: Path) -> None:
    """Every part is what its digest says, and the index is not what the manifest says of it."""
    version = make_version(tmp_path / "here", files=30)
    manifest = json.loads((version / MANIFEST).read_text("utf-8"))
    manifest["size"] += 1
    (version / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    place = new_place()
    with answering(registry_of(version)) as server:
        offer = find_offer(f"oci://{server.address}/lab:stable", Options(retries=HASTY, cache=tmp_path / "cache"))
        with pytest.raises(AuditError, match="do not agree"):
            deploy(offer, place, DeployOptions(SERVER), quiet())
    assert not list((tmp_path / "cache/transfers/versions").iterdir())
