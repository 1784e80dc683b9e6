"""What names mean in one database and one session: which relation a name stands for, and what is behind a name."""

from dataclasses import replace

import pytest
from tests.judge.texts import action

from pgnotary.judge.catalog import BUILT_IN, Catalog, Relation
from pgnotary.judge.meaning import weigh, weigh_run
from pgnotary.judge.reading import read
from pgnotary.judge.rules import Action
from pgnotary.judge.scope import UNSCOPED, Scope
from pgnotary.judge.statement import Names, Part, Qualifier, Statement, StatementClass

PLAIN, VIEW = Relation("r"), Relation("v", reading_calls=True)
WATCHED = Relation("r", writing_calls=True)
CATALOG = Catalog(
    known=True,
    relations={
        "t": {"public": PLAIN, "app": VIEW},
        "orders": {"public": PLAIN},
        "watched": {"public": WATCHED},
        "v": {"public": VIEW},
        "mv": {"public": Relation("m")},
        "fine": {"public": Relation("v")},
        "far": {"public": Relation("f", reading_calls=True)},
        "parts": {"public": Relation("p")},
    },
    elsewhere=frozenset({"wipe", "lower"}),
    bodies=dict.fromkeys({"twice"}, frozenset()),
    unread=frozenset({"lo_create"}),
)
SCOPE = Scope(("pg_catalog", "public"), "eva")


def weighed(sql: str, catalog: Catalog = CATALOG, scope: Scope = SCOPE) -> Part:
    (part,) = weigh(read(sql.encode()), catalog, scope).parts
    return part


def qualifiers(sql: str, catalog: Catalog = CATALOG, scope: Scope = SCOPE) -> set[str]:
    return {each.value for each in weighed(sql, catalog, scope).qualifiers}


# --- relations --------------------------------------------------------------------------------------------------------


def test_a_name_stands_for_what_the_search_path_finds_first() -> None:
    assert qualifiers("SELECT 1 FROM t", scope=Scope(("pg_catalog", "public", "app"))) == set()
    assert qualifiers("SELECT 1 FROM t", scope=Scope(("pg_catalog", "app", "public"))) == {"function"}


def test_where_nobody_knows_what_is_searched_a_name_is_the_worst_of_its_kind() -> None:
    assert qualifiers("SELECT 1 FROM t", scope=UNSCOPED) == {"function"}
    assert qualifiers("SELECT 1 FROM orders", scope=UNSCOPED) == set()


def test_a_whole_name_needs_no_search_path() -> None:
    scope = Scope(("pg_catalog", "app"))
    assert qualifiers("SELECT 1 FROM public.t", scope=scope) == set()
    assert qualifiers("SELECT 1 FROM app.t", scope=SCOPE) == {"function"}


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT 1 FROM v", {"function"}),
        ("SELECT 1 FROM fine, mv, parts", set()),
        ("SELECT 1 FROM far", {"foreign"}),
        ("SELECT 1 FROM nowhere", {"unknown-name"}),
        ("SELECT 1 FROM nowhere.t", {"unknown-name"}),
        ("SELECT 1 FROM pg_temp_3.t", {"unknown-name"}),
        ("SELECT 1 FROM pg_catalog.pg_class", set()),
        ("INSERT INTO orders VALUES (1)", {"write"}),
        ("INSERT INTO parts VALUES (1)", {"write"}),
        ("INSERT INTO watched VALUES (1)", {"write", "code"}),
        ("INSERT INTO mv VALUES (1)", {"write", "code"}),
        ("INSERT INTO fine VALUES (1)", {"write", "code"}),
        ("INSERT INTO far VALUES (1)", {"write", "code", "foreign"}),
        ("INSERT INTO nowhere VALUES (1)", {"write", "code", "unknown-name"}),
        ("INSERT INTO pg_catalog.pg_class DEFAULT VALUES", {"write", "code"}),
        ("INSERT INTO orders SELECT 1 FROM v", {"write", "function"}),
        ("WITH x AS (INSERT INTO watched VALUES (1)) SELECT 1", {"write", "code"}),
        ("EXPLAIN ANALYZE INSERT INTO watched VALUES (1)", {"write", "code"}),
        ("EXPLAIN INSERT INTO watched VALUES (1)", set()),
        ("EXPLAIN INSERT INTO orders SELECT 1 FROM v", {"function"}),
        ("CREATE TEMP TABLE v AS SELECT * FROM v", {"temp", "function"}),
        ("COPY v TO STDOUT", {"function"}),
        ("COPY orders FROM STDIN", {"write"}),
        ("COPY orders FROM STDIN WHERE wipe(a) > 1", {"write", "function"}),
        ("COPY parts (a) FROM STDIN", {"write"}),
        ("COPY watched FROM STDIN", {"write", "code"}),
        ("COPY fine FROM STDIN", {"write", "code"}),
        ("COPY nowhere FROM STDIN", {"write", "code", "unknown-name"}),
    ],
)
def test_a_relation_brings_what_it_reaches(sql: str, found: set[str]) -> None:
    assert qualifiers(sql) == found


