"""`.ci/host-packages` on hosts of every kind: package managers are fakes on PATH, the root directory is a test's."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

import pytest

from tests.scratch import scratch

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / ".ci/host-packages"
DEBIAN = "PRETTY_NAME='Debian GNU/Linux 13 (trixie)'\nID=debian\n"
UBUNTU = 'PRETTY_NAME="Ubuntu 24.04.1 LTS"\nID=ubuntu\nID_LIKE=debian\n'
ARCH = 'NAME="Arch Linux"\nID=arch\nBUILD_ID=rolling\n'
RELEASES = {
    DEBIAN: "debian",
    UBUNTU: "debian",
    "ID=raspbian\nID_LIKE=debian\n": "debian",
    'ID=linuxmint\nID_LIKE="ubuntu debian"\n': "debian",
    'ID=elementary\nID_LIKE="ubuntu"\n': "debian",
    ARCH: "arch",
    "ID=cachyos\nID_LIKE=arch\n": "arch",
    "ID=manjaro\nID_LIKE=arch\n": "arch",
    'ID="endeavouros"\nID_LIKE="arch"\n': "arch",
}
ARCH_BUILD = (
    "python",
    "libarchive",
    "util-linux",
    "shadow",
    "passt",
    "ca-certificates",
    "pacman",
    "archlinux-keyring",
    "gnupg",
)
# what only the Arch User Repository has, or what conflicts with what most hosts have
NOT_FOR_ARCH = {"mmdebstrap", "nfs-ganesha", "docker-registry", "xinetd", "mandoc"}

# installed and available names are files of words; every call is noted
COMMON = """#!/bin/sh
echo "${0##*/} $*" >> "$FAKES/calls"
has() { grep -Fqx -e "$1" "$FAKES/$2"; }
"""
FAKES = {
    "pacman": """
case $1 in
-Qq) has "$2" installed ;;
-Sl) sed 's/.*/extra & 1-1/' "$FAKES/known" ;;
-S)
    shift 3
    for name in "$@"; do
        has "$name" gone && echo "error: failed retrieving file: The requested URL returned error: 404" && exit 1
        has "$name" conflicts && echo "error: unresolvable package conflicts detected" && exit 1
    done
    printf '%s\\n' "$@" >> "$FAKES/installed" ;;
*) exit 9 ;;
esac
""",
    "dpkg-query": 'has "$4" installed && printf installed',
    "apt-cache": 'shift 2; for name in "$@"; do has "$name" known && echo "Package: $name"; done',
    "apt-get": """
