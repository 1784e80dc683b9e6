"""The catalog of a session: when it is asked for, and that nothing is judged without it."""

import pytest
from tests.play import Play, after, approve, error, until
from tests.session.stories import held, in_a_block, ran_in_a_block

from pgnotary.judge.asked import FUNCTIONS_QUESTION
from pgnotary.judge.rules import PROFILES, Action, Rule, policy_of
from pgnotary.judge.statement import Qualifier, StatementClass
from pgnotary.serve.verdicts import Verdicts
from pgnotary.session.events import ClientBytes
from pgnotary.session.state import SharedCatalog
from pgnotary.wire import messages

LIMITS = "SET LOCAL statement_timeout = 10000; SET LOCAL jit = off; SET LOCAL search_path = pg_catalog"
ASKS = f"upstream BEGIN READ ONLY; {LIMITS}; SELECT pg_catalog.json_build_object..."
ASKS_IN_A_BLOCK = f"upstream SAVEPOINT pgnotary_catalog; {LIMITS}; SELECT..."


def test_it_is_asked_for_before_the_first_statement(play: Play) -> None:
    play.state.catalog_generation = -1
    play.state.shared = SharedCatalog()
    play >> "select 1" << ASKS << until("upstream select 1") << until("client ready I")
    play >> "select 1" << "upstream select 1" << until("client ready I")


def test_a_function_that_was_made_without_us_is_known_a_minute_later(play: Play) -> None:
    play >> "select t.tell from t" << "upstream select t.tell from t" << until("client ready I")
    play.server.functions = '["tell"]'
    play >> after(61) << "note 1"
    play >> "select t.tell from t" << ASKS << until("announce R-1")


def test_a_function_that_was_signed_for_is_known_at_once_in_every_session(play: Play) -> None:
    play.server.functions = '["tell"]'
    play.generation += 1
    play >> "select t.tell from t" << ASKS << until("announce R-1")


def test_inside_a_block_it_is_asked_for_only_if_something_was_signed(play: Play) -> None:
    in_a_block(play) >> after(3_600)
    play >> "select 1" << "upstream SAVEPOINT pgnotary_read..." << until("client ready T") << "note 1"
    play.generation += 1
    play >> "select 1" << ASKS_IN_A_BLOCK << until("upstream SAVEPOINT pgnotary_read...") << until("client ready T")


def test_what_was_signed_in_this_block_is_known_in_it(play: Play) -> None:
    ran_in_a_block(in_a_block(play))
    play.generation += 1
    play.server.functions = '["tell"]'
    play >> "select t.tell from t" << ASKS_IN_A_BLOCK << until("announce R-2")


@pytest.mark.parametrize(
    "text",
    [
        "select pg_advisory_unlock_all(); close all; unlisten *; reset all",
        "listen a",
        "notify a",
        "set role x",
        "set a.b = 'c'",
        "discard all",
        "lock table t in access share mode",
        "select 1 for update",
        "select nextval('s')",
    ],
)
def test_where_all_is_forwarded_only_what_may_change_it_has_it_asked_for_again(play: Play, text: str) -> None:
    play.state.judges = Verdicts(policy_of(PROFILES["forward-all"]))
    play >> text << until("client ready I")
    assert play.generation == 0
    play >> "create table u (a int)" << until("client ready I")
    assert play.generation == 1


def test_where_all_is_forwarded_a_migration_has_it_asked_for_once(play: Play) -> None:
    play.state.judges = Verdicts(policy_of(PROFILES["forward-all"]))
    for text in ("create table u (a int)", "drop table u; create view v as select 1", "grant select on u to x"):
        play >> text << "upstream BEGIN; SET TRANSACTION READ WRITE" << until("client ready I")
        play.generation += 1
    ddl = messages.parse(b"", b"alter table u add b int") + messages.bind(b"", b"") + messages.execute(b"")
    play >> ClientBytes(ddl + messages.SYNC) << "upstream Close" << "upstream Parse BEGIN" << until("client ready I")
    play >> "select 1" << ASKS << until("client ready I")


@pytest.mark.parametrize("text", ["create table u (a int); select 1 from t", "insert into t values (1)"])
def test_where_all_is_forwarded_what_may_read_has_it_asked_for(play: Play, text: str) -> None:
    play.state.judges = Verdicts(policy_of(PROFILES["forward-all"]))
    play.generation += 1
    play >> text << ASKS << until("client ready I")


@pytest.mark.parametrize(
    "rule",
    [
        Rule("policy/held", Action.HOLD, relations=("public.u",)),
        Rule("policy/narrow", Action.FORWARD, qualifiers=tuple(set(Qualifier) - {Qualifier.CODE})),
        Rule("policy/some", Action.FORWARD, (StatementClass.CREATE,), tuple(Qualifier)),
    ],
)
def test_a_rule_of_ones_own_may_need_it(play: Play, rule: Rule) -> None:
    play.state.judges = Verdicts(policy_of(PROFILES["forward-all"], [rule]))
    play.generation += 1
    play >> "create table u (a int)" << ASKS << until("client ready I")


def test_without_it_nothing_is_forwarded(play: Play) -> None:
    play.generation += 1
    play.server.on(FUNCTIONS_QUESTION, error("57014", "too slow"))
    (
        play
        >> "select 1"
        << ASKS
        << "upstream ROLLBACK"
        << "client ERROR 55000 the names of the database's functions could not be read..."
    )
    play << "client ready I"
    assert "select 1" not in play.server.heard


@pytest.mark.parametrize("answer", ["nonsense", '{"a": 1}'])
def test_an_answer_that_cannot_be_read_ends_the_session(play: Play, answer: str) -> None:
    play.generation += 1
    play.server.functions = answer
    play >> "select 1" << ASKS << "client FATAL 08006 the server broke the protocol..." << until("close")


def test_a_hold_looks_at_the_names_too(play: Play) -> None:
    play.server.functions = '["tell"]'
    play.generation += 1
    held(play, "delete from t where (t.a).tell") >> approve() << until("client ready I")
    assert play.ledger.body("preview")["why"].startswith(
        "planning it could have effects: it selects the attribute tell"
    )
