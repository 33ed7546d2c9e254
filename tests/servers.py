"""Real servers on loopback for the tests of transports: docker-registry, nginx with WebDAV, a server of tokens."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

USER, PASSWORD = "builder", "correct horse battery"


@dataclass(frozen=True)
class Certificates:
    """A CA of the tests and a certificate of it for loopback."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Server:
    """What listens: `address` is HOST:PORT, `data` where its files are."""

    scheme: str
    address: str
    data: Path

    @property
    def url(self) -> str:
        """Of its root."""
        return f"{self.scheme}://{self.address}"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def make_certificates(
    directory: Path, names: str = "IP:127.0.0.1,DNS:localhost", days: int = 2, usage: str = "critical,keyCertSign"
) -> Certificates:
    """Made by openssl, good for `names`; `usage` is what the CA's key is for, "" for what older house CAs say of it."""
    directory.mkdir(parents=True, exist_ok=True)
    ca, ca_key = directory / "ca.pem", directory / "ca.key"
    key, request, certificate = directory / "key.pem", directory / "request", directory / "certificate.pem"
    extensions = directory / "extensions"
    extensions.write_text(f"subjectAltName={names}\nbasicConstraints=CA:FALSE\n", encoding="ascii")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    key_usage = ("-addext", f"keyUsage={usage}") if usage else ()
    _openssl("req", "-x509", *curve, "-keyout", ca_key, "-out", ca, "-subj", "/CN=test ca", "-days", "2", *key_usage)
    _openssl("req", *curve, "-keyout", key, "-out", request, "-subj", "/CN=test")
    serial = ("-CAcreateserial", "-days", str(days), "-extfile", extensions)
    _openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, *serial, "-out", certificate)
    return Certificates(ca, certificate, key)


def _openssl(*arguments: str | Path) -> bytes:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout


@contextlib.contextmanager
def run_registry(
    directory: Path,
    *,
    auth: str = "",
    tls: Certificates | None = None,
    realm: str = "",
    secret: str = "tests",
    cached: bool = False,
    deletes: bool = True,
) -> Iterator[Server]:
    """docker-registry; auth is "", "basic" (USER, PASSWORD) or "token" (of the server at `realm`, signed by `tls`).

    cached: whether it remembers which blobs there are; deletes: whether it removes manifests
    """
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": deletes}},
    }
    if cached:
        config["storage"]["cache"] = {"blobdescriptor": "inmemory"}  # type: ignore[index]
    http_config: dict[str, object] = {"addr": f"127.0.0.1:{port}", "secret": secret}
    if tls is not None and auth != "token":
        http_config["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
    config["http"] = http_config
    if auth == "basic":
        users = directory / "htpasswd"
        subprocess.run(["htpasswd", "-Bbc", users, USER, PASSWORD], check=True, capture_output=True)
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(users)}}
    elif auth == "token":
        assert tls is not None
        bundle = {"realm": realm, "service": "tests", "issuer": "tests", "rootcertbundle": str(tls.ca)}
        config["auth"] = {"token": bundle}
    path = directory / "config.yml"
    path.write_text(json.dumps(config), encoding="ascii")  # which is YAML too
    with _running(["docker-registry", "serve", str(path)], directory / "log", port):
        scheme = "https" if "tls" in http_config else "http"
        yield Server(scheme, f"127.0.0.1:{port}", directory / "data")


@contextlib.contextmanager
def run_nginx(
    directory: Path,
    *,
    auth: str = "",
    tls: Certificates | None = None,
    limit: str = "0",
    makes_directories: bool = True,
    deletes: bool = True,
) -> Iterator[Server]:
    """nginx with WebDAV; auth is "" or "basic"; without `makes_directories` it wants MKCOL first."""
    www = directory / "www"
    www.mkdir(parents=True, exist_ok=True)
    port = free_port()
    users = directory / "htpasswd"
    if auth == "basic":
        hashed = _openssl("passwd", "-apr1", PASSWORD).decode().strip()
        users.write_text(f"{USER}:{hashed}\n", encoding="ascii")
    lines = [
        f"listen 127.0.0.1:{port}{' ssl' if tls else ''}; root {www}; client_max_body_size {limit};",
        f"ssl_certificate {tls.certificate}; ssl_certificate_key {tls.key};" if tls else "",
        f"auth_basic tests; auth_basic_user_file {users};" if auth == "basic" else "",
        f"dav_methods PUT {'DELETE ' if deletes else ''}MKCOL;",
        f"create_full_put_path {'on' if makes_directories else 'off'};",
    ]
    temporary = " ".join(
        f"{name}_temp_path {directory}/tmp;" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = directory / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {directory}/pid; error_log {directory}/log;\nevents {{}}\n"
        f"http {{ access_log off; {temporary} default_type application/octet-stream; server {{\n"
        + "\n".join(lines)
        + "\n} }\n",
        encoding="ascii",
    )
    with _running(["nginx", "-c", str(config), "-p", str(directory)], directory / "output", port):
        yield Server("https" if tls else "http", f"127.0.0.1:{port}", www)


@contextlib.contextmanager
def _running(argv: list[str], log: Path, port: int) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_for(port, process, log)
        yield
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise AssertionError(f"{process.args!r} does not listen: {log.read_text(errors='replace')[-2000:]}")


@contextlib.contextmanager
def run_token_server(certificates: Certificates, user: str = USER, password: str = PASSWORD) -> Iterator[str]:
    """Gives tokens to who knows the password, and for pulling to anybody; its realm."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            self._answer(query, self.headers.get("Authorization", ""))

        def do_POST(self) -> None:
            """An identity token is the password here."""
            form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            login = f"{user}:{form['refresh_token'][0]}"
            self._answer(form, "Basic " + base64.b64encode(login.encode()).decode())

        def _answer(self, query: dict[str, list[str]], authorization: str) -> None:
            expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
            if authorization not in ("", expected):
                self.send_error(401)
                return
            kind, _, rest = query["scope"][0].partition(":")
            name, _, actions = rest.rpartition(":")
            granted = [action for action in actions.split(",") if authorization or action == "pull"]
            token = sign_token(certificates, [{"type": kind, "name": name, "actions": granted}])
            body = json.dumps({"token": token, "expires_in": 60}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with serving(Handler) as port:
        yield f"http://127.0.0.1:{port}/token"


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is not a fault of a handler."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextlib.contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[int]:
    """A web server of ours in a thread; its port."""
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sign_token(certificates: Certificates, access: list[dict[str, object]]) -> str:
    """A JSON web token as docker-registry wants it: ES256, with the certificate of its key."""
    der = _openssl("x509", "-in", certificates.certificate, "-outform", "DER")
    head = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
    now = int(time.time())
    claims = {"iss": "tests", "aud": "tests", "sub": USER, "exp": now + 300, "nbf": now - 10, "iat": now, "jti": "1"}
    payload = f"{_base64(json.dumps(head).encode())}.{_base64(json.dumps({**claims, 'access': access}).encode())}"
    signed = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", certificates.key],
        input=payload.encode(),
        check=True,
        capture_output=True,
    ).stdout
    return f"{payload}.{_base64(_raw_signature(signed))}"


def _raw_signature(der: bytes) -> bytes:
    """The two numbers of an ECDSA signature, 32 bytes each, out of SEQUENCE { INTEGER, INTEGER }."""
    first = der[4 : 4 + der[3]]
    second = der[6 + der[3] :]
    return b"".join(number.lstrip(b"\0").rjust(32, b"\0") for number in (first, second))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
