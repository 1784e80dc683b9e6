"""What is refused under every policy, and the sentence that says why."""

import pytest
from tests.judge.texts import POLICIES, REFUSED, judged

from pgnotary.judge.reading import read
from pgnotary.judge.refusals import refusal, sentence
from pgnotary.judge.rules import Action


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        (f"PREPARE TRANSACTION '{'x' * 200}'", "gid"),
        (f"COMMIT PREPARED '{'x' * 200}'", "gid"),
        ("COMMIT PREPARED 'x'; COMMIT PREPARED 'y'", "outside-block"),
        ("SET transaction_read_only = off", "pinned-setting"),
        ("SET standard_conforming_strings = off", "pinned-setting"),
        ("SET pgnotary.default_transaction_read_only = off", "pinned-setting"),
        ("SELECT set_config('default_transaction_read_only', 'off', false)", "pinned-setting"),
        ("SELECT 1; SELECT set_config('transaction_read_only', $1, true)", "pinned-setting"),
        ("EXPLAIN ANALYZE SELECT set_config('client_encoding', 'sjis', false)", "pinned-setting"),
        ("SAVEPOINT pgnotary_read", "savepoint-name"),
        ("RELEASE pgnotary_look", "savepoint-name"),
        ("SET default_transaction_read_only = off; SELECT 1", "setting-mix"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE, DEFERRABLE", "pinned-setting"),
        ("SET x FROM CURRENT", "session-characteristics"),
        ("COPY t FROM STDIN; SELECT 1", "copy-from-stdin"),
        ("BEGIN; COPY t FROM STDIN; COMMIT", "copy-from-stdin"),
        ("VACUUM; SELECT 1", "outside-block"),
        ("COMMIT; SELECT 1", "transaction-mix"),
        ("BEGIN; COMMIT; SELECT 1", "transaction-mix"),
        ("COMMIT \u00a0", "unreadable-control"),
        ("set x = \u2028 1", "unreadable-control"),
    ],
)  # fmt: skip
def test_each_objection_has_its_rule(sql: str, rule: str) -> None:
    found = refusal(read(sql.encode()))
    assert found is not None
    assert found.rule == f"refuse/{rule}"
    assert found.reason


@pytest.mark.parametrize("sql", [sql for sql in REFUSED if refusal(read(sql.encode()))])
def test_no_policy_lifts_a_refusal(sql: str) -> None:
    for profile in POLICIES:
        found = judged(sql, profile)
        assert (found.action, found.rule[:7]) == (Action.REFUSE, "refuse/")


def test_most_of_what_is_listed_as_refused_is() -> None:
    assert sum(refusal(read(sql.encode())) is not None for sql in REFUSED) > 25


@pytest.mark.parametrize(
    "sql",
    [
        "SAVEPOINT a; RELEASE a",
        "BEGIN; SELECT 1; COMMIT",
        "BEGIN; SET LOCAL work_mem = '1MB'; SELECT 1; ROLLBACK",
        "SET work_mem = '1MB'; SELECT 1",
        "SET default_transaction_read_only = off",
        "nonsense",
        "SELECT 1 \u00a0",
        "SAVEPOINT mine",
        "DELETE FROM t",
        "COPY t FROM '/x'",
        "COPY t FROM STDIN",
    ],
)
def test_what_is_not_refused_is_for_policy_to_judge(sql: str) -> None:
    assert refusal(read(sql.encode())) is None


@pytest.mark.parametrize("sql", ["SET work_mem = '1MB'; DELETE FROM t", "DELETE FROM t; RESET work_mem"])
def test_a_setting_and_what_is_held_do_not_share_a_message(sql: str) -> None:
    found = judged(sql)
    assert (found.action, found.rule) == (Action.REFUSE, "refuse/setting-mix")
    assert judged(sql, "forward-all").action is Action.FORWARD


def test_a_reason_is_a_sentence_that_names_the_statement() -> None:
    one, two = read(b"DELETE FROM t"), read(b"SELECT 1; DELETE FROM t; SELECT 1 ORDER BY 1 USING >")
    assert sentence(one, one.parts[0], one.parts[0].findings[0]) == "it is DELETE"
    assert sentence(two, two.parts[1], two.parts[1].findings[1]) == "statement 2 of 3 has no WHERE"
    assert sentence(two, two.parts[2], two.parts[2].findings[0]) == (
        "in statement 3 of 3, the text cannot be read by the second reader"
    )


@pytest.mark.parametrize(
    "sql",
    [
        "PREPARE pgnotary_examined AS SELECT 1",
        "DECLARE pgnotary_portal CURSOR FOR SELECT 1",
        "EXECUTE pgnotary_statement",
    ],
)
def test_names_of_ours_are_nobody_elses(sql: str) -> None:
    found = refusal(read(sql.encode()))
    assert found is not None
    assert "pgnotary's own" in found.reason
