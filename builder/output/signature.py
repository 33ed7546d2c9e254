"""Signing manifests and checking signatures in the format of ssh-keygen -Y, with keys as ssh(1) has them.

Source: ssh-keygen(1), ALLOWED SIGNERS; PROTOCOL.sshsig.
"""

from __future__ import annotations

import os
from pathlib import Path

from builder.errors import AuditError, CommandError, InputError
from builder.model.artifacts.manifest import MANIFEST
from builder.output.given import SIGNATURE, read_given
from builder.output.places import write_output
from builder.system.guarded.held import HeldDirectory
from builder.system.run import Tool, require_tools, run_filter

NAMESPACE = "diskless"
SSH_KEYGEN = Tool("ssh-keygen", "openssh-client", "openssh")


def sign_version(version: HeldDirectory, key: Path) -> None:
    """Writes manifest.json.sig beside the manifest; `key` is a private key, or a public one whose other half an
    agent has. CommandError when ssh-keygen cannot sign with it.
    """
    require_tools([SSH_KEYGEN])
    if not key.is_file():
        raise InputError(f"--sign: {key} is not a file", "ssh-keygen -t ed25519 -f KEY makes a key")
    manifest = read_given(version, MANIFEST)
    argv = ["ssh-keygen", "-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE]
    # without a terminal it does not wait for a passphrase
    status, signature, messages = run_filter(argv, manifest, {**os.environ, "SSH_ASKPASS_REQUIRE": "never"})
    if status != 0 or not signature:
        hint = "the key must be readable; load one with a passphrase into ssh-agent and give its public half"
        raise CommandError(f"ssh-keygen does not sign with {key}", hint, _lines(messages), status=status)
    write_output(version, SIGNATURE, signature)


def verify_signature(manifest: bytes, signature: bytes | None, allowed: Path) -> str:
    """The principal of `allowed` (an ALLOWED_SIGNERS file) who signed these bytes.

    AuditError where nobody signed, something was altered, or the signer is not in the file; InputError without a file.
    """
    require_tools([SSH_KEYGEN])
    if not allowed.is_file():
        raise InputError(
            f"{allowed} is not a file", "one line each: NAME KEYTYPE KEY, see ssh-keygen(1), ALLOWED SIGNERS"
        )
    if signature is None:
        raise AuditError("the version is not signed", "diskless upload --sign KEY signs it")
    # ssh-keygen wants a file, and no disk must have room for it
    with open(os.memfd_create("signature"), "wb", buffering=0) as file:
        file.write(signature)
        name = f"/proc/{os.getpid()}/fd/{file.fileno()}"
        argv = ["ssh-keygen", "-Y", "find-principals", "-s", name, "-f", str(allowed)]
        status, output, messages = run_filter(argv, b"", os.environ)
        principals = output.decode("utf-8", "replace").splitlines()
        if status != 0 or not principals:
            hint = "add the signer's public key there, if you trust it"
            raise AuditError(f"nobody in {allowed} signed this version", hint, _lines(messages))
        for principal in principals:
            argv = ["ssh-keygen", "-Y", "verify", "-f", str(allowed), "-I", principal, "-n", NAMESPACE, "-s", name]
            status, output, messages = run_filter(argv, manifest, os.environ)
            if status == 0:
                return principal
    hint = "the manifest or the signature was altered: get the version from where it was built"
    raise AuditError(f"the signature of {principals[0]} does not fit the manifest", hint, _lines(messages + output))


def _lines(messages: bytes) -> tuple[str, ...]:
    return tuple(messages.decode("utf-8", "replace").splitlines()[-3:])
