"""What a foreign suite's run needs, and where it is told to connect."""

import sys
from pathlib import Path

import psycopg
import pytest
from tests.flow.served import Served
from tests.foreign.results import Outcome
from tests.foreign.robot import Robot
from tests.foreign.run import CannotRun, Runner
from tests.foreign.suites import SUITES, Place, Suite

from pgnotary.demo.postgres import EmbeddedPostgres

PLACE = Place.at("127.0.0.1:6432", "eva", "secret", "suite")


def runner(tmp_path: Path, suite: str = "psycopg") -> Runner:
    return Runner(SUITES[suite], tmp_path, Path(sys.executable), tmp_path)


@pytest.mark.parametrize(
    ("suite", "name", "expected"),
    [
        ("psycopg", "PSYCOPG_TEST_DSN", "host=127.0.0.1 port=6432 user=eva password=secret dbname=suite"),
        ("asyncpg", "PGHOST", "127.0.0.1"),
        ("asyncpg", "PGPORT", "6432"),
        ("asyncpg", "PGDATABASE", "suite"),
    ],
)
def test_each_suite_is_told_where_to_connect(suite: str, name: str, expected: str) -> None:
    assert SUITES[suite].environment(PLACE)[name] == expected


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    with pytest.raises(CannotRun, match=r"has no pyproject\.toml: expected a checkout of psycopg"):
        runner(tmp_path).check()


def test_a_python_without_the_driver_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    # What lies in the checkout is not what is installed.
    (tmp_path / "pyproject.toml").write_text("")
    with pytest.raises(CannotRun, match=r"has no psycopg_pool: install it there"):
        runner(tmp_path).check()


HANGING = """
import threading
import pytest

@pytest.fixture
def hanging():
    yield
    threading.Event().wait()

def test_one_that_hangs(hanging):
    try:
        threading.Event().wait()
    except BaseException:
        threading.Event().wait()

def test_another(request):
    import os
    assert os.environ["WHERE"] == "6432"
"""


def test_a_test_that_hangs_and_cannot_be_cleared_up_does_not_keep_the_others(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "tests").mkdir(parents=True)
    (checkout / "tests/test_x.py").write_text(HANGING)
    suite = Suite("x", ("tests",), (), (), lambda place: {"WHERE": str(place.port)})
    run = Runner(suite, checkout, Path(sys.executable), tmp_path, deadline_s=0.2)
    run.check()
    found = run.run("direct", PLACE)
    assert found["tests.test_x::test_another"].outcome is Outcome.PASSED
    late = "no end after 0.2 s"
    hanging = found["tests.test_x::test_one_that_hangs"]
    assert hanging.outcome is Outcome.ERROR
    assert late in hanging.reason


def test_a_suite_that_cannot_be_collected_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    suite = Suite("x", ("tests",), (), (), lambda _: {})
    with pytest.raises(CannotRun, match=r"direct: pytest ended with 5: .*no tests ran"):
        Runner(suite, tmp_path, Path(sys.executable), tmp_path).run("direct", PLACE)


def test_the_robot_approves_what_is_held(postgres: EmbeddedPostgres, database: str, tmp_path: Path) -> None:
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        connection.execute("CREATE TABLE orders AS SELECT generate_series(1, 3) AS id")
    with (
        Served(postgres, tmp_path / "pgnotary") as served,
        Robot(served) as robot,
        served.connect(database) as connection,
    ):
        assert connection.execute("DELETE FROM orders WHERE id < 3").rowcount == 2
        assert connection.execute("DROP TABLE orders").statusmessage == "DROP TABLE"
    assert robot.approved == 2