def test_copy_makes_values_of_all_types_that_its_table_has() -> None:
    catalog = replace(CATALOG, types=frozenset({"orders"}))
    assert qualifiers("COPY orders FROM STDIN", catalog) == {"write", "function"}


def test_no_insert_is_plain_where_no_catalog_is_known() -> None:
    assert qualifiers("INSERT INTO orders VALUES (1)", BUILT_IN) == {"write", "code"}
    assert action("INSERT INTO orders VALUES (1)") is Action.HOLD


def test_the_name_of_a_with_query_is_no_unknown_one_and_hides_no_view() -> None:
    assert qualifiers("WITH w AS (SELECT 1) SELECT 1 FROM w") == set()
    assert qualifiers("WITH v AS (SELECT 1) SELECT 1 FROM v") == {"function"}
    assert qualifiers("WITH w AS (SELECT 1) SELECT 1 FROM public.w") == {"unknown-name"}


def test_what_is_named_is_listed_by_its_whole_name() -> None:
    assert weighed("SELECT 1 FROM orders, app.t, nowhere").resolved == (
        ("app", "t"),
        ("nowhere",),
        ("public", "orders"),
    )
    assert weighed("INSERT INTO orders SELECT 1 FROM fine").resolved[0] == ("public", "orders")


def test_what_an_explain_or_a_preview_would_plan_knows_the_names_too() -> None:
    part = weighed("DELETE FROM orders WHERE id IN (SELECT n FROM v) AND wipe() = 1")
    assert {each.qualifier for each in part.planning} == {Qualifier.FUNCTION}
    assert len(part.planning) == 2


@pytest.mark.parametrize(
    ("sql", "countable"),
    [
        ("DELETE FROM orders WHERE id = 1", True),
        ("DELETE FROM watched", True),
        ("DELETE FROM orders WHERE wipe() = 1", True),
        ("COPY watched FROM STDIN", True),
        ("COPY (DELETE FROM orders RETURNING 1) TO STDOUT", True),
        ("WITH gone AS (DELETE FROM orders RETURNING 1) SELECT 1 FROM gone", True),
        ("EXPLAIN ANALYZE DELETE FROM orders", True),
        ("WITH gone AS (DELETE FROM orders RETURNING 1) SELECT 1 INTO made FROM gone", False),
        ("DELETE FROM v", False),
        ("INSERT INTO f VALUES (1)", False),
        ("WITH gone AS (DELETE FROM f RETURNING 1) DELETE FROM orders", False),
        ("DELETE FROM nowhere", False),
        ("UPDATE pg_class SET relname = 'x'", False),
        ("SELECT wipe()", False),
        ("TRUNCATE orders", False),
        ("DO 'BEGIN END'", False),
        ("COPY orders TO STDOUT", False),
    ],
)
def test_what_changes_rows_of_tables_alone_can_be_held_to_a_number(sql: str, countable: bool) -> None:
    assert weighed(sql).countable is countable


# --- temporary tables -------------------------------------------------------------------------------------------------

MINE = replace(SCOPE, path=("pg_temp_3", "pg_catalog", "public"), temporary=frozenset({"tmp", "orders"}),
               odd_temporary=frozenset({"odd"}))  # fmt: skip


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO tmp VALUES (1)",
        "UPDATE tmp SET a = 1",
        "DELETE FROM tmp",
        "COPY tmp FROM STDIN",
        "TRUNCATE tmp",
        "DROP TABLE tmp",
        "DELETE FROM pg_temp.tmp",
        "DROP TABLE pg_temp.orders",
        "CREATE INDEX ON tmp (a)",
        "MERGE INTO tmp USING orders o ON true WHEN MATCHED THEN DELETE",
        "WITH x AS (DELETE FROM tmp RETURNING 1) INSERT INTO tmp SELECT 1",
    ],
)
def test_what_changes_nothing_but_ones_own_temporary_tables_is_temp(sql: str) -> None:
    found = qualifiers(sql, scope=MINE)
    assert "temp" in found
    assert not found & {"write", "code", "function", "unconditional"}
    assert "write" in qualifiers(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM orders",
        "DROP TABLE orders",
        "TRUNCATE tmp, orders",
        "DROP TABLE tmp, public.orders",
        "DROP TABLE tmp CASCADE",
        "DELETE FROM odd",
        "DELETE FROM public.tmp",
        "COPY orders FROM STDIN",
        "COPY tmp FROM '/x'",
        "COPY tmp FROM PROGRAM 'x'",
        "ALTER TABLE tmp ADD b int",
        "WITH x AS (DELETE FROM public.orders RETURNING 1) DELETE FROM tmp",
    ],
)
def test_what_might_be_anything_else_is_not(sql: str) -> None:
    """A temporary table that is dropped would uncover the table of the same name."""
    assert "write" in qualifiers(sql, scope=MINE)


