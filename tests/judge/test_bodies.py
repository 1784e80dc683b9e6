"""Bodies of a database's own functions: a word that is not proven makes a function unproven, however it is written."""

import pytest

from pgnotary.judge.bodies import OwnFunction, unproven

VOLATILE = frozenset({"wipe", "nextval", "set_config", "===", "the v"})


def function(
    source: str | None = "SELECT 1",
    *,
    oid: int = 20_000,
    name: str = "f",
    volatility: str = "s",
    language: str = "sql",
    settings: tuple[str, ...] = (),
    extension: str = "",
) -> OwnFunction:
    return OwnFunction(oid, "public", name, volatility, language, True, source, settings, extension)


def proven(source: str, words: frozenset[str] = VOLATILE, language: str = "sql") -> bool:
    return unproven([function(source, language=language)], words) == set()


@pytest.mark.parametrize(
    "source",
    [
        "SELECT 1",
        "SELECT count(*) FROM orders WHERE status = 'wipe'",
        "SELECT $1 + 1 -- wipe()",
        "SELECT /* wipe() */ 'it''s wipe' || $$wipe$$ || E'wipe\\n'",
        'SELECT wiped, "Wipe" FROM t',
        "BEGIN RETURN (SELECT max(id) FROM orders); END",
        "DECLARE r record; BEGIN FOR r IN SELECT 1 LOOP NULL; END LOOP; RETURN 1; END",
        "SELECT 1 WHERE 2 > 1 AND 'a' LIKE 'b' AND 1 IN (1, 2)",
    ],
)
def test_a_body_that_only_reads_is_proven(source: str) -> None:
    assert proven(source)
    assert proven(source, language="plpgsql")


@pytest.mark.parametrize(
    "source",
    [
        "SELECT wipe()",
        "SELECT WIPE()",
        "SELECT WiPe/* */()",
        "SELECT public . wipe ()",
        'SELECT "wipe"()',
        'SELECT "wi""pe", "the v" FROM t',
        "SELECT t.wipe FROM t",
        "SELECT 1 === 2",
        r'SELECT U&"wip\0065"()',
        r"SELECT U&'wip\0065'",
        "SELECT nextval('s')",
        "BEGIN PERFORM set_config('a', 'b', false); END",
        "BEGIN EXECUTE 'SELECT 1'; END",
        "BEGIN RETURN QUERY EXECUTE $1; END",
        "BEGIN INSERT INTO t VALUES (1); END",
        "BEGIN NULL; COMMIT; END",
        "SELECT 1 FROM t FOR UPDATE",
        "SELECT 1 FROM t FOR SHARE",
        "CALL p()",
        "DECLARE c refcursor := 'c'; r record; BEGIN FETCH c INTO r; RETURN 1; END",
        "this is not SQL '",
        "SELECT $$ never closed",
    ],
)
def test_a_body_with_a_word_that_may_do_something_is_not(source: str) -> None:
    assert not proven(source)
    assert not proven(source, language="plpgsql")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("\u00c4x", "\u00c4X"),
        ("w" * 63, "w" * 64),
        ("w" * 63, "W" * 90),
        ("w" * 63, '"' + "w" * 80 + '"'),
        ("w" + "\u00e9" * 31, "w" + "\u00e9" * 40),
        ("\u00e9" * 31, "\u00e9" * 32),
    ],
)
def test_a_name_is_folded_and_cut_as_postgresql_does_it(name: str, word: str) -> None:
    assert not proven(f"SELECT {word}()", frozenset({name}))


def test_a_capital_with_an_accent_is_no_small_one() -> None:
    assert proven("SELECT \u00c4x()", frozenset({"\u00e4x"}))


