"""Which ids a build gets: subordinate ones of the user who runs it, for root a range that nobody else uses.

An image's owners are the host's ids of that range, so a program of a recipe is nobody on the host, and root of the
image least of all root of the host.

Sources: user_namespaces(7), subuid(5), newuidmap(1), and systemd's UIDS-GIDS, by which
useradd(8), systemd-nspawn(1) and systemd-homed(8) take no id from 1879048192 to 2147352575.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import HostError
from builder.system.run import CLEAN_ENVIRONMENT

IMAGE_IDS = 65535  # 0 to nobody's, 65534
CALLER = 0xFFFF_FFF0  # what whoever runs the build is called inside: no image has such an owner
_MOST_OWNERS = 15  # the last number is no id
_UNUSED = range(1_879_048_192, 2_147_352_576)
_STEP = 1 << 17  # a range, and room for owners beyond 65534
_ALL_IDS = 2**32 - 1
_SUBIDS = {"uid": Path("/etc/subuid"), "gid": Path("/etc/subgid")}


@dataclass(frozen=True)
class IdRange:
    """`count` ids from `inside` on, which outside are those from `outside` on; a line of a uid_map."""

    inside: int
    outside: int
    count: int


@dataclass(frozen=True)
class IdMap:
    """The ids of an image, and which they are outside; CALLER is whoever made it."""

    users: tuple[IdRange, ...]
    groups: tuple[IdRange, ...]

    @property
    def name(self) -> str:
        """For what is kept under it: things of two maps never mix."""
        first = [extents[0].outside for extents in (self.users, self.groups)]
        return "-".join(map(str, dict.fromkeys(first)))


def find_ids(wanted: Collection[int] = ()) -> IdMap:
    """The ids that this process may use; `wanted`: further owners that the image has, beyond 65534.

    HostError where it has too few, which says how many are needed.
    """
    beyond = sorted({number for number in wanted if number >= IMAGE_IDS})
    users, groups = (_mapped(kind, _available(kind), beyond) for kind in ("uid", "gid"))
    return IdMap(users, groups)


def with_owners(ids: IdMap, places: Iterable[Path]) -> IdMap:
    """The same with whoever runs this, as CALLER, and where that is root, the owners of directories on the way there.

    Behind sudo(8) output/ is open to that user's group alone, or lies in their home directory, which is closed.
    """
    real = [place.resolve() for place in places] if os.geteuid() == 0 else []
    found = {path for place in real for path in (place, *place.parents)}
    owners: dict[str, list[int]] = {"uid": [os.geteuid()], "gid": [os.getegid()]}
    for path in sorted(found):
        with contextlib.suppress(OSError):
            info = path.stat()
            owners["uid"].append(info.st_uid)
            owners["gid"].append(info.st_gid)
    users, groups = (_beside(extents, owners[kind]) for kind, extents in (("uid", ids.users), ("gid", ids.groups)))
    return IdMap(users, groups)


def _beside(extents: tuple[IdRange, ...], owners: Iterable[int]) -> tuple[IdRange, ...]:
    """Ids from CALLER on for these owners, as many as there is room for, unless the image has them."""
    caller, *rest = dict.fromkeys(owners)
    known = [range(extent.outside, extent.outside + extent.count) for extent in extents]
    others = [caller, *(owner for owner in rest if not any(owner in part for part in known))]
    return (*extents, *(IdRange(CALLER + number, owner, 1) for number, owner in enumerate(others[:_MOST_OWNERS])))


def every_id() -> IdMap:
    """All ids that this process may use, as one wants them who removes what other builds left."""
    maps = []
    for kind in ("uid", "gid"):
        ranges = _available(kind)
        if not ranges:
            raise HostError(*_too_few(kind, 0, IMAGE_IDS, ()))
        inside, extents = 0, []
        for part in ranges:
            extents.append(IdRange(inside, part.start, len(part)))
            inside += len(part)
        maps.append(tuple(extents))
    return IdMap(*maps)


def _mapped(kind: str, available: Iterable[range], beyond: Sequence[int]) -> tuple[IdRange, ...]:
    """Hands out the available ids: to 0 and so on first, then to single owners beyond."""
    ranges = list(available)
    needed = IMAGE_IDS + len(beyond)
    if sum(map(len, ranges)) < needed:
        raise HostError(*_too_few(kind, sum(map(len, ranges)), needed, beyond))
    targets = [range(IMAGE_IDS), *(range(number, number + 1) for number in beyond)]
    return tuple(_assign(targets, ranges))


def _assign(targets: Sequence[range], ranges: Sequence[range]) -> Iterator[IdRange]:
    free = [part for part in ranges if len(part)]
    for target in targets:
        inside = target
        while len(inside):
            count = min(len(inside), len(free[0]))
            yield IdRange(inside.start, free[0].start, count)
            inside, free[0] = inside[count:], free[0][count:]
            if not len(free[0]):
                free.pop(0)


def _available(kind: str) -> list[range]:
    if os.geteuid() != 0:
        return _subordinate(kind)
    own = _own_map(kind)
    if any(part.start <= _UNUSED.start and part.stop >= _UNUSED.stop for part in own):
        taken = [*_all_subordinate(kind), *_accounts(kind)]
        for start in range(_UNUSED.start, _UNUSED.stop - _STEP, _STEP):
            candidate = range(start, start + _STEP)
            if not any(_overlap(candidate, other) for other in taken):
                return [candidate]
    # root of a user namespace: all that it has but itself
    return [range(max(1, part.start), part.stop) for part in reversed(own)]


def _own_map(kind: str) -> list[range]:
    """The ids that this process's own namespace knows."""
    lines = [line.split() for line in Path(f"/proc/self/{kind}_map").read_text("ascii").splitlines()]
    found = (range(int(first), int(first) + int(count)) for first, _, count in lines)
    return sorted((part for part in found if part.start < CALLER), key=len)


