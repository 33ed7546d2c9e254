"""What Debian's maintainer scripts do and Arch's packages and hooks do otherwise, package by package."""

from __future__ import annotations

import lzma
import tarfile
from collections.abc import Callable, Iterator

import zstandard

from tests.pacman_distribution.package import Package

_HOOK = """\
[Trigger]
Type = Path
Operation = Install
Operation = Upgrade
{targets}

[Action]
Description = {description}
When = PostTransaction
Exec = {command}
"""
_PACMAN_CONF = """\
[options]
HoldPkg = pacman glibc
Architecture = auto
CheckSpace
ParallelDownloads = 5
SigLevel = Required DatabaseOptional
LocalFileSigLevel = Optional

[core]
Include = /etc/pacman.d/mirrorlist

[extra]
Include = /etc/pacman.d/mirrorlist
"""
_SSHD_KEYS = """\
[Unit]
Description=SSH Key Generation
ConditionPathExists=|!/etc/ssh/ssh_host_ed25519_key
ConditionPathExists=|!/etc/ssh/ssh_host_rsa_key

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/ssh-keygen -A
"""
_SSHD = """\
[Unit]
Description=OpenSSH Daemon
Wants=sshdgenkeys.service
After=sshdgenkeys.service network.target

[Service]
RuntimeDirectory=sshd
ExecStart=/usr/bin/sshd -D
ExecReload=/bin/kill -HUP $MAINPID
KillMode=process
Restart=always

[Install]
WantedBy=multi-user.target
"""


def shape(debian_name: str, package: Package) -> None:
    """Changes a converted package where its Debian name asks for it."""
    if debian_name in _SHAPES:
        _SHAPES[debian_name](package)


def _add_hook(package: Package, name: str, description: str, command: str, *targets: str) -> None:
    lines = "\n".join(f"Target = {target}" for target in targets)
    text = _HOOK.format(targets=lines, description=description, command=command)
    package.add_file(f"usr/share/libalpm/hooks/{name}.hook", text)


def _glibc(package: Package) -> None:
    # ldconfig itself is in libc-bin
    package.depends += ["libc-bin", "tzdata"]


def _libc_bin(package: Package) -> None:
    targets = ("usr/lib/*.so*", "usr/lib/x86_64-linux-gnu/*.so*")
    _add_hook(package, "30-ldconfig", "Updating the shared library cache...", "/usr/bin/ldconfig", *targets)


def _bash(package: Package) -> None:
    package.add_link("usr/bin/sh", "bash")
    package.provides.append("sh")


def _gawk(package: Package) -> None:
    package.add_link("usr/bin/awk", "gawk")


# what asks a running systemd to look again says that there is none
_SYSTEMD_HOOK = """\
#!/bin/sh -e
# the work of systemd's libalpm hooks
case $1 in
sysusers) systemd-sysusers ;;
tmpfiles) systemd-tmpfiles --create || : ;;
hwdb) systemd-hwdb --usr update ;;
update) touch -c /usr ;;
*) echo >&2 "  Skipped: Running in chroot." ;;
esac
"""


def _systemd(package: Package) -> None:
    package.scriptlet = "post_install() {\n  systemd-machine-id-setup\n}\n"
    script = "/usr/share/libalpm/scripts/systemd-hook"
    package.add_file(script[1:], _SYSTEMD_HOOK, 0o755)
    for name, description, what, *targets in (
        ("20-sysusers", "Creating system user accounts...", "sysusers", "usr/lib/sysusers.d/*.conf"),
        ("30-daemon-reload", "Reloading system manager configuration...", "reload", "usr/lib/systemd/system/*"),
        ("31-tmpfiles", "Creating temporary files...", "tmpfiles", "usr/lib/tmpfiles.d/*.conf"),
        ("35-hwdb", "Updating the udev hardware database...", "hwdb", "usr/lib/udev/hwdb.d/*"),
        ("35-update", "Arming ConditionNeedsUpdate...", "update", "usr/"),
    ):
        _add_hook(package, name, description, f"{script} {what}", *targets)
    # Debian enables what it installs; on Arch nothing runs that nobody asked for
    package.add_file("usr/lib/systemd/system-preset/99-default.preset", "disable *\n")

    # Arch's systemd puts /tmp into memory; Debian's before 256 leaves that to the administrator
    unit = package.members.pop("usr/share/systemd/tmp.mount", None)
    if unit is not None:
        package.add_file("usr/lib/systemd/system/tmp.mount", unit[1])
    package.add_link("usr/lib/systemd/system/local-fs.target.wants/tmp.mount", "../tmp.mount")


