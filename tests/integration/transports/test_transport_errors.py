"""What can go wrong between us and a server, in words; and what must never be said: secrets."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import re
import shlex
import socket
import ssl
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from builder.errors import DisklessError, HostError, InputError, TransferError
from builder.transports.base import Options
from builder.transports.http.faults import connection_fault
from builder.transports.retries import Retries
from builder.transports.table import find_offer, open_transport
from builder.upload import upload
from tests.images import DISKLESS, run_diskless
from tests.places import HASTY, open_place, registry_place
from tests.require import needs_root, needs_tool
from tests.scratch import scratch
from tests.servers import (
    PASSWORD,
    USER,
    free_port,
    make_certificates,
    run_nginx,
    run_registry,
    run_token_server,
    serving,
)
from tests.versions import make_version

pytestmark = [needs_tool("docker-registry", "nginx", "openssl", "htpasswd")]
ONCE = Options(retries=Retries(attempts=1))


@contextlib.contextmanager
def answering(status: int, **headers: str) -> Iterator[str]:
    """A server that says the same to everything; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with serving(Handler) as port:
        yield f"127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "wants a login"),
        (403, "does not allow it"),
        (404, "does not have it"),
        (413, "too large"),
        (429, r"refused \(429"),
        (503, r"refused \(503"),
        (507, "no room left"),
    ],
)
@pytest.mark.parametrize("scheme", ["oci", "http"])
def test_refusals(scheme: str, status: int, words: str, tmp_path: Path) -> None:
    version = make_version(tmp_path)
    with answering(status) as address, pytest.raises(TransferError, match=words) as error:
        upload(version, f"{scheme}://{address}/lab", (), ONCE)
    assert error.value.hint
    with answering(status) as address, pytest.raises(TransferError):
        find_offer(f"{scheme}://{address}/lab", ONCE)


def test_a_server_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    with answering(429, Retry_After="4000") as address, pytest.raises(TransferError, match="429"):
        find_offer(f"oci://{address}/lab", Options())  # which would try for a minute


def test_too_large_for_nginx(tmp_path: Path) -> None:
    with run_nginx(tmp_path / "server", limit="1m") as server, pytest.raises(TransferError, match="too large"):
        upload(make_version(tmp_path), server.url, (), Options(retries=HASTY))


def test_nothing_answers(tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="nothing answers"):
        find_offer(f"oci://127.0.0.1:{free_port()}/lab", ONCE)


def test_wrong_certificates(tmp_path: Path) -> None:
    good, other = make_certificates(tmp_path / "good"), make_certificates(tmp_path / "other")
    named = make_certificates(tmp_path / "named", names="DNS:registry.example")
    for certificates, ca, words in (
        (good, other.ca, "nobody that this machine trusts"),
        (named, named.ca, "another (name|address)"),
    ):
        with (
            run_registry(tmp_path / words[:5], tls=certificates) as server,
            pytest.raises(TransferError, match=words),
        ):
            find_offer(f"oci://{server.address}/lab", Options(ca=ca, retries=HASTY))


@pytest.mark.parametrize("usage", ["critical,digitalSignature", "critical,cRLSign"])
def test_what_openssl_has_against_a_certificate_is_said(usage: str, tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path / "tls", usage=usage)
    verify: list[str | Path] = ["openssl", "verify", "-CAfile", certificates.ca, certificates.certificate]
    words = re.findall(r"lookup: (.+)", subprocess.run(verify, capture_output=True, text=True, check=False).stderr)
    with run_registry(tmp_path / "server", tls=certificates) as server, pytest.raises(TransferError) as error:
        find_offer(f"oci://{server.address}/lab", Options(ca=certificates.ca, retries=HASTY))
    assert any(f"its certificate is not accepted: {said}" in error.value.message for said in words)


def test_a_house_ca_that_does_not_say_what_its_key_is_for(tmp_path: Path) -> None:
    """Python accepts it up to 3.12; this asks as 3.13 does."""
    certificates = make_certificates(tmp_path / "tls", usage="")
    strict = ssl.create_default_context(cafile=str(certificates.ca))
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        run_registry(tmp_path / "server", tls=certificates) as server,
        socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2]))) as line,
        pytest.raises(ssl.SSLError) as refused,
    ):
        strict.wrap_socket(line, server_hostname="127.0.0.1")
    fault = connection_fault("GET", requests.exceptions.SSLError(refused.value))
    assert "does not include key usage" in fault.message
    assert "-x509_strict" in (fault.hint or "")


def test_no_tls_there(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path / "tls")
    with (
        run_registry(tmp_path / "server") as server,
        pytest.raises(TransferError, match="does not speak TLS") as error,
    ):
        find_offer(f"oci://{server.address}/lab", Options(ca=certificates.ca, retries=HASTY))
    assert "--plain-http" in (error.value.hint or "")


def test_plain_http_only_when_asked() -> None:
    with pytest.raises(InputError, match="not encrypted"):
        find_offer("http://server.example/lab/manifest.json", ONCE)
    with pytest.raises(TransferError):
        find_offer("http://server.invalid/lab/manifest.json", Options(plain_http=True, retries=Retries(attempts=1)))