@pytest.mark.parametrize("path", [None, (), ("pg_catalog", "public", "pg_temp_3"), ("public", "pg_temp_3")])
def test_where_pg_temp_is_not_searched_first_a_name_may_be_another_table(path: tuple[str, ...] | None) -> None:
    """Somebody may just have made a table of that name, which the catalog does not know yet."""
    scope = replace(MINE, path=path)
    assert "write" in qualifiers("DELETE FROM tmp", scope=scope)
    assert "write" not in qualifiers("DELETE FROM pg_temp.tmp", scope=scope)


def test_a_temporary_table_with_code_is_doubted_when_it_is_read_too() -> None:
    assert qualifiers("SELECT 1 FROM odd", scope=MINE) == {"function"}
    assert qualifiers("SELECT 1 FROM tmp, pg_temp.tmp", scope=MINE) == set()
    assert qualifiers("INSERT INTO odd VALUES (1)", scope=MINE) >= {"write", "function"}


def test_a_temporary_view_is_what_it_is_of() -> None:
    views = {
        "quiet": Names(relations=frozenset({("public", "orders")}), functions=frozenset({("pg_catalog", "abs")})),
        "loud": Names(functions=frozenset({("public", "loud")})),
        "over": Names(relations=frozenset({("pg_temp", "loud"), ("pg_temp", "over")})),
        "seen": Names(relations=frozenset({("public", "v")})),
    }
    scope = replace(SCOPE, temporary_views=frozenset(views.items()))
    assert qualifiers("SELECT * FROM quiet JOIN pg_temp.quiet q ON true", scope=scope) == set()
    for view in ("loud", "over", "seen", "pg_temp.over"):
        assert qualifiers(f"TABLE {view}", scope=scope) == {"function"}, view
    assert "code" in qualifiers("DELETE FROM quiet", scope=scope)


def test_a_temporary_table_does_not_hide_the_view_that_it_would_uncover() -> None:
    scope = replace(SCOPE, temporary=frozenset({"v"}))
    assert qualifiers("SELECT 1 FROM v", scope=scope) == {"function"}
    assert qualifiers("SELECT 1 FROM pg_temp.v", scope=scope) == set()


def test_a_temporary_table_is_filled_from_what_is_looked_at_like_any_other() -> None:
    assert qualifiers("INSERT INTO tmp SELECT 1 FROM v", scope=MINE) == {"temp", "function"}
    assert qualifiers("UPDATE tmp SET a = wipe()", scope=MINE) == {"temp", "function"}


def test_where_an_event_trigger_waits_no_relation_is_made_unasked() -> None:
    loud = replace(CATALOG, event_triggers=True)
    for sql in ("CREATE TEMP TABLE x (a int)", "SELECT 1 INTO TEMP x", "CREATE TEMP TABLE x AS SELECT 1"):
        assert qualifiers(sql) == {"temp"}
        assert qualifiers(sql, loud) == {"temp", "code"}
    assert "write" in qualifiers("DROP TABLE tmp", loud, MINE)
    assert qualifiers("SELECT 1 FROM orders", loud) == set()


# --- calls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT upper('a'), pg_catalog.upper('a'), twice(1), public.twice(1)", set()),
        ("SELECT wipe()", {"function"}),
        ("SELECT nowhere()", {"function"}),
        ("SELECT lo_create(0)", {"function"}),
        ("SELECT public.lo_create(0)", {"function"}),
        ("SELECT lower('a')", {"function"}),
        ("SELECT pg_catalog.lower('a')", set()),
        ("SELECT nextval('s')", {"sequence"}),
        ("SELECT pg_catalog.pg_notify('a', 'b')", {"notify"}),
        ("SELECT app.nextval('s')", {"function"}),
        ("SELECT pg_advisory_xact_lock(1)", {"advisory-lock"}),
    ],
)
def test_a_call_is_known_by_its_name(sql: str, found: set[str]) -> None:
    assert qualifiers(sql) == found


