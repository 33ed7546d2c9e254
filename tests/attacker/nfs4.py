"""NFS versions 4.0, 4.1 and 4.2: calls that are made of operations (RFC 7531, RFC 5662, RFC 7863)."""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
from collections.abc import Callable

from builder.probes.answer import NoAnswerError
from builder.probes.rpc import NFS_PORT, Program, RpcConnection, XdrReader, opaque
from tests.attacker.dialect import SOURCE, Dialect, RefusedError, Seen, Way, patiently, refuse

_MOST = 1 << 15
_NOBODYS_STATE = bytes(16)  # the anonymous state: of no open file
_ANY_STATE = b"\xff" * 16  # the one that passes by locks
_LOST = (10010, 10011, 10022, 10023, 10052, 10053, 10063, 10078)  # the session or its order is not what was thought
_numbers = itertools.count()

_ROOT = struct.pack("!I", 24)
_WHICH = struct.pack("!3I", 2, 1 << 1 | 1 << 4 | 1 << 8 | 1 << 20, 0)  # type, size, fsid, fileid
_EVERY = struct.pack("!3I", 2, 0xFFFFFFFF & ~(1 << 11 | 1 << 19 | 1 << 21), 0x0000FFFF)


def put(way: Way) -> list[bytes]:
    """PUTFH and the way on: what follows is done to that."""
    steps = [_op(16) if step == ".." else _op(15, opaque(step.encode())) for step in way.steps]
    return [_op(22, opaque(way.handle)), *steps]


def _op(number: int, arguments: bytes = b"") -> bytes:
    return struct.pack("!I", number) + arguments


def _attributes(*words: int, bits: tuple[int, int] = (0, 0)) -> bytes:
    return struct.pack("!3I", 2, *bits) + opaque(struct.pack(f"!{len(words)}I", *words))


_MODE = _attributes(0o777, bits=(0, 1 << 1))
_SIZE = _attributes(0, 0, bits=(1 << 4, 0))
_TIMES = _attributes(0, 0, bits=(0, 1 << 16 | 1 << 22))
_NONE = _attributes()


