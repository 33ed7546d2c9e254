"""Accounts: what is written into the four files, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from builder.errors import InputError
from builder.model.recipe.account import Group, User
from builder.render.image.accounts import GROUP, GSHADOW, PASSWD, SHADOW, Accounts, authorized_keys, describe_user

DAY = 20000
EPOCH = DAY * 86400 + 4711
HASH = "$6$salt$" + "x" * 86
DEBIAN = {
    PASSWD: "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n",
    GROUP: "root:x:0:\ndaemon:x:1:\naudio:x:29:pulse\nvideo:x:44:\n",
    SHADOW: "root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n",
    GSHADOW: "root:*::\ndaemon:*::\naudio:*::pulse\nvideo:*::\n",
}
ARCH = {
    PASSWD: "root:x:0:0::/root:/usr/bin/bash\nbin:x:1:1::/:/usr/bin/nologin\n",
    GROUP: "root:x:0:root\naudio:x:996:\n",
    SHADOW: "root::14871::::::\nbin:!*:19000::::::\n",
}
SHELLS = {"/bin/sh", "/bin/bash", "/usr/bin/zsh"}


def applied(files: dict[str, str], *users: dict[str, Any], shells: set[str] = SHELLS) -> dict[str, list[str]]:
    accounts = Accounts(files)
    accounts.apply([User(**user) for user in users], EPOCH, shells)
    return {path: text.splitlines() for path, text in accounts.files().items()}


def test_without_users_nothing_changes() -> None:
    accounts = Accounts(DEBIAN)
    assert accounts.apply([], EPOCH, SHELLS) == []
    assert accounts.close_open() == []
    assert accounts.files() == DEBIAN


def test_a_new_user_gets_numbers_a_group_and_a_day_that_is_the_epochs() -> None:
    files = applied(DEBIAN, {"name": "alice", "password_hash": HASH}, {"name": "bob"})
    assert files[PASSWD][-2:] == ["alice:x:1000:1000::/home/alice:/bin/bash", "bob:x:1001:1001::/home/bob:/bin/bash"]
    assert files[GROUP][-2:] == ["alice:x:1000:", "bob:x:1001:"]
    assert files[SHADOW][-2:] == [f"alice:{HASH}:{DAY}:0:99999:7:::", f"bob:*:{DAY}:0:99999:7:::"]
    assert files[GSHADOW][-2:] == ["alice:!::", "bob:!::"]


def test_given_numbers_are_kept_free_for_who_has_them() -> None:
    files = applied(DEBIAN, {"name": "alice"}, {"name": "bob", "uid": 1000})
    assert [line.split(":")[2] for line in files[PASSWD][-2:]] == ["1001", "1000"]


def test_groups_list_their_members_once() -> None:
    files = applied(DEBIAN, {"name": "alice", "groups": ("audio", "video")}, {"name": "pulse", "groups": ("audio",)})
    assert {"audio:x:29:pulse,alice", "video:x:44:alice"} <= set(files[GROUP])
    assert {"audio:*::pulse,alice", "video:*::alice"} <= set(files[GSHADOW])


def test_root_of_arch_is_shut_or_gets_the_password() -> None:
    accounts = Accounts(ARCH)
    assert accounts.close_open() == ["root"]
    assert "root:*:14871::::::\n" in accounts.files()[SHADOW]
    assert applied(ARCH, {"name": "root", "password_hash": HASH})[SHADOW][0] == f"root:{HASH}:{DAY}::::::"
    assert applied(ARCH, {"name": "root", "shell": "/usr/bin/zsh"})[PASSWD][0] == "root:x:0:0::/root:/usr/bin/zsh"
    assert GSHADOW not in applied(ARCH, {"name": "alice"})


def test_a_password_field_of_passwd_that_is_empty_is_shut_too() -> None:
    accounts = Accounts({**ARCH, PASSWD: "root::0:0::/root:/bin/sh\n+::::::\n"})
    assert accounts.close_open() == ["root"]
    assert accounts.files()[PASSWD] == "root:x:0:0::/root:/bin/sh\n+::::::\n"


def test_a_group_that_has_the_number_already_is_no_obstacle() -> None:
    files = applied({**DEBIAN, GROUP: DEBIAN[GROUP] + "staff:x:1000:\nbob:x:7:\n"}, {"name": "alice"}, {"name": "bob"})
    assert files[PASSWD][-2:] == ["alice:x:1000:1001::/home/alice:/bin/bash", "bob:x:1001:7::/home/bob:/bin/bash"]


@pytest.mark.parametrize(
    ("user", "words", "hint"),
    [
        ({"name": "alice", "groups": ("vidoe",)}, "alice cannot be in vidoe", "did you mean video?"),
        ({"name": "alice", "groups": ("zzzzz",)}, "has no such group", "add the package"),
        ({"name": "alice", "shell": "/usr/bin/fish"}, "the image has no /usr/bin/fish for alice", "add the package"),
        ({"name": "daemon", "uid": 1005}, "the packages gave daemon the uid 1, not 1005", "remove its uid"),
        ({"name": "alice", "uid": 1}, "uid 1 of alice is daemon's", "choose another number"),
    ],
)
def test_what_the_image_has_not_is_refused(user: dict[str, Any], words: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        applied(DEBIAN, user)
    assert words in caught.value.message
    assert hint in (caught.value.hint or "")


def test_without_bash_it_is_sh() -> None:
    assert applied(DEBIAN, {"name": "alice"}, shells={"/bin/sh"})[PASSWD][-1].endswith(":/bin/sh")


def test_authorized_keys_are_lines_and_the_lines_of_files() -> None:
    line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDah5vxWpLY64+CQh5jUQ5xnc5WSNklYenijjkkllyfT admin"
    user = User(name="root", ssh_keys=(line, "files/more.pub"))
    content = f'# more\r\n\n{line}\nfrom="10.0.0.*" ssh-rsa AAAA= two\n'.encode()
    assert authorized_keys(user, {"files/more.pub": content}) == (
        f'{line}\n# more\nfrom="10.0.0.*" ssh-rsa AAAA= two\n'
    )


def test_a_description_has_no_secret() -> None:
    user = User(name="alice", ssh_keys=("k.pub",), password_hash=HASH, groups=("audio",))
    assert describe_user(user) == "alice: 1 ssh key(s) and a password, also in audio"
    assert describe_user(User(name="bob")) == "bob: no way to log in"


def with_groups(*groups: tuple[str, int], files: dict[str, str] = DEBIAN) -> Accounts:
    accounts = Accounts(files)
    accounts.add_groups([Group(name=name, gid=gid) for name, gid in groups])
    return accounts


def test_groups_get_their_numbers_and_members() -> None:
    accounts = with_groups(("lab", 70000), ("video", 44))
    accounts.apply([User(name="alice", groups=("lab",)), User(name="lab")], EPOCH, SHELLS)
    files = {path: text.splitlines() for path, text in accounts.files().items()}
    assert files[GROUP][-2:] == ["lab:x:70000:alice", "alice:x:1000:"]
    assert files[GSHADOW][-2:] == ["lab:!::alice", "alice:!::"]
    # the group of an account's own name is its own
    assert files[PASSWD][-1].startswith("lab:x:1001:70000:")
    assert "video:x:44:" in files[GROUP]


@pytest.mark.parametrize(
    ("group", "words"),
    [(("video", 45), "the packages gave video the gid 44, not 45"), (("lab", 29), "gid 29 of lab is audio's")],
)
def test_a_group_whose_number_cannot_be_had(group: tuple[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        with_groups(group)
