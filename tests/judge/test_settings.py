"""Settings: which may be changed freely, which wait for a signature, which would break a promise."""

import pytest
from tests.judge.texts import action, judged

from pgnotary.judge.grammar import parse
from pgnotary.judge.meaning import weigh_run
from pgnotary.judge.reading import read
from pgnotary.judge.rules import Action
from pgnotary.judge.settings import (
    PINNED,
    Ruling,
    SettingChange,
    parse_boolean,
    read_change,
    ruling,
    ruling_by_function,
)

FREE, HOLD, REFUSE, VIRTUAL = Ruling.FREE, Ruling.HOLD, Ruling.REFUSE, Ruling.VIRTUAL
READ_ONLY = "default_transaction_read_only"
ENCODING = "client_encoding"


@pytest.mark.parametrize(
    ("sql", "change", "answer"),
    [
        ("SET work_mem = '8MB'", SettingChange("work_mem", ("8MB",)), FREE),
        ("SET LOCAL WORK_MEM TO 65536", SettingChange("work_mem", ("65536",), local=True), FREE),
        ("SET SESSION work_mem = DEFAULT", SettingChange("work_mem", None), FREE),
        ("RESET work_mem", SettingChange("work_mem", None), FREE),
        ("RESET ALL", SettingChange("", None), FREE),
        ("SET cursor_tuple_fraction = 0.5", SettingChange("cursor_tuple_fraction", ("0.5",)), FREE),
        ("SET jit = off", SettingChange("jit", ("off",)), FREE),
        ("SET enable_sort = false", SettingChange("enable_sort", ("false",)), FREE),
        ("SET application_name = ''", SettingChange("application_name", ("",)), FREE),
        ("SET TIME ZONE 'UTC'", SettingChange("timezone", ("UTC",)), FREE),
        ("SET TIME ZONE -7", SettingChange("timezone", ("-7",)), FREE),
        ("SET TIME ZONE INTERVAL '1' HOUR", SettingChange("timezone", ("1",)), FREE),
        ("SET TIME ZONE LOCAL", SettingChange("timezone", None), FREE),
        ("SET XML OPTION DOCUMENT", SettingChange("xmloption", ("DOCUMENT",)), FREE),
        ("SET pgnotary.reason = 'because'", SettingChange("pgnotary.reason", ("because",)), FREE),
        ("SET search_path = a, b", SettingChange("search_path", ("a", "b")), FREE),
        ("SET search_path = pg_catalog, a", SettingChange("search_path", ("pg_catalog", "a")), FREE),
        ("SET search_path = a, pg_catalog", SettingChange("search_path", ("a", "pg_catalog")), HOLD),
        ("SET search_path = a, PG_CATALOG", SettingChange("search_path", ("a", "pg_catalog")), HOLD),
        ("SET SCHEMA 'a'", SettingChange("search_path", ("a",)), FREE),
        ("RESET search_path", SettingChange("search_path", None), FREE),
        ("SET ROLE x", SettingChange("role", ("x",)), HOLD),
        ("SET ROLE NONE", SettingChange("role", ("none",)), HOLD),
        ("RESET ROLE", SettingChange("role", None), HOLD),
        ("SET SESSION AUTHORIZATION x", SettingChange("session_authorization", ("x",)), HOLD),
        ("SET transaction_isolation = 'serializable'", SettingChange("transaction_isolation", ("serializable",)), FREE),
        ("SET session_replication_role = replica", SettingChange("session_replication_role", ("replica",)), HOLD),
        ("SET enable_x.y = on", SettingChange("enable_x.y", ("on",)), HOLD),
        ("SET NAMES 'UTF-8'", SettingChange("client_encoding", ("UTF-8",)), VIRTUAL),
        ("SET NAMES", SettingChange("client_encoding", None), VIRTUAL),
        (
            "SET LOCAL client_encoding = sql_ascii",
            SettingChange(ENCODING, ("sql_ascii",), local=True),
            VIRTUAL,
        ),
        ("SET client_encoding = sjis", SettingChange("client_encoding", ("sjis",)), REFUSE),
        ("SET client_encoding = wat", SettingChange("client_encoding", ("wat",)), VIRTUAL),
        ("SET client_encoding = ''", SettingChange("client_encoding", ("",)), VIRTUAL),
        ("SET standard_conforming_strings = 1", SettingChange("standard_conforming_strings", ("1",)), FREE),
        ("SET standard_conforming_strings = off", SettingChange("standard_conforming_strings", ("off",)), REFUSE),
        ("SET backslash_quote = 'safe_encoding'", SettingChange("backslash_quote", ("safe_encoding",)), FREE),
        ("SET backslash_quote = on", SettingChange("backslash_quote", ("on",)), REFUSE),
        ("SET default_transaction_read_only = off", SettingChange(READ_ONLY, ("off",)), VIRTUAL),
        ("SET LOCAL default_transaction_read_only = on", SettingChange(READ_ONLY, ("on",), local=True), VIRTUAL),
        ("SET default_transaction_read_only TO DEFAULT", SettingChange(READ_ONLY, None), VIRTUAL),
        ("RESET default_transaction_read_only", SettingChange(READ_ONLY, None), VIRTUAL),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", SettingChange(READ_ONLY, ("0",)), VIRTUAL),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", SettingChange(READ_ONLY, ("1",)), VIRTUAL),
        ('SET "Transaction_Read_Only" = off', SettingChange("transaction_read_only", ("off",)), REFUSE),
    ],
)
def test_a_change_is_read_and_ruled_on(sql: str, change: SettingChange, answer: Ruling) -> None:
    (statement,) = parse(sql.encode())
    assert read_change(statement.fields) == change
    assert ruling(change) is answer
    of_a_role = change.name in ("role", "session_authorization")
    actions = {FREE: Action.FORWARD, VIRTUAL: Action.FORWARD, HOLD: Action.HOLD, REFUSE: Action.REFUSE}
    assert action(sql, "strict") is actions[answer]
    assert action(sql) is (Action.FORWARD if of_a_role else actions[answer])


