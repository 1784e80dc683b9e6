"""How the figures are shown."""

import json
from pathlib import Path

from tests.regress.tally import Finding, Tally


def test_reasons_are_counted_by_their_kind_whatever_they_name() -> None:
    why = "it calls {}, which is not on the list"
    held = [Finding("a.sql", n, "SELECT 1", why.format(name)) for n, name in enumerate(("a.f", "g", "g"), 1)]
    rows = [row.split() for row in Tally(reads=6, held=held).rows()]
    assert "3 it calls ..., which is not on the list".split() in rows
    assert "2 it calls g, which is not on the list".split() in rows
    assert "plain reads held 3 (50.00%)".split() in rows


def test_a_wrong_judgement_is_shown_and_written_with_its_place(tmp_path: Path) -> None:
    tally = Tally(wrong=[Finding("a.sql", 7, "SELECT\n w()", "25006")])
    assert "  wrong: a.sql:7 25006: SELECT w()" in tally.rows()
    tally.write(tmp_path, "x")
    (line,) = (tmp_path / "x-wrong.jsonl").read_text().splitlines()
    assert json.loads(line) == {"script": "a.sql", "line": 7, "text": "SELECT\n w()", "why": "25006"}


def test_without_reads_no_share_is_held() -> None:
    assert Tally().held_share == 0.0
