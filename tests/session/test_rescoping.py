"""Where names are looked up: asked again whenever something may have changed it, and never believed beyond that."""

import pytest
from tests.play import Play, approve, until
from tests.session.stories import asked_anew, held, in_a_block

ASKS = "upstream BEGIN READ ONLY; SELECT pg_catalog.to_json(pg_catalog.current_schemas(true))..."
ASKS_IN_A_BLOCK = "upstream SAVEPOINT pgnotary_catalog; SELECT pg_catalog.to_json(..."
APP = '["pg_catalog", "app"]'
PUBLIC = '["pg_catalog", "public"]'
WITH_TEMP = '["pg_temp_3", "pg_catalog", "public"]'


@pytest.fixture
def known(play: Play) -> Play:
    """The schema public has a view that calls what nobody has read; the schema app has none of its tables."""
    play.server.views = ("spy",)
    return asked_anew(play)


@pytest.mark.parametrize(
    "text",
    [
        "set search_path = app",
        "set local search_path = app",
        "reset search_path",
        "set schema 'app'",
        "set role x",
        "reset role",
        "set session authorization x",
        "reset all",
        "discard temp",
        "select set_config('search_path', 'app', false)",
        "create temp table x (a int)",
        "select 1 into temp x",
    ],
)
def test_it_is_asked_again_after_what_may_change_it(known: Play, text: str) -> None:
    known >> text << until("client ready I")
    known >> "select 1" << ASKS << "upstream select 1" << until("client ready I")
    known >> "select 1" << "upstream select 1" << until("client ready I")


@pytest.mark.parametrize(
    "text", ["select 1 from t", "set work_mem = '1MB'", "insert into t values (1)", "show work_mem"]
)
def test_it_is_not_asked_again_after_what_changes_nothing(known: Play, text: str) -> None:
    known >> text << until("client ready I")
    known >> "select 1" << "upstream select 1" << until("client ready I")


def test_temporary_relations_are_asked_for_only_where_their_schema_is_searched(known: Play) -> None:
    known >> "reset all" << until("client ready I")
    known >> "select 1" << ASKS << "upstream select 1" << until("client ready I")
    known.server.path = WITH_TEMP
    known >> "reset all" << until("client ready I")
    known >> "select 1" << ASKS
    known << "upstream BEGIN READ ONLY; SET LOCAL search_path = pg_catalog; SELECT pg_catalog.json_agg(..."
    known << "upstream select 1" << until("client ready I")


def test_a_name_is_looked_up_where_the_new_search_path_says(known: Play) -> None:
    known >> "set search_path = app" << until("client ready I")
    known.server.path = APP
    known >> "select 1 from t" << until("announce R-1")
    assert known.ledger.body("request")["why"] == "it names t, which the catalog does not know"


def test_what_a_block_has_set_its_end_takes_back(known: Play) -> None:
    for end in ("rollback", "commit"):
        in_a_block(known) >> "set local search_path = app" << until("client ready T")
        known.server.path = APP
        known >> "select 1" << ASKS_IN_A_BLOCK << until("client ready T")
        known >> end << until("client ready I")
        known.server.path = PUBLIC
        known >> "select 1 from t" << ASKS << "upstream select 1 from t" << until("client ready I")


def test_what_was_set_behind_a_savepoint_is_taken_back_with_it(known: Play) -> None:
    in_a_block(known) >> "savepoint a" << until("client ready T")
    known >> "set search_path = app" << until("client ready T")
    known.server.path = APP
    known >> "select 1" << ASKS_IN_A_BLOCK << until("client ready T")
    known >> "rollback to a" << until("client ready T")
    known.server.path = PUBLIC
    known >> "select 1 from t" << ASKS_IN_A_BLOCK << until("upstream select 1 from t") << until("client ready T")


def test_what_was_signed_in_a_block_may_have_set_it_and_its_rollback_takes_it_back(known: Play) -> None:
    """A search_path that only the signed statement had must not be believed behind the end of its block."""
    held(in_a_block(known), "select set_config('search_path', x, false) from t") >> approve() << until("client ready T")
    known.server.path = APP
    known >> "select 1" << ASKS_IN_A_BLOCK << until("client ready T")
    known >> "rollback" << until("client ready I")
    known.server.path = PUBLIC
    known >> "select 1 from spy" << ASKS << until("announce R-2")


def test_a_later_part_of_a_text_is_looked_up_where_an_earlier_one_may_say(known: Play) -> None:
    known.server.path = APP
    asked_anew(known)
    held(known, "select set_config('search_path', 'public', false); select 1 from spy")
    assert "spy, which calls what nobody has read" in known.ledger.body("request")["why"]


def test_a_setting_and_what_it_makes_doubtful_do_not_share_a_message(known: Play) -> None:
    (
        known
        >> "set search_path = app; select 1 from spy"
        << "client ERROR 0A000 refused by pgnotary: a setting changes..."
    )
    known << "client ready I"


def test_a_temporary_table_made_by_an_earlier_part_hides_no_view(known: Play) -> None:
    held(known, "create temp table spy (a int); select * from spy")


def test_a_temporary_table_of_ones_own_may_be_changed_unasked(known: Play) -> None:
    known >> "create temp table mine (a int)" << until("client ready I")
    known.server.path = WITH_TEMP
    known.server.temporary = '[["mine", true, true, null], ["odd", false, false, null]]'
    for text in ("delete from mine", "truncate mine", "drop table mine"):
        known >> text << until(f"upstream {text}") << until("upstream COMMIT") << until("client ready I")
    assert known.server.committed[1:] == ["delete from mine", "truncate mine", "drop table mine"]


def test_a_temporary_relation_with_code_may_not(known: Play) -> None:
    known.server.path = WITH_TEMP
    known.server.temporary = '[["odd", true, false, null]]'
    known >> "set search_path = app" << until("client ready I")
    held(known, "delete from odd")


def test_a_table_that_a_temporary_one_hides_is_not_changed_unasked(known: Play) -> None:
    """It may be dropped behind our back, and uncover the other."""
    known.server.path = WITH_TEMP
    known.server.temporary = '[["t", true, true, null]]'
    known >> "reset role" << until("client ready I")
    held(known, "delete from t")


def test_transaction_control_asks_for_nothing_inside_a_block(known: Play) -> None:
    in_a_block(known) >> "set local search_path = app" << until("client ready T")
    for text in ("savepoint a", "release a", "set local work_mem = '1MB'", "commit"):
        known >> text << f"upstream {text}" << until("client ready I" if text == "commit" else "client ready T")
