"""Ways past a proxy that forwards what it has looked at: each deletes on a bare server, and nothing here.

Each conversation is a list of steps, and each step is sent once the one before it is answered; a step names how many
ReadyForQuery it is owed. They come whole, and byte by byte, at once; nobody decides, so what is held expires. A step in
words is what somebody else does meanwhile, behind the proxy's back.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product
from threading import Lock

import psycopg
import pytest
from tests.flow.raw import message, raw_client, without_notices
from tests.flow.served import PASSWORD, Served, until
from tests.tiers import one_in

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.wire.messages import FLUSH, SYNC, bind, parse, query

Step = tuple[bytes | str, int]

DELETE = b"DELETE FROM orders"
RETURNING = DELETE + b" RETURNING id"
SCHEMA = r"""
CREATE FUNCTION imm() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT wipe()';
CREATE VIEW ruled AS SELECT id FROM orders;
CREATE RULE gone AS ON INSERT TO ruled DO INSTEAD DELETE FROM orders;
CREATE TABLE many AS SELECT id FROM orders;
CREATE FUNCTION swap() RETURNS int LANGUAGE plpgsql VOLATILE AS
  $$ BEGIN EXECUTE 'DEALLOCATE s9'; EXECUTE 'PREPARE s9 AS DELETE FROM orders'; RETURN 1; END $$;
CREATE FUNCTION wipe_then_s1() RETURNS int LANGUAGE plpgsql VOLATILE AS
  $$ BEGIN DELETE FROM orders; EXECUTE 'EXECUTE s1'; RETURN 1; END $$;
CREATE FUNCTION s1_then_fail() RETURNS int LANGUAGE plpgsql VOLATILE AS
  $$ BEGIN EXECUTE 'EXECUTE s1'; RAISE 'enough'; END $$;
CREATE FUNCTION run_s1() RETURNS int LANGUAGE plpgsql VOLATILE AS
  $$ BEGIN EXECUTE 'EXECUTE s1'; RETURN 1; END $$;
CREATE FUNCTION run_s2() RETURNS int LANGUAGE plpgsql VOLATILE AS
  $$ BEGIN EXECUTE 'EXECUTE s2'; RETURN 1; END $$;
CREATE FUNCTION keep_the_mark() RETURNS int LANGUAGE plpgsql VOLATILE AS
  $$ BEGIN
    PERFORM set_config('pgnotary.signed', current_setting('pgnotary.signed'), false);
    EXECUTE 'EXECUTE s1';
    RETURN 1;
  END $$;
