"""Files that a recipe names: beside it, or (keyrings) on this host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from builder.model.fault import Fault, Place
from builder.model.recipe import DebianDistribution, Recipe
from builder.model.syntax import SSH_KEY, has_whole_ssh_key

_PROGRAM = (b"#!", b"\x7fELF")


def read_beside(recipe: Recipe, directory: Path, faults: list[Fault]) -> dict[str, bytes]:
    """The content of every file beside the recipe, by its name in the recipe; adds to `faults`."""
    sources: dict[str, bytes] = {}
    for name, place in _named(recipe):
        content = _read(name, place, directory, faults)
        if content is None:
            continue
        sources[name] = content
        if place[0] == "scripts":
            faults.extend(_script_faults(name, content, place))
        elif place[0] == "system":
            faults.extend(_key_faults(name, content, place))
    return sources


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


def _read(name: str, place: Place, directory: Path, faults: list[Fault]) -> bytes | None:
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
        else:
            return path.read_bytes()
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
