"""Policy: rules in order, one verdict for a whole text, and a reason that names the part."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.judge.texts import action, judged

from pgnotary.judge.catalog import Catalog, Relation
from pgnotary.judge.meaning import weigh
from pgnotary.judge.needs import Need
from pgnotary.judge.policy import Verdict, counted, verdict
from pgnotary.judge.reading import read
from pgnotary.judge.rules import (
    PROFILES,
    USUAL,
    Action,
    Policy,
    Profile,
    Record,
    Rule,
    Subject,
    Terms,
    Wishes,
    policy_of,
)
from pgnotary.judge.scope import UNSCOPED, Scope
from pgnotary.judge.statement import Finding, Part, Qualifier, Statement, StatementClass

# --- what is said -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "kind", "rule", "reason"),
    [
        ("DELETE FROM t", "delete", "default/hold-delete", "it is DELETE"),
        ("SELECT 1; DROP TABLE t", "drop", "default/hold-drop", "statement 2 of 2 is DROP"),
        ("SELECT f()", "select", "default/hold-select", "it calls f, which is not on the list of harmless built-in"),
        ("SELECT 1; SELECT a.f(); SELECT 2", "select", "default/hold-select", "statement 2 of 3 calls a.f, which"),
        ("SELECT 1 INTO x", "select", "default/hold-select", "it has INTO, which makes a table"),
        ("SELECT 1 FOR SHARE", "select", "default/tools", "it has row locks (FOR UPDATE or SHARE)"),
        ("WITH d AS (DELETE FROM t) SELECT 1", "delete", "default/hold-delete", "it has a DELETE inside it"),
        ("EXPLAIN ANALYZE DELETE FROM t", "delete", "default/hold-delete", "it is EXPLAIN ANALYZE of DELETE"),
        ("COPY t TO '/x'", "copy-out", "default/hold-copy-out", "it is COPY from or to a file or a program"),
        ("COPY t FROM STDIN", "copy-in", "default/hold-copy-in", "it is COPY from the client into a relation"),
        ("SET ROLE x", "session", "default/tools", "it changes role"),
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
            "default/harmless",
            "in statement 2 of 2, the text cannot be read by the second reader",
        ),
        ("SELECT 1; SELECT 2", "select", "default/harmless", "both readers read it and all of it is harmless"),
        (
            "PREPARE TRANSACTION 'x'",
            "transaction",
            "default/harmless",
            "both readers read it and all of it is harmless",
        ),
        (
            "COMMIT PREPARED 'x'",
            "two-phase",
            "default/hold-two-phase",
            "it ends a prepared transaction, and what is in it is not known here",
        ),
        ("ROLLBACK PREPARED 'x'", "two-phase", "default/hold-two-phase", "it ends a prepared transaction"),
        ("SET NAMES 'SJIS'", "session", "refuse/encoding", "client_encoding SJIS cannot be converted exactly here"),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE, ISOLATION LEVEL SERIALIZABLE",
            "session",
            "refuse/pinned-setting",
            "it changes ",
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
    found = judged(sql)
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
        ("BEGIN; SELECT 1; PREPARE TRANSACTION 'x'", Action.FORWARD),
        ("BEGIN; PREPARE TRANSACTION 'x'", Action.FORWARD),
        ("BEGIN; DELETE FROM t; PREPARE TRANSACTION 'x'", Action.REFUSE),
        ("BEGIN; PREPARE TRANSACTION 'x'; COMMIT PREPARED 'x'", Action.REFUSE),
        ("BEGIN; SELECT 1; COMMIT; PREPARE TRANSACTION 'x'", Action.REFUSE),
        ("BEGIN; SET transaction_read_only = off; COMMIT", Action.REFUSE),
        ("BEGIN; VACUUM; COMMIT", Action.REFUSE),
        ("COMMIT; BEGIN", Action.REFUSE),
    ],
)
def test_transaction_control_shares_a_message_only_as_a_bracket(sql: str, answer: Action) -> None:
    assert action(sql) is answer


# --- which rule speaks ------------------------------------------------------------------------------------------------

SHOP = Catalog(
    known=True,
    relations={
        "orders": {"public": Relation("r")},
        "Orders": {"app": Relation("r")},
        "log": {"audit": Relation("r"), "app": Relation("r")},
        "clicks": {"staging": Relation("r")},
        "watched": {"staging": Relation("r", writing_calls=True)},
    },
)
NOBODY = Subject()
WRITES = (Qualifier.WRITE, Qualifier.UNCONDITIONAL)


def _statement(sql: str, scope: Scope = UNSCOPED) -> Statement:
    return weigh(read(sql.encode()), SHOP, scope)


def _by(sql: str, *own: Rule, profile: str = "default", subject: Subject = NOBODY, scope: Scope = UNSCOPED) -> Verdict:
    """Judge a text in the shop by rules of one's own before a profile's."""
    return verdict(_statement(sql, scope), policy_of(PROFILES[profile], own), subject)


def _rule(result: Action, name: str = "policy/own", **parts: Any) -> Rule:
    return Rule(name, result, **parts)


def test_the_first_rule_that_matches_speaks() -> None:
    refuses = _rule(Action.REFUSE, "policy/a", classes=(StatementClass.SELECT,))
    holds = _rule(Action.HOLD, "policy/b", classes=(StatementClass.SELECT,))
    assert (_by("SELECT 1", refuses, holds).action, _by("SELECT 1", refuses, holds).rule) == (Action.REFUSE, "policy/a")
    assert (_by("SELECT 1", holds, refuses).action, _by("SELECT 1", holds, refuses).rule) == (Action.HOLD, "policy/b")
    assert _by("SHOW a", holds, refuses).rule == "default/harmless"


def test_the_strictest_answer_is_that_of_the_text() -> None:
    refuses = _rule(Action.REFUSE, classes=(StatementClass.SHOW,))
    found = _by("SELECT 1; DELETE FROM orders; SHOW a", refuses)
    assert (found.action, found.kind, found.rule) == (Action.REFUSE, StatementClass.SHOW, "policy/own")
    assert found.reason == "statement 3 of 3 is what the rule is about"
    found = _by("SELECT 1; DELETE FROM orders", refuses)
    assert (found.action, found.kind) == (Action.HOLD, StatementClass.DELETE)


def test_what_no_rule_speaks_for_is_held() -> None:
    nothing = Policy("empty", (), holds=True, digest="")
    for sql in ("SELECT 1", "", "DELETE FROM orders", "nonsense"):
        found = verdict(_statement(sql), nothing)
        assert (found.action, found.rule) == (Action.HOLD, f"empty/hold-{found.kind}")


def test_no_rule_lifts_what_is_always_refused() -> None:
    everything = _rule(Action.FORWARD, qualifiers=tuple(Qualifier))
    for sql in ("SET transaction_read_only = off", "SELECT 1; PREPARE TRANSACTION 'x'", "SELECT 1; COMMIT"):
        found = _by(sql, everything, profile="forward-all")
        assert (found.action, found.rule[:7]) == (Action.REFUSE, "refuse/")


@pytest.mark.parametrize("missing", Qualifier)
def test_a_rule_that_forwards_must_name_everything_it_lets_through(missing: Qualifier) -> None:
    part = Part(StatementClass.SELECT, "SelectStmt", 0, 8, (Finding(Qualifier.WRITE, "a"), Finding(missing, "b")))
    others = tuple(each for each in Qualifier if each is not missing)
    assert _rule(Action.FORWARD, qualifiers=tuple(Qualifier)).matches(part, NOBODY)
    assert not _rule(Action.FORWARD, qualifiers=others).matches(part, NOBODY)


@given(st.frozensets(st.sampled_from(Qualifier)), st.frozensets(st.sampled_from(Qualifier)), st.sampled_from(Qualifier))
def test_a_further_doubt_never_lets_more_through(
    has: frozenset[Qualifier], named: frozenset[Qualifier], further: Qualifier
) -> None:
    part = Part(StatementClass.SELECT, "SelectStmt", 0, 8, tuple(Finding(each, "x") for each in has))
    worse = replace(part, findings=(*part.findings, Finding(further, "y")))
    forwards, holds = (_rule(each, qualifiers=tuple(named)) for each in (Action.FORWARD, Action.HOLD))
    assert forwards.matches(part, NOBODY) >= forwards.matches(worse, NOBODY)
    assert holds.matches(part, NOBODY) <= holds.matches(worse, NOBODY)


def test_a_rule_that_holds_matches_one_of_what_it_names() -> None:
    holds = _rule(Action.HOLD, qualifiers=(Qualifier.LOCKING, Qualifier.SEQUENCE))
    for sql in ("SELECT * FROM orders FOR UPDATE", "SELECT nextval('a')"):
        assert (_by(sql, holds).action, _by(sql, holds).rule) == (Action.HOLD, "policy/own")
    assert _by("SELECT * FROM orders", holds).action is Action.FORWARD


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        ("DELETE FROM staging.clicks", Action.FORWARD),
        ("DELETE FROM clicks", Action.FORWARD),
        ("DELETE FROM staging.clicks USING public.orders", Action.HOLD),
        ("DELETE FROM staging.clicks WHERE id IN (SELECT id FROM orders)", Action.HOLD),
        ("DELETE FROM public.orders USING staging.clicks", Action.HOLD),
        ("DELETE FROM staging.watched", Action.HOLD),
        ("DELETE FROM staging.unknown; DELETE FROM public.orders", Action.HOLD),
        ("DELETE FROM staging.clicks; DELETE FROM staging.clicks", Action.FORWARD),
        ("DELETE FROM staging.clicks; DELETE FROM orders", Action.HOLD),
        ("DELETE FROM staging.clicks WHERE f()", Action.HOLD),
        ("DELETE FROM staging.clicks USING generate_series(1, 2)", Action.FORWARD),
        ("TRUNCATE staging.clicks", Action.FORWARD),
        ("TRUNCATE staging.clicks CASCADE", Action.HOLD),
        ("TRUNCATE staging.clicks, public.orders", Action.HOLD),
        ("DROP TABLE staging.clicks", Action.FORWARD),
        ("CREATE INDEX ON staging.clicks (id)", Action.FORWARD),
        ("COPY staging.clicks FROM STDIN", Action.FORWARD),
        ("COPY clicks (id) FROM STDIN", Action.FORWARD),
        ("COPY staging.watched FROM STDIN", Action.HOLD),
        ("COPY public.orders FROM STDIN", Action.HOLD),
    ],
)
def test_a_rule_that_forwards_speaks_for_nothing_that_is_not_all_its_own(sql: str, answer: Action) -> None:
    own = _rule(Action.FORWARD, qualifiers=WRITES, relations=("staging.*",))
    assert _by(sql, own).action is answer


@pytest.mark.parametrize(
    "sql",
    [
        "DROP SCHEMA public",
        "DROP VIEW public.v",
        "COMMENT ON TABLE public.orders IS ''",
        "DO ''",
        "CALL p()",
        "CREATE TABLE public.n (a int)",
        "CREATE TABLE public.n (a int REFERENCES staging.clicks)",
        "CREATE TABLE public.n (LIKE staging.clicks)",
        "CREATE TABLE public.n PARTITION OF staging.clicks DEFAULT",
        "CREATE TABLE public.n AS SELECT * FROM staging.clicks",
        "EXPLAIN ANALYZE CREATE TABLE public.n AS SELECT * FROM staging.clicks",
        "SELECT * INTO public.n FROM staging.clicks",
        "CREATE MATERIALIZED VIEW public.n AS SELECT * FROM staging.clicks",
        "CREATE TRIGGER x BEFORE INSERT ON staging.clicks EXECUTE FUNCTION public.f()",
        "CREATE STATISTICS public.s ON a, b FROM staging.clicks",
        "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql RETURN (SELECT 1 FROM staging.clicks)",
        "COPY staging.clicks TO PROGRAM 'x'",
        "COPY staging.clicks FROM PROGRAM 'x'",
        "COPY staging.clicks FROM '/x'",
        "COPY staging.clicks TO '/x'",
        "GRANT ALL ON staging.clicks TO PUBLIC",
        "ALTER TABLE staging.clicks SET SCHEMA public",
    ],
)
def test_a_rule_that_forwards_relations_does_not_speak_for_what_is_more_than_they(sql: str) -> None:
    own = _rule(Action.FORWARD, qualifiers=(*WRITES, Qualifier.FUNCTION, Qualifier.UNREAD), relations=("staging.*",))
    assert _by(sql, own).action is Action.HOLD


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        ("SELECT * FROM audit.log", Action.REFUSE),
        ("SELECT * FROM log", Action.REFUSE),
        ("SELECT * FROM orders, LATERAL (SELECT * FROM audit.log) x", Action.REFUSE),
        ("TABLE audit.log", Action.REFUSE),
        ("COPY audit.log TO STDOUT", Action.REFUSE),
        ("SELECT 1; SELECT * FROM audit.log", Action.REFUSE),
        ("PREPARE p AS SELECT * FROM audit.log", Action.REFUSE),
        ("DECLARE c CURSOR FOR SELECT * FROM audit.log", Action.REFUSE),
        ("EXPLAIN SELECT * FROM audit.log", Action.REFUSE),
        ("DELETE FROM audit.log", Action.REFUSE),
        ("TRUNCATE orders, audit.log", Action.REFUSE),
        ("DROP TABLE audit.log", Action.REFUSE),
        ("ALTER TABLE audit.log ADD COLUMN a int", Action.REFUSE),
        ("DROP TRIGGER keep ON audit.log", Action.REFUSE),
        ("DROP TRIGGER keep ON log", Action.REFUSE),
        ("DROP POLICY IF EXISTS own ON audit.log", Action.REFUSE),
        ("DROP RULE r ON audit.log CASCADE", Action.REFUSE),
        ("DROP TRIGGER log ON public.orders", Action.HOLD),
        ("ALTER SEQUENCE public.s MINVALUE 1 OWNED BY audit.log.id", Action.REFUSE),
        ("CREATE SEQUENCE public.s OWNED BY log.id", Action.REFUSE),
        ("ALTER SEQUENCE public.s OWNED BY NONE", Action.HOLD),
        ("COMMENT ON TABLE audit.log IS 'x'", Action.REFUSE),
        ("COMMENT ON COLUMN audit.log.a IS 'x'", Action.REFUSE),
        ("COMMENT ON TRIGGER keep ON audit.log IS 'x'", Action.REFUSE),
        ("COMMENT ON CONSTRAINT c ON audit.log IS 'x'", Action.REFUSE),
        ("COMMENT ON SCHEMA audit IS 'x'", Action.HOLD),
        ("COMMENT ON FUNCTION audit.log(int) IS 'x'", Action.HOLD),
        ("COMMENT ON CONSTRAINT c ON DOMAIN audit.log IS 'x'", Action.HOLD),
        ("COMMENT ON COLUMN orders.log IS 'x'", Action.HOLD),
        ("SECURITY LABEL FOR anon ON COLUMN audit.log.a IS NULL", Action.REFUSE),
        ("SECURITY LABEL ON ROLE log IS 'x'", Action.HOLD),
        ("ALTER EXTENSION e DROP TABLE audit.log", Action.REFUSE),
        ("ALTER EXTENSION e ADD FUNCTION log(int)", Action.HOLD),
        ("SELECT * FROM orders", Action.FORWARD),
        ("SELECT 'audit.log', \"audit.log\" FROM orders", Action.FORWARD),
    ],
)
def test_a_rule_that_refuses_matches_one_relation_wherever_it_is_named(sql: str, answer: Action) -> None:
    own = _rule(Action.REFUSE, relations=("audit.*",))
    assert _by(sql, own, scope=Scope(path=("audit", "public"))).action is answer


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ('app."Orders"', True), ("app.*", True), ("*.*", True), ("a?p.*", True), ('*."Orders"', True),
        ("app.orders", False), ("app.Orders", False), ("*.orders", False), ("ap.*", False), ("?.*", False),
    ],
)  # fmt: skip
def test_a_relation_is_compared_by_its_whole_name_in_quotes_if_it_needs_them(pattern: str, matches: bool) -> None:
    own = _rule(Action.REFUSE, relations=(pattern,))
    assert (_by('SELECT * FROM "Orders"', own).action is Action.REFUSE) is matches


@pytest.mark.parametrize(
    ("subject", "matches"),
    [
        (Subject("shop", "eva"), True), (Subject("shop", "bo"), True), (Subject("shop", "al"), False),
        (Subject("SHOP", "eva"), False), (Subject("other", "eva"), False), (Subject("shop"), False), (NOBODY, False),
    ],
)  # fmt: skip
def test_a_rule_speaks_only_of_the_users_and_databases_that_it_names(subject: Subject, matches: bool) -> None:
    own = _rule(Action.REFUSE, databases=("shop",), users=("eva", "bo"))
    assert (_by("SELECT 1", own, subject=subject).action is Action.REFUSE) is matches


def test_what_prepare_declare_and_explain_are_about_decides_their_class() -> None:
    own = _rule(Action.REFUSE, classes=(StatementClass.SELECT,))
    for sql in ("SELECT 1", "PREPARE p AS SELECT 1", "DECLARE c CURSOR FOR SELECT 1"):
        assert _by(sql, own).action is Action.REFUSE
    writes = _rule(Action.REFUSE, classes=(StatementClass.DELETE,))
    for sql in ("PREPARE p AS DELETE FROM orders", "EXPLAIN ANALYZE DELETE FROM orders"):
        assert _by(sql, writes).action is Action.REFUSE
    assert _by("EXPLAIN DELETE FROM orders", writes).action is Action.FORWARD


# --- how it is held ---------------------------------------------------------------------------------------------------

SHORT = Wishes(hold_s=60.0, preview=False)
DELETES = (StatementClass.DELETE,)


def test_a_rule_that_holds_says_how() -> None:
    assert _by("SELECT 1", _rule(Action.HOLD, wishes=SHORT)).terms == Terms(hold_s=60.0, preview=False)
    assert _by("DELETE FROM orders").terms == USUAL
    assert _by("SELECT 1", _rule(Action.FORWARD, wishes=SHORT)).terms == USUAL


def test_of_several_statements_the_strictest_wishes_count_wherever_they_stand() -> None:
    """Once it was those of the first one: what the second one's rule masks was shown."""
    usual = Terms(hold_s=900.0, sample_rows=5)
    people = _rule(
        Action.HOLD, "policy/people", relations=("hr.people",), wishes=Wishes(hold_s=3600.0, mask=("salary", "pay"))
    )
    orders = _rule(
        Action.HOLD, "policy/orders", relations=("public.orders",), wishes=Wishes(sample_rows=20, mask=("card", "pay"))
    )
    secret = _rule(
        Action.HOLD, "policy/secret", relations=("hr.keys",), wishes=Wishes(hold_s=60.0, preview=False, sample_rows=0)
    )
    policy = policy_of(PROFILES["default"], (people, orders, secret), usual=usual)
    one, two, three, other = (f"DELETE FROM {name}" for name in ("hr.people", "public.orders", "hr.keys", "public.a"))
    for texts, expected in (
        ([one], replace(usual, hold_s=3600.0, mask=("salary", "pay"))),
        ([one, two], replace(usual, mask=("salary", "pay", "card"))),
        ([other, one], replace(usual, mask=("salary", "pay"))),
        ([two], replace(usual, sample_rows=20, mask=("card", "pay"))),
        ([two, other], replace(usual, mask=("card", "pay"))),
        ([one, three], Terms(hold_s=60.0, preview=False, sample_rows=0, mask=("salary", "pay"))),
    ):
        for some in (texts, texts[::-1], [*texts, "SELECT 1"]):
            found = verdict(_statement("; ".join(some)), policy).terms
            assert replace(found, mask=tuple(sorted(found.mask))) == replace(
                expected, mask=tuple(sorted(expected.mask))
            ), some


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (0, (Action.HOLD, "default/hold-delete")),
        (99, (Action.HOLD, "default/hold-delete")),
        (100, (Action.HOLD, "policy/many")),
        (999, (Action.HOLD, "policy/many")),
        (1000, (Action.REFUSE, "policy/too-many")),
        (None, (Action.REFUSE, "policy/too-many")),
    ],
)
def test_the_number_of_rows_decides_whether_it_is_held(rows: int | None, expected: tuple[Action, str]) -> None:
    own = (
        _rule(Action.REFUSE, "policy/too-many", min_rows=1000),
        _rule(Action.HOLD, "policy/many", classes=DELETES, min_rows=100),
    )
    policy, statement = policy_of(PROFILES["default"], own), _statement("SELECT 1; DELETE FROM orders")
    held = verdict(statement, policy)
    assert (held.action, held.rule) == (Action.HOLD, "default/hold-delete"), "rows are not asked before a preview"
    found = counted(statement, policy, NOBODY, rows, held)
    assert (found.action, found.rule) == expected