def _resolved(package: Package) -> None:
    # systemd-resolvconf is a package of its own on Arch, and not in base: without it dhcpcd writes the file itself
    package.members.pop("usr/bin/resolvconf")


def _kmod(package: Package) -> None:
    script = (
        "#!/bin/sh -e\n"
        "# depmod for the kernels whose modules are in the transaction\n"
        "while read -r path; do\n"
        "    version=${path#usr/lib/modules/}\n"
        '    echo "${version%%/*}"\n'
        "done | sort -u | while read -r version; do\n"
        '    [ ! -e "/usr/lib/modules/$version/kernel" ] || depmod "$version"\n'
        "done\n"
    )
    package.add_file("usr/share/libalpm/scripts/depmod", script, 0o755)
    command = "/usr/share/libalpm/scripts/depmod\nNeedsTargets"
    _add_hook(package, "60-depmod", "Updating module dependencies...", command, "usr/lib/modules/*/")


def _libkmod(package: Package) -> None:
    package.add_link("usr/lib/libkmod.so.2", "x86_64-linux-gnu/libkmod.so.2")  # mkinitcpio names Arch's path


def _libmount(package: Package) -> None:
    package.add_link("usr/lib/libmount.so", "x86_64-linux-gnu/libmount.so.1")  # and so does its hook sd-shutdown


def _pam(package: Package) -> None:
    for kind in ("auth", "account", "password", "session"):
        package.add_file(f"etc/pam.d/common-{kind}", f"{kind} required pam_unix.so\n")
    package.add_file("etc/pam.d/common-session-noninteractive", "session required pam_unix.so\n")


def _openssh(package: Package) -> None:
    for path in list(package.members):
        if path.startswith("usr/lib/systemd/system/") or path.endswith("rescue-ssh.target"):
            del package.members[path]
    package.add_file("usr/lib/systemd/system/sshd.service", _SSHD)
    package.add_file("usr/lib/systemd/system/sshdgenkeys.service", _SSHD_KEYS)
    package.add_file("etc/ssh/sshd_config", "UsePAM yes\nPrintMotd no\nSubsystem sftp internal-sftp\n")
    package.backup.append("etc/ssh/sshd_config")
    package.depends.append("openssh-client")


def _pacman(package: Package) -> None:
    package.add_file("etc/pacman.conf", _PACMAN_CONF)


def _locales(package: Package) -> None:
    # Debian's asks debconf
    package.members.pop("etc/locale.gen", None)
    package.add_file("etc/locale.gen", "#en_US.UTF-8 UTF-8\n#de_DE.UTF-8 UTF-8\n")


def _kernel(package: Package) -> None:
    """boot/vmlinuz-VERSION -> usr/lib/modules/VERSION/{vmlinuz,pkgbase}: nothing of a kernel is in /boot on Arch.

    Its modules are compressed one by one.
    """
    compressor = zstandard.ZstdCompressor(level=3)
    for path in [path for path in package.members if path.endswith((".ko", ".ko.xz"))]:
        info, content = package.members.pop(path)
        plain = lzma.decompress(content) if path.endswith(".xz") else content
        compressed = f"{path.removesuffix('.xz')}.zst"
        package.add_file(compressed, compressor.compress(plain))
        package.members[compressed][0].mtime = info.mtime
    for path in [path for path in package.members if path.partition("/")[0] == "boot"]:
        info, content = package.members.pop(path)
        version = path.removeprefix("boot/vmlinuz-")
        if version != path:
            package.add_file(f"usr/lib/modules/{version}/vmlinuz", content)
            package.members[f"usr/lib/modules/{version}/vmlinuz"][0].mtime = info.mtime
            package.add_file(f"usr/lib/modules/{version}/pkgbase", "linux\n")
    package.depends += ["coreutils", "initramfs", "kmod"]


_SHAPES: dict[str, Callable[[Package], None]] = {
    "libc6": _glibc,
    "libc-bin": _libc_bin,
    "bash": _bash,
    "gawk": _gawk,
    "systemd": _systemd,
    "systemd-resolved": _resolved,
    "kmod": _kmod,
    "libkmod2": _libkmod,
    "libmount1": _libmount,
    "libpam-runtime": _pam,
    "openssh-server": _openssh,
    "pacman-package-manager": _pacman,
    "locales": _locales,
}


def shape_kernel(package: Package) -> None:
    """Arch's layout for any of Debian's kernels."""
    _kernel(package)


