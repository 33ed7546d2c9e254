"""Hostile senders by a seed: a pull ends with an error of ours or with the version, whatever is answered.

HOSTILE_SECONDS says how long, HOSTILE_SEED with which seed it begins; a failure names its own.
"""

from __future__ import annotations

import gc
import hashlib
import os
import random
import secrets
import shutil
import time
from pathlib import Path

import pytest

from builder.errors import DisklessError
from builder.model.artifacts.manifest import BUNDLE, INDEX, LOG, MANIFEST, ROOTFS
from builder.pull import pull
from builder.transports.base import Limits, Options
from builder.transports.retries import Retries
from builder.transports.table import find_offer
from tests.integration.attacks.answers import Answer, Asked, Server, answering
from tests.integration.attacks.generator import Answering, Hostile, spoil
from tests.integration.attacks.test_senders import registry_of
from tests.servers import PASSWORD, USER
from tests.stores import quiet
from tests.versions import make_version

SECONDS = float(os.environ.get("HOSTILE_SECONDS", "20"))
LONG_SECONDS = float(os.environ.get("HOSTILE_SECONDS", "3600"))
MOST_KEPT = 32 << 20  # bytes, of a version of four megabytes
LIMITS = Limits(rate=1000, window=0.2, longest=3)
RETRIES = Retries(attempts=2, first=0.001, longest=0.002)


class Trial:
    """One version, pulled again and again."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.version = make_version(work / "here", files=30)
        self.wanted = self._digests(self.version)
        self.registry = registry_of(self.version)

    def run(self, seed: int) -> bool:
        """Whether the version came; AssertionError for whatever must not be."""
        chance = random.Random(seed)
        self.output, self.cache = self.work / "there", self.work / "cache"
        for path in (self.output, self.cache):
            shutil.rmtree(path, ignore_errors=True)
        kind = chance.choice(("registry", "registry", "web", "channel", "directory"))
        return self._directory(chance) if kind == "directory" else self._server(kind, chance)

    def honest(self) -> bool:
        """Whether what nobody spoils comes: without that, refusals show nothing."""
        self.output, self.cache = self.work / "there", self.work / "cache"
        kinds = {"registry": self.registry, "web": self._web, "channel": self._web}
        for kind, answers in kinds.items():
            shutil.rmtree(self.output, ignore_errors=True)
            with answering(answers) as server:
                if not self._pull(self._reference(kind, server), []):
                    return False
        return True

    def _server(self, kind: str, chance: random.Random) -> bool:
        with answering(lambda asked: Answer(401, {"WWW-Authenticate": 'Basic realm="x"'})) as thief:
            honest = self.registry if kind == "registry" else self._web
            hostile = Hostile(honest, chance, thief.address.replace("127.0.0.1", "localhost"))
            with answering(hostile) as server:
                came = self._pull(self._reference(kind, server), hostile.did)
            assert thief.logins == [], hostile.did
            return came

    def _reference(self, kind: str, server: Server) -> str:
        if kind == "registry":
            return f"oci://{server.address}/images/lab:stable"
        base = f"http://{server.address}/images/lab"
        return f"{base}/channels/stable.json" if kind == "channel" else f"{base}/{self.version.name}/{MANIFEST}"

    def _web(self, asked: Asked) -> Answer:
        path = self.version / asked.path.rpartition("/")[2]
        if asked.path.endswith("/channels/stable.json"):
            digest = hashlib.sha256((self.version / MANIFEST).read_bytes()).hexdigest()
            text = f'{{"schema": 1, "manifest": "../{self.version.name}/{MANIFEST}", "sha256": "{digest}"}}'
            return Answer(body=text.encode())
        return Answer(body=path.read_bytes()) if path.is_file() else Answer(404)

    def _directory(self, chance: random.Random) -> bool:
        place = self.work / "share/lab"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.version, place / self.version.name)
        did = spoil(place / self.version.name, chance)
        (place / "stable").symlink_to(self.version.name)
        if chance.random() < 0.3:
            (place / "channels").mkdir()
            did += spoil_channel(place / "channels/stable.json", chance)
        return self._pull(chance.choice((f"file://{place}/stable", str(place / self.version.name))), did)

    def _pull(self, reference: str, did: list[str]) -> bool:
        options = Options(retries=RETRIES, limits=LIMITS, cache=self.cache, streams=2)
        try:
            done = pull(find_offer(reference, options), self.output, quiet())
        except DisklessError as error:
            assert len(error.message) < 100_000, did
            assert PASSWORD not in error.message, did
            assert not list(self.output.glob("lab/*")), did
            kept = sum(path.stat().st_size for path in self.cache.rglob("*") if path.is_file())
            assert kept < MOST_KEPT, did
            return False
        except BaseException as error:
            error.add_note(f"after {did}")
            raise
        assert self._digests(done.directory) == self.wanted, did
        return True

    @staticmethod
    def _digests(version: Path) -> dict[str, str]:
        names = (MANIFEST, INDEX, BUNDLE, ROOTFS)
        return {name: hashlib.sha256((version / name).read_bytes()).hexdigest() for name in names if name != LOG}


def spoil_channel(path: Path, chance: random.Random) -> list[str]:
    kind = chance.choice(("pipe", "link", "nested", "sparse"))
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/dev/zero")
    elif kind == "nested":
        path.write_bytes(b"[" * 200_000)
    else:
        with path.open("wb") as file:
            file.truncate(3 << 30)
    return [f"channel: {kind}"]


@pytest.mark.parametrize("seconds", [SECONDS, pytest.param(LONG_SECONDS, marks=pytest.mark.full, id="long")])
def test_whatever_is_answered(seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISKLESS_USERNAME", USER)
    monkeypatch.setenv("DISKLESS_PASSWORD", PASSWORD)
    first = int(os.environ.get("HOSTILE_SEED") or secrets.randbelow(1 << 32))
    trial, number, came = Trial(tmp_path), 0, 0
    ends = time.monotonic() + seconds
    while time.monotonic() < ends or number < 20:
        try:
            came += trial.run(first + number)
        except BaseException as error:
            error.add_note(f"HOSTILE_SEED={first + number}")
            raise
        number += 1
        gc.collect()  # or it happens within the nested JSON of a later answer, too deep for what ends connections
    print(f"{number} senders, {came} versions came")  # noqa: T201 - what was tried
    assert trial.honest()


def test_an_honest_sender(tmp_path: Path) -> None:
    """The trial itself: without anything hostile the version comes, by each way."""
    trial = Trial(tmp_path)
    for kind, honest in (("registry", trial.registry), ("web", trial._web), ("channel", trial._web)):
        trial.output, trial.cache = tmp_path / f"there-{kind}", tmp_path / "cache"
        answers: Answering = honest
        with answering(answers) as server:
            assert trial._pull(trial._reference(kind, server), [])
