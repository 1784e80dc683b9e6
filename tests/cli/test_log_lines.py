"""The log: one line for each event, its fields shown, nothing in them that could pose as something else."""

import io
import logging
from collections.abc import Iterator

import pytest

from pgnotary.cli.log_lines import LogLine


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a logger called `tests.log` writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LogLine())
    logger = logging.getLogger("tests.log")
    logger.addHandler(handler)
    logger.propagate = False
    yield stream
    logger.removeHandler(handler)


log = logging.getLogger("tests.log")


def test_a_line_shows_the_fields_that_came_with_the_event(written: io.StringIO) -> None:
    log.warning("connection ended", extra={"client": "127.0.0.1:4711", "why": "it left", "rows": 3})
    line = written.getvalue()
    assert line.endswith(' WARNING tests.log: connection ended client=127.0.0.1:4711 why="it left" rows=3\n')
    assert line[:11].endswith("T")
    assert line.split()[0].endswith("Z")


@pytest.mark.parametrize(
    "value", ["a\nb", "a\r", "\x1b[2J", "a\u2028b", "a\u202eb", "\ud800", "", "a b", 'a"b', "a=b", "a\\", "Zoë"]
)
def test_no_value_ends_a_line_or_looks_like_another_field(written: io.StringIO, value: str) -> None:
    log.warning("came", extra={"user": value})
    line = written.getvalue()
    assert line.count("\n") == 1
    assert line.isascii()
    assert line.rstrip("\n").isprintable()
    shown = line.rstrip("\n").partition(" user=")[2]
    assert shown.startswith('"')
    assert shown.endswith('"')
    assert '"' not in shown[1:-1].replace('\\"', "").replace("\\\\", "")


def test_a_fault_of_our_own_shows_its_traceback_below_the_line(written: io.StringIO) -> None:
    try:
        raise ValueError("oops")
    except ValueError:
        log.exception("connection failed", extra={"client": "c"})
    first, *rest = written.getvalue().splitlines()
    assert first.endswith("connection failed client=c")
    assert rest[0].startswith("Traceback")
    assert rest[-1] == "ValueError: oops"