CREATE FUNCTION typed(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
CREATE FUNCTION typed(text) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT wipe()';
CREATE SCHEMA calm;
CREATE SCHEMA wild;
CREATE VIEW calm.shown AS SELECT 1 AS id;
CREATE VIEW wild.shown AS SELECT wipe() AS id;
GRANT USAGE ON SCHEMA calm, wild TO PUBLIC;
GRANT SELECT ON calm.shown, wild.shown TO PUBLIC;
"""
CALM = (
    "CREATE OR REPLACE FUNCTION turning() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';"
    "CREATE OR REPLACE VIEW turned AS SELECT 1 AS id; GRANT SELECT ON turned TO PUBLIC"
)
WILD = (
    "CREATE OR REPLACE FUNCTION turning() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT wipe()';"
    "CREATE OR REPLACE VIEW turned AS SELECT wipe() AS id"
)


def execute(portal: bytes = b"", rows: int = 0) -> bytes:
    return message("E", portal + b"\0" + rows.to_bytes(4, "big"))


def describe(kind: bytes, name: bytes = b"") -> bytes:
    return message("D", kind + name + b"\0")


def run(text: bytes, name: bytes = b"", portal: bytes = b"", rows: int = 0) -> bytes:
    return parse(name, text) + bind(portal, name) + execute(portal, rows)


def typed(oid: int, name: bytes) -> bytes:
    """Bind "5" to the same text, as a parameter of that type."""
    one = b"\0\0\0\1\0\0\0\0015"
    return parse(name, b"SELECT typed($1)", [oid]) + bind(b"", name, one) + execute()


def call(oid: int) -> bytes:
    return message("F", oid.to_bytes(4, "big") + bytes(6))


WIPE = 0
"""Stands for the oid of wipe() in a FunctionCall."""

WAYS: dict[str, list[Step]] = {
    "01 FETCH runs a portal": [
        (query(b"BEGIN"), 1),
        (parse(b"s", RETURNING) + bind(b"p", b"s") + SYNC, 1),
        (query(b"FETCH ALL FROM p"), 1),
        (query(b"COMMIT"), 1),
    ],
    "02 MOVE runs a portal": [
        (query(b"BEGIN"), 1),
        (parse(b"s", RETURNING) + bind(b"p", b"s") + SYNC, 1),
        (query(b"MOVE ALL FROM p"), 1),
        (query(b"COMMIT"), 1),
    ],
    "03 Bind of what SQL has prepared": [
        (query(b"PREPARE x AS " + DELETE), 1),
        (bind(b"", b"x") + execute() + SYNC, 1),
    ],
    "04 EXECUTE of what was parsed": [(parse(b"protp", DELETE) + SYNC, 1), (query(b"EXECUTE protp"), 1)],
    "05 Bind alone plans, and a plan runs code": [(parse(b"", b"SELECT imm()") + bind(b"", b"") + SYNC, 1)],
    "06 a name that keeps its old statement": [
        (parse(b"s1", DELETE) + SYNC, 1),
        (parse(b"s1", b"SELECT 1") + SYNC, 1),
        (bind(b"", b"s1") + execute() + SYNC, 1),
    ],
    "07 the unnamed statement replaced behind its Bind": [
        (parse(b"", DELETE) + bind(b"x", b"") + parse(b"", b"SELECT 1") + execute(b"x") + SYNC, 1)
    ],
    "08 code gives a name to another statement": [
        (parse(b"s9", b"SELECT 1") + SYNC, 1),
        (query(b"SELECT swap()"), 1),
        (bind(b"", b"s9") + execute() + SYNC, 1),
    ],
    "09 Execute of a cursor of SQL": [
        (query(b"BEGIN"), 1),
        (query(b"DECLARE cc CURSOR FOR SELECT wipe()"), 1),
        (execute(b"cc") + SYNC, 1),
        (query(b"COMMIT"), 1),
    ],
    "10a FunctionCall": [(call(WIPE), 1)],
    **{
        f"13 a quote behind half a character of {encoding}, by {by.split()[0]}": [
            (query(by.format(encoding).encode()), 1),
            (query(b"SELECT E'" + half + b"\\'; " + DELETE + b"; --'"), 1),
        ]
        for encoding, half in (("GBK", b"\xbf"), ("BIG5", b"\xa5"), ("SJIS", b"\x95"))
        for by in ("SET client_encoding = '{}'", "SELECT set_config('client_encoding', '{}', false)")
    },
    **{
        f"14 a backslash that quotes, by {by.split()[0].decode()}": [
            (query(by), 1),
            (query(b"SELECT '\\' || ' ; " + DELETE + b"; --'"), 1),
        ]
        for by in (
            b"SET standard_conforming_strings = off",
            b"SELECT set_config('standard_conforming_strings', 'off', false)",
        )
    },
    "20 several statements": [(query(b"SELECT 1; " + DELETE + b"; SELECT 2"), 1)],
    "21 EXPLAIN runs what planning folds": [(run(b"EXPLAIN DELETE FROM many WHERE id = imm()") + SYNC, 1)],
    "22 INSERT into a view with a rule": [(run(b"INSERT INTO ruled VALUES (1)") + SYNC, 1)],
    "23 one row of a DELETE": [(run(RETURNING, rows=1) + SYNC, 1)],
    "33 the last Parse is harmless": [(run(DELETE) + run(b"SELECT 1") + SYNC, 1)],
    "34a a carriage return ends a comment": [(run(b"-- nothing\r" + DELETE) + SYNC, 1)],
    "34b a name is cut at 63 bytes": [
        (run(b"SELECT " + b"w" * 63 + b"x()") + SYNC, 1),
    ],
    "pipelined behind reads": [(run(b"SELECT 1") * 3 + run(DELETE) + run(b"SELECT 2") + SYNC, 1)],
    "behind a Flush": [(parse(b"", DELETE) + describe(b"S") + FLUSH, 0), (bind(b"", b"") + execute() + SYNC, 1)],
    "Bind and Execute apart": [(parse(b"", DELETE) + bind(b"", b"") + FLUSH, 0), (execute() + SYNC, 1)],
    "Bind, another Bind, Execute": [
        (parse(b"", DELETE) + bind(b"a", b"") + bind(b"b", b"") + execute(b"a") + execute(b"b") + SYNC, 1)
    ],
    "a portal left open in a block": [
        (query(b"BEGIN"), 1),
        (parse(b"", DELETE) + bind(b"p", b"") + SYNC, 1),
        (execute(b"p") + SYNC, 1),
        (query(b"COMMIT"), 1),
    ],
    "behind a change that may pass": [(run(b"INSERT INTO many VALUES (1)") + run(DELETE) + SYNC, 1)],
    "another type of a parameter is another function": [(typed(23, b"a") + SYNC, 1), (typed(25, b"b") + SYNC, 1)],
    "another type in the same batch": [(typed(23, b"a") + typed(25, b"b") + SYNC, 1)],
    "COMMIT behind it in the same batch": [(run(b"BEGIN") + run(DELETE) + run(b"COMMIT") + SYNC, 1)],
}
STALE: dict[str, list[Step]] = {
    "a view turns behind a Parse": [
        (parse(b"s", b"SELECT id FROM turned") + SYNC, 1),
        (WILD, 0),
        (bind(b"", b"s") + execute() + SYNC, 1),
    ],
    "a function turns behind a Parse": [
        (parse(b"s", b"SELECT turning()") + SYNC, 1),
        (WILD, 0),
        (run(b"SELECT 1") + bind(b"", b"s") + execute() + run(b"SELECT 2") + SYNC, 1),
    ],
    "a view turns between two queries": [
        (query(b"SELECT id FROM turned"), 1),
        (query(b"SELECT id FROM turned"), 1),
        (WILD, 0),
        (query(b"SELECT id FROM turned"), 1),
    ],
    "a view turns between two executions": [
        (parse(b"s", b"SELECT id FROM turned") + bind(b"", b"s") + execute() + SYNC, 1),
        (bind(b"", b"s") + execute() + SYNC, 1),
        (WILD, 0),
        (bind(b"", b"s") + execute() + SYNC, 1),
    ],
    "a function turns in a block": [
        (query(b"BEGIN"), 1),
        (parse(b"s", b"SELECT turning()") + SYNC, 1),
        (WILD, 0),
        # The server looks for news when it locks a table that it has not locked before.
        (run(b"SELECT id FROM many") + bind(b"", b"s") + execute() + SYNC, 1),
        (query(b"COMMIT"), 1),
    ],
    "a function turns under a PREPARE": [
        (query(b"PREPARE p AS SELECT turning()"), 1),
        (WILD, 0),
        (query(b"EXECUTE p"), 1),
    ],
    "search_path turns behind a Parse": [
        (query(b"SET search_path = calm, public"), 1),
        (parse(b"s", b"SELECT id FROM shown") + SYNC, 1),
        (query(b"SET search_path = wild, public"), 1),
        (bind(b"", b"s") + execute() + SYNC, 1),
    ],
    "search_path turns between two queries": [
        (query(b"SET search_path = calm, public"), 1),
        (query(b"SELECT id FROM shown"), 1),
        (query(b"SELECT id FROM shown"), 1),
        (query(b"SET search_path = wild, public"), 1),
        (query(b"SELECT id FROM shown"), 1),
    ],
    "search_path turns in the same batch": [
        (query(b"SET search_path = calm, public"), 1),
        (parse(b"s", b"SELECT id FROM shown") + SYNC, 1),
        (run(b"SET search_path = wild, public") + bind(b"", b"s") + execute() + SYNC, 1),
    ],
}
"""What was harmless when it was judged."""
WAYS |= {f"stale: {name}": way for name, way in STALE.items()}
HARMLESS_ALONE: dict[str, list[Step]] = {
    "10b FunctionCall in a batch": [(run(b"SELECT 1") + call(WIPE) + SYNC, 2)],
    "10c FunctionCall behind an error": [(parse(b"", b"bogus") + call(WIPE) + SYNC, 1)],
    "11 a Query behind an error": [(parse(b"", b"bogus") + query(DELETE) + query(b"SELECT 1") + SYNC, 1)],
    "12 a Query in an open batch": [(run(b"SELECT 1") + query(DELETE) + SYNC, 2)],
}
"""What deletes nothing on a bare server either (of 18; before, 10b and 12 did), and must not begin to here."""


@pytest.fixture(scope="module")
def traps(postgres: EmbeddedPostgres, shop: str) -> str:
    """The shop, with what these ways need."""
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE traps TEMPLATE {shop}".encode())
    with psycopg.connect(postgres.dsn("traps"), autocommit=True) as connection:
        connection.execute(SCHEMA.encode())
        connection.execute(f"CREATE FUNCTION {'w' * 63}() RETURNS int LANGUAGE sql AS 'SELECT wipe()'".encode())
    return "traps"


@pytest.fixture
def template(traps: str) -> str:
    return traps


def orders(postgres: EmbeddedPostgres, database: str) -> int:
    with psycopg.connect(postgres.dsn(database)) as connection:
        row = connection.execute("SELECT count(*) FROM orders").fetchone()
    assert row is not None
    return int(row[0])


def converse(
    where: tuple[str, int, str, str, str], way: Sequence[Step], oid: int, behind: str, *, bytewise: bool
) -> list[str]:
    """Return what was said; `behind` says where somebody else does something meanwhile."""
    said: list[str] = []
    with psycopg.connect(behind, autocommit=True) as other, raw_client(*where) as client:
        if any(isinstance(data, str) for data, _ in way):
            other.execute(CALM)
        for data, owed in way:
            if isinstance(data, str):
                other.execute(data.encode())
                continue
            client.send(data.replace(call(WIPE), call(oid)), bytewise=bytewise)
            said += client.until_ready(owed)
    return said


def _oid(postgres: EmbeddedPostgres, database: str) -> int:
    with psycopg.connect(postgres.dsn(database)) as connection:
        row = connection.execute("SELECT 'wipe()'::regprocedure::oid::int8").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("name", one_in(3, list(WAYS)))
def test_it_deletes_on_a_bare_server(postgres: EmbeddedPostgres, database: str, name: str) -> None:
    where = (postgres.host, postgres.port, postgres.superuser, postgres.password, database)
    said = converse(where, WAYS[name], _oid(postgres, database), postgres.dsn(database), bytewise=False)
    assert orders(postgres, database) < 100, said


@dataclass(frozen=True)
class Tried:
    """What became of one way."""

    said: list[list[str]]
    """To each of the proxies, whole and byte by byte."""
    left: int
    """How many orders there are afterwards."""


@pytest.fixture(scope="module")
def tried(postgres: EmbeddedPostgres, undecided: list[Served], traps: str) -> dict[str, Tried]:
    """Every way, tried on both proxies in both forms, each in a database of its own; many at once, since all wait."""
    ways = {**WAYS, **HARMLESS_ALONE}
    databases = {name: f"traps_{number}" for number, name in enumerate(ways)}
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        for database in databases.values():
            connection.execute(f"CREATE DATABASE {database} TEMPLATE {traps}".encode())
    oid = _oid(postgres, traps)

    turns = {name: Lock() for name in ways}

    def attempt(name: str, served: Served, bytewise: bool) -> list[str]:
        where = ("127.0.0.1", served.port, "eva", PASSWORD, databases[name])
        # What others do in the database of a way, they do for all who try it there.
        with turns[name] if name.startswith("stale") else nullcontext():
            return converse(where, ways[name], oid, postgres.dsn(databases[name]), bytewise=bytewise)

    forms = list(product(ways, undecided, (False, True)))
    with ThreadPoolExecutor(24) as pool:
        said = list(pool.map(lambda form: attempt(*form), forms))
    found = {name: [each for (of, *_), each in zip(forms, said, strict=True) if of == name] for name in ways}
    return {name: Tried(found[name], orders(postgres, databases[name])) for name in ways}


@pytest.mark.parametrize("name", [*WAYS, *HARMLESS_ALONE])
def test_it_deletes_nothing_here(tried: dict[str, Tried], name: str) -> None:
    owed = sum(ready for _, ready in {**WAYS, **HARMLESS_ALONE}[name])
    for said in tried[name].said:
        assert "closed" not in said, said
        assert sum(each.startswith("Z") for each in said) == owed, said
    assert tried[name].left == 100, tried[name].said


# --- what fresh eyes have found ------------------------------------------------------------------------------------


def converse_here(served: Served, database: str, *way: tuple[bytes, int]) -> list[str]:
    with raw_client("127.0.0.1", served.port, "eva", PASSWORD, database) as client:
        said: list[str] = []
        for data, owed in way:
            client.send(data)
            said += without_notices(client.until_ready(owed))
    return said


@pytest.mark.parametrize(
    "text",
    [
        b"COMMIT",
        b"ROLLBACK TO a",
        b"BEGIN READ WRITE",
        b"SET search_path = prod",
        b"DISCARD TEMP",
        b"SET ROLE pg_monitor",
        b"DECLARE c CURSOR WITH HOLD FOR SELECT wipe()",
        b"PREPARE y AS DELETE FROM orders",
    ],
)
@pytest.mark.parametrize("extended", [False, True])
def test_execute_of_what_only_a_driver_can_prepare_is_refused(
    undecided: list[Served], database: str, text: bytes, *, extended: bool
) -> None:
    """EXECUTE of a Parsed COMMIT ended the block unseen; that of a BEGIN READ WRITE opened one without a wall."""
    run_it = run(b"EXECUTE s1") + SYNC if extended else query(b"EXECUTE s1")
    for served in undecided[:1]:
        said = converse_here(
            served, database, (query(b"BEGIN"), 1), (parse(b"s1", text) + SYNC, 1), (run_it, 1), (query(b"ROLLBACK"), 1)
        )
        assert said[-4:] == ["E 0A000", "Z E", "C ROLLBACK", "Z I"], said


def test_execute_of_a_parsed_commit_between_other_statements_is_refused(undecided: list[Served], database: str) -> None:
    """The record said of the DELETE before it that it had failed, and it was committed."""
    text = DELETE + b"; EXECUTE s1; SELECT 1/0"
    said = converse_here(undecided[0], database, (parse(b"s1", b"COMMIT AND CHAIN") + SYNC, 1), (query(text), 1))
    assert said == ["1", "Z I", "E 0A000", "Z I"], said


@pytest.mark.parametrize(("text", "fate"), [(b"COMMIT AND CHAIN", "committed"), (b"ROLLBACK AND CHAIN", "rolled-back")])
@pytest.mark.parametrize("in_block", [False, True])
def test_code_that_ends_the_transaction_it_was_signed_for_is_not_believed(
    postgres: EmbeddedPostgres, served: Served, database: str, text: bytes, fate: str, *, in_block: bool
) -> None:
    """A function ran a Parsed COMMIT AND CHAIN by its name: the record spoke of the transaction behind it."""
    with raw_client("127.0.0.1", served.port, "eva", PASSWORD, database) as client:
        client.send(parse(b"s1", text) + SYNC + (query(b"BEGIN") if in_block else b""))
        client.until_ready(1 + in_block)
        client.send(query(b"SELECT wipe_then_s1()"))
        paper = served.approve()
        said = without_notices(client.until_ready())
        assert said[-2:] == ["E 08007", "closed"], said
    until(lambda: served.outcome(paper.id)["result"] == "resolved", "what PostgreSQL says of it")
    results = [entry["body"]["result"] for entry in served.life(paper.id) if entry["type"] == "outcome"]
    assert results == ["unknown", "resolved"]
    assert served.outcome(paper.id)["fate"] == fate
    assert orders(postgres, database) == (0 if fate == "committed" else 100)


@pytest.mark.parametrize("text", [b"COMMIT AND CHAIN", b"ROLLBACK AND CHAIN", b"ROLLBACK TO a"])
def test_code_cannot_carry_the_mark_into_another_transaction(
    postgres: EmbeddedPostgres, served: Served, database: str, text: bytes
) -> None:
    """It can make the mark the session's own, but the id is another one, and what a savepoint held comes back."""
    with raw_client("127.0.0.1", served.port, "eva", PASSWORD, database) as client:
        client.send(parse(b"s1", text) + SYNC + query(b"BEGIN") + query(b"SAVEPOINT a"))
        client.until_ready(3)
        client.send(query(b"DELETE FROM orders WHERE id <= 5; SELECT keep_the_mark()"))
        paper = served.approve()
        assert without_notices(client.until_ready())[-2:] == ["E 08007", "closed"]
    until(lambda: served.outcome(paper.id)["result"] == "resolved", "what PostgreSQL says of it")
    gone = 100 - orders(postgres, database)
    assert (served.outcome(paper.id)["fate"] == "committed") == (gone == 5)


@pytest.mark.parametrize("smuggled", [b"SELECT run_s1()", b"SELECT 1 FROM (SELECT run_s1()) AS x; DELETE FROM many"])
def test_a_savepoint_that_code_has_smuggled_in_undoes_nothing_unseen(
    postgres: EmbeddedPostgres, served: Served, database: str, smuggled: bytes
) -> None:
    """It holds the mark of the statement that set it, and each has another one."""
    begin = parse(b"s1", b"SAVEPOINT hidden") + parse(b"s2", b"ROLLBACK TO hidden") + SYNC + query(b"BEGIN")
    with raw_client("127.0.0.1", served.port, "eva", PASSWORD, database) as client:
        client.send(begin)
        client.until_ready(2)
        client.send(query(smuggled))
        served.approve()
        client.until_ready()
        client.send(query(b"DELETE FROM orders WHERE id <= 5"))
        paper = served.approve()
        client.until_ready()
        client.send(query(b"SELECT run_s2()"))
        served.approve()
        assert without_notices(client.until_ready())[-2:] == ["E 08007", "closed"]
    until(lambda: served.outcome(paper.id)["result"] == "resolved", "what PostgreSQL says of it")
    assert served.outcome(paper.id)["fate"] == "rolled-back"
    assert orders(postgres, database) == 100


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        (b"COPY fresh FROM 'PG_VERSION' WITH (FREEZE)", "C COPY 1"),
        (b"TRUNCATE fresh; COPY fresh FROM 'PG_VERSION' WITH (FREEZE)", "C COPY 1"),
        (b"SELECT pg_export_snapshot()", "C SELECT 1"),
    ],
)
def test_what_no_subtransaction_may_do_is_done_once_it_is_signed(
    served: Served, database: str, text: bytes, tag: str
) -> None:
    with raw_client("127.0.0.1", served.port, "eva", PASSWORD, database) as client:
        client.send(query(b"BEGIN"))
        client.until_ready()
        client.send(query(b"CREATE TABLE fresh (n int)"))
        served.approve()
        client.until_ready()
        client.send(query(text))
        paper = served.approve()
        assert without_notices(client.until_ready())[-2:] == [tag, "Z T"]
        client.send(query(b"COMMIT"))
        assert client.until_ready() == ["C COMMIT", "Z I"]
    assert served.outcome(paper.id)["result"] == "committed"


