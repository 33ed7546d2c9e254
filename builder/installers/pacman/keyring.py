"""The keys that packages must be signed by: populated once into the cache, copied for each build, never into an image.

The steps are those of `pacman-key --init` and `--populate`, whose directory of keyrings is fixed and differs between
distributions. The key that signs them is thrown away with the sandbox's /tmp, and gpg-agent, which gpg starts, ends
with the sandbox's process namespace.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from pathlib import Path

from builder.distributions.table import how_to_install
from builder.errors import CommandError, HostError, InputError
from builder.installers.base import Job
from builder.installers.keyrings.arch import read_ring_files, ring_file
from builder.model.recipe import ArchDistribution, Architecture
from builder.system.guarded.locks import locked

# where Arch and where Debian install archlinux-keyring
_DIRECTORIES = ("/usr/share/pacman/keyrings", "/usr/share/keyrings")
_NAMES = {Architecture.X86_64: "archlinux", Architecture.I686: "archlinux32"}
_FINGERPRINT = re.compile(r"^[0-9A-F]{40}(?=:|\s*$)", re.MULTILINE)
_FORMAT = "4"  # of the cached directory
_NO_KEYS = 65  # EX_DATAERR, sysexits.h
# KEYRING OWNERTRUST TARGET, then +KEY for one to sign and -KEY for one to disable; those that an old ring lacks, and
# masters that have expired or were revoked, are left out, since gpg fails on them. It works in /tmp: gpg-agent does not
# start in a directory with a space in its name, and the path of its socket has at most 107 bytes, unix(7).
_SCRIPT = f"""\
set -eu
keyring=$1 ownertrust=$2 target=$3
shift 3
gpg() {{ command gpg --homedir /tmp/home --batch --quiet --no-tty --yes "$@"; }}
mkdir -m 0700 /tmp/home
touch /tmp/home/pubring.gpg # libalpm asks for this old name, and gpg uses it where it finds it
printf 'lock-never\\nno-greeting\\nno-permission-warning\\ndisable-dirmngr\\n' >/tmp/home/gpg.conf
gpg --passphrase '' --quick-generate-key 'diskless build host' ed25519 sign never
gpg --import "$keyring" || exit {_NO_KEYS}
is() {{ gpg --with-colons --list-keys "$1" 2>/dev/null | grep -q "^pub:$2:"; }}
for key; do
    case $key in
    +*) ! is "${{key#+}}" '[^rei]*' || gpg --quick-lsign-key "${{key#+}}" ;;
    -*) ! is "${{key#-}}" '.*' || gpg --edit-key "${{key#-}}" disable quit ;;
    esac
done
[ ! -s "$ownertrust" ] || gpg --import-ownertrust "$ownertrust"
gpg --check-trustdb
cp /tmp/home/pubring.gpg /tmp/home/trustdb.gpg /tmp/home/gpg.conf "$target"
"""


def find_keyring(distribution: ArchDistribution) -> Path | None:
    """The keyring file on this host; HostError that says how to get one, None where the recipe can do without."""
    path, name = distribution.keyring.path, keyring_name(distribution)
    candidates = [Path(path)] if path else [Path(directory) / f"{name}.gpg" for directory in _DIRECTORIES]
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is not None or (distribution.keyring.fingerprints and not path):
        return found
    if path:
        raise HostError(
            f"the keyring {path} is not on this host",
            "correct distribution.keyring: NAME.gpg, with NAME-trusted and NAME-revoked beside it",
        )
    package = f"{name}-keyring"
    raise HostError(
        f"the keyring of {package} is not on this host",
        f"{how_to_install(package)}; or name three master keys of the "
        "distribution in distribution.keyring, {newest: true, fingerprints: [...]}",
    )


def keyring_name(distribution: ArchDistribution) -> str:
    """What the files of the ring are called."""
    path = distribution.keyring.path
    return Path(path).stem if path else _NAMES[distribution.architecture]


def prepare_keyring(job: Job, keyring: Path, target: Path) -> None:
    """Makes the directory `target` a GnuPG home that trusts what `keyring` says; InputError when it holds no key."""
    parts = [keyring.read_bytes(), read_ring_files(keyring, "trusted"), read_ring_files(keyring, "revoked")]
    digest = hashlib.sha256(b"\0".join([_FORMAT.encode(), *parts])).hexdigest()[:16]
    store = job.cache / "pacman" / "keyrings"
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    cached = store / digest
    with locked(store / "lock", "another build prepares a keyring", job.notify):
        if not cached.is_dir():
            job.notify(f"preparing the keyring {keyring}: once, about a minute for Arch Linux's")
            _populate(job, keyring, cached)
    shutil.copytree(cached, target, dirs_exist_ok=True)
    target.chmod(0o700)


def _populate(job: Job, keyring: Path, cached: Path) -> None:
    home = Path(tempfile.mkdtemp(prefix=".tmp-", dir=cached.parent))
    trusted = ring_file(keyring, "trusted")
    keys = [f"+{key}" for key in _fingerprints(read_ring_files(keyring, "trusted"))]
    keys += [f"-{key}" for key in _fingerprints(read_ring_files(keyring, "revoked"))]
    try:
        job.sandbox.run(["sh", "-c", _SCRIPT, "sh", str(keyring), str(trusted), job.sandbox.name(home), *keys])
        home.rename(cached)
    except CommandError as error:
        if error.status != _NO_KEYS:
            error.message = f"the keyring {keyring} could not be prepared"
            error.hint = "gpg says why above; are gpg and gpg-agent of one version?"
            raise
        hint = "give the NAME.gpg of a keyring package"
        raise InputError(f"{keyring} holds no keys that gpg can read", hint, error.details) from error
    finally:
        shutil.rmtree(home, ignore_errors=True)


def keyring_files(keyring: Path) -> tuple[Path, ...]:
    """The keyring and what says whom it trusts."""
    return keyring, ring_file(keyring, "trusted"), ring_file(keyring, "revoked")


def _fingerprints(text: bytes) -> list[str]:
    return _FINGERPRINT.findall(text.decode("ascii", "replace"))
