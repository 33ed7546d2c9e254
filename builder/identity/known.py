"""Identities of usual packages that each root can make for itself, as their packages' own scripts do.

Sources: the postinst scripts of Debian's dropbear, ssl-cert, munge, bind9, nvme-cli, open-iscsi, unbound and xrdp.
"""

from __future__ import annotations

from builder.model.identity import KnownIdentity

_DROPBEAR = """\
for kind in rsa ecdsa ed25519; do
    file=/etc/dropbear/dropbear_${kind}_host_key
    [ -s "$file" ] || dropbearkey -t "$kind" -f "$file" >/dev/null
done"""
_NVME = """\
id=$(cat /proc/sys/kernel/random/uuid)
echo "nqn.2014-08.org.nvmexpress:uuid:$id" >/etc/nvme/hostnqn
echo "$id" >/etc/nvme/hostid"""
KNOWN = (
    KnownIdentity(
        "dropbear",
        "Dropbear's host keys",
        ("/etc/dropbear/dropbear_*_host_key",),
        "/usr/bin/dropbearkey",
        _DROPBEAR,
    ),
    KnownIdentity(
        "ssl-cert",
        "the self-signed certificate of ssl-cert",
        ("/etc/ssl/private/ssl-cert-snakeoil.key", "/etc/ssl/certs/ssl-cert-snakeoil.pem"),
        "/usr/sbin/make-ssl-cert",
        "make-ssl-cert generate-default-snakeoil --force-overwrite",
    ),
    KnownIdentity(
        "munge",
        "the key of MUNGE",
        ("/etc/munge/munge.key",),
        "/usr/sbin/munged",
        "head -c 1024 /dev/urandom >/etc/munge/munge.key",
    ),
    KnownIdentity(
        "rndc",
        "the key of rndc",
        ("/etc/bind/rndc.key", "/etc/rndc.key"),
        "/usr/sbin/rndc-confgen",
        'for file in $FILES; do rndc-confgen -a -c "$file" 2>/dev/null; done',
    ),
    KnownIdentity(
        "nvme",
        "the NVMe host's names",
        ("/etc/nvme/hostnqn", "/etc/nvme/hostid"),
        "/usr/sbin/nvme",
        _NVME,
    ),
    KnownIdentity(
        "iscsi",
        "the iSCSI initiator's name",
        ("/etc/iscsi/initiatorname.iscsi",),
        "/usr/sbin/iscsi-iname",
        'echo "InitiatorName=$(iscsi-iname)" >/etc/iscsi/initiatorname.iscsi',
    ),
    KnownIdentity(
        "unbound",
        "the keys of unbound-control",
        ("/etc/unbound/unbound_*.key", "/etc/unbound/unbound_*.pem"),
        "/usr/sbin/unbound-control-setup",
        "unbound-control-setup >/dev/null 2>&1",
    ),
    KnownIdentity(
        "xrdp",
        "the RSA keys of xrdp",
        ("/etc/xrdp/rsakeys.ini",),
        "/usr/bin/xrdp-keygen",
        "xrdp-keygen xrdp /etc/xrdp/rsakeys.ini >/dev/null",
    ),
)