@pytest.mark.parametrize(
    "sql",
    [
        "SET x FROM CURRENT",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE, ISOLATION LEVEL SERIALIZABLE",
        "SET TRANSACTION SNAPSHOT '1'",
        "SET ROLE $1",
    ],
)
def test_what_is_no_plain_set_or_reset_is_refused(sql: str) -> None:
    (statement,) = parse(sql.encode())
    assert read_change(statement.fields) is None
    found = judged(sql)
    assert (found.action, found.reason[:11]) == (Action.REFUSE, "it changes ")


def test_every_pinned_setting_may_be_set_to_nothing_but_what_it_is() -> None:
    for name, value in PINNED.items():
        if name in (READ_ONLY, "client_encoding"):
            continue
        assert ruling(SettingChange(name, ("something else",))) is REFUSE
        assert ruling(SettingChange(name, (value, "something else"))) is REFUSE
        assert ruling(SettingChange(name, (value,))) is FREE


@pytest.mark.parametrize("values", [("on",), ("off",), ("maybe",), ("on", "off"), None])
def test_read_only_by_default_is_the_clients_own_virtual_setting(values: tuple[str, ...] | None) -> None:
    assert ruling(SettingChange(READ_ONLY, values)) is VIRTUAL


def test_session_characteristics_without_read_only_are_free() -> None:
    sql = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, DEFERRABLE"
    (statement,) = parse(sql.encode())
    assert read_change(statement.fields) == SettingChange("default_transaction_isolation", ())
    assert action(sql) is Action.FORWARD


@pytest.mark.parametrize("profile", ["default", "strict", "forward-all"])
@pytest.mark.parametrize(
    ("sql", "change"),
    [
        (
            "SELECT set_config('client_encoding', 'x', false)",
            SettingChange(ENCODING, ("x",), False, b"set_config"),
        ),
        (
            "select pg_catalog.SET_CONFIG('Client_Encoding', $2, true) AS e",
            SettingChange("client_encoding", None, True, b"e", 2),
        ),
        ("SELECT set_config('client_encoding', NULL, 't')", None),
        (
            "SELECT set_config('client_encoding', NULL, false)",
            SettingChange(ENCODING, None, False, b"set_config"),
        ),
    ],
)
def test_a_call_that_only_sets_client_encoding_is_read_as_a_change_of_it(
    sql: str, change: SettingChange | None, profile: str
) -> None:
    part = read(sql.encode()).parts[0]
    assert part.setting == change
    if change is not None:
        assert action(sql, profile) is Action.FORWARD


@pytest.mark.parametrize("profile", ["default", "strict"])
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT set_config('client_encoding', $1, false) FROM t",
        "SELECT set_config('client_encoding', $1, false) WHERE true",
        "SELECT set_config('client_encoding', $1, false), 1",
        "SELECT set_config('client_encoding', $1, false)::name",
        "SELECT 1; SELECT set_config('client_encoding', 'sql_ascii', false)",
        "SELECT set_config('client_encoding', 'sql_' || 'ascii', false)",
        "SELECT set_config('client_encoding', 'sql_ascii', $1)",
        "SELECT set_config('client_encoding', 'sql_ascii', false) LIMIT 1",
        "WITH a AS (SELECT 1) SELECT set_config('client_encoding', 'sql_ascii', false)",
        "SELECT set_config('client_encoding', 'sql_ascii', false) UNION SELECT 'a'",
        "SELECT DISTINCT set_config('client_encoding', 'sql_ascii', false)",
        "SELECT set_config('client_encoding', 'sql_ascii', false) OVER ()",
        "EXPLAIN ANALYZE SELECT set_config('client_encoding', 'sql_ascii', false)",
        "DECLARE c CURSOR FOR SELECT set_config('client_encoding', 'sql_ascii', false)",
        "PREPARE p AS SELECT set_config('client_encoding', 'sql_ascii', false)",
    ],
)
def test_any_other_call_that_sets_it_reaches_no_server(sql: str, profile: str) -> None:
    assert all(part.setting is None for part in read(sql.encode()).parts)
    assert action(sql, profile) is Action.REFUSE


