"""Every error that reaches the user: what happened, where, and what to do about it."""

from __future__ import annotations


class DisklessError(Exception):
    """A failure with a message, a hint and an exit status; the command line prints all three.

    `phase` is filled in by the step that was running; `details` are lines of evidence (a command's last output).
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None, details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details
        self.phase: str | None = None


class InputError(DisklessError):
    """What the user wrote is wrong: a recipe, an argument, a path."""

    exit_code = 2


class HostError(DisklessError):
    """The machine lacks something: a tool, a privilege, disk space, a kernel feature."""

    exit_code = 3


class CommandError(DisklessError):
    """A program that the build runs failed."""

    exit_code = 4

    def __init__(
        self, message: str, hint: str | None = None, details: tuple[str, ...] = (), *, status: int = 1
    ) -> None:
        super().__init__(message, hint, details)
        self.status = status


class AuditError(DisklessError):
    """What was built is not fit to be used, or an artifact is not what it claims to be."""

    exit_code = 5


class BootError(DisklessError):
    """A guest did not boot, or a check inside it failed."""

    exit_code = 6


class TransferError(DisklessError):
    """A registry or web server could not be reached, refused, or gave something else than was asked for."""

    exit_code = 7
