"""Arch Linux and its like: pacman resolves and fetches with a configuration of its own, then installs offline.

The databases are fetched once and copied into the work directory: what was resolved is what is downloaded and
installed, whatever the mirror does meanwhile. Every path is given explicitly: of the host's pacman neither
configuration nor cache, keyring nor hooks are used. Run for real with pacman 6.0.2 and 7.1.0.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from builder.distributions.pacman import (
    RECIPE_REPOSITORY,
    PacmanRelease,
    locked_config,
    resolver_config,
    servers,
    signatures,
)
from builder.errors import AuditError, CommandError, DisklessError, InputError
from builder.generators.table import generator_of
from builder.installers.base import Job, PackageSources
from builder.installers.keyrings.pacman import take_keyring
from builder.installers.locked import fetch_locked
from builder.installers.look import ask_by_environment, read_proxies
from builder.installers.pacman.cache import PackageCache, has_signature, signature_of
from builder.installers.pacman.checks import boot_packages, check_ignored, check_roles
from builder.installers.pacman.database import Database, DatabaseEntry, read_databases
from builder.installers.pacman.errors import (
    check_hidden,
    explain,
    explain_unknown,
    fatal_descriptions,
    hidden_failures,
)
from builder.installers.pacman.keyring import find_keyring, keyring_files, prepare_keyring
from builder.installers.pacman.locked import origins_of, signed_names, urls_today, write_databases
from builder.installers.pacman.looks import explain_databases, explain_missing
from builder.installers.pacman.own import make_repository
from builder.installers.pacman.release import release_of
from builder.installers.pacman.tree import (
    OWN_HOOKS,
    check_installed,
    give_databases,
    hook_texts,
    prepare_tree,
    take_back,
)
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
from builder.model.recipe import ArchDistribution, Recipe, Signatures
from builder.system.guarded.locks import locked
from builder.system.host import proxy_variables
from builder.system.run import Tool
from builder.system.sandbox.network import NetworkAccess
from builder.system.tree import Tree

# the initramfs stage makes the image, once, and sees whether that worked
_MASKED_HOOKS = ("90-mkinitcpio-install.hook",)
_INSTALLING = re.compile(r"^installing \S+\.\.\.$")


class PacmanInstaller:
    """The installer of Arch Linux."""

    @staticmethod
    def tools() -> tuple[Tool, ...]:
        """pacman, which Debian packages too, and the tools of libarchive and GnuPG."""
        return (
            Tool("pacman", "pacman-package-manager", "pacman"),
            Tool("gpg", "gpg", "gnupg"),
            Tool("gpg-agent", "gpg-agent", "gnupg"),
            Tool("bsdtar", "libarchive-tools", "libarchive"),
        )

    @staticmethod
    def readable(recipe: Recipe) -> tuple[Path, ...]:
        """Local mirrors, and the keyring with what lies beside it."""
        distribution = _arch(recipe)
        urls = [url for repository in distribution.repositories for url in servers(distribution, repository)]
        local = [url.removeprefix("file://").partition("$")[0] for url in urls if url.startswith("file://")]
        paths = [Path(urllib.parse.unquote(path)) for path in local]
        if distribution.keyring.path is not None:
            paths += keyring_files(Path(distribution.keyring.path))
        return tuple(dict.fromkeys(path for path in paths if path.exists()))

    def __init__(self, job: Job) -> None:
        self._job = job
        self._distribution = _arch(job.recipe)
        self._cache = job.cache / "pacman"
        self._packages = self._cache / "packages"
        self._kept = PackageCache(job, self._packages)
        self._config = job.work / "pacman.conf"
        self._gpgdir = job.work / "gnupg"
        self._databases = job.work / "db"
        self._repository = job.work / "repository"
        self._adopted: PackageSources | None = None

    def resolve(self) -> Lock:
        """The closure of the recipe's packages and groups."""
        self._prepare()
        signed = self._is_signed()
        keyring = find_keyring(self._distribution) if signed else None
        self._refresh()
        database = self._read()
        if signed and self._distribution.keyring.newest:
            entries = [entry for entry in database.entries if entry.repository not in self._unsigned()]
            keyring = take_keyring(self._job, self._distribution, entries, keyring, self._fetch_without_keys)
        if keyring is not None:
            prepare_keyring(self._job, keyring, self._gpgdir)
        packages = self._closure(database)
        chosen = choose_loaders(self._job, lambda name: database.first(name) is not None)
        wanted = packages_of(chosen, self._job.recipe)
        loaders = tuple(self._loader(database, *one) for one in wanted.items())
        check_roles(packages, database)
        check_ignored(packages, self._distribution)
        locked_packages = tuple(sorted(entry.package for entry in packages))
        entries = [database.of(package) for package in (*locked_packages, *loaders)]
        return Lock(locked_packages, loaders, origins_of(entries, self._distribution, self._unsigned()))

    def lend(self) -> tuple[tuple[LockedPackage, ...], dict[str, Origin]]:
        """None: all programs are the host's."""
        return (), {}

    def adopt(self, lock: Lock, sources: PackageSources) -> None:
        """Takes the lock as it is: databases are made of it, and no mirror's or key is looked at."""
        self._adopted = sources
        self._prepare()
        write_databases(self._databases / "sync", lock, self._repositories())

    def fetch(self, lock: Lock) -> int:
        """Downloads into the shared cache, where pacman checks signatures, and links the verified files."""
        database = self._read()
        entries = [database.of(package) for package in (*lock.packages, *lock.loaders)]
        entries = list(dict.fromkeys(entries))
        self._repository.mkdir()
        with locked(self._cache / "lock", BUSY, self._job.notify):
            if self._adopted is not None:
                proxies, today = read_proxies(proxy_variables()), urls_today(lock, self._distribution)
                fetch_locked(self._job, lock, self._packages, self._adopted, today, proxies)
            else:
                self._kept.forget_damaged(entries, self._unsigned())
                with watched_download(self._job.progress, [entry.package for entry in entries], self._packages):
                    self._download(entries)
            for entry in entries:
                self._kept.take(entry.package, self._repository)
        return max(entry.built for entry in entries)

    def install(self, lock: Lock, epoch: int) -> None:
        """Installs offline. The initramfs' configuration goes first, mkinitcpio's own hook is left for its stage."""
        tree = self._job.tree
        prepare_tree(tree)
        for entry in generator_of(self._job.recipe).entries(self._job.recipe):
            Tree(tree).write(entry)
        dbpath = give_databases(self._databases / "sync", tree)
        hooks = self._mask_hooks()
        options = ["--root", str(tree), "--hookdir", str(tree / OWN_HOOKS), "--hookdir", str(hooks)]
        database = self._read()
        arguments = ["-S", *options, *self._targets(database)]
        env = {"SOURCE_DATE_EPOCH": str(epoch)}
        with self._job.progress.task("install", len(lock.packages), "packages", counts=_INSTALLING):
            output = self._pacman(arguments, self._repository, dbpath, env=env)
        take_back(tree, epoch, signed_names(lock))
        check_installed(tree, lock)
        fatal = boot_packages(database)
        described = fatal_descriptions(hook_texts(tree))
        check_hidden(hidden_failures(output), [*fatal, *described], self._job.warn)

    def inputs(self) -> tuple[object, ...]:
        """What is there before the packages, which hooks read, the recipe's packages, and the version of pacman."""
        recipe = self._job.recipe
        return (generator_of(recipe).entries(recipe), recipe.packages, self._version())

    def versions(self) -> dict[str, str]:
        """What pacman says it is."""
        return {"pacman": ".".join(map(str, self._version()))}

    def loader_files(self, lock: Lock) -> dict[str, bytes]:
        """Of packages that are unpacked, not installed."""
        check_loader_builds(self._job.recipe, lock)
        wanted = loader_packages(self._job.recipe, lock)
        found: dict[str, bytes] = {}
        for package in lock.loaders:
            directory = self._job.work / "loaders" / package.name
            directory.mkdir(parents=True)
            archive = str(self._repository / package.filename)
            members = list(wanted[package.name].values())
            sandbox = replace(self._job.sandbox, only=(directory, self._job.sandbox.temporary))
            sandbox.run(
                ["bsdtar", "-xf", archive, "-C", str(directory), *members],
                hint=f"{package.name} must bring {members[0]}, as Arch's does",
            )
            found |= {name: loader_file(directory, path, package.name) for name, path in wanted[package.name].items()}
        return found

    def _loader(self, database: Database, name: str, files: Mapping[str, str]) -> LockedPackage:
        entry = database.first(name)
        if entry is None:
            raise InputError(f"no repository has {name}, which brings {next(iter(files))}", "add extra to repositories")
        return entry.package

    def _prepare(self) -> None:
        # pacman 7.1 refuses an option that names a directory which does not exist
        for directory in (self._packages, self._databases / "local", self._databases / "sync"):
            directory.mkdir(parents=True, exist_ok=True)
        self._gpgdir.mkdir(mode=0o700)
        version = self._version()
        if self._adopted is not None:
            config = locked_config(self._distribution, version, self._repositories())
        else:
            files = self._distribution.package_files
            own = self._job.sandbox.name(make_repository(self._job, files)) if files else None
            config = resolver_config(self._distribution, version, own)
        self._config.write_text(config, encoding="utf-8")

    def _is_signed(self) -> bool:
        """Whether any repository is signed; those that are not are named loudly."""
        unsigned = self._unsigned() - {RECIPE_REPOSITORY}
        if unsigned:
            names = ", ".join(sorted(unsigned))
            self._job.warn(f"signatures: never: packages of {names} are installed whoever made them")
        return len(unsigned) < len(self._distribution.repositories)

    def _fetch_without_keys(self, entry: DatabaseEntry, directory: Path) -> DisklessError | None:
        """Fetches a package and its signature, and returns what pacman has against them, as it knows no key."""
        keys = directory / "no-keys"
        keys.mkdir(mode=0o700, parents=True)
        self._job.sandbox.runner.say("pacman is given no key here: the package is judged afterwards")
        try:
            arguments = ["-Swdd", f"{entry.repository}/{entry.package.name}"]
            self._pacman(arguments, directory, self._databases, network=NetworkAccess.HOST, gpgdir=keys)
        except DisklessError as error:
            file = directory / entry.package.filename
            came = file.exists() and (has_signature(entry) or signature_of(file).exists())
            return explain_missing([] if came else [entry], error, self._distribution, ask_by_environment())
        return None

    def _unsigned(self) -> set[str]:
        """The repositories whose packages need no signature: named so, or the recipe's own files."""
        distribution = self._distribution
        named = {item.name for item in distribution.repositories if signatures(distribution, item) is Signatures.NEVER}
        return named | {RECIPE_REPOSITORY}

    def _version(self) -> PacmanRelease:
        return release_of(self._job.sandbox)

    def _repositories(self) -> tuple[str, ...]:
        own = (RECIPE_REPOSITORY,) if self._distribution.package_files else ()
        return (*own, *(repository.name for repository in self._distribution.repositories))

    def _refresh(self) -> None:
        """Fetches the databases; those of one set of mirrors are kept, so that only changed ones are transferred."""
        kept = self._cache / f"databases-{_key(repr(self._distribution))}"
        with locked(self._cache / "lock", BUSY, self._job.notify):
            (kept / "local").mkdir(parents=True, exist_ok=True)
            # pacman's own lock outlives a build that was killed
            (kept / "db.lck").unlink(missing_ok=True)
            # local files: two databases of one second would look alike
            local = all(url.startswith("file:") for url in self._urls()) or self._distribution.package_files
            try:
                self._pacman(["-Syy" if local else "-Sy"], self._packages, kept, network=NetworkAccess.HOST)
            except CommandError as error:
                raise explain_databases(error, self._distribution, ask_by_environment()) from error
            for path in (kept / "sync").iterdir():
                shutil.copy2(path, self._databases / "sync")

    def _urls(self) -> list[str]:
        return [url for item in self._distribution.repositories for url in servers(self._distribution, item)]

    def _read(self) -> Database:
        return read_databases(self._databases / "sync", self._repositories())

    def _targets(self, database: Database) -> list[str]:
        """The recipe's packages, with groups replaced by their members but the ignored ones."""
        found: list[str] = []
        for name in self._job.recipe.packages:
            members = [] if database.provides(name) else database.group(name)
            found += [member for member in members if member not in self._distribution.ignore] or [name]
        files = [entry.package.name for entry in database.entries if entry.repository == RECIPE_REPOSITORY]
        return list(dict.fromkeys([*found, *files]))

    def _closure(self, database: Database) -> list[DatabaseEntry]:
        targets = self._targets(database)
        unknown = [name for name in targets if not database.provides(name)]
        if unknown:
            raise explain_unknown(unknown, database.names(), self._distribution)
        arguments = ["-Sp", "--print-format", "@%r|%n|%v", *targets]
        lines = self._pacman(arguments, self._packages, self._databases)
        found = []
        for line in lines:
            if line.startswith("@"):
                repository, name, version = line[1:].split("|")
                entry = database.find(repository, name)
                if entry is None or entry.package.version != version:
                    raise AuditError(f"pacman resolved {line[1:]}, which is in no database", "please report this")
                found.append(entry)
        return found

    def _pacman(
        self,
        arguments: Sequence[str],
        cachedir: Path,
        dbpath: Path,
        *,
        network: NetworkAccess = NetworkAccess.NONE,
        env: dict[str, str] | None = None,
        gpgdir: Path | None = None,
    ) -> list[str]:
        """Runs pacman with every path given, and returns all that it printed; what it complains of is explained."""
        operation, *rest = arguments
        argv = ["pacman", operation, "--config", str(self._config), "--dbpath", str(dbpath)]
        argv += ["--cachedir", str(cachedir), "--gpgdir", self._job.sandbox.name(gpgdir or self._gpgdir)]
        argv += ["--arch", self._distribution.architecture]
        argv += ["--logfile", str(self._job.sandbox.temporary / "pacman.log"), "--noconfirm", "--noprogressbar"]
        if "--root" not in rest:
            argv += ["--root", str(self._job.work)]
        for name in self._distribution.assume_installed:
            argv += ["--assume-installed", name]
        sandbox = self._job.sandbox
        if "--root" in rest:
            only = (*self._job.open_to_packages, self._gpgdir)
            sandbox = replace(sandbox, prepared=self._job.tree, only=only)
        runner = sandbox.runner
        before = runner.position()
        environment = {**(env or {}), **(proxy_variables() if network is NetworkAccess.HOST else {})}
        try:
            sandbox.run([*argv, *rest], network=network, env=environment)
        except CommandError as error:
            raise explain("\n".join(runner.since(before)), error, self._distribution) from error
        return runner.since(before)

    def _download(self, entries: Sequence[DatabaseEntry]) -> None:
        targets = [f"{entry.repository}/{entry.package.name}" for entry in entries]
        # the closure is complete: -dd only keeps pacman from resolving it again
        arguments = ["-Swdd", *targets]
        before = self._kept.signed(entries)
        try:
            self._fetch(arguments, entries)
        except AuditError:
            self._job.notify("a package was refused: looking which of the cached ones are")
            refused = self._kept.forget_refused([*before, *self._fetched(entries, before)], self._gpgdir)
            again = [entry.package.name for entry in refused if entry in before]
            if not again:
                raise
            # a package that was signed again has another signature than the one in the cache
            self._job.notify(f"fetching again, as the signature in the cache is not good: {', '.join(again)}")
            try:
                self._fetch(arguments, entries)
            except AuditError:
                self._kept.forget_refused(refused, self._gpgdir)
                raise

    def _fetch(self, arguments: Sequence[str], entries: Sequence[DatabaseEntry]) -> None:
        try:
            self._pacman(arguments, self._packages, self._databases, network=NetworkAccess.HOST)
        except DisklessError as error:
            missing = self._kept.missing(entries, self._unsigned())
            raise explain_missing(missing, error, self._distribution, ask_by_environment()) from error

    def _fetched(self, entries: Sequence[DatabaseEntry], before: Sequence[DatabaseEntry]) -> list[DatabaseEntry]:
        return [entry for entry in self._kept.signed(entries) if entry not in before]

    def _mask_hooks(self) -> Path:
        directory = self._job.work / "hooks"
        directory.mkdir()
        for name in _MASKED_HOOKS:
            (directory / name).symlink_to("/dev/null")
        return directory


def _arch(recipe: Recipe) -> ArchDistribution:
    assert isinstance(recipe.distribution, ArchDistribution)
    return recipe.distribution


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
