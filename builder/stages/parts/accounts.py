"""The recipe's users: part of configure."""

from __future__ import annotations

import posixpath
import stat

from builder.model.entry import TreeFile
from builder.render.image.accounts import GROUP, GSHADOW, PASSWD, SHADOW, Accounts, Home, authorized_keys, describe_user
from builder.stages.context import Context
from builder.system.tree import Tree

_SKELETON = "/etc/skel"
# what is written where a file is missing; shadow files are readable by the group that the packages made for it
_MODES = {PASSWD: 0o644, GROUP: 0o644, SHADOW: 0o600, GSHADOW: 0o600}


def set_accounts(context: Context, epoch: int) -> None:
    """Makes and changes the accounts, homes and authorized_keys; no account is left with an empty password."""
    tree, users = context.tree, context.recipe.system.users
    before = {path: content.decode("utf-8") for path in _MODES if (content := tree.read(path)) is not None}
    accounts = Accounts(before)
    accounts.add_groups(context.recipe.system.groups)
    homes = accounts.apply(users, epoch, _Shells(context))
    for name in accounts.close_open():
        context.sandbox.runner.say(f"the account {name} had an empty password: no password opens it now")
    for path, text in accounts.files().items():
        if before.get(path, "") != text:
            _replace(tree, path, text)
    for home in homes:
        context.sandbox.runner.say(f"user {describe_user(home.user)}")
        _furnish(context, home)


class _Shells:
    """The programs of the image and of the recipe's files."""

    def __init__(self, context: Context) -> None:
        self._tree = context.tree
        self._own = {file.path for file in context.recipe.files}

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and (path in self._own or self._tree.exists(path))


def _replace(tree: Tree, path: str, text: str) -> None:
    """Mode and owner stay: Debian's shadow is 0640 root:shadow, Arch's 0600."""
    try:
        there = (tree.root / path.lstrip("/")).lstat()
        mode, owner = stat.S_IMODE(there.st_mode), (there.st_uid, there.st_gid)
    except FileNotFoundError:
        mode, owner = _MODES[path], (0, 0)
    tree.write(TreeFile(path, text.encode(), mode, *owner))


def _furnish(context: Context, home: Home) -> None:
    tree = context.tree
    if home.is_new:
        tree.make_directory(home.path, 0o700, home.uid, home.gid)
        for path in tree.files(_SKELETON):
            content = tree.read(path)
            target = posixpath.join(home.path, posixpath.relpath(path, _SKELETON))
            if content is not None and not tree.exists(target):
                _make_parents(tree, home, target)
                mode = stat.S_IMODE((tree.root / path.lstrip("/")).lstat().st_mode)
                tree.write(TreeFile(target, content, mode, home.uid, home.gid))
    if home.user.ssh_keys:
        text = authorized_keys(home.user, context.recipe_file.sources)
        if not tree.exists(home.path):
            tree.make_directory(home.path, 0o700, home.uid, home.gid)
        tree.make_directory(f"{home.path}/.ssh", 0o700, home.uid, home.gid)
        tree.write(TreeFile(f"{home.path}/.ssh/authorized_keys", text.encode(), 0o600, home.uid, home.gid))


def _make_parents(tree: Tree, home: Home, target: str) -> None:
    parts = posixpath.relpath(posixpath.dirname(target), home.path).split("/")
    for count in range(1, len(parts) + 1):
        if parts != ["."]:
            tree.make_directory(posixpath.join(home.path, *parts[:count]), 0o755, home.uid, home.gid)