def base_files() -> Package:
    """Arch's `filesystem`: the merged /usr, the accounts and the files that everything else stands on.

    Numbers of groups are Debian's, since converted files carry Debian's.
    """
    package = Package("filesystem", "2026.01.01-1", description="Base Arch-shaped files")
    for path in [
        "boot",
        "dev",
        "etc",
        "home",
        "mnt",
        "opt",
        "run",
        "srv",
        "usr/bin",
        "usr/lib",
        "usr/local/bin",
        "var/cache",
        "var/lib",
        "var/log",
    ]:
        package.add_directory(path)
    for path, mode in (("root", 0o750), ("proc", 0o555), ("sys", 0o555), ("tmp", 0o1777), ("var/tmp", 0o1777)):
        package.add_directory(path, mode)
    links = {"bin": "usr/bin", "sbin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib", "usr/sbin": "bin"}
    links |= {
        "usr/lib64": "lib",
        "var/run": "../run",
        "var/lock": "../run/lock",
        "etc/os-release": "../usr/lib/os-release",
    }
    for path, target in links.items():
        package.add_link(path, target)
    for path, content in _BASE_FILES.items():
        package.add_file(path, content, 0o600 if path == "etc/shadow" else 0o644)
    package.backup = sorted(path for path in _BASE_FILES if path.startswith("etc/"))
    return package


_GROUP_NUMBERS = {
    "daemon": 1, "bin": 2, "sys": 3, "adm": 4, "tty": 5, "disk": 6, "lp": 7, "mail": 8, "man": 12,
    "kmem": 15, "dialout": 20, "cdrom": 24, "tape": 26, "audio": 29, "shadow": 42, "utmp": 43, "video": 44, "staff": 50,
    "users": 100, "nogroup": 65534,
}  # fmt: skip
_BASE_FILES = {
    "etc/passwd": "root:x:0:0::/root:/usr/bin/bash\nbin:x:1:1::/:/usr/bin/nologin\n"
    "daemon:x:2:2::/:/usr/bin/nologin\nnobody:x:65534:65534:Kernel Overflow User:/:/usr/bin/nologin\n",
    "etc/group": "root:x:0:root\n",
    "etc/shadow": "root::19000::::::\nbin:!*:19000::::::\ndaemon:!*:19000::::::\nnobody:!*:19000::::::\n",
    "etc/shells": "/bin/sh\n/bin/bash\n",
    "etc/fstab": "# static information about the filesystems\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/host.conf": "multi on\n",
    "etc/nsswitch.conf": "passwd: files systemd\ngroup: files systemd\nshadow: files\nhosts: files resolve dns\n",
    "etc/profile": 'PATH="/usr/local/sbin:/usr/local/bin:/usr/bin"\nexport PATH\n',
    "etc/arch-release": "",
    "etc/pacman.d/mirrorlist": "# the recipe's build writes this file\n",
    "usr/lib/os-release": 'NAME="Arch Linux"\nPRETTY_NAME="Arch-shaped Debian (the tests of diskless)"\nID=arch\n'
    "BUILD_ID=rolling\n",
    "usr/lib/sysusers.d/arch.conf": "".join(f"g {name} {number} -\n" for name, number in _GROUP_NUMBERS.items()),
    # accounts that Debian's maintainer scripts would have added
    "usr/lib/sysusers.d/tests.conf": "g input -\ng sgx -\ng kvm -\ng render -\ng crontab -\nu _rpc - - /run/rpcbind\n"
    "u statd - - /var/lib/nfs\nu sshd - - /run/sshd\ng _ssh -\nu dhcpcd - - /usr/lib/dhcpcd\n",
}


# of each of Arch's packages of loaders, as far as PXE needs it: where a file lies, and where Debian has it
_LOADERS = {
    "syslinux": {
        "usr/lib/syslinux/bios/pxelinux.0": ("pxelinux", "usr/lib/PXELINUX/pxelinux.0"),
        "usr/lib/syslinux/bios/lpxelinux.0": ("pxelinux", "usr/lib/PXELINUX/lpxelinux.0"),
        "usr/lib/syslinux/bios/ldlinux.c32": ("syslinux-common", "usr/lib/syslinux/modules/bios/ldlinux.c32"),
    },
    "ipxe": {
        "usr/share/ipxe/undionly.kpxe": ("ipxe", "usr/lib/ipxe/undionly.kpxe"),
        "usr/share/ipxe/x86_64/ipxe.efi": ("ipxe", "usr/lib/ipxe/snponly.efi"),
    },
}


def loaders(debs: dict[str, Package]) -> Iterator[Package]:
    """The packages of Arch that boot loaders are taken from."""
    for name, files in _LOADERS.items():
        package = Package(name, debs[next(iter(files.values()))[0]].version, "x86_64", "Boot loaders for PXE")
        for target, (source, path) in files.items():
            info, content = debs[source].members[path]
            assert info.type == tarfile.REGTYPE
            package.add_file(target, content)
        yield package
