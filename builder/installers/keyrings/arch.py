"""The newest keyring package of Arch Linux and its like, judged by the keys that this host and the recipe trust.

The keys of the new ring are taken as data. What they are worth is decided by the host's ring under its own rules,
those of pacman-key(8): master keys are named in NAME-trusted, each with a level of trust, and a key counts that enough
of them certify, which with marginal trust is three. A key of NAME-revoked counts nothing, and stays revoked.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from builder.errors import AuditError
from builder.installers.base import Job
from builder.installers.keyrings.gnupg import PREAMBLE, gather_keys
from builder.installers.keyrings.openpgp import PublicKey, Signature, find_key, read_keys, read_signatures
from builder.installers.keyrings.package import read_files
from builder.system.guarded.locks import locked

_FORMAT = "1"  # of what is kept
_DIRECTORY = "usr/share/pacman/keyrings"
_MARGINAL = 4  # ownertrust, as archlinux-trusted has it for every master key
_REMEDY = (
    "do not use that mirror; where this host's keyring is too old to know any of today's master keys, check their "
    "fingerprints with the distribution and name three in distribution.keyring.fingerprints",
)
_LINE = re.compile(r"^([0-9A-F]{40})(?::([0-9]*):?)?\s*$", re.MULTILINE)
# RING OWNERTRUST SIGNATURE PACKAGE OUTPUT MASTER...
_JUDGE = f"""{PREAMBLE}
ring=$1 ownertrust=$2 signature=$3 package=$4 output=$5
shift 5
gpg --passphrase '' --quick-generate-key 'diskless build host' ed25519 sign never
gpg --import "$ring" || true
for key; do
    gpg --quick-lsign-key "$key"
done
[ ! -s "$ownertrust" ] || gpg --import-ownertrust "$ownertrust"
gpg --check-trustdb
gpg --with-colons --list-keys >"$output/keys"
gpg --status-fd 3 --verify "$signature" "$package" 3>"$output/status" || true
signer=$(sed -n 's/^\\[GNUPG:\\] VALIDSIG .* //p' "$output/status" | head -n 1)
: >"$output/certifications"
[ -z "$signer" ] || gpg --with-colons --check-signatures "$signer" >"$output/certifications"
"""


@dataclass(frozen=True)
class KeyringOffer:
    """A keyring package as a mirror has it: nothing of it is trusted. `name` is that of its files, as archlinux."""

    name: str
    package: str
    version: str
    file: Path
    signature: Path

    @property
    def ring(self) -> str:
        """The name of its file of keys."""
        return f"{self.name}.gpg"


@dataclass(frozen=True)
class Trust:
    """What a ring's files say besides its keys: master keys with their ownertrust, and revoked keys."""

    levels: dict[str, int]
    revoked: frozenset[str]

    @classmethod
    def read(cls, trusted: bytes, revoked: bytes) -> Trust:
        """Of NAME-trusted and NAME-revoked. A key that is in both is revoked."""
        lost = frozenset(key for key, _ in _LINE.findall(revoked.decode("ascii", "replace")))
        levels = _LINE.findall(trusted.decode("ascii", "replace"))
        return cls({key: int(level or 0) for key, level in levels if key not in lost}, lost)

    def without(self, revoked: frozenset[str]) -> Trust:
        """With further keys revoked."""
        levels = {key: level for key, level in self.levels.items() if key not in revoked}
        return Trust(levels, self.revoked | revoked)

    def usable(self, keys: dict[str, PublicKey]) -> Trust:
        """Without the master keys that are missing, expired or revoked: gpg certifies none of those."""
        levels = {key: level for key, level in self.levels.items() if key in keys and keys[key].usable}
        return Trust(levels, self.revoked)


@dataclass(frozen=True)
class _Judgement:
    signatures: tuple[Signature, ...]
    keys: dict[str, PublicKey]
    certifiers: tuple[str, ...]


