"""The command line: exit statuses, hints, and what works for everybody."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import builder.cli.commands.image.boot  # noqa: F401 - a command lies at its name
from builder.boot import BootResult
from builder.cli.main import COMMANDS, cli, described
from builder.errors import BootError
from builder.model.version import Version
from tests.command import run_command
from tests.images import DISKLESS, ROOT, run_diskless, write_recipe
from tests.require import needs_open_checkout

SUITE = {"name": "debian", "suite": "bookworm"}


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    status, output, errors = run_command(capsys, "--help")
    assert (status, errors) == (0, "")
    for command in COMMANDS:
        assert f"\n  {command} " in output
    assert "..." not in output.partition("Commands:")[2], "a summary that does not fit 80 columns"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_help(command: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, output, _ = run_command(capsys, command, option)
    assert status == 0
    assert output.startswith(f"Usage: diskless {command} ")


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    status, output, _ = run_command(capsys, "--version")
    assert (status, output) == (0, f"diskless, version {importlib.metadata.version('diskless')}\n")


@pytest.mark.parametrize(
    "arguments",
    [("--colour",), ("check", "--colour", "recipe.yml"), ("chek", "recipe.yml"), ("check",), ("check", "a", "b")],
    ids=["option", "option-of-command", "command", "no-argument", "too-many-arguments"],
)
def test_a_wrong_command_line_is_exit_status_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    status, output, errors = run_command(capsys, *arguments)
    assert (status, output) == (2, "")
    assert "Usage: diskless" in errors
    assert "Traceback" not in errors


def test_a_recipe_that_does_not_exist_suggests_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recipe(tmp_path)
    monkeypatch.chdir(tmp_path)
    for command in ("check", "build"):
        assert run_command(capsys, command, "debian-nsf.yml") == (
            2,
            "",
            "error: debian-nsf.yml: no such recipe\nhint: did you mean debian-nfs.yml?\n",
        )
        status, _, errors = run_command(capsys, command, "nowhere/other.yml")
        assert status == 2
        assert "hint: give the path of a .yml file" in errors


def test_a_directory_is_no_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, errors = run_command(capsys, "check", str(tmp_path))
    assert status == 2
    assert "hint: it is a directory: name the .yml file in it" in errors


def test_a_name_that_is_too_long_is_no_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, errors = run_command(capsys, "check", "a" * 300 + ".yml")
    assert status == 2
    assert "File name too long" in errors


def test_a_name_that_is_not_utf_8_is_no_recipe() -> None:
    result = subprocess.run([DISKLESS, "check", b"\xff.yml"], capture_output=True, check=False)
    assert result.returncode == 2, result.stderr
    assert b"no such recipe" in result.stderr


def test_a_good_recipe_is_said_to_be_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(write_recipe(tmp_path, distribution=SUITE))
    assert run_command(capsys, "check", recipe) == (0, f"{recipe}: no fault found\n", "")


def test_binary_files_are_shown_by_their_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "blob").write_bytes(b"\xff\x00" * 50)
    recipe = write_recipe(tmp_path, distribution=SUITE, files=[{"path": "/srv/blob", "source": "blob"}])
    _, output, _ = run_command(capsys, "check", "--show", str(recipe))
    assert "==> /srv/blob 0644 0:0\n(100 bytes)\n" in output


def readable_by_all(directory: Path) -> Path:
    """pytest's own directories are for one user only."""
    recipe = write_recipe(directory, distribution=SUITE)
    for path in (recipe, directory, *directory.parents):
        if path.owner() == "root" and path.name.startswith(("pytest-", "popen-", "test_")):
            path.chmod(0o755)
    recipe.chmod(0o644)
    return recipe


# a user with one right more, to read: without it nobody enters a checkout below /root
READ = "+dac_read_search"
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"--inh-caps={READ}", f"--ambient-caps={READ}")


