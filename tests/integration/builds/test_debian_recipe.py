"""Debian with everything of a site: users, scripts, further repositories, a resolver; and a day of a snapshot."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import re
import stat
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.archive.unpack import read_index, unpack
from builder.model.artifacts.index import FileRecord
from builder.model.artifacts.manifest import Manifest
from tests.debian_repository import make_deb, make_flat, make_suite
from tests.images import UNUSUAL, run_diskless, ssh_key, write_recipe
from tests.pacman_distribution.repository import Key, make_key
from tests.require import needs_network, needs_root, needs_tool
from tests.scratch import scratch

pytestmark = [
    needs_root,
    needs_network,
    needs_tool("mmdebstrap", "gpg", "dpkg-deb", "ssh-keygen"),
    pytest.mark.root,
    pytest.mark.network,
]
HASH = "$6$salt$" + "x" * 86
PACKAGES = ["systemd-sysv", "linux-image-amd64", "initramfs-tools", "udev", "openssh-server", "nfs-common"]


@functools.cache
def site_key() -> Key:
    return make_key(scratch() / "site-key", "site")


@functools.cache
def debs() -> Path:
    directory = scratch() / "debs"
    directory.mkdir()
    return directory


def suite(name: str, key: Key | None) -> dict[str, Any]:
    """A repository of one package that is called like it, as a recipe names it."""
    root = scratch() / UNUSUAL / name
    make_suite(root, "stable", [make_deb(debs(), name)], key)
    entry: dict[str, Any] = {"url": f"file://{urllib.parse.quote(str(root))}", "suite": "stable"}
    return {**entry, "signatures": "never"} if key is None else entry


def keyring(directory: Path, key: Key) -> str:
    """The public key as a file beside the recipe."""
    (directory / "site.gpg").write_bytes(key._gpg("--export", key.fingerprint))
    return "site.gpg"


@functools.cache
def everything() -> tuple[Path, Path]:
    """The version, and its recipe's directory."""
    directory = scratch() / "recipes" / "everything"
    directory.mkdir(parents=True)
    flat = scratch() / "debian-repositories" / "flat"
    make_flat(flat, [make_deb(debs(), "hello-flat")], None)
    repositories = [
        {**suite("hello-site", site_key()), "keyring": keyring(directory, site_key())},
        {"url": f"file://{flat}", "suite": "./", "components": [], "signatures": "never"},
    ]
    (directory / "admin.pub").write_bytes(ssh_key().with_suffix(".pub").read_bytes())
    (directory / "setup.sh").write_text(
        "#!/bin/sh\nset -e\nhello-site\nhello-flat\nid -u alice > /etc/alice\n"
        "setcap cap_net_raw+ep /usr/bin/hello-site\n",
        "utf-8",
    )
    users = [
        {"name": "root", "ssh_keys": ["admin.pub"]},
        {"name": "alice", "password_hash": HASH, "groups": ["audio"], "ssh_keys": ["admin.pub"]},
    ]
    recipe = write_recipe(
        directory,
        image="everything",
        distribution={
            "name": "debian",
            "suite": "bookworm",
            "repositories": repositories,
            "keyring": {"newest": "true"},
        },
        packages=[*PACKAGES, "libcap2-bin", "hello-site", "hello-flat"],
        system={"users": users, "masked": ["rpcbind.service", "rpcbind.socket"]},
        network={"client": "none", "resolver": "kernel"},
        scripts=["setup.sh"],
    )
    result = run_diskless("build", recipe, "--output", scratch() / "output")
    assert result.returncode == 0, result.stderr
    return Path(result.stdout.strip()), directory


@functools.cache
def tree() -> Path:
    target = scratch() / "everything"
    target.mkdir()
    version, _ = everything()
    unpack(version / "rootfs.tar.zst", version / "index.json.zst", target)
    return target


def manifest() -> Manifest:
    return Manifest.from_json((everything()[0] / "manifest.json").read_text(encoding="utf-8"))


def record(path: str) -> FileRecord:
    return next(file for file in read_index(everything()[0] / "index.json.zst").files if file.path == path)


def test_users_can_log_in_with_their_keys() -> None:
    public = ssh_key().with_suffix(".pub").read_text("ascii")
    for home, uid in (("root", 0), ("home/alice", 1000)):
        keys = f"{home}/.ssh/authorized_keys"
        assert (tree() / keys).read_text("ascii") == public
        modes = [(stat.S_IMODE(record(path).mode), record(path).uid) for path in (f"{home}/.ssh", keys)]
        assert modes == [(0o700, uid), (0o600, uid)]
    assert (stat.S_IMODE(record("home/alice").mode), record("home/alice").gid) == (0o700, 1000)
    assert record("home/alice/.bashrc").uid == 1000


