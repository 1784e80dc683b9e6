"""COPY FROM STDIN through a proxy that forwards all is what it is without one: message by message, whatever is sent.

Each conversation goes whole, and byte by byte, to the bare server and to the proxy; both must say the same, and leave
the same rows. Nothing in it waits for an answer, as no client has to.
"""

from collections.abc import Iterator
from random import Random

import psycopg
import pytest
from tests.flow.raw import message, raw_client, without_notices
from tests.flow.served import PASSWORD, Served
from tests.listed import listed
from tests.tiers import one_in

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.wire.messages import FLUSH, SYNC, bind, describe_statement, execute, parse, query

SCHEMA = """
CREATE TABLE late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO late VALUES (1);
CREATE VIEW seen AS SELECT id FROM orders;
"""
COPY = b"COPY orders (id, status) FROM STDIN"
DONE = message("c")
ROWS = message("d", b"1001\tnew\n1002\tn") + message("d", b"ew\n")
BAD = message("d", b"1001\tnew\n") + message("d", b"what\tnew\n")
DOUBLE = message("d", b"1001\tnew\n1\tnew\n")
COUNT = query(b"SELECT count(*), sum(id) FROM orders")
DELETE = query(b"DELETE FROM orders")


def run(text: bytes) -> bytes:
    return parse(b"", text) + bind(b"", b"") + execute(b"")


CONVERSATIONS = {
    "rows": query(COPY) + ROWS + DONE + COUNT,
    "no rows": query(COPY) + DONE + COUNT,
    "two copies": query(COPY) + ROWS + DONE + query(COPY) + message("d", b"7777\tx\n") + DONE + COUNT,
    "csv": query(COPY + b" (FORMAT csv, HEADER)") + message("d", b"id,status\n1001,new\n") + DONE + COUNT,
    "a condition": query(COPY + b" WHERE id > 1001") + ROWS + DONE + COUNT,
    "an end inside the data": query(COPY) + message("d", b"1001\tnew\n\\.\n1002\tnew\n") + DONE + COUNT,
    "bad data": query(COPY) + BAD + ROWS + DONE + COUNT,
    "bad data, given up": query(COPY) + BAD + message("f", b"enough\0") + COUNT,
    "bad data, never ended": query(COPY) + BAD + ROWS + COUNT,
    "given up": query(COPY) + ROWS + message("f", b"enough\0") + COUNT,
    "double": query(COPY) + DOUBLE + DONE + COUNT,
    "bad header": query(COPY + b" (FORMAT binary)") + ROWS + DONE + COUNT,
    "deferred": query(b"COPY late FROM STDIN") + message("d", b"1\n") + DONE + COUNT,
    "no such table": query(b"COPY nowhere FROM STDIN") + ROWS + DONE + COUNT,
    "a view": query(b"COPY seen FROM STDIN") + ROWS + DONE + COUNT,
    "Flush and Sync inside": query(COPY) + SYNC + ROWS + FLUSH + SYNC + DONE + COUNT,
    "Sync behind": query(COPY) + ROWS + DONE + SYNC + COUNT,
    "data without a copy": ROWS + DONE + message("f", b"\0") + COUNT + ROWS,
    "late data": COUNT + ROWS + DONE + query(COPY) + ROWS + DONE + ROWS + COUNT,
    "long data": query(COPY) + message("d", b"".join(b"%d\tnew\n" % n for n in range(1000, 250_000))) + DONE + COUNT,
    "in a block": query(b"BEGIN") + query(COPY) + ROWS + DONE + COUNT + query(b"COMMIT") + COUNT,
    "in a block, undone": query(b"BEGIN") + query(COPY) + ROWS + DONE + query(b"ROLLBACK") + COUNT,
    "bad data in a block": query(b"BEGIN") + query(COPY) + BAD + DONE + COUNT + query(b"COMMIT") + COUNT,
    "in a failed block": query(b"BEGIN") + query(b"SELECT 1/0") + query(COPY) + ROWS + DONE + query(b"END") + COUNT,
    "behind a savepoint": query(b"BEGIN") + query(b"SAVEPOINT a") + query(COPY) + BAD + query(b"ROLLBACK TO a")
    + query(COPY) + ROWS + DONE + query(b"COMMIT") + COUNT,
    "extended": run(COPY) + SYNC + ROWS + DONE + SYNC + COUNT,
    "extended, described": parse(b"s", COPY) + describe_statement(b"s") + SYNC
    + bind(b"p", b"s") + execute(b"p") + SYNC + ROWS + DONE + SYNC + COUNT,
    "extended, flushed": run(COPY) + FLUSH + ROWS + DONE + SYNC + COUNT,
    "extended, without an end": run(COPY) + ROWS + DONE + SYNC + COUNT,
    "extended, more Syncs": run(COPY) + SYNC + ROWS + SYNC + DONE + SYNC + SYNC + COUNT,
    "extended, bad data": run(COPY) + SYNC + BAD + ROWS + DONE + SYNC + COUNT,
    "extended, bad data, a query before the Sync": run(COPY) + SYNC + BAD + DONE + DELETE + SYNC + COUNT,
    "extended, given up": run(COPY) + SYNC + ROWS + message("f", b"enough\0") + SYNC + COUNT,
    "extended, double": run(COPY) + SYNC + DOUBLE + DONE + SYNC + COUNT,
    "extended, double, more behind it": run(COPY) + SYNC + DOUBLE + DONE + run(b"DELETE FROM orders") + SYNC + COUNT,
    "extended, no such table": run(b"COPY nowhere FROM STDIN") + SYNC + ROWS + DONE + SYNC + COUNT,
    "extended, more behind it": run(COPY) + SYNC + ROWS + DONE + run(b"SELECT 1") + SYNC + COUNT,
    "extended, in a block": query(b"BEGIN") + run(COPY) + SYNC + ROWS + DONE + SYNC + COUNT + query(b"COMMIT") + COUNT,
    "extended, behind a change": run(b"DELETE FROM items") + run(COPY) + SYNC + BAD + DONE + SYNC
    + query(b"SELECT count(*) FROM items"),
}  # fmt: skip
BROKEN = {
    f"{how}{name}": start + ROWS + broken + DONE + SYNC + COUNT
    for how, start in (("", query(COPY)), ("extended, ", run(COPY) + SYNC))
    for name, broken in {
        "a query": DELETE,
        "a Parse": parse(b"", b"DELETE FROM orders"),
        "a Bind": bind(b"", b""),
        "an Execute": execute(b""),
        "a FunctionCall": message("F", bytes(12)),
    }.items()
}


