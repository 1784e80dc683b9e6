"""The benchmark of previews still runs, and each of its figures is there."""

import re

import pytest
from bench.preview import main

_STATEMENTS = 8
_OTHERS = 6


def test_each_part_of_a_preview_has_a_time_and_others_are_asked(capsys: pytest.CaptureFixture[str]) -> None:
    main("--rows 1000 --repeats 1 --seconds 0.3".split())
    said = capsys.readouterr().out
    for limit in (1, 20):
        assert f"1,000 rows, a limit of {limit} s:\n" in said
    # Nothing met a limit: all counts are there.
    counted = r"^  [^\d].* exact [\d,]+(?: \+ [\d,]+)?(?: +[\d.,]+){7} +[\d.,]+ +-$"
    assert len(re.findall(counted, said, re.MULTILINE)) == 2 * _STATEMENTS, said
    assert said.count("the whole table, cascading                exact 1,000 + 1,000") == 2, said
    noticed = r"^  .*[a-z] +(?:[\d.]+ +){5}[\d,]+ +(?:-|[\d,]+)$"
    assert len(re.findall(noticed, said, re.MULTILINE)) == 2 * _OTHERS, said
    assert re.search(r"^  locked while a preview runs: \S", said, re.MULTILINE), said
    assert "  locked while its statement is held: none\n" in said
