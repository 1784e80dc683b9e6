"""The benchmark of judging still runs."""

import pytest
from bench.judge import TEXTS, main


def test_judging_has_a_price_step_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--repeats", "1", "--hostile", "0"])
    told = capsys.readouterr().out.splitlines()
    for name in TEXTS:
        assert sum(line.startswith((f"{name}, read", f"  {name} ")) for line in told) == 2
    figures = [line for line in told if line.startswith("  ")]
    assert len(figures) > 5 * len(TEXTS)
    for line in figures:
        least, median, most = (float(each.replace(",", "")) for each in line[36:].split())
        assert 0 < least <= median <= most