@pytest.fixture(scope="module")
def open_proxy(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(postgres, tmp_path_factory.mktemp("open") / "pgnotary", profile="forward-all") as proxy:
        yield proxy
        proxy.entries()


@pytest.fixture(scope="module")
def two_shops(postgres: EmbeddedPostgres, shop: str) -> list[str]:
    """A shop behind the proxy, and one without."""
    names = ["copied_behind", "copied_bare"]
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as admin:
        for name in names:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {shop}".encode())
    for name in names:
        with psycopg.connect(postgres.dsn(name), autocommit=True) as connection:
            connection.execute(SCHEMA.encode())
    return names


def said_by_both(
    postgres: EmbeddedPostgres, proxy: Served, shops: list[str], data: bytes, *, bytewise: bool
) -> list[list[str]]:
    """Return what the proxy and the bare server say up to the end, and all that is there afterwards."""
    found = []
    places = [("127.0.0.1", proxy.port, "eva", PASSWORD), (postgres.host, postgres.port, postgres.superuser, "")]
    for shop, (host, port, user, password) in zip(shops, places, strict=True):
        with raw_client(host, port, user, password or postgres.password, shop) as client:
            client.send(data + query(b"SHOW port"), bytewise=bytewise)
            said = list[str]()
            while not {"C SHOW", "closed"} & set(said):
                said += without_notices(client.until_ready())
        with psycopg.connect(postgres.dsn(shop), autocommit=True) as connection:
            rows = connection.execute("TABLE orders ORDER BY id").fetchall()
            connection.execute("DELETE FROM orders WHERE id > 100")
            connection.execute(
                "INSERT INTO items SELECT i, 1 FROM generate_series(1, 100) i WHERE NOT EXISTS (TABLE items)"
            )
        found.append([*said, repr(hash(tuple(rows)))])
    return found


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize("name", one_in(2, list(CONVERSATIONS)))
def test_it_is_told_as_by_the_server(
    postgres: EmbeddedPostgres, open_proxy: Served, two_shops: list[str], name: str, *, bytewise: bool
) -> None:
    data = CONVERSATIONS[name]
    if bytewise and len(data) > 10_000:
        pytest.skip("too long to be sent byte by byte")
    behind, bare = said_by_both(postgres, open_proxy, two_shops, data, bytewise=bytewise)
    assert behind == bare


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_it_ends_both_and_nothing_stays(
    postgres: EmbeddedPostgres, open_proxy: Served, two_shops: list[str], name: str
) -> None:
    behind, bare = said_by_both(postgres, open_proxy, two_shops, BROKEN[name], bytewise=False)
    assert behind == bare
    assert bare[-4:-1] == ["E 08P01", "E 08P01", "closed"]


PIECES = {
    "Q": query(COPY), "E": run(COPY), "p": run(b"SELECT 1"), "d": ROWS, "b": BAD, "u": DOUBLE, "c": DONE,
    "f": message("f", b"enough\0"), "S": SYNC, "H": FLUSH, "n": COUNT, "B": query(b"BEGIN"), "C": query(b"COMMIT"),
    "R": query(b"ROLLBACK"), "x": query(b"SELECT 1/0"), "i": query(b"INSERT INTO orders VALUES (5000, 'x')"),
}  # fmt: skip


def by_chance(chance: Random) -> str:
    """Return a conversation, a letter for each piece; behind an extended COPY come only data up to a Sync."""
    said = ""
    for piece in chance.choices("QQQEEEddddbucccccfSSHnBRCxip", k=chance.randint(3, 12)):
        said += piece
        if piece == "E":
            said += chance.choice(["", "S", "H", "HS", "SS"]) + "".join(
                chance.choices("dddbuSH", k=chance.randint(1, 3))
            )
            said += chance.choice(["c", "c", "f", "cdc", "cd", "fc"]) + chance.choice(["S", "HS", "SS"])
        elif piece == "p":
            said += chance.choice(["S", "HS", "SH", "dS", "cS"])
    return said


@pytest.mark.parametrize("seed", range(24))
def test_whatever_is_said_by_chance_is_told_as_by_the_server(
    postgres: EmbeddedPostgres, open_proxy: Served, two_shops: list[str], seed: int
) -> None:
    letters = by_chance(Random(seed))  # no secret
    data = b"".join(map(PIECES.__getitem__, letters)) + SYNC + DONE + SYNC + query(b"ROLLBACK")
    behind, bare = said_by_both(postgres, open_proxy, two_shops, data, bytewise=False)
    assert behind == bare, letters


def test_a_view_is_told_as_by_the_server_but_for_the_ready_of_the_sync_ahead(
    postgres: EmbeddedPostgres, open_proxy: Served, two_shops: list[str]
) -> None:
    """The server asks for data and fails before it reads any: only then the Sync ahead of them ends the batch."""
    data = run(b"COPY seen FROM STDIN") + SYNC + ROWS + DONE + SYNC + COUNT
    behind, bare = said_by_both(postgres, open_proxy, two_shops, data, bytewise=False)
    assert bare == [*behind[:4], "Z I", *behind[4:]]


def test_what_was_forwarded_is_recorded_with_its_digest(
    postgres: EmbeddedPostgres, open_proxy: Served, two_shops: list[str]
) -> None:
    said_by_both(postgres, open_proxy, two_shops, CONVERSATIONS["rows"], bytewise=False)
    executions = [
        each for entry in open_proxy.entries() if entry["type"] == "forwarded" for each in listed(entry["body"])
    ]
    copied = [each for each in executions if "copied_bytes" in each]
    assert {each["kind"] for each in copied} == {"copy-in"}
    assert all(len(each["copied_sha256"]) == 64 for each in copied)
