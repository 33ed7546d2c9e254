"""Recipes: every fault is named with its place, whatever is accepted can be rendered, nothing ends in a traceback."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from builder.errors import InputError
from builder.inits.table import init_of
from builder.model.recipe import NetworkClient
from builder.model.recipe.account import User
from builder.reading import RecipeFile, load_recipe
from builder.render.image.accounts import GROUP, GSHADOW, PASSWD, SHADOW, Accounts, authorized_keys
from builder.render.image.entries import image_cmdline, image_entries
from builder.render.image.fstab import fstab
from tests.command import run_command
from tests.golden_files import TESTS, check_golden
from tests.images import ROOT

BAD = TESTS / "recipes" / "bad"
MINIMAL = {
    "schema": "1",
    "image": "lab",
    "distribution": "{name: debian, suite: bookworm}",
    "packages": "[linux-image-amd64, dhcpcd]",
    "network": "{client: dhcpcd}",
}


def load_text(directory: Path, text: str) -> RecipeFile:
    path = directory / "recipe.yml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return load_recipe(path)


def load_with(directory: Path, head: str = "", **changes: str) -> RecipeFile:
    return load_text(directory, head + "".join(f"{key}: {value}\n" for key, value in {**MINIMAL, **changes}.items()))


def render(recipe_file: RecipeFile) -> None:
    """Everything that a build writes from a recipe."""
    recipe = recipe_file.recipe
    image_entries(recipe, recipe_file.sources)
    init_of(recipe).enabled(recipe)
    " ".join(image_cmdline(recipe)).encode()


@pytest.mark.parametrize("recipe", sorted(BAD.glob("*.yml")), ids=lambda path: path.stem)
def test_a_bad_recipe_is_refused_with_its_message(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(BAD)
    status, output, message = run_command(capsys, "check", recipe.name)
    assert (status, output) == (2, "")
    assert message.startswith(f"error: {recipe.name}:")
    check_golden(recipe.with_suffix(".txt"), message)


def test_every_bad_recipe_has_a_message_and_every_message_a_recipe() -> None:
    assert {path.stem for path in BAD.glob("*.yml")} == {path.stem for path in BAD.glob("*.txt")}
    assert len(list(BAD.glob("*.yml"))) > 145


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.yml")), ids=lambda path: path.stem)
def test_the_recipes_of_the_project_are_accepted(recipe: Path) -> None:
    loaded = load_recipe(recipe)
    assert loaded.recipe.image == recipe.stem
    render(loaded)


def test_defaults_are_those_of_the_reference(tmp_path: Path) -> None:
    recipe = load_with(tmp_path).recipe
    assert recipe.system.hostname == "diskless"
    assert recipe.network.client is NetworkClient.DHCPCD
    assert recipe.boot.cmdline == ("ip=dhcp",)
    assert recipe.distribution.release == "bookworm"
    assert recipe.filesystems == ()


def test_scalars_keep_what_was_written(tmp_path: Path) -> None:
    files = "[{path: /etc/a, text: no}, {path: /etc/b, text: 3.10, mode: 0640}, {path: /etc/c, text: 2026-01-01}]"
    system = "{hostname: 010, services: [on]}"
    recipe = load_with(tmp_path, files=files, system=system).recipe
    assert [file.text for file in recipe.files] == ["no", "3.10", "2026-01-01"]
    assert recipe.files[1].mode == "0640"
    assert (recipe.system.hostname, recipe.system.services) == ("010", ("on",))


@pytest.mark.parametrize("head", ["\ufeff", "# windows\r\n", "%YAML 1.2\n---\n"], ids=["bom", "crlf", "directive"])
def test_what_editors_add_does_no_harm(head: str, tmp_path: Path) -> None:
    assert load_with(tmp_path, head).recipe.image == "lab"


def test_sources_are_read_and_change_the_digest(tmp_path: Path) -> None:
    files = "[{path: /etc/motd, source: motd}]"
    (tmp_path / "motd").write_bytes(b"one\0\xff")
    first = load_with(tmp_path, files=files)
    assert first.sources == {"motd": b"one\0\xff"}
    assert load_with(tmp_path, files=files).sha256 == first.sha256
    (tmp_path / "motd").write_bytes(b"two")
    assert load_with(tmp_path, files=files).sha256 != first.sha256


def test_a_source_that_is_a_link_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "motd").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match=r"recipe\.yml:6:35: 'motd' leads out of the recipe's directory"):
        load_with(tmp_path, files="[{path: /etc/motd, source: motd}]")


def test_a_source_that_links_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "motd").symlink_to("motd")
    with pytest.raises(InputError, match=r"recipe\.yml:6:35: 'motd'"):
        load_with(tmp_path, files="[{path: /etc/motd, source: motd}]")


def test_a_source_that_is_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "motd").mkdir()
    with pytest.raises(InputError, match="is not a file beside the recipe"):
        load_with(tmp_path, files="[{path: /etc/motd, source: motd}]")


def test_a_file_that_is_too_large_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="larger than 1 MiB"):
        load_with(tmp_path, head="#" * (1 << 20) + "\n")


def test_without_a_suite_it_is_the_one_of_this_host(tmp_path: Path) -> None:
    release = Path("/etc/os-release").read_text(encoding="utf-8")
    codename = re.search(r"^VERSION_CODENAME=(\S+)$", release, re.M)
    if codename is None or not re.search(r"^ID=debian$", release, re.M):
        with pytest.raises(InputError, match=r"names no distribution\.suite"):
            load_with(tmp_path, distribution="{name: debian}")
    else:
        assert load_with(tmp_path, distribution="{name: debian}").recipe.distribution.release == codename[1]


# well-formed YAML, and values that would break what is generated from them: each must be an error of the recipe
HARMFUL = {
    "surrogate-in-text": {"files": r'[{path: /etc/motd, text: "\ud800"}]'},
    "surrogate-in-path": {"files": r'[{path: "/etc/\ud800", text: hello}]'},
    "surrogate-in-source": {"files": r'[{path: /etc/motd, source: "\ud800"}]'},
    "surrogate-in-argument": {"boot": r'{cmdline: ["a=\ud800"]}'},
    "escape-beyond-unicode": {"files": r'[{path: /etc/motd, text: "\U00110000"}]'},
    "escape-beyond-integers": {"files": r'[{path: /etc/motd, text: "\UFFFFFFFF"}]'},
    "tag-of-python": {"image": "!!python/name:os.system lab"},
    "path-ends-in-dot": {"files": "[{path: /etc/., text: hello}]"},
    "path-is-the-root": {"files": "[{path: /., text: hello}]"},
    "path-is-a-mount-point": {"files": "[{path: /dev, text: hello}]"},
    "path-component-too-long": {"files": f"[{{path: /etc/{'a' * 256}, text: hello}}]"},
    "masked-unit-is-a-directory": {"system": '{masked: [".."]}'},
    "service-is-an-option": {"system": '{services: ["--now"]}'},
    "host-name-longer-than-the-kernel-takes": {"system": f"{{hostname: {'a' * 63}.{'b' * 63}}}"},
    "mirror-without-host": {"distribution": '{name: debian, suite: bookworm, mirrors: ["http://"]}'},
    "keyring-ends-the-bracket": {"distribution": '{name: debian, suite: bookworm, keyring: "/a] b"}'},
    "quote-swallows-the-next-argument": {"boot": "{cmdline: ['a=\"b']}"},
    "dashes-end-the-kernels-arguments": {"boot": '{cmdline: ["--", quiet]}'},
    "package-to-be-removed": {"packages": "[linux-image-amd64, dhcpcd-]"},
    "root-by-another-name": {"filesystems": "[{source: /dev/sda1, target: //, type: ext4}]"},
    "mounted-twice-by-another-name": {
        "filesystems": "[{source: a, target: /srv, type: ext4}, {source: b, target: /srv/, type: ext4}]"
    },
    "nfs-option-against-the-mode": {"root": "{nfs: {options: [ro]}}"},
    "interface-is-a-directory": {"network": "{client: dhcpcd, interface: ..}"},
    "aliases-that-multiply": {
        "filesystems": f"[&line {{source: a, target: none, type: b, options: [{', '.join(['c'] * 400)}]}}"
        + ", *line" * 400
        + "]"
    },
}


@pytest.mark.parametrize("name", HARMFUL)
def test_a_value_that_would_break_the_image_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        load_with(tmp_path, **HARMFUL[name])


def test_a_version_directive_of_any_length_is_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        load_with(tmp_path, head=f"%YAML 1.{'1' * 5000}\n---\n")


def test_messages_hold_no_control_characters(tmp_path: Path) -> None:
    for changes in ({r'"\e[2J"': "1"}, {"packages": "!<%1b[2J> [a]"}, {"system": r'{"\a": 1}'}):
        with pytest.raises(InputError) as caught:
            load_with(tmp_path, **changes)
        assert re.findall(r"[^\n\x20-\x7e]", caught.value.message) == []


NASTY: tuple[Any, ...] = (
    *("", " ", "-", "--", "~", "null", "yes", "0", "-1", "9" * 40, "1e9", ".", "..", "/", "//", "/.", "/..", "../x"),
    *("a b", "a\nb", "a\tb", "a\0b", "a\x1bb", "a\x85b", "a\u2028b", "a,b", "a=b", 'a"b', "a'b", "a#b", "#a", "a;b"),
    *("\ud83d\ude00", "\U0001f600", "é", "\u202e", "$(id)", "`id`", "%s", "{}", "[]", "*", "&a", "<<", "a" * 5000),
    *([], {}, [[]], [{}], {"a": "b"}, ["a"] * 3, [["a"]], {"": ""}, None, True, 1.5),
)


def mutate(value: Any, random_: random.Random) -> Any:
    """A copy of a recipe's data with one thing changed somewhere."""
    if isinstance(value, dict) and value and random_.random() < 0.9:
        key = random_.choice(list(value))
        return random_.choices(
            (
                {**value, key: mutate(value[key], random_)},
                {name: inner for name, inner in value.items() if name != key},
                {**value, str(random_.choice(NASTY)): value[key]},
            ),
            (17, 2, 1),
        )[0]
    if isinstance(value, list) and value and random_.random() < 0.8:
        position = random_.randrange(len(value))
        changed = [*value[:position], mutate(value[position], random_), *value[position + 1 :]]
        return random_.choices((changed, [*value, value[position]]), (9, 1))[0]
    nasty = random_.choice(NASTY)
    if isinstance(value, str) and isinstance(nasty, str) and random_.random() < 0.5:
        cut = random_.randrange(len(value) + 1)
        return value[:cut] + nasty + value[cut:]
    return nasty