@pytest.mark.parametrize("text", [b"COMMIT", b"COMMIT AND CHAIN", b"ROLLBACK", b"ROLLBACK TO a"])
def test_code_that_ends_a_block_and_then_fails_leaves_no_untrue_record(
    postgres: EmbeddedPostgres, served: Served, database: str, text: bytes
) -> None:
    """The server is idle then, and what was signed before in that block is gone."""
    with raw_client("127.0.0.1", served.port, "eva", PASSWORD, database) as client:
        client.send(parse(b"s1", text) + SYNC + query(b"BEGIN") + query(b"SAVEPOINT a"))
        client.until_ready(3)
        client.send(query(b"DELETE FROM orders WHERE id <= 5"))
        first = served.approve()
        client.until_ready()
        client.send(query(b"SELECT s1_then_fail()"))
        second = served.approve()
        said = without_notices(client.until_ready())
        if said[-1] != "closed":
            client.send(query(b"COMMIT"))
            said += without_notices(client.until_ready())
    until(lambda: served.outcome(first.id)["result"] != "unknown", "what PostgreSQL says of it")
    gone = 100 - orders(postgres, database)
    last = served.outcome(first.id)
    assert (last.get("fate", last["result"]) == "committed") == (gone == 5), (said, last)
    assert served.outcome(second.id)["result"] in ("failed", "unknown", "resolved")


