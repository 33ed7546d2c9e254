"""Single files of a Debian archive, fetched by apt with a state of its own for each way of trusting."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.distributions.apt import archive_urls, resolver_config
from builder.errors import AuditError, CommandError
from builder.installers.apt.errors import explain_update
from builder.installers.base import Job
from builder.installers.look import ask_through, read_proxies
from builder.model.recipe import DebianDistribution
from builder.system.files import sha256_of
from builder.system.host import proxy_variables
from builder.system.sandbox.network import NetworkAccess

_HELPER = "/usr/lib/apt/apt-helper"
_URI = re.compile(r"^'(?P<uri>[^']+)' (?P<name>\S+) \d+ SHA256:(?P<sha256>[0-9a-f]{64})", re.MULTILINE)
# with this apt fetches Release alone
_NO_INDEX = ("-o", "Acquire::IndexTargets::deb::Packages::DefaultEnabled=false")


@dataclass(frozen=True)
class DebianArchive:
    """A distribution's archive: `mirror` is its URL as apt reads it, `proxies` are lines of apt.conf(5)."""

    job: Job
    distribution: DebianDistribution
    mirror: str
    proxies: Sequence[str]

    def peek(self, suite: str) -> Path | None:
        """A suite's Release file, whoever signed it; None where it cannot be had."""
        state = self._peek_state(suite)
        self._update(state, suite, _NO_INDEX)
        found = sorted((state / "lists").glob("*Release"), key=lambda path: path.name.endswith("_Release"))
        return found[0] if found else None

    def require(self, suite: str) -> Path:
        """The same; CommandError that says why it cannot be had."""
        found = self.peek(suite)
        if found is None:
            self._update(self._peek_state(suite), suite)  # with an index apt takes it for a fault
            raise CommandError(f"{self.mirror} has no Release file of {suite}", "name a suite that the mirror has")
        return found

    def _peek_state(self, suite: str) -> Path:
        # how old it may be, apt says when it checks the suite
        options = "trusted=yes check-valid-until=no check-date=no"
        return self._state(self.job.work / "keyring" / f"peek-{suite}", suite, options)

    def take(self, suite: str, ring: Path, package: str) -> Path:
        """A package file that apt found genuine by the keys of `ring`; AuditError or CommandError where it did not."""
        name = hashlib.sha256(f"{self.mirror} {suite} {self.distribution.snapshot}".encode()).hexdigest()[:16]
        state = self.job.cache / "apt" / f"keyring-{name}"
        state.mkdir(parents=True, exist_ok=True)
        kept = state / "ring.gpg"
        shutil.copyfile(ring, kept)
        self._state(state, suite, f"signed-by={self.job.sandbox.name(kept)}")
        return self._download(state, suite, package)

    def take_unchecked(self, suite: str, package: str) -> Path:
        """A package file, whoever made it: to look for a key in it, and for nothing else."""
        state = self._state(self.job.work / "keyring" / f"unchecked-{suite}", suite, "trusted=yes")
        return self._download(state, suite, package)

    def _state(self, state: Path, suite: str, option: str) -> Path:
        for directory in ("state", "lists/partial", "cache", "archives/partial"):
            (state / directory).mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        name = self.job.sandbox.name(state)
        config = resolver_config(self.distribution, name, f"{name}/archives", self.proxies)
        (state / "apt.conf").write_text(config, "utf-8")
        options = [option, *(["check-valid-until=no"] if self.distribution.snapshot else [])]
        parts = ["main"] if "main" in self.distribution.components else self.distribution.components
        line = f"deb [{' '.join(options)}] {self.mirror} {suite} {' '.join(parts)}\n"
        (state / "sources.list").write_text(line, "utf-8")
        return state

    def _update(self, state: Path, suite: str, options: Sequence[str] = ()) -> None:
        try:
            self._apt(state, ["apt-get", "update", "--error-on=any", *options])
        except CommandError as error:
            ask = ask_through(read_proxies(proxy_variables(), self.proxies))
            raise explain_update(error, self.distribution, ask, suite=suite) from error

    def _download(self, state: Path, suite: str, package: str) -> Path:
        """The newest that the suite has, into an empty directory: no file from an earlier time is taken for it."""
        self._update(state, suite)
        target = self.job.work / "keyring" / f"{state.name}-package"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        try:
            self._apt(state, ["sh", "-c", 'cd "$1" && exec apt-get download "$2"', "sh", str(target), package])
        except CommandError as error:
            raise self._explain(state, suite, package, error) from error
        found = list(target.glob("*.deb"))
        if len(found) != 1:
            raise AuditError(f"{suite} has no package {package}", "set distribution.keyring.path as its package has it")
        return found[0]

    def _explain(self, state: Path, suite: str, package: str, error: CommandError) -> CommandError | AuditError:
        """Whether the mirror has another file than the index says: its bytes are asked, not apt's words."""
        target = self.job.work / "keyring" / "looked-at"
        target.unlink(missing_ok=True)
        found = _URI.search(self._apt(state, ["apt-get", "download", "--print-uris", package], capture=True))
        with contextlib.suppress(CommandError):
            if found is not None:
                self._apt(state, [_HELPER, "download-file", found["uri"], str(target)])
        if found is not None and target.exists() and sha256_of(target) != found["sha256"]:
            return AuditError(
                f"{found['name']} is not what the signed index of {suite} says",
                "it was altered, or not copied whole: do not use that mirror",
                error.details,
            )
        error.message = f"{package} of {suite} could not be fetched"
        error.hint = f"is {archive_urls(self.distribution)[0]} whole? Set distribution.mirrors to one that is"
        return error

    def _apt(self, state: Path, argv: list[str], *, capture: bool = False) -> str:
        env = {
            "APT_CONFIG": self.job.sandbox.name(state / "apt.conf"),
            "DEBIAN_FRONTEND": "noninteractive",
            **proxy_variables(),
        }
        return self.job.sandbox.run(argv, network=NetworkAccess.HOST, env=env, capture=capture)