def scramble(text: str, random_: random.Random) -> str:
    """A text with a few characters lost, doubled, exchanged or put in."""
    for _ in range(random_.randint(1, 4)):
        start = random_.randrange(len(text))
        end = start + random_.choice((0, 1, 1, 5, 50))
        piece = random_.choice(("", text[start:end] * 2, *":-[]{}&*!|>'\"%@`#,?\t\n\0\\", "\u0085", "\ufeff", "<<: "))
        text = text[:start] + piece + text[end:]
    return text


def whole_recipe() -> dict[str, Any]:
    recipe: dict[str, Any] = yaml.load((ROOT / "recipes/debian-nfs.yml").read_text("utf-8"), Loader=yaml.BaseLoader)
    recipe["distribution"] = {"name": "debian", "suite": "bookworm", "updates": "true", "components": ["main"]}
    recipe["distribution"]["mirrors"] = ["http://deb.debian.org/debian"]
    recipe["distribution"]["repositories"] = [
        {"url": "file:///srv/debian", "suite": "stable", "components": ["main"], "signatures": "never"}
    ]
    recipe["system"]["masked"] = ["rpcbind.service"]
    recipe["system"]["users"] = [
        {
            "name": "alice",
            "ssh_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDah5vxWpLY64+CQh5jUQ5xnc5WSNklYenijjkkllyfT alice"],
            "password_hash": "$6$salt$" + "x" * 86,
            "uid": "1000",
            "groups": ["audio"],
            "shell": "/bin/bash",
            "home": "/home/alice",
        }
    ]
    recipe["files"] = [{"path": "/etc/motd", "text": "hello\n", "mode": "0644", "owner": "0:0"}]
    recipe["network"].update({"nameservers": ["192.168.1.1"], "search": ["example.org"]})
    recipe["initramfs"].update({"modules": ["e1000"], "compression": "zstd"})
    return recipe


