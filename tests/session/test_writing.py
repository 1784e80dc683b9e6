"""What policy lets write without a signature: in a transaction of ours, committed before the client hears of it."""

import pytest
from tests.play import Play, approve, error, row, until
from tests.session.stories import asked_anew, held, in_a_block

from pgnotary.session import counted

BEGIN = "upstream BEGIN; SET TRANSACTION READ WRITE"
WALL = "upstream SAVEPOINT pgnotary_read; SET LOCAL transaction_read_only = on"
UNWALL = "upstream ROLLBACK TO SAVEPOINT pgnotary_read; RELEASE SAVEPOINT pgnotary_read"
KEPT = "upstream RELEASE SAVEPOINT pgnotary_read"
INSERT = "insert into t values (1)"


@pytest.fixture
def known(play: Play) -> Play:
    """A session that knows its database: without a catalog no INSERT is plain."""
    play.server.watched = ("watched",)
    return asked_anew(play)


BEFORE, AFTER = (f"upstream {counted.QUESTIONS[False, ran].decode()}" for ran in (False, True))


def test_a_plain_insert_runs_in_a_transaction_of_ours(known: Play) -> None:
    (
        known
        >> INSERT
        << BEGIN
        << BEFORE
        << f"upstream {INSERT}"
        << AFTER
        << "upstream COMMIT"
        << "client INSERT 0 5"
        << "client ready I"
    )
    assert known.server.committed == [INSERT]
    assert known.server.default_read_only


def test_an_insert_into_a_table_with_a_trigger_is_held(known: Play) -> None:
    held(known, "insert into watched values (1)")
    assert known.server.committed == []


def test_without_a_catalog_no_insert_is_plain(play: Play) -> None:
    held(play, INSERT)


def test_the_client_hears_of_no_insert_that_was_not_committed(known: Play) -> None:
    """A deferred constraint fails at COMMIT, and the rows are not there."""
    known.server.on("COMMIT", error("23503", "violates a foreign key"))
    known >> INSERT << BEGIN << BEFORE << f"upstream {INSERT}" << AFTER << "upstream COMMIT"
    known << "client ERROR 23503 violates a foreign key" << "client ready I"
    assert known.server.committed == []


def test_a_failed_insert_leaves_no_transaction_behind(known: Play) -> None:
    known.server.on(INSERT, error("23505", "duplicate key"))
    known >> INSERT << BEGIN << BEFORE << f"upstream {INSERT}" << "upstream ROLLBACK"
    known << "client ERROR 23505 duplicate key" << "client ready I"
    known >> "select 1" << "upstream select 1" << until("client ready I")


def test_several_inserts_are_one_transaction(known: Play) -> None:
    text = "insert into t values (1); insert into u values (2)"
    known >> text << BEGIN << BEFORE << "upstream insert into t values (1)" << AFTER
    (
        known
        << BEFORE
        << "upstream insert into u values (2)"
        << AFTER
        << "upstream COMMIT"
        << "client INSERT 0 5"
        << "client INSERT 0 5"
        << "client ready I"
    )
    known.server.on("insert into u values (2)", error("23505", "duplicate key"))
    known >> text << until("upstream ROLLBACK") << "client INSERT 0 5"
    known << "client ERROR 23505 duplicate key" << "client ready I"
    assert known.server.committed == ["insert into t values (1)", "insert into u values (2)"]


def test_a_read_beside_an_insert_runs_behind_the_wall(known: Play) -> None:
    known >> f"select 1; {INSERT}" << BEGIN << WALL << "upstream select 1" << UNWALL << BEFORE << f"upstream {INSERT}"
    (
        known
        << AFTER
        << "upstream COMMIT"
        << "client columns"
        << "client row 1"
        << "client SELECT 1"
        << "client INSERT 0 5"
    )
    known << "client ready I"
    assert "select 1" not in known.server.writable


def test_where_no_transaction_of_ours_can_be_opened_the_session_ends(known: Play) -> None:
    known.server.on("BEGIN; SET TRANSACTION READ WRITE", error("25001", "no"))
    known >> INSERT << BEGIN << "client FATAL 08006 the server broke the protocol: no read-write transaction..."
    known << until("close")


