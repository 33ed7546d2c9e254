"""Private keys are known in every format that a tool writes; what is public, or only speaks of keys, is none."""

from __future__ import annotations

import functools
import os
import struct
import subprocess
from pathlib import Path

import pytest

from builder.identity.private_keys import private_key_in
from tests.require import needs_tool
from tests.scratch import scratch

pytestmark = needs_tool("openssl", "ssh-keygen", "gpg")
GENERATE = {
    "rsa": "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048",
    "ec": "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
    "ed25519": "genpkey -algorithm ED25519",
    "x25519": "genpkey -algorithm X25519",
}


def openssl(words: str, data: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *words.split()], input=data, check=True, capture_output=True).stdout


@functools.cache
def key(kind: str) -> bytes:
    return openssl(GENERATE[kind])


@functools.cache
def certificate() -> bytes:
    path = scratch() / "key.pem"
    path.write_bytes(key("rsa"))
    return openssl(f"req -x509 -new -key {path} -subj /CN=test -days 30")


def store(words: str) -> bytes:
    path = scratch() / "store.p12"
    (scratch() / "certificate.pem").write_bytes(certificate())
    openssl(f"pkcs12 -export -out {path} -passout pass:changeit -in {scratch()}/certificate.pem {words}")
    return path.read_bytes()


@pytest.mark.parametrize("kind", GENERATE)
@pytest.mark.parametrize(
    ("words", "format_name"),
    [
        ("pkey", "PEM"),
        ("pkcs8 -topk8 -nocrypt -outform DER", "PKCS#8"),
        ("pkcs8 -topk8 -passout pass:secret", "PEM"),
        ("pkcs8 -topk8 -outform DER -passout pass:secret", "PKCS#8, encrypted"),
        ("pkcs8 -topk8 -outform DER -v1 PBE-SHA1-3DES -passout pass:secret", "PKCS#8, encrypted"),
    ],
)
def test_openssls(words: str, format_name: str, kind: str) -> None:
    assert private_key_in(openssl(words, key(kind))) == format_name


@pytest.mark.parametrize(
    ("words", "kind", "format_name"),
    [
        ("rsa -traditional", "rsa", "PEM"),
        ("rsa -traditional -aes256 -passout pass:secret", "rsa", "PEM"),
        ("rsa -traditional -outform DER", "rsa", "PKCS#1"),
        ("ec -outform DER", "ec", "SEC 1"),
        ("ec", "ec", "PEM"),
    ],
)
def test_traditional_forms(words: str, kind: str, format_name: str) -> None:
    assert private_key_in(openssl(words, key(kind))) == format_name


def test_a_store_of_a_key_and_one_of_certificates() -> None:
    (scratch() / "key.pem").write_bytes(key("rsa"))
    assert private_key_in(store(f"-inkey {scratch()}/key.pem")) == "PKCS#12"
    assert private_key_in(store("-nokeys")) is None


@pytest.mark.parametrize("kind", GENERATE)
def test_public_keys_and_certificates_are_none(kind: str) -> None:
    for words in ("pkey -pubout", "pkey -pubout -outform DER"):
        assert private_key_in(openssl(words, key(kind)), marks=True) is None
    assert private_key_in(certificate(), marks=True) is None
    assert private_key_in(openssl("x509 -outform DER", certificate()), marks=True) is None
    assert private_key_in(openssl("dhparam -dsaparam 1024"), marks=True) is None


