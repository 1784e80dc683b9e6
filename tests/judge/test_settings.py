"""Settings: which may be changed freely, which wait for a signature, which would break a promise."""

import pytest

from pgnotary.judge.grammar import parse
from pgnotary.judge.policy import PROFILES, Action, verdict
from pgnotary.judge.reading import read
from pgnotary.judge.settings import PINNED, Ruling, SettingChange, read_change, ruling

FREE, HOLD, REFUSE = Ruling.FREE, Ruling.HOLD, Ruling.REFUSE


@pytest.mark.parametrize(
    ("sql", "change", "answer"),
    [
        ("SET work_mem = '8MB'", SettingChange("work_mem", ("8MB",)), FREE),
        ("SET LOCAL WORK_MEM TO 65536", SettingChange("work_mem", ("65536",)), FREE),
        ("SET SESSION work_mem = DEFAULT", SettingChange("work_mem", None), FREE),
        ("RESET work_mem", SettingChange("work_mem", None), FREE),
        ("RESET ALL", SettingChange("", None), FREE),
        ("SET cursor_tuple_fraction = 0.5", SettingChange("cursor_tuple_fraction", ("0.5",)), FREE),
        ("SET jit = off", SettingChange("jit", ("off",)), FREE),
        ("SET enable_sort = false", SettingChange("enable_sort", ("false",)), FREE),
        ("SET application_name = ''", SettingChange("application_name", ("",)), HOLD),
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
        ("SET transaction_isolation = 'serializable'", SettingChange("transaction_isolation", ("serializable",)), HOLD),
        ("SET NAMES 'UTF-8'", SettingChange("client_encoding", ("UTF-8",)), FREE),
        ("SET NAMES", SettingChange("client_encoding", None), FREE),
        ("SET client_encoding = Unicode", SettingChange("client_encoding", ("unicode",)), FREE),
        ("SET client_encoding = latin1", SettingChange("client_encoding", ("latin1",)), REFUSE),
        ("SET client_encoding = ''", SettingChange("client_encoding", ("",)), REFUSE),
        ("SET standard_conforming_strings = 1", SettingChange("standard_conforming_strings", ("1",)), FREE),
        ("SET standard_conforming_strings = off", SettingChange("standard_conforming_strings", ("off",)), REFUSE),
        ("SET backslash_quote = 'safe_encoding'", SettingChange("backslash_quote", ("safe_encoding",)), FREE),
        ("SET backslash_quote = on", SettingChange("backslash_quote", ("on",)), REFUSE),
        ("SET default_transaction_read_only = on", SettingChange("default_transaction_read_only", ("on",)), REFUSE),
        ("RESET default_transaction_read_only", SettingChange("default_transaction_read_only", None), REFUSE),
        ('SET "Transaction_Read_Only" = off', SettingChange("transaction_read_only", ("off",)), REFUSE),
    ],
)
def test_a_change_is_read_and_ruled_on(sql: str, change: SettingChange, answer: Ruling) -> None:
    (statement,) = parse(sql.encode())
    assert read_change(statement.fields) == change
    assert ruling(change) is answer
    actions = {FREE: Action.FORWARD, HOLD: Action.HOLD, REFUSE: Action.REFUSE}
    assert verdict(read(sql.encode()), PROFILES["default"]).action is actions[answer]


@pytest.mark.parametrize(
    "sql",
    [
        "SET x FROM CURRENT",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "SET TRANSACTION SNAPSHOT '1'",
        "SET ROLE $1",
    ],
)
def test_what_is_no_plain_set_or_reset_is_refused(sql: str) -> None:
    (statement,) = parse(sql.encode())
    assert read_change(statement.fields) is None
    found = verdict(read(sql.encode()), PROFILES["default"])
    assert (found.action, found.reason[:11]) == (Action.REFUSE, "it changes ")


def test_every_pinned_setting_may_be_set_to_nothing_but_what_it_is() -> None:
    for name, value in PINNED.items():
        assert ruling(SettingChange(name, ("something else",))) is REFUSE
        assert ruling(SettingChange(name, (value, "something else"))) is REFUSE
        expected = REFUSE if name == "default_transaction_read_only" else FREE
        assert ruling(SettingChange(name, (value,))) is expected
