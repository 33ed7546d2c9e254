"""What a single value of a recipe may look like: each kind of value has a name, a pattern and an explanation.

A dataclass field annotated `Annotated[str, Syntax(...)]` is checked by the loader, described in the reference and
in error messages. A value that passes cannot break the file it is written into.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Syntax:
    """A named kind of value: `pattern` must match it whole, `check` (if any) raises ValueError on the rest.

    `correct` makes of a common other way of writing it what is accepted, for the hint; it may raise ValueError.
    `remedy` is the hint where an example would not help; a `secret` value is never shown in a message.
    """

    name: str
    pattern: str
    example: str
    check: Callable[[str], object] | None = None
    correct: Callable[[str], str] | None = None
    remedy: str | None = None
    secret: bool = False

    @property
    def one(self) -> str:
        """The name with its article."""
        return f"{'an' if re.match(r'[aeio]|IP|NFS|ssh', self.name) else 'a'} {self.name}"

    def hint(self, text: str) -> str:
        """What to write instead of `text`, which is not accepted."""
        try:
            corrected = "" if self.correct is None else self.correct(text)
        except ValueError:
            corrected = ""
        if corrected and self.accepts(corrected):
            return f"did you mean '{corrected}'?"
        return self.remedy or f"write it like {self.example}"

    def accepts(self, text: str) -> bool:
        """Whether `text` is such a value."""
        if re.fullmatch(self.pattern, text) is None:
            return False
        try:
            if self.check is not None:
                self.check(text)
        except ValueError:
            return False
        return True


def _stays_inside(path: str) -> None:
    if ".." in path.split("/"):
        raise ValueError(path)


def _is_whole_key_or_stays_inside(text: str) -> None:
    if " " not in text:
        _stays_inside(text)
    elif not has_whole_ssh_key(text):
        raise ValueError(text)


def _is_plain(path: str) -> None:
    """One name for one file: `/`, or a path without empty parts, `.` and `..`, each part short enough."""
    parts = path.split("/")[1:]
    if path.startswith("/") and path != "/":
        for part in parts:
            if part in ("", ".", "..") or len(part.encode()) > _LONGEST_NAME:
                raise ValueError(path)


def key(doc: str, default: Any = dataclasses.MISSING, **more: Any) -> Any:  # noqa: ANN401 - stands for a field of any type
    """A dataclass field with its description; without `default` the key is required."""
    metadata = {"doc": doc, **more}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    if isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def plain_fingerprint(text: str) -> str:
    """A fingerprint as it was typed, in capitals without spaces and 0x."""
    return text.removeprefix("0x").replace(" ", "").upper()


_LONGEST_NAME = 255  # NAME_MAX, limits.h
_LINE = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]*"
_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_WORD = r"[^\x00-\x20\x7f-\x9f\u2028\u2029]+"

IMAGE_NAME = Syntax("image name", r"[a-z0-9][a-z0-9._-]{0,62}", "debian-nfs")
ImageName = Annotated[str, IMAGE_NAME]
PackageName = Annotated[str, Syntax("package name", r"[a-z0-9@_+][a-z0-9@._+:-]*(?<!-)", "openssh-server")]
PackageRequest = Annotated[
    str,
    Syntax(
        "package name",
        r"[a-z0-9@_+][a-z0-9@._+:-]*(?<!-)(?:/[a-z][a-z0-9.-]*(?<!-)|=[0-9][A-Za-z0-9.+:~-]*)?",
        "openssh-server, hello/bookworm-backports or hello=2.10-3",
    ),
]
DebconfAnswer = Annotated[
    str,
    Syntax(
        "debconf answer: OWNER QUESTION TYPE VALUE, where TYPE is string, boolean, select, multiselect, note or text",
        r"[a-z0-9][a-z0-9.+-]*[ \t]+[A-Za-z0-9][A-Za-z0-9.+_-]*/[A-Za-z0-9/.+_-]+[ \t]+"
        r"(?:boolean[ \t]+(?:true|false)|(?:string|select|multiselect|note|text)(?:[ \t]+[^\x00-\x1f\x7f]*)?)",
        "keyboard-configuration keyboard-configuration/layoutcode string de",
    ),
]
SuiteName = Annotated[str, Syntax("suite", r"[a-z][a-z0-9-]*", "bookworm")]
ComponentName = Annotated[str, Syntax("archive component", r"[a-z][a-z0-9-]*", "main")]
Url = Annotated[
    str,
    Syntax(
        "mirror URL without credentials",
        r"(https?://[A-Za-z0-9\[]|file:///)[A-Za-z0-9._~/:%+\[\]-]*",
        "http://deb.debian.org/debian",
    ),
]
MirrorUrl = Annotated[
    str,
    Syntax(
        "pacman mirror URL without credentials",
        r"(https?|file)://[A-Za-z0-9._~/:%+\[\]$-]*",
        "https://geo.mirror.pkgbuild.com/$repo/os/$arch",
    ),
]
RepositorySuite = Annotated[
    str,
    Syntax(
        "suite, or the directory of a flat repository, which ends in /",
        r"\./|[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*/?",
        "bookworm",
        _stays_inside,
    ),
]
RepositoryName = Annotated[
    str, Syntax("repository (not local or options)", r"(?!(local|options)$)[a-z0-9][a-z0-9._+-]*", "extra")
]
AssumedPackage = Annotated[
    str,
    Syntax("package or package=version", r"[a-z0-9@_+][a-z0-9@._+-]*(=[A-Za-z0-9.:_+~-]+)?", "initramfs=1"),
]
SnapshotDate = Annotated[str, Syntax("date", r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "2026-11-01", datetime.date.fromisoformat)]
HostName = Annotated[
    str,
    Syntax(
        "host name", r"(?=.{1,64}\Z)(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-)){0,3}", "diskless"
    ),
]
TimeZone = Annotated[str, Syntax("time zone", r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}", "Europe/Berlin")]
LocaleName = Annotated[
    str, Syntax("locale in UTF-8", r"C(\.UTF-8)?|POSIX|[a-z]{2,3}(_[A-Z]{2})?\.UTF-8(@[a-z]+)?", "en_US.UTF-8")
]
UserName = Annotated[str, Syntax("user name", r"[a-z_][a-z0-9_-]{0,31}", "alice")]
GroupName = Annotated[str, Syntax("group name", r"[a-z_][a-z0-9_-]{0,31}", "audio")]
_B64 = "[./0-9A-Za-z]"
PasswordHash = Annotated[
    str,
    Syntax(
        "password hash of crypt(5) ($y$, $7$, $6$, $5$ or $2b$)",
        rf"\$g?y\${_B64}+\${_B64}{{0,86}}\${_B64}{{43}}"
        rf"|\$7\${_B64}{{11,97}}\${_B64}{{43}}"
        rf"|\$6\$(rounds=[1-9][0-9]{{3,8}}\$)?{_B64}{{1,16}}\${_B64}{{86}}"
        rf"|\$5\$(rounds=[1-9][0-9]{{3,8}}\$)?{_B64}{{1,16}}\${_B64}{{43}}"
        rf"|\$2[abxy]\$[0-9]{{2}}\${_B64}{{53}}",
        "$6$salt$...",
        remedy="make a hash with `openssl passwd -6`, or `mkpasswd` of the package whois; never write a password here",
        secret=True,
    ),
]
_KEY_TYPES = r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
SSH_KEY = re.compile(rf"{_KEY_TYPES} [A-Za-z0-9+/]+={{0,3}}( {_LINE})?")


def has_whole_ssh_key(line: str) -> bool:
    """Whether a line of authorized_keys has a key that nobody cut off: its kind and further fields, RFC 4253 6.6."""
    found = SSH_KEY.search(line)
    if found is None:
        return False
    try:
        rest = base64.b64decode(found[0].split(" ")[1], validate=True)
    except ValueError:
        return False
    fields = []
    while rest:
        end = 4 + int.from_bytes(rest[:4], "big")
        if len(rest) < end:
            return False
        fields.append(rest[4:end])
        rest = rest[end:]
    return len(fields) > 1 and fields[0] == found[1].encode()


SshKey = Annotated[
    str,
    Syntax(
        "ssh public key or path of a file of them beside the recipe",
        rf"{SSH_KEY.pattern}|(?![/-]|{_KEY_TYPES}\Z)[^\s\x00-\x1f\x7f-\x9f\u2028\u2029]+",
        "files/admin.pub",
        _is_whole_key_or_stays_inside,
        remedy="write the whole line of a .pub file (ssh-ed25519 AAAA... name), or its path, such as files/admin.pub",
    ),
]
ShellPath = Annotated[
    str,
    Syntax("absolute path without spaces or colons", r"/[A-Za-z0-9._/+@-]+", "/bin/bash", _is_plain),
]
HomePath = Annotated[
    str,
    Syntax(
        "home directory: an absolute path without spaces or colons", r"/[A-Za-z0-9._/+@-]+", "/home/alice", _is_plain
    ),
]
UnitName = Annotated[
    str,
    Syntax("systemd unit", r"[A-Za-z0-9_][A-Za-z0-9:_.@\\-]{0,254}", "ssh.service"),
]
FilePath = Annotated[
    str, Syntax("plain absolute path (no '.', '..', '//')", r"/" + _LINE.replace("*", "+"), "/etc/motd", _is_plain)
]
KeyringPath = Annotated[
    str,
    Syntax(
        "plain absolute path without spaces or brackets",
        r"/[^\s\[\]\x00-\x1f\x7f-\x9f\u2028\u2029]+",
        "/usr/share/keyrings/debian-archive-keyring.gpg",
        _is_plain,
    ),
]
Fingerprint = Annotated[
    str,
    Syntax(
        "fingerprint of an OpenPGP key, 40 hexadecimal digits",
        r"(0x)?([0-9A-Fa-f] *){39}[0-9A-Fa-f]",
        "B8B8 0B5B 623E AB6A D877 7C45 B7C5 D7D6 3509 47F8",
        remedy="write all 40 digits, as `gpg --show-keys --fingerprint FILE` prints them: anybody can make a key with "
        "the same short id",
    ),
]
SourcePath = Annotated[
    str,
    Syntax(
        "path of a file beside the recipe, without '..'",
        r"(?!/)" + _LINE.replace("*", "+"),
        "files/motd",
        _stays_inside,
    ),
]
HostPath = Annotated[
    str,
    Syntax(
        "path of a file on this host, absolute or beside the recipe, without '..'",
        _LINE.replace("*", "+"),
        "packages/tool-1.0-1-x86_64.pkg.tar.zst",
        _stays_inside,
    ),
]
ProgramPath = Annotated[
    str,
    Syntax("absolute path of plain characters", r"/[A-Za-z0-9._/+@:-]+", "/usr/bin/mount.nfs4", _stays_inside),
]
# what means the same, unquoted, in every file that names it: exports, dnsmasq.conf, units, a kernel command line
STORE_PATH = Syntax(
    "plain absolute path (letters, digits and . _ - + @)", r"/[A-Za-z0-9._/+@-]+", "/disklessroot", _is_plain
)
StorePath = Annotated[str, STORE_PATH]
MemorySize = Annotated[str, Syntax("amount of memory", r"(100|[1-9][0-9]?)%|[1-9][0-9]{0,8}[kmg]", "50% or 2g")]
HookName = Annotated[str, Syntax("mkinitcpio hook", r"[A-Za-z0-9][A-Za-z0-9._+-]*", "modconf")]
Mode = Annotated[str, Syntax("octal file mode", r"[0-7]{3,4}", "0644")]
Owner = Annotated[str, Syntax("numeric owner", r"(0|[1-9][0-9]{0,8}):(0|[1-9][0-9]{0,8})", "0:0")]
FstabWord = Annotated[
    str,
    Syntax(
        "fstab field (no spaces)", r"[^\s\x00-\x1f\x7f-\x9f\u2028\u2029#][^\s\x00-\x1f\x7f-\x9f\u2028\u2029]*", "tmpfs"
    ),
]
MountTarget = Annotated[
    str,
    Syntax(
        "mount point: a plain absolute path without spaces, or none or swap",
        r"none|swap|/([^\s\x00-\x1f\x7f-\x9f\u2028\u2029])*",
        "/dev/pts",
        _is_plain,
    ),
]
MountOption = Annotated[
    str, Syntax("mount option (no spaces, no comma)", r"[^\s,\x00-\x1f\x7f-\x9f\u2028\u2029]+", "mode=620")
]
NfsOption = Annotated[str, Syntax("NFS option", r"[a-z_]+(=[A-Za-z0-9.:_-]+)?", "rsize=16384")]
Address = Annotated[str, Syntax("IP address", r"[0-9a-fA-F.:]+", "192.168.1.1", ipaddress.ip_address)]
INTERFACE_NAME = Syntax("network interface", r"(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,15}", "eth0")
InterfaceName = Annotated[str, INTERFACE_NAME]
DomainName = Annotated[str, Syntax("domain", r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", "lab.example.org")]
ModuleName = Annotated[str, Syntax("kernel module", r"[A-Za-z0-9_-]+[?!]?", "nfsv3")]
KernelArgument = Annotated[
    str,
    # `--` ends the kernel's own arguments, a quotation mark reaches beyond its word
    Syntax("kernel argument (one word, no quotes)", r"(?!--\Z)" + _WORD.replace("[^", '[^"'), "console=ttyS0,115200"),
]


def requested_package(request: str) -> str:
    """The name alone of what `packages` asks for: hello/bookworm-backports and hello=2.10-3 are hello."""
    return re.split("[/=]", request, maxsplit=1)[0]
