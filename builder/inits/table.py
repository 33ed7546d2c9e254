"""Which init a recipe's word means, and which one a console is of."""

from __future__ import annotations

import re

from builder.inits.base import Init
from builder.inits.initscripts import Initscripts
from builder.inits.systemd import Systemd
from builder.model.recipe import InitName, Recipe

INITS: dict[InitName, Init] = {
    InitName.SYSTEMD: Systemd(),
    InitName.INITSCRIPTS: Initscripts(),
}


def init_of(recipe: Recipe) -> Init:
    """The init of a recipe."""
    return INITS[recipe.system.init]


def running_init(console: str) -> Init:
    """The init that speaks on a console; the usual one where none does, as on a quiet one."""
    return next((init for init in INITS.values() if re.search(init.speaks, console)), INITS[InitName.SYSTEMD])