@pytest.mark.parametrize("value", ["latin-1", "utf8"])
def test_no_name_runs_what_sets_it(value: str) -> None:
    behind = read(f"SELECT set_config('client_encoding', '{value}', false)".encode())
    part = weigh_run(read(b"EXECUTE s").parts[0], {("s", False): behind})
    assert part.runs_no_query == "s"


@pytest.mark.parametrize("other", ["SELECT 1", "DELETE FROM t", "SET work_mem = '8MB'"])
def test_another_encoding_is_set_in_a_message_of_its_own(other: str) -> None:
    for sql in (f"SET client_encoding = sql_ascii; {other}", f"{other}; SET client_encoding = 'UNICODE'"):
        found = judged(sql, "forward-all")
        assert (found.action, found.rule) == (Action.REFUSE, "refuse/setting-mix")
    assert judged(f"SET client_encoding = 'utf-8'; {other}", "forward-all").action is Action.FORWARD


@pytest.mark.parametrize("other", ["SELECT 1", "DELETE FROM t", "SET work_mem = '8MB'"])
def test_the_virtual_setting_is_changed_in_a_message_of_its_own(other: str) -> None:
    for sql in (f"SET {READ_ONLY} = off; {other}", f"{other}; SET {READ_ONLY} = off"):
        found = judged(sql, "forward-all")
        assert (found.action, found.rule) == (Action.REFUSE, "refuse/setting-mix")


@pytest.mark.parametrize(
    ("name", "value", "answer"),
    [
        ("work_mem", "8MB", FREE),
        ("work_mem", None, FREE),
        ("search_path", "a, b", FREE),
        ("search_path", ' "pg_catalog" , a', FREE),
        ("search_path", "a, pg_catalog", HOLD),
        ("search_path", 'a,\n\t"pg_catalog"', HOLD),
        ("search_path", "a, PG_CATALOG", HOLD),
        ("search_path", None, HOLD),
        ("role", "x", HOLD),
        ("session_replication_role", "replica", HOLD),
        (READ_ONLY, "on", REFUSE),
        (READ_ONLY, None, REFUSE),
        ("transaction_read_only", "off", REFUSE),
        ("transaction_read_only", None, REFUSE),
        ("client_encoding", "UTF8", FREE),
        ("client_encoding", "SJIS", REFUSE),
        ("standard_conforming_strings", "off", REFUSE),
        ("pgnotary.reason", "because", FREE),
        ("pgnotary.default_transaction_read_only", "off", REFUSE),
        ("pgnotary.default_transaction_read_only", None, REFUSE),
    ],
)
def test_set_config_is_ruled_on_like_set_and_never_changes_the_virtual_one(
    name: str, value: str | None, answer: Ruling
) -> None:
    assert ruling_by_function(SettingChange(name, (value,) if value is not None else None)) is answer
    written = f"'{value}'" if value is not None else "$1"
    actions = {FREE: Action.FORWARD, HOLD: Action.HOLD, REFUSE: Action.REFUSE}
    assert action(f"SELECT set_config('{name.upper()}', {written}, false)") is actions[answer]


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        *((word, True) for word in ("on", "t", "tr", "TRUE", "y", "yes", " Yes ", "1")),
        *((word, False) for word in ("off", "of", "f", "FALSE", "n", "no", "0")),
        *((word, None) for word in ("", "o", "2", "maybe", "truee", "onn")),
    ],
)
def test_a_boolean_is_what_postgresql_takes_for_one(value: str, meaning: bool | None) -> None:
    assert parse_boolean(value) is meaning


def test_what_is_read_of_a_change_of_role_is_where_names_stand_for_something_else() -> None:
    rescoping = ["SET ROLE x", "RESET ROLE", "SET SESSION AUTHORIZATION x", "RESET ALL", "SET search_path = a"]
    assert all(read(sql.encode()).parts[0].rescopes for sql in [*rescoping, "SET SCHEMA 'a'", "DISCARD ALL"])
    assert not read(b"SET work_mem = 1").parts[0].rescopes