class Nfs4(Dialect):
    """Over one connection, with a session from 4.1 on; as nobody where `as_root` is not given."""

    def __init__(self, server: str, minor: int, *, as_root: bool = True, port: int = NFS_PORT) -> None:
        self.name = f"4.{minor}" if as_root else f"4.{minor} as nobody"
        self._server = server
        self._minor = minor
        self._as_root = as_root
        self._port = port
        self._connection: RpcConnection | None = None
        self._client = 0
        self._session: bytes | None = None
        self._sequence = 0

    def root(self, path: str) -> bytes:
        steps = [_op(15, opaque(part.encode())) for part in path.split("/") if part]
        reader = self._compound([_ROOT, *steps, _op(10)])
        return reader.take(reader.number())

    def pseudo_root(self) -> bytes:
        """The handle above all exports."""
        return self.root("/")

    def look(self, way: Way) -> Seen:
        return _seen(self._compound([*put(way), _op(9, _WHICH)]))

    def handle_of(self, way: Way) -> bytes:
        reader = self._compound([*put(way), _op(10)])
        return reader.take(reader.number())

    def names(self, way: Way) -> list[str]:
        cookie, check, found = 0, bytes(8), []
        while True:
            arguments = struct.pack("!Q8sII", cookie, check, _MOST, _MOST) + struct.pack("!2I", 1, 1 << 20)
            reader = self._compound([*put(way), _op(26, arguments)])
            check, before = reader.take(8), cookie
            while reader.number():
                cookie = reader.long()
                found.append(reader.text())
                reader.take(4 * reader.number())
                reader.take(reader.number())
            if reader.number() or cookie == before:
                return found

    def read(self, way: Way) -> bytes:
        return self._read(way, _NOBODYS_STATE)

    def target(self, way: Way) -> str:
        return self._compound([*put(way), _op(27)]).text()

    def readings(self, way: Way) -> dict[str, Callable[[], object]]:
        calls: dict[str, Callable[[], object]] = {
            "GETATTR": lambda: self.look(way),
            "GETATTR all": lambda: self._compound([*put(way), _op(9, _EVERY)]),
            "GETFH": lambda: self.handle_of(way),
            "READ": lambda: self.read(way),
            "READ past locks": lambda: self._read(way, _ANY_STATE),
            "READDIR": lambda: self.names(way),
            "READLINK": lambda: self.target(way),
            "LOOKUPP": lambda: self.look(way.follow("..")),
            "LOOKUP etc": lambda: self.look(way.follow("etc")),
            "ACCESS": lambda: self._compound([*put(way), _op(3, struct.pack("!I", 0x3F))]),
            "SECINFO": lambda: self._compound([*put(way), _op(33, opaque(b"etc"))]),
            "VERIFY": lambda: self._compound([*put(way), _op(37, _attributes(2, bits=(1 << 1, 0)))]),
            "OPEN": lambda: self._open(way, 1, opaque(b"shadow")),
        }
        if self._minor >= 1:
            calls["OPEN by handle"] = lambda: self._open(way, 1, None)
            calls["SECINFO_NO_NAME"] = lambda: self._compound([*put(way), _op(52, struct.pack("!I", 0))])
            calls["SECINFO_NO_NAME of parent"] = lambda: self._compound([*put(way), _op(52, struct.pack("!I", 1))])
        if self._minor >= 2:
            place = _NOBODYS_STATE + struct.pack("!Q", 0)
            calls["READ_PLUS"] = lambda: self._compound([*put(way), _op(68, place + struct.pack("!I", _MOST))])
            calls["SEEK"] = lambda: self._compound([*put(way), _op(69, place + struct.pack("!I", 0))])
            calls["LISTXATTRS"] = lambda: self._compound([*put(way), _op(74, struct.pack("!QI", 0, _MOST))])
        return calls

    def writings(self, way: Way, own: bytes) -> dict[str, Callable[[], object]]:
        number = next(_numbers)
        there, here = put(way), put(Way(own))

        def name(kind: str) -> bytes:
            return opaque(f"attacker-{number}-{kind}".encode())

        def does(*operations: bytes) -> Callable[[], object]:
            return lambda: self._compound(list(operations))

        calls = {
            "SETATTR mode": does(*there, _op(34, _NOBODYS_STATE + _MODE)),
            "SETATTR times": does(*there, _op(34, _NOBODYS_STATE + _TIMES)),
            "WRITE": does(*there, _op(38, _NOBODYS_STATE + struct.pack("!QI", 0, 2) + opaque(b"attacked"))),
            "CREATE directory": does(*there, _op(6, struct.pack("!I", 2) + name("directory") + _NONE)),
            "CREATE link": does(*there, _op(6, struct.pack("!I", 5) + opaque(b"/") + name("link") + _NONE)),
            "CREATE pipe": does(*there, _op(6, struct.pack("!I", 7) + name("pipe") + _NONE)),
            "OPEN to create": lambda: self._open(way, 2, name("file"), create=True),
            "OPEN to write": lambda: self._open(way, 2, opaque(b"shadow")),
            "RENAME into": does(*here, _op(32), *there, _op(29, opaque(SOURCE.encode()) + name("renamed"))),
            "RENAME out of": does(*there, _op(32), *here, _op(29, name("pipe") + name("moved"))),
            "LINK": does(*there, _op(32), *here, _op(11, name("linked"))),
            "REMOVE": does(*there, _op(28, name("link"))),
            "SETATTR size": does(*there, _op(34, _NOBODYS_STATE + _SIZE)),
        }
        if self._minor >= 1:
            calls["OPEN by handle to write"] = lambda: self._open(way, 2, None)
        if self._minor >= 2:
            extent = _NOBODYS_STATE + struct.pack("!QQ", 0, 1)
            calls["ALLOCATE"] = does(*there, _op(59, extent))
            calls["DEALLOCATE"] = does(*there, _op(62, extent))
            calls["SETXATTR"] = does(*there, _op(73, struct.pack("!I", 0) + opaque(b"attacker") + opaque(b"attacked")))
            calls["REMOVEXATTR"] = does(*there, _op(75, opaque(b"attacker")))
            calls["CLONE"] = does(*there, _op(32), *here, _op(71, _NOBODYS_STATE * 2 + struct.pack("!3Q", 0, 0, 0)))
        return calls

    def _read(self, way: Way, state: bytes) -> bytes:
        reader = self._compound([*put(way), _op(25, state + struct.pack("!QI", 0, _MOST))])
        reader.number()
        return reader.take(reader.number())

    def _open(self, way: Way, access: int, name: bytes | None, *, create: bool = False) -> None:
        """OPEN of a name in a directory, or of the handle itself."""
        self._begin()
        owner = struct.pack("!Q", self._client) + opaque(b"owner %d" % next(_numbers))
        how = struct.pack("!II", 1, 0) + _NONE if create else struct.pack("!I", 0)
        claim = struct.pack("!I", 4) if name is None else struct.pack("!I", 0) + name
        self._compound([*put(way), _op(18, struct.pack("!3I", 0, access, 0) + owner + how + claim)])

    def _compound(self, operations: list[bytes]) -> XdrReader:
        """What the last operation gave; RefusedError with the first bad status."""
        return patiently(lambda: self._once(operations))

    def _once(self, operations: list[bytes]) -> XdrReader:
        self._begin()
        if self._session is None:
            return self._send(operations)
        self._sequence += 1
        head = _op(53, self._session + struct.pack("!4I", self._sequence, 0, 0, 0))
        return self._send([head, *operations])

    def _send(self, operations: list[bytes]) -> XdrReader:
        assert self._connection is not None
        arguments = opaque(b"") + struct.pack("!II", self._minor, len(operations)) + b"".join(operations)
        try:
            answer = self._connection.call(Program.NFS, 4, 1, arguments, as_root=self._as_root)
        except NoAnswerError as error:
            self.close()
            raise RefusedError(str(error)) from error
        reader = XdrReader(answer)
        status = reader.number()
        if status in _LOST:
            self.close()
        refuse(status)
        reader.take(reader.number())
        for _ in range(reader.number() - 1):
            _skip(reader)
        reader.number()
        refuse(reader.number())
        return reader

    def _begin(self) -> None:
        """Connects, and says who it is."""
        if self._connection is not None:
            return
        self._connection = RpcConnection(self._server, self._port, reserved=True)
        who = os.urandom(8) + opaque(b"attacker %d %d" % (os.getpid(), next(_numbers)))
        if self._minor == 0:
            reader = self._send(
                [_op(35, who + struct.pack("!I", 0) + opaque(b"tcp") + opaque(b"0.0.0.0.0.0") + bytes(4))]
            )
            confirmed = reader.take(16)
            self._client = int.from_bytes(confirmed[:8], "big")
            self._send([_op(36, confirmed)])
            return
        reader = self._send([_op(42, who + struct.pack("!3I", 0, 0, 0))])
        self._client, number = reader.long(), reader.number()
        channel = struct.pack("!7I", 0, 1 << 17, 1 << 17, 1 << 12, 16, 4, 0)
        arguments = struct.pack("!QII", self._client, number, 0) + channel * 2 + struct.pack("!3I", 0, 1, 0)
        self._session = self._send([_op(43, arguments)]).take(16)
        self._sequence = 0
        with contextlib.suppress(RefusedError):
            self._compound([_op(58, struct.pack("!I", 0))])

    def close(self) -> None:
        if self._connection is not None:
            self._connection.__exit__(None, None, None)
        self._connection, self._session = None, None


def _skip(reader: XdrReader) -> None:
    """Passes over the result of an operation that is followed by another one."""
    number = reader.number()
    refuse(reader.number())
    if number == 53:  # SEQUENCE
        reader.take(36)


def _seen(reader: XdrReader) -> Seen:
    words = [reader.number() for _ in range(reader.number())]
    values = XdrReader(reader.take(reader.number()))
    bits = words[0] if words else 0
    kind = values.number() if bits & 1 << 1 else 0
    size = values.long() if bits & 1 << 4 else 0
    fsid = (values.long(), values.long()) if bits & 1 << 8 else (0, 0)
    return Seen(fsid, values.long() if bits & 1 << 20 else 0, kind, size)