@pytest.mark.parametrize(
    "parts", [{"classes": (StatementClass.UPDATE,)}, {"users": ("eva",)}, {"relations": ("audit.*",)}]
)
def test_rows_say_nothing_to_a_rule_about_something_else(parts: dict[str, Any]) -> None:
    policy = policy_of(PROFILES["default"], (_rule(Action.REFUSE, min_rows=1, **parts),))
    statement = _statement("DELETE FROM orders")
    held = verdict(statement, policy)
    found = counted(statement, policy, NOBODY, None, held)
    assert (found.action, found.rule) == (Action.HOLD, held.rule)


def test_a_rule_about_rows_forwards_nothing() -> None:
    own = _rule(Action.FORWARD, qualifiers=tuple(Qualifier), min_rows=1)
    assert _by("DELETE FROM orders", own).action is Action.HOLD
    statement, policy = _statement("DELETE FROM orders"), policy_of(PROFILES["default"], (own,))
    assert counted(statement, policy, NOBODY, 5, verdict(statement, policy)).action is Action.HOLD


# --- profiles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql", ["DELETE FROM orders", "SELECT f()", "INSERT INTO staging.watched VALUES (1)", "nonsense"]
)
def test_observe_forwards_what_default_holds_and_says_so(sql: str) -> None:
    held, noted = _by(sql), _by(sql, profile="observe")
    assert (held.action, held.would) == (Action.HOLD, "")
    assert (noted.action, noted.would) == (Action.FORWARD, held.rule.replace("default", "observe"))
    assert (noted.reason, noted.judge, noted.kind) == (held.reason, held.judge, held.kind)


