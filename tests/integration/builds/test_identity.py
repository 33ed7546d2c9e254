"""No two clients are one machine: what packages made for one is made anew at boot, or fails the build by name."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import pytest

from builder.errors import AuditError
from builder.identity.known import KNOWN
from builder.stages import audit, identity
from builder.stages.audit import leftovers
from builder.stages.context import Context
from builder.stages.parts.audit_identity import identity_faults
from builder.stages.parts.owned import owned_paths
from tests.images import build_image, run_diskless
from tests.require import needs_network, needs_root, needs_tool
from tests.scratch import scratch
from tests.stages import log, staged

pytestmark = [needs_root, pytest.mark.root]
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj\n-----END PRIVATE KEY-----\n"


def put(context: Context, path: str, content: str | bytes = PEM, mode: int = 0o644) -> Path:
    file = context.workspace.tree / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    file.chmod(mode)
    return file


def own(context: Context, *paths: str) -> None:
    """Lets a package of dpkg's database have brought these."""
    put(context, "/var/lib/dpkg/info/some:amd64.list", "".join(f"{path}\n" for path in ("/.", *paths)))


def faults(context: Context) -> list[str]:
    meant = identity.meant_paths(context.recipe)
    return list(identity_faults(context.tree, owned_paths(context.tree), meant))


@pytest.mark.inside
def test_what_packages_ship_as_documentation_or_test_data_is_none(tmp_path: Path) -> None:
    with staged(tmp_path) as context:
        shipped = ("/usr/share/doc/some/example.pem", "/usr/lib/python3/dist-packages/some/tests/key.pem")
        for path in (*shipped, "/usr/lib/python3/dist-packages/some/__pycache__/keys.cpython-311.pyc"):
            put(context, path)
        own(context, *shipped)
        assert faults(context) == []
        put(context, "/usr/share/doc/some/other.pem")
        assert faults(context) == ["/usr/share/doc/some/other.pem: a private key (PEM)"]


@pytest.mark.inside
def test_a_key_where_configuration_lies_is_one_whoever_brought_it(tmp_path: Path) -> None:
    with staged(tmp_path) as context:
        put(context, "/etc/some/server.key")
        put(context, "/etc/some/README", "it begins with -----BEGIN RSA PRIVATE KEY-----\n")
        own(context, "/etc/some/server.key", "/etc/some/README")
        assert faults(context) == ["/etc/some/server.key: a private key (PEM)"]


@pytest.mark.inside
def test_the_merged_usr_changes_no_owner(tmp_path: Path) -> None:
    with staged(tmp_path) as context:
        (context.workspace.tree / "sbin").symlink_to("usr/sbin")
        put(context, "/usr/sbin/tool")
        own(context, "/sbin/tool")
        assert faults(context) == []


@pytest.mark.inside
def test_a_recipe_may_allow_one_by_path(tmp_path: Path) -> None:
    with staged(tmp_path, system={"shared_identities": ["/etc/munge/munge.key", "/etc/none"]}) as context:
        put(context, "/etc/munge/munge.key", bytes(range(256)) * 4, 0o400)
        put(context, "/usr/sbin/munged", "")
        put(context, "/srv/secret.key", "x", 0o600)
        identity.run(context)
        assert faults(context) == ["/srv/secret.key: a secret, by its name"]
        assert context.progress.warnings == ("system.shared_identities: no package made /etc/none",)


@pytest.mark.inside
def test_a_known_one_is_removed_and_made_by_a_unit(tmp_path: Path) -> None:
    with staged(tmp_path) as context:
        put(context, "/usr/sbin/make-ssl-cert", "")
        put(context, "/etc/ssl/private/ssl-cert-snakeoil.key", PEM, 0o640)
        put(context, "/etc/ssl/certs/ssl-cert-snakeoil.pem", "-----BEGIN CERTIFICATE-----\n")
        (context.workspace.tree / "etc/ssl/certs/0a1b2c3d").symlink_to("ssl-cert-snakeoil.pem")
        (context.workspace.tree / "etc/ssl/certs/other").symlink_to("another.pem")
        identity.run(context)
        assert context.tree.names("/etc/ssl/private") == []
        assert context.tree.names("/etc/ssl/certs") == ["other"]
        script = (context.tree.read("/usr/local/lib/diskless/make-ssl-cert") or b"").decode()
        assert "make-ssl-cert generate-default-snakeoil" in script
        assert "chmod 0640 /etc/ssl/private/ssl-cert-snakeoil.key" in script
        unit = (context.tree.read("/etc/systemd/system/diskless-make-ssl-cert.service") or b"").decode()
        assert "ConditionPathExists=|!/etc/ssl/private/ssl-cert-snakeoil.key" in unit
        wants = "/etc/systemd/system/sysinit.target.wants/diskless-make-ssl-cert.service"
        assert context.tree.link(wants) == "/etc/systemd/system/diskless-make-ssl-cert.service"
        assert any("each root makes its own" in line for line in log(context))
        assert faults(context) == []


