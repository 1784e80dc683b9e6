import json
from datetime import UTC, datetime, timedelta

import pytest
from tests.verify.builder import START, Ledger

from pgnotary.audit.executions import executions
from pgnotary.audit.search import Search, Wanted, execution_fields, moment, story_fields
from pgnotary.audit.story import stories
from pgnotary.ledger.canonical import JSON
from pgnotary.request.life import State

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def found(ledger: Ledger, wanted: Wanted) -> list[str]:
    return [story.request for story in Search(wanted).stories(stories(ledger.entries()))]


@pytest.mark.parametrize(
    ("wanted", "requests"),
    [
        (Wanted(), ["R-1", "R-2", "R-3", "R-4", "R-5", "R-6"]),
        (Wanted(who="IVO"), ["R-2", "R-3"]),
        (Wanted(who="ivo@corp"), ["R-2", "R-3"]),
        (Wanted(who="ana"), ["R-2"]),
        (Wanted(who="iv"), []),
        (Wanted(relation="orders"), ["R-1", "R-3", "R-4", "R-6"]),
        (Wanted(relation="public.orders"), ["R-1", "R-3", "R-4", "R-6"]),
        (Wanted(relation="other.orders"), []),
        (Wanted(relation="any.x"), ["R-2"]),
        (Wanted(outcome=State.DENIED), ["R-2"]),
        (Wanted(kind="drop"), ["R-2"]),
        (Wanted(text="drop table"), ["R-2"]),
        (Wanted(since=START + timedelta(minutes=10)), ["R-5", "R-6"]),
        (Wanted(until=START + timedelta(seconds=30)), ["R-1"]),
        (Wanted(who="eva", outcome=State.UNKNOWN, kind="update"), ["R-5"]),
    ],
)
def test_every_condition_narrows_the_search(ledger: Ledger, wanted: Wanted, requests: list[str]) -> None:
    assert found(ledger, wanted) == requests


def test_a_withheld_statement_is_not_found_by_its_text(ledger: Ledger) -> None:
    for stored in ledger.stored:
        stored.opened.clear()
    looking = Search(Wanted(text="drop", who="ivo"))
    assert list(looking.stories(stories(ledger.entries()))) == []
    # those of others would not have been found whatever they say.
    assert looking.withheld == 2
    assert found(ledger, Wanted(kind="drop")) == ["R-2"]


def test_a_withheld_text_of_a_forwarded_statement_is_counted(ledger: Ledger) -> None:
    for stored in ledger.stored:
        stored.opened.clear()
    looking = Search(Wanted(relation="orders", text="count"))
    assert list(looking.executions(executions(ledger.entries()))) == []
    assert looking.withheld == 3


def test_a_request_is_found_by_the_kind_and_the_relation_of_each_of_its_parts() -> None:
    ledger = Ledger()
    parts: list[JSON] = [
        {"kind": "select", "start": 0, "end": 1, "harmless": True, "relations": ["public.customers"]},
        {"kind": "delete", "start": 1, "end": 2, "harmless": False, "relations": ["public.orders"]},
        {"kind": "drop", "start": 2, "end": 3, "harmless": False, "relations": ["items"]},
    ]
    ledger.ask("R-1", parts=parts, kind="delete", relations=["public.orders"])
    for wanted in (Wanted(kind="DROP"), Wanted(kind="select"), Wanted(relation="items"), Wanted(relation="customers")):
        assert found(ledger, wanted) == ["R-1"]
    assert found(ledger, Wanted(kind="update")) == []
    (story,) = stories(ledger.entries())
    assert story.what == "DELETE public.orders; DROP items"


def test_forwarded_statements_are_found_with_who_ran_them(ledger: Ledger) -> None:
    ran = list(Search(Wanted(who="ivo")).executions(executions(ledger.entries())))
    assert [(each.person, each.statement, each.rows) for each in ran] == [("ivo@corp", "select 2", 1)]
    assert len(list(executions(ledger.entries()))) == 3


def test_a_text_that_was_sealed_earlier_in_the_session_is_known_later() -> None:
    ledger = Ledger()
    ledger.open_session()
    ledger.forward("select 1", "select 2")
    ledger.forward("select 3", first=3)
    later = ledger.forward("again", first=1)
    ledger.stored[-1].opened.clear()
    again = [each.statement for each in executions(ledger.entries()) if each.seq == later.position.seq]
    assert again == ["select 1"]


def test_texts_of_one_session_are_not_those_of_another() -> None:
    ledger = Ledger()
    ledger.open_session("S-00000001", "eva")
    ledger.open_session("S-00000002", "ivo")
    ledger.forward("select 'eva'", session="S-00000001")
    ledger.forward("select 'ivo'", session="S-00000002")
    assert [(each.person, each.statement) for each in executions(ledger.entries())] == [
        ("eva", "select 'eva'"),
        ("ivo", "select 'ivo'"),
    ]


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T10:00:00", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("2026-11-01T10:00:00+02:00", datetime(2026, 11, 1, 8, tzinfo=UTC)),
        ("7d", NOW - timedelta(days=7)),
        ("24h", NOW - timedelta(hours=24)),
        ("30m", NOW - timedelta(minutes=30)),
        ("2w", NOW - timedelta(weeks=2)),
    ],
)
def test_a_moment_is_a_date_a_time_or_a_while_ago(said: str, at: datetime) -> None:
    assert moment(said, NOW) == at


@pytest.mark.parametrize(
    "said",
    [
        "",
        "yesterday",
        "7",
        "d",
        "-7d",
        "999999d",
        "999999w",
        "2026-13-01",
        "0001-01-01T00:00+23:59",
        "9999-12-31T23:59-23:59",
    ],
)
def test_what_is_no_moment_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        moment(said, NOW)


def test_the_names_of_json_fields_are_a_promise(ledger: Ledger) -> None:
    story = story_fields(next(stories(ledger.entries())))
    assert " ".join(story) == (
        "request request_leaf session entry asked_at user person role database application client kind what relations "
        "rule why statement parameters prepared reason estimate exact at_most estimate_by caveats state "
        "answer approver decided_at decision_reason max_rows approved_before_by reviewed_by "
        "ended_at fate rows executed_rows other_rows tags changed took_us ended changed_since_signed "
        "sqlstate xid copied_bytes copied_sha256"
    )
    execution = execution_fields(next(executions(ledger.entries())))
    assert " ".join(execution) == (
        "entry at session user person database application statement kind verdict tag rows sqlstate took_us would_hold "
        "why copied_bytes copied_sha256"
    )
    json.dumps([story, execution])
