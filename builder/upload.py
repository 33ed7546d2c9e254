"""upload: from a version here to a registry, a web server or a directory elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builder.errors import DisklessError, InputError
from builder.model.artifacts.manifest import Manifest
from builder.model.version import VERSION
from builder.output.given import hold_version
from builder.output.signature import sign_version
from builder.output.versions import manifest_in
from builder.transports.base import Options, Pushed
from builder.transports.oci.transport import DEFAULT_TAG, is_tag
from builder.transports.table import open_transport


@dataclass(frozen=True)
class Uploaded:
    """What an upload did: the version, the tags that mean it now, and what was sent.

    before: what the first of the tags meant until now; None where it meant nothing, or nobody could tell
    """

    manifest: Manifest
    tags: tuple[str, ...]
    pushed: Pushed
    before: Manifest | None


def upload(version: Path, target: str, tags: Sequence[str], options: Options, sign: Path | None = None) -> Uploaded:
    """Sends what `target` lacks of a version and moves the tags to it; signs it first with the key `sign`.

    Without tags the version becomes the target's `latest`. Half an upload is never found under a name.
    """
    held = hold_version(version)
    manifest = manifest_in(held)
    transport, own_tags = open_transport(target, options)
    names = tuple(dict.fromkeys((*own_tags, *tags))) or (DEFAULT_TAG,)
    for name in names:
        if not is_tag(name) or VERSION.accepts(name):
            raise InputError(f"{name!r} cannot be a tag", "letters, digits, `.`, `_`, `-`, and no version's name")
    if sign is not None:
        with options.progress.step("sign"):
            sign_version(held, sign)
    with options.progress.step("upload"):
        before = _meaning(target, names[0], manifest.image, options)
        pushed = transport.push(held, manifest, names)
    return Uploaded(manifest, names, pushed, before)


def _meaning(target: str, tag: str, image: str, options: Options) -> Manifest | None:
    """Asked for once: it is for the summary only."""
    once = replace(options, cache=None, retries=replace(options.retries, attempts=1))
    with contextlib.suppress(DisklessError, OSError):
        return open_transport(target, once)[0].find(image, tag).manifest
    return None
