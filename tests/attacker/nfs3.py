"""NFS version 3, RFC 1813, and what answers to the same handles: its access control lists and its lock manager."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable

from builder.probes.answer import NoAnswerError
from builder.probes.rpc import (
    NFS_PORT,
    PORTMAPPER_PORT,
    Program,
    RpcConnection,
    XdrReader,
    find_port,
    opaque,
    try_mount,
)
from tests.attacker.dialect import SOURCE, Dialect, RefusedError, Seen, Way, patiently, refuse

_LOCKS = 100021  # nlm4, RFC 1813
_ACL = 100227  # NFSACL, no RFC: include/uapi/linux/nfsacl.h
_MOST = 1 << 15
_FIFO = 7
# what is set: mode, owner, group, size, times (1: the server's); the last word is the guard of SETATTR
_NEW = struct.pack("!7I", 1, 0o644, 0, 0, 0, 0, 0)
_MODE = struct.pack("!8I", 1, 0o777, 0, 0, 0, 0, 0, 0)
_TIMES = struct.pack("!7I", 0, 0, 0, 0, 1, 1, 0)
_EMPTY = struct.pack("!4IQ3I", 0, 0, 0, 1, 0, 0, 0, 0)
# an access control list by which owner, group and others may do everything, and no default one
_EVERYTHING = struct.pack("!3I9I2I", 1, 3, 3, 1, 0, 7, 4, 0, 7, 0x20, 0, 7, 0, 0)
_numbers = itertools.count()


class Nfs3(Dialect):
    """Over one connection; as nobody where `as_root` is not given."""

    def __init__(self, server: str, *, as_root: bool = True, port: int = NFS_PORT) -> None:
        self.name = "3" if as_root else "3 as nobody"
        self._server = server
        self._as_root = as_root
        self._port = port
        self._connection: RpcConnection | None = None

    def root(self, path: str) -> bytes:
        return try_mount(self._server, find_port(self._server, Program.MOUNT, 3), path)

    def look(self, way: Way) -> Seen:
        return _seen(self._call(1, self._at(way)))

    def handle_of(self, way: Way) -> bytes:
        handle = way.handle
        for step in way.steps:
            reader = self._call(3, opaque(handle) + opaque(step.encode()))
            handle = reader.take(reader.number())
        return handle

    def names(self, way: Way) -> list[str]:
        cookie, check, found = 0, bytes(8), []
        while True:
            reader = self._call(16, self._at(way) + struct.pack("!Q8sI", cookie, check, _MOST))
            _skip_attributes(reader)
            check, before = reader.take(8), cookie
            while reader.number():
                reader.long()
                found.append(reader.text())
                cookie = reader.long()
            if reader.number() or cookie == before:
                return [name for name in found if name not in (".", "..")]

    def read(self, way: Way) -> bytes:
        reader = self._call(6, self._at(way) + struct.pack("!QI", 0, _MOST))
        _skip_attributes(reader)
        reader.take(8)
        return reader.take(reader.number())

    def target(self, way: Way) -> str:
        reader = self._call(5, self._at(way))
        _skip_attributes(reader)
        return reader.text()

    def readings(self, way: Way) -> dict[str, Callable[[], object]]:
        plus = struct.pack("!Q8sII", 0, bytes(8), 1024, _MOST)
        return {
            "GETATTR": lambda: self.look(way),
            "READ": lambda: self.read(way),
            "READDIR": lambda: self.names(way),
            "READDIRPLUS": lambda: self._call(17, self._at(way) + plus),
            "READLINK": lambda: self.target(way),
            "LOOKUP ..": lambda: self.look(way.follow("..")),
            "LOOKUP .": lambda: self.look(way.follow(".")),
            "LOOKUP etc": lambda: self.look(way.follow("etc")),
            "ACCESS": lambda: self._call(4, self._at(way) + struct.pack("!I", 0x3F)),
            "FSSTAT": lambda: self._call(18, self._at(way)),
            "FSINFO": lambda: self._call(19, self._at(way)),
            "PATHCONF": lambda: self._call(20, self._at(way)),
            "LOCK": lambda: self._test_lock(way),
            "GETACL": lambda: self._call(1, self._at(way) + struct.pack("!I", 0xF), program=_ACL),
        }

    def writings(self, way: Way, own: bytes) -> dict[str, Callable[[], object]]:
        name = f"attacker-{next(_numbers)}"

        def there(kind: str) -> bytes:
            return self._at(way) + opaque(f"{name}-{kind}".encode())

        def here(kind: str) -> bytes:
            return opaque(own) + opaque(kind.encode())

        return {
            "SETATTR mode": lambda: self._call(2, self._at(way) + _MODE),
            "SETATTR times": lambda: self._call(2, self._at(way) + _TIMES),
            "WRITE": lambda: self._call(7, self._at(way) + struct.pack("!QII", 0, 8, 2) + opaque(b"attacked")),
            "CREATE": lambda: self._call(8, there("file") + struct.pack("!I", 0) + _NEW),
            "MKDIR": lambda: self._call(9, there("directory") + _NEW),
            "SYMLINK": lambda: self._call(10, there("link") + _NEW + opaque(b"/")),
            "MKNOD": lambda: self._call(11, there("pipe") + struct.pack("!I", _FIFO) + _NEW),
            "RENAME into": lambda: self._call(14, here(SOURCE) + there("renamed")),
            "RENAME out of": lambda: self._call(14, there("pipe") + here(name)),
            "LINK": lambda: self._call(15, self._at(way) + here(f"{name}-link")),
            "REMOVE": lambda: self._call(12, there("link")),
            "RMDIR": lambda: self._call(13, there("directory")),
            "SETATTR size": lambda: self._call(2, self._at(way) + _EMPTY),
            "SETACL": lambda: self._call(2, self._at(way) + _EVERYTHING, program=_ACL),
        }

    def _at(self, way: Way) -> bytes:
        return opaque(self.handle_of(way))

    def _call(self, procedure: int, arguments: bytes, *, program: int = Program.NFS) -> XdrReader:
        """The results after a good status."""
        return patiently(lambda: self._once(procedure, arguments, program))

    def _once(self, procedure: int, arguments: bytes, program: int) -> XdrReader:
        if self._connection is None:
            self._connection = RpcConnection(self._server, self._port, reserved=True)
        try:
            answer = self._connection.call(program, 3, procedure, arguments, as_root=self._as_root)
        except NoAnswerError as error:
            self.close()
            raise RefusedError(str(error)) from error
        reader = XdrReader(answer)
        refuse(reader.number())
        return reader

    def _test_lock(self, way: Way) -> None:
        """Asks the lock manager whether a lock could be had: only of a file that it can open."""
        ask = struct.pack("!4I", _LOCKS, 4, 6, 0)
        try:
            with RpcConnection(self._server, PORTMAPPER_PORT) as connection:
                port = XdrReader(connection.call(Program.PORTMAPPER, 2, 3, ask)).number()
            lock = opaque(b"attacker") + self._at(way) + opaque(b"owner") + struct.pack("!IQQ", 1, 0, 1)
            with RpcConnection(self._server, port, reserved=True) as connection:
                arguments = opaque(b"cookie") + struct.pack("!I", 1) + lock
                reader = XdrReader(connection.call(_LOCKS, 4, 1, arguments, as_root=self._as_root))
        except NoAnswerError as error:
            raise RefusedError(f"LOCK: {error}") from error
        reader.take(reader.number())
        status = reader.number()
        if status not in (0, 1):  # granted, or held by somebody
            raise RefusedError(f"LOCK {status}")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.__exit__(None, None, None)
            self._connection = None


def _skip_attributes(reader: XdrReader) -> None:
    if reader.number():
        reader.take(84)


def _seen(reader: XdrReader) -> Seen:
    kind = reader.number()
    reader.take(16)  # mode, links, owner, group
    size = reader.long()
    reader.take(16)  # used, rdev
    fsid, fileid = reader.long(), reader.long()
    return Seen((fsid, 0), fileid, kind, size)
