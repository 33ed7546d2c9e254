"""The attack: forged handles in every version of NFS, one after the other, and what comes of them."""

from __future__ import annotations

import collections
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from builder.probes.answer import NoAnswerError
from tests.attacker.candidates import Candidate, candidates
from tests.attacker.dialect import DIRECTORY, Dialect, RefusedError, Seen, Way
from tests.attacker.generator import Generator
from tests.attacker.nfs3 import Nfs3
from tests.attacker.nfs4 import Nfs4
from tests.attacker.objects import Known, known
from tests.attacker.plan import Plan, Report
from tests.attacker.truth import KINDS, OWN, Honest, Truth, identity, snapshot

_SHOWN = 12  # breaches of one kind that are told apart
_DEEPEST = 12
_ENOUGH_BREACHES = 60  # on one way up
_ENOUGH = 6  # honest objects of an export that others are made from
# not the server's disk, or not still
_RESTLESS = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var")


class Attack:
    """One attack on one server; `report` grows."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.report = Report()
        self._kinds: collections.Counter[tuple[str, str]] = collections.Counter()
        self._statuses: collections.Counter[str] = collections.Counter()
        self._written: set[tuple[str, object]] = set()
        self._climbed: set[tuple[str, object]] = set()
        self._bare = {os.lstat(path).st_ino: path for path in plan.bare}
        self.truths = [Truth(dialect, plan.exports) for dialect in self._speaking()]
        if not self.truths:
            raise SystemExit(f"no honest client can mount anything: {self.report.notes}")
        self._own = {truth.dialect.name: truth.own() for truth in self.truths}
        self.nobodies = [truth.through(dialect) for truth, dialect in self._nobodies()]
        self.report.honest = {truth.dialect.name: truth.listing() for truth in self.truths}
        self.report.given_away = sorted({path for truth in self.truths for path in truth.given_away()})
        self._before = self._snapshot()

    def _speaking(self) -> Iterator[Dialect]:
        """The versions in which an honest client can mount; the others are noted."""
        first = next(export for export in self.plan.exports if export.mine)
        dialects: list[Dialect] = [Nfs3(self.plan.server), *(Nfs4(self.plan.server, minor) for minor in range(3))]
        for dialect in dialects:
            try:
                dialect.look(Way(dialect.root(first.path)))
            except (RefusedError, NoAnswerError) as error:
                self.report.notes[dialect.name] = str(error)
            else:
                yield dialect

    def _nobodies(self) -> Iterator[tuple[Truth, Dialect]]:
        """Callers who do not say who they are, which an honest client never does."""
        for truth in self.truths:
            if truth.dialect.name == "3":
                yield truth, Nfs3(self.plan.server, as_root=False)
            if truth.dialect.name == "4.0":
                yield truth, Nfs4(self.plan.server, 0, as_root=False)

    def objects(self) -> tuple[list[Known], list[Known]]:
        """What is forbidden, and what every client may see, as only the server knows it."""
        forbidden = [known(Path(path)) for path in self.plan.forbidden]
        honest = []
        for export in self.plan.exports:
            paths = [Path(export.directory), *sorted(Path(export.directory).rglob("*"))]
            honest += [known(path) for path in paths if OWN not in path.parts][:_ENOUGH]
        return forbidden, honest

    def forge(self) -> None:
        """Every handle that an attacker would try first."""
        forbidden, honest = self.objects()
        tried: set[tuple[bytes, str | None]] = set()
        for number, candidate in enumerate(candidates(self.plan, [*forbidden, *honest], self.truths)):
            if self.report.count > self.plan.enough:
                break
            if (candidate.handle, candidate.only) not in tried:
                tried.add((candidate.handle, candidate.only))
                self.strike(candidate, self._versions(candidate, number))

    def _versions(self, candidate: Candidate, number: int) -> list[Truth]:
        """In which a handle is tried: all, or of those that look at it in the same way one after the other."""
        found = [truth for truth in self.truths if truth.dialect.name.startswith(candidate.only or "")]
        if candidate.deep:
            nobodies = [truth for truth in self.nobodies if truth.dialect.name.startswith(candidate.only or "")]
            return [*found, *nobodies]
        groups = [[truth for truth in found if truth.dialect.name.startswith(version)] for version in ("3", "4")]
        return [group[number % len(group)] for group in groups if group]

    def generate(self) -> None:
        """Hostile handles for as long as the plan says."""
        forbidden, honest = self.objects()
        handles = list(dict.fromkeys(handle for truth in self.truths for handle in truth.handles))
        generator = Generator(self.plan.seed, self.plan.kind, handles, [*forbidden, *honest])
        names = {truth.dialect.name: truth for truth in (*self.truths, *self.nobodies)}
        end = time.monotonic() + self.plan.seconds
        while time.monotonic() < end and self.report.count <= self.plan.enough:
            truth = names[generator.choose(sorted(names))]
            handle = generator.handle()
            label = f"generated {self.report.generated}"
            self.report.generated += 1
            way = Way(handle)
            seen = self.visit(truth, label, way)
            if seen is not None and seen.kind == DIRECTORY and generator.happens(0.05):
                self.climb(truth, label, way, [generator.choose(self.plan.forbidden)])
            if seen is None and generator.happens(0.2):
                calls = {**truth.dialect.readings(way), **self._writings(truth, way)}
                name = generator.choose(sorted(calls))
                self.expect_refusal(truth, label, way, {name: calls[name]})

    def strike(self, candidate: Candidate, truths: Sequence[Truth]) -> None:
        """Tries a handle in some versions."""
        for truth in truths:
            way = Way(candidate.handle)
            seen = self.visit(truth, candidate.label, way)
            # the kernel's server looks at files and not at how they are named
            place = (truth.dialect.name, identity(seen) if seen and self.plan.kind == "kernel" else way.handle)
            if seen is not None and self._is_top(truth, seen) and place not in self._climbed:
                self._climbed.add(place)
                self.climb(truth, candidate.label, way, self.plan.forbidden)
            if seen is None and candidate.deep:
                # one call may look less closely than GETATTR does
                self.expect_refusal(truth, candidate.label, way, truth.dialect.readings(way))
                self.expect_refusal(truth, candidate.label, way, self._writings(truth, way))

    def _is_top(self, truth: Truth, seen: Seen) -> bool:
        """Whether it is a directory above which a client has no business."""
        honest = truth.objects.get(identity(seen))
        return seen.kind == DIRECTORY and (honest is None or honest.path == honest.export.path)

    def visit(self, truth: Truth, label: str, way: Way) -> Seen | None:
        """Looks at what a way leads to, judges it, and does what must not be possible; None where it leads nowhere."""
        found: list[Seen] = []
        if not self.call(lambda: found.append(truth.dialect.look(way))):
            return None
        seen = found[0]
        honest = truth.objects.get(identity(seen))
        content, refused = self._content(truth, way, seen)
        same = honest is not None and honest.kind == seen.kind and (refused or honest.content in (None, content))
        objects = (
            [honest] if same and honest is not None else self._recognize(truth, label, way, seen, content, refused)
        )
        if not any(one.export.writable for one in objects):
            self._try_writing(truth, label, way, seen)
        return seen

    def climb(self, truth: Truth, label: str, way: Way, wanted: Sequence[str]) -> None:
        """From a directory upwards, and from each one there down to what is forbidden, in one call and in many."""
        before = self.report.count
        for depth in range(1, _DEEPEST):
            if self.report.count > before + _ENOUGH_BREACHES:
                break
            up = way.follow(*([".."] * depth))
            seen = self.visit(truth, f"{label}, {depth} up", up)
            if seen is None:
                break
            for path in wanted:
                self.visit(truth, f"{label}, {depth} up, down to {path}", up.follow(*path.strip("/").split("/")))
            given = self._handle_of(truth, up)
            if given is not None:
                self.visit(truth, f"{label}, {depth} up, its handle", Way(given))

    def _try_writing(self, truth: Truth, label: str, way: Way, seen: Seen) -> None:
        """Whatever would change it must be refused; once for each object, however often it is found."""
        if (truth.dialect.name, identity(seen)) not in self._written:
            self._written.add((truth.dialect.name, identity(seen)))
            self.expect_refusal(truth, label, way, self._writings(truth, way))

    def _writings(self, truth: Truth, way: Way) -> dict[str, Callable[[], object]]:
        return truth.dialect.writings(way, self._own[truth.dialect.name.partition(" ")[0]])

    def expect_refusal(self, truth: Truth, label: str, way: Way, calls: dict[str, Callable[[], object]]) -> None:
        """Success is a breach."""
        for name, does in calls.items():
            if self.call(does):
                self._breach(truth, name, label, way, "success")

    def call(self, does: Callable[[], object]) -> bool:
        """Whether a call is answered with success."""
        self.report.calls += 1
        try:
            does()
        except RefusedError as error:
            self._statuses[error.status] += 1
            return False
        self._statuses["success"] += 1
        return True

    def _handle_of(self, truth: Truth, way: Way) -> bytes | None:
        found: list[bytes] = []
        self.call(lambda: found.append(truth.dialect.handle_of(way)))
        return found[0] if found else None

    def _content(self, truth: Truth, way: Way, seen: Seen) -> tuple[object, bool]:
        """What an object holds, or why the server does not say it, and whether that is so."""
        try:
            return truth.content_of(way, seen.kind), False
        except RefusedError as error:
            return error.status, True

    def _recognize(
        self, truth: Truth, label: str, way: Way, seen: Seen, content: object, refused: bool
    ) -> list[Honest]:
        """What an object may be that no honest mount of its export gives: another export's, an empty one, a breach."""
        bare = self._bare.get(seen.fileid) if seen.kind == DIRECTORY else None
        twins = truth.twins(seen, content, refused)
        if bare is not None:
            self.report.bare = sorted({*self.report.bare, bare})
        elif twins:
            self.report.crossed = sorted({*self.report.crossed, twins[0].path})
        else:
            what = f"{KINDS.get(seen.kind, seen.kind)}, inode {seen.fileid}, {str(content)[:70]}"
            self._breach(truth, "reached", label, way, what)
        return twins

    def _breach(self, truth: Truth, call: str, label: str, way: Way, what: str) -> None:
        """Notes what must not be; of many of one kind the first ones."""
        self.report.count += 1
        self._kinds[truth.dialect.name, call] += 1
        if self._kinds[truth.dialect.name, call] <= _SHOWN:
            line = f"NFSv{truth.dialect.name} {call}: {label}: {what} [{way.handle.hex()} {'/'.join(way.steps)}]"
            self.report.breaches.append(line)

    def finish(self) -> Report:
        """Looks whether the server is still what it was."""
        for truth in self.truths:
            try:
                again = Truth(truth.dialect, self.plan.exports)
            except (RefusedError, NoAnswerError) as error:
                self.report.faults.append(f"NFSv{truth.dialect.name}: an honest client after the attack: {error}")
                continue
            changed = set(truth.objects.items()) ^ set(again.objects.items())
            self.report.faults += sorted(f"NFSv{truth.dialect.name}: {one.path} is not the same" for _, one in changed)
        after = self._snapshot()
        paths = self._before.keys() | after.keys()
        self.report.changed = sorted(path for path in paths if self._before.get(path) != after.get(path))
        self.report.statuses = dict(self._statuses.most_common())
        return self.report

    def _snapshot(self) -> dict[str, tuple[object, ...]]:
        """All but what may be written to: the rw exports, which are skipped wherever they lie."""
        writable = [export.directory for export in self.plan.exports if export.writable and export.mine]
        tops = ["/", *(export.directory for export in self.plan.exports if export.directory not in writable)]
        # what is written to a file system is written to the file that it lies in
        images = [path for path in self.plan.forbidden if "/filesystems/" in path]
        return snapshot(tops, skip=[*_RESTLESS, *writable, *images])
