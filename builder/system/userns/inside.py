"""Running a function of this program as root of a user namespace, in a process of its own.

The process knows the ids of an image and, as CALLER, whoever started it: so it can work in a directory of theirs, and
hand over what is finished. What it runs for a recipe gets a further namespace without that last id (sandbox/init.py).

Sources: user_namespaces(7), newuidmap(1), prctl(2), proc_pid_uid_map(5).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import stat
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from builder.errors import CommandError, DisklessError, HostError
from builder.system.privileges.confinement import SWITCHES, Refusal, explain_refusal, read_confinement
from builder.system.run import CLEAN_ENVIRONMENT, Tool, describe_status, install_hint
from builder.system.userns.ids import CALLER, IdMap, IdRange, with_owners

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
NEWUIDMAP = (Tool("newuidmap", "uidmap", "shadow"), Tool("newgidmap", "uidmap", "shadow"))
_T = TypeVar("_T")
_libc = ctypes.CDLL(None, use_errno=True)


def call_inside(ids: IdMap, function: Callable[[], _T], places: Sequence[Path] = ()) -> _T:
    """What `function` returns, called in a forked process that is root of a new user namespace; made of JSON's types.

    places: what lies there, and on the way there, is reached as before also where it is others', as root's caller has
        it: root's right to enter any directory ends in a namespace that does not know the directory's owner or group

    It sees all that this process had open. It ends when this process ends, whatever ends that, and is told of SIGINT,
    SIGTERM and SIGHUP. Raises what it raises where that is a DisklessError, an OSError or an interruption; HostError
    where the namespace is refused, or the process was killed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    ready, asks = os.pipe()
    told, tells = os.pipe()
    result, answers = os.pipe()
    parent = os.getpid()
    with warnings.catch_warnings():
        # nothing of what other threads may hold is asked for in the child
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        for handle in (ready, tells, result):
            os.close(handle)
        _be_inside(function, parent, asks, told, answers)
    for handle in (asks, told, answers):
        os.close(handle)
    value: _T = _attend(child, ids, places, ready, tells, result)
    return value


def hand_over(path: Path) -> None:
    """Gives a directory of this process's making, and the files in it, to whoever started it."""
    for file in path.iterdir():
        os.chown(file, CALLER, CALLER, follow_symlinks=False)
    os.chown(path, CALLER, CALLER)


def take_over(path: Path) -> None:
    """Makes a directory of theirs, which is empty, this namespace's."""
    os.chown(path, 0, 0)


def _attend(child: int, ids: IdMap, places: Sequence[Path], ready: int, tells: int, result: int) -> Any:  # noqa: ANN401 - whatever the function returned
    """The parent's part: gives the child its ids, and waits for its answer."""
    try:
        with open(ready, "rb") as pipe, open(result, "rb") as answer:
            said = pipe.read()
            try:
                _check_unshared(said)
                _write_maps(child, ids, places)
                os.write(tells, b"go")
            finally:
                os.close(tells)
            text = answer.read()
    except BaseException:
        _end(child)
        raise
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not text:
        raise HostError(
            f"the process that works in the user namespace ended without a word ({describe_status(status)})",
            "where memory is short the kernel kills the largest process: see dmesg",
        )
    return _unpacked(json.loads(text))


