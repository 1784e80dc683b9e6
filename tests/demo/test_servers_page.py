"""docs/servers.md is true: PGNOTARY_PG_BIN chooses the server of the tests, and nothing takes its place."""

import subprocess
from pathlib import Path

from tests.pages import TOP, Page

PAGE = "servers.md"


def test_the_tests_run_on_the_server_that_is_named_and_on_no_other(page: Page, tmp_path: Path) -> None:
    shown = page.take("PGNOTARY_PG_BIN=FOLDER ")
    *most, last = [word for word in shown.text.split() if word.startswith("tests/")]
    assert [path for path in (*most, last) if not (TOP / path).exists()] == []
    # One of them is enough, since there is no server in that folder, and none is looked for elsewhere.
    command = shown.line({"FOLDER": tmp_path} | {f"{path} ": "" for path in most})
    done = subprocess.run(
        command,
        shell=True, cwd=TOP, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert f"no initdb and postgres found in PGNOTARY_PG_BIN ({tmp_path})" in done.stdout + done.stderr
