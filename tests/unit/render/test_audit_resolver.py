"""A resolv.conf that nothing would ever fill is found before a client is."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.stages.parts.audit_resolver import resolver_faults
from builder.system.tree import Tree

STUB = "../run/systemd/resolve/stub-resolv.conf"
ENABLED = "etc/systemd/system/sysinit.target.wants/systemd-resolved.service"


def faults(root: Path, link: str | None, *, text: str | None = None, there: tuple[str, ...] = ()) -> list[str]:
    (root / "etc").mkdir()
    if link is not None:
        (root / "etc/resolv.conf").symlink_to(link)
    if text is not None:
        (root / "etc/resolv.conf").write_text(text, encoding="ascii")
    for path in there:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to("/nowhere")  # as an enabled unit is a link
    return list(resolver_faults(Tree(root)))


@pytest.mark.parametrize(
    ("link", "there"),
    [
        (STUB, (ENABLED,)),
        ("/run/systemd/resolve/resolv.conf", ("etc/systemd/system/dbus-org.freedesktop.resolve1.service",)),
        ("../run/diskless/resolv.conf", ("etc/systemd/system/diskless-resolver.service",)),
        ("../run/diskless/resolv.conf", ("etc/rc.d/diskless-resolver",)),
        ("/proc/net/pnp", ()),
    ],
)
def test_links_that_something_will_fill(link: str, there: tuple[str, ...], tmp_path: Path) -> None:
    assert faults(tmp_path, link, there=there) == []


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (STUB, "/run/systemd/resolve/stub-resolv.conf, which nothing in the image would make"),
        ("/run/diskless/resolv.conf", "which nothing in the image would make"),
        ("/etc/resolvconf/run", "/etc/resolvconf/run, which does not exist"),
        ("../../../etc/none", "/etc/none, which does not exist"),
        (None, "missing"),
    ],
)
def test_links_that_lead_to_nothing(link: str | None, words: str, tmp_path: Path) -> None:
    (found,) = faults(tmp_path, link)
    assert found.startswith("/etc/resolv.conf: ")
    assert words in found


def test_a_file_is_a_file(tmp_path: Path) -> None:
    assert faults(tmp_path, None, text="# filled in later\n") == []
