"""`diskless shell`: in a kept tree and in a finished version, with a terminal or a command."""

from __future__ import annotations

import os
import pty
import shutil
from pathlib import Path

import pytest
import zstandard

from builder.archive.writer import scan_tree, write_archive
from builder.errors import InputError
from builder.model.artifacts.manifest import INDEX, MANIFEST, ROOTFS
from builder.system.guarded.private import made_directory
from builder.system.sandbox.network import NAME_SERVER
from builder.system.workspace import open_workspace
from tests import samples
from tests.images import DISKLESS, own, run_diskless
from tests.integration.builds.test_sandbox import small_tree
from tests.require import needs_root, needs_tool
from tests.scratch import scratch
from tests.trees import copy_programs

pytestmark = [needs_root, needs_tool("unshare", "setpriv"), pytest.mark.root]


@pytest.fixture
def kept(request: pytest.FixtureRequest) -> Path:
    """What --keep-failed leaves, with a few programs in it."""
    path: Path = scratch() / "shell" / str(request.node.name) / "kept-1"
    path.mkdir(parents=True)
    shutil.copytree(small_tree(), path / "inside/tree", symlinks=True)
    own(path / "inside")
    return path


def shell(*arguments: str | Path, output: Path | None = None) -> tuple[int, str, str]:
    where = output or scratch() / "shell-output"
    done = run_diskless("shell", "--output", where, *arguments)
    assert not list((where / ".work").glob("build-*"))
    return done.returncode, done.stdout, done.stderr


def test_a_command_runs_in_the_kept_tree_and_its_changes_stay(kept: Path) -> None:
    status, output, _ = shell(kept, "--", "sh", "-c", "echo here > /etc/note; ls -d /etc /var/tmp 2>&1; exit 3")
    assert status == 3
    assert output.splitlines()[-1] == "/etc" or "/etc" in output.splitlines()
    assert "cannot access '/var/tmp'" in output  # nothing of the host
    assert (kept / "inside/tree/etc/note").read_text("ascii") == "here\n"
    assert not list((kept / "inside/tree/run").iterdir())


@pytest.mark.usefixtures("tun")
def test_there_is_no_network_unless_asked_for(kept: Path) -> None:
    (kept / "inside/tree/etc/resolv.conf").write_text("nameserver 192.0.2.1\n", "ascii")
    assert shell(kept, "--", "cat", "/etc/resolv.conf")[1] == "nameserver 192.0.2.1\n"
    shown = shell("--network", kept, "--", "cat", "/etc/resolv.conf", "/proc/net/dev")[1]
    assert shown.startswith(f"nameserver {NAME_SERVER}\n")
    assert len(shown.splitlines()) == 1 + 2 + 2  # two lines of heading, lo and another one
    assert (kept / "inside/tree/etc/resolv.conf").read_text("ascii") == "nameserver 192.0.2.1\n"


def test_a_program_that_is_not_there_is_said(kept: Path) -> None:
    status, _, errors = shell(kept, "--", "emacs")
    assert status == 127
    assert "emacs: No such file or directory" in errors


def test_a_shell_has_a_terminal_and_ends_with_its_status(kept: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(DISKLESS, [DISKLESS, "shell", "--output", str(scratch() / "shell-output"), str(kept)])
    os.write(terminal, b"test -t 0 && test -t 1 && echo it is a $((6 * 7)) terminal; exit 5\n")
    seen = b""
    while True:
        try:
            seen += os.read(terminal, 4096)
        except OSError:  # EIO: the other end is closed
            break
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 5, seen
    assert b"it is a 42 terminal" in seen


def finished(output: Path) -> Path:
    """A version of a tiny image."""
    version = output / "lab" / samples.MANIFEST.version
    version.mkdir(parents=True)
    index = write_archive(scan_tree(small_tree(), 1), version / ROOTFS)
    (version / INDEX).write_bytes(zstandard.ZstdCompressor().compress(index.to_json()))
    (version / MANIFEST).write_text(samples.MANIFEST.to_json(), "utf-8")
    (version.parent / "latest").symlink_to(version.name)
    return version


def test_of_a_version_it_is_a_copy_whose_changes_are_lost(tmp_path_factory: pytest.TempPathFactory) -> None:
    output = scratch() / "shell-versions"
    version = finished(output)
    digest = (version / ROOTFS).read_bytes()
    for target in (["lab"], [version], [output / "lab/latest"], []):
        status, seen, errors = shell(*target, "--", "sh", "-c", "ls /etc; echo x > /etc/x", output=output)
        assert (status, seen) == (0, ""), errors
        assert "a copy, which is lost at the end" in errors
        if not target:
            break
    assert (version / ROOTFS).read_bytes() == digest


def test_what_is_neither_is_named() -> None:
    status, _, errors = shell("nothing", "--", "true")
    assert status == 2
    assert "error: nothing is not a version of an image" in errors


def test_a_failed_build_is_kept_under_another_name_until_somebody_removes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(InputError) as caught,
        open_workspace(made_directory(tmp_path / "it's", 0o700), print, keep_failed=True) as workspace,
    ):
        workspace.tree.mkdir(parents=True)
        raise InputError("broken")
    (kept,) = (tmp_path / "it's").glob("kept-*")
    assert (kept / "inside/tree").is_dir()
    where = f"'it'\"'\"'s/{kept.name}'"
    assert caught.value.details == (
        f"kept: {where}",
        f"  look around in it: diskless shell {where}",
        f"  remove it:         diskless shell --remove {where}",
    )
    with open_workspace(made_directory(tmp_path / "it's", 0o700), print, keep_failed=True):
        pass
    with pytest.raises(InputError), open_workspace(made_directory(tmp_path / "it's", 0o700), print):
        raise InputError("broken again")
    with pytest.raises(InputError), open_workspace(made_directory(tmp_path / "it's", 0o700), print, keep_failed=True):
        raise InputError("nothing was installed yet")
    assert [path.name for path in (tmp_path / "it's").iterdir() if path.name != "lock"] == [kept.name]


def test_a_kept_tree_is_removed_by_the_command_that_its_error_names(kept: Path) -> None:
    status, _, errors = shell("--remove", kept)
    assert (status, kept.exists()) == (0, False), errors
    status, _, errors = shell("--remove", kept.parent)
    assert status == 2
    assert "is not a tree that" in errors
    assert kept.parent.exists()


def test_what_runs_inside_types_nothing_into_the_shell_that_called_it(kept: Path) -> None:
    """TIOCSTI puts a key into a terminal as if it had been pressed."""
    copy_programs(kept / "inside/tree", ("perl",))
    code = 'print readlink("/proc/self/fd/0"), "\\n"; $x = "x"; '
    code += 'print ioctl(STDIN, 0x5412, $x) ? "typed" : "refused: $!", "\\n"'
    pid, terminal = pty.fork()
    if pid == 0:
        command = [DISKLESS, "shell", "--output", str(scratch() / "shell-output"), str(kept), "--"]
        os.execv(DISKLESS, [*command, "/bin/perl", "-e", code])
    seen = b""
    while True:
        try:
            seen += os.read(terminal, 4096)
        except OSError:
            break
    os.waitpid(pid, 0)
    assert b"/dev/pts/0" in seen, seen
    assert b"refused: Operation not permitted" in seen, seen