def test_accounts_are_as_the_recipe_says_and_their_day_is_the_epochs() -> None:
    day = manifest().epoch // 86400
    shadow = (tree() / "etc/shadow").read_text("ascii").splitlines()
    assert f"alice:{HASH}:{day}:0:99999:7:::" in shadow
    assert f"root:*:{day}:0:99999:7:::" in shadow
    assert (stat.S_IMODE(record("etc/shadow").mode), record("etc/shadow").gid) == (0o640, 42)
    check: list[str | Path] = ["chroot", tree(), "pwck", "--read-only", "--quiet"]
    result = subprocess.run(check, capture_output=True, encoding="utf-8", check=False)
    assert "alice" not in result.stdout + result.stderr
    assert "audio:x:29:alice" in (tree() / "etc/group").read_text("ascii").splitlines()


def test_the_hash_is_in_no_other_artifact() -> None:
    version, _ = everything()
    for name in ("build.log", "manifest.json"):
        assert HASH not in (version / name).read_text("utf-8")


def test_the_script_ran_with_what_the_repositories_brought() -> None:
    assert (tree() / "etc/alice").read_text("ascii") == "1000\n"
    assert [script.source for script in manifest().scripts] == ["setup.sh"]
    log = (everything()[0] / "build.log").read_text("utf-8")
    assert re.search(r"^\$ /run/diskless/scripts/1-setup.sh\nhello\nhello\n", log, re.MULTILINE)
    assert {"hello-site", "hello-flat"} <= {package.name for package in manifest().packages}
    assert "file:" not in (tree() / "etc/apt/sources.list").read_text("ascii")


def test_the_images_keyrings_are_its_own_packages() -> None:
    """Those of the host, and the newest that the build took, decide what is installed, and are not installed."""
    assert "keyring: debian-archive-keyring " in (everything()[0] / "build.log").read_text("utf-8")
    sums = tree() / "var/lib/dpkg/info/debian-archive-keyring.md5sums"
    listed = [line.split("  ") for line in sums.read_text("ascii").splitlines()]
    wanted = {path: digest for digest, path in listed if path.startswith("usr/share/keyrings/")}
    files = [path for path in (tree() / "usr/share/keyrings").iterdir() if not path.is_symlink()]
    found = {
        str(path.relative_to(tree())): hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        for path in files
    }
    assert found == wanted
    assert not list((tree() / "root").glob(".gnupg"))
    signers = [path.name for path in (tree() / "etc/apt/trusted.gpg.d").iterdir()]
    assert all(name.startswith("debian-archive-") for name in signers)


def test_capabilities_are_kept_and_listed() -> None:
    assert manifest().capabilities == ("/usr/bin/hello-site",)
    getcap = subprocess.run(["getcap", tree() / "usr/bin/hello-site"], check=True, capture_output=True)
    assert b"cap_net_raw" in getcap.stdout


def test_masked_units_and_the_resolver() -> None:
    systemd = tree() / "etc/systemd/system"
    assert {str((systemd / f"rpcbind.{kind}").readlink()) for kind in ("service", "socket")} == {"/dev/null"}
    assert str((tree() / "etc/resolv.conf").readlink()) == "../run/diskless/resolv.conf"
    lease = tree() / "run/net-eth0.conf"
    lease.write_text("DEVICE='eth0'\nIPV4DNS0='192.0.2.1'\nIPV4DNS1='0.0.0.0'\nDNSDOMAIN='lab.example.org'\n", "ascii")
    subprocess.run(["chroot", tree(), "/usr/local/lib/diskless/resolver"], check=True)
    made = (tree() / "run/diskless/resolv.conf").read_text("ascii")
    assert made == "search lab.example.org\nnameserver 192.0.2.1\n"


@pytest.mark.full
def test_two_builds_give_the_same_bytes(tmp_path: Path) -> None:
    version, directory = everything()
    recipe = directory / "debian-nfs.yml"
    result = run_diskless("build", recipe, "--fresh", "--output", scratch() / "again", "--json", umask=0o077)
    assert result.returncode == 0, result.stderr
    again = Path(json.loads(result.stdout)["directory"])
    for name in ("rootfs.tar.zst", "boot.tar.zst", "manifest.json"):
        assert (again / name).read_bytes() == (version / name).read_bytes(), name


def fails(directory: Path, status: int, *words: str, **changes: Any) -> str:
    result = run_diskless("build", write_recipe(directory, **changes), "--output", directory / "output")
    assert result.returncode == status, result.stderr
    message = result.stderr.partition("error: ")[2]
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in message, result.stderr
    return message


