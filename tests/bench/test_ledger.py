"""The benchmark of the ledger still runs, and what it writes is a ledger without a fault."""

import pytest
from bench.ledger import main


def test_it_prints_each_figure_beside_its_measure(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--entries", "40", "100", "--seconds", "0.05"])
    told = capsys.readouterr().out.splitlines()
    names = ["written and synced", "hashed", "alone", "by 64 writers"]
    names += ["behind 40", "verified", "behind 100", "verified"]
    assert len(told) == len(names)
    assert all(name in line and "/s" in line for name, line in zip(names, told, strict=True))
