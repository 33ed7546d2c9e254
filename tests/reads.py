"""How often a command opens the documents of versions, as strace(1) sees it: manifests, signatures, indexes."""

from __future__ import annotations

import collections
import re
import subprocess
import tempfile
from pathlib import Path

from builder.model.artifacts.manifest import INDEX, MANIFEST
from builder.output.given import SIGNATURE
from tests.images import DISKLESS

_DOCUMENTS = (INDEX, MANIFEST, SIGNATURE)
# by whatever name: openat(AT_FDCWD</cwd>, "/proc/self/fd/5", O_RDONLY|O_CLOEXEC) = 6</path/manifest.json>
_OPENED = re.compile(rf"openat2?\(.*?\b(O_[A-Z_|]+).* = \d+<([^>]*/(?:{'|'.join(map(re.escape, _DOCUMENTS))}))>")


def count_reads(*command: str | Path, status: int = 0, **places: Path) -> dict[str, int]:
    """Runs `diskless COMMAND` without a network; how often each document was opened for reading, by its path.

    status: the exit status that it must have

    A path begins with the name of the place that it is in; what is still being written has a random directory there,
    which becomes `*`.
    """
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as log:
        trace = ["strace", "-f", "-qq", "-y", "-z", "-e", "trace=openat,openat2", "-o", log.name]
        argv = [*trace, "unshare", "--net", DISKLESS, *command]
        done = subprocess.run(argv, capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == status, done.stderr
        opened = [found.groups() for line in log if (found := _OPENED.search(line))]
    paths = [path for flags, path in opened if "O_CREAT" not in flags and "O_PATH" not in flags]
    reads = collections.Counter(_shown(path, places) for path in paths)
    return dict(sorted(reads.items()))


def _shown(path: str, places: dict[str, Path]) -> str:
    for name, place in places.items():
        if path.startswith(f"{place}/"):
            return re.sub(r"/(\.tmp-|build-)[^/]*", "/*", f"{name}/{path.removeprefix(f'{place}/')}")
    return path
