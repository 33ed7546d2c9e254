"""Contradictions: recipes whose every value is well formed and that still cannot work."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence

from builder.checks.network import network_contradictions
from builder.checks.root import root_contradictions
from builder.checks.users import group_contradictions, script_contradictions, user_contradictions
from builder.distributions.table import DISTRIBUTIONS, distro_of, titles
from builder.generators.table import generator_of
from builder.inits.table import init_of
from builder.loaders.table import available
from builder.model.fault import Fault, Place
from builder.model.recipe import Recipe, Resolver

_VOLATILE = ("/dev", "/proc", "/sys", "/run", "/tmp")
_CMDLINE_LIMIT = 1500  # of the kernel's 2047, leaving room for nfsroot= and what a lab or a loader adds
_OURS = {"root": "the root is always /dev/nfs", "nfsroot": "the server writes it", "initrd": "the loader writes it"}
# names beside the images' own in a server's directories
_RESERVED = {"boot", "current", "generations", "grub", "ipxe", "latest", "pxelinux.cfg", "versions", "writable"}
_LOCALES_BUILT_IN = ("C", "POSIX", "C.UTF-8")


def contradictions(recipe: Recipe) -> list[Fault]:
    """All contradictions of a recipe; an empty list when it can work."""
    found: list[Fault] = []
    for check in _CHECKS:
        found.extend(check(recipe))
    return found


def _repeated(recipe: Recipe) -> Iterator[Fault]:
    lists: dict[Place, Sequence[str]] = {
        ("packages",): recipe.package_names,
        ("system", "services"): recipe.system.services,
        ("system", "masked"): recipe.system.masked,
        ("initramfs", "modules"): recipe.initramfs.modules,
        ("boot", "loaders"): recipe.boot.loaders or (),
        ("boot", "cmdline"): recipe.boot.cmdline,
        ("network", "nameservers"): recipe.network.nameservers,
    }
    for place, values in lists.items():
        for value, count in collections.Counter(values).items():
            if count > 1:
                position = len(values) - 1 - list(reversed(values)).index(value)
                yield Fault((*place, position), f"'{value}' is listed {count} times", "keep one of them")


def _names(recipe: Recipe) -> Iterator[Fault]:
    if recipe.image in _RESERVED:
        hint = f"choose another name than {', '.join(sorted(_RESERVED))}"
        yield Fault(("image",), f"'{recipe.image}' has a meaning of its own on a server", hint)


def _empty(recipe: Recipe) -> Iterator[Fault]:
    needed: dict[Place, Sequence[object]] = {
        ("packages",): recipe.packages,
    }
    if recipe.boot.loaders is not None:
        needed[("boot", "loaders")] = recipe.boot.loaders
    for name in distro_of(recipe).filled:
        needed[("distribution", name)] = getattr(recipe.distribution, name)
    for place, values in needed.items():
        if not values:
            yield Fault(place, f"'{place[-1]}' is empty", "list at least one, or leave the key out for its default")


def _files(recipe: Recipe) -> Iterator[Fault]:
    generated = {
        "/etc/fstab": "filesystems",
        "/etc/hostname": "system.hostname",
        "/etc/machine-id": "each client's first boot",
    }
    policy = recipe.network.resolver_policy
    if recipe.network.nameservers or (recipe.network.resolver and policy is not Resolver.DHCP):
        generated["/etc/resolv.conf"] = "network.nameservers" if policy is Resolver.FIXED else "network.resolver"
    for path in ("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow") if recipe.system.users else ():
        generated[path] = "system.users"
    for path in ("/etc/group", "/etc/gshadow") if recipe.system.groups else ():
        generated.setdefault(path, "system.groups")
    directories = {parent for file in recipe.files for parent in _parents(file.path)}
    seen: set[str] = set()
    for position, file in enumerate(recipe.files):
        place: Place = ("files", position, "path")
        if (file.text is None) == (file.source is None):
            has = "neither 'text' nor" if file.text is None else "both 'text' and"
            yield Fault(("files", position), f"{file.path} has {has} 'source'", "write exactly one of the two")
        if file.path in seen:
            yield Fault(place, f"{file.path} is written twice", "keep one of the two entries")
        seen.add(file.path)
        if file.path in directories:
            yield Fault(place, f"{file.path} is a file and also the directory of another one", "rename one of them")
        if file.path in generated:
            yield Fault(place, f"{file.path} is written from {generated[file.path]}", "set it there instead")
        if any(file.path == top or file.path.startswith(top + "/") for top in _VOLATILE):
            yield Fault(
                place,
                f"{file.path} would be hidden at boot by a mount",
                "choose a path outside " + ", ".join(_VOLATILE),
            )


def _parents(path: str) -> list[str]:
    """Every directory above a plain absolute path."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(2, len(parts))]


