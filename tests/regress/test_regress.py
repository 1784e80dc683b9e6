"""Every statement of PostgreSQL's own regression tests through the judge, and what it calls harmless onto a server.

`./run test --long tests/regress` prints the figures; the texts that were judged wrong, or held though they are plain
reads, are in ~/.cache/pgnotary/regress/found. It needs Debian's PostgreSQL 15, apt and a mirror.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.regress.command import UNAVAILABLE, WHICH

TOP = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.parametrize("which", WHICH)
def test_what_postgresql_tests_itself_with_is_judged_without_a_mistake(
    which: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "tests.regress.command", which]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    if done.returncode == UNAVAILABLE:
        pytest.skip(f"no regression SQL of PostgreSQL 15 here: {done.stderr.strip()}")
    with capsys.disabled():
        print("\n" + done.stdout)
    assert done.returncode == 0, done.stderr