def check_rendered(recipe_file: RecipeFile) -> None:
    """No accepted value breaks a generated file: as many lines and fields as the recipe has, no control characters."""
    recipe = recipe_file.recipe
    entries = image_entries(recipe, recipe_file.sources)
    generated = entries[: len(entries) - len(recipe.files)]
    contents = {entry.path: getattr(entry, "content", b"").decode("utf-8") for entry in generated}
    for path, content in contents.items():
        assert re.findall(r"[^\S\n\t ]|[\x00-\x08\x0b-\x1f\x7f-\x9f]", content) == [], path
    lines = fstab(recipe.filesystems).splitlines()
    assert len(lines) == 1 + len(recipe.filesystems)
    assert all(len(line.split()) in (3, 6) for line in lines[1:])
    assert contents["/etc/hostname"].count("\n") == 1
    assert all(line.split()[0] == "deb" for line in contents["/etc/apt/sources.list"].splitlines())
    check_accounts(recipe.system.users)
    assert len(" ".join(image_cmdline(recipe)).split()) == len(image_cmdline(recipe))
    assert " ".join(image_cmdline(recipe)).count('"') % 2 == 0


class Anything:
    def __contains__(self, item: object) -> bool:
        return True


def check_accounts(users: Sequence[User]) -> None:
    """No name, number or secret breaks a line of the account files."""
    groups = "".join(f"{name}:x:{number}:\n" for number, name in enumerate({n for u in users for n in u.groups}, 5000))
    accounts = Accounts({PASSWD: "root:x:0:0::/root:/bin/sh\n", GROUP: groups, SHADOW: "root:*:1::::::\n", GSHADOW: ""})
    try:
        accounts.apply(users, 86400, Anything())
    except InputError:
        return
    for path, fields in ((PASSWD, 7), (GROUP, 4), (SHADOW, 9), (GSHADOW, 4)):
        for line in accounts.files()[path].splitlines():
            assert len(line.split(":")) == fields, line
    for user in users:
        assert len(authorized_keys(user, {}).splitlines()) <= len(user.ssh_keys)


@pytest.mark.parametrize("seed", range(4))
def test_changed_recipes_are_refused_or_rendered(seed: int, tmp_path: Path) -> None:
    random_ = random.Random(seed)
    recipe, accepted = whole_recipe(), 0
    for _ in range(100):
        changed = recipe
        for _ in range(random_.randint(1, 2)):
            changed = mutate(changed, random_)
        try:
            loaded = load_text(tmp_path, json.dumps(changed, ensure_ascii=random_.random() < 0.5))
        except InputError:
            continue
        accepted += 1
        check_rendered(loaded)
    assert 0 < accepted < 100


@pytest.mark.parametrize("seed", range(4))
def test_scrambled_texts_are_refused_or_rendered(seed: int, tmp_path: Path) -> None:
    random_ = random.Random(seed)
    text = yaml.safe_dump(whole_recipe(), sort_keys=False)
    for _ in range(100):
        try:
            loaded = load_text(tmp_path, scramble(text, random_))
        except InputError as error:
            assert str(tmp_path) in error.message
            continue
        check_rendered(loaded)
