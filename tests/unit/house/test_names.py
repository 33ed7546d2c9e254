"""One word, one thing: a name at the top of a module means the same wherever it is read."""

from __future__ import annotations

import ast
import collections
from pathlib import Path

from tests.images import ROOT

# a stage is run by this name, a use case is called as its command is, and each program of the sandbox has its main
MANY = {"run", "main"}
# functions that do the same for another thing
SIBLINGS = {
    "describe_json",  # a result as --json prints it
    "describe_text",  # a result as people read it
    "summarize",  # closing lines of a command
    "preflight",  # what a use case asks of this host before it begins
    "explain_unknown",  # what a package manager's last lines mean
    "resolver_config",  # the configuration of a package manager that resolves
}


def names_of(path: Path) -> set[str]:
    """The public classes, functions and tables of a module."""
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in found if not name.startswith("_")}


def test_no_name_has_two_meanings() -> None:
    homes = collections.defaultdict(list)
    for path in sorted((ROOT / "builder").rglob("*.py")):
        if path.name != "__init__.py":
            for name in names_of(path):
                homes[name].append(path.relative_to(ROOT / "builder"))
    twice = {}
    for name, paths in homes.items():
        # a command and its use case share their name
        others = [path for path in paths if path.parts[0] != "cli" or len(paths) == 1]
        if len(others) > 1 and name not in MANY | SIBLINGS and name not in ("T", "TOOLS"):
            twice[name] = [str(path) for path in others]
    assert twice == {}
