"""sources.list(5) of a build, and the keys that it names: in a directory of the cache for each recipe's sources."""

from __future__ import annotations

import hashlib
import urllib.parse
from pathlib import Path

from builder.distributions.apt import archive_urls, repository_line, security_urls, sources
from builder.distributions.table import how_to_install
from builder.errors import HostError
from builder.installers.apt.formats import copied, sources_key
from builder.installers.apt.own import OwnPackages
from builder.installers.base import Job
from builder.installers.keyrings.content import require_public_keys
from builder.installers.keyrings.debian import NewestKeyring
from builder.installers.keyrings.debian_archive import DebianArchive
from builder.installers.keyrings.gnupg import TOOLS as GNUPG
from builder.model.artifacts.lock import LockedPackage
from builder.model.recipe import DebianDistribution, DebianRepository
from builder.system.run import require_tools

_ARMOUR = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_FILENAME = "Filename: "


class AptSources:
    """Where apt gets a recipe's packages from; `state` is the directory of what it keeps of them."""

    def __init__(self, job: Job, distribution: DebianDistribution) -> None:
        self._job = job
        self._distribution = distribution
        self.state = job.cache / "apt" / sources_key(distribution)

    def write(self, own: OwnPackages, proxies: list[str]) -> None:
        """Makes sources.list, with the recipe's own packages; `proxies` are lines of the host's configuration.

        HostError where the keys are not on this host.
        """
        text = self._text(self._find_keyring(proxies), own)
        (self.state / "sources.list").write_text(text, encoding="utf-8")

    def urls_of(self, url: str) -> tuple[str, ...]:
        """The addresses of what apt calls by `url`: on every mirror, where it names its list of them."""
        for name, urls in (
            ("mirrors", archive_urls(self._distribution)),
            ("security", security_urls(self._distribution)),
        ):
            listed = f"mirror+file:{self._job.sandbox.name(self.state)}/{name}.list/"
            if url.startswith(listed):
                return tuple(f"{one.rstrip('/')}/{url.removeprefix(listed)}" for one in urls)
        return (url,)

    def plain_urls(self, url: str, own: OwnPackages) -> tuple[str, ...]:
        """The same as anybody can ask for them; none for the recipe's own packages."""
        if url.startswith(f"copy:{self._job.sandbox.name(own.directory)}/"):
            return ()
        found = self.urls_of(url)
        return tuple(f"file:{one.removeprefix('copy:')}" if one.startswith("copy:") else one for one in found)

    def urls_today(self, package: LockedPackage) -> tuple[str, ...]:
        """Where the recipe's mirrors have a package, if they still do."""
        names = [line.removeprefix(_FILENAME) for line in package.record.splitlines() if line.startswith(_FILENAME)]
        mirrors = (*archive_urls(self._distribution), *security_urls(self._distribution))
        others = (repository.url for repository in self._distribution.repositories)
        paths = [urllib.parse.quote(name.removeprefix("./"), safe="/+~:@=") for name in names]
        return tuple(f"{mirror.rstrip('/')}/{path}" for mirror in (*mirrors, *others) for path in paths)

    def _find_keyring(self, proxies: list[str]) -> Path:
        """The keys that sign the archive: this host's, or with `newest` those that the mirror has."""
        keyring = self._distribution.keyring
        host = Path(keyring.path) if Path(keyring.path).is_file() else None
        if host is None and not keyring.fingerprints:
            raise HostError(
                f"the archive's keyring {keyring.path} is not on this host",
                f"{how_to_install('debian-archive-keyring')}; or set "
                "distribution.keyring, with newest: true and the fingerprint of the archive's signing key if need be",
            )
        if not keyring.newest:
            return self._kept(Path(keyring.path))
        require_tools(GNUPG)
        mirror = self._mirror("mirrors", archive_urls(self._distribution))
        archive = DebianArchive(self._job, self._distribution, mirror, proxies)
        return self._kept(NewestKeyring(self._job, archive, host).find())

    def _kept(self, keyring: Path) -> Path:
        """A copy of a keyring where apt finds it, and armoured or not as its name says: apt looks at nothing else."""
        require_public_keys(keyring)
        content = keyring.read_bytes()
        suffix = ".asc" if content.lstrip().startswith(_ARMOUR) else ".gpg"
        copy = self.state / f"{hashlib.sha256(content).hexdigest()}{suffix}"
        copy.write_bytes(content)
        return copy

    def _text(self, keyring: Path, own: OwnPackages) -> str:
        options = [f"signed-by={self._job.sandbox.name(keyring)}"]
        mirror = self._mirror("mirrors", archive_urls(self._distribution))
        security = security_urls(self._distribution)
        distribution = self._distribution
        text = sources(distribution, mirror, self._mirror("security", security) if security else None, options)
        more = [self._repository_line(repository) for repository in distribution.repositories]
        if own.requests:
            more.append(f"deb [trusted=yes] copy:{self._job.sandbox.name(own.directory)} ./\n")
        return text + "".join(more)

    def _repository_line(self, repository: DebianRepository) -> str:
        keyring = None
        if repository.keyring is not None:
            keyring = self._job.sandbox.name(self._kept(Path(repository.keyring)))
        return repository_line(repository, copied(repository.url), keyring)

    def _mirror(self, name: str, urls: tuple[str, ...]) -> str:
        """One URL for apt: several become a mirror list that apt tries in order, apt-transport-mirror(1)."""
        if len(urls) == 1:
            return copied(urls[0])
        path = self.state / f"{name}.list"
        path.write_text("".join(f"{url}\tpriority:{rank}\n" for rank, url in enumerate(urls, 1)), encoding="utf-8")
        return f"mirror+file:{self._job.sandbox.name(path)}"