def test_observe_says_nothing_of_what_default_forwards_and_refuses_what_it_refuses() -> None:
    assert _by("SELECT 1", profile="observe").would == ""
    own = _rule(Action.REFUSE, classes=DELETES)
    assert _by("DELETE FROM orders", own, profile="observe").action is Action.REFUSE
    assert _by("SELECT 1; COMMIT", profile="observe").action is Action.REFUSE


def test_a_rule_of_ones_own_that_holds_only_notes_while_policy_observes() -> None:
    found = _by("SELECT 1", _rule(Action.HOLD), profile="observe")
    assert (found.action, found.would) == (Action.FORWARD, "policy/own")


@pytest.mark.parametrize(
    ("sql", "forwarding"),
    [
        ("SELECT * FROM orders", "default strict observe forward-all"),
        ("SELECT * FROM orders FOR UPDATE", "default observe forward-all"),
        ("SELECT nextval('s'), pg_advisory_lock(1)", "default observe forward-all"),
        ("INSERT INTO orders VALUES (1)", "default observe forward-all"),
        ("INSERT INTO staging.watched VALUES (1)", "observe forward-all"),
        ("INSERT INTO orders VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 2", "observe forward-all"),
        ("UPDATE orders SET id = 1", "observe forward-all"),
        ("SELECT * FROM nowhere", "observe forward-all"),
        ("DROP TABLE orders", "observe forward-all"),
    ],
)
def test_each_profile_forwards_what_it_says(sql: str, forwarding: str) -> None:
    found = [
        name
        for name in ("default", "strict", "observe", "forward-all")
        if _by(sql, profile=name).action is Action.FORWARD
    ]
    assert " ".join(found) == forwarding


