"""Manifest, index and digest: what is written is read again; what is not ours is a ValueError and nothing else."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
import zstandard

from builder.archive.unpack import read_index
from builder.errors import AuditError, InputError
from builder.model.artifacts.index import FileRecord, Frame, Index, root_digest
from builder.model.artifacts.manifest import DIGEST_SCHEMA, Manifest
from builder.model.generation import Generation
from builder.model.recipe.script import RanScript
from builder.model.syntax import Syntax
from builder.model.version import Version
from builder.output.versions import read_manifest
from tests.samples import INDEX, MANIFEST


def test_a_manifest_survives_a_round_trip() -> None:
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST
    assert Manifest.from_json(MANIFEST.to_json()).to_json() == MANIFEST.to_json()


def test_a_manifest_is_text_that_a_person_can_compare() -> None:
    text = MANIFEST.to_json()
    assert text.endswith("}\n")
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert "/work" not in text


def test_an_index_survives_a_round_trip() -> None:
    assert Index.from_json(INDEX.to_json()) == INDEX
    assert "größe".encode() in INDEX.to_json()


DOCUMENTS = (
    "",
    "{",
    "null",
    "[]",
    "{}",
    "1",
    '"text"',
    "[1]",
    '{"schema": 2}',
    '{"schema": 1}',
    "\ufeff{}",
    "[" * 100000,
)


@pytest.mark.parametrize("text", DOCUMENTS, ids=lambda text: text[:12] or "empty")
def test_what_is_no_manifest_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Manifest.from_json(text)


@pytest.mark.parametrize("text", DOCUMENTS, ids=lambda text: text[:12] or "empty")
def test_what_is_no_index_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Index.from_json(text.encode())


def test_an_index_that_is_not_utf_8_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        Index.from_json(b'{"schema": "\xff"}')


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (Manifest.from_json, "schema 9, this program reads 1 to 2"),
        (Generation.from_json, "schema 9, this program reads 1 to 2"),
        (lambda text: Index.from_json(text.encode()), "schema 9, this program reads 1"),
    ],
    ids=["manifest", "generation", "index"],
)
def test_another_schema_is_named(read: Any, words: str) -> None:
    columns = json.loads(INDEX.to_json())["columns"]
    with pytest.raises(ValueError, match=words):
        read(json.dumps({"schema": 9, "columns": columns}))


def as_schema_1() -> dict[str, Any]:
    """The sample as version 0.1 wrote it."""
    data = json.loads(MANIFEST.to_json())
    assert data["schema"] == 2
    assert data["root"].pop("kind") == "nfs"
    release = data.pop("release")
    return {**data, "schema": 1, "suite": release}


def test_a_manifest_of_schema_1_means_the_same() -> None:
    assert Manifest.from_json(json.dumps(as_schema_1())) == MANIFEST


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"suite": 5}, "release is 5, not of type str"),
        ({"release": "bookworm"}, "it says schema 1 and has other keys"),
        ({"root": {"kind": "nfs"}}, "it says schema 1 and has other keys"),
        ({"root": []}, "it says schema 1 and has other keys"),
        ({"schema": True}, "schema True, this program reads 1 to 2"),
        ({"schema": "1"}, "schema '1', this program reads 1 to 2"),
        ({"version": "../../20260102-0123abcd"}, "version: '../../20260102-0123abcd' is not a version"),
        ({"version": "20260102-0123abcd\n"}, "is not a version"),
        ({"distribution": "plan9"}, "distribution: 'plan9' is not one of debian, arch"),
        ({"root": {"mode": "ro", "version": "3", "options": []}}, "root.mode: 'ro' is not one of rw, overlay"),
        ({"root": {"mode": "rw", "version": 3, "options": []}}, "root.version is 3, not of type str"),
        ({"root": {"mode": "rw", "version": "3"}}, "root.options is missing"),
        ({"root": {"mode": "rw", "version": "3", "options": "x"}}, "root.options is 'x', not of type list"),
        ({"cmdline": ["a", None]}, "cmdline[1] is None, not of type str"),
        ({"packages": [{"name": "a"}]}, "packages[0].version is missing"),
        ({"artifacts": {"boot.tar.zst": {"size": "1", "sha256": ""}}}, "artifacts.boot.tar.zst.size is '1'"),
        ({"more": 1}, "more is not a key that is known"),
    ],
)
def test_what_is_wrong_in_a_manifest_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=r"^not a manifest: ") as caught:
        Manifest.from_json(json.dumps({**as_schema_1(), **change}))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((place, text) for place in ("root_digest", "recipe_sha256", "scripts", "packages", "artifacts")
          for text in ("/tmp/victim", "../victim", "", "AB" * 32, "ab" * 32 + "\n", "\ud800")),
        *((place, number) for place in ("epoch", "entries", "size", "artifacts") for number in (-(2**40), 2**63)),
        ("entries", -1), ("size", -1), ("artifacts", -1),
        *((place, "\ud800") for place in ("kernel", "release", "cmdline", "tools", "capabilities")),
    ],
)  # fmt: skip
def test_digests_sizes_and_texts_of_a_manifest(place: str, value: str | int) -> None:
    """A digest becomes the name of a file, a size what is fetched, and a text is printed."""
    data = json.loads(MANIFEST.to_json())
    data["scripts"] = [{"source": "a", "sha256": "ab" * 32, "network": False}]
    assert Manifest.from_json(json.dumps(data)).scripts[0].source == "a"
    key = "sha256" if isinstance(value, str) else "size"
    if place == "artifacts":
        data["artifacts"]["boot.tar.zst"][key] = value
    elif isinstance(data[place], list):
        data[place][0] = {**data[place][0], key: value} if isinstance(data[place][0], dict) else value
    elif place == "tools":
        data[place][value] = "1"
    else:
        data[place] = value
    with pytest.raises(ValueError, match="not a manifest"):
        Manifest.from_json(json.dumps(data))


def test_a_generation_of_schema_1_has_its_menus_in_the_directory_of_pxelinux() -> None:
    old = {"number": 1, "server": "192.168.1.1", "default": "lab", "active": {"lab": "20260102-0123abcd"}}
    old |= {"made": 1, "reason": "deploy", "menus": {"default": "ab" * 32}, "schema": 1}
    generation = Generation.from_json(json.dumps(old))
    assert generation.menus == {"pxelinux.cfg/default": "ab" * 32}
    assert Generation.from_json(generation.to_json()) == generation
    changes: tuple[dict[str, Any], ...] = (
        {"menus": {"default": 1}},
        {"menus": []},
        {"active": {"lab": "x"}},
        {"made": "1"},
        {"default": "x"},
    )
    for change in changes:
        with pytest.raises(ValueError, match="not a"):
            Generation.from_json(json.dumps({**old, **change}))


@pytest.mark.parametrize(
    "text", ["", "20260102-0123abc", "20260102-0123ABCD", "20260102-0123abcd ", "20260102-0123abcd.1"]
)
def test_a_version_is_a_name_of_its_form_and_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match="is not a version"):
        Version(text)
    assert Version.of(MANIFEST.epoch, MANIFEST.root_digest) == MANIFEST.version
    assert copy.deepcopy(MANIFEST.version) == MANIFEST.version


WRONG: tuple[Any, ...] = (None, [], {}, "x", 1, -1, 1.5, True, [None], [1, 2], {"a": 1}, ["a", "b"], [[]])


def broken(value: Any, random_: random.Random) -> Any:
    """A copy of a document with one value of another type, or one lost."""
    if isinstance(value, dict) and value and random_.random() < 0.9:
        key = random_.choice(list(value))
        if random_.random() < 0.2:
            return {name: inner for name, inner in value.items() if name != key}
        if random_.random() < 0.1:
            return {**value, "more": 1}
        return {**value, key: broken(value[key], random_)}
    if isinstance(value, list) and value and random_.random() < 0.8:
        position = random_.randrange(len(value))
        rest = value[:position], value[position + 1 :]
        return rest[0] + rest[1] if random_.random() < 0.2 else [*rest[0], broken(value[position], random_), *rest[1]]
    return random_.choice(WRONG)


def wrong_types(value: Any, annotations: dict[str, str]) -> list[str]:
    """The fields of a dataclass that do not hold what their annotation says."""
    plain = {"str": str, "int": int}
    wanted = {field: plain[kind] for field, kind in annotations.items() if kind in plain}
    return [field for field, kind in wanted.items() if type(getattr(value, field)) is not kind]


def test_a_broken_manifest_is_a_value_error_and_never_half_read() -> None:
    random_, refused = random.Random(1), 0
    document = json.loads(MANIFEST.to_json())
    for _ in range(500):
        changed = broken(document, random_)
        try:
            manifest = Manifest.from_json(json.dumps(changed))
        except ValueError:
            refused += 1
            continue
        assert wrong_types(manifest, Manifest.__annotations__) == [], changed
    assert refused > 100


def test_a_broken_index_is_a_value_error_and_never_half_read() -> None:
    random_, refused = random.Random(1), 0
    document = json.loads(INDEX.to_json())
    for _ in range(500):
        changed = broken(document, random_)
        try:
            index = Index.from_json(json.dumps(changed).encode())
        except ValueError:
            refused += 1
            continue
        for record in index.files:
            assert wrong_types(record, FileRecord.__annotations__) == [], changed
        for frame in index.frames:
            assert wrong_types(frame, Frame.__annotations__) == [], changed
    assert refused > 100


def test_a_manifest_of_before_scripts_is_read_and_one_with_scripts_too() -> None:
    data = json.loads(MANIFEST.to_json())
    assert data.pop("scripts") == []
    assert Manifest.from_json(json.dumps(data)) == MANIFEST
    ran = dataclasses.replace(MANIFEST, scripts=(RanScript("files/setup.sh", "ab" * 32, network=False),))
    assert Manifest.from_json(ran.to_json()) == ran
    for wrong in ("x", [{"source": 1, "sha256": "", "network": False}], [{"source": "a"}]):
        with pytest.raises(ValueError, match="not a manifest"):
            Manifest.from_json(json.dumps({**data, "scripts": wrong}))


def test_a_directory_without_a_manifest_is_not_a_version(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(f"{tmp_path} is not a version of an image")):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 100000], ids=["empty", "{}", "binary", "deep"])
def test_a_manifest_that_cannot_be_read_is_named_by_where_it_is(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(AuditError, match=re.escape(f"{tmp_path}/manifest.json: ")) as caught:
        read_manifest(tmp_path)
    assert "newer diskless" in str(caught.value.hint)


def compressed(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", compressed(b""), compressed(b"{}"), compressed(INDEX.to_json())[:-5], compressed(b"[" * 100000)],
    ids=["empty", "garbage", "nothing", "{}", "truncated", "deep"],
)
def test_a_damaged_index_is_an_error_that_names_it(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "index.json.zst"
    path.write_bytes(content)
    with pytest.raises(AuditError, match=re.escape(str(path))):
        read_index(path)


def test_an_index_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "index.json.zst"
    path.write_bytes(compressed(INDEX.to_json()))
    assert read_index(path) == INDEX


BUNDLE = {"vmlinuz": "ab" * 32, "initramfs.img": "cd" * 32}


@pytest.mark.parametrize(
    "change",
    [
        {"path": "other"},
        {"type": "d"},
        {"mode": 0o755},
        {"uid": 9},
        {"gid": 9},
        {"mtime": 1},
        {"size": 9},
        {"sha256": "00" * 32},
        {"link": "x"},
        {"xattrs": {"user.a": "00"}},
        {"xattrs": {}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_about_a_file_changes_the_root_digest(change: dict[str, Any]) -> None:
    files = list(INDEX.files)
    files[1] = dataclasses.replace(files[1], **change)
    assert root_digest(files, BUNDLE) != root_digest(INDEX.files, BUNDLE)


def test_the_root_digest_is_that_of_the_rows_as_json() -> None:
    odd = dataclasses.replace(INDEX.files[0], path='q"\\\n\x01\x7f ü日\u2028', xattrs={"user.z": "00", 'user.ü"': "ff"})
    files = [*INDEX.files, odd]
    table = ""
    for file in files:
        row = [*file.row()[:9], dict(sorted(file.xattrs.items()))]
        table += json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"
    table += "".join(json.dumps([name, digest]) + "\n" for name, digest in sorted(BUNDLE.items()))
    assert root_digest(files, BUNDLE) == hashlib.sha256(table.encode()).hexdigest()


def test_how_it_is_compressed_does_not_change_the_root_digest() -> None:
    files = [dataclasses.replace(file, frame=file.frame + 7) for file in INDEX.files]
    assert root_digest(files, BUNDLE) == root_digest(INDEX.files, BUNDLE)


def test_the_bundle_changes_the_root_digest_and_its_order_does_not() -> None:
    digest = root_digest(INDEX.files, BUNDLE)
    assert root_digest(INDEX.files, dict(reversed(BUNDLE.items()))) == digest
    assert root_digest(INDEX.files, {**BUNDLE, "vmlinuz": "00" * 32}) != digest
    assert root_digest(INDEX.files, {"vmlinuz": BUNDLE["vmlinuz"]}) != digest


def test_the_order_of_xattrs_does_not_change_the_root_digest() -> None:
    one, other = ({"user.a": "00", "user.b": "11"}, {"user.b": "11", "user.a": "00"})
    first = [dataclasses.replace(INDEX.files[1], xattrs=one)]
    assert root_digest(first, {}) == root_digest([dataclasses.replace(INDEX.files[1], xattrs=other)], {})


def test_a_syntax_accepts_nothing_but_whole_matches() -> None:
    syntax = Syntax("number", r"[0-9]+", "1", int)
    assert syntax.accepts("12")
    assert not syntax.accepts("12\n")
    assert not syntax.accepts("a12")


def test_the_digest_covers_what_menus_say() -> None:
    """Of the second schema; one of the first, as 0.1 made them, keeps its version whatever the manifest says."""
    new = dataclasses.replace(MANIFEST, digest_schema=DIGEST_SCHEMA)
    changes: dict[str, object] = {
        "image": "desk",
        "kernel": "6.1.0-2-amd64",
        "cmdline": ("ip=dhcp", "init=/bin/sh"),
        "root": dataclasses.replace(MANIFEST.root, options=("rsize=1",)),
        "initramfs": "mkinitcpio",
        "loaders": (),
    }
    for name, value in changes.items():
        other = dataclasses.replace(new, **{name: value})  # type: ignore[arg-type]
        assert other.digest_of(INDEX.files, BUNDLE) != new.digest_of(INDEX.files, BUNDLE), name
        old = dataclasses.replace(MANIFEST, **{name: value})  # type: ignore[arg-type]
        assert old.digest_of(INDEX.files, BUNDLE) == root_digest(INDEX.files, BUNDLE)
    assert Manifest.from_json(new.to_json()) == new
    text = MANIFEST.to_json().replace('"digest_schema": 1', '"digest_schema": 3')
    with pytest.raises(ValueError, match="a digest of schema 3"):
        Manifest.from_json(text)