@pytest.mark.inside
def test_one_that_nobody_makes_anew_fails_by_name(tmp_path: Path) -> None:
    """The program is missing; the init can run nothing that early."""
    with staged(tmp_path) as context:
        put(context, "/etc/dropbear/dropbear_ed25519_host_key", b"\0\0\0\x0bssh-ed25519\0\0\0@" + bytes(64), 0o600)
        identity.run(context)
        with pytest.raises(AuditError) as caught:
            audit.run(context)
        assert "/etc/dropbear/dropbear_ed25519_host_key: a private key (Dropbear)" in caught.value.details
        assert "system.shared_identities" in str(caught.value.hint)


@pytest.mark.inside
def test_every_known_identity_is_found_where_it_is_not_made_anew(tmp_path: Path) -> None:
    """What the table knows is also found without it: a path that it gets wrong is no hole."""
    contents: dict[str, bytes] = {
        "dropbear": b"\0\0\0\x07ssh-rsa\0\0\0\x03\x01\0\x01",
        "ssl-cert": PEM.encode(),
        "munge": b"\x80\x01\xfe\x93" * 3 + bytes(range(100, 200)),
        "rndc": b'key "rndc-key" {\n\talgorithm hmac-sha256;\n\tsecret "mC5hYWFhYWFhYWFhYWFhYQ==";\n};\n',
        "nvme": b"2f9d3c1e-7b1a-4c55-9a44-0d9b1f7e6a21\n",
        "iscsi": b"InitiatorName=iqn.1993-08.org.debian:01:d3a1b2c3d4e5\n",
        "unbound": PEM.encode(),
        "xrdp": b"[keys]\npub_exp=0x01\npub_mod=0x01\npri_exp=0x67,0x3f,0x88\n",
    }
    with staged(tmp_path) as context:
        for known in KNOWN:
            put(context, f"/var/lib/elsewhere/{known.name}", contents[known.name], 0o600)
        found = {line.partition(":")[0].rpartition("/")[2] for line in faults(context)}
        assert found == {known.name for known in KNOWN}


@pytest.mark.inside
def test_what_every_image_has_is_none(tmp_path: Path) -> None:
    with staged(tmp_path) as context:
        put(context, "/etc/shadow", "root:$y$j9T$abc$0123456789abcdef0123456789abcdef:1:::::\n", 0o640)
        put(context, "/etc/hostname", "diskless\n")
        put(context, "/var/lib/dpkg/info/a.md5sums", "0123456789abcdef0123456789abcdef  usr/bin/a\n")
        put(context, "/etc/fstab", "none / none\n")
        assert faults(context) == []
        assert [line for line in leftovers(context.tree, context.recipe, {}) if "private key" in line] == []


PACKAGES = ["dropbear-bin", "dropbear", "ssl-cert", "munge", "bind9", "nvme-cli", "open-iscsi", "unbound", "xrdp"]


@functools.cache
def image_of_daemons() -> Path:
    base = ["systemd-sysv", "linux-image-amd64", "initramfs-tools", "udev", "dhcpcd", "nfs-common", "iproute2"]
    return build_image("daemons", packages=[*base, *PACKAGES], system={"hostname": "diskless", "services": []})


def _sums(text: str) -> dict[str, str]:
    """What sha256sum said, by path."""
    words = [line.split() for line in text.splitlines()]
    return {pair[1]: pair[0] for pair in words if len(pair) == 2 and len(pair[0]) == 64}


@pytest.mark.full
@pytest.mark.network
@needs_network
@needs_tool("mmdebstrap")
def test_the_packages_that_had_one_are_built_and_make_their_own() -> None:
    """The scripts of the units, run in copies of the image as each root would: what they make differs every time."""
    version = image_of_daemons()
    commands = "for script in /usr/local/lib/diskless/make-*; do $script || echo failed $script; done"
    commands = f"export DEBIAN_FRONTEND=noninteractive; {commands}"
    files = " ".join(pattern for known in KNOWN for pattern in known.paths)
    made = []
    for _ in range(2):
        script = f"{commands}; sha256sum {files} 2>/dev/null; stat -c '%a %U %G %n' {files} 2>/dev/null"
        done = run_diskless("shell", version, "--output", scratch() / "shell", "--", "sh", "-c", script)
        made.append(done.stdout + done.stderr)
    assert "failed" not in made[0], made[0]
    sums = [_sums(text) for text in made]
    assert sums[0].keys() == sums[1].keys()
    assert len(sums[0]) == 11, made[0]
    assert [path for path, digest in sums[0].items() if digest == sums[1][path]] == []


def test_the_scripts_are_ones_that_a_shell_reads() -> None:
    for known in KNOWN:
        subprocess.run(["sh", "-n", "-c", known.commands], check=True)