def _filesystems(recipe: Recipe) -> Iterator[Fault]:
    seen: set[str] = set()
    for position, line in enumerate(recipe.filesystems):
        if line.target in seen and line.target.startswith("/"):
            yield Fault(
                ("filesystems", position, "target"), f"{line.target} is mounted twice", "keep one of the two lines"
            )
        seen.add(line.target)
        if line.target == "/" and (line.source, line.type) != ("none", "none"):
            yield Fault(
                ("filesystems", position, "source"),
                "the root is mounted by the initramfs, from what the server says",
                "the only line for / that makes sense is {source: none, target: /, type: none}",
            )


def _system(recipe: Recipe) -> Iterator[Fault]:
    system = recipe.system
    full_name = init_of(recipe).full_name
    masked = {full_name(name) for name in system.masked}
    for position, name in enumerate(system.services):
        if full_name(name) in masked:
            yield Fault(("system", "services", position), f"'{name}' is both enabled and masked", "keep one of the two")
    distro, packages = distro_of(recipe), set(recipe.package_names)
    bring = distro.locale_packages
    if system.locale not in _LOCALES_BUILT_IN and bring and not packages & set(bring):
        yield Fault(
            ("system", "locale"),
            f"'{system.locale}' has to be generated",
            f"add {bring[0]} to packages, or use C.UTF-8",
        )
    bring = distro.time_zone_packages
    if system.timezone not in ("UTC", "Etc/UTC") and bring and not packages & set(bring):
        yield Fault(
            ("system", "timezone"), f"'{system.timezone}' needs the time zone files", f"add {bring[0]} to packages"
        )


def _distribution(recipe: Recipe) -> Iterator[Fault]:
    distro, init, generator = distro_of(recipe), recipe.system.init, recipe.initramfs.generator
    yield from distro.contradictions(recipe)
    if init in distro.inits:
        yield from init_of(recipe).contradictions(recipe)
    else:
        owners = titles(other for other in DISTRIBUTIONS.values() if init in other.inits)
        yield Fault(("system", "init"), f"{init} is for {owners}'s derivatives", "remove it")
    if generator in distro.generators:
        yield from generator_of(recipe).contradictions(recipe)
    else:
        yield Fault(
            ("initramfs", "generator"),
            f"images of {distro.title} are made with {' or '.join(distro.generators)}",
            f"write initramfs: {{generator: {distro.generators[0]}}}",
        )


def _boot(recipe: Recipe) -> Iterator[Fault]:
    for position, word in enumerate(recipe.boot.cmdline):
        place: Place = ("boot", "cmdline", position)
        name = word.partition("=")[0]
        if name in _OURS and "=" in word:
            yield Fault(place, f"'{word}' cannot be set here: {_OURS[name]}", "remove it")
    if sum(len(word.encode()) + 1 for word in recipe.boot.cmdline) > _CMDLINE_LIMIT:
        yield Fault(
            ("boot", "cmdline"),
            f"more than {_CMDLINE_LIMIT} bytes of kernel arguments",
            "remove some: the kernel reads 2047 in all",
        )


def _loaders(recipe: Recipe) -> Iterator[Fault]:
    distribution = recipe.distribution
    there = [loader.name for loader in available(distribution.name, distribution.architecture)]
    for position, loader in enumerate(recipe.boot.loaders or ()):
        if loader not in there:
            yield Fault(
                ("boot", "loaders", position),
                f"{distro_of(recipe).title} has no package of {loader} for {distribution.architecture}",
                f"it has {', '.join(there)}: remove it, or leave the key out",
            )


_CHECKS = (
    _names,
    _repeated,
    _empty,
    _files,
    script_contradictions,
    _filesystems,
    network_contradictions,
    _system,
    group_contradictions,
    user_contradictions,
    _distribution,
    _boot,
    _loaders,
    root_contradictions,
)
