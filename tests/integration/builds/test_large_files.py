"""Memory does not grow with a file, and holes stay holes."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from builder.archive.unpack import unpack
from builder.archive.writer import scan_tree, write_archive, write_index
from builder.errors import InputError
from builder.model.entry import FileBeside, TreeCopy
from builder.reading import load_recipe
from builder.render.image.entries import image_entries
from builder.system.files import sha256_of
from builder.system.tree import Tree
from tests.images import DISKLESS, write_recipe
from tests.require import needs_root
from tests.scratch import new_place

MIB = 1 << 20
# of a process: the interpreter and what it imports take less than a third
MOST = 400 * MIB


def sparse(path: Path, size: int, at: int, content: bytes = b"data" * 1024) -> Path:
    with path.open("wb") as file:
        file.seek(at)
        file.write(content)
        file.truncate(size)
    return path


def used(path: Path) -> int:
    return path.stat().st_blocks * 512


def recipe_with(place: Path, size: int) -> Path:
    (place / "files").mkdir()
    sparse(place / "files/large", size, size // 2)
    return write_recipe(place, files=[{"path": "/srv/large", "source": "files/large", "mode": "0600", "owner": "5:6"}])


def test_check_takes_no_memory_for_a_large_file() -> None:
    recipe = recipe_with(new_place(), 1024 * MIB)
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, DISKLESS, "check", "--show", str(recipe)]
    said = subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout.splitlines()
    assert "==> /srv/large 0600 5:6" in said
    assert f"({1024 * MIB} bytes)" in said
    assert int(said[-1]) * 1024 < MOST


def test_the_recipes_digest_is_that_of_the_whole_content(tmp_path: Path) -> None:
    """However a file is read: the digest was made so before."""
    recipe = recipe_with(tmp_path, 3 * MIB)
    loaded = load_recipe(recipe)
    content = (tmp_path / "files/large").read_bytes()
    wanted = hashlib.sha256(recipe.read_bytes() + f"\0files/large\0{len(content)}\0".encode() + content)
    assert loaded.sha256 == wanted.hexdigest()
    assert loaded.sources == {}
    (entry,) = [one for one in image_entries(loaded.recipe, loaded.sources, loaded.large) if one.path == "/srv/large"]
    assert entry == TreeCopy("/srv/large", loaded.large["files/large"], 0o600, 5, 6)


@needs_root
@pytest.mark.root
def test_what_is_copied_into_the_tree_keeps_its_holes() -> None:
    place = new_place()
    source = sparse(place / "source", 300 * MIB, 100 * MIB)
    (place / "tree").mkdir()
    beside = FileBeside(str(source), 300 * MIB, sha256_of(source))
    Tree(place / "tree").write(TreeCopy("/srv/large", beside, 0o640, 7, 8))
    copy = place / "tree/srv/large"
    assert sha256_of(copy) == beside.sha256
    info = copy.stat()
    assert (info.st_mode & 0o7777, info.st_uid, info.st_gid) == (0o640, 7, 8)
    assert used(copy) < MIB
    with pytest.raises(InputError, match="changed while the image was built"):
        Tree(place / "tree").write(TreeCopy("/srv/other", dataclasses.replace(beside, sha256="0" * 64)))
    assert [path.name for path in (place / "tree/srv").iterdir()] == ["large"]


@needs_root
@pytest.mark.root
@pytest.mark.parametrize("at", [0, 100 * MIB, 200 * MIB - 4096])
def test_holes_stay_holes_where_an_archive_is_unpacked(at: int) -> None:
    place = new_place()
    (place / "tree").mkdir()
    source = sparse(place / "tree/large", 200 * MIB, at)
    (place / "tree/zeros").write_bytes(bytes(100_000))
    (place / "tree/small").write_bytes(b"\0" * 5000 + b"x")
    write_index(write_archive(scan_tree(place / "tree", 1), place / "archive"), place / "index")
    (place / "root").mkdir()
    unpack(place / "archive", place / "index", place / "root")
    for name in ("large", "zeros", "small"):
        assert sha256_of(place / "root" / name) == sha256_of(place / "tree" / name)
    assert used(place / "root/large") < MIB <= source.stat().st_size
