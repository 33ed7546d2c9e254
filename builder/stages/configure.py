"""configure: the recipe's files and services."""

from __future__ import annotations

from builder.distributions.table import distro_of
from builder.errors import InputError
from builder.inits.base import Init
from builder.inits.table import init_of
from builder.model.entry import TreeLink
from builder.model.text.suggestion import suggest
from builder.render.image.entries import image_entries
from builder.render.image.system import BUILT_IN_LOCALES
from builder.stages.context import Context
from builder.stages.parts.accounts import set_accounts
from builder.stages.parts.services import service_names

_CLIENT = "network.client"


def run(context: Context, epoch: int) -> None:
    """Makes the accounts, writes every generated and every own file, then enables and masks units."""
    with context.progress.step("configure"):
        _check_timezone(context)
        set_accounts(context, epoch)
        entries = image_entries(context.recipe, context.recipe_file.sources, context.recipe_file.large)
        for entry in distro_of(context.recipe).complete(context.recipe, entries, context.tree.read):
            context.tree.write(entry)
        _generate_locale(context)
        _set_services(context)


def _check_timezone(context: Context) -> None:
    timezone = context.recipe.system.timezone
    if timezone not in ("UTC", "Etc/UTC") and not context.tree.exists(f"/usr/share/zoneinfo/{timezone}"):
        area = timezone.rpartition("/")[0]
        known = [f"{area}/{name}" if area else name for name in context.tree.names(f"/usr/share/zoneinfo/{area}")]
        raise InputError(f"system.timezone: there is no time zone {timezone!r}", _did_you_mean(timezone, known))


def _generate_locale(context: Context) -> None:
    if context.recipe.system.locale in BUILT_IN_LOCALES or not context.tree.exists("/usr/sbin/locale-gen"):
        return
    context.sandbox.run(
        ["locale-gen"], chroot=context.workspace.tree, hint="see /usr/share/i18n/SUPPORTED for the names"
    )


def _set_services(context: Context) -> None:
    init, system = init_of(context.recipe), context.recipe.system
    services = init.enabled(context.recipe)
    for name in services:
        _check_service(context, init, name, "system.services" if name in system.services else _CLIENT)
    if services:
        context.sandbox.run([*init.enable, *services], chroot=context.workspace.tree)
    if init.mask_directory is None:
        return
    for name in system.masked:
        unit = _check_service(context, init, name, "system.masked")
        context.tree.write(TreeLink(f"{init.mask_directory}/{unit}", "/dev/null"))


def _check_service(context: Context, init: Init, name: str, key: str) -> str:
    """The whole name of a service that is there, or whose template is."""
    unit = init.full_name(name)
    known = service_names(context.tree, init)
    if not init.file_names(unit) & set(known):
        if key == _CLIENT:
            hint = "add the package that brings it to packages, or choose another client"
            raise InputError(f"{key}: no package brings the {init.kind} {unit}", hint)
        kinds = (".service", f".{unit.rpartition('.')[2]}")
        raise InputError(
            f"{key}: no package brings the {init.kind} {unit}",
            _did_you_mean(unit, [name for name in known if "." not in unit or name.endswith(kinds)]),
        )
    return unit


def _did_you_mean(word: str, known: list[str]) -> str:
    return suggest(word, known) or "add the package that brings it to packages"
