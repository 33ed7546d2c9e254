"""What installers share: the lock of the package cache, and the proxies of whoever called us."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@contextlib.contextmanager
def locked(path: Path, notify: Callable[[str], None]) -> Iterator[None]:
    """One build at a time changes what `path` stands for; says so where it has to wait."""
    lock = FileLock(str(path))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        notify("waiting for another build to finish downloading")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def proxy_variables() -> dict[str, str]:
    """The proxy settings of the environment."""
    return {name: os.environ[name] for name in _PROXIES if name in os.environ}
