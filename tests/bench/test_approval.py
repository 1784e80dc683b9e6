"""The benchmark of approvals still runs."""

import re

import pytest
from bench.approval import main


def test_an_approval_has_a_price_over_tls_and_others_wait(capsys: pytest.CaptureFixture[str]) -> None:
    main("--pending 2 --rounds 2 --seconds 0.3".split())
    said = capsys.readouterr().out
    beside, rounds = said.split("  2 pending, 2 rounds, ms")
    assert re.search(r"calls by a foreign key +[\d.]+ +[\d.]+ +[\d.]+ +[\d,]+$", beside, re.MULTILINE)
    rows = re.findall(r"^  ([a-z ]+[a-z]) +(-?[\d.]+) +(-?[\d.]+) +(-?[\d.]+) *\d*$", rounds, re.MULTILINE)
    assert [name for name, *_ in rows] == ["sent to watched", "held to watched", "signed to upstream", "decided"]
    assert all(float(median) > 0 for name, median, *_ in rows if name != "held to watched")
