"""Who we are to a registry or web server: the environment, then the files and helpers of docker and podman.

Sources: config.json and credential helpers of docker-login(1), containers-auth.json(5).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.errors import HostError, InputError
from builder.system.run import run_filter

USERNAME, PASSWORD, TOKEN, HEADERS = "DISKLESS_USERNAME", "DISKLESS_PASSWORD", "DISKLESS_TOKEN", "DISKLESS_HEADERS"
_IDENTITY = "<token>"  # the user name by which a helper says that its secret is an identity token


@dataclass(frozen=True)
class Login:
    """A user and password, or a token that is exchanged for others; never shown."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header, RFC 7617."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown."""
        return tuple(secret for secret in (self.password, self.identity_token, self.basic[6:]) if secret)


def environment_login() -> Login | None:
    """DISKLESS_USERNAME and DISKLESS_PASSWORD; InputError where only one of them is there."""
    username, password = os.environ.get(USERNAME, ""), os.environ.get(PASSWORD, "")
    if bool(username) != bool(password):
        raise InputError(f"only one of {USERNAME} and {PASSWORD} is set", "set both or none")
    return Login(username, password) if username else None


def environment_headers() -> tuple[tuple[str, str], ...]:
    """The lines of DISKLESS_HEADERS, and DISKLESS_TOKEN as a bearer."""
    lines = [line for line in os.environ.get(HEADERS, "").splitlines() if line.strip()]
    token = os.environ.get(TOKEN)
    bearer = (("Authorization", f"Bearer {token}"),) if token else ()
    return (*map(parse_header, lines), *bearer)


def parse_header(text: str) -> tuple[str, str]:
    """`Name: value`, or `Name: env:VARIABLE` for a value that is in the environment; InputError otherwise."""
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    if not colon or not name or not value or not name.isascii() or any(char in name for char in " \t/()<>@,;"):
        # what was written may be a secret
        raise InputError("a header is not of the form 'Name: value'", "--header 'Private-Token: env:TOKEN'")
    if value.startswith("env:"):
        variable = value.removeprefix("env:")
        value = os.environ.get(variable, "").strip()
        if not value:
            raise InputError(f"the header {name} is to come from {variable}, which is not set", f"export {variable}")
    if not value.isprintable():
        raise InputError(f"the header {name} has a value of several lines", "give one line")
    return name, value


def registry_login(host: str, repository: str) -> Login | None:
    """The login for a repository of a registry: of the environment, else of the first file that has one."""
    return environment_login() or next(_file_logins(host, repository), None)


def _file_logins(host: str, repository: str) -> Iterator[Login]:
    for path in _config_files():
        config = _read_config(path)
        for name in _names(host, repository):
            helper = _table(config, "credHelpers").get(name)
            entry = _entry(config, name)
            if isinstance(helper, str):
                login = _ask_helper(helper, name)
            elif entry is not None:
                login = _from_entry(entry, path) or _from_store(config, name)
            else:
                login = _from_store(config, name) if name == host else None
            if login is not None:
                yield login


def _config_files() -> list[Path]:
    found = []
    if "REGISTRY_AUTH_FILE" in os.environ:
        found.append(Path(os.environ["REGISTRY_AUTH_FILE"]))
    if "XDG_RUNTIME_DIR" in os.environ:
        found.append(Path(os.environ["XDG_RUNTIME_DIR"]) / "containers/auth.json")
    home = Path(os.environ.get("HOME", "/root"))
    found.append(Path(os.environ.get("DOCKER_CONFIG", str(home / ".docker"))) / "config.json")
    return found


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise HostError(
            f"{path} cannot be read as JSON: {type(error).__name__}", "docker login writes it anew"
        ) from error
    return config if isinstance(config, dict) else {}


def _names(host: str, repository: str) -> Iterator[str]:
    """The most exact first: host/group/repository, host/group, host."""
    parts = [host, *repository.split("/")]
    for count in range(len(parts), 0, -1):
        yield "/".join(parts[:count])


def _table(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = config.get(name)
    return table if isinstance(table, dict) else {}


def _entry(config: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """Of `auths`, whose names may be written as addresses: https://host/v1/."""
    for key, value in _table(config, "auths").items():
        plain = key.partition("://")[2] or key
        for ending in ("/", "/v1", "/v2"):
            plain = plain.removesuffix(ending)
        if plain == name and isinstance(value, dict):
            return value
    return None


def _from_entry(entry: Mapping[str, Any], path: Path) -> Login | None:
    if entry.get("identitytoken"):
        return Login(identity_token=str(entry["identitytoken"]))
    if entry.get("auth"):
        try:
            username, _, password = base64.b64decode(entry["auth"], validate=True).decode("utf-8").partition(":")
        except (binascii.Error, TypeError, ValueError) as error:
            raise HostError(f"{path} has a login that is not base64", "docker login writes it anew") from error
        return Login(username, password.rstrip("\0"))
    if entry.get("username"):
        return Login(str(entry["username"]), str(entry.get("password", "")))
    return None


def _from_store(config: Mapping[str, Any], name: str) -> Login | None:
    store = config.get("credsStore")
    return _ask_helper(store, name) if isinstance(store, str) and store else None


def _ask_helper(helper: str, name: str) -> Login | None:
    """docker-credential-HELPER get: the host goes to its standard input, JSON comes back; None where it has none."""
    program = f"docker-credential-{helper}"
    if not helper.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise HostError(f"{helper!r} is not a name of a credential helper", "see credHelpers in docker's config.json")
    status, output, _ = run_filter([program, "get"], name.encode(), os.environ)
    if status != 0:
        return None
    try:
        answer = json.loads(output)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, TypeError, KeyError) as error:
        raise HostError(f"{program} gave no login", f"printf {name} | {program} get") from error
    return Login(identity_token=secret) if username == _IDENTITY else Login(username, secret)
