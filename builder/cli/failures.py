"""Every end that is not a good one, as a message, a hint and an exit status."""

from __future__ import annotations

import errno

import click

from builder.cli.typed import as_typed
from builder.errors import DisklessError, HostError

_INTERNAL = 70  # EX_SOFTWARE, sysexits.h
_INTERRUPTED = 130  # as shells report SIGINT
_OS_HINTS = {
    errno.ENOSPC: "free some space there, see `df -h` and `df -i`",
    errno.EDQUOT: "the quota is used up: free some space there",
    errno.EROFS: "that file system is read-only: mount it read-write, or choose another place",
    errno.EACCES: "change the permissions there, or run it with sudo",
    errno.EPERM: "change the permissions there, or run it with sudo",
    errno.ENOENT: "it is missing: check the path; in a store, `diskless verify --to DIR` says what else is",
    errno.EIO: "see dmesg: the disk may be failing",
}


def explain_failure(error: BaseException) -> DisklessError:
    """The error to show for whatever was raised, with commands as they are typed."""
    failure = _explain(error)
    failure.hint = failure.hint and as_typed(failure.hint)
    failure.details = tuple(map(as_typed, failure.details))
    return failure


def _explain(error: BaseException) -> DisklessError:
    if isinstance(error, DisklessError):
        return error
    if isinstance(error, KeyboardInterrupt | click.exceptions.Abort):
        return _failure("interrupted", "nothing half done is left: run it again", _INTERRUPTED)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        hint = _OS_HINTS.get(error.errno or 0, "--debug shows where it came from")
        return _failure(f"{where}{error.strerror or error}", hint, HostError.exit_code)
    message = f"internal error: {type(error).__name__}: {error}"
    return _failure(message, "please report it with the output of --debug", _INTERNAL)


def _failure(message: str, hint: str, status: int) -> DisklessError:
    failure = DisklessError(message, hint)
    failure.exit_code = status
    return failure
