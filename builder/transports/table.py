"""Which transport a reference means: a new one is a file here and a line in the table."""

from __future__ import annotations

from builder.errors import InputError
from builder.output.offer import Offer
from builder.transports.base import Options, Scheme, Transport
from builder.transports.local import DIRECTORY
from builder.transports.oci.layout import LAYOUT
from builder.transports.oci.transport import OCI
from builder.transports.web import WEB

# the last one takes what has no prefix
SCHEMES: tuple[Scheme, ...] = (OCI, LAYOUT, WEB, DIRECTORY)
_SKOPEO = "oci:"  # what others call a layout; here it would be a directory of a strange name


def is_remote(reference: str) -> bool:
    """Whether a text is meant for a transport, and not as the path or name of something here."""
    return "://" in reference or reference.startswith((_SKOPEO, *LAYOUT.prefixes))


def find_offer(reference: str, options: Options) -> Offer:
    """The version that a reference means now: oci://HOST/REPOSITORY[:TAG | @DIGEST], oci-layout:DIR[:TAG | @DIGEST],
    the https:// address of a manifest.json, of its directory or of a channel, a version's directory or file:// of one.

    InputError for what is none of them, TransferError where it cannot be reached or is not there.
    """
    return _scheme(reference).find_offer(reference, options)


def open_transport(target: str, options: Options) -> tuple[Transport, tuple[str, ...]]:
    """Where uploads go, and the tags that the target itself names; InputError for what is not a target."""
    scheme = _scheme(target)
    if options.layers is not None and not scheme.has_layers:
        raise InputError(f"--layers {options.layers}: {target} keeps whole files, no layers", "leave it out")
    return scheme.open_transport(target, options)


def _scheme(text: str) -> Scheme:
    if text.startswith(_SKOPEO) and not text.startswith(OCI.prefixes):
        hint = f"{LAYOUT.example} is an OCI layout, {OCI.example} a registry, ./{text} a directory of that name"
        raise InputError(f"{text} is no way to move versions", hint)
    found = next((scheme for scheme in SCHEMES if text.startswith(scheme.prefixes)), None)
    if found is None and is_remote(text):
        examples = [scheme.example for scheme in SCHEMES]
        hint = f"{', '.join(examples[:-1])}, or {examples[-1]}"
        raise InputError(f"{text.partition('://')[0]}:// is not a way to move versions", hint)
    return found or SCHEMES[-1]