def newest_keyring(job: Job, offer: KeyringOffer, host: Path | None, named: tuple[str, ...]) -> Path:
    """The offered ring as NAME.gpg with NAME-trusted and NAME-revoked beside it, kept in the cache.

    host: NAME.gpg of a ring that is trusted, or None; named: fingerprints of master keys that the recipe trusts.
    AuditError where these do not vouch for it.
    """
    store = job.cache / "pacman" / "keyrings"
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = store / f"newest-{_digest(offer, host, named)}"
    with locked(store / "lock", "another build prepares a keyring", job.notify):
        if not kept.is_dir():
            job.notify(f"judging {offer.package} {offer.version}: once, up to a minute for Arch Linux's")
            _keep(job, offer, host, named, kept)
    for line in (kept / "said").read_text("utf-8").splitlines():
        job.record(line)
    return kept / f"{offer.name}.gpg"


def _keep(job: Job, offer: KeyringOffer, host: Path | None, named: tuple[str, ...], kept: Path) -> None:
    files = _offered(offer)
    work = Path(tempfile.mkdtemp(prefix="keyring-", dir=job.work))
    made = Path(tempfile.mkdtemp(prefix=".tmp-", dir=kept.parent))
    try:
        new, ring = work / "new.gpg", made / f"{offer.name}.gpg"
        new.write_bytes(files[offer.ring])
        keys = gather_keys(job, ring, host, [new])
        theirs = Trust.read(files.get(f"{offer.name}-trusted", b""), files.get(f"{offer.name}-revoked", b""))
        ours = _ours(host, _primaries(named, keys, offer))
        deciding = ours.without(theirs.revoked).usable(keys)
        judgement = _judge(job, offer, ring, deciding, work)
        said = [_accept(judgement, offer, deciding)]
        trust = _merge(ours, theirs, judgement.keys)
        strangers = [judgement.keys[key].owner for key in theirs.usable(keys).levels if key not in trust.levels]
        if strangers:
            said.append(
                f"keyring: not trusted as master keys, since too few of the present ones certify them: "
                f"{', '.join(strangers)}; distribution.keyring.fingerprints can name them"
            )
        _write(ring, trust.usable(keys), keys)
        (made / "said").write_text("".join(f"{line}\n" for line in said), "utf-8")
        made.rename(kept)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _offered(offer: KeyringOffer) -> dict[str, bytes]:
    """The ring's files by their names."""
    names = [offer.ring, f"{offer.name}-trusted", f"{offer.name}-revoked"]
    files = read_files(offer.file, [f"{_DIRECTORY}/{name}" for name in names])
    if f"{_DIRECTORY}/{names[0]}" not in files:
        raise AuditError(
            f"{offer.file.name} has no {_DIRECTORY}/{names[0]}",
            f"the file that distribution.keyring.path names must be called as the one in {offer.package} is",
        )
    return {name: files[f"{_DIRECTORY}/{name}"] for name in names if f"{_DIRECTORY}/{name}" in files}


def _primaries(named: tuple[str, ...], keys: dict[str, PublicKey], offer: KeyringOffer) -> tuple[str, ...]:
    """The keys that the recipe names, maybe by a subkey."""
    found = {fingerprint: find_key(keys.values(), fingerprint) for fingerprint in named}
    unknown = [fingerprint for fingerprint, key in found.items() if key is None]
    if unknown:
        raise AuditError(
            f"neither {offer.package} {offer.version} nor this host has a key {', '.join(unknown)}",
            "correct distribution.keyring.fingerprints",
        )
    return tuple(key.fingerprint for key in found.values() if key is not None)


def _ours(host: Path | None, named: tuple[str, ...]) -> Trust:
    """What the host and the recipe say; the host's revocations are above both."""
    trusted = read_ring_files(host, "trusted") if host else b""
    trust = Trust.read(trusted, read_ring_files(host, "revoked") if host else b"")
    more = {key: _MARGINAL for key in named if key not in trust.revoked}
    return Trust({**more, **trust.levels}, trust.revoked)


