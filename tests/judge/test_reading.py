"""Reading: whatever the text, the answer is a statement, and only a proof forwards it."""

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.judge.test_corpus import FORWARDED

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.errors import InvalidText
from pgnotary.judge.grammar import Message
from pgnotary.judge.harmless import QUERY_MESSAGES, doubt_of
from pgnotary.judge.harmless_functions import HARMLESS, HARMLESS_THOUGH_VOLATILE
from pgnotary.judge.policy import PROFILES, Action, verdict
from pgnotary.judge.reading import read

DANGEROUS = """
    pg_read_file pg_ls_dir pg_terminate_backend pg_cancel_backend pg_reload_conf lo_import lo_export lo_unlink lo_put
    query_to_xml cursor_to_xml database_to_xml table_to_xml ts_stat ts_rewrite set_config setval nextval pg_notify
    pg_advisory_lock pg_export_snapshot pg_create_restore_point pg_switch_wal pg_logical_emit_message dblink
    pg_current_xact_id txid_current setseed pg_stat_reset pg_promote pg_drop_replication_slot brin_summarize_new_values
    gin_clean_pending_list fmgr_c_validator amvalidate
    pg_import_system_collations pg_restore_relation_stats pg_clear_relation_stats
""".split()
PIECES = [
    "SELECT",
    " ",
    "1",
    "'",
    "$$",
    "--",
    "\n",
    ";",
    "DELETE FROM t",
    "/*",
    "*/",
    "(",
    ")",
    "\u2028",
    "E'\\'",
    "$1",
    ",",
]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_no_text_hides_a_delete(text: str) -> None:
    statement = read(text.encode())
    if verdict(statement, PROFILES["default"]).action is Action.FORWARD:
        assert {part.node for part in statement.parts} <= {"SelectStmt", ""}


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_as_not_utf_8(text: bytes) -> None:
    try:
        statement = read(text)
    except InvalidText:
        return
    assert statement.parts
    assert all(0 <= part.start <= part.end <= len(text) for part in statement.parts)


def test_a_node_that_nobody_has_read_about_is_held() -> None:
    assert doubt_of([Message("SomethingNewExpr", {})], QUERY_MESSAGES) == "has SomethingNewExpr"


def test_the_list_of_harmless_functions_agrees_with_a_live_catalog(postgres: EmbeddedPostgres) -> None:
    query = "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND provolatile = 'v'"
    with psycopg.connect(postgres.dsn("postgres")) as connection:
        volatile = {name for (name,) in connection.execute(query).fetchall()}
    assert volatile & HARMLESS == volatile & HARMLESS_THOUGH_VOLATILE


@pytest.mark.parametrize("name", DANGEROUS)
def test_a_function_with_effects_is_not_on_the_list(name: str) -> None:
    assert name not in HARMLESS


@pytest.mark.parametrize("sql", [sql for sql in FORWARDED if sql.startswith(("SELECT", "EXPLAIN", "VALUES", "SHOW"))])
def test_what_is_forwarded_runs_read_only_and_takes_no_transaction_id(postgres: EmbeddedPostgres, sql: str) -> None:
    with psycopg.connect(postgres.dsn("postgres")) as connection:
        connection.execute("CREATE TEMP TABLE t (a int)")
        connection.commit()
        connection.execute("BEGIN READ ONLY")
        connection.execute(sql.encode())
        assert connection.execute("SELECT pg_current_xact_id_if_assigned()").fetchone() == (None,)