def debian(*repositories: dict[str, Any], **more: Any) -> dict[str, Any]:
    lists = {"updates": "false", "security_mirrors": []}  # fewer to fetch
    return {"name": "debian", "suite": "bookworm", "repositories": list(repositories), **lists, **more}


def test_a_repository_that_is_signed_by_another_key_is_refused(tmp_path: Path) -> None:
    stranger = make_key(tmp_path / "stranger", "stranger")
    entry = {**suite("hello-stranger", stranger), "keyring": keyring(tmp_path, site_key())}
    place = entry["url"]
    fails(tmp_path, 4, place, "not signed by a key", "site.gpg", distribution=debian(entry), packages=PACKAGES)


def test_a_repository_without_signature_is_refused(tmp_path: Path) -> None:
    entry = suite("hello-unsigned", None)
    entry = {"url": entry["url"], "suite": "stable", "keyring": keyring(tmp_path, site_key())}
    fails(tmp_path, 4, entry["url"], "not signed by a key", distribution=debian(entry), packages=PACKAGES)


def test_a_package_that_was_altered_is_refused(tmp_path: Path) -> None:
    entry = {**suite("hello-altered", site_key()), "keyring": keyring(tmp_path, site_key())}
    (deb,) = Path(urllib.parse.unquote(entry["url"].removeprefix("file://"))).glob("pool/*.deb")
    content = bytearray(deb.read_bytes())
    content[-20] ^= 1
    deb.write_bytes(content)
    words = (deb.name, "is not what its repository's index says")
    fails(tmp_path, 5, *words, distribution=debian(entry), packages=[*PACKAGES, "hello-altered"])


def test_a_repository_that_is_not_there_is_named(tmp_path: Path) -> None:
    entry = {"url": f"file://{tmp_path}/nothing", "suite": "stable", "signatures": "never"}
    fails(tmp_path, 4, f"{tmp_path}/nothing", "check its url", distribution=debian(entry), packages=PACKAGES)


@contextlib.contextmanager
def web_server(directory: Path) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(directory))

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


OLD = 1577880000  # 2020-01-01 12:00 UTC


@pytest.mark.parametrize(
    ("day", "status", "words"),
    [
        # accepted, although its index was valid for a week: what is missing are packages
        ("2020-01-02", 2, "no such package in bookworm: pxelinux"),
        ("2020-01-01", 5, "is not the state of 2020-01-01"),
        ("2020-02-02", 4, "is there a snapshot of 2020-02-02"),
        ("2999-01-01", 2, "2999-01-01 is yet to come"),
    ],
)
def test_a_snapshot_is_that_days_or_nothing(day: str, status: int, words: str, tmp_path: Path) -> None:
    """A server of the layout of snapshot.debian.org, with two days of one state."""
    for stamp in ("20200101T000000Z", "20200102T000000Z"):
        deb = make_deb(debs() / stamp / day, "apt", "2.6")
        make_suite(tmp_path / "archive/debian" / stamp, "bookworm", [deb], site_key(), date=OLD)
    ring = str((tmp_path / keyring(tmp_path, site_key())).absolute())
    with web_server(tmp_path) as url:
        distribution = debian(snapshot=day, mirrors=[f"{url}/archive/debian"], keyring=ring)
        fails(tmp_path, status, words, distribution=distribution, packages=["apt"])


@pytest.mark.full
def test_a_failed_build_can_be_entered(tmp_path: Path) -> None:
    output = scratch() / "keep-failed"
    (tmp_path / "broken.sh").write_text("#!/bin/sh\necho half > /etc/half-done\nexit 1\n", "utf-8")
    network = {"client": "none", "resolver": "kernel"}
    recipe = write_recipe(tmp_path, packages=PACKAGES, scripts=["broken.sh"], network=network)
    result = run_diskless("build", recipe, "--output", output, "--keep-failed")
    assert result.returncode == 4
    assert "the script broken.sh failed: exit status 1" in result.stderr
    found = re.search(r"^ *kept: (\S+)$", result.stderr, re.MULTILINE)
    assert found is not None, result.stderr
    assert f"diskless shell {found[1]}" in result.stderr
    entered = run_diskless("shell", found[1], "--output", output, "--", "cat", "/etc/half-done")
    assert (entered.returncode, entered.stdout) == (0, "half\n")
    # the next run, whatever becomes of it, leaves it alone
    assert run_diskless("build", write_recipe(tmp_path, packages=["no-such"]), "--output", output).returncode == 2
    assert Path(found[1]).is_dir()