def test_a_name_of_ones_own_beside_that_of_a_built_in_one_makes_it_unproven() -> None:
    both = replace(CATALOG, elsewhere=frozenset({"nextval"}), bodies=dict.fromkeys({"lo_create"}, frozenset()))
    assert qualifiers("SELECT nextval('s')", both) == {"function"}
    assert qualifiers("SELECT lo_create(1)", both) == {"function"}
    assert qualifiers("SELECT public.lo_create(1)", both) == set()


def test_a_call_that_says_pg_catalog_is_unproven_if_somebody_put_a_function_there() -> None:
    there = replace(CATALOG, elsewhere=frozenset({"lower", "nextval"}), added=frozenset({"lower", "nextval"}))
    assert qualifiers("SELECT pg_catalog.lower('a')", there) == {"function"}
    assert qualifiers("SELECT pg_catalog.nextval('s')", there) == {"function"}
    assert qualifiers("SELECT pg_catalog.upper('a')", there) == set()
    elsewhere = replace(there, added=frozenset())
    assert qualifiers("SELECT pg_catalog.nextval('s')", elsewhere) == {"sequence"}
    assert qualifiers("SELECT public.lower('a')", elsewhere) == {"function"}


def test_operators_types_and_attributes_are_known_by_their_last_name() -> None:
    loud = replace(
        CATALOG,
        operators=frozenset({"==="}),
        types=frozenset({"d", "upper", "orders"}),
        callable=frozenset({"leap", "d"}),
    )
    for sql in (
        "SELECT 1 === 2",
        "SELECT 1 OPERATOR(app.===) 2",
        "SELECT 1::d",
        "SELECT 1::app.d[]",
        "SELECT t.leap FROM orders t",
        "SELECT (1).d",
        "SELECT upper('a')",
        "SELECT json_populate_record(o, '{}') FROM orders o",
        "SELECT array_agg(id) FROM orders",
    ):
        assert "function" in qualifiers(sql, loud), sql
        assert qualifiers(sql) <= {"single-reader"}, sql
    for sql in ("SELECT 1 = 2", "SELECT 1::int", "SELECT o.id FROM orders o", "SELECT array_agg(1)"):
        assert qualifiers(sql, loud) == set(), sql


def test_a_cast_between_built_in_types_may_be_run_by_anything_but_a_setting() -> None:
    anything = replace(CATALOG, anything_casts=True)
    assert qualifiers("SELECT 1", anything) == {"function"}
    assert qualifiers("INSERT INTO orders VALUES (1)", anything) == {"write", "function"}
    assert qualifiers("SHOW work_mem", anything) == set()
    assert qualifiers("SET work_mem = '1MB'", anything) == set()
    assert qualifiers("COMMIT", anything) == set()


def test_a_cursor_with_hold_over_what_is_not_proven_says_so() -> None:
    assert qualifiers("DECLARE c CURSOR WITH HOLD FOR SELECT 1 FROM orders") == set()
    assert qualifiers("DECLARE c CURSOR WITH HOLD FOR SELECT 1 FROM v") == {"function", "with-hold"}
    assert qualifiers("DECLARE c CURSOR FOR SELECT 1 FROM v") == {"function"}
    assert qualifiers("DECLARE c CURSOR WITH HOLD FOR SELECT 1", BUILT_IN) == {"with-hold"}


def test_no_finding_is_ever_taken_away_by_a_catalog() -> None:
    for sql in ("DELETE FROM orders", "SELECT 1 FROM orders FOR UPDATE", "SELECT 1 ORDER BY 1 USING >", "LOCK orders"):
        assert set(read(sql.encode()).parts[0].findings) <= set(weighed(sql).findings)


# --- what is behind a name --------------------------------------------------------------------------------------------


def run(sql: str, **texts: str) -> Part:
    """Weigh EXECUTE or FETCH, given what its names stand for."""
    is_cursor = sql.startswith(("FETCH", "MOVE"))
    known: dict[tuple[str, bool], Statement] = {
        (name, is_cursor): weigh(read(text.encode()), CATALOG, SCOPE) for name, text in texts.items()
    }
    return weigh_run(weighed(sql), known)


def test_execute_of_a_read_is_a_read_and_of_a_write_a_write() -> None:
    read_part = run("EXECUTE p", p="PREPARE p AS SELECT 1 FROM orders")
    assert (read_part.findings, read_part.runs) == ((), StatementClass.SELECT)
    written = run("EXECUTE p (1)", p="PREPARE p AS DELETE FROM orders")
    assert written.runs is StatementClass.DELETE
    assert written.qualifiers == {Qualifier.WRITE, Qualifier.UNCONDITIONAL}
    assert [each.reason for each in written.findings] == ["runs p, which is DELETE", "runs p, which has no WHERE"]


