"""The newest keyring package that was seen of each mirror: an older one may be replayed for the keys it still has.

The file lies beside what a cache throws away, and is never thrown away with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from builder.errors import AuditError, HostError
from builder.installers.base import Job
from builder.system.files import write_atomic
from builder.system.guarded.locks import locked

IsOlder = Callable[[str, str], bool]


class SeenVersions:
    """The versions of one keyring package, by mirror. `place` is what they are of: a distribution, a suite."""

    def __init__(self, job: Job, place: str, mirrors: Sequence[str], is_older: IsOlder) -> None:
        self._job = job
        self._path = job.cache / "keyrings" / "seen.json"
        self._keys = [f"{place} {mirror}" for mirror in mirrors]
        self._is_older = is_older

    def check(self, package: str, version: str) -> None:
        """AuditError where an earlier build took a newer one from any of the mirrors."""
        known = self._read()
        for key in self._keys:
            seen = known.get(f"{package} {key}")
            if seen is not None and self._is_older(version, seen):
                raise AuditError(
                    f"{package} {version} is older than {seen}, which an earlier build took from the same mirror",
                    "the mirror is out of date, or somebody replays an old package: set another mirror; "
                    f"if the distribution itself went back, remove the line from {self._path}",
                    (f"the mirror: {key}",),
                )

    def record(self, package: str, version: str) -> None:
        """Remembers a version that was found trustworthy, where no newer one was seen."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(self._path.with_suffix(".lock"), "another build notes its keyring", self._job.notify):
            known = self._read()
            names = [f"{package} {key}" for key in self._keys]
            newer = {name: version for name in names if name not in known or self._is_older(known[name], version)}
            if newer:
                text = json.dumps({**known, **newer}, indent=1, sort_keys=True) + "\n"
                write_atomic(self._path, text.encode())

    def _read(self) -> dict[str, str]:
        try:
            known = json.loads(self._path.read_bytes())
            if not isinstance(known, dict) or not all(isinstance(item, str) for item in known.values()):
                raise ValueError("not an object of texts")
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise HostError(
                f"{self._path} cannot be read: {error}",
                "it says which keyring packages were seen; remove it, and older ones than those are accepted again",
            ) from error
        return known