def _overlap(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop


def _subordinate(kind: str) -> list[range]:
    """Those of the user who runs this: where names come from a directory service, getsubids(1) knows them."""
    user = _user_name()
    program = shutil.which("getsubids", path=CLEAN_ENVIRONMENT["PATH"])
    if program is not None:
        argv = [program, *(["-g"] if kind == "gid" else []), user]
        done = subprocess.run(argv, capture_output=True, encoding="utf-8", env=CLEAN_ENVIRONMENT, check=False)
        words = [line.split() for line in done.stdout.splitlines()]
        found = [range(int(one[2]), int(one[2]) + int(one[3])) for one in words if len(one) == 4]
        if done.returncode == 0 and found:
            return found
    return [part for owner, part in _read_subordinate(kind) if owner in (user, str(os.getuid()))]


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _all_subordinate(kind: str) -> list[range]:
    return [part for _, part in _read_subordinate(kind)]


def _read_subordinate(kind: str) -> Iterator[tuple[str, range]]:
    with contextlib.suppress(OSError):
        for line in _SUBIDS[kind].read_text("utf-8", "replace").splitlines():
            owner, first, count = [*line.split(":"), "", ""][:3]
            if first.isdecimal() and count.isdecimal():
                yield owner, range(int(first), int(first) + int(count))


def _accounts(kind: str) -> list[range]:
    if kind == "uid":
        return [range(user.pw_uid, user.pw_uid + 1) for user in pwd.getpwall()]
    return [range(group.gr_gid, group.gr_gid + 1) for group in grp.getgrall()]


def _too_few(kind: str, there: int, needed: int, beyond: Sequence[int]) -> tuple[str, str]:
    what = {"uid": "user ids", "gid": "group ids"}[kind]
    owners = f" (owners up to {IMAGE_IDS - 1}, and {', '.join(map(str, beyond))})" if beyond else ""
    if os.geteuid() == 0:
        message = f"this user namespace has {there} {what} beside root's, an image needs {needed}{owners}"
        return message, "give the container more: podman run --uidmap and --gidmap, docker's userns-remap, /etc/subuid"
    user, amount = _user_name(), max(65536, needed)
    has = f"{there} subordinate {what}" if there else f"no subordinate {what}"
    first = max([100000, *(part.stop for one in _SUBIDS for part in _all_subordinate(one))])
    options = " ".join(f"--add-sub{one}s {first}-{first + amount - 1}" for one in _SUBIDS)
    return f"{user} has {has}, an image needs {needed}{owners}", f"as root: usermod {options} {user}"
