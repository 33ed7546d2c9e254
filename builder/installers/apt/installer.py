"""Debian: apt resolves and fetches with a configuration of its own, mmdebstrap installs from exactly those files.

The packages are resolved against an empty dpkg status, so that nothing of the host's apt matters; the locked files
become a flat repository in the work directory, from which mmdebstrap(1) installs without network.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from builder.distributions.apt import (
    ARCHITECTURES,
    packages_index,
    resolver_config,
)
from builder.errors import AuditError, CommandError, InputError
from builder.installers.apt.errors import (
    apt_words,
    explain_conflict,
    explain_download,
    explain_install,
    explain_unknown,
    explain_update,
    explain_virtual,
    read_fields,
)
from builder.installers.apt.formats import build_date, printed_files, providers, version_in
from builder.installers.apt.mmdebstrap import MMDEBSTRAP, Mmdebstrap, find_mmdebstrap, install_hooks, needs_mmdebstrap
from builder.installers.apt.own import OwnPackages, make_own_packages
from builder.installers.apt.roles import check_bootable
from builder.installers.apt.snapshot import check_day, check_snapshot
from builder.installers.apt.sources import AptSources
from builder.installers.base import Job, PackageSources
from builder.installers.locked import fetch_locked
from builder.installers.look import AskMirror, ask_through, read_proxies
from builder.installers.shared import (
    BUSY,
    check_loader_builds,
    choose_loaders,
    loader_file,
    loader_packages,
    watched_download,
)
from builder.loaders.table import packages as packages_of
from builder.model.artifacts.lock import Lock, LockedPackage, Origin
from builder.model.recipe import DebianDistribution, Recipe
from builder.system.files import copy_verified, new_directory
from builder.system.guarded.locks import locked
from builder.system.host import proxy_variables
from builder.system.run import Tool
from builder.system.sandbox.network import NetworkAccess
from builder.system.tree import Tree

# where mmdebstrap sees the repository, and mounts it in the tree: no path of the host gets into either
_REPOSITORY = "/run/diskless/repository"
_MOST_LOG = 64 << 20  # bytes; a real one has less than one
_DPKG_STEP = re.compile(rb" status ((?:unpacked|installed) \S+)")


class AptInstaller:
    """The installer of Debian and its like."""

    @staticmethod
    def tools() -> tuple[Tool, ...]:
        """Apt and dpkg, which Arch Linux packages too, and Perl for mmdebstrap."""
        return (
            Tool("apt-get", "apt", "apt"),
            Tool("apt-cache", "apt", "apt"),
            Tool("dpkg-deb", "dpkg", "dpkg"),
            Tool("perl", "perl", "perl"),
        )

    @staticmethod
    def readable(recipe: Recipe) -> tuple[Path, ...]:
        """The keyring and local mirrors."""
        distribution = _debian(recipe)
        urls = [*distribution.mirrors, *distribution.security_mirrors, *(r.url for r in distribution.repositories)]
        local = [Path(urllib.parse.unquote(url.removeprefix("file://"))) for url in urls if url.startswith("file:/")]
        return tuple(path for path in (Path(distribution.keyring.path), *local) if path.exists())

    def __init__(self, job: Job) -> None:
        self._job = job
        self._distribution = _debian(job.recipe)
        self._sources = AptSources(job, self._distribution)
        self._state = self._sources.state
        self._archives = job.cache / "apt" / "archives"
        self._repository = job.work / "repository"
        self._config = job.work / "apt.conf"
        self._recommended: tuple[str, ...] = ()
        self._own = OwnPackages(job.work, ())
        self._origins: dict[str, Origin] = {}
        self._adopted: PackageSources | None = None
        self._lent: Path | None = None

    def resolve(self) -> Lock:
        """The closure of the essential packages, the required ones, apt and the recipe's."""
        check_day(self._distribution)
        self._prepare()
        if self._distribution.package_files:
            self._own = make_own_packages(self._job, self._distribution.package_files)
        with locked(self._job.cache / "apt" / "lock", BUSY, self._job.notify):
            self._sources.write(self._own, self._host_proxies())
            self._update()
            check_snapshot(self._distribution, self._state / "lists")
            packages = self._resolve_packages()
            known = set(self._apt(["apt-cache", "pkgnames"], capture=True).split())
            wanted = packages_of(choose_loaders(self._job, known.__contains__), self._job.recipe)
            loaders = self._closure(list(wanted), tuple(wanted))
        chosen = tuple(package for package in loaders if package.name in wanted)
        origins = {package.filename: self._origins[package.filename] for package in (*packages, *chosen)}
        lock = Lock(packages, chosen, origins, self._recommended)
        check_bootable(lock)
        return lock

    def lend(self) -> tuple[tuple[LockedPackage, ...], dict[str, Origin]]:
        """The mirror's mmdebstrap, for hosts that have none."""
        with locked(self._job.cache / "apt" / "lock", BUSY, self._job.notify):
            if MMDEBSTRAP not in self._apt(["apt-cache", "pkgnames", MMDEBSTRAP], capture=True).split():
                return (), {}
            printed = self._apt(["apt-get", "download", "--print-uris", MMDEBSTRAP], capture=True)
            (found,) = self._described(printed)
        return (found,), {found.filename: self._origins[found.filename]}

    def adopt(self, lock: Lock, sources: PackageSources) -> None:
        """Takes the lock as it is: apt resolves and fetches nothing, and no key or index is looked at."""
        self._prepare()
        if self._distribution.package_files:
            self._own = make_own_packages(self._job, self._distribution.package_files)
        self._recommended = lock.recommended
        self._adopted = sources
        if lock.lent and needs_mmdebstrap():
            with locked(self._job.cache / "apt" / "lock", BUSY, self._job.notify):
                self._fetch_locked(Lock((), (), lock.origins, (), lock.lent))
            self._lent = self._archives / lock.lent[0].filename
        check_bootable(lock)

    def _resolve_packages(self) -> tuple[LockedPackage, ...]:
        """The recipe's, and where it wants those, what packages recommend: mmdebstrap has to be told their names."""
        names = self._job.recipe.package_names
        packages = self._closure(self._request(), names)
        if self._distribution.recommends:
            needed = {package.name for package in packages}
            packages = self._closure(["-o", "APT::Install-Recommends=true", *self._request()], names)
            self._recommended = tuple(one.name for one in packages if one.name not in needed)
        return packages

    def fetch(self, lock: Lock) -> int:
        """Downloads into the shared cache and links the files, each checked by SHA-256, into the repository."""
        self._repository.mkdir()
        with locked(self._job.cache / "apt" / "lock", BUSY, self._job.notify):
            if self._adopted is not None:
                self._fetch_locked(lock)
            else:
                self._download(lock)
            for package in lock.files:
                self._take(package)
        (self._repository / "Packages").write_text(packages_index(lock.packages), encoding="utf-8")
        return max(build_date(self._repository / package.filename) for package in lock.packages)

    def _download(self, lock: Lock) -> None:
        packages = (*lock.packages, *lock.loaders)
        with watched_download(self._job.progress, packages, self._archives):
            for group in (lock.packages, lock.loaders):
                names = [f"{package.name}={package.version}" for package in group]
                argv = ["apt-get", "install", "--download-only", *names]
                try:
                    self._apt(argv)
                except CommandError as error:
                    raise explain_download(error, self._missing(group, names), self._asking()) from error
        self._fetch_locked(Lock((), (), lock.origins, (), lock.lent))

    def _fetch_locked(self, lock: Lock) -> None:
        if lock.files:
            proxies = read_proxies(proxy_variables(), self._host_proxies())
            sources = self._adopted or PackageSources()
            fetch_locked(self._job, lock, self._archives, sources, self._sources.urls_today, proxies)

    def install(self, lock: Lock, epoch: int) -> None:
        """Mmdebstrap from the repository. INITRD=No: the kernel's hook leaves the initramfs to its own stage."""
        new_directory(self._job.tree, 0o755)
        mmdebstrap = self._mmdebstrap()
        argv = [mmdebstrap.program, "--mode=root", "--format=directory", "--variant=minbase"]
        argv += [f"--architectures={ARCHITECTURES[self._distribution.architecture]}", "--dpkgopt=force-unsafe-io"]
        argv += [
            f"--hook-dir={self._name(mmdebstrap.hooks / name)}"
            for name in ("maybe-merged-usr", "file-mirror-automount")
        ]
        included = dict.fromkeys([*self._job.recipe.package_names, *self._own.names, *self._recommended])
        argv += [
            *install_hooks(self._job, self._distribution.debconf, self._recommended),
            f"--include={','.join(included)}",
            "--skip=output/mknod",
            "",
            self._name(self._job.tree),
        ]
        argv.append(f"deb [trusted=yes] file://{_REPOSITORY} ./")
        env = {"INITRD": "No", "SOURCE_DATE_EPOCH": str(epoch), **mmdebstrap.environment}
        mounts = {_REPOSITORY: self._repository}
        hint = "the first `E:` or `dpkg: error` above it in the log is the cause"
        sandbox = replace(self._job.sandbox, only=self._job.open_to_packages)
        before = sandbox.runner.position()
        with self._job.progress.task("install", 2 * len(lock.packages), "steps", measure=self._count_steps):
            try:
                sandbox.run(argv, env=env, mounts=mounts, hint=hint)
            except CommandError as error:
                raise explain_install(error, sandbox.runner.since(before)) from error
        self._check_installed(lock)

    def inputs(self) -> tuple[object, ...]:
        """The recipe's packages, which are marked as wanted by hand, and the versions of the host's tools."""
        return (self._wanted, *self._said().values())

    def versions(self) -> dict[str, str]:
        """What mmdebstrap, apt and dpkg say they are."""
        return {name: version_in(said) for name, said in self._said().items()}

    def _said(self) -> dict[str, str]:
        mmdebstrap = self._mmdebstrap()
        # the mirror's own may be one of them
        sandbox = replace(self._job.sandbox, only=(self._job.sandbox.temporary,))
        programs = {MMDEBSTRAP: mmdebstrap.program, "apt": "apt-get", "dpkg": "dpkg"}
        return {
            name: sandbox.run([program, "--version"], env=mmdebstrap.environment, capture=True, log_output=False)
            for name, program in programs.items()
        }

    def _name(self, path: Path) -> str:
        return self._job.sandbox.name(path)

    def _mmdebstrap(self) -> Mmdebstrap:
        return find_mmdebstrap(self._job, self._apt, self._lent)

    def _count_steps(self) -> int:
        """How often a package was unpacked or configured so far, by dpkg's own log in the tree."""
        log = Tree(self._job.tree).read("/var/log/dpkg.log", _MOST_LOG) or b""
        return len(set(_DPKG_STEP.findall(log)))

    def loader_files(self, lock: Lock) -> dict[str, bytes]:
        """Of packages that are unpacked, not installed."""
        check_loader_builds(self._job.recipe, lock)
        wanted = loader_packages(self._job.recipe, lock)
        found: dict[str, bytes] = {}
        for package in lock.loaders:
            directory = self._job.work / package.name
            directory.mkdir()
            sandbox = replace(self._job.sandbox, only=(directory, self._job.sandbox.temporary))
            sandbox.run(["dpkg-deb", "-x", str(self._repository / package.filename), str(directory)])
            for name, path in wanted[package.name].items():
                found[name] = loader_file(directory, path, package.name)
        return found

    def _prepare(self) -> None:
        for directory in ("state", "lists/partial", "cache"):
            (self._state / directory).mkdir(parents=True, exist_ok=True)
        (self._archives / "partial").mkdir(parents=True, exist_ok=True)
        (self._state / "status").touch()
        config = resolver_config(
            self._distribution, self._name(self._state), self._name(self._archives), self._host_proxies()
        )
        self._config.write_text(config, encoding="utf-8")

    def _host_proxies(self) -> list[str]:
        dump = self._job.sandbox.run(["apt-config", "dump", "--no-empty"], capture=True, log_output=False)
        return [line for line in dump.splitlines() if re.match(r"Acquire::https?::(.*::)?Proxy", line, re.IGNORECASE)]

    def _update(self) -> None:
        try:
            self._apt(["apt-get", "update", "--error-on=any"])
        except CommandError as error:
            raise explain_update(error, self._distribution, self._asking()) from error

    def _request(self) -> list[str]:
        architecture = ARCHITECTURES[self._distribution.architecture]
        wanted = [f"?narrow(?architecture({architecture}),{what})" for what in ("?essential", "?priority(^required$)")]
        known = self._apt(["apt-cache", "pkgnames", "usr-is-merged"], capture=True).split()
        return [*wanted, "apt", *(["usr-is-merged"] if "usr-is-merged" in known else []), *self._wanted]

    @property
    def _wanted(self) -> tuple[str, ...]:
        """What the recipe asks for, as apt takes it."""
        return (*self._job.recipe.packages, *self._own.requests)

    def _closure(self, request: list[str], named: tuple[str, ...]) -> tuple[LockedPackage, ...]:
        runner = self._job.sandbox.runner
        before = runner.position()
        try:
            # an empty archive directory: --print-uris leaves out what is already there
            argv = [
                "apt-get",
                "-o",
                f"Dir::Cache::archives={self._name(self._job.work)}/none",
                "install",
                "--print-uris",
                *request,
            ]
            (self._job.work / "none" / "partial").mkdir(parents=True, exist_ok=True)
            printed = self._apt(argv, capture=True)
        except CommandError as error:
            error.details = tuple(runner.since(before))
            raise self._explain_packages(error, named) from error
        return self._described(printed)

    def _described(self, printed: str) -> tuple[LockedPackage, ...]:
        """The packages of what --print-uris printed, sorted, each with its stanza."""
        lines = printed_files(printed)
        hashes = {
            words[1]: words[3].partition(":")[2] for words in lines if len(words) > 3 and words[3].startswith("SHA256:")
        }
        wanted = {tuple(urllib.parse.unquote(words[1].removesuffix(".deb")).split("_")): words[1] for words in lines}
        shown = self._apt(["apt-cache", "show", *(f"{key[0]}={key[1]}" for key in wanted)], capture=True)
        for words in lines:
            self._origins[words[1]] = Origin(self._sources.plain_urls(words[0][1:-1], self._own))
        locked = {}
        for stanza in shown.strip().split("\n\n"):
            fields = read_fields(stanza)
            key = (fields["Package"], fields["Version"], fields["Architecture"])
            # two repositories may have different files of one version: apt says which it would take
            right = key in wanted and hashes.get(wanted[key], fields["SHA256"]) == fields["SHA256"]
            if right and key not in locked:
                locked[key] = LockedPackage(*key, wanted[key], int(fields["Size"]), fields["SHA256"], stanza)
        return tuple(sorted(locked.values()))

    def _apt(self, argv: list[str], *, capture: bool = False, hint: str | None = None) -> str:
        env = {"APT_CONFIG": self._name(self._config), "DEBIAN_FRONTEND": "noninteractive", **proxy_variables()}
        return self._job.sandbox.run(argv, network=NetworkAccess.HOST, env=env, capture=capture, hint=hint)

    def _take(self, package: LockedPackage) -> None:
        cached, target = self._archives / package.filename, self._repository / package.filename
        if not copy_verified(cached, target, package.sha256):
            cached.unlink(missing_ok=True)
            raise AuditError(
                f"{package.filename} in the package cache is not what the mirror's signed index says",
                "the damaged file was removed: build again",
            )

    def _explain_packages(self, error: CommandError, named: tuple[str, ...]) -> CommandError | InputError:
        known = self._apt(["apt-cache", "pkgnames"], capture=True).split()
        names = [name for name in named if name.partition(":")[0] not in known]
        virtual = providers(self._apt(["apt-cache", "dumpavail"], capture=True), names) if names else {}
        if virtual:
            return explain_virtual(virtual, apt_words(error.details))
        if names:
            return explain_unknown(names, known, self._distribution, apt_words(error.details))
        return explain_conflict(error)

    def _missing(
        self, wanted: Sequence[LockedPackage], names: list[str]
    ) -> list[tuple[LockedPackage, tuple[str, ...]]]:
        """Which packages did not arrive, and the URLs where each should lie."""
        printed = self._apt(["apt-get", "install", "--download-only", "--print-uris", *names], capture=True)
        places = {words[1]: words[0][1:-1] for words in printed_files(printed)}
        return [(one, self._sources.urls_of(places[one.filename])) for one in wanted if one.filename in places]

    def _asking(self) -> AskMirror:
        return ask_through(read_proxies(proxy_variables(), self._host_proxies()))

    def _check_installed(self, lock: Lock) -> None:
        # dpkg-query reads the tree's database from outside: no chroot, so a broken image is described, not executed
        query = [
            "dpkg-query",
            f"--admindir={self._job.tree}/var/lib/dpkg",
            "-W",
            "-f=${Package} ${Version} ${db:Status-Status}\n",
        ]
        sandbox = replace(self._job.sandbox, only=())
        installed = set(sandbox.run(query, capture=True, log_output=False).splitlines())
        wanted = {f"{package.name} {package.version} installed" for package in lock.packages}
        if installed != wanted:
            different = sorted(installed ^ wanted)
            raise AuditError(
                f"the tree does not hold exactly the locked packages: {', '.join(different[:10])}",
                "this is a fault of diskless, or of a package that removes another one; please report it",
            )


def _debian(recipe: Recipe) -> DebianDistribution:
    assert isinstance(recipe.distribution, DebianDistribution)
    return recipe.distribution
