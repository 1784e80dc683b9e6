"""The benchmark of proofs still runs."""

import re

import pytest
from bench.proofs import main


def test_proofs_have_a_price(capsys: pytest.CaptureFixture[str]) -> None:
    main("--entries 700 --repeats 3".split())
    said = capsys.readouterr().out
    assert said.startswith("700 entries, opened and read within ")
    assert len(re.findall(r"^  [a-z].* [\d.]+ +[\d.]+ +[\d.]+$", said, re.MULTILINE)) == 3
    assert re.search(r"^  every leaf read and hashed again.* [\d.]+$", said, re.MULTILINE)