def test_in_a_block_of_the_clients_own_an_insert_runs_counted(known: Play) -> None:
    in_a_block(known) >> INSERT << BEFORE << f"upstream {INSERT}" << AFTER << "client INSERT 0 5" << "client ready T"
    known >> "commit" << "upstream commit" << "client COMMIT" << "client ready I"
    assert known.server.committed == [INSERT]


def test_what_a_block_inserted_and_rolled_back_is_gone(known: Play) -> None:
    in_a_block(known) >> INSERT << until("client ready T")
    known >> "rollback" << until("client ready I")
    assert known.server.committed == []


# --- the manner of what tools live on ---------------------------------------------------------------------------------

IN_OWN_BLOCK = [
    "select nextval('s')",
    "select a from t for update",
    "select a from t for key share",
    "create temp table x (a int)",
    "create temp table x as select 1",
    "select 1 into temp x from t",
]
AS_THEY_ARE = [
    "lock table t in access share mode",
    "listen x",
    "notify x",
    "unlisten *",
    "select pg_notify('a', 'b')",
    "select pg_advisory_lock(1)",
    "select pg_try_advisory_xact_lock(1)",
    "set role x",
    "select set_config('work_mem', '1MB', false)",
    "set constraints all deferred",
]


@pytest.mark.parametrize("text", IN_OWN_BLOCK)
def test_what_must_write_has_a_transaction_of_ours_outside_a_block_and_no_wall_in_one(known: Play, text: str) -> None:
    before, after = (f"upstream {counted.QUESTIONS['temp' in text, ran].decode()}" for ran in (False, True))
    known >> text << BEGIN << before << f"upstream {text}" << until(after) << until("client ready I")
    in_a_block(known) >> text << before << f"upstream {text}" << until(after) << until("client ready T")
    assert known.server.writable.count(text) == 2


@pytest.mark.parametrize("text", AS_THEY_ARE)
def test_what_needs_no_writing_goes_as_it_is(known: Play, text: str) -> None:
    known >> text << f"upstream {text}" << until("client ready I")
    assert text not in known.server.writable
    in_a_block(known)
    known >> text << until(f"upstream {text}") << until("client ready T")
    assert (counted.QUESTIONS[False, True].decode() in known.server.heard) == text.startswith("select")
    assert UNWALL.removeprefix("upstream ") not in known.server.heard, "locks and settings outlive it"


@pytest.mark.parametrize("text", ["select 1 from t", "explain select 1", "copy t to stdout", "values (1)"])
def test_a_read_runs_behind_the_wall_in_a_block_and_read_only_outside(known: Play, text: str) -> None:
    known >> text << f"upstream {text}" << until("client ready I")
    in_a_block(known) >> text << WALL << f"upstream {text}" << until(UNWALL) << "client ready T"
    assert text not in known.server.writable


def test_a_cursor_outlives_its_wall_and_what_is_fetched_from_it_is_walled(known: Play) -> None:
    declared = "declare c cursor for select 1 from t"
    in_a_block(known) >> declared << WALL << BEFORE << f"upstream {declared}" << until(KEPT) << until("client ready T")
    known.server.cursors["c"] = declared
    known >> "fetch c" << until(WALL) << "upstream fetch c" << until(UNWALL) << "client ready T"
    assert not {declared, "fetch c"} & set(known.server.writable)


def test_a_temporary_table_of_ones_own_is_no_reason_to_ask_for_the_catalog_anew(known: Play) -> None:
    before = known.generation
    known >> "create temp table x (a int)" << until("client ready I")
    assert known.generation == before
    assert known.state.scope_stale


# --- what is behind a name --------------------------------------------------------------------------------------------

ASKS = "upstream SELECT statement FROM pg_catalog.pg_prepared_statements WHERE name OPERATOR(pg_catalog.=) '{}'"