def test_a_search_path_that_is_set_behind_a_flush_decides_what_the_next_names_mean(
    postgres: EmbeddedPostgres, undecided: list[Served], database: str
) -> None:
    """In the open implicit transaction nothing was asked anew: a view of another schema ran, taken for a table."""
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA prod; CREATE TABLE v (n int)")
        connection.execute("CREATE VIEW prod.v AS SELECT n FROM (SELECT pg_advisory_lock(4711), wipe() AS n) AS x")
    set_path = run(b"SET search_path = prod") + FLUSH
    for before in ([], [(run(b"SELECT 1") + FLUSH, 0)]):
        said = converse_here(
            undecided[0], database, *before, (set_path, 0), (run(b"SELECT n FROM v") + FLUSH, 0), (SYNC, 1)
        )
        assert said[-2:] == ["E 57014", "Z I"], said  # held, and nobody decided


def test_a_copy_from_stdin_that_nobody_could_read_does_not_wait_for_ever(served: Served, database: str) -> None:
    """The server passes over a Sync while it waits for data."""
    text = b"COPY orders FROM STDIN " + b"/*" * 40 + b"*/" * 40
    with raw_client("127.0.0.1", served.port, "eva", PASSWORD, database) as client:
        client.send(run(text) + SYNC)
        paper = served.approve()
        assert without_notices(client.until_ready())[-2:] == ["E 57014", "Z I"]
        client.send(run(b"SELECT 1") + SYNC)
        assert without_notices(client.until_ready()) == ["1", "2", "D", "C SELECT 1", "Z I"]
    assert served.outcome(paper.id)["result"] == "failed"