def test_a_proxy_that_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"http://user:{PASSWORD}@127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(TransferError, match="nothing answers where the proxy should be") as error:
        find_offer("oci://registry.example/lab", ONCE)
    assert PASSWORD not in error.value.message


def test_a_proxy_that_wants_a_login(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(407) as proxy:
        monkeypatch.setenv("https_proxy", f"http://{proxy}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with pytest.raises(TransferError, match=r"proxy does not let us through \(407 "):
            find_offer("oci://registry.example/lab", ONCE)


@pytest.mark.parametrize(
    "reference",
    [
        f"oci://{USER}:hunter2@registry.example/lab",
        f"https://{USER}:hunter2@server.example/lab/manifest.json",
        "https://server.example/lab/manifest.json?token=hunter2",
    ],
)
def test_addresses_with_secrets_are_refused_and_not_repeated(reference: str, tmp_path: Path) -> None:
    for arguments in (("pull", reference), ("upload", make_version(tmp_path), "--to", reference)):
        result = run_diskless(*arguments, "--cache", tmp_path / "cache")
        assert result.returncode == 2
        assert "hunter2" not in result.stderr + result.stdout


@pytest.mark.parametrize("reference", ["oci://host", "oci://host/UPPER", "ftp://host/x", "file://host/x", "no/version"])
def test_what_is_no_reference(reference: str) -> None:
    with pytest.raises(InputError):
        find_offer(reference, ONCE)


@pytest.mark.parametrize("tag", ["a b", "", "-x", "x" * 129, "../x", "20260101-00000000"])
def test_what_is_no_tag(tag: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be a tag"):
        upload(make_version(tmp_path), str(tmp_path / "there"), (tag,), ONCE)


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """Not in messages, tracebacks, what is kept, nor in what is uploaded."""
    secret = "hunter2-in-the-environment"
    version = make_version(tmp_path / "here")
    environment = {"DISKLESS_USERNAME": USER, "DISKLESS_PASSWORD": secret, "TOKEN": secret}
    with (
        run_registry(tmp_path / "registry", auth="basic") as registry,
        run_nginx(tmp_path / "web", auth="basic") as web,
    ):
        for target in (f"oci://{registry.address}/lab", web.url):
            arguments = ("upload", version, "--to", target, "--header", "Private-Token: env:TOKEN")
            result = run_diskless("--debug", *arguments, "--cache", tmp_path / "cache", env=environment)
            assert result.returncode != 0
            basic = base64.b64encode(f"{USER}:{secret}".encode()).decode()
            for text in (result.stdout, result.stderr):
                assert secret not in text
                assert basic not in text
    for path in (tmp_path / "cache").rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes()


def test_headers_go_to_the_target_only(tmp_path: Path) -> None:
    """A redirect to another server, as to an object store, takes neither headers nor login along."""
    seen: dict[str, list[str]] = {"store": [], "front": []}
    version = make_version(tmp_path)

    class Store(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            seen["store"] += [str(self.headers.get("Private-Token")), str(self.headers.get("Authorization"))]
            self.path = self.path.removeprefix("/lab")
            super().do_GET()

        def translate_path(self, path: str) -> str:
            return str(version / path.rpartition("/")[2])

        def log_message(self, *arguments: object) -> None:
            pass

    with serving(Store) as port:

        class Front(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen["front"].append(str(self.headers.get("Private-Token")))
                self.send_response(307)
                self.send_header("Location", f"http://127.0.0.1:{port}{self.path}")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        with serving(Front) as front:
            options = Options(headers=(("Private-Token", "secret"),), retries=HASTY)
            offer = find_offer(f"http://127.0.0.1:{front}/lab/manifest.json", options)
            offer.source.fetch("boot.tar.zst", tmp_path / "boot")
    assert set(seen["store"]) == {"None"}
    assert set(seen["front"]) == {"secret"}
    assert (tmp_path / "boot").read_bytes() == (version / "boot.tar.zst").read_bytes()


@pytest.fixture
def no_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nobody is logged in anywhere; the directory of docker's configuration."""
    for name in ("DISKLESS_USERNAME", "DISKLESS_PASSWORD", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    directory = tmp_path / "docker"
    directory.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(directory))
    return directory


def write_helper(directory: Path, answer: object, log: Path) -> None:
    """A credential helper on PATH, that notes what it is asked."""
    program = directory / "docker-credential-test"
    program.write_text(f"#!/bin/sh\ncat > {log}\ncat <<'END'\n{json.dumps(answer)}\nEND\n", encoding="utf-8")
    program.chmod(0o755)


@pytest.mark.parametrize("kind", ["auths", "address", "repository", "helper", "store", "token", "identity"])
def test_logins_from_docker_s_file(kind: str, no_login: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    certificates = make_certificates(tmp_path / "tls")
    with run_token_server(certificates) as realm:
        auth = "token" if kind in ("token", "identity") else "basic"
        with run_registry(
            tmp_path / "server", auth=auth, tls=certificates if auth == "token" else None, realm=realm
        ) as server:
            host = server.address
            place = registry_place(server, Options(retries=HASTY))
            with pytest.raises(TransferError, match="401"):
                place.upload(make_version(tmp_path / "here"), "stable")
            log = tmp_path / "asked"
            user = "<token>" if kind == "identity" else USER
            write_helper(tmp_path, {"Username": user, "Secret": PASSWORD}, log)
            monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
            configs: dict[str, dict[str, object]] = {
                "auths": {"auths": {host: {"auth": basic}}},
                "token": {"auths": {host: {"auth": basic}}},
                "address": {"auths": {f"https://{host}/v1/": {"auth": basic}}},
                "repository": {"auths": {host: {"auth": "d3Jvbmc6d3Jvbmc="}, f"{host}/images": {"auth": basic}}},
                "helper": {"auths": {host: {}}, "credHelpers": {host: "test"}},
                "store": {"auths": {host: {}}, "credsStore": "test"},
                "identity": {"credHelpers": {host: "test"}},
            }
            (no_login / "config.json").write_text(json.dumps(configs[kind]), encoding="utf-8")
            place.upload(make_version(tmp_path / "here"), "stable")
            place.pull("stable", tmp_path / "there")
            if kind in ("helper", "store", "identity"):
                assert log.read_text(encoding="utf-8") == host


def test_a_wrong_login_is_called_wrong(no_login: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DISKLESS_USERNAME", USER)
    monkeypatch.setenv("DISKLESS_PASSWORD", "wrong")
    certificates = make_certificates(tmp_path / "tls")
    with (
        run_registry(tmp_path / "server", auth="basic") as server,
        pytest.raises(TransferError, match="accept this login"),
    ):
        find_offer(f"oci://{server.address}/lab", ONCE)
    with (
        run_token_server(certificates) as realm,
        run_registry(tmp_path / "tokens", auth="token", tls=certificates, realm=realm) as server,
        pytest.raises(TransferError, match="accept this login"),
    ):
        find_offer(f"oci://{server.address}/lab", ONCE)


def test_anybody_may_pull_with_a_token(no_login: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with open_place("registry-token", tmp_path / "place", monkeypatch) as place:
        place.upload(make_version(tmp_path / "here"), "stable")
        monkeypatch.delenv("DISKLESS_USERNAME")
        monkeypatch.delenv("DISKLESS_PASSWORD")
        place.pull("stable", tmp_path / "there")
        with pytest.raises(TransferError, match="401"):
            place.upload(make_version(tmp_path / "here", {"etc/hostname": b"x"}), "stable")


def test_what_an_upload_remembers_is_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with open_place("registry", tmp_path / "place", monkeypatch) as place:
        place.upload(make_version(tmp_path / "here"), "stable")
        place.open("stable")
        for path in (tmp_path / "place/cache/transfers").rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


@needs_root
@pytest.mark.root
def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with open_place("registry", tmp_path / "place", monkeypatch) as place:
        place.upload(make_version(tmp_path / "here"), "stable")
        small = scratch() / "small"
        small.mkdir(exist_ok=True)
        pull = f"{shlex.quote(DISKLESS)} pull {place.reference('stable')} "
        script = f"mount -t tmpfs -o size=2m none {small} && exec {pull}"
        for arguments in (f"--cache {small}/c --output {tmp_path}/out", f"--cache {tmp_path}/c --output {small}/out"):
            result = subprocess.run(
                ["unshare", "--mount", "sh", "-c", script + arguments], capture_output=True, text=True, check=False
            )
            assert result.returncode == HostError.exit_code, result.stderr
            assert "No space left" in result.stderr
            assert "Traceback" not in result.stderr


def test_a_channel_stays_with_its_image(tmp_path: Path) -> None:
    with run_registry(tmp_path / "server") as server:
        place = registry_place(server, Options(retries=HASTY))
        place.upload(make_version(tmp_path / "here"), "stable")
        with pytest.raises(InputError, match="is the image lab, not kiosk") as error:
            place.upload(make_version(tmp_path / "here", image="kiosk"), "stable")
        assert "repository of its own" in (error.value.hint or "")


def test_long_waits_are_told(tmp_path: Path) -> None:
    told: list[str] = []
    options = Options(retries=Retries(attempts=2, first=0.0, tell=told.append))
    with answering(503, Retry_After="2") as address, pytest.raises(TransferError):
        find_offer(f"oci://{address}/lab", options)
    assert told
    assert "503" in told[0]
    assert "again in 2 s" in told[0]


def test_another_image_in_the_repository_s_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not a version of ours is not taken for one."""
    with run_registry(tmp_path / "server") as server:
        place = registry_place(server, Options(retries=HASTY))
        place.upload(make_version(tmp_path / "here"), "stable")
        transport, _ = open_transport(place.target, place.options)
        other = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
        url = f"{server.url}/v2/images/lab/manifests/other"
        done = requests.put(url, other, headers={"Content-Type": "application/vnd.oci.image.index.v1+json"}, timeout=10)
        assert done.status_code == 201, done.text
        with pytest.raises(DisklessError):
            transport.find("lab", "other")