def test_execute_of_a_read_is_a_read(known: Play) -> None:
    known.server.prepared[b"p"] = "prepare p as select 1 from t"
    known >> "execute p" << ASKS.format("p") << until("upstream execute p") << until("client ready I")
    in_a_block(known) >> "execute p" << until(WALL) << "upstream execute p" << until(UNWALL) << "client ready T"
    assert "execute p" not in known.server.writable


def test_execute_of_an_insert_writes_like_the_insert(known: Play) -> None:
    known.server.prepared[b"p"] = "insert into t values ($1)"
    known >> "execute p (1)" << until(BEGIN) << BEFORE << "upstream execute p (1)" << until(AFTER) << "upstream COMMIT"
    known << until("client ready I")


@pytest.mark.parametrize(
    "text", ["prepare p as delete from t", "delete from t", "insert into watched values (1)", "select 1; select 2"]
)
def test_execute_of_what_is_held_is_held(known: Play, text: str) -> None:
    known.server.prepared[b"p"] = text
    held(known, "execute p")
    assert "execute p" not in known.server.heard


def test_execute_of_a_name_that_nobody_knows_is_the_servers_to_answer(known: Play) -> None:
    known >> "execute nobody" << ASKS.format("nobody") << until("upstream execute nobody") << until("client ready I")


def test_a_name_is_asked_for_in_quotes_of_ours(known: Play) -> None:
    known >> 'execute "o\'clock"' << ASKS.format("o''clock") << until("client ready I")


def test_what_is_behind_a_name_is_asked_for_each_time(known: Play) -> None:
    known.server.prepared[b"p"] = "select 1"
    known >> "execute p" << until("upstream execute p") << until("client ready I")
    known.server.prepared[b"p"] = "delete from t"
    held(known, "execute p")


def test_an_earlier_part_may_give_a_name_to_something_else(known: Play) -> None:
    known.server.prepared[b"p"] = "select 1"
    held(known, "deallocate p; prepare p as delete from t; execute p")
    assert "execute p" not in known.server.heard


def test_fetch_from_a_cursor_over_a_view_with_code_is_held(known: Play) -> None:
    known.server.views = ("spy",)
    asked_anew(known)
    known.server.cursors["c"] = "declare c cursor for select * from spy"
    held(in_a_block(known), "fetch c")


# --- stopped by the wall ----------------------------------------------------------------------------------------------

WROTE = error("25006", "cannot execute INSERT in a read-only transaction")


def test_outside_a_block_what_the_wall_stops_is_held_and_runs_if_signed(known: Play) -> None:
    known.server.on("select * from t", WROTE)
    held(known, "select * from t")
    del known.server.scripted["select * from t"]
    known >> approve() << until("upstream select * from t") << until("client ready I")
    assert "select * from t" in known.server.writable
    assert known.ledger.body("request")["rule"] == "wall/25006"


def test_inside_a_block_the_wall_is_undone_before_it_is_held(known: Play) -> None:
    known.server.on("select * from t", WROTE)
    in_a_block(known) >> "select * from t" << WALL << "upstream select * from t" << UNWALL << until("announce R-1")
    assert known.server.status == "T"


def test_nothing_is_held_of_which_the_client_has_had_a_row(known: Play) -> None:
    known.server.on("select * from t", row("1"), WROTE)
    known >> "select * from t" << "upstream select * from t" << "client row 1" << "client ERROR 25006..."
    known << "client ready I"
    in_a_block(known) >> "select * from t" << WALL << "upstream select * from t" << "client row 1"
    known << "client ERROR 25006..." << "client ready E"


def test_of_several_statements_none_is_held_when_one_is_stopped(known: Play) -> None:
    known.server.on("select * from t", WROTE)
    known >> "select 1; select * from t" << until("client ERROR 25006...") << "client ready I"


def test_who_is_read_only_by_choice_is_told_what_the_server_says() -> None:
    with Play(user_read_only=True) as play:
        play.server.on("select * from t", WROTE)
        play >> "select * from t" << "upstream select * from t" << "client ERROR 25006..." << "client ready I"
