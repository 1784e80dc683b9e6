"""`demo` by hand: the lines that it prints work where they are pasted, and nothing outlives it."""

import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.flow.by_hand import ByHand, demo_by_hand, say_yes
from tests.flow.served import until

from pgnotary.demo.postgres import EmbeddedPostgres

RUN = Path("run").absolute()
DEMO = [sys.executable, "-m", "pgnotary.cli", "demo"]


def pasted(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a line in a shell."""
    return subprocess.run(line, shell=True, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a blank in its name, and no program in it."""
    return tmp_path_factory.mktemp("my folder")


@pytest.fixture(scope="module")
def demo(elsewhere: Path) -> Iterator[ByHand]:
    """A demo that was started from there, on a machine without psql."""
    with demo_by_hand([*DEMO, "--keep", "kept here"], cwd=elsewhere, environment={"PATH": str(elsewhere)}) as demo:
        yield demo


def test_the_lines_can_be_pasted_in_the_order_that_they_are_printed(demo: ByHand, elsewhere: Path) -> None:
    assert "/psql " in demo.engineer
    read = pasted(f'{demo.engineer} -Atc "SELECT count(*) FROM orders"', elsewhere)
    assert read.stdout == "50000\n", read.stderr
    with subprocess.Popen(
        f"{demo.engineer} -X", shell=True, cwd=elsewhere, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as psql:
        try:
            assert psql.stdin is not None
            psql.stdin.write(demo.statement)
            psql.stdin.close()
            until(lambda: pasted(demo.show, elsewhere).returncode == 0, "the request")
            assert "approved  R-1" in say_yes(demo.approve, elsewhere)
            assert psql.stdout is not None
            assert psql.stdout.read().endswith("DELETE 1250\n")
        finally:
            psql.kill()
    verified = pasted(demo.auditor, elsewhere)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_the_program_in_the_lines_is_called_as_it_can_be_from_there(demo: ByHand) -> None:
    assert demo.auditor.startswith(f"{shlex.quote(str(RUN))} verify --config 'kept here/")


def test_where_run_stands_it_is_called_shortly_and_ctrl_c_ends_everything() -> None:
    with demo_by_hand(["./run", "demo"]) as demo:
        assert demo.auditor.startswith("./run verify ")
        folder = demo.config.parent
        upstream = folder.joinpath("pgnotary.toml").read_text().split('[upstream]\naddress = "127.0.0.1:')[1]
        assert demo.interrupt() == 0
    assert not folder.exists()
    for port in (demo.port, int(upstream.split('"')[0])):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def test_a_port_that_somebody_else_has_is_an_error_and_nothing_to_paste_is_printed(
    postgres: EmbeddedPostgres,
) -> None:
    done = subprocess.run(
        [*DEMO, "--port", str(postgres.port)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"cannot listen at 127.0.0.1 port {postgres.port}: address already in use" in done.stderr
    assert "Traceback" not in done.stderr
