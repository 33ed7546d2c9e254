"""Why a server gave no good answer."""

from __future__ import annotations


class NoAnswerError(Exception):
    """No good answer: what came instead, in words."""


class RefusedAnswerError(NoAnswerError):
    """The machine is there, and nothing listens on that port."""


class SilentError(NoAnswerError):
    """Nothing came: a firewall, or no such machine."""


class ErrorAnswerError(NoAnswerError):
    """The server answers, and says that it does not give this."""
