"""No attack is seen where there is none: every honest ledger that we know how to make, before both verifiers."""

from pathlib import Path

import pytest
from tests.audit.running import run
from tests.second.agreement import both_over_folder
from tests.tamper.honest import MAKERS

from pgnotary.audit import standalone
from pgnotary.audit.export import export_folder
from pgnotary.ledger.remembered import heads_text
from pgnotary.store.reader import SqliteReader

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.mark.parametrize("name", MAKERS)
def test_of_an_honest_ledger_nothing_is_told(name: str, tmp_path: Path) -> None:
    made = MAKERS[name](tmp_path)
    (tmp_path / "heads").write_text(heads_text(made.heads))
    words: list[str | Path] = ["--key", made.vkey]
    if made.roster is not None:
        (tmp_path / "roster").write_text(made.roster)
        words += ["--allowed-signers", tmp_path / "roster"]
    for each in made.archives:
        words += ["--archive", each]
    done = run("verify", "--ledger", made.path, *words, "--heads", tmp_path / "heads")
    assert (done.exit_code, "FAIL" in done.stdout) == (made.status, False), done.output
    assert "under no remembered head" not in done.stdout
    with SqliteReader(made.path) as reader:
        export_folder(reader, tmp_path / "evidence", made.vkey, secrets=True)
    notes = [head.note for head in made.heads]
    assert both_over_folder(tmp_path / "evidence", made.vkey, notes, made.archives) == ((), [])
    second = standalone.main([str(tmp_path / "evidence"), *map(str, words), "--quiet"])
    # Without a roster of its own it says that the evidence is incomplete, if anybody has decided.
    assert second == made.status or (made.roster is None and second == standalone.INCOMPLETE)
