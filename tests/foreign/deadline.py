"""A plugin of pytest that ends each phase of a test which takes too long: its making ready, itself, its clearing up.

Copied beside a foreign suite and loaded in the Python that runs it; it needs pytest alone. A proxy that is wrong makes
clients wait for ever, in the test and once more when the test's connection is closed, and the rest shall still run.
FOREIGN_DEADLINE_S says how long. Main thread only, and not on Windows: a timer's signal interrupts what waits.
"""

import os
import signal
from collections.abc import Generator
from types import FrameType

import pytest

_DEADLINE_S = float(os.environ.get("FOREIGN_DEADLINE_S", "60"))


def _late(_number: int, _frame: FrameType | None) -> None:
    pytest.fail(f"no end after {_DEADLINE_S:g} s")


def _timed() -> Generator[None, object, object]:
    before = signal.signal(signal.SIGALRM, _late)
    # Again and again: what catches everything may have caught the first one.
    signal.setitimer(signal.ITIMER_REAL, _DEADLINE_S, _DEADLINE_S)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    return (yield from _timed())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    return (yield from _timed())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, object, object]:
    return (yield from _timed())
