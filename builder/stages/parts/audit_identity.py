"""Whether clients would share a key, a secret or an id that only one machine should have: part of audit.

It is looked for in what no package brought, since that was made here; and where configuration lies, in all files. What
packages bring elsewhere (manuals, examples, keys of tests) is everybody's, and no identity.
"""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterator

from builder.identity.marks import id_in, secret_in
from builder.identity.private_keys import private_key_in
from builder.system.tree import Tree

_LARGEST = 1 << 20  # bytes: what is larger is no key
# where the line that begins a key says enough, whoever brought the file
_CONFIGURATION = ("/etc/", "/root/")
# where a machine keeps what is its own
_STATE = (*_CONFIGURATION, "/var/", "/home/", "/srv/", "/opt/", "/usr/local/")
_DATABASES = ("/var/lib/dpkg/", "/var/lib/pacman/", "/var/lib/ucf/", "/var/lib/apt/")
# secrets that every system has, and that other checks look at
_USUAL = ("/etc/shadow", "/etc/gshadow", "/etc/machine-id", "/etc/sudoers")
_COMPILED = "/__pycache__/"  # of a source beside it
_OTHERS_READ = stat.S_IROTH


def identity_faults(tree: Tree, owned: Collection[str], meant: Collection[str]) -> Iterator[str]:
    """A line for each file that would make all clients one machine.

    owned: what packages brought; meant: what the recipe brings or allows
    """
    for path in tree.files("/"):
        if path in meant or path.startswith(_DATABASES) or _COMPILED in path:
            continue
        is_owned, is_configuration = path in owned, path.startswith(_CONFIGURATION)
        if is_owned and not is_configuration:
            continue
        info = tree.status(path)
        if not stat.S_ISREG(info.st_mode) or not 0 < info.st_size <= _LARGEST:
            continue
        content = tree.read(path) or b""
        what = _fault(path, content, info.st_mode, is_owned=is_owned)
        if what is not None:
            yield f"{path}: {what}"


def _fault(path: str, content: bytes, mode: int, *, is_owned: bool) -> str | None:
    key = private_key_in(content, marks=path.startswith(_CONFIGURATION) and not is_owned)
    if key is not None:
        return f"a private key ({key})"
    if is_owned or path in _USUAL or not path.startswith(_STATE):
        return None
    found = id_in(path, content)
    if found is None and not mode & _OTHERS_READ:
        found = secret_in(path, content)
    return found
