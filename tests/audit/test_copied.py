import pytest
from tests.listed import forwarded_body
from tests.verify.builder import Ledger

from pgnotary.audit.copied import Copied, copied_in
from pgnotary.audit.executions import executions
from pgnotary.audit.replay import replay
from pgnotary.audit.search import execution_fields, story_fields
from pgnotary.audit.story import stories
from pgnotary.audit.words import story_lines
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.ledger.executions import Alike

DATA: dict[str, JSON] = {"copied_bytes": 1_110, "copied_sha256": "03bc"}
TOLD = "copied 1,110 bytes with SHA-256 03bc; the data is not in the ledger, only its digest"


def held(*, ran: bool) -> Ledger:
    """A COPY that was approved, and ran or failed."""
    ledger = Ledger().start()
    ledger.open_session()
    ledger.ask("R-1", statement="COPY t FROM STDIN", kind="copy-in")
    ledger.preview("R-1")
    ledger.decide("R-1")
    ledger.step(EntryType.INTENT, "R-1", xid="771", where="wrapped")
    if ran:
        ledger.step(EntryType.EXECUTED, "R-1", rows=3, tags=["COPY 3"], took_us=5, **DATA)
    more = {} if ran else DATA
    ledger.step(EntryType.OUTCOME, "R-1", result="committed" if ran else "failed", xid="771", **more)
    return ledger


@pytest.mark.parametrize("ran", [True, False], ids=["ran", "failed"])
def test_of_what_was_held_the_digest_is_told_once_and_that_there_is_no_more(*, ran: bool) -> None:
    ledger = held(ran=ran)
    (story,) = stories(ledger.entries())
    assert story.copied == Copied(1_110, "03bc")
    assert story_lines(story).count(TOLD) == 1
    assert [line.strip() for line in replay(ledger, "R-1")].count(TOLD) == 1
    assert story_fields(story)["copied_bytes"] == 1_110


def test_of_what_was_forwarded_the_digest_is_told_and_that_there_is_no_more() -> None:
    ledger = Ledger()
    ledger.open_session()
    ran = Alike(kind="copy-in", verdict="forward", tag="COPY 3", copied_bytes=1_110, copied_sha256="03bc")
    sealed = {"t1": b"copy t from stdin"}
    body = forwarded_body([(1, ran)], ledger.clock)
    ledger.append(Draft(EntryType.FORWARDED, body, session="S-00000001", sealed=sealed))
    (execution,) = executions(ledger.entries())
    assert execution_fields(execution)["copied_sha256"] == "03bc"
    assert [line.strip() for line in replay(ledger, "S-00000001")].count(TOLD) == 1


@pytest.mark.parametrize("body", [{}, {"copied_bytes": 1}, {"copied_sha256": "03"}, {**DATA, "copied_bytes": True}])
def test_what_is_incomplete_tells_nothing(body: dict[str, JSON]) -> None:
    assert copied_in(body) is None


def test_one_byte_is_told_as_one() -> None:
    assert str(Copied(1, "0a")).startswith("copied 1 byte with")
