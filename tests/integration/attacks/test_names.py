"""Names that others chose and a terminal would obey: of a manifest they are refused, of files they are escaped."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from builder.cli.commands.tools.doctor import describe_text
from builder.errors import AuditError
from builder.model.artifacts.manifest import MANIFEST
from builder.model.diagnostic import Diagnostic, Level
from builder.output.versions import read_manifest
from builder.progress.progress import Progress
from tests.command import run_command
from tests.versions import make_version

TITLE = "\x1b]0;owned\x07"


@pytest.mark.parametrize("key", ["kernel", "release", "cmdline", "packages", "tools"])
def test_a_manifest_that_speaks_to_the_terminal(key: str, tmp_path: Path) -> None:
    version = make_version(tmp_path, files=20)
    manifest = json.loads((version / MANIFEST).read_text("utf-8"))
    value = manifest[key]
    if key == "packages":
        value[0]["name"] = TITLE
    elif key == "tools":
        value[TITLE] = "1"
    else:
        manifest[key] = [TITLE] if isinstance(value, list) else TITLE
    (version / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(AuditError, match="control characters"):
        read_manifest(version)


def test_names_of_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = make_version(tmp_path, files=20)
    new = make_version(tmp_path, {f"etc/{TITLE}": b"x", "etc/two\nlines": b"y"}, files=20)
    status, out, _ = run_command(capsys, "diff", str(old), str(new), "--files")
    assert status == 0
    assert "\\x1b]0;owned\\x07" in out
    assert "\x1b" not in out
    assert "two\\nlines" in out


def test_what_is_noted_and_diagnosed() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    progress.note(TITLE)
    progress.warn(TITLE)
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().count("\\x1b]0;owned\\x07") == 2
    lines = describe_text([Diagnostic("DHCP", "file", Level.WARN, TITLE, TITLE)], colour=False)
    assert "\x1b" not in "".join(lines)