@pytest.mark.parametrize("options", [[], ["-m", "PEM"], ["-m", "PKCS8"]])
@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
@pytest.mark.parametrize("phrase", ["", "a phrase"])
def test_ssh_keygens(options: list[str], kind: str, phrase: str, tmp_path: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", kind, "-N", phrase, "-f", str(tmp_path / "key"), *options]
    subprocess.run(command, check=True)
    assert private_key_in((tmp_path / "key").read_bytes()) == "PEM"
    assert private_key_in((tmp_path / "key.pub").read_bytes(), marks=True) is None


def test_gnupgs(tmp_path: Path) -> None:
    def gpg(*words: str) -> bytes:
        command = ["gpg", "--homedir", str(tmp_path), "--batch", "--quiet", "--passphrase", "", *words]
        return subprocess.run(command, check=True, capture_output=True).stdout

    tmp_path.chmod(0o700)
    gpg("--quick-generate-key", "test@example.org", "rsa2048", "sign", "never")
    subprocess.run(["gpgconf", "--homedir", tmp_path, "--kill", "gpg-agent"], check=True)
    (stored,) = (tmp_path / "private-keys-v1.d").iterdir()
    assert private_key_in(stored.read_bytes()) == "GnuPG"
    assert private_key_in(gpg("--export-secret-keys")) == "OpenPGP"
    assert private_key_in(gpg("--armor", "--export-secret-keys")) == "PEM"
    for words in (["--export"], ["--armor", "--export"]):
        assert private_key_in(gpg(*words), marks=True) is None
    assert private_key_in((tmp_path / "pubring.kbx").read_bytes(), marks=True) is None
    subprocess.run(["gpgconf", "--homedir", tmp_path, "--kill", "all"], check=True)


TEXTS = {
    "PuTTY": "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: x\n",
    "DNSSEC": "Private-key-format: v1.3\nAlgorithm: 13\n",
    "a shared key of BIND": 'key "rndc-key" {\n\talgorithm hmac-sha256;\n\tsecret "mC5hYWFhYWFhYWFhYWFhYQ==";\n};\n',
    "WireGuard": f"[Interface]\nPrivateKey = {'A' * 43}=\n",
    "age": f"# created\nAGE-SECRET-KEY-1{'Q' * 58}\n",
    "signify": f"untrusted comment: signify secret key\n{'R' * 120}\n",
    "JWK": '{"crv":"P-256","d":"abcdefghijklmnopqrstuvwxyz","kty":"EC","x":"y"}',
    "Tor": "== ed25519v1-secret: type0 ==\0\0\0",
    "Dropbear": "\0\0\0\x07ssh-rsa\0\0\0\x03\x01\0\x01",
    "GnuPG": "(21:protected-private-key(3:rsa(1:n",
    "PEM": "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: x\nP2/56wAAAi4AAAA3aWYtbW9kbntzaWdu\n",
}


@pytest.mark.parametrize("format_name", TEXTS)
def test_others(format_name: str) -> None:
    assert private_key_in(TEXTS[format_name].encode("latin-1")) == format_name


def keytab() -> bytes:
    entry = struct.pack(">HH", 1, 4) + b"TEST" + bytes(40)
    return b"\x05\x02" + struct.pack(">i", len(entry)) + entry


def java_store(*tags: int) -> bytes:
    """A JKS with entries of these kinds: 1 is a key, 2 a certificate."""
    entries = b"".join(
        struct.pack(">IH", tag, 1) + b"a" + bytes(8) + struct.pack(">H", 5) + b"X.509" + struct.pack(">I", 9) + bytes(9)
        for tag in tags
    )
    return b"\xfe\xed\xfe\xed" + struct.pack(">II", 2, len(tags)) + entries + bytes(20)


def test_stores_of_kerberos_and_java() -> None:
    assert private_key_in(keytab()) == "a Kerberos keytab"
    assert private_key_in(java_store(2, 2, 1)) == "a Java key store"
    assert private_key_in(java_store(2, 2)) is None
    assert private_key_in(java_store(2, 2)[:40]) == "a Java key store"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"0\x82",
        b"0\x80",
        b"if line == '-----BEGIN RSA PRIVATE KEY-----': read()",
        b"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n",
        b"passphrase and a private key (see PrivateKey= in systemd.netdev(5))\n",
        b"\x94" + bytes(40),
        b"\x05\x02",
        bytes(1000),
    ],
)
def test_what_is_none(content: bytes) -> None:
    assert private_key_in(content) is None


def test_no_bytes_are_a_traceback() -> None:
    heads = [
        b"0",
        b"0\x80\x02\x01\x03",
        b"\xfe\xed\xfe\xed",
        b"\x05\x02",
        b"\x94",
        b"\xc5",
        b"\0\0\0",
        b"0\x82\x01\x00",
    ]
    for number in range(3000):
        content = heads[number % len(heads)] + os.urandom(number % 60)
        assert private_key_in(content, marks=True) is None or isinstance(private_key_in(content), str)
