"""What has come for a statement that waits, and in which order it is told."""

from datetime import UTC, datetime

from tests.play import Ledger, taken_back

from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.decision import Answer
from pgnotary.session.events import Decided, Now
from pgnotary.session.news import News
from pgnotary.session.steps import AwaitDecision, Ending

HELD = AwaitDecision("R-2", deadline=90.0, remind_at=30.0)
BACK = taken_back("R-2")


def _at(monotonic: float) -> Now:
    return Now(monotonic, datetime(2026, 1, 1, tzinfo=UTC))


def _decided(request: str) -> Decided:
    return Decided(request, Answer.DENY, "bo", "no", None, Ledger().append(Draft(EntryType.STOPPED)), b"")


def test_a_decision_is_told_before_what_has_ended_the_hold_and_each_is_told_once() -> None:
    news, decided = News(), _decided("R-2")
    news.end(Ending.CLIENT_GONE)
    news.take_back(BACK)
    news.decide(decided)
    late = _at(100.0)
    assert [news.take(HELD, late) for _ in range(4)] == [decided, Ending.CLIENT_GONE, BACK, Ending.EXPIRED]


def test_what_is_about_another_request_is_not_told() -> None:
    news = News()
    news.decide(_decided("R-1"))
    news.take_back(taken_back("R-1"))
    assert news.take(HELD, _at(0.0)) is None


def test_a_cancel_does_not_take_the_place_of_the_end_of_the_session() -> None:
    news = News()
    news.end(Ending.CANCEL)
    news.end(Ending.PARTING)
    news.end(Ending.CANCEL)
    assert news.take_ending() is Ending.PARTING
    assert news.take_ending() is None


def test_an_ending_of_what_was_before_ends_nothing_that_begins_after_it() -> None:
    news = News()
    news.end(Ending.CANCEL)
    news.begin()
    assert news.take(HELD, _at(0.0)) is None


def test_a_hold_is_reminded_of_and_then_over() -> None:
    news = News()
    assert news.take(HELD, _at(29.9)) is None
    assert news.take(HELD, _at(30.0)) is Ending.REMINDER
    assert news.take(HELD, _at(90.0)) is Ending.EXPIRED
