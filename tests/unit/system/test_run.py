"""What is kept of a command's output, and which language it speaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import CommandError
from builder.system.run import Runner, run_filter


def test_what_a_failed_command_wrote_for_its_caller_is_shown(tmp_path: Path) -> None:
    with Runner(tmp_path / "log") as runner:
        argv = ["sh", "-c", "echo why; echo more; echo failed >&2; exit 3"]
        with pytest.raises(CommandError) as error:
            runner.run(argv, capture=True)
        assert error.value.details == ("why", "more", "failed")
        assert error.value.status == 3
        assert {"why", "more", "failed"} <= set(runner.since(0))
        assert runner.run(["echo", "wanted"], capture=True) == "wanted\n"
        assert "wanted" not in runner.since(0)


def test_commands_speak_english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = {"PATH": "/usr/bin:/bin", "LC_ALL": "de_DE.UTF-8", "LANGUAGE": "de", "LC_MESSAGES": "de_DE.UTF-8"}
    for name, value in user.items():
        monkeypatch.setenv(name, value)
    with Runner(tmp_path / "log") as runner:
        assert "de" not in [value[:2] for value in _values(runner.run(["env"], capture=True))]
    said = run_filter(["env"], b"", user)[1].decode()
    assert {"LC_ALL=C.UTF-8", "LANGUAGE=C"} <= set(said.splitlines())


def _values(environment: str) -> list[str]:
    return [line.partition("=")[2] for line in environment.splitlines()]