def _judge(job: Job, offer: KeyringOffer, ring: Path, ours: Trust, work: Path) -> _Judgement:
    """What gpg says of the package and of all keys when it trusts ours alone."""
    ownertrust = work / "ownertrust"
    ownertrust.write_text("".join(f"{key}:{level}:\n" for key, level in ours.levels.items() if level), "ascii")
    argv = [*map(str, (ring, ownertrust, offer.signature, offer.file, work)), *ours.levels]
    job.sandbox.run(["sh", "-c", _JUDGE, "sh", *argv])
    said = {name: (work / name).read_text("utf-8", "replace") for name in ("status", "keys", "certifications")}
    fields = [line.split(":") for line in said["certifications"].splitlines()]
    ids = {words[4] for words in fields if words[:2] == ["sig", "!"]}
    certifiers = tuple(key for key in ours.levels if key[-16:] in ids)
    return _Judgement(read_signatures(said["status"]), read_keys(said["keys"]), certifiers)


def _accept(judgement: _Judgement, offer: KeyringOffer, ours: Trust) -> str:
    """Why the package is trusted; AuditError where it is not."""
    what = f"{offer.package} {offer.version}"
    for signature in judgement.signatures:
        if signature.good and signature.primary in ours.revoked:
            signature = replace(signature, verdict="REVKEYSIG")
        if not signature.good or not signature.trusted:
            raise AuditError(f"{what} is not to be trusted: {_reason(signature, judgement, ours)}", *_REMEDY)
    if not judgement.signatures:
        raise AuditError(
            f"{what} has no signature that gpg can read", "the mirror has something else there: try another"
        )
    signer = judgement.signatures[0]
    by = [judgement.keys[key].owner for key in judgement.certifiers if key != signer.primary]
    why = (
        f"whose key is certified by {', '.join(by)}" if signer.primary not in ours.levels else "which is itself trusted"
    )
    return f"keyring: {what}, signed by {signer.primary} ({signer.owner}), {why}"


def _reason(signature: Signature, judgement: _Judgement, ours: Trust) -> str:
    if not signature.good:
        return signature.describe()
    masters = f"{len(judgement.certifiers)} of the {len(ours.levels)} master keys that are trusted here certify it"
    return f"{signature.describe()}, but its key does not count: only {masters}"


def _merge(ours: Trust, theirs: Trust, keys: dict[str, PublicKey]) -> Trust:
    """Who is trusted from now on: of their master keys ours, and those that ours vouch for, no more than any of ours.

    A revoked key stays so, whoever revoked it. The keys that the recipe names are ours.
    """
    most = max(ours.levels.values(), default=0)
    valid = {key: min(level, most) for key, level in theirs.levels.items() if key in keys and keys[key].valid}
    return Trust({**valid, **ours.levels}, frozenset()).without(ours.revoked | theirs.revoked)


def _write(ring: Path, trust: Trust, keys: dict[str, PublicKey]) -> None:
    """NAME-trusted and NAME-revoked; of keys that are in the ring, since gpg fails on others."""
    trusted = "".join(f"{key}:{level}:\n" for key, level in sorted(trust.levels.items()))
    ring_file(ring, "trusted").write_text(trusted, "ascii")
    revoked = "".join(f"{key}\n" for key in sorted(trust.revoked & keys.keys()))
    ring_file(ring, "revoked").write_text(revoked, "ascii")


def _digest(offer: KeyringOffer, host: Path | None, named: tuple[str, ...]) -> str:
    """Of all that a judgement hangs on."""
    beside = [read_ring_files(host, kind) for kind in ("trusted", "revoked")] if host else []
    parts = [offer.file.read_bytes(), offer.signature.read_bytes(), host.read_bytes() if host else b"", *beside]
    text = "\n".join([_FORMAT, offer.name, *(hashlib.sha256(part).hexdigest() for part in parts), *sorted(named)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def ring_file(ring: Path, kind: str) -> Path:
    """Where NAME-trusted or NAME-revoked is beside NAME.gpg."""
    return ring.with_name(f"{ring.stem}-{kind}")


def read_ring_files(ring: Path, kind: str) -> bytes:
    """NAME-trusted or NAME-revoked beside NAME.gpg; empty where there is none."""
    try:
        return ring_file(ring, kind).read_bytes()
    except FileNotFoundError:
        return b""
