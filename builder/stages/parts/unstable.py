"""Known sources of difference between two builds of the same: files that programs do not write alike twice."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass


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
    UnstableSource(
        ("/boot/*",), "", "made of files of the image: if none of those differs, a hook of its generator is the cause"
    ),
)
_TIME_ALONE = UnstableSource((), "", "only its time differs: something set it to a moment before the epoch, by a clock")


def find_source(path: str, what: Sequence[str]) -> UnstableSource | None:
    """Why a file of an image differs; None where that is not known. what: what of it differs."""
    for source in SOURCES:
        if any(fnmatch.fnmatchcase(path, pattern) for pattern in source.patterns):
            return source
    return _TIME_ALONE if tuple(what) == ("time",) else None
