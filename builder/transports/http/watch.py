"""Ends connections that bring too little, or last too long: a server that sends a byte now and then costs us no more.

A read of a socket waits for the next byte only, and what reads lines, headers or chunks waits for as many as a server
cares to send. So one thread looks at all requests under way, and shuts the socket of one that falls below the lowest
rate, whatever it waits for: TLS, headers, a body or what follows it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from builder.errors import TransferError
from builder.transports.base import Limits
from builder.transports.retries import BrokenTransferError

_LOOK = 0.5  # seconds


class Exchange:
    """One request and its answer. `moved`: bytes of both so far; `handle`: a descriptor of its socket."""

    def __init__(self) -> None:
        self.moved = 0
        self.handle: int | None = None
        self.is_waiting = False
        self.waited = 0.0
        self.mark = 0
        self.reason: str | None = None

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Only what is waited for a server counts."""
        self.is_waiting = True
        try:
            yield
        finally:
            self.is_waiting = False

    def let_go(self) -> None:
        """Closes its descriptor."""
        if self.handle is not None:
            os.close(self.handle)
            self.handle = None

    def end(self, reason: str) -> None:
        """Whoever waits for it is told that the connection broke."""
        self.reason = reason
        if self.handle is not None:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self.handle)) as again:
                again.shutdown(socket.SHUT_RDWR)


class Watch:
    """Looks at the requests of one client."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._ends = time.monotonic() + limits.longest
        self._exchanges: set[Exchange] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._local = threading.local()

    def begin(self) -> Exchange:
        """Looks at a request of this thread from now on; TransferError where there is no time for one."""
        if time.monotonic() > self._ends:
            raise TransferError(f"not through after {self._limits.longest:.0f} s", "--longest gives it more time")
        exchange = self._local.current = Exchange()
        with self._lock:
            self._exchanges.add(exchange)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
                self._thread.start()
        return exchange

    def finish(self, exchange: Exchange) -> None:
        """Looks at it no more."""
        with self._lock:  # what is shut down from there is never what has this number next
            self._exchanges.discard(exchange)
            exchange.let_go()

    def use(self, handle: int) -> None:
        """The request of this thread goes over this socket, of which it gets a descriptor of its own.

        A connection is closed before the answer was read, where that ends with it.
        """
        exchange: Exchange | None = getattr(self._local, "current", None)
        if exchange is not None:
            with self._lock:
                exchange.let_go()
                exchange.handle = os.dup(handle)

    def fault(self, exchange: Exchange, what: str) -> Exception | None:
        """Why a request was ended from here; None where it was not."""
        if exchange.reason is None:
            return None
        if time.monotonic() > self._ends:
            return TransferError(f"{what}: {exchange.reason}", "--longest gives it more time")
        return BrokenTransferError(f"{what}: {exchange.reason}", "see what is between here and the server; try later")

    def _look(self) -> None:
        while True:
            time.sleep(min(_LOOK, self._limits.window / 4))
            with self._lock:
                if not self._exchanges:
                    self._thread = None
                    return
                for exchange in self._exchanges:
                    self._look_at(exchange, time.monotonic())

    def _look_at(self, exchange: Exchange, now: float) -> None:
        if now > self._ends:
            exchange.end(f"not through after {self._limits.longest:.0f} s")
        if not exchange.is_waiting:
            return
        exchange.waited += min(_LOOK, self._limits.window / 4)
        if exchange.waited < self._limits.window:
            return
        if exchange.moved - exchange.mark < self._limits.rate * self._limits.window:
            exchange.end(f"slower than {self._limits.rate:.0f} bytes a second for {self._limits.window:.0f} s")
        exchange.waited, exchange.mark = 0.0, exchange.moved


class _Watched:
    """A connection whose socket has a second descriptor: the first may be another file's by then."""

    watch: Watch
    _close_watched: Any = None
    _watched: int | None = None

    def _new_conn(self) -> socket.socket:
        made: socket.socket = super()._new_conn()  # type: ignore[misc]
        self._forget()
        self._watched = os.dup(made.fileno())
        self._close_watched = weakref.finalize(self, os.close, self._watched)
        self.watch.use(self._watched)
        return made

    def request(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - as urllib3 has them
        if self._watched is not None:
            self.watch.use(self._watched)
        super().request(*arguments, **options)  # type: ignore[misc]

    def close(self) -> None:
        self._forget()
        super().close()  # type: ignore[misc]

    def _forget(self) -> None:
        if self._close_watched is not None:
            self._close_watched()
        self._watched = self._close_watched = None


class _WatchedAdapter(HTTPAdapter):
    """What requests makes connections with."""

    pools: Mapping[str, type[HTTPConnectionPool]]

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = dict(self.pools)

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        manager = super().proxy_manager_for(*arguments, **options)
        if set(manager.pool_classes_by_scheme) == set(self.pools):  # and not SOCKS, which makes its own
            manager.pool_classes_by_scheme = dict(self.pools)
        return manager


def watched_adapter(watch: Watch) -> HTTPAdapter:
    """What requests speaks HTTP with, so that `watch` knows the sockets."""
    plain = type("WatchedPlain", (_Watched, HTTPConnection), {"watch": watch})
    secure = type("WatchedSecure", (_Watched, HTTPSConnection), {"watch": watch})
    pools = {
        "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
    }
    adapter: HTTPAdapter = type("WatchedAdapter", (_WatchedAdapter,), {"pools": pools})()
    return adapter
