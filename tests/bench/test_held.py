"""The benchmark of held statements still runs."""

import re

import pytest
from bench.held import main


def test_held_statements_have_a_price_and_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    main("--connections 3 --seconds 0.2".split())
    said = capsys.readouterr().out
    for way in ("without TLS", "over TLS"):
        expected = rf"^3 connections {way}: logged in within [\d.]+ s, all held within [\d.]+ s, all withdrawn"
        assert re.search(expected, said, re.MULTILINE), said
    assert re.search(r"for what is held in it +-?[\d.,]+ KiB", said)
    assert len(re.findall(r"^  .*[a-z] +[\d.]+ +[\d.]+ +[\d.]+ +[\d,]+$", said, re.MULTILINE)) == 2 * 5
