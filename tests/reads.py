"""How often a command opens the documents of versions, as strace(1) sees it: manifests, signatures, indexes."""

from __future__ import annotations

import collections
import re
import subprocess
import tempfile
from pathlib import Path

from builder.model.artifacts.manifest import INDEX, MANIFEST
from builder.output.source import SIGNATURE
from tests.images import DISKLESS

_DOCUMENTS = (INDEX, MANIFEST, SIGNATURE)
_OPENED = re.compile(rf'open(?:at)?\((?:[^"]*, )?"([^"]*/(?:{"|".join(map(re.escape, _DOCUMENTS))}))", ([A-Z_|]+)')


def count_reads(*command: str | Path, status: int = 0, **places: Path) -> dict[str, int]:
    """Runs `diskless COMMAND` without a network; how often each document was opened for reading, by its path.

    status: the exit status that it must have

    A path begins with the name of the place that it is in; what is still being written has a random directory there,
    which becomes `*`.
    """
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as log:
        trace = ["strace", "-f", "-qq", "-z", "-e", "trace=open,openat", "-o", log.name]
        argv = [*trace, "unshare", "--net", DISKLESS, *command]
        done = subprocess.run(argv, capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == status, done.stderr
        opened = [found.groups() for line in log if (found := _OPENED.search(line))]
    reads = collections.Counter(_shown(path, places) for path, flags in opened if "O_CREAT" not in flags)
    return dict(sorted(reads.items()))


def _shown(path: str, places: dict[str, Path]) -> str:
    for name, place in places.items():
        if path.startswith(f"{place}/"):
            return re.sub(r"/(\.tmp-|build-)[^/]*", "/*", f"{name}/{path.removeprefix(f'{place}/')}")
    return path
