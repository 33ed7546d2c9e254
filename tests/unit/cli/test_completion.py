"""A real shell completes our commands."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from builder.cli.commands.tools.completion import SHELLS
from tests.command import run_command
from tests.images import DISKLESS

COMPLETE = """
eval "$(diskless completion bash)"
read -ra COMP_WORDS <<< "$1"
[[ "$1" == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
complete -p diskless >&2
_diskless_completion diskless "${COMP_WORDS[COMP_CWORD]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(line: str, directory: Path) -> list[str]:
    """What bash offers at the end of a line."""
    result = subprocess.run(
        ["bash", "--norc", "-c", COMPLETE, "bash", line],
        cwd=directory,
        env={**os.environ, "PATH": f"{Path(DISKLESS).parent}:{os.environ['PATH']}"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert "complete" in result.stderr
    return result.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("diskless bu", ["build"]),
        ("diskless doctor --t", ["--to"]),
        ("diskless init --distribution a", ["arch"]),
        ("diskless completion ", list(SHELLS)),
        ("diskless build --ev", ["--events"]),
    ],
)
def test_bash_completes(line: str, expected: list[str], tmp_path: Path) -> None:
    assert complete(line, tmp_path) == expected


def test_images_are_offered(tmp_path: Path) -> None:
    version = tmp_path / "output/kiosk/20260102-0123abcd"
    version.mkdir(parents=True)
    (tmp_path / "output/kiosk/latest").symlink_to(version.name)
    assert "kiosk" in complete("diskless deploy k", tmp_path)
    assert "kiosk" in complete("diskless diff kiosk ki", tmp_path)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, output, errors = run_command(capsys, "completion", shell)
    assert (status, errors) == (0, "")
    assert f"_DISKLESS_COMPLETE={shell}_complete" in output
