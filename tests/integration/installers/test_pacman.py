"""pacman against local repositories: what a recipe can ask for, and everything that a repository can have wrong."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.arch_images import extra_repository, hello, stranger, strict_pacman, write_arch_recipe
from tests.images import build_cache, run_diskless
from tests.pacman_distribution.distribution import HERE, pacman_distribution
from tests.pacman_distribution.package import Package
from tests.pacman_distribution.repository import make_repository
from tests.require import needs_arch_build
from tests.scratch import scratch

pytestmark = [*needs_arch_build]


def fails(directory: Path, status: int, *words: str, phase: str = "resolve", **changes: Any) -> str:
    """Builds, and expects one error message with these words; returns the message."""
    recipe = write_arch_recipe(directory, **changes)
    options = ("--output", directory / "output", "--cache", scratch() / "cache")
    result = run_diskless("build", recipe, *options, programs=strict_pacman())
    assert result.returncode == status, result.stderr
    found = re.search(r"^error: (.*)\Z", result.stderr, re.MULTILINE | re.DOTALL)
    message = found[1] if found else ""
    assert message.startswith(f"{phase}: " if phase else ""), result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in message, result.stderr
    assert not list((directory / "output/.work").glob("build-*"))
    return message


def test_an_unknown_package_is_named_with_its_neighbours(tmp_path: Path) -> None:
    packages = ["base", "linux", "mkinitcpio", "nanoo", "mkinitcpio-nfs-utils"]
    fails(tmp_path, 2, "no such package or group in core: nanoo", "did you mean nano", packages=packages)


@pytest.mark.parametrize(
    ("packages", "words"),
    [
        (["base", "mkinitcpio", "mkinitcpio-nfs-utils"], ("no kernel", "add one of linux")),
        (["base", "mkinitcpio-nfs-utils"], ("no kernel",)),
    ],
)
def test_an_image_needs_a_kernel(packages: list[str], words: tuple[str, ...], tmp_path: Path) -> None:
    fails(tmp_path, 2, *words, packages=packages)


def test_unreachable_mirrors_are_named(tmp_path: Path) -> None:
    mirrors = ["http://127.0.0.1:9/$repo", "http://127.0.0.1:10/$repo"]
    words = ("http://127.0.0.1:9/$repo, http://127.0.0.1:10/$repo", "distribution.mirrors")
    fails(tmp_path, 4, *words, distribution={"mirrors": mirrors})


def test_a_missing_keyring_is_named(tmp_path: Path) -> None:
    fails(tmp_path, 3, "/nonexistent/ring.gpg", distribution={"keyring": "/nonexistent/ring.gpg"})


def test_a_file_without_keys_is_no_keyring(tmp_path: Path) -> None:
    ring = tmp_path / "ring.gpg"
    ring.write_text("not a key", "ascii")
    fails(tmp_path, 2, f"{ring} holds no public keys", phase="", distribution={"keyring": str(ring)})


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    more = extra_repository("unknown-key", [hello("2.0-1")], stranger())
    words = ("not signed by a key", stranger().fingerprint[-16:], "distribution.keyring: {newest: true}")
    packages = [*PACKAGES, "less", "psmisc"]
    fails(tmp_path, 5, *words, phase="fetch", distribution=more, packages=packages)
    # of all that is in the cache now, nothing is thrown away but what was refused, and a signature that does not fit
    cache = build_cache(scratch() / "cache") / "packages/pacman/packages"
    assert not list(cache.glob("hello-2.0-1-*"))
    (less,), (psmisc,) = cache.glob("less-*.zst"), cache.glob("psmisc-*.zst")
    before = {path.name: path.stat().st_ino for path in cache.iterdir()}
    assert len(before) > 100
    shutil.copy(f"{less}.sig", f"{psmisc}.sig")
    message = fails(tmp_path, 5, *words, phase="fetch", distribution=more, packages=packages)
    assert "psmisc" not in message
    after = {path.name: path.stat().st_ino for path in cache.iterdir()}
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} <= {psmisc.name, f"{psmisc.name}.sig"}
    assert Path(f"{psmisc}.sig").read_bytes() != Path(f"{less}.sig").read_bytes()


def test_an_untrusted_key_is_refused(tmp_path: Path) -> None:
    ring = pacman_distribution().key.write_keyring(tmp_path / "keys", "untrusted", trusted=False)
    distribution = {"keyring": str(ring)}
    fails(tmp_path, 5, "not signed by a key", str(ring), phase="fetch", distribution=distribution)


def test_an_altered_package_is_refused(tmp_path: Path) -> None:
    more = extra_repository("altered", [hello("2.1-1")], pacman_distribution().key)
    package = scratch() / "repositories/altered" / hello("2.1-1").filename
    content = package.read_bytes()
    package.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    words = (f"{package.name} is not the file that the repository's database describes",)
    fails(tmp_path, 5, *words, phase="fetch", distribution=more, packages=PACKAGES)
    package.write_bytes(content + b"\0")
    fails(tmp_path, 5, "is not the file", package.name, phase="fetch", distribution=more, packages=PACKAGES)


def test_a_package_that_takes_the_place_of_a_signed_one_is_refused(tmp_path: Path) -> None:
    key = pacman_distribution().key
    more = extra_repository("replaced", [hello("2.2-1")], key)
    directory = scratch() / "repositories/replaced"
    signature = (directory / f"{hello('2.2-1').filename}.sig").read_bytes()
    evil = hello("2.2-1")
    evil.add_file("usr/bin/hello", "#!/bin/sh\necho evil\n", 0o755)
    make_repository(directory, "replaced", [evil])
    (directory / f"{evil.filename}.sig").write_bytes(signature)
    words = ("was changed after it was signed", "hello: signature from")
    fails(tmp_path, 5, *words, phase="fetch", distribution=more, packages=PACKAGES)


def test_an_unsigned_package_is_refused(tmp_path: Path) -> None:
    more = extra_repository("unsigned", [hello("2.3-1")], None)
    more["repositories"][1].pop("signatures")
    fails(tmp_path, 5, "hello", phase="fetch", distribution=more, packages=PACKAGES)


def test_a_stale_database_is_named(tmp_path: Path) -> None:
    more = extra_repository("stale", [hello("2.4-1")], pacman_distribution().key)
    (scratch() / "repositories/stale" / hello("2.4-1").filename).unlink()
    fails(tmp_path, 4, hello("2.4-1").filename, "stale", phase="fetch", distribution=more, packages=PACKAGES)


def test_what_is_no_database_is_named(tmp_path: Path) -> None:
    more = extra_repository("broken", [hello("2.2-1")], pacman_distribution().key)
    database = scratch() / "repositories/broken/broken.db"
    database.unlink()
    database.write_text("<html>It works!</html>", "ascii")
    fails(tmp_path, 5, "broken", "try another mirror", distribution=more)


def test_packages_that_bring_the_same_file_are_named(tmp_path: Path) -> None:
    twin = hello()
    twin.name = "twin"
    more = extra_repository("conflict", [hello(), twin], pacman_distribution().key)
    packages = [*PACKAGES, "twin"]
    words = ("/usr/bin/hello exists in both", "hello", "twin")
    fails(tmp_path, 2, *words, phase="install", distribution=more, packages=packages)


def test_packages_that_exclude_each_other_are_named(tmp_path: Path) -> None:
    enemy = Package("enemy", "1.0-1", conflicts=["hello"])
    more = extra_repository("enemies", [hello(), enemy], pacman_distribution().key)
    packages = [*PACKAGES, "enemy"]
    fails(tmp_path, 2, "exclude each other", "enemy", phase="install", distribution=more, packages=packages)


def test_a_dependency_that_nobody_has_is_named(tmp_path: Path) -> None:
    orphan = Package("orphan", "1.0-1", depends=["no-such-library"])
    more = extra_repository("orphans", [orphan], pacman_distribution().key)
    fails(tmp_path, 2, "no-such-library", "assume_installed", distribution=more, packages=[*PACKAGES[:-1], "orphan"])


def test_what_is_ignored_and_needed_is_named(tmp_path: Path) -> None:
    fails(tmp_path, 2, "kmod is in ignore", "linux", distribution={"ignore": ["kmod"]})


def test_a_hook_that_the_boot_needs_is_fatal(tmp_path: Path) -> None:
    broken = hello()
    hook = (
        "[Trigger]\nType = Package\nOperation = Install\nTarget = hello\n\n[Action]\nDescription = Breaking modules\n"
    )
    broken.add_file(
        "usr/share/libalpm/hooks/50-broken.hook", f"{hook}When = PostTransaction\nExec = /usr/bin/depmod --no\n"
    )
    file = broken.write(tmp_path)
    fails(tmp_path, 5, "Breaking modules", phase="install", distribution={"package_files": [str(file)]})


@pytest.mark.full
@pytest.mark.parametrize(
    ("initramfs", "words"),
    [
        ({"hooks": ["base", "udev", "modcnof", "net"]}, ("modcnof", "did you mean modconf")),
        ({"modules": ["no_such_driver"]}, ("no_such_driver", "initramfs.modules")),
        ({"binaries": ["/usr/bin/mount.nfs5"]}, ("/usr/bin/mount.nfs5", "initramfs.binaries")),
        ({"compression": "lz4"}, ("lz4", "add lz4 to packages")),
    ],
    ids=["hook", "module", "binary", "compressor"],
)
def test_what_the_initramfs_lacks_is_named(initramfs: dict[str, Any], words: tuple[str, ...], tmp_path: Path) -> None:
    fails(tmp_path, 2, *words, phase="initramfs", initramfs={"generator": "mkinitcpio", **initramfs})


@pytest.mark.full
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("add_file /etc/wanted", "initramfs.hooks: wanting wants /etc/wanted, which no package brings"),
        ("add_module wanted", "initramfs.hooks: wanting wants the module wanted, which the kernel has not"),
    ],
    ids=["file", "module"],
)
def test_what_a_hook_lacks_is_no_fault_of_the_recipe(line: str, words: str, tmp_path: Path) -> None:
    package = Package("wanting", "1-1")
    package.add_file("usr/lib/initcpio/install/wanting", f"#!/usr/bin/bash\nbuild() {{\n\t{line}\n}}\n")
    initramfs = {"generator": "mkinitcpio", "hooks": ["base", "udev", "modconf", "wanting", "net"]}
    distribution = {"package_files": [str(package.write(tmp_path))]}
    fails(tmp_path, 2, words, phase="initramfs", initramfs=initramfs, distribution=distribution)


@pytest.mark.full
def test_a_mkinitcpio_that_knows_no_drop_ins_reads_ours(tmp_path: Path) -> None:
    old = Package("mkinitcpio", "99:35-1", provides=["initramfs"], depends=["mkinitcpio-busybox", "bash", "libarchive"])
    old.add_tree(HERE / "standin/mkinitcpio")
    program = old.members["usr/bin/mkinitcpio"][1].decode()
    assert "mkinitcpio 41 (" in program
    program = program.replace("mkinitcpio 41 (", "mkinitcpio 35 (").replace("dropins=1", "dropins=0")
    old.add_file("usr/bin/mkinitcpio", program, 0o755)
    # the second database is wanted by release 41 only
    hook = "usr/lib/initcpio/install/udev"
    old.add_file(hook, old.members[hook][1].replace(b"    add_file /etc/udev/hwdb.bin\n", b""), 0o644)
    distribution = {"package_files": [str(old.write(tmp_path))]}
    recipe = write_arch_recipe(tmp_path, distribution=distribution)
    result = run_diskless("build", recipe, "--output", tmp_path / "output", "--cache", scratch() / "cache")
    assert result.returncode == 0, result.stderr


def test_everything_that_a_recipe_can_ask_for(tmp_path: Path) -> None:
    """A dead mirror before the good one, groups, ignored members, package files, a scriptlet that fails."""
    distribution = pacman_distribution()
    failing = hello()
    failing.name, failing.scriptlet = "failing", "post_install() {\n  echo cannot do that\n  exit 3\n}\n"
    # pacman asks which of two packages shall provide it, and takes the first where nobody answers
    failing.depends += ["no-such-thing", "virtual-thing"]
    failing.members.clear()
    providers = [Package(name, "1-1", provides=["virtual-thing"]) for name in ("provider-a", "provider-b")]
    files = [str(package.write(tmp_path)) for package in (hello(), failing)]
    changes = {
        **extra_repository("providers", providers, distribution.key),
        "mirrors": ["http://127.0.0.1:9/$repo", f"file://{distribution.directory}"],
        "package_files": files,
        "ignore": ["nano"],
        "assume_installed": ["no-such-thing=1"],
    }
    packages = ["base", "linux", "mkinitcpio", "mkinitcpio-nfs-utils", "dhcpcd", "openssh", "tools"]
    recipe = write_arch_recipe(tmp_path, distribution=changes, packages=packages)
    # a damaged file in the cache is fetched again
    cache = build_cache(scratch() / "cache") / "packages/pacman/packages"
    cache.mkdir(parents=True, exist_ok=True)
    (less,) = distribution.directory.glob("less-*.pkg.tar.zst")
    shutil.copy(less, cache)
    (cache / less.name).write_bytes(b"damaged")
    # and so is one whose signature there is another than the mirror's
    (psmisc,) = distribution.directory.glob("psmisc-*.pkg.tar.zst")
    shutil.copy(psmisc, cache)
    shutil.copy(f"{less}.sig", cache / f"{psmisc.name}.sig")
    result = run_diskless("build", recipe, "--output", tmp_path / "output", "--cache", scratch() / "cache", "--quiet")
    assert result.returncode == 0, result.stderr
    failed, firmware = result.stderr.splitlines()
    assert failed == "warning: the scriptlet of 'failing' failed: cannot do that"
    assert firmware.startswith("warning: 25 network drivers ask for firmware that the initramfs lacks")
    manifest = (Path(result.stdout.strip()) / "manifest.json").read_text("utf-8")
    assert all(f'"{name}"' in manifest for name in ("hello", "less", "psmisc", "provider-a"))
    assert not any(f'"{name}"' in manifest for name in ("nano", "provider-b"))


def test_a_lock_that_a_killed_build_left_does_not_matter(tmp_path: Path) -> None:
    packages = ["base", "linux", "mkinitcpio-nfs-utils", "nanoo"]
    fails(tmp_path, 2, "nanoo", packages=packages)
    for directory in (build_cache(scratch() / "cache") / "packages/pacman").glob("databases-*"):
        (directory / "db.lck").touch()
    fails(tmp_path, 2, "nanoo", packages=packages)


PACKAGES = ["base", "linux", "mkinitcpio", "mkinitcpio-nfs-utils", "openssh", "dhcpcd", "hello"]
