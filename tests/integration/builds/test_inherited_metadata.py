"""What a directory hands down is no part of an image: the same digest on every file system, in every directory."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from builder.archive.unpack import read_index, unpack
from builder.archive.writer import scan_tree, write_archive, write_index
from builder.cache import TreeCache, key_of, made_under
from builder.errors import HostError
from builder.model.artifacts.index import Index, root_digest
from builder.output.places import hold_image, hold_work, publish_version
from builder.output.versions import read_manifest
from builder.stages.initramfs import _update_initramfs
from builder.system.files import new_directory
from builder.system.guarded.held import HeldDirectory
from builder.system.guarded.private import own_directory
from builder.system.userns.ids import find_ids
from builder.system.userns.inside import call_inside
from builder.system.workspace import open_workspace
from tests.inheriting import ACL, GROUP, KINDS, file_system, make_inheriting
from tests.require import needs_root, needs_tool
from tests.scratch import new_place
from tests.stages import staged
from tests.versions import make_version

pytestmark = [needs_root, needs_tool("setcap", "chattr", "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs"), pytest.mark.root]
EPOCH = 1_700_000_000


def furnish(tree: Path) -> None:
    """What scripts of packages leave: they set what they know of, and rely on the rest."""
    new_directory(tree, 0o755)
    for name in ("etc", "etc/pam.d", "usr", "usr/bin", "var", "var/log", "var/log/journal", "srv"):
        (tree / name).mkdir()
    (tree / "etc/pam.d/common-auth").write_text("auth required pam_deny.so\n", "ascii")
    (tree / "usr/bin/ping").write_bytes(b"\x7fELF" * 3000)
    (tree / "usr/bin/pinky").write_bytes(b"\x7fELF")
    subprocess.run(["setcap", "cap_net_raw+ep", tree / "usr/bin/ping"], check=True)
    (tree / "usr/bin/link").symlink_to("ping")
    (tree / "usr/bin/again").hardlink_to(tree / "usr/bin/ping")
    (tree / "srv").chmod(0o2770)
    os.chown(tree / "srv", 0, 50)
    # as tmpfiles.d of systemd has it: this one is the image's
    os.setxattr(tree / "var/log/journal", "system.posix_acl_default", ACL)
    (tree / "var/log/journal/first").write_bytes(b"")
    for path in (tree, *tree.rglob("*")):
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


def built(output: Path, cache: Path) -> tuple[Index, Path]:
    """The index of a tree that was made as a build makes one, kept in the cache and taken from there; its archive."""
    held = HeldDirectory.at(output)
    kept = own_directory(HeldDirectory.at(cache), "ids", print, 0o700)
    with open_workspace(own_directory(held, ".work", print, 0o700), print) as workspace:

        def work() -> None:
            workspace.move_in()
            furnish(workspace.inside / "made")
            trees = TreeCache(kept.path, print)
            os.chown(kept.path, 0, 0)
            trees.keep("key", workspace.inside / "made", EPOCH, lambda path: None)
            assert trees.take("key", workspace.tree, lambda path: None)
            index = write_archive(scan_tree(workspace.tree, EPOCH), workspace.artifacts / "archive")
            assert write_archive(scan_tree(workspace.inside / "made", EPOCH), workspace.temporary / "archive") == index
            write_index(index, workspace.artifacts / "index")

        call_inside(find_ids(), work)
        for name in ("archive", "index"):
            (workspace.artifacts / name).rename(output / name)
    return read_index(output / "index"), output / "archive"


@pytest.fixture
def clean() -> tuple[Index, bytes]:
    place = new_place()
    place.chmod(0o755)
    index, archive = built(place, place)
    return index, archive.read_bytes()


def digest(index: Index) -> str:
    return root_digest(index.files, {})


@pytest.mark.parametrize("kind", KINDS)
def test_the_digest_is_that_of_a_clean_directory(kind: str, clean: tuple[Index, bytes]) -> None:
    place = new_place()
    place.chmod(0o755)
    with file_system(kind, place) as point:
        output = make_inheriting(point / "output", kind)
        index, archive = built(output, make_inheriting(point / "cache", kind))
        assert [record.path for record in index.files if record.xattrs] == [
            record.path for record in clean[0].files if record.xattrs
        ]
        assert digest(index) == digest(clean[0])
        assert archive.read_bytes() == clean[1]


def test_the_acls_of_the_image_itself_are_kept(clean: tuple[Index, bytes]) -> None:
    found = {record.path: set(record.xattrs) for record in clean[0].files if record.xattrs}
    assert found == {
        "usr/bin/again": {"security.capability"},
        "var/log/journal": {"system.posix_acl_default"},
        "var/log/journal/first": {"system.posix_acl_access"},
    }


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_unpacked_there_is_what_the_index_says(kind: str, clean: tuple[Index, bytes]) -> None:
    place = new_place()
    (place / "archive").write_bytes(clean[1])
    write_index(clean[0], place / "index")
    with file_system(kind, place) as point:
        root = make_inheriting(point / "versions", kind) / "root"
        root.mkdir()
        unpack(place / "archive", place / "index", root)
        assert [member.record.path for member in scan_tree(root, EPOCH)] == [record.path for record in clean[0].files]
        again = write_archive(scan_tree(root, EPOCH), place / "again")
        assert digest(again) == digest(clean[0])


def test_a_version_gets_the_group_of_a_directory_that_hands_it_down(tmp_path: Path) -> None:
    output = make_inheriting(tmp_path / "output")
    with open_workspace(hold_work(output, print), print) as workspace:
        shutil.copytree(make_version(tmp_path / "other"), workspace.artifacts, dirs_exist_ok=True)
        with hold_image(output, "lab", print) as image:
            path, _ = publish_version(workspace.artifacts, image, read_manifest(workspace.artifacts))
    assert {one.stat().st_gid for one in (path, *path.iterdir())} == {GROUP}
    assert {one.stat().st_mode & 0o777 for one in path.iterdir()} == {0o640}
    # of what is private nobody is told by a list that was handed down
    assert [name for one in (path, *path.iterdir()) for name in os.listxattr(one) if "acl" in name] == []


def test_what_was_made_on_another_file_system_is_made_anew() -> None:
    place = new_place()
    with file_system("tmpfs", place) as point:
        assert made_under(point) != made_under(place)
        assert key_of("recipe", made_under(point)) != key_of("recipe", made_under(place))


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_mount_that_gives_files_the_group_of_their_directory_is_refused(kind: str) -> None:
    """No directory can be without that: what a program of another group makes would not be its group's."""
    place = new_place()
    place.chmod(0o755)
    with file_system(kind, place, ",grpid") as point, pytest.raises(HostError, match="the group of") as caught:
        built(point, point)
    assert "without grpid" in str(caught.value.hint)


@pytest.mark.parametrize(("kind", "directory"), [("ext4", "unset"), ("tmpfs", "unset"), ("btrfs", "/tmp")])
def test_an_initramfs_has_no_link_counts_of_the_disk(kind: str, directory: str) -> None:
    """Its directories are archived from a file system that counts as all others do."""
    place = new_place()
    place.chmod(0o755)
    with file_system(kind, place) as point:

        def work() -> str:
            with staged(point) as context:
                program = context.workspace.tree / "usr/sbin/update-initramfs"
                program.parent.mkdir(parents=True)
                program.write_text("#!/bin/sh\necho ${TMPDIR-unset} >/said; stat -c %h /tmp\n", "ascii")
                program.chmod(0o755)
                used = context.workspace.tree / "var/tmp"
                used.mkdir(parents=True)
                os.utime(used, (1, 1))
                _update_initramfs(context, "6.1", EPOCH)
                # on the others the real program leaves the time of its own files
                assert (used.stat().st_mtime > 1) == (directory != "unset")
                assert list(used.iterdir()) == []
                return (context.workspace.tree / "said").read_text("ascii").strip()

        point.chmod(0o777)
        assert call_inside(find_ids(), work) == directory
