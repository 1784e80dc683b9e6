"""What a held TRUNCATE, DROP or ALTER takes, as the server tells it, in the preview that is signed."""

from typing import Any

import pytest
from tests.play import Play, error
from tests.session.stories import held

from pgnotary.request.subject import subject_of
from pgnotary.request.things import holders_question, things_question

HOLDER = [4711, "app_rw", "AccessShareLock", True, "public", "t", 41]


def _preview(play: Play, text: str) -> dict[str, Any]:
    held(play, text)
    return dict(play.ledger.body("preview"))


def test_every_row_that_goes_is_counted(play: Play) -> None:
    body = _preview(play, "truncate t")
    assert body["exact"] == 5
    assert body["lock"] == {"mode": "AccessExclusiveLock"}
    (taken,) = body["takes"]
    assert taken == {"relation": "public.t", "kind": "table", "how": "named", "bytes": 8192, "rows": {"exact": 5}}
    assert body["status"] == "measured"


def test_what_is_only_altered_is_not_counted_and_says_so(play: Play) -> None:
    body = _preview(play, "alter table t add b float default random()")
    assert body["why"] == "what ALTER changes is not counted in rows"
    assert body["lock"] == {"mode": "AccessExclusiveLock", "work": "rewrite"}
    assert body["takes"][0]["rows"] == {"estimate": 20}
    assert "exact" not in body
    assert body["status"] == "partly"


def test_a_count_that_fails_leaves_the_planners_number_as_an_estimate(play: Play) -> None:
    play.server.on('SELECT pg_catalog.count(*) FROM ONLY "public"."t"', error("57014", "too slow"))
    body = _preview(play, "truncate t")
    assert "exact" not in body
    assert body["estimate"] == 20
    assert body["obtained"]["estimate"]["how"] == "statistics"
    assert body["why"] == "the count of public.t failed with SQLSTATE 57014 (query_canceled)"


def test_what_has_never_been_counted_is_no_zero(play: Play) -> None:
    play.server.on('SELECT pg_catalog.count(*) FROM ONLY "public"."t"', error("42501", "permission denied"))
    play.server.things = {"relations": [["public", "t", "r", 1, 8_192, -1, False]], "dependents": None}
    body = _preview(play, "truncate t")
    assert not body.keys() & {"exact", "at_most", "estimate"}
    assert body["takes"][0]["rows"] == {}


@pytest.mark.parametrize(
    ("kind", "secured", "why"),
    [("f", False, "they are on another server"), ("r", True, "row security hides some of them")],
)
def test_one_that_cannot_be_counted_leaves_no_exact_number_for_all(
    play: Play, kind: str, secured: bool, why: str
) -> None:
    other = ["public", "u", kind, 3, 0, 7, secured]
    play.server.things = {"relations": [["public", "t", "r", 1, 8_192, 20, False], other], "dependents": None}
    body = _preview(play, "truncate t cascade")
    assert "exact" not in body
    assert body["estimate"] == 5 + 7
    assert body["why"] == f"the rows of public.u cannot be counted: {why}"


def test_more_relations_than_can_be_shown_are_told_of_and_not_taken_for_all(play: Play) -> None:
    relations = [["public", f"t{n}", "r", 2, 1, -1, False] for n in range(60)]
    play.server.things = {"relations": relations, "dependents": [f"view v{n}" for n in range(70)]}
    body = _preview(play, "drop table t")
    assert (len(body["takes"]), body["takes_more"]) == (50, 10)
    assert (len(body["dependents"]), body["dependents_more"]) == (50, 20)
    assert not body.keys() & {"exact", "estimate"}


@pytest.mark.parametrize("text", ["truncate t", "delete from t where id < 6"])
def test_who_is_in_its_way_is_told(play: Play, text: str) -> None:
    play.server.holders = [HOLDER, [4712, "app_rw", "RowShareLock", False, "public", "t", None]]
    first, second = _preview(play, text)["holders"]
    assert first == {
        "pid": 4711,
        "role": "app_rw",
        "mode": "AccessShareLock",
        "relation": "public.t",
        "granted": True,
        "since_s": 41,
    }
    assert (second["granted"], "since_s" in second) == (False, False)


@pytest.mark.parametrize("answer", [{}, {"relations": [["public"]], "dependents": None}, {"relations": 7}])
def test_what_cannot_be_read_is_shown_as_a_failure(play: Play, answer: dict[str, Any]) -> None:
    play.server.things = answer
    body = _preview(play, "truncate t")
    assert "has not the shape that was asked for" in body["why"]
    assert not body.keys() & {"takes", "exact"}


def test_holders_that_cannot_be_read_are_shown_as_a_failure(play: Play) -> None:
    play.server.holders = [[1, 2]]
    assert "who holds its locks has not the shape that was asked for" in _preview(play, "truncate t")["why"]


@pytest.mark.parametrize("question", [things_question, holders_question])
def test_a_question_that_fails_holds_the_statement_all_the_same(play: Play, question: Any) -> None:
    subject = subject_of(b"truncate t")
    play.server.on(question(subject).decode(), error("55P03", "canceling statement due to lock timeout"))
    assert "failed with SQLSTATE 55P03" in _preview(play, "truncate t")["why"]


@pytest.mark.parametrize("text", ["vacuum", "grant select on t to bo", "drop function f(int)", "create table x ()"])
def test_what_is_about_nothing_that_is_there_asks_nothing(play: Play, text: str) -> None:
    held(play, text)
    assert not [each for each in play.server.heard if each.startswith("WITH RECURSIVE weighed")]


def test_what_is_about_a_table_asks(play: Play) -> None:
    held(play, "truncate t")
    assert len([each for each in play.server.heard if each.startswith("WITH RECURSIVE weighed")]) == 2