# --- the digest -------------------------------------------------------------------------------------------------------

OTHER: dict[str, Any] = {
    "name": "policy/other",
    "result": Action.REFUSE,
    "classes": (StatementClass.SELECT,),
    "qualifiers": (Qualifier.WRITE,),
    "relations": ("a.b",),
    "databases": ("shop",),
    "users": ("eva",),
    "min_rows": 1,
    "wishes": Wishes(preview=False),
    "record": Record.SUMMARY,
}


def test_the_digest_changes_with_every_field_of_a_rule() -> None:
    assert list(OTHER) == [field.name for field in fields(Rule)]
    rule = _rule(Action.HOLD)
    others = [replace(rule, **{name: value}) for name, value in OTHER.items()]
    wishes = [
        Wishes(hold_s=60.0),
        Wishes(sample_rows=0),
        Wishes(sample_rows=3),
        Wishes(mask=("pay",)),
        Wishes(approvals=(Need(2),)),
    ]
    others += [replace(rule, wishes=each) for each in wishes]
    assert {field.name for field in fields(Wishes)} == {"hold_s", "preview", "sample_rows", "mask", "approvals"}
    digests = {policy_of(PROFILES["default"], (each,)).digest for each in (rule, *others)}
    assert len(digests) == len(others) + 1


def test_the_digest_changes_with_the_profile_and_the_order_of_rules() -> None:
    first, second = _rule(Action.HOLD, "policy/a"), _rule(Action.REFUSE, "policy/b")
    profiles = [
        *PROFILES.values(), Profile("other", PROFILES["default"].rules), replace(PROFILES["default"], holds=False)
    ]  # fmt: skip
    digests = [policy_of(profile).digest for profile in profiles]
    digests += [policy_of(PROFILES["default"], own).digest for own in ((first, second), (second, first), (first,))]
    assert len(set(digests)) == len(digests)
    assert all(len(bytes.fromhex(digest)) == 32 for digest in digests)


def test_the_same_rules_have_the_same_digest() -> None:
    own = (_rule(Action.HOLD, relations=("a.b",)),)
    assert policy_of(PROFILES["default"], own).digest == policy_of(PROFILES["default"], list(own)).digest
