"""The page that an approver was shown, drawn again from what auditors hold: the same bytes, or an error."""

from pathlib import Path

import pytest
from tests.flow.served import Served

from pgnotary.request.decision import Answer

TEXTS = {
    "plain": "DELETE FROM orders WHERE id <= 10",
    "escape codes": "DELETE FROM orders WHERE status = '\x1b[2J\x1b[1;31mstatement  1 line'",
    "turned around": "DELETE FROM orders WHERE status = '\u202e\u2066nepo' -- \u200b\u00a0",
    "another alphabet": "DELETE FROM orders WHERE status = '\u043e\u0440\u0435n'",
    "ten thousand lines": "DELETE FROM orders WHERE id IN (\n" + ",\n".join(map(str, range(10_000))) + ")",
    "a password": "CREATE ROLE mallory PASSWORD 'hunter2'",
}


@pytest.mark.parametrize("statement", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("answer", [Answer.APPROVE, Answer.DENY])
def test_a_page_from_a_ledger_or_an_export_is_the_same_bytes(
    served: Served, database: str, tmp_path: Path, statement: str, answer: Answer
) -> None:
    with served.open_psql(database, "-c", statement) as psql:
        paper = served.held()
        shown = served.pgnotary("show", paper.id)
        served.decide(paper, answer)
        psql.communicate(timeout=30)
    assert f"all of this   sha256:{paper.digest}" in shown
    assert all(line.isprintable() for line in shown.splitlines())
    served.pgnotary("export", str(tmp_path / "audit"), "--secrets")
    for ledger in (tmp_path / "audit", served.folder / "ledger.db"):
        assert served.pgnotary("show", paper.id, "--page", "--ledger", str(ledger)) == shown
    if statement == TEXTS["a password"]:
        assert "hunter2" not in shown
        served.pgnotary("export", str(tmp_path / "discreet"))
        served.pgnotary("show", paper.id, "--page", "--ledger", str(tmp_path / "discreet"), expected=1)
