"""What the attacker does in each version of NFS, whatever that is called on the wire."""

from __future__ import annotations

import abc
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

SOURCE = "source"  # a file in the attacker's own directory, to be renamed
REGULAR, DIRECTORY, LINK = 1, 2, 5  # the same numbers in all versions
# statuses that have the same number in v3 and v4, and what only one has; RFC 1813, RFC 5661
STATUS = {
    1: "PERM",
    2: "NOENT",
    5: "IO",
    13: "ACCES",
    17: "EXIST",
    18: "XDEV",
    20: "NOTDIR",
    21: "ISDIR",
    22: "INVAL",
    30: "ROFS",
    66: "NOTEMPTY",
    70: "STALE",
    10001: "BADHANDLE",
    10004: "NOTSUPP",
    10006: "SERVERFAULT",
    10008: "DELAY",
    10009: "SAME",
    10013: "GRACE",
    10014: "FHEXPIRED",
    10016: "WRONGSEC",
    10020: "NOFILEHANDLE",
    10025: "BAD_STATEID",
    10029: "SYMLINK",
    10036: "BADXDR",
    10038: "OPENMODE",
    10044: "OP_ILLEGAL",
}


_BUSY = (10008, 10013)  # DELAY (JUKEBOX in v3), GRACE
_TRIES = 30
T = TypeVar("T")


class RefusedError(Exception):
    """The server's answer is an error: `status` in words."""

    def __init__(self, status: str) -> None:
        self.status = status
        super().__init__(status)


def patiently(call: Callable[[], T]) -> T:
    """Asks again where the server only says that it is busy, which hides what it would have said."""
    for number in range(_TRIES):
        try:
            return call()
        except RefusedError as error:
            if error.status not in (STATUS[busy] for busy in _BUSY):
                raise
        time.sleep(min(0.5, 0.005 * 2**number))
    return call()


def refuse(status: int) -> None:
    """RefusedError for any status but 0."""
    if status:
        raise RefusedError(STATUS.get(status, str(status)))


@dataclass(frozen=True)
class Seen:
    """What a server says of an object. fsid and fileid together are its identity for a client."""

    fsid: tuple[int, int]
    fileid: int
    kind: int
    size: int


@dataclass(frozen=True)
class Way:
    """An object as the attacker names it: a handle, and the names that lead on from there, `..` among them."""

    handle: bytes
    steps: tuple[str, ...] = ()

    def follow(self, *steps: str) -> Way:
        """Further on."""
        return Way(self.handle, self.steps + steps)


class Dialect(abc.ABC):
    """One version of NFS under one user. Every method raises RefusedError where the server does not want to."""

    name: str

    @abc.abstractmethod
    def root(self, path: str) -> bytes:
        """The handle that an honest mount of an export has."""

    @abc.abstractmethod
    def look(self, way: Way) -> Seen:
        """GETATTR."""

    @abc.abstractmethod
    def handle_of(self, way: Way) -> bytes:
        """LOOKUP, of `..` LOOKUPP where there is one: the handle that the server gives for it."""

    @abc.abstractmethod
    def names(self, way: Way) -> list[str]:
        """READDIR, without `.` and `..`."""

    @abc.abstractmethod
    def read(self, way: Way) -> bytes:
        """READ, of the beginning."""

    @abc.abstractmethod
    def target(self, way: Way) -> str:
        """READLINK."""

    @abc.abstractmethod
    def readings(self, way: Way) -> dict[str, Callable[[], object]]:
        """Whatever gives something away, by the call's name."""

    @abc.abstractmethod
    def writings(self, way: Way, own: bytes) -> dict[str, Callable[[], object]]:
        """Whatever changes something, by the call's name; own: a directory in which the client may write."""

    @abc.abstractmethod
    def close(self) -> None:
        """Ends the connection; the next call makes a new one."""
