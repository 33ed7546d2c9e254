"""A lab leaves nothing behind, and knows nothing of another lab."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.images import debian_image, descendants, loop_devices, run_diskless, running_diskless, wait_until_gone
from tests.require import needs_boot
from tests.scratch import scratch

pytestmark = [*needs_boot, pytest.mark.full]


def host_state() -> tuple[str, str]:
    """Mounts and links of the host."""
    links = subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, encoding="utf-8").stdout
    return Path("/proc/self/mountinfo").read_text(encoding="utf-8"), links


@pytest.mark.parametrize(("moment", "least"), [("unpack ...", 2), ("kernel", 6), ("init", 6)])
def test_kill_leaves_nothing(moment: str, least: int) -> None:
    before = host_state()
    cache = scratch() / "killed-boot"
    with running_diskless("boot", debian_image(), "--cache", cache) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.strip().endswith(moment):
                break
        running = descendants(process.pid)
        assert len(running) >= least
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert wait_until_gone(running) == set()
    assert host_state() == before
    assert loop_devices(cache) == []
    left = set((cache / "boot").glob("build-*"))
    assert len(left) == 1
    nothing = run_diskless("boot", debian_image(), "--cache", cache, "--timeout", "1")
    assert nothing.returncode == 6, nothing.stderr
    assert not list((cache / "boot").glob("build-*"))


def test_two_labs_at_once() -> None:
    arguments: list[str | Path] = ["boot", debian_image(), "--cache", scratch() / "two", "--json", "--timeout", "600"]
    logs = [scratch() / "one.log", scratch() / "two.log"]
    with (
        running_diskless(*arguments, "--console-log", logs[0]) as one,
        running_diskless(*arguments, "--console-log", logs[1]) as two,
    ):
        time.sleep(1)
        results = [json.loads(process.communicate()[0]) for process in (one, two)]
        assert [one.returncode, two.returncode] == [0, 0]
    assert results[0]["address"] == results[1]["address"]


def test_a_machine_that_qemu_cannot_make_is_its_error() -> None:
    result = run_diskless("boot", debian_image(), "--cache", scratch() / "no-machine", "--nic", "nosuch")
    assert result.returncode == 3
    assert "'nosuch' is not a valid device model name" in result.stderr
