"""What builds, pulls and uploads write nobody else reads, whatever the umask; what TFTP serves everybody does."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.bootlab.console import begin_log
from builder.model.artifacts.manifest import MANIFEST
from builder.system.guarded.owners import others_write, readers
from tests.command import run_command
from tests.images import run_diskless, ssh_key, write_recipe
from tests.require import needs_root, needs_tool
from tests.stores import SERVER, version
from tests.strangers import as_stranger, open_ground, open_to_others
from tests.versions import make_version

pytestmark = [needs_root, needs_tool("setpriv"), pytest.mark.root]
UMASKS = (0o000, 0o022, 0o077)
USER = 1  # of a group of their own on each system: daemon


@pytest.fixture
def ground() -> Iterator[Path]:
    with open_ground() as place:
        yield place


def mode_of(path: Path) -> str:
    return f"{stat.S_IMODE(path.lstat().st_mode):04o}"


@pytest.mark.parametrize("umask", UMASKS)
def test_what_pull_writes(umask: int, ground: Path) -> None:
    done = run_diskless("pull", version("1"), "--output", ground / "a/output", umask=umask)
    assert done.returncode == 0, done.stderr
    image = ground / "a/output/lab"
    assert open_to_others(ground / "a") == {}
    assert (mode_of(image), mode_of(image / version("1").name / MANIFEST)) == ("0750", "0640")
    assert as_stranger("ls", ground / "a/output").returncode != 0


@pytest.mark.parametrize("umask", UMASKS)
def test_what_a_build_that_fails_leaves(umask: int, ground: Path) -> None:
    distribution = {"name": "debian", "suite": "bookworm", "mirrors": ["http://127.0.0.1:9/debian"]}
    (ground / "recipe").mkdir()
    recipe = write_recipe(ground / "recipe", distribution=distribution)
    options = ("--output", ground / "output", "--cache", ground / "cache", "--keep-failed")
    done = run_diskless("build", recipe, *options, umask=umask)
    assert done.returncode != 0
    assert mode_of(ground / "output/debian-nfs/failed-build.log") == "0640"
    assert open_to_others(ground / "output") == {}
    assert open_to_others(ground / "cache") == {}


@pytest.mark.parametrize("umask", UMASKS)
def test_what_tftp_serves_is_open_and_nothing_else_of_a_store(umask: int, ground: Path) -> None:
    store = ground / "made/store"
    done = run_diskless("deploy", version("1"), "--to", store, "--server", SERVER, umask=umask)
    assert done.returncode == 0, done.stderr
    files = [path for path in (store / "boot").rglob("*") if path.is_file() and path.parent.name != ".reserve"]
    assert len(files) > 5
    assert as_stranger("sha256sum", *files).returncode == 0
    assert as_stranger("ls", store / "versions").returncode != 0
    assert as_stranger("ls", store / "writable").returncode != 0
    writable = [path for path in (store, *store.rglob("*")) if not path.is_symlink() and path.stat().st_mode & 0o022]
    assert [path for path in writable if "root" not in path.parts] == []


def test_what_the_first_release_left_open_is_closed_with_a_word(ground: Path) -> None:
    output = ground / "output"
    make_version(output, files=40)
    (output / ".work").mkdir()
    (output / "lab/failed-build.log").write_text("secret", "ascii")
    for path in (output, *output.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o777 if path.is_dir() else 0o644)
    done = run_diskless("pull", version("1"), "--output", output)
    assert done.returncode == 0, done.stderr
    assert open_to_others(output) == {}
    assert f"{output} was open to others (mode 0777): it is 0750 now" in done.stderr
    assert f"{output}/lab was open to others (mode 0777): it is 0750 now" in done.stderr
    assert f"{output}/lab: 8 files and directories in it were open to others; they are not any more" in done.stderr
    again = run_diskless("pull", version("2"), "--output", output)
    assert "open to others" not in again.stderr


def test_a_directory_with_other_things_in_it_is_left_as_it_is(ground: Path) -> None:
    (ground / "somebody's").mkdir()
    (ground / "somebody's/thesis").touch()
    done = run_diskless("pull", version("1"), "--output", ground)
    assert done.returncode == 0, done.stderr
    assert mode_of(ground) == "0755"
    assert mode_of(ground / "lab") == "0750"


def test_where_everybody_may_exchange_names_nothing_is_written(ground: Path) -> None:
    (ground / "share").mkdir()
    (ground / "share/other").mkdir()
    (ground / "share").chmod(0o777)
    done = run_diskless("pull", version("1"), "--output", ground / "share")
    assert done.returncode == 3
    assert "everybody may exchange what is in" in done.stderr
    assert "chmod o-w" in done.stderr
    (ground / "share").chmod(0o1777)  # as /tmp is
    assert run_diskless("pull", version("1"), "--output", ground / "share").returncode == 0


@contextlib.contextmanager
def as_user(user: int, group: int) -> Iterator[None]:
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(group)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def behind_sudo(group: int) -> dict[str, str]:
    return {"SUDO_UID": str(USER), "SUDO_GID": str(group), "SUDO_USER": pwd.getpwuid(USER).pw_name}


def test_who_built_by_sudo_can_read_it_and_nobody_else(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = ground / "output"
    for name in "12":
        done = run_diskless("pull", version(name), "--output", output, env=behind_sudo(USER))
        assert done.returncode == 0, done.stderr
    assert open_to_others(output) == {}
    arguments = ("diff", str(output / "lab" / version("1").name), "lab", "--output", str(output))
    upload = ("upload", "lab", "--output", str(output), "--cache", str(ground / "no-cache"), "--to")
    # by now everything is imported, from where only root may read
    assert run_command(capsys, *arguments)[0] == run_command(capsys, *upload, str(ground / "share"))[0] == 0
    with as_user(USER, USER):
        assert sorted(path.name for path in (output / "lab").iterdir())[-1] == "latest"
        assert run_command(capsys, *arguments)[0] == 0
        status, _, errors = run_command(capsys, *upload, str(ground / "no-place"))
        assert (status, "Permission denied" in errors) == (3, True), errors
    assert as_stranger("ls", output).returncode != 0


def test_who_shares_a_group_is_told_what_to_do(ground: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, shared = ground / "output", grp.getgrnam("users").gr_gid
    for name in "12":
        assert run_diskless("pull", version(name), "--output", output, env=behind_sudo(shared)).returncode == 0
    assert {path.stat().st_gid for path in output.rglob("*") if not path.is_symlink()} == {0}
    old = output / "lab" / version("1").name
    for options in (("lab", str(old)), (str(old), "lab"), (old.name, "lab")):
        arguments = ("diff", *options, "--output", str(output))
        assert run_command(capsys, *arguments)[0] == 0
        with as_user(USER, shared):
            status, _, errors = run_command(capsys, *arguments)
        assert status == 3
        assert "may not be read by this user" in errors
        assert "hint: run it with sudo" in errors
    with as_user(USER, shared):
        status, _, errors = run_command(capsys, "check", "recipes/debian-nfs.yml")
    assert status == 0, errors


@pytest.mark.parametrize(
    ("user", "group", "members", "primary", "expected"),
    [
        ("ann", "ann", [], 1000, 1000),
        ("ann", "ann", ["ann"], 1000, 1000),
        ("ann", "ann", ["bob"], 1000, -1),
        ("ann", "users", [], 1000, -1),
        ("ann", "ann", [], 100, -1),
    ],
)
def test_a_group_of_ones_own(
    user: str, group: str, members: list[str], primary: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.setenv("SUDO_GID", "1000")
    entry = pwd.struct_passwd((user, "x", 1000, primary, "", "/home/ann", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: entry)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group((group, "x", 1000, members)))
    assert readers() == expected
    directory = os.stat_result((stat.S_IFDIR | 0o775, 0, 0, 1, 1000, 1000, 0, 0, 0, 0))
    assert others_write(directory) == (expected == -1)


def test_upload_to_a_directory(ground: Path) -> None:
    done = run_diskless("upload", version("1"), "--to", ground / "share", umask=0)
    assert done.returncode == 0, done.stderr
    assert open_to_others(ground / "share") == {}
    target = ground / "share/lab" / version("1").name
    line = (
        f"{target} is for root and the group root only; for a web server: --mode 0644, or give {ground}/share its group"
    )
    assert line in done.stderr
    done = run_diskless("upload", version("2"), "--to", ground / "web", "--mode", "0644", umask=0o077)
    assert done.returncode == 0, done.stderr
    assert "for a web server" not in done.stderr
    modes = {mode_of(path) for path in (ground / "web").rglob("*") if path.is_file()}
    assert modes == {"0644"}
    assert as_stranger("cat", ground / "web/lab/latest" / MANIFEST).returncode == 0


def test_upload_leaves_to_a_web_server_what_it_serves(ground: Path) -> None:
    run_diskless("upload", version("1"), "--to", ground / "web", "--mode", "0644")
    shutil.copyfile(ssh_key().with_suffix(".pub"), ground / "unrelated")
    done = run_diskless("upload", version("2"), "--to", ground / "web")
    assert done.returncode == 0, done.stderr
    assert mode_of(ground / "web/lab") == "0755"
    assert mode_of(ground / "web/lab" / version("2").name) == "0750"
    assert as_stranger("cat", ground / "web/lab" / version("1").name / MANIFEST).returncode == 0


def test_upload_hands_the_group_of_the_directory_down(ground: Path) -> None:
    share = ground / "share"
    share.mkdir()
    os.chown(share, 0, 33)
    share.chmod(0o2750)
    assert run_diskless("upload", version("1"), "--to", share, umask=0o077).returncode == 0
    found = {(path.stat().st_gid, mode_of(path)) for path in share.rglob("*") if not path.is_symlink()}
    assert found == {(33, "2750"), (33, "0640")}


def test_a_mode_is_for_directories_only() -> None:
    done = run_diskless("upload", version("1"), "--to", "oci://127.0.0.1:9/lab", "--mode", "0644")
    assert done.returncode == 2
    assert "is no directory" in done.stderr


@pytest.mark.parametrize("umask", UMASKS)
def test_console_logs(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        begin_log(tmp_path / "log")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "log") == "0640"
    (tmp_path / "log").chmod(0o644)
    (tmp_path / "log").write_bytes(b"of an earlier boot")
    begin_log(tmp_path / "log")
    assert (mode_of(tmp_path / "log"), (tmp_path / "log").read_bytes()) == ("0640", b"")
