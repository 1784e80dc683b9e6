"""One ledger that has something of everything, and the folder that it exports to."""

from pathlib import Path

import pytest
from tests.verify.builder import VKEY, Ledger

from pgnotary.audit.export import export_folder
from pgnotary.ledger.entries import Draft, EntryType


@pytest.fixture
def ledger() -> Ledger:
    """Six requests: committed, denied, withdrawn, expired, unknown, and one that waits."""
    ledger = Ledger().start()
    ledger.open_session()
    ledger.forward("select count(*) from orders", "select 1")
    ledger.ask("R-1", reason="PAY-2210 purge")
    ledger.preview("R-1")
    ledger.wait(30).decide("R-1", max_rows=2000)
    ledger.run("R-1")
    ledger.open_session("S-00000002", "ivo@corp")
    ledger.ask("R-2", person="ivo@corp", session="S-00000002", statement="DROP TABLE x", kind="drop", relations=["x"])
    ledger.preview("R-2")
    ledger.decide("R-2", "deny", approver="mallory", type_=EntryType.REJECTED, why="nobody on the roster")
    ledger.decide("R-2", "deny", approver="ana", reason="add tenant_id | to the WHERE")
    ledger.ask("R-3", session="S-00000002", person="ivo@corp")
    ledger.step(EntryType.WITHDRAWN, "R-3", by="cancel")
    ledger.ask("R-4")
    ledger.preview("R-4")
    ledger.wait(900).step(EntryType.EXPIRED, "R-4")
    ledger.ask("R-5", why="the second reader sees DROP", relations=["public.customers"], kind="update")
    ledger.preview("R-5")
    ledger.decide("R-5")
    ledger.run("R-5", result="unknown")
    ledger.forward("select 2", session="S-00000002")
    ledger.close_session("S-00000002")
    ledger.ask("R-6")
    ledger.append(Draft(EntryType.STOPPED, {"why": "asked to"}))
    return ledger


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no configuration is named or lies about."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PGNOTARY_CONFIG", raising=False)


@pytest.fixture
def folder(ledger: Ledger, tmp_path: Path) -> Path:
    """The ledger, exported with all of its values."""
    export_folder(ledger, tmp_path / "evidence", VKEY)
    return tmp_path / "evidence"
