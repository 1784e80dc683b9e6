"""Policy: one verdict for a whole text, with a reason that names the part."""

import pytest
from tests.judge.texts import action

from pgnotary.judge.policy import PROFILES, Action, verdict
from pgnotary.judge.reading import read


@pytest.mark.parametrize(
    ("sql", "kind", "rule", "reason"),
    [
        ("DELETE FROM t", "delete", "default/hold-delete", "it is DELETE"),
        ("SELECT 1; DROP TABLE t", "drop", "default/hold-drop", "statement 2 of 2 is DROP"),
        ("SELECT f()", "select", "default/hold-select", "it calls f, which is not on the list of harmless built-in"),
        ("SELECT 1; SELECT a.f(); SELECT 2", "select", "default/hold-select", "statement 2 of 3 calls a.f, which"),
        ("SELECT 1 INTO x", "select", "default/hold-select", "it has INTO, which makes a table"),
        ("SELECT 1 FOR SHARE", "select", "default/hold-select", "it has row locks (FOR UPDATE or SHARE)"),
        ("WITH d AS (DELETE FROM t) SELECT 1", "delete", "default/hold-delete", "it has a DELETE inside it"),
        ("EXPLAIN ANALYZE DELETE FROM t", "delete", "default/hold-delete", "it is EXPLAIN ANALYZE of DELETE"),
        ("COPY t TO '/x'", "copy-out", "default/hold-copy-out", "it is COPY from or to a file or a program"),
        ("SET ROLE x", "session", "default/hold-session", "it changes role, which is not on the list of free settings"),
        ("nonsense", "unknown", "default/hold-unknown", "the text cannot be read: syntax error"),
        ("SELECT a\u00a0", "unknown", "default/hold-unknown", "the text has U+00A0 outside a literal"),
        (
            "SELECT 1 ORDER BY 1 USING >; DELETE FROM t",
            "delete",
            "default/hold-delete",
            "statement 2 of 2 is DELETE",
        ),
        (
            "SELECT 1; SELECT 1 ORDER BY 1 USING >",
            "select",
            "default/single-reader",
            "PostgreSQL's grammar reads it as harmless, but the text cannot be read by the second reader",
        ),
        ("SELECT 1; SELECT 2", "select", "default/harmless", "both readers read it and all of it is harmless"),
        ("VACUUM", "maintenance", "refuse/outside-block", "it cannot run inside a transaction block"),
        ("PREPARE TRANSACTION 'x'", "transaction", "refuse/two-phase", "two-phase commit is not carried yet"),
        ("SET NAMES 'SJIS'", "session", "refuse/pinned-setting", "client_encoding decides what a signature means"),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
            "session",
            "refuse/session-characteristics",
            "it changes what all later transactions start with: say it in BEGIN instead",
        ),
        (
            "SET search_path = prod; DELETE FROM t",
            "session",
            "refuse/setting-mix",
            "a setting changes what is held in the same message: send it before, in a message of its own",
        ),
        ("BEGIN; SET search_path = prod; DELETE FROM t; COMMIT", "session", "refuse/setting-mix", "a setting changes"),
        ("SAVEPOINT pgnotary_read", "transaction", "refuse/savepoint-name", "savepoints whose names begin with"),
        ('ROLLBACK TO "pgnotary_read"', "transaction", "refuse/savepoint-name", "savepoints whose names begin with"),
        ("RELEASE PGNOTARY_look", "transaction", "refuse/savepoint-name", "savepoints whose names begin with"),
        (
            "ROLLBACK TO a" + "/**/" * 40,
            "unknown",
            "refuse/unreadable-control",
            "it begins with ROLLBACK, whose effect must be known, and the text has more than 32 comment openings",
        ),
        (
            "/* a /* b */ */ --\n pRePaRe TRANSACTION 'x'" + "/**/" * 40,
            "unknown",
            "refuse/unreadable-control",
            "it begins",
        ),
        ("SELECT 1; COMMIT", "transaction", "refuse/transaction-mix", "transaction control may share a message"),
    ],
)
def test_the_reason_names_the_part_and_what_it_does(sql: str, kind: str, rule: str, reason: str) -> None:
    found = verdict(read(sql.encode()), PROFILES["default"])
    assert (found.kind, found.rule) == (kind, rule)
    assert found.reason.startswith(reason)


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        ("BEGIN; SELECT 1; COMMIT", Action.FORWARD),
        ("BEGIN READ ONLY; SELECT 1; SELECT 2; END", Action.FORWARD),
        ("START TRANSACTION; ROLLBACK", Action.FORWARD),
        ("BEGIN; SET LOCAL work_mem = '1MB'; SELECT 1; COMMIT;", Action.FORWARD),
        ("BEGIN; DELETE FROM t; COMMIT", Action.HOLD),
        ("BEGIN; SELECT f(); ROLLBACK", Action.HOLD),
        ("BEGIN; SELECT 1", Action.REFUSE),
        ("SELECT 1; COMMIT", Action.REFUSE),
        ("BEGIN; SELECT 1; COMMIT; SELECT 2", Action.REFUSE),
        ("BEGIN; SELECT 1; COMMIT; BEGIN; SELECT 2; COMMIT", Action.REFUSE),
        ("BEGIN; SELECT 1; COMMIT AND CHAIN", Action.REFUSE),
        ("BEGIN; SAVEPOINT a; SELECT 1; COMMIT", Action.REFUSE),
        ("BEGIN; SET TRANSACTION READ WRITE; COMMIT", Action.REFUSE),
        ("BEGIN; SELECT 1; RELEASE a", Action.REFUSE),
        ("BEGIN; BEGIN; COMMIT", Action.REFUSE),
        ("BEGIN; SELECT 1; PREPARE TRANSACTION 'x'", Action.REFUSE),
        ("BEGIN; SET transaction_read_only = off; COMMIT", Action.REFUSE),
        ("BEGIN; VACUUM; COMMIT", Action.REFUSE),
        ("COMMIT; BEGIN", Action.REFUSE),
    ],
)
def test_transaction_control_shares_a_message_only_as_a_bracket(sql: str, answer: Action) -> None:
    assert action(sql) is answer


def test_a_profile_is_known_by_a_digest_of_its_own() -> None:
    digests = {profile.digest for profile in PROFILES.values()}
    assert len(digests) == len(PROFILES)
    assert all(len(digest) == 64 for digest in digests)
