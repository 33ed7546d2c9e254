"""Why the kernel refuses something, and what to do: by what holds the process back, for every kind of container."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from builder.system.privileges.confinement import Confinement, Refusal, explain_refusal

EVERYTHING, NOTHING = 2**41 - 1, 0
HOST = Confinement(EVERYTHING, 2**32 - 1, filtered=False)
MOUNTING = Refusal("mount proc on /proc", errno.EPERM, "SYS_ADMIN")


@pytest.mark.parametrize(
    ("refusal", "confinement", "cause", "remedy"),
    [
        (MOUNTING, replace(HOST, capabilities=NOTHING), "CAP_SYS_ADMIN is missing", "--cap-add SYS_ADMIN"),
        (MOUNTING, replace(HOST, capabilities=NOTHING, filtered=True), "CAP_SYS_ADMIN is missing", "--privileged"),
        (MOUNTING, replace(HOST, capabilities=EVERYTHING & ~(1 << 21)), "CAP_SYS_ADMIN is missing", "systemd-nspawn"),
        (replace(MOUNTING, capability="NET_RAW"), replace(HOST, capabilities=1 << 21), "CAP_NET_RAW", "add NET_RAW"),
        (MOUNTING, replace(HOST, filtered=True), "a seccomp filter", "--security-opt seccomp=unconfined"),
        (MOUNTING, replace(HOST, label="docker-default (enforce)"), "docker-default", "apparmor=unconfined"),
        (MOUNTING, replace(HOST, ids=65536, proc_masked=True), "parts of /proc are hidden", "unmask=ALL"),
        (MOUNTING, replace(HOST, ids=65536), "root of a user namespace", "sudo"),
        (
            MOUNTING,
            replace(HOST, ids=65536, userns_off=("kernel.apparmor_restrict_unprivileged_userns",)),
            "root of a user namespace",
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (Refusal("chown(2)", errno.EINVAL, "CHOWN"), replace(HOST, ids=1), "has one id", "--add-subuids"),
        (Refusal("chown(2)", errno.EINVAL, "CHOWN"), replace(HOST, ids=1000), "has 1000 ids", "--add-subuids"),
        (Refusal("unshare(2)", errno.ENOSPC, "SYS_ADMIN"), HOST, "limit of namespaces", "sysctl user.max_mnt"),
    ],
)
def test_what_forbids_it_and_what_to_do(refusal: Refusal, confinement: Confinement, cause: str, remedy: str) -> None:
    why, what = explain_refusal(refusal, confinement)
    assert cause in why
    assert what is not None
    assert remedy in what


def test_two_that_may_have_forbidden_it_are_both_named() -> None:
    why, what = explain_refusal(MOUNTING, replace(HOST, filtered=True, label="docker-default (enforce)"))
    assert "seccomp" in why
    assert "docker-default" in why
    assert what is not None
    assert "seccomp=unconfined" in what
    assert "apparmor=unconfined" in what


@pytest.mark.parametrize("number", [errno.ENODEV, errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL])
def test_what_is_missing_is_not_called_forbidden(number: int) -> None:
    refusal = Refusal("opening /dev/net/tun", number, "NET_ADMIN")
    assert explain_refusal(refusal, replace(HOST, capabilities=NOTHING, filtered=True)) == ("", None)
