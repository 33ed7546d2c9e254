"""Known sources of difference between two builds of the same: files that programs do not write alike twice."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

# what differs of a file that only one of two builds has
ONLY_IN = ("only in the first build", "only in the second build")


@dataclass(frozen=True)
class UnstableSource:
    """Files that differ, and why.

    patterns: of fnmatch, where a * goes over slashes too
    maker: the package whose scripts or programs write them, "" where it may be any
    reason: why they differ, and what can be done about it
    """

    patterns: tuple[str, ...]
    maker: str
    reason: str


SOURCES = (
    UnstableSource(
        ("/etc/ssl/certs/java/cacerts", "*/lib/security/cacerts"),
        "ca-certificates-java",
        "a keystore of Java, which has the moment of each entry, or salt",
    ),
    UnstableSource(
        ("/var/lib/postgresql/*", "/etc/postgresql/*"),
        "postgresql-common",
        "a cluster of PostgreSQL, which has an identifier and times of its own, and no two machines should share it: "
        "remove it in a script of the recipe (pg_dropcluster), and make one at boot (pg_createcluster)",
    ),
    UnstableSource(
        ("/var/lib/mysql/*", "/var/lib/mariadb/*"),
        "mariadb-server",
        "databases of MariaDB, which have identifiers and times of their own: make them at boot, mariadb-install-db",
    ),
    UnstableSource(
        ("/etc/ssl/private/*", "/etc/ssl/certs/ssl-cert-*"),
        "ssl-cert",
        "a key or certificate that the build made: make it at boot, and see system.shared_identities",
    ),
    UnstableSource(
        ("/var/cache/fontconfig/*", "*/.uuid"), "fontconfig", "caches of fontconfig, which have times of directories"
    ),
    UnstableSource(
        ("*.pyc",), "", "compiled Python, which has its source's time: compileall --invalidation-mode checked-hash"
    ),
    UnstableSource(
        ("/var/lib/texmf/*", "/var/lib/tex-common/*"),
        "tex-common",
        "formats of TeX, which have the moment when they were made: FORCE_SOURCE_DATE=1 lets them follow the epoch",
    ),
    UnstableSource(
        ("*.elc", "*/loaddefs.el"),
        "emacs-common",
        "compiled Emacs Lisp, which may have the moment and path of its making",
    ),
    UnstableSource(
        ("/var/lib/dkms/*", "*/updates/dkms/*"),
        "dkms",
        "what DKMS built, and its log, with times and the build's paths",
    ),
    UnstableSource(
        ("/var/lib/mlocate/*", "/var/lib/plocate/*"), "plocate", "locate's database, which has the times of directories"
    ),
    UnstableSource(
        ("/var/cache/*", "/root/.cache/*"),
        "",
        "a cache: remove it in a script of the recipe, its program makes it anew",
    ),
    UnstableSource(
        ("/etc/shadow*", "/etc/gshadow*"),
        "",
        "a password that was hashed with a new salt: give its hash in system.users",
    ),
    UnstableSource(("/etc/machine-id", "/var/lib/dbus/machine-id"), "", "a machine's id, which is made at boot"),
    UnstableSource(("/var/log/*", "*.log"), "", "a log, which has times"),
)
_TIME_ALONE = UnstableSource(
    (), "", "only the time differs, and what is younger than the epoch gets that: something sets it to an older moment"
)
# whose mode, owner, attributes or target differ is told by none of the sources
_OF_CONTENT = {"content", "time", *ONLY_IN}


def find_source(path: str, what: Sequence[str]) -> UnstableSource | None:
    """What is known of such a file of an image; None where nothing is. what: what of it differs."""
    if not _OF_CONTENT.issuperset(what):
        return None
    for source in SOURCES:
        if any(fnmatch.fnmatchcase(path, pattern) for pattern in source.patterns):
            return source
    return _TIME_ALONE if tuple(what) == ("time",) else None
