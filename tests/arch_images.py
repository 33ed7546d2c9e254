"""Arch-shaped images from the tests' own pacman distribution, and tiny repositories with something wrong in them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.images import build_image, ssh_key, write_recipe
from tests.pacman_distribution.distribution import NAME, pacman_distribution
from tests.pacman_distribution.package import Package
from tests.pacman_distribution.repository import Key, make_key, make_repository
from tests.scratch import scratch

# pacman 7.1 resolves every directory option, and refuses one that does not exist: older ones do so here
_STRICT_PACMAN = """\
#!/bin/sh
option=
for word; do
	case $word in --*dir=* | --*path=* | --*root=*) option=${word%%=*} word=${word#*=} ;; esac
	case $option in
	-b | -r | --root | --sysroot | --dbpath | --cachedir | --gpgdir | --hookdir)
		if [ ! -d "$word" ]; then
			echo "error: failed to resolve path '$word' passed to '$option': No such file or directory" >&2
			exit 1
		fi ;;
	esac
	option=$word
done
exec /usr/bin/pacman "$@"
"""


@functools.cache
def strict_pacman() -> Path:
    """A directory of programs for `run_diskless` with a pacman that is as strict as 7.1."""
    directory = scratch() / "strict"
    directory.mkdir()
    (directory / "pacman").write_text(_STRICT_PACMAN, "ascii")
    (directory / "pacman").chmod(0o755)
    return directory


def write_arch_recipe(directory: Path, base: str = "arch-nfs-classic", **changes: Any) -> Path:
    """A recipe of the project on the local repository; keys of `distribution` are added to it."""
    distribution = {**pacman_distribution().recipe, **changes.pop("distribution", {})}
    return write_recipe(directory, base, distribution=distribution, **changes)


@functools.cache
def arch_image(base: str = "arch-nfs-classic") -> Path:
    """A recipe of the project with a key for root, built once a test run."""
    public_key = ssh_key().with_suffix(".pub").read_text(encoding="ascii")
    files = [{"path": "/root/.ssh/authorized_keys", "text": public_key, "mode": "0600"}]
    # a package for a client without any mirror to install
    files += [{"path": "/root/hello.pkg.tar.zst", "source": "hello.pkg.tar.zst"}]
    source = scratch() / "recipes" / base / "hello.pkg.tar.zst"
    source.parent.mkdir(parents=True)
    hello().write(source.parent).rename(source)
    # tests read in its log how pacman was called, which a tree of an earlier run would leave out
    distribution = pacman_distribution().recipe
    return build_image(base, base, fresh=True, programs=strict_pacman(), files=files, distribution=distribution)


@functools.cache
def arch_everything() -> Path:
    """Users, a script, masked units and the boot's own name servers, on Arch."""
    source = scratch() / "recipes" / "arch-everything"
    source.mkdir(parents=True)
    (source / "admin.pub").write_bytes(ssh_key().with_suffix(".pub").read_bytes())
    (source / "setup.sh").write_text("#!/bin/sh\nset -e\nid -u alice > /etc/alice\n", encoding="utf-8")
    users = [
        {"name": "root", "ssh_keys": ["admin.pub"]},
        {"name": "alice", "ssh_keys": ["admin.pub"], "groups": ["audio"], "uid": "1234"},
    ]
    return build_image(
        "arch-everything",
        "arch-nfs-resolv",
        programs=strict_pacman(),
        distribution=pacman_distribution().recipe,
        system={"users": users, "services": ["sshd"], "masked": ["systemd-networkd.service", "systemd-resolved"]},
        scripts=["setup.sh"],
        network={"client": "none", "resolver": "kernel"},
    )


def hello(version: str = "1.0-1") -> Package:
    """A package with one program; what is in the cache from another test is of another version."""
    package = Package("hello", version, depends=["bash"])
    package.add_file("usr/bin/hello", "#!/bin/sh\necho hello from $(hostname)\n", 0o755)
    return package


@functools.cache
def stranger() -> Key:
    """A key that nobody trusts."""
    return make_key(Path("/tmp") / f"stranger-{scratch().name}", "stranger")


def extra_repository(name: str, packages: Sequence[Package], key: Key | None) -> dict[str, Any]:
    """The repositories of a recipe: the distribution's, and one more of these packages."""
    directory = make_repository(scratch() / "repositories" / name, name, packages, key)
    more: dict[str, Any] = {"name": name, "mirrors": [f"file://{directory}"]}
    return {"repositories": [{"name": NAME}, more if key else {**more, "signatures": "never"}]}
