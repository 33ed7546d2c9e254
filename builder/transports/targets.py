"""From what a user writes to a transport or a version: oci://, https://, a directory."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from builder.errors import InputError
from builder.output.source import Source
from builder.transports.base import Options, Transport
from builder.transports.local import DirectoryTransport, find_directory
from builder.transports.oci.transport import DEFAULT_TAG, OciTransport, parse_oci
from builder.transports.web import WebTransport

_FORMS = "oci://HOST/REPOSITORY, https://HOST/PATH, or a directory"


def is_remote(reference: str) -> bool:
    """Whether a text is meant for a transport, and not as the path or name of something here."""
    return "://" in reference


def open_source(reference: str, options: Options) -> Source:
    """The version that a reference means now: oci://HOST/REPOSITORY[:TAG | @DIGEST], the https:// address of a
    manifest.json, of its directory or of a channel, a version's directory or file:// of one.

    InputError for what is none of them, TransferError where it cannot be reached or is not there.
    """
    if reference.startswith("oci://"):
        oci = parse_oci(reference)
        return OciTransport(oci, options).find("", oci.digest or oci.tag or DEFAULT_TAG)
    if reference.startswith(("https://", "http://")):
        return WebTransport(reference, options).open()
    return find_directory(_directory(reference))


def open_transport(target: str, options: Options) -> tuple[Transport, tuple[str, ...]]:
    """Where uploads go, and the tags that the target itself names."""
    if target.startswith("oci://"):
        oci = parse_oci(target)
        if oci.digest:
            raise InputError(f"{target} names a digest, which is not chosen but found", "leave it out")
        return OciTransport(oci, options), (oci.tag,) if oci.tag else ()
    if target.startswith(("https://", "http://")):
        return WebTransport(target, options), ()
    return DirectoryTransport(_directory(target), options), ()


def _directory(text: str) -> Path:
    if text.startswith("file://"):
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise InputError(f"{text} names a host", "file:///PATH")
        return Path(unquote(parts.path))
    if "://" in text:
        raise InputError(f"{text.partition('://')[0]}:// is not a way to move versions", _FORMS)
    return Path(text)