case "$*" in *update*) exit 0 ;; esac
for name in "$@"; do has "$name" conflicts && exit 100; done
case "$*" in *--simulate*) ;; *) printf '%s\\n' "$@" >> "$FAKES/installed" ;; esac
""",
    "sudo": 'exec "$@"',
    "id": "echo 1000",
    "python3": "exit 1",
}


@functools.cache
def programs() -> Path:
    """The programs of this host, but not its sudo."""
    directory = scratch() / "programs"
    directory.mkdir()
    for path in [*Path("/usr/bin").iterdir(), *Path("/bin").iterdir()]:
        if path.name != "sudo" and not os.path.lexists(directory / path.name):
            (directory / path.name).symlink_to(path)
    return directory


class Host:
    """A host whose package manager knows, has and loses what a test says."""

    def __init__(self, directory: Path, release: str) -> None:
        self.directory = directory
        for name, text in FAKES.items():
            (directory / name).write_text(COMMON + text)
            (directory / name).chmod(0o755)
        for name in ("known", "installed", "conflicts", "gone", "calls"):
            self.write(name)
        self.units = directory / "etc/systemd/system"
        self.units.mkdir(parents=True)
        (directory / "etc/os-release").write_text(release)
        self.mounts = directory / "etc/mtab"
        self.mounts.symlink_to("../proc/self/mounts")

    def write(self, name: str, *words: str) -> None:
        (self.directory / name).write_text("".join(f"{word}\n" for word in words))

    def read(self, name: str) -> list[str]:
        return (self.directory / name).read_text().splitlines()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.call(str(SCRIPT), *arguments)

    def call(self, *argv: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.directory}:{programs()}"
        env = {"PATH": path, "FAKES": str(self.directory), "HOST_ROOT": str(self.directory)}
        return subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, check=False)

    def wanted(self, *arguments: str) -> set[str]:
        """What it asks for on a host that has nothing and knows everything."""
        return set(self.all_wanted(*arguments))

    def all_wanted(self, *arguments: str) -> list[str]:
        (self.directory / "sudo").unlink()
        done = self.run(*arguments)
        assert done.returncode == 1, done.stderr
        (line,) = [line for line in done.stderr.splitlines() if " install " in line or " -S " in line]
        return line.partition("--no-install-recommends" if "apt-get" in line else "--needed")[2].split()


@pytest.fixture
def arch(tmp_path: Path) -> Host:
    return Host(tmp_path, ARCH)


@pytest.fixture
def debian(tmp_path: Path) -> Host:
    return Host(tmp_path, DEBIAN)


@pytest.mark.parametrize(("release", "family"), RELEASES.items())
def test_a_derivative_builds_the_recipe_of_what_it_is_like(release: str, family: str, tmp_path: Path) -> None:
    host = Host(tmp_path, release)
    assert host.run("family").stdout == f"{family}\n"
    wanted = host.wanted("build", f"recipes/{family}-nfs.yml")
    assert ("mmdebstrap" in wanted, "archlinux-keyring" in wanted) == (family == "debian", family == "arch")


@pytest.mark.parametrize("release", RELEASES)
def test_make_builds_a_recipe_that_is_there(release: str, tmp_path: Path) -> None:
    host = Host(tmp_path, release)
    done = host.call("make", "--dry-run", "--always-make", "build")
    (recipe,) = {line.split("'")[1] for line in done.stdout.splitlines() if "diskless build" in line}
    assert (ROOT / recipe).is_file()
    assert host.read("installed") == []


def test_a_bare_root_gets_its_table_of_mounts(debian: Host) -> None:
    debian.mounts.unlink()
    for _ in range(2):
        debian.run("boot")
        assert str(debian.mounts.readlink()) == "../proc/self/mounts"
    assert len([line for line in debian.read("calls") if line.startswith("sudo ln") and "mtab" in line]) == 1


def test_without_sudo_the_table_of_mounts_is_named(debian: Host) -> None:
    debian.mounts.unlink()
    (debian.directory / "sudo").unlink()
    assert f"  ln -s ../proc/self/mounts {debian.mounts}\n" in debian.run("boot").stderr


def test_a_strange_host_is_told_what_to_do(tmp_path: Path) -> None:
    host = Host(tmp_path, "ID=fedora\nPRETTY_NAME=Fedora\n")
    done = host.run("build", "recipes/debian-nfs.yml")
    assert done.returncode == 0
    assert "install by hand" in done.stderr
    assert host.run("family").stdout == "debian\n"


def test_an_unknown_word_is_refused(debian: Host) -> None:
    done = debian.run("tests")
    assert done.returncode == 2
    assert "what is tests?" in done.stderr


def test_nobody_who_may_install_is_told_the_command(arch: Host) -> None:
    (arch.directory / "sudo").unlink()
    done = arch.run("build")
    assert done.returncode == 1
    assert "as root, run:" in done.stderr
    assert "pacman -S --needed python libarchive" in done.stderr


def test_an_arch_recipe_needs_nothing_of_debian_there(arch: Host) -> None:
    assert not arch.wanted("build", "recipes/arch-nfs.yml") & {"apt", "dpkg", "perl", *NOT_FOR_ARCH}


def test_a_recipe_of_debian_does(arch: Host) -> None:
    assert {"apt", "dpkg", "debian-archive-keyring"} <= arch.wanted("build", "recipes/debian-nfs.yml")


def test_no_name_that_arch_does_not_have(arch: Host) -> None:
    wanted = arch.all_wanted("build", "recipes/debian-nfs.yml", "test")
    assert not set(wanted) & NOT_FOR_ARCH
    assert len(wanted) == len(set(wanted))


def test_an_arch_recipe_on_debian_brings_pacman(debian: Host) -> None:
    assert {"pacman-package-manager", "archlinux-keyring"} <= debian.wanted("build", "recipes/arch-nfs.yml")


def test_everything_there_is_nothing_to_do(arch: Host) -> None:
    arch.write("installed", *ARCH_BUILD)
    assert arch.run("build").returncode == 0
    assert {line.split()[0] for line in arch.read("calls")} == {"pacman", "python3"}


def test_nothing_of_arch_is_upgraded(arch: Host) -> None:
    arch.write("known", *ARCH_BUILD)
    assert arch.run("build").returncode == 0
    changes = [
        line for line in arch.read("calls") if line.startswith("pacman") and line.split()[1] not in ("-Qq", "-Sl")
    ]
    assert len(changes) == 1
    assert changes[0].startswith("pacman -S --needed --noconfirm ")


def test_one_wrong_name_on_arch_does_not_lose_the_rest(arch: Host) -> None:
    arch.write("known", "python", "libarchive", "util-linux", "ca-certificates", "gnupg")
    done = arch.run("build")
    assert done.returncode == 0
    assert "archlinux-keyring is in no repository of this host" in done.stderr
    assert set(arch.read("installed")) == {"python", "libarchive", "util-linux", "ca-certificates", "gnupg"}


def test_one_conflict_on_arch_does_not_lose_the_rest(arch: Host) -> None:
    arch.write("known", "python", "libarchive", "gnupg")
    arch.write("conflicts", "libarchive")
    done = arch.run("build")
    assert done.returncode == 0
    assert "libarchive could not be installed" in done.stderr
    assert "unresolvable package conflicts" in done.stdout
    assert set(arch.read("installed")) == {"python", "gnupg"}


def test_a_file_that_the_mirror_has_no_more_asks_for_an_upgrade(arch: Host) -> None:
    arch.write("known", "python", "libarchive")
    arch.write("gone", "libarchive")
    done = arch.run("build")
    assert done.returncode == 3
    assert "pacman -Syu" in done.stderr
    assert arch.read("installed") == []


def test_without_databases_an_upgrade_is_asked_for(arch: Host) -> None:
    done = arch.run("build")
    assert done.returncode == 3
    assert "no package databases" in done.stderr
    assert "pacman -Syu" in done.stderr


def test_one_wrong_name_on_debian_does_not_lose_the_rest(debian: Host) -> None:
    debian.write("known", "python3", "mmdebstrap", "apt")
    done = debian.run("build")
    assert done.returncode == 0
    assert "debian-archive-keyring is in no repository of this host" in done.stderr
    assert {"python3", "mmdebstrap", "apt"} <= set(debian.read("installed"))


def test_nothing_of_debian_is_removed(debian: Host) -> None:
    debian.write("known", "python3", "mmdebstrap", "apt")
    debian.write("conflicts", "mmdebstrap")
    done = debian.run("build")
    assert done.returncode == 0
    assert "mmdebstrap does not fit" in done.stderr
    assert "mmdebstrap" not in debian.read("installed")
    assert {"python3", "apt"} <= set(debian.read("installed"))
    installs = [line for line in debian.read("calls") if line.startswith("apt-get") and " install " in line]
    assert installs
    assert all("--no-remove" in line for line in installs)


SERVERS = {
    "nginx": "nginx.service",
    "rpcbind": "rpcbind.socket",
    "xinetd": "xinetd.service",
    "tftpd-hpa": "tftpd-hpa.service",
    "nfs-kernel-server": "nfs-server.service",
    "nfs-ganesha": "nfs-ganesha.service",
    "isc-dhcp-server": "isc-dhcp-server.service",
    "docker-registry": "docker-registry.service",
}


def test_servers_are_masked_although_systemctl_is_not_there_yet(debian: Host) -> None:
    debian.write("known", "systemd", *SERVERS)
    assert debian.run("test").returncode == 0
    assert {debian.units / unit for unit in SERVERS.values()} <= set(debian.units.iterdir())
    assert all(str(path.readlink()) == "/dev/null" for path in debian.units.iterdir())
    calls = debian.read("calls")
    masks = [number for number, line in enumerate(calls) if "ln -sf /dev/null" in line]
    (install,) = [number for number, line in enumerate(calls) if line.startswith("sudo env")]
    assert max(masks) < install


def test_a_mask_that_the_installation_took_away_is_made_again(debian: Host) -> None:
    # as for a package that was removed and not purged
    fake = debian.directory / "apt-get"
    fake.write_text(
        fake.read_text() + 'case "$*" in *--sim*) ;; *) rm "$FAKES/etc/systemd/system/nginx.service" ;; esac\n'
    )
    debian.write("known", "nginx")
    assert debian.run("test").returncode == 0
    assert str((debian.units / "nginx.service").readlink()) == "/dev/null"


def test_what_a_dependency_enabled_is_disabled(debian: Host) -> None:
    wants = debian.units / "multi-user.target.wants"
    requires = debian.units / "nfs-server.service.requires"
    wants.mkdir()
    requires.mkdir()
    (wants / "ssh.service").symlink_to("/lib/systemd/system/ssh.service")
    fake = debian.directory / "apt-get"
    for unit in (
        "fsidd.service",
        "nfs-blkmap.service",
        "nginx.service",
        "systemd-networkd.service",
        "e2scrub_reap.service",
        "some.timer",
    ):
        line = f'ln -s "/lib/systemd/system/{unit}" "{requires if unit.startswith("fsidd") else wants}"'
        fake.write_text(fake.read_text() + f'case "$*" in *--sim*) ;; *) {line} ;; esac\n')
    (debian.directory / "systemctl").write_text(COMMON)
    (debian.directory / "systemctl").chmod(0o755)
    debian.write("known", "nginx")
    done = debian.run("test")
    assert done.returncode == 0, done.stderr
    left = {path.name for path in wants.iterdir()}
    assert left == {"ssh.service", "nginx.service", "systemd-networkd.service", "e2scrub_reap.service", "some.timer"}
    disabled = [line.split()[1] for line in done.stdout.splitlines() if "disabling" in line]
    assert disabled == ["fsidd.service", "nfs-blkmap.service"]
    assert list(requires.iterdir()) == []
    assert not [line for line in debian.read("calls") if line.startswith("systemctl stop")]
    (debian.directory / "run/systemd/system").mkdir(parents=True)
    debian.write("installed")
    for name in left - {"ssh.service"}:
        (wants / name).unlink()
    assert debian.run("test").returncode == 0
    assert "systemctl stop nfs-blkmap.service" in debian.read("calls")


def test_a_unit_of_the_administrator_stays(debian: Host) -> None:
    (debian.units / "nginx.service").write_text("[Service]\n")
    debian.write("known", "nginx")
    assert debian.run("test").returncode == 0
    assert (debian.units / "nginx.service").read_text() == "[Service]\n"


def test_what_is_installed_already_is_not_masked(debian: Host) -> None:
    debian.write("known", *SERVERS)
    debian.write("installed", "nginx")
    assert debian.run("test").returncode == 0
    assert not (debian.units / "nginx.service").is_symlink()


def test_a_python_of_another_origin_does(debian: Host) -> None:
    (debian.directory / "python3").write_text("#!/bin/sh\nexit 0\n")
    assert not debian.wanted("build") & {"python3", "python3-venv"}
