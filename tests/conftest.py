"""For all tests: a test that cannot run says why, and where BUILDER_REQUIRE is set that is a failure."""

from __future__ import annotations

import contextlib
import locale
import os
import stat
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from builder.system.private_mounts import private_mounts
from builder.system.sandbox.init import MS_BIND, mount
from builder.system.userns.ids import find_ids
from builder.system.userns.inside import call_inside
from tests.images import STARTED_UMASK
from tests.scratch import remove_places, scratch

# as the program itself has it: what the tests make is read by others, and only the program is asked under the user's
os.environ.setdefault(STARTED_UMASK, f"{os.umask(0o022):o}")
os.umask(0o022)
# what commands remember of channels is not this machine's
os.environ["DISKLESS_STATE"] = str(scratch() / "state")
with contextlib.suppress(locale.Error):
    locale.setlocale(locale.LC_CTYPE, "C.UTF-8")


# what sudo says of its user changes hints, and HOME is that user's: root leaves nothing there
for name in ("SUDO_UID", "SUDO_GID", "SUDO_USER", "SUDO_COMMAND"):
    if os.environ.pop(name, None) is not None:
        os.environ["HOME"] = str(scratch())


_SAME_IMAGE = ("/builds/test_build.py", "/builds/test_same_version.py")


class Modules(LoadScopeScheduling):  # type: ignore[misc]
    """Of two processes (`pytest -n 2`) each runs whole modules, since the tests of one share what they build.

    All that boot run in one process: two guests at once take more than twice the time of one. So do those that compare
    with the same image, which is built once in each process.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        if module.endswith(_SAME_IMAGE):
            return "build"
        return "boot" if module.startswith("tests/e2e/") or module.endswith("/test_arch_build.py") else module


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Modules:
    return Modules(config, log)


@pytest.fixture
def tun() -> Generator[None, None, None]:
    """Lets /dev/net/tun be open to everybody for the test, as udev has it on every host with a network."""
    node = Path("/dev/net/tun")
    if not node.exists():
        pytest.skip("/dev/net/tun is missing here")
    with private_mounts():
        place = scratch() / "tun"
        if not place.exists():
            os.mknod(place, stat.S_IFCHR | 0o666, node.stat().st_rdev)
            place.chmod(0o666)
        mount(str(place), str(node), flags=MS_BIND)
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test with the mark `inside` runs in a user namespace, where the stages of a build and its sandbox do."""
    if pyfuncitem.get_closest_marker("inside") is None:
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    def run() -> None:
        pyfuncitem.obj(**arguments)

    call_inside(find_ids(), run)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("BUILDER_REQUIRE"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"{item.nodeid} must run here, but was: {reason}"
    return report


@pytest.fixture(scope="module", autouse=True)
def _places() -> Iterator[None]:
    yield
    remove_places()
