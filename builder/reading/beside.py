"""Files that a recipe names: beside it, or (keyrings) on this host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from builder.model.entry import FileBeside
from builder.model.fault import Fault, Place
from builder.model.recipe import DebianDistribution, Recipe
from builder.model.syntax import SSH_KEY, has_whole_ssh_key
from builder.system.files import sha256_of

_PROGRAM = (b"#!", b"\x7fELF")
_PIECE = 1 << 20
_SMALL = 1 << 20  # bytes that are held in memory
_LARGEST: dict[str | int, int] = {"scripts": 256 << 20, "system": _SMALL}  # programs may be large, public keys are not


def read_beside(recipe: Recipe, directory: Path, faults: list[Fault]) -> tuple[dict[str, bytes], dict[str, FileBeside]]:
    """Every file beside the recipe, by its name in the recipe; adds to `faults`.

    The content of what is small or a program, and of `files` where the others lie: memory does not grow with them.
    """
    sources: dict[str, bytes] = {}
    large: dict[str, FileBeside] = {}
    for name, place in _named(recipe):
        content = _read(name, place, directory, faults)
        if content is None:
            continue
        if isinstance(content, FileBeside):
            large[name] = content
            continue
        sources[name] = content
        if place[0] == "scripts":
            faults.extend(_script_faults(name, content, place))
        elif place[0] == "system":
            faults.extend(_key_faults(name, content, place))
    return sources, large


def pieces_of(file: FileBeside) -> Iterator[bytes]:
    """Its bytes."""
    with Path(file.path).open("rb") as stream:
        while piece := stream.read(_PIECE):
            yield piece


def read_keyrings(distribution: DebianDistribution, directory: Path, faults: list[Fault]) -> tuple[str | None, ...]:
    """The absolute path of each repository's keyring, which must be a file that holds keys."""
    found: list[str | None] = []
    for position, repository in enumerate(distribution.repositories):
        if repository.keyring is None:
            found.append(None)
            continue
        path = directory / repository.keyring
        place: Place = ("distribution", "repositories", position, "keyring")
        if path.suffix not in (".gpg", ".asc"):
            faults.append(
                Fault(place, f"apt reads keys from .gpg and .asc files, not {path.name}", "name it by what it holds")
            )
        elif not path.is_file():
            faults.append(Fault(place, f"there is no file {path}", "create it, or correct the name"))
        found.append(str(path.absolute()))
    return tuple(found)


def _named(recipe: Recipe) -> Iterator[tuple[str, Place]]:
    for position, file in enumerate(recipe.files):
        if file.source is not None:
            yield file.source, ("files", position, "source")
    for position, script in enumerate(recipe.scripts):
        yield script.source, ("scripts", position, "source")
    for position, user in enumerate(recipe.system.users):
        for number, text in enumerate(user.ssh_keys):
            if SSH_KEY.fullmatch(text) is None:
                yield text, ("system", "users", position, "ssh_keys", number)


def _read(name: str, place: Place, directory: Path, faults: list[Fault]) -> bytes | FileBeside | None:
    path = directory / name
    try:
        if not path.resolve().is_relative_to(directory.resolve()):
            faults.append(
                Fault(place, f"'{name}' leads out of the recipe's directory", "copy the file beside the recipe")
            )
        elif not path.is_file():
            faults.append(
                Fault(place, f"'{name}' is not a file beside the recipe", f"create {path}, or correct the name")
            )
        elif (size := path.stat().st_size) <= _SMALL:
            return path.read_bytes()
        elif place[0] == "files":
            return FileBeside(str(path.absolute()), size, sha256_of(path))
        elif size <= _LARGEST[place[0]]:
            return path.read_bytes()
        else:
            most = _LARGEST[place[0]] >> 20
            faults.append(Fault(place, f"'{name}' has more than {most} MiB", "is it the right file?"))
    except (OSError, RuntimeError) as error:
        faults.append(Fault(place, f"'{name}' cannot be read: {error}", "check its permissions"))
    return None


def _script_faults(name: str, content: bytes, place: Place) -> Iterator[Fault]:
    first = content.partition(b"\n")[0]
    if not content.startswith(_PROGRAM):
        yield Fault(place, f"'{name}' does not say what runs it", "begin it with a line such as #!/bin/sh")
    elif first.startswith(b"#!") and first.endswith(b"\r"):
        yield Fault(place, f"'{name}' has the line ends of Windows", "convert it: sed -i 's/\\r$//' " + name)


def _key_faults(name: str, content: bytes, place: Place) -> Iterator[Fault]:
    """Each line of authorized_keys, sshd(8): options may come before the key."""
    lines = [line.strip() for line in content.decode("utf-8", "replace").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if "PRIVATE KEY-----" in content.decode("ascii", "replace"):
        yield Fault(place, f"'{name}' is a private key", f"name the public one, most often {name}.pub")
    elif not lines:
        yield Fault(place, f"'{name}' holds no key", "copy a .pub file there, as ssh-keygen makes them")
    else:
        for line in lines:
            if not has_whole_ssh_key(line):
                yield Fault(
                    place,
                    f"'{name}' has a line that is not a whole ssh public key",
                    "each line of it is one key: ssh-ed25519 AAAA... name",
                )
                break
