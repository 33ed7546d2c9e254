"""A client of ONC RPC (RFC 5531) for what an NFS server must answer: its port mapper, mountd (RFC 1813) and nfsd."""

from __future__ import annotations

import contextlib
import enum
import itertools
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

from builder.probes.answer import NoAnswerError, RefusedAnswerError, SilentError

PORTMAPPER_PORT, NFS_PORT = 111, 2049
_SECONDS = 3.0
_CALL, _VERSION = 0, 2
_AUTH_NONE, _AUTH_UNIX = 0, 1
_TCP = 6
_LARGEST = 1 << 20
_REJECTED = {1: "it has no such program", 2: "it does not speak that version", 3: "it knows no such procedure"}
_MOUNT_STATUS = {1: "not permitted", 2: "no such directory", 13: "access denied", 20: "not a directory"}
_numbers = itertools.count(int.from_bytes(os.urandom(3), "big"))


class Program(enum.IntEnum):
    """RPC programs by their number, IANA."""

    PORTMAPPER = 100000
    NFS = 100003
    MOUNT = 100005


@dataclass(frozen=True)
class Exported:
    """A line of the export list: a directory and who may mount it, as the server says."""

    path: str
    clients: tuple[str, ...]


def ping(server: str, port: int, program: Program, version: int) -> None:
    """Calls the procedure that does nothing; NoAnswerError where it does not come back."""
    _call(server, port, program, version, 0)


def find_port(server: str, program: Program, version: int) -> int:
    """The TCP port that the port mapper knows for a program; NoAnswerError where it knows none."""
    arguments = struct.pack("!IIII", program, version, _TCP, 0)
    (port,) = struct.unpack("!I", _call(server, PORTMAPPER_PORT, Program.PORTMAPPER, 2, 3, arguments)[:4])
    if not port:
        raise NoAnswerError(f"the port mapper knows no {program.name.lower()} version {version} over TCP")
    return int(port)


def list_exports(server: str, port: int) -> list[Exported]:
    """What mountd says that it exports, in its order."""
    reader = XdrReader(_call(server, port, Program.MOUNT, 3, 5))
    found = []
    while reader.number():
        path, clients = reader.text(), []
        while reader.number():
            clients.append(reader.text())
        found.append(Exported(path, tuple(clients)))
    return found


def try_mount(server: str, port: int, path: str) -> bytes:
    """Asks mountd for a directory as a client's root would; NoAnswerError with its refusal. Nothing is mounted.

    The file handle that a mount would use: at most 64 bytes.
    """
    reader = XdrReader(_call(server, port, Program.MOUNT, 3, 1, opaque(path.encode()), as_root=True))
    status = reader.number()
    if status:
        raise NoAnswerError(_MOUNT_STATUS.get(status, f"refused with status {status}"))
    return reader.take(reader.number())


def opaque(data: bytes) -> bytes:
    """Bytes of any number as XDR has them: their number, they, and zeros up to a word's end."""
    return struct.pack("!I", len(data)) + data + b"\0" * (-len(data) % 4)


class RpcConnection:
    """TCP to an RPC server, for one call after the other; `with` closes it.

    reserved: from a port below 1024 where we may have one, as servers demand of mounts
    """

    def __init__(self, server: str, port: int, *, reserved: bool = False) -> None:
        self._port = port
        with _said(port):
            self._stream = _connect(server, port, reserved=reserved)

    def __enter__(self) -> RpcConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def call(
        self, program: int, version: int, procedure: int, arguments: bytes = b"", *, as_root: bool = False
    ) -> bytes:
        """The results of a call; NoAnswerError where none come."""
        number = next(_numbers) & 0xFFFFFFFF
        head = struct.pack("!IIIIII", number, _CALL, 2, program, version, procedure)
        message = head + _credentials(as_root) + struct.pack("!II", _AUTH_NONE, 0) + arguments
        with _said(self._port):
            self._stream.sendall(struct.pack("!I", 0x80000000 | len(message)) + message)
            return _results(_receive(self._stream), number)


def _call(
    server: str, port: int, program: int, version: int, procedure: int, arguments: bytes = b"", *, as_root: bool = False
) -> bytes:
    """The results of one call over TCP."""
    with RpcConnection(server, port, reserved=as_root) as connection:
        return connection.call(program, version, procedure, arguments, as_root=as_root)


@contextlib.contextmanager
def _said(port: int) -> Iterator[None]:
    """Says in words what the network has against it."""
    try:
        yield
    except TimeoutError as error:
        raise SilentError(f"no answer on TCP port {port} in {_SECONDS:g} s") from error
    except ConnectionRefusedError as error:
        raise RefusedAnswerError(f"nothing listens on TCP port {port}") from error
    except OSError as error:
        raise NoAnswerError(f"TCP port {port}: {error.strerror or error}") from error


def _credentials(as_root: bool) -> bytes:
    if not as_root:
        return struct.pack("!II", _AUTH_NONE, 0)
    body = struct.pack("!II8sIII", 0, 8, b"diskless", 0, 0, 0)  # stamp, machine name, uid, gid, no groups
    return struct.pack("!II", _AUTH_UNIX, len(body)) + body


def _connect(server: str, port: int, *, reserved: bool) -> socket.socket:
    stream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        stream.settimeout(_SECONDS)
        if reserved and os.geteuid() == 0:
            for own in range(1023, 600, -1):
                with contextlib.suppress(OSError):
                    stream.bind(("", own))
                    break
        stream.connect((server, port))
    except BaseException:
        stream.close()
        raise
    return stream


def _receive(stream: socket.socket) -> bytes:
    answer, last = b"", False
    while not last:
        (word,) = struct.unpack("!I", _exactly(stream, 4))
        last = bool(word & 0x80000000)
        answer += _exactly(stream, word & 0x7FFFFFFF)
        if len(answer) > _LARGEST:
            raise NoAnswerError("an answer without end")
    return answer


def _exactly(stream: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = stream.recv(min(65536, count - len(data)))
        if not piece:
            raise NoAnswerError("the server closed the connection")
        data += piece
    return data


def _results(answer: bytes, number: int) -> bytes:
    reader = XdrReader(answer)
    if reader.number() != number or reader.number() != 1:
        raise NoAnswerError("an answer to something else: this is not an RPC server")
    if reader.number() != 0:
        raise NoAnswerError("the server denies the call")
    reader.number()
    reader.take(reader.number())  # verifier
    status = reader.number()
    if status:
        raise NoAnswerError(_REJECTED.get(status, f"refused with status {status}"))
    return reader.rest()


class XdrReader:
    """Takes values from an answer in their order, as XDR has them (RFC 4506); NoAnswerError where it is cut short."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, count: int) -> bytes:
        """So many bytes, and past the zeros after them."""
        padded = count + -count % 4
        if len(self._data) < padded:
            raise NoAnswerError("an answer that is cut short")
        taken, self._data = self._data[:count], self._data[padded:]
        return taken

    def number(self) -> int:
        """A word, without a sign."""
        return int.from_bytes(self.take(4), "big")

    def long(self) -> int:
        """Two words, without a sign."""
        return int.from_bytes(self.take(8), "big")

    def text(self) -> str:
        """A string."""
        return self.take(self.number()).decode("utf-8", "replace")

    def rest(self) -> bytes:
        """All that was not taken yet."""
        return self._data
