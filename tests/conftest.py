"""For all tests: a test that cannot run says why, and where BUILDER_REQUIRE is set that is a failure."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator

import pytest

from tests.images import scratch

# modules that use the same image, which then is built once; every other module is a group of its own
_GROUPS = {"test_arch_boot": "arch", "test_arch_build": "arch", "test_boot": "debian", "test_build": "debian"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups tests for `pytest -n 2 --dist loadgroup`: each group runs in one process, in order."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_GROUPS.get(item.path.stem, item.path.stem)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("BUILDER_REQUIRE"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"{item.nodeid} must run here, but was: {reason}"
    return report


@pytest.fixture(scope="session", autouse=True)
def _remove_scratch() -> Iterator[None]:
    yield
    if scratch.cache_info().currsize:
        shutil.rmtree(scratch(), ignore_errors=True)
