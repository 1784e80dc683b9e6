"""docs/drivers.md is true: its commands start, and say what they lack where there is no checkout."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.foreign.command import UNAVAILABLE
from tests.foreign.suites import SUITES
from tests.pages import TOP, Page

PAGE = "drivers.md"


@pytest.mark.parametrize("suite", SUITES)
def test_each_suite_says_what_it_lacks(suite: str, page: Page, tmp_path: Path) -> None:
    command = page.take(f"python -m tests.foreign.command {suite} ")
    program, *words = command.words({"CHECKOUT": tmp_path, "PYTHON": sys.executable})
    assert program == "python"
    done = subprocess.run(
        [sys.executable, *words],
        cwd=TOP, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (UNAVAILABLE, "")
    assert done.stderr.startswith(f"{tmp_path} has no ")
