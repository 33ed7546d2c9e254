"""A script with `network: true` reaches the network through pasta, and neither the host nor the host it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from builder.system.run import Runner
from tests.images import ROOT
from tests.integration.builds.test_sandbox import make_box
from tests.require import needs_root, needs_tool
from tests.scratch import scratch

pytestmark = [
    needs_root,
    needs_tool("unshare", "setpriv", "pasta", "ip", "python3"),
    pytest.mark.root,
    pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="/dev/net/tun is missing here"),
]


def test_the_network_and_not_the_host() -> None:
    work = scratch() / "outside" / "work"
    work.parent.mkdir()
    with Runner(work.parent / "log") as runner:
        make_box(runner, work)
    done = subprocess.run(
        ["unshare", "--mount", "--net", sys.executable, "-m", "tests.outside", work],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr + (work.parent / "outside.log").read_text("utf-8")
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["seen"].pop("gateway") in ("ConnectionRefusedError", "TimeoutError")
    assert report["seen"] == {
        "name": "192.0.2.99",
        "outside": "outside",
        "loopback": "ConnectionRefusedError",
        "own address": "ConnectionRefusedError",
        "abstract": "ConnectionRefusedError",
    }
    assert report["reached"] == []
    assert subprocess.run(["pgrep", "-x", "pasta"], stdout=subprocess.DEVNULL, check=False).returncode == 1