def test_a_check_needs_no_root(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from builder.cli.main import main; main()", "check", "--show"]
    drop = NOBODY if os.geteuid() == 0 else ()
    result = subprocess.run(
        [*drop, *command, readable_by_all(tmp_path)],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "==> /etc/fstab" in result.stdout


@needs_open_checkout
def test_a_recipe_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can drop its rights to see this")
    recipe = readable_by_all(tmp_path)
    recipe.chmod(0o000)
    without = [
        "setpriv",
        "--bounding-set",
        "-dac_override,-dac_read_search",
        "--inh-caps",
        "-dac_override,-dac_read_search",
    ]
    result = subprocess.run(
        [*without, DISKLESS, "check", recipe],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 2
    assert str(recipe) in result.stderr
    assert "Traceback" not in result.stderr


def test_a_reader_that_goes_away_is_no_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"line\n" * 100000)
    recipe = write_recipe(tmp_path, distribution=SUITE, files=[{"path": "/srv/large", "source": "large"}])
    with subprocess.Popen(
        [DISKLESS, "check", "--show", recipe], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (1, b"")


def test_output_does_not_depend_on_the_locale(tmp_path: Path) -> None:
    files = [{"path": "/etc/motd", "text": "grüß Gott\n"}]
    recipe = write_recipe(tmp_path, distribution=SUITE, files=files)
    outputs = {
        run_diskless("check", "--show", recipe, env={"LC_ALL": locale, "LANG": locale}).stdout
        for locale in ("C", "C.UTF-8", "tr_TR.UTF-8", "POSIX")
    }
    assert len(outputs) == 1
    assert "grüß Gott" in outputs.pop()


def test_what_is_no_version_cannot_be_booted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, errors = run_command(capsys, "boot", str(tmp_path))
    assert status == 2
    assert f"error: {tmp_path} is not a version of an image" in errors
    assert "\nhint: " in errors


def test_what_booted_can_be_deployed_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = tmp_path / "a lab"
    version.mkdir()
    (version / "manifest.json").write_text("{}", encoding="ascii")
    result = BootResult(Version("20260102-0123abcd"), tmp_path / "console.log", error=None)
    monkeypatch.setattr(sys.modules["builder.cli.commands.image.boot"], "run_boot", lambda *arguments: result)
    status, _, errors = run_command(capsys, "boot", str(version))
    assert status == 0
    assert f"boots; next: diskless deploy '{version}' --to /disklessroot\n" in errors
    assert "next:" not in run_command(capsys, "boot", str(version), "--json")[2]
    result.error = BootError("no login")
    assert "next:" not in run_command(capsys, "boot", str(version))[2]


def test_events_on_standard_error_are_alone_there(tmp_path: Path) -> None:
    result = run_diskless("build", tmp_path / "none.yml", "--events", "-")
    event = json.loads(result.stderr)
    assert (result.returncode, event["event"], event["exit_status"]) == (2, "error", 2)
    assert "no such recipe" in event["message"]


def test_events_go_to_a_file_and_errors_to_people(tmp_path: Path) -> None:
    result = run_diskless("build", tmp_path / "none.yml", "--events", tmp_path / "events")
    assert json.loads((tmp_path / "events").read_text(encoding="ascii"))["event"] == "error"
    assert result.stderr.startswith("error: ")
    result = run_diskless("build", tmp_path / "none.yml", "--events", tmp_path / "no" / "events")
    assert (result.returncode, "--events" in result.stderr) == (2, True)


def test_the_root_directory_is_no_version(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, errors = run_command(capsys, "boot", "/")
    assert status == 2
    assert "is not a version of an image" in errors


def test_what_was_written_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, errors = run_command(capsys, "status", "--to", "/nowhere/\x1b[31m\udcff")
    assert "/nowhere/\\x1b[31m\\udcff holds no store" in errors


@pytest.mark.parametrize("name", COMMANDS)
def test_what_help_lists_is_what_the_command_says(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert described(name).get_short_help_str(60) == command.get_short_help_str(60)


def test_help_and_completion_import_no_command() -> None:
    """Each costs what it needs: a listing of all is asked for again and again by whoever types."""
    code = (
        "import sys; from builder.cli.main import cli; cli(['--help'], standalone_mode=False);"
        "import click; names = [item.value for item in cli.shell_complete(click.Context(cli), 'de')];"
        "assert names == ['deploy'], names;"
        "found = [name for name in sys.modules if name.startswith('builder.cli.commands.') and name.count('.') == 4];"
        "assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
