"""`pgnotary explain`, by hand and over a file."""

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pgnotary.cli import pgnotary


def _explain(*words: str, stdin: bytes = b"") -> Result:
    result = CliRunner().invoke(pgnotary, ["explain", *words], input=io.BytesIO(stdin), prog_name="pgnotary")
    assert isinstance(result.exception, SystemExit | None)
    return result


_LINES = b"""{"sql": "SELECT 1"}
{"sql": "DELETE FROM orders", "id": 7}
{"sql": "LISTEN \\u0000"}
{"sql": "\\ud800"}
{"sql": ""}
"""


def _verdicts(result: Result) -> list[str]:
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert all(list(each) == ["verdict", "class", "reason"] for each in told)
    assert all(isinstance(value, str) for each in told for value in each.values())
    return [each["verdict"] for each in told]


def test_each_line_is_answered_with_exactly_verdict_class_and_reason_in_order(tmp_path: Path) -> None:
    path = tmp_path / "statements.jsonl"
    path.write_bytes(_LINES)
    result = _explain("--jsonl", str(path))
    assert (result.exit_code, result.stderr) == (0, "")
    assert _verdicts(result) == ["forward", "hold", "refuse", "refuse", "forward"]


def test_a_dash_reads_stdin() -> None:
    result = _explain("--jsonl", "-", stdin=_LINES)
    assert (result.exit_code, len(_verdicts(result))) == (0, 5)


def test_a_blank_line_is_passed_over_and_ends_nothing() -> None:
    result = _explain("--jsonl", "-", stdin=b'\n{"sql": "SELECT 1"}\r\n \n\n{"sql": "DROP TABLE t"}')
    assert (result.exit_code, _verdicts(result)) == (0, ["forward", "hold"])


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"DELETE FROM orders", "not JSON"),
        (b'{"sql": "SELECT 1"', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'\xef\xbb\xbf{"sql": "SELECT 1"}', "not JSON"),
        (b'{"sql": "\xff"}', "byte 10 is not UTF-8"),
        (b'{"query": "SELECT 1"}', "an object without a key named sql"),
        (b'["SELECT 1"]', "an array without a key named sql"),
        (b'"SELECT 1"', "a string without a key named sql"),
        (b"null", "null without a key named sql"),
        (b'{"sql": null}', "sql is null"),
        (b'{"sql": true}', "sql is true"),
        (b'{"sql": 1}', "sql is a number"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_after_those_before_it_were_answered(line: bytes, says: str) -> None:
    result = _explain("--jsonl", "-", stdin=b'{"sql": "SELECT 1"}\n\n' + line + b'\n{"sql": "SELECT 2"}\n')
    assert result.exit_code == 2
    assert _verdicts(result) == ["forward"]
    assert result.stderr.startswith(f"pgnotary: --jsonl: line 3: {says}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [(), ("SELECT 1", "--jsonl", "-"), ("--jsonl", "/no/such/file")])
def test_neither_both_nor_a_missing_file_is_wrong_usage(words: tuple[str, ...]) -> None:
    result = _explain(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith("pgnotary: ")


def test_a_name_in_a_reason_moves_no_cursor() -> None:
    result = _explain('SELECT "\x9b2J\u202e"()')
    assert result.exit_code == 0
    assert "\x9b" not in result.stdout
    assert "\u202e" not in result.stdout
    assert "hold" in result.stdout
