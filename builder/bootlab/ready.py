"""Waiting for a server of the lab to come up."""

from __future__ import annotations

import time
from collections.abc import Callable

from builder.bootlab.namespace import Namespace, Service
from builder.errors import CommandError

_SECONDS = 30


def await_ready(namespace: Namespace, service: Service, is_ready: Callable[[], bool]) -> None:
    """Returns once `is_ready()`; CommandError with the last lines when the service ends or takes too long."""
    deadline = time.monotonic() + _SECONDS
    while not is_ready():
        if service.status is not None:
            raise service.describe_end()
        if time.monotonic() > deadline:
            raise CommandError(f"{service.name} is not ready after {_SECONDS} s", None, service.last_lines())
        namespace.poll(0.05)