@pytest.mark.parametrize(
    ("operator", "source"),
    [
        ("=", "SELECT 1 WHERE o IN (1)"),
        ("=", "SELECT CASE o WHEN 1 THEN 2 END"),
        ("=", "SELECT nullif(o, 1)"),
        ("=", "SELECT 1 FROM t JOIN u USING (o)"),
        ("=", "SELECT 1 FROM t NATURAL JOIN u"),
        ("=", "SELECT 1 WHERE o IS DISTINCT FROM 1"),
        ("=", "SELECT DISTINCT o FROM t"),
        ("=", "SELECT o FROM t GROUP BY o"),
        ("=", "TABLE t UNION TABLE u"),
        ("<=", "SELECT 1 WHERE o BETWEEN 1 AND 2"),
        (">", "SELECT greatest(o, 1)"),
        ("<", "SELECT o FROM t ORDER BY o"),
        ("<>", "SELECT 1 WHERE o != 1"),
        ("<>", "SELECT 1 WHERE o NOT IN (1)"),
        ("~~", "SELECT 1 WHERE o LIKE 'x'"),
        ("!~~", "SELECT 1 WHERE o NOT LIKE 'x'"),
        ("~~*", "SELECT 1 WHERE o ILIKE 'x'"),
        ("~", "SELECT 1 WHERE o SIMILAR TO 'x'"),
        ("+", "SELECT o + 1"),
        ("=", "BEGIN CASE x WHEN 1 THEN RETURN 1; END CASE; END"),
    ],
)
def test_an_operator_that_no_word_shows_counts_too(operator: str, source: str) -> None:
    assert not proven(source, frozenset({operator}))
    assert proven(source, frozenset({"===="}))


@pytest.mark.parametrize("language", ["sql", "plpgsql", "c", "internal", "plpython3u"])
def test_what_says_that_it_is_volatile_is_unproven(language: str) -> None:
    assert unproven([function(volatility="v", language=language)], ()) == {20_000}


@pytest.mark.parametrize(
    "given",
    [
        function(None),
        function(language="plpython3u"),
        function(language="plperl"),
        function(settings=("role=admin",)),
        function(settings=("search_path=a", "default_transaction_read_only=off")),
    ],
)
def test_what_cannot_be_read_is_unproven(given: OwnFunction) -> None:
    assert unproven([given], ()) == {20_000}


def test_a_search_path_of_its_own_does_no_harm() -> None:
    assert unproven([function(settings=("search_path=app, pg_temp",))], ()) == set()


def _in_c(extension: str, name: str = "f") -> OwnFunction:
    return function(None, language="c", volatility="i", extension=extension, name=name)


def test_a_function_in_c_is_taken_at_its_word_unless_it_runs_text() -> None:
    assert unproven([_in_c("cube")], ()) == set()
    assert unproven([_in_c("")], ()) == {20_000}, "whoever made it gave it the name that it has here"
    assert unproven([_in_c("tablefunc", "crosstab")], ()) == {20_000}


def test_another_name_for_a_built_in_function_is_as_harmless_as_that() -> None:
    assert unproven([function("upper", language="internal", volatility="i")], ()) == set()
    assert unproven([function("lo_unlink", language="internal", volatility="i")], ()) == {20_000}
    assert unproven([function("aggregate_dummy", language="internal", volatility="i")], ()) == set()


def test_what_an_extension_of_postgresqls_own_does_is_known_by_name() -> None:
    known = OwnFunction(1, "x", "gen_salt", "v", "c", True, None, (), "pgcrypto")
    others = [
        OwnFunction(2, "x", "gen_salt", "v", "c", True, None),
        OwnFunction(3, "x", "gen_salt", "v", "c", True, None, (), "another"),
        OwnFunction(4, "x", "dblink_exec", "v", "c", True, None, (), "dblink"),
        OwnFunction(5, "x", "gen_salt", "v", "plpgsql", True, "BEGIN RETURN 1; END", (), "pgcrypto"),
    ]
    assert unproven([known, *others], ()) == {2, 3, 4, 5}


def test_what_calls_an_unproven_function_is_unproven_to_the_last() -> None:
    chain = [function(f"SELECT f{i + 1}()", oid=i, name=f"f{i}") for i in range(20)]
    apart = function("SELECT 1", oid=90, name="apart")
    assert unproven([*chain, apart], ()) == set()
    last = function("SELECT 1", oid=20, name="f20", volatility="v")
    assert unproven([*chain, apart, last], ()) == set(range(21))


def test_two_that_call_each_other_are_proven_together_and_fall_together() -> None:
    pair = [function("SELECT b()", oid=1, name="a"), function("SELECT a()", oid=2, name="b")]
    assert unproven(pair, ()) == set()
    assert unproven([*pair, function("SELECT wipe()", oid=3, name="b")], VOLATILE) == {1, 2, 3}


def test_what_is_unproven_for_other_reasons_takes_its_callers_along() -> None:
    known = function("aggregate_dummy", oid=1, name="agg", language="internal", volatility="i")
    caller = function("SELECT agg(a) FROM t", oid=2, name="caller")
    assert unproven([known, caller], ()) == set()
    assert unproven([known, caller], (), known={1}) == {1, 2}
