"""What is remembered of verdicts, and what is not."""

import asyncio
from itertools import pairwise

import pytest

from pgnotary.judge.catalog import BUILT_IN, Catalog, Relation
from pgnotary.judge.policy import Verdict
from pgnotary.judge.reading import read
from pgnotary.judge.rules import PROFILES, Action, Rule, Subject, policy_of
from pgnotary.judge.scope import UNSCOPED, Scope
from pgnotary.judge.statement import Statement
from pgnotary.serve.turns import Turns
from pgnotary.serve.verdicts import MAX_REMEMBERED, Verdicts

NOBODY = Subject()


@pytest.fixture
def verdicts() -> Verdicts:
    return Verdicts(policy_of(PROFILES["default"]))


def judge(
    verdicts: Verdicts,
    text: bytes,
    catalog: Catalog = BUILT_IN,
    scope: Scope = UNSCOPED,
    subject: Subject = NOBODY,
    read: Statement | None = None,
) -> tuple[Statement, Verdict]:
    return verdicts.judge(text, catalog, scope, subject, read)


def test_a_text_that_comes_again_is_not_read_again(verdicts: Verdicts) -> None:
    assert judge(verdicts, b"SELECT 1") is judge(verdicts, b"SELECT 1")


async def test_what_nobody_has_read_yet_waits_its_turn_and_what_is_remembered_does_not() -> None:
    turns = Turns()
    verdicts = Verdicts(policy_of(PROFILES["default"]), turns=turns)

    def ready(text: bytes) -> bool:
        return verdicts.ready(text, BUILT_IN, UNSCOPED, NOBODY)

    judge(verdicts, b"SELECT 1 FROM t WHERE a = 1")
    assert not ready(b"DELETE FROM t")
    assert ready(b"SELECT 1 FROM t WHERE a = 1")
    assert ready(b"SELECT 1 FROM t WHERE a = 2")
    await asyncio.sleep(0)
    assert ready(b"DELETE FROM t")
    judge(verdicts, b"SELECT 1 FROM t WHERE a = 1")
    judge(verdicts, b"DELETE FROM t", read=read(b"DELETE FROM t"))
    assert ready(b"DELETE FROM t")


async def test_texts_are_read_in_order_one_in_each_round_of_the_loop() -> None:
    verdicts = Verdicts(policy_of(PROFILES["default"]), turns=Turns())
    done: list[int] = []
    async with asyncio.TaskGroup() as tasks:
        found = [tasks.create_task(verdicts.read(b"DELETE FROM t%d" % n)) for n in range(5)]
        while not done or done[-1] < 5:
            await asyncio.sleep(0)
            done.append(sum(task.done() for task in found))
    assert [task.result().parts[0].written for task in found] == [(f"t{n}",) for n in range(5)]
    assert max(now - before for before, now in pairwise([0, *done])) == 1


def test_the_same_text_in_a_database_with_other_functions_is_another_one(verdicts: Verdicts) -> None:
    assert judge(verdicts, b"SELECT t.f FROM t")[1].action is Action.FORWARD
    assert judge(verdicts, b"SELECT t.f FROM t", Catalog(callable=frozenset({"f"})))[1].action is Action.HOLD


def test_the_same_text_where_other_schemas_are_searched_is_another_one(verdicts: Verdicts) -> None:
    catalog = Catalog(known=True, relations={"t": {"a": Relation("r"), "b": Relation("v", reading_calls=True)}})
    first, other = Scope(("pg_catalog", "a", "b")), Scope(("pg_catalog", "b", "a"))
    assert judge(verdicts, b"SELECT 1 FROM t", catalog, first)[1].action is Action.FORWARD
    assert judge(verdicts, b"SELECT 1 FROM t", catalog, other)[1].action is Action.HOLD
    assert judge(verdicts, b"SELECT 1 FROM t", catalog, first)[1].action is Action.FORWARD


def test_the_same_text_from_another_person_or_for_another_database_is_another_one() -> None:
    own = Rule("only-bo", Action.REFUSE, users=("bo",))
    verdicts = Verdicts(policy_of(PROFILES["default"], [own, Rule("no-pay", Action.HOLD, databases=("pay",))]))
    assert judge(verdicts, b"SELECT 1", subject=Subject("shop", "eva"))[1].action is Action.FORWARD
    assert judge(verdicts, b"SELECT 1", subject=Subject("shop", "bo"))[1].action is Action.REFUSE
    assert judge(verdicts, b"SELECT 1", subject=Subject("pay", "eva"))[1].action is Action.HOLD


def test_what_is_held_is_not_remembered(verdicts: Verdicts) -> None:
    assert judge(verdicts, b"DELETE FROM t") is not judge(verdicts, b"DELETE FROM t")


def test_texts_with_one_fingerprint_are_told_apart(verdicts: Verdicts) -> None:
    (writes,) = judge(verdicts, b"BEGIN READ WRITE")[0].parts
    (reads,) = judge(verdicts, b"BEGIN READ ONLY")[0].parts
    assert (writes.read_only, reads.read_only) == (False, True)


@pytest.mark.parametrize("text", [b"SELECT 1; SELECT 2", b"INSERT INTO public.t VALUES (1); SELECT 1"])
def test_no_tree_of_what_is_forwarded_is_kept(verdicts: Verdicts, text: bytes) -> None:
    catalog = Catalog(known=True, relations={"t": {"public": Relation("r")}})
    statement, found = judge(verdicts, text, catalog)
    assert found.action is Action.FORWARD
    assert [part.tree for part in statement.parts] == [b"", b""]


def test_the_oldest_text_is_forgotten_first_and_one_that_came_again_is_not_old(verdicts: Verdicts) -> None:
    first, second = judge(verdicts, b"SELECT 0"), judge(verdicts, b"SELECT 1")
    for n in range(2, MAX_REMEMBERED):
        judge(verdicts, b"SELECT %d" % n)
    assert judge(verdicts, b"SELECT 0") is first
    judge(verdicts, b"SELECT 'one more'")
    assert judge(verdicts, b"SELECT 0") is first
    assert judge(verdicts, b"SELECT 1") is not second
