"""Signing manifests and channel statements and checking signatures in the format of ssh-keygen -Y, with ssh(1)'s keys.

Source: ssh-keygen(1), ALLOWED SIGNERS and KEY REVOCATION LISTS; PROTOCOL.sshsig.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from builder.errors import AuditError, CommandError, InputError
from builder.model.artifacts.manifest import MANIFEST
from builder.output.given import SIGNATURE, read_given
from builder.output.places import write_output
from builder.system.guarded.held import HeldDirectory
from builder.system.run import Tool, require_tools, run_filter

NAMESPACE = "diskless"
LARGEST_SIGNATURE = 64 << 10  # bytes
SSH_KEYGEN = Tool("ssh-keygen", "openssh-client", "openssh")


class RevokedKeyError(AuditError):
    """The signature is good, and its key is one that nobody shall be believed by any more."""

    exit_code = AuditError.exit_code


def sign_version(version: HeldDirectory, key: Path) -> None:
    """Writes manifest.json.sig beside the manifest; errors as of `sign_bytes`."""
    write_output(version, SIGNATURE, sign_bytes(read_given(version, MANIFEST), key))


def sign_bytes(data: bytes, key: Path) -> bytes:
    """A signature of `data`; `key` is a private key, or a public one whose other half an agent has.

    CommandError when ssh-keygen cannot sign with it.
    """
    require_tools([SSH_KEYGEN])
    if not key.is_file():
        raise InputError(f"--sign: {key} is not a file", "ssh-keygen -t ed25519 -f KEY makes a key")
    argv = ["ssh-keygen", "-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE]
    # without a terminal it does not wait for a passphrase
    status, signature, messages = run_filter(argv, data, {**os.environ, "SSH_ASKPASS_REQUIRE": "never"})
    if status != 0 or not signature:
        hint = "the key must be readable; load one with a passphrase into ssh-agent and give its public half"
        raise CommandError(f"ssh-keygen does not sign with {key}", hint, _lines(messages), status=status)
    return signature


def verify_signature(
    data: bytes, signature: bytes | None, allowed: Path, revoked: Path | None = None, what: str = "the version"
) -> tuple[str, ...]:
    """The principals of `allowed` (an ALLOWED_SIGNERS file) who signed these bytes: one, if its keys are of one each.

    revoked: a list of public keys, or a KRL; what: what was signed, for messages

    AuditError where nobody signed, something was altered, or the signer is not in the file; RevokedKeyError where only
    the key is no good any more; InputError without a file.
    """
    require_tools([SSH_KEYGEN])
    _check_file(allowed, "one line each: NAME KEYTYPE KEY, see ssh-keygen(1), ALLOWED SIGNERS")
    if revoked is not None:
        _check_file(revoked, "a list of public keys, or what `ssh-keygen -k` makes; an empty file revokes none")
    if signature is None:
        raise AuditError(f"{what} is not signed", "diskless upload --sign KEY signs it")
    if len(signature) > LARGEST_SIGNATURE:
        raise AuditError(f"{what} has a signature of {len(signature)} bytes", "upload it again")
    with _file_of(signature) as name:
        return _verified(data, name, allowed, revoked, what)


def _verified(data: bytes, name: str, allowed: Path, revoked: Path | None, what: str) -> tuple[str, ...]:
    argv = ["ssh-keygen", "-Y", "find-principals", "-s", name, "-f", str(allowed)]
    status, output, messages = run_filter(argv, b"", os.environ)
    principals = output.decode("utf-8", "replace").splitlines()
    if status != 0 or not principals:
        hint = "add the signer's public key there, if you trust it"
        raise AuditError(f"nobody in {allowed} signed {what}", hint, _lines(messages))
    good: list[str] = []
    for principal in dict.fromkeys(principals):
        verify = ["ssh-keygen", "-Y", "verify", "-f", str(allowed), "-I", principal, "-n", NAMESPACE, "-s", name]
        status, output, messages = run_filter(verify, data, os.environ)
        if status == 0:
            good.append(principal)
    if not good:
        hint = "what was signed or the signature was altered: get the version from where it was built"
        raise AuditError(f"the signature of {principals[0]} does not fit {what}", hint, _lines(messages + output))
    # without the list it was good, so it is the list that refuses; which key that is does not depend on the principal
    if revoked is not None and run_filter([*verify, "-r", str(revoked)], data, os.environ)[0] != 0:
        hint = "sign it with another key, if it is good: diskless upload --sign KEY"
        raise RevokedKeyError(f"{good[0]} signed {what} with a key that {revoked} revokes", hint)
    return tuple(good)


@contextlib.contextmanager
def _file_of(signature: bytes) -> Iterator[str]:
    """ssh-keygen wants a file, and no disk must have room for it."""
    with open(os.memfd_create("signature"), "wb", buffering=0) as file:
        file.write(signature)
        yield f"/proc/{os.getpid()}/fd/{file.fileno()}"


def _check_file(path: Path, hint: str) -> None:
    if not path.is_file():
        raise InputError(f"{path} is not a file", hint)


def _lines(messages: bytes) -> tuple[str, ...]:
    return tuple(messages.decode("utf-8", "replace").splitlines()[-3:])
