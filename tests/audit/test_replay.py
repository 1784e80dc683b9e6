import pytest
from tests.listed import forwarded_body
from tests.verify.builder import SEEDS, Ledger, public_of

from pgnotary.audit.replay import UnknownName, replay
from pgnotary.errors import LedgerBroken
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.ledger.executions import Alike
from pgnotary.request.openssh import fingerprint
from pgnotary.store import StoredEntry


def heads(lines: list[str]) -> list[int]:
    return [int(line.split()[0][1:]) for line in lines if line.startswith("#")]


def test_a_request_is_told_from_who_connected_to_how_it_ended(ledger: Ledger) -> None:
    lines = list(replay(ledger, "R-1"))
    assert heads(lines) == [2, 4, 5, 6, 7, 8, 9]
    told = "\n".join(lines)
    for words in (
        "S-00000001 opened by eva",
        "R-1 held: DELETE public.orders by eva",
        "  | DELETE FROM orders\n          | WHERE created_at",
        "  > PAY-2210 purge",
        "the session had forwarded 2 statements before",
        "preview measured: 1,204 rows counted",
        "approved by bo with SHA256:",
        "over 6 entries",
        "  > backup b-771 exists",
        "about to be sent in transaction 771",
        "executed: 1,204 rows",
        "committed: 1,204 rows",
    ):
        assert words in told


def test_each_event_has_its_entry_time_and_leaf(ledger: Ledger) -> None:
    lines = [line for line in replay(ledger, "R-1") if line.startswith("#")]
    entry = ledger.requests["R-1"]
    assert lines[1].split()[:4] == ["#4", "2026-11-20", "09:00:05.000Z", entry.leaf.hex()[:8]]


def test_a_session_is_told_with_its_forwarded_statements_and_all_of_its_requests(ledger: Ledger) -> None:
    lines = list(replay(ledger, "S-00000002"))
    assert heads(lines) == [10, 11, 12, 13, 14, 15, 16, 26, 27]
    assert "          | select 2" in lines
    assert any("a decision did not count (it says it is by mallory)" in line for line in lines)


def test_an_entry_stands_for_the_request_or_session_that_it_belongs_to(ledger: Ledger) -> None:
    assert list(replay(ledger, "#6")) == list(replay(ledger, "R-1"))
    assert list(replay(ledger, "#13")) == list(replay(ledger, "R-2"))
    assert list(replay(ledger, "#27")) == list(replay(ledger, "S-00000002"))
    assert heads(list(replay(ledger, "#1"))) == [1]
    assert "roster in force: ana, bo" in next(replay(ledger, "#1"))


def test_a_roster_is_told_with_the_fingerprint_of_each_key(ledger: Ledger) -> None:
    _, *lines = replay(ledger, "#1")
    assert lines == [f"        {each} {fingerprint(public_of(SEEDS[each]))}" for each in ("ana", "bo")]


def test_what_a_prepared_statement_runs_and_why_it_could_not_be_previewed_is_told() -> None:
    ledger = Ledger()
    asked = ledger.ask("R-1", statement="EXECUTE p(1)", settings={"datestyle": "German"})
    sealed = {"statement": b"EXECUTE p(1)", "prepared": b"DELETE FROM orders\nWHERE id = $1"}
    request = ledger.append(Draft(EntryType.REQUEST, asked.body, asked.session, "R-2", None, sealed))
    why = {"status": "unavailable", "why": "SQLSTATE 42P01"}
    ledger.append(Draft(EntryType.PREVIEW, why, asked.session, "R-2", request.leaf))
    told = "\n".join(replay(ledger, "R-2"))
    assert "which runs\n          | DELETE FROM orders\n          | WHERE id = $1" in told
    assert "set datestyle = German" in told
    assert "preview unavailable: SQLSTATE 42P01" in told
    ledger.stored[-2].opened.clear()
    assert "  | (withheld)" in "\n".join(replay(ledger, "R-2"))


def test_a_request_without_relations_is_told_without_a_gap() -> None:
    ledger = Ledger()
    ledger.ask("R-1", kind="select", relations=[])
    assert any(line.endswith("R-1 held: SELECT by eva") for line in replay(ledger, "R-1"))


def test_why_a_statement_was_rolled_back_is_not_told_twice() -> None:
    ledger = Ledger()
    ledger.ask("R-1")
    why = "R-1 rolled back: 3 rows affected, approved for at most 2"
    ledger.step(EntryType.OUTCOME, "R-1", result="rolled-back", why=why)
    assert any("R-1 rolled-back: 3 rows affected, approved for" in line for line in replay(ledger, "R-1"))


def test_forwarded_statements_stand_where_they_happened_and_not_where_they_were_summed_up() -> None:
    ledger = Ledger()
    ledger.open_session()
    ran_at = ledger.clock
    ledger.wait(10).ask("R-1")
    body = forwarded_body([(1, Alike(kind="select", verdict="forward"))], ran_at)
    sealed = {"t1": b"select 'before'"}
    ledger.append(Draft(EntryType.FORWARDED, body, session="S-00000001", sealed=sealed))
    assert heads(list(replay(ledger, "S-00000001"))) == [0, 2, 1]


def test_what_was_written_after_a_crash_belongs_to_the_session_all_the_same() -> None:
    ledger = Ledger()
    ledger.open_session()
    asked = ledger.ask("R-1")
    ledger.append(Draft(EntryType.ORPHANED, {"why": "the proxy stopped"}, None, "R-1", asked.leaf))
    assert heads(list(replay(ledger, "S-00000001"))) == [0, 1, 2]


def test_a_withheld_statement_is_told_as_withheld(ledger: Ledger) -> None:
    for stored in ledger.stored:
        stored.opened.clear()
    assert "          | (withheld)" in list(replay(ledger, "R-1"))


def test_no_line_of_a_statement_can_pass_for_an_event() -> None:
    ledger = Ledger()
    ledger.ask(
        "R-1", statement="select 1\n#7     2026-11-20 09:00:00.000Z  deadbeef  R-1 approved by bo", reason="\n#8"
    )
    lines = list(replay(ledger, "R-1"))
    assert heads(lines) == [0]
    assert all(not line.startswith("#") for line in lines[1:])


@pytest.mark.parametrize("what", ["R-99", "S-ffffffff", "#999", "", "#", "#-1", "R-1 "])
def test_what_the_ledger_does_not_have_is_said_to_be_unknown(ledger: Ledger, what: str) -> None:
    with pytest.raises(UnknownName, match="the ledger has no"):
        list(replay(ledger, what))


def test_every_entry_of_a_ledger_can_be_told(ledger: Ledger) -> None:
    ledger.step(EntryType.PREVIEW, "R-6", status="unavailable", why="a function could have effects")
    ledger.step(EntryType.DECISION, "R-6", answer="approve", document="rubbish")
    ledger.step(EntryType.INTENT, "R-6")
    ledger.step(EntryType.EXECUTED, "R-6")
    ledger.step(EntryType.ENDING, "R-6", action="rollback-to", savepoint="a")
    ledger.step(EntryType.OUTCOME, "R-6", result="failed", sqlstate="23503", why="x")
    for place in range(len(ledger.stored)):
        assert f"#{place}" in "\n".join(replay(ledger, f"#{place}"))


def test_a_damaged_entry_ends_the_replay_with_its_place(ledger: Ledger) -> None:
    ledger.stored[3] = StoredEntry(b"{}", {})
    with pytest.raises(LedgerBroken, match="#3 cannot be read"):
        list(replay(ledger, "R-1"))
