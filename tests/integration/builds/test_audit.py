"""Audit: what is private is found where it lies, and not through links."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.stages.audit import leftovers
from tests.require import needs_root
from tests.stages import staged

pytestmark = [needs_root, pytest.mark.root, pytest.mark.inside]
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\n"


def test_a_program_that_knows_the_words_is_no_key(tmp_path: Path) -> None:
    with staged(tmp_path) as context:
        tree = context.workspace.tree
        program, link = tree / "usr/bin/ssh", tree / "etc/alternatives/rlogin"
        program.parent.mkdir(parents=True)
        link.parent.mkdir()
        program.write_text(KEY, "ascii")
        link.symlink_to("/usr/bin/ssh")
        assert not [line for line in leftovers(context.tree, context.recipe, {}) if "private key" in line]
        link.unlink()
        link.write_text(KEY, "ascii")
        found = leftovers(context.tree, context.recipe, {})
        assert "/etc/alternatives/rlogin: a private key (PEM)" in found
