"""What a registry's refusal of a manifest is about: its size, or something that fewer layers do not change.

Codes are of the OCI distribution specification 1.1; registries that have limits answer 413, or 400 with a code of their
own or MANIFEST_INVALID.
"""

from __future__ import annotations

from builder.transports.http.refusals import RefusedError

# how many layers are tried next: what all registries are said to take, then what the strictest do
BOUNDS = (300, 100)
_STATUSES = (400, 413, 422)
_OTHER_CODES = frozenset(
    {
        "BLOB_UNKNOWN",
        "DENIED",
        "DIGEST_INVALID",
        "MANIFEST_BLOB_UNKNOWN",
        "MANIFEST_UNVERIFIED",
        "NAME_INVALID",
        "NAME_UNKNOWN",
        "TAG_INVALID",
        "TOOMANYREQUESTS",
        "UNAUTHORIZED",
        "UNSUPPORTED",
    }
)
_OTHER_WORDS = ("immutable", "quota")
_LIMIT_WORDS = ("exceed", "large", "limit", "maximum", "size", "too many", "too long", "layers")


def may_be_too_large(refused: RefusedError) -> bool:
    """Whether a manifest of fewer layers may be taken."""
    if refused.status == 413:
        return True
    said = refused.said.lower()
    is_other = bool(_OTHER_CODES & set(refused.codes)) or any(word in said for word in _OTHER_WORDS)
    return refused.status in _STATUSES and not is_other


def may_be_damaged(refused: RefusedError) -> bool:
    """Whether what arrived may have been something else than what was sent: nothing that is said is about its size."""
    said = refused.said.lower()
    damaged = {"MANIFEST_INVALID", "DIGEST_INVALID", "MANIFEST_UNVERIFIED"}
    return bool(damaged & set(refused.codes)) and not any(word in said for word in _LIMIT_WORDS)