def test_what_came_by_the_extended_protocol_is_known_by_its_text() -> None:
    assert run("EXECUTE p", p="SELECT $1::int").findings == ()
    assert run("EXECUTE p", p="INSERT INTO orders VALUES ($1)").qualifiers == {Qualifier.WRITE}


def test_fetch_of_a_cursor_over_a_view_is_what_reading_the_view_is() -> None:
    assert run("FETCH ALL FROM c", c="DECLARE c CURSOR FOR SELECT 1 FROM orders").findings == ()
    found = run("FETCH c", c="DECLARE c CURSOR FOR SELECT 1 FROM v")
    assert found.doubt == "runs c, which reads v, which calls what nobody has read"
    assert run("FETCH c", c="DECLARE c CURSOR FOR SELECT 1 FROM orders FOR UPDATE").qualifiers == {Qualifier.LOCKING}


def test_of_several_statements_the_one_that_gives_the_name_counts() -> None:
    text = "SELECT wipe(); PREPARE q AS SELECT 1; PREPARE p AS DELETE FROM orders WHERE id = 1"
    assert run("EXECUTE q", q=text).findings == ()
    assert run("EXECUTE p", p=text).qualifiers == {Qualifier.WRITE}


@pytest.mark.parametrize(
    "text",
    [
        "PREPARE p AS SELECT 1; DEALLOCATE p; PREPARE p AS DELETE FROM orders",
        "SELECT 1; SELECT 2",
        "PREPARE other AS SELECT 1; SELECT 1",
    ],
)
def test_a_name_that_the_text_gives_twice_or_never_stays_unread(text: str) -> None:
    assert run("EXECUTE p", p=text).qualifiers == {Qualifier.UNREAD}


def test_a_name_that_the_server_does_not_know_stays_unread() -> None:
    assert run("EXECUTE p").qualifiers == {Qualifier.UNREAD}
    assert run("FETCH c", other="SELECT 1").qualifiers == {Qualifier.UNREAD}


def test_a_prepared_statement_is_no_cursor() -> None:
    texts = {("c", False): weigh(read(b"SELECT 1"), CATALOG, SCOPE)}
    assert weigh_run(weighed("FETCH c"), texts).qualifiers == {Qualifier.UNREAD}


def test_the_arguments_of_execute_keep_what_was_found_in_them() -> None:
    assert run("EXECUTE p (wipe())", p="SELECT $1").qualifiers == {Qualifier.FUNCTION}
    unread = replace(
        weighed("EXECUTE p"), findings=(*weighed("EXECUTE p").findings, *read(b"VACUUM").parts[0].findings)
    )
    assert weigh_run(unread, {("p", False): read(b"SELECT 1")}).qualifiers == {Qualifier.WRITE}


def test_a_doubt_about_the_arguments_is_not_taken_for_the_doubt_about_the_name() -> None:
    (doubt,) = read(b"nonsense").parts[0].findings
    part = weighed("EXECUTE p")
    unread = replace(part, findings=(doubt, *part.findings))
    assert weigh_run(unread, {("p", False): read(b"SELECT 1")}).findings == (doubt,)


TYPED = replace(CATALOG, types=frozenset({"small"}))


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT to_json(most_common_vals) FROM pg_stats", {"function"}),
        ("SELECT json_agg(s) FROM pg_catalog.pg_stats s", {"function"}),
        ("SELECT JSON_ARRAY(most_common_vals) FROM pg_stats", {"function"}),
        ("SELECT to_jsonb(attmissingval) FROM pg_attribute", {"function"}),
        ("SELECT to_jsonb(a) FROM pg_attribute a", {"function"}),
        ("SELECT most_common_vals FROM pg_stats", set()),
        ("SELECT starelid, count(*) FROM pg_statistic GROUP BY 1", set()),
        ("SELECT json_agg(attname) FROM pg_attribute", set()),
        ("SELECT p[s], attname FROM pg_attribute, generate_series(1, 2) s, (SELECT '{1}'::int[]) AS x (p)", set()),
    ],
)
def test_json_of_values_of_any_type_may_cast_them_and_their_reading_does_not(sql: str, found: set[str]) -> None:
    assert qualifiers(sql, TYPED) - {"unknown-name"} == found
    assert qualifiers(sql, replace(TYPED, types=frozenset())) <= {"unknown-name"}
