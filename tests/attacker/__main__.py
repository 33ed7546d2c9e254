"""python -m tests.attacker PLAN: attacks the server that runs here, and prints the report as its last line."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from tests.attacker.attack import Attack
from tests.attacker.plan import VICTIM, parse_plan


def main() -> None:
    if not Path(VICTIM).exists():
        sys.exit(f"no {VICTIM} here: the attacker would write to whatever it reaches")
    attack = Attack(parse_plan(sys.argv[1]))
    attack.forge()
    attack.generate()
    sys.stdout.write(json.dumps(dataclasses.asdict(attack.finish())) + "\n")


if __name__ == "__main__":
    main()
