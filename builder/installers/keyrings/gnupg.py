"""Running gpg(1) on rings of keys: in the sandbox, without a network, in a home that ends with it.

gpg-agent does not start in a directory with a space in its name, and the path of its socket has at most 107 bytes,
unix(7): the home is in the sandbox's own /tmp, and whatever gpg starts ends with the sandbox's process namespace.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from builder.errors import CommandError, InputError
from builder.installers.base import Job
from builder.installers.keyrings.openpgp import PublicKey, Signature, read_keys, read_signatures
from builder.system.run import Tool

TOOLS = (Tool("gpg", "gpg", "gnupg"),)
# the old name of the ring, so that gpg 2.4 asks no keyboxd
PREAMBLE = """\
set -eu
gpg() {
    command gpg --homedir /tmp/home --no-options --batch --quiet --no-tty --yes --disable-dirmngr \\
        --no-auto-key-locate "$@"
}
mkdir -m 0700 /tmp/home
touch /tmp/home/pubring.gpg
"""
_NO_KEYS = 65  # EX_DATAERR, sysexits.h
# OUTPUT STRICT RING... -- KEY...: all of the first ring must be good, of the others what can be read is taken
_GATHER = f"""{PREAMBLE}
output=$1 strict=$2
shift 2
while [ "$1" != -- ]; do
    gpg --import "$1" || [ "$strict" = no ] || exit {_NO_KEYS}
    strict=no
    shift
done
shift
gpg --with-colons --list-keys >"$output.keys"
gpg --export "$@" >"$output"
"""
# OUTPUT RING, then the signed file, or a signature and its file; every key of the ring counts
_VERIFY = f"""{PREAMBLE}
output=$1
gpg --import "$2" || true
shift 2
gpg --trust-model always --status-fd 3 --verify "$@" 3>"$output" || true
"""


def gather_keys(
    job: Job, output: Path, host: Path | None, others: Sequence[Path], only: Sequence[str] = ()
) -> dict[str, PublicKey]:
    """Puts the keys of the host's ring and of others into the file `output`, or of those `only` the named ones.

    What one of the rings knows of a key, a revocation too, is kept. `KEY!` names a subkey without its sisters.
    Returns all keys by fingerprint. InputError where the host's ring is not one.
    """
    rings = [str(path) for path in (*([host] if host else ()), *others)]
    try:
        job.sandbox.run(["sh", "-c", _GATHER, "sh", str(output), "yes" if host else "no", *rings, "--", *only])
    except CommandError as error:
        if error.status != _NO_KEYS:
            raise
        raise InputError(f"{host} holds no keys that gpg can read", "give a file of keys", error.details) from error
    return read_keys(output.with_name(f"{output.name}.keys").read_text("utf-8", "replace"))


def verify_release(job: Job, release: Path, ring: Path) -> tuple[Signature, ...]:
    """The signatures of a Release file, inside it or beside it as NAME.gpg, as the keys of `ring` see them."""
    status = job.work / "release.status"
    beside = release.with_name(f"{release.name}.gpg")
    signed = [str(beside), str(release)] if beside.exists() else [str(release)]
    job.sandbox.run(["sh", "-c", _VERIFY, "sh", str(status), str(ring), *signed])
    return read_signatures(status.read_text("utf-8", "replace"))