def _end(child: int) -> None:
    """In order, so that what the child began is ended too; it is killed with this process in any case."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGTERM)
    while True:
        try:
            os.waitpid(child, 0)
        except KeyboardInterrupt:
            continue
        except ChildProcessError:
            pass
        return


def _check_unshared(said: bytes) -> None:
    if not said:
        return
    refusal = Refusal("unshare(2) of the user namespace", int(said))
    raise HostError(
        f"a user namespace, in which the image has its owners, is refused: {refusal.text}", _remedy(refusal)
    )


def _remedy(refusal: Refusal) -> str:
    confinement = read_confinement()
    if confinement.userns_off:
        return f"as root: {'; '.join(f'sysctl {name}={SWITCHES[name]}' for name in confinement.userns_off)}"
    cause, remedy = explain_refusal(refusal, confinement)
    return f"{f'{cause}: ' if cause else ''}{remedy or 'the kernel needs user namespaces, CONFIG_USER_NS'}"


def _write_maps(child: int, ids: IdMap, places: Sequence[Path]) -> None:
    wide, least = with_owners(ids, places), with_owners(ids, ())
    for kind, owners, extents in (("uid", wide.users, least.users), ("gid", wide.groups, least.groups)):
        path = Path(f"/proc/{child}/{kind}_map")
        if os.geteuid() == 0 and any(_write_map(path, each) for each in (owners, extents)):
            continue
        _write_map_by_program(child, kind, extents)


def _write_map(path: Path, extents: Sequence[IdRange]) -> bool:
    """False where this process may not: root without the capabilities for it."""
    text = "".join(f"{extent.inside} {extent.outside} {extent.count}\n" for extent in extents)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(handle, text.encode())  # in one piece, or not at all
        finally:
            os.close(handle)
    except PermissionError:
        return False
    return True


def _write_map_by_program(child: int, kind: str, extents: Sequence[IdRange]) -> None:
    tool = NEWUIDMAP[0] if kind == "uid" else NEWUIDMAP[1]
    program = tool.find()
    if program is None:
        raise HostError(f"a build needs {tool.name}, which gives it its ids", install_hint(NEWUIDMAP))
    numbers = [str(number) for one in extents for number in (one.inside, one.outside, one.count)]
    done = subprocess.run(
        [program, str(child), *numbers], capture_output=True, encoding="utf-8", env=CLEAN_ENVIRONMENT, check=False
    )
    if done.returncode != 0:
        info = Path(program).stat()
        privileged = info.st_mode & stat.S_ISUID or "security.capability" in os.listxattr(program)
        hint = (
            "a container, or a service with NoNewPrivileges=, keeps programs from their privileges: allow them there"
            if privileged
            else f"{program} is neither set-user-ID nor has it capabilities: install its package again"
        )
        raise HostError(f"a build gets no ids of its own: {tool.name} failed", hint, tuple(done.stderr.splitlines()))


def _be_inside(function: Callable[[], Any], parent: int, asks: int, told: int, answers: int) -> None:
    """The child's part, which never returns."""
    status = 1
    try:
        os.write(answers, _answer(function, parent, asks, told))
        status = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _answer(function: Callable[[], Any], parent: int, asks: int, told: int) -> bytes:
    try:
        if not _enter(parent, asks, told):
            os._exit(1)  # the parent knows why
        return json.dumps({"value": function()}).encode()
    except BaseException as error:
        return json.dumps(_packed(error)).encode()


def _enter(parent: int, asks: int, told: int) -> bool:
    """Becomes root of a new user namespace; False where the parent gave it no ids."""
    if _libc.unshare(_CLONE_NEWUSER) != 0:
        os.write(asks, str(ctypes.get_errno()).encode())
    os.close(asks)
    with open(told, "rb") as pipe:
        if not pipe.read():
            return False
    # who called sudo(8) is nobody here
    for name in ("SUDO_UID", "SUDO_GID"):
        os.environ.pop(name, None)
    # its groups stay: a directory may be open to one of them only
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    # after that, since a change of ids takes it away
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    return True


def _packed(error: BaseException) -> dict[str, Any]:
    """An error, to be raised again by the parent."""
    if isinstance(error, DisklessError):
        status = error.status if isinstance(error, CommandError) else None
        values = [error.message, error.hint, list(error.details), error.phase, error.exit_code, status]
        return {"error": type(error).__name__, "values": values}
    if isinstance(error, OSError) and error.errno is not None:
        return {"error": "OSError", "values": [error.errno, error.strerror, _text(error.filename)]}
    if isinstance(error, KeyboardInterrupt):
        return {"error": "KeyboardInterrupt", "values": []}
    return {"error": "Exception", "values": ["".join(traceback.format_exception(error))]}


def _text(name: object) -> str | None:
    return None if name is None else os.fsdecode(name) if isinstance(name, str | bytes) else str(name)


def _unpacked(answer: dict[str, Any]) -> Any:  # noqa: ANN401 - the same
    if "value" in answer:
        return answer["value"]
    kind, values = answer["error"], answer["values"]
    if kind == "OSError":
        raise OSError(values[0], values[1], values[2])
    if kind == "KeyboardInterrupt":
        raise KeyboardInterrupt
    if kind == "Exception":
        raise RuntimeError(values[0])
    found: dict[str, type[DisklessError]] = {one.__name__: one for one in _below(DisklessError)}
    error = found[kind](values[0], values[1], tuple(values[2]))
    error.phase = values[3]
    if values[4] != error.exit_code:
        error.exit_code = values[4]
    if isinstance(error, CommandError):
        error.status = values[5]
    raise error


def _below(kind: type[DisklessError]) -> list[type[DisklessError]]:
    return [kind, *(one for direct in kind.__subclasses__() for one in _below(direct))]
