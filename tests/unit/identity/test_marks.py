"""What looks like a secret or an id of one machine, and what every image has and does not."""

from __future__ import annotations

import gzip
import random

import pytest

from builder.identity.marks import id_in, secret_in

UUID = b"2f9d3c1e-7b1a-4c55-9a44-0d9b1f7e6a21"
RANDOM = random.Random(7).randbytes


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/etc/nvme/hostnqn", b"nqn.2014-08.org.nvmexpress:uuid:" + UUID + b"\n"),
        ("/etc/nvme/hostid", UUID + b"\n"),
        ("/etc/iscsi/initiatorname.iscsi", b"# a comment\nInitiatorName=iqn.1993-08.org.debian:01:d3a1b2c3d4e5\n"),
        ("/var/lib/dbus/machine-id", b"0123456789abcdef0123456789abcdef\n"),
        ("/etc/popularity-contest.conf", b'# Config\nMY_HOSTID="0123456789abcdef0123456789abcdef"\n'),
        ("/etc/openvswitch/system-id.conf", UUID),
        ("/var/lib/some/file", UUID),
        ("/etc/some.conf", b"server_uuid: " + UUID),
        ("/var/lib/mysql/auto.cnf", b"[auto]\nserver-uuid=" + UUID + b"\n"),
    ],
)
def test_ids(path: str, content: bytes) -> None:
    assert id_in(path, content) is not None


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/etc/hostname", b"diskless\n"),
        ("/etc/hosts", b"127.0.0.1 localhost\n"),
        ("/etc/machine-id", b""),
        ("/etc/fstab", b"UUID=" + UUID + b" /srv ext4 defaults 0 2\n"),
        ("/etc/passwd", b"systemd-network:x:998:998:systemd Network Management:/:/usr/sbin/nologin\n"),
        ("/var/lib/ucf/hashfile", b"0123456789abcdef0123456789abcdef  /etc/default/grub\n"),
        ("/etc/ssh/sshd_config", b"#HostKey /etc/ssh/ssh_host_rsa_key\nClientAliveInterval 0\n"),
        ("/etc/nvme/hostid", b"\n"),
    ],
)
def test_no_ids(path: str, content: bytes) -> None:
    assert id_in(path, content) is None


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/etc/munge/munge.key", RANDOM(1024)),
        ("/var/lib/a/b", RANDOM(32)),
        ("/var/lib/rabbitmq/.erlang.cookie", b"QWERTYUIOPASDFGHJKLZ"),
        ("/etc/corosync/authkey", b"short"),
        ("/etc/mysql/debian.cnf", b"[client]\nuser = debian\npassword = 8dhR5xWqLmzT2v\n"),
        ("/etc/wpa.conf", b'network={\n  ssid="lab"\n  psk="correct horse battery"\n}\n'),
        ("/etc/wireguard/private", b"yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n"),
        ("/var/lib/x/config.json", b'{"api_key": "abcdef0123456789"}'),
    ],
)
def test_secrets(path: str, content: bytes) -> None:
    assert secret_in(path, content) is not None


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/etc/sudoers.d/admin", b"%sudo ALL=(ALL:ALL) ALL\n"),
        ("/var/spool/cron/crontabs/root", b"0 4 * * * /usr/bin/true\n"),
        ("/etc/mysql/debian.cnf", b"[client]\nhost = localhost\nuser = root\n"),
        ("/etc/ppp/chap-secret", b""),
        ("/var/cache/a.gz", gzip.compress(RANDOM(500))),
        ("/var/cache/ldconfig/aux-cache", b"glibc-ld.so.cache1.1" + bytes(500)),
        (
            "/etc/exim4/passwd.client",
            b"# password file used when exim is authenticating\n### target:login:x\n",
        ),
        ("/var/lib/polkit-1/localauthority", b"[rule]\nIdentity=unix-group:sudo\nAction=*\n"),
    ],
)
def test_no_secrets(path: str, content: bytes) -> None:
    assert secret_in(path, content) is None