@pytest.mark.parametrize(
    "data",
    [
        message("Q", DELETE + b"\0" + b"trailing\0"),
        *(b"Q" + length.to_bytes(4, "big") + DELETE + b"\0" for length in (0, 1, 2, 3, 2**31, 2**30 + 5)),
        message("S", bytes(10_000)),
        message("\0"),
        message("y"),
        message("B", b"\0\0\0\1\0\0\0\1" + b"\xff\xff\xff\xf9" + b"\0\0"),
    ],
    ids=[
        "17 trailing bytes",
        "18 0",
        "18 1",
        "18 2",
        "18 3",
        "18 2^31",
        "18 1 GiB",
        "18 10,001",
        "19 NUL",
        "19 y",
        "Bind -7",
    ],
)
def test_what_is_no_message_deletes_nothing_and_ends_the_session_or_the_batch(
    postgres: EmbeddedPostgres, undecided: list[Served], database: str, data: bytes
) -> None:
    for served in undecided:
        with raw_client("127.0.0.1", served.port, "eva", PASSWORD, database) as client:
            client.send(parse(b"", DELETE) + SYNC)
            client.until_ready()
            client.send(data + SYNC)
            assert any(each.startswith("E 08P01") or each == "closed" for each in client.until_ready())
        assert orders(postgres, database) == 100
