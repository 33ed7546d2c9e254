"""The table of what programs do not write alike twice, and how a difference is told."""

from __future__ import annotations

import pytest

from builder.cli.commands.image.build import difference_lines
from builder.stages.compare import Divergence
from builder.stages.parts.unstable import SOURCES, find_source


@pytest.mark.parametrize(
    ("path", "maker"),
    [
        ("/etc/ssl/certs/java/cacerts", "ca-certificates-java"),
        ("/var/lib/postgresql/15/main/global/pg_control", "postgresql-common"),
        ("/var/cache/fontconfig/x-le64.cache-8", "fontconfig"),
        ("/etc/ssl/private/ssl-cert-snakeoil.key", "ssl-cert"),
        ("/usr/lib/python3/dist-packages/__pycache__/six.cpython-311.pyc", ""),
        ("/lib/modules/6.1.0/updates/dkms/zfs.ko", "dkms"),
    ],
)
def test_usual_sources_are_known(path: str, maker: str) -> None:
    source = find_source(path, ("content",))
    assert source is not None
    assert source.maker == maker


def test_what_is_not_known_is_not_guessed() -> None:
    assert find_source("/usr/bin/odd", ("content",)) is None
    time = find_source("/usr/bin/odd", ("time",))
    assert time is not None
    assert "only the time differs" in time.reason
    for what in (("owner",), ("content", "mode"), ("link",)):
        assert find_source("/var/log/odd.log", what) is None, "a log's times make no other owner"


def test_every_source_has_a_reason_and_patterns_of_its_own() -> None:
    patterns = [pattern for source in SOURCES for pattern in source.patterns]
    assert len(set(patterns)) == len(patterns)
    assert all(source.reason and not source.reason.endswith(".") for source in SOURCES)


def test_differences_are_told_by_package_with_one_reason() -> None:
    differ = [Divergence(f"/var/lib/postgresql/{n}", ("content",), "postgresql-common", "a cluster") for n in range(30)]
    differ.append(Divergence("/etc/odd", ("content", "mode"), "", ""))
    lines = difference_lines(differ)
    assert lines[0] == "postgresql-common:"
    assert lines[21:23] == ["  and 10 more", "  known of such files: a cluster"]
    assert lines[23:25] == ["no package:", "  /etc/odd  content, mode"]
    assert lines[25] == "  nothing is known of why"
