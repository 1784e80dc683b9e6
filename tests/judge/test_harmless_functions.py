"""The list of harmless functions against the catalog of a live server, and against a list of dangerous ones."""

import psycopg
import pytest
from tests.judge.texts import ATTACKS, action

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.judge.harmless_functions import HARMLESS, HARMLESS_THOUGH_VOLATILE
from pgnotary.judge.meaning import weigh
from pgnotary.judge.reading import read
from pgnotary.judge.rules import Action
from pgnotary.judge.statement import Part, Qualifier

DANGEROUS = """
    pg_read_file pg_read_binary_file pg_ls_dir pg_ls_logdir pg_ls_waldir pg_stat_file pg_current_logfile
    pg_hba_file_rules pg_show_all_file_settings pg_terminate_backend pg_cancel_backend pg_reload_conf pg_rotate_logfile
    pg_log_backend_memory_contexts lo_creat lo_create lo_open lo_import lo_export lo_unlink lo_put lo_from_bytea
    lo_truncate lo_truncate64 lowrite query_to_xml query_to_xmlschema query_to_xml_and_xmlschema cursor_to_xml
    table_to_xmlschema schema_to_xmlschema database_to_xmlschema
    cursor_to_xmlschema table_to_xml table_to_xml_and_xmlschema schema_to_xml database_to_xml
    database_to_xml_and_xmlschema ts_stat ts_rewrite set_config setseed setval nextval pg_notify pg_advisory_lock
    pg_advisory_xact_lock pg_try_advisory_lock pg_advisory_unlock pg_advisory_unlock_all pg_export_snapshot
    pg_create_restore_point pg_switch_wal pg_logical_emit_message dblink dblink_exec pg_current_xact_id txid_current
    pg_stat_reset pg_stat_reset_shared pg_stat_clear_snapshot pg_promote pg_wal_replay_pause pg_backup_start
    pg_drop_replication_slot pg_create_physical_replication_slot pg_create_logical_replication_slot
    pg_logical_slot_get_changes pg_replication_slot_advance pg_replication_origin_create
    pg_replication_origin_session_setup pg_sync_replication_slots brin_summarize_new_values brin_desummarize_range
    gin_clean_pending_list fmgr_c_validator fmgr_internal_validator fmgr_sql_validator plpgsql_validator amvalidate
    pg_import_system_collations pg_restore_relation_stats pg_clear_relation_stats pg_set_attribute_stats
    pg_nextoid binary_upgrade_set_next_pg_type_oid pg_extension_config_dump pg_start_backup pg_stop_backup
    RI_FKey_cascade_del suppress_redundant_updates_trigger lo_manage plpgsql_call_handler plpgsql_inline_handler
""".split()


def _weighed(sql: str) -> Part:
    return weigh(read(sql.encode())).parts[0]


FUNCTION_ATTACKS = [
    name
    for name, sql in ATTACKS.items()
    if (found := _weighed(sql)).qualifiers <= {Qualifier.FUNCTION, Qualifier.SINGLE_READER}
    and any(each.judge == "catalog" for each in found.findings)
]


@pytest.fixture(scope="module")
def volatilities(postgres: EmbeddedPostgres) -> dict[str, set[str]]:
    """Name -> volatilities of the functions of that name in pg_catalog."""
    query = "SELECT proname, array_agg(provolatile::text) FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace"
    with psycopg.connect(postgres.dsn("postgres")) as connection:
        return {name: set(found) for name, found in connection.execute(query + " GROUP BY 1").fetchall()}


def test_no_volatile_function_is_listed_but_those_that_were_read(volatilities: dict[str, set[str]]) -> None:
    volatile = {name for name in HARMLESS & volatilities.keys() if "v" in volatilities[name]}
    # Until PostgreSQL 14 timezone(text, timetz) was called volatile: it reads the clock, and changes nothing.
    assert volatile <= HARMLESS_THOUGH_VOLATILE | {"timezone"}
    # 1,990 on PostgreSQL 14, more on later ones.
    assert len(HARMLESS & volatilities.keys()) > 1_900


def test_no_listed_name_can_be_a_trigger_or_a_validator(postgres: EmbeddedPostgres) -> None:
    query = """
        SELECT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
        AND (prorettype IN ('trigger'::regtype, 'event_trigger'::regtype, 'language_handler'::regtype)
             OR oid IN (SELECT lanvalidator FROM pg_language))
    """
    with psycopg.connect(postgres.dsn("postgres")) as connection:
        assert {name for (name,) in connection.execute(query).fetchall()} & HARMLESS == set()


@pytest.mark.parametrize("name", DANGEROUS)
def test_a_function_with_effects_is_not_on_the_list(name: str) -> None:
    assert name not in HARMLESS


def test_most_of_the_dangerous_ones_exist_on_this_server(volatilities: dict[str, set[str]]) -> None:
    assert len([name for name in DANGEROUS if name in volatilities]) > 70


@pytest.mark.parametrize("name", FUNCTION_ATTACKS)
def test_without_the_list_the_grammar_would_pass_it(name: str) -> None:
    assert action(ATTACKS[name]) is Action.HOLD
    assert {each.judge for each in read(ATTACKS[name].encode()).parts[0].findings} <= {"second reader"}


def test_there_are_such_attacks() -> None:
    assert len(FUNCTION_ATTACKS) > 50
