"""For all tests: a test that cannot run says why, and where BUILDER_REQUIRE is set that is a failure."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator

import pytest

from tests.images import scratch


@pytest.hookimpl(tryfirst=True)  # before the plugin looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups tests for `pytest -n 2 --dist loadgroup`: each group runs in one process, in order.

    A module is a group. All that boot are one: two guests at once take more than twice the time of one.
    """
    for item in items:
        boots = item.get_closest_marker("boot") is not None or item.path.stem == "test_arch_build"  # uses their image
        item.add_marker(pytest.mark.xdist_group("boot" if boots else item.path.stem))


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
