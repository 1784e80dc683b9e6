"""client_encoding through a proxy is what it is without one: byte by byte, in transactions, batches and failures.

Each conversation goes to the bare server and to the proxy, and both must answer with the same bytes: values, reports
and where they stand. Of errors and notices the severity, the SQLSTATE, the message and the detail must be the same.
"""

from collections.abc import Iterator
from random import Random

import psycopg
import pytest
from tests.flow.raw import Raw, message, raw_client
from tests.flow.served import PASSWORD, Served

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.errors import NotSupported, StatementError
from pgnotary.wire import messages
from pgnotary.wire.encodings import encoding_of
from pgnotary.wire.messages import SYNC, bind, describe_statement, execute, parse, query

NAME = "client_encoding"
BARE = query(b"SELECT 'bare'")


def run(text: str, *values: str | None) -> bytes:
    arguments = b"\0\0" + len(values).to_bytes(2, "big")
    for value in values:
        raw = (value or "").encode()
        arguments += (len(raw) if value is not None else -1).to_bytes(4, "big", signed=True) + raw
    described = message("D", b"P\0")
    return parse(b"", text.encode()) + bind(b"", b"", arguments) + described + execute(b"")


def told(client: Raw, data: bytes) -> list[object]:
    """Return all that answers `data`, up to its last ReadyForQuery."""
    client.send(data + query(b"ROLLBACK") + query(b"SELECT 'the end'"))
    said: list[object] = []
    while True:
        frame = client.read()
        if frame.type in (b"E", b"N"):
            found = messages.diagnostic(frame.body)
            said.append((frame.type, found.severity, found.sqlstate, found.message, found.detail))
        else:
            said.append(frame.raw)
        if frame.type == b"D" and b"the end" in frame.body:
            return said


@pytest.fixture(scope="module")
def proxy(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(postgres, tmp_path_factory.mktemp("open") / "pgnotary", profile="forward-all") as proxy:
        yield proxy
        assert "Traceback" not in proxy.log
        proxy.entries()


def both(postgres: EmbeddedPostgres, proxy: Served, shop: str, data: bytes) -> tuple[list[object], list[object]]:
    places = [("127.0.0.1", proxy.port, "eva", PASSWORD), (postgres.host, postgres.port, postgres.superuser, "")]
    found = []
    for host, port, user, password in places:
        with raw_client(host, port, user, password or postgres.password, shop) as client:
            found.append(told(client, data))
    return found[0], found[1]


def q(*texts: str) -> bytes:
    return b"".join(query(text.encode()) for text in texts)


SHOW = f"SHOW {NAME}"
ASCII, UTF8, UNICODE = (f"SET {NAME} = {value}" for value in ("sql_ascii", "'utf-8'", "'UNICODE'"))
LOCAL = f"SET LOCAL {NAME}"
CONFIG = f"SELECT set_config('{NAME}', $1, false)"

CONVERSATIONS = {
    "set and shown": q(ASCII, SHOW, "SELECT 'é'", UTF8, SHOW),
    "as it was written": q(UNICODE, SHOW, "SELECT pg_client_encoding()", f"SELECT current_setting('{NAME}')"),
    "other ways to set it": q(
        "SET NAMES 'sqlascii'", "SET NAMES", "SET NAMES DEFAULT", f"SET SESSION {NAME} TO 'SQL-ASCII'",
        f"RESET {NAME}", ASCII, f"SET {NAME} TO DEFAULT",
    ),
    "what is no encoding": q(
        *(f"SET {NAME} = {value}" for value in ("wat", "''", "5", "true", "mule_internal", "a, b"))
    ),
    "what is no encoding, in a block": q("BEGIN", f"SET {NAME} = wat", ASCII, "ROLLBACK", SHOW),
    "all is reset": q(ASCII, "RESET ALL", SHOW, ASCII, "DISCARD ALL", ASCII, "DISCARD PLANS", SHOW),
    "local outside a block": q(f"{LOCAL} = sql_ascii", SHOW),
    "local in a block": q("BEGIN", f"{LOCAL} = sql_ascii", SHOW, "COMMIT", SHOW),
    "local behind a setting": q("BEGIN", ASCII, f"{LOCAL} = 'UNICODE'", "COMMIT", SHOW),
    "a setting behind local": q("BEGIN", f"{LOCAL} = 'UNICODE'", ASCII, "COMMIT", SHOW),
    "rolled back": q("BEGIN", ASCII, SHOW, "ROLLBACK", SHOW),
    "failed": q("BEGIN", ASCII, "SELECT 1/0", SHOW, UNICODE, "COMMIT", SHOW),
    "a savepoint": q(
        "BEGIN", ASCII, "SAVEPOINT a", UNICODE, "SELECT 1/0", "ROLLBACK TO a", SHOW, UTF8, "RELEASE a", SHOW, "COMMIT"
    ),
    "savepoints of one name": q(
        "BEGIN", "SAVEPOINT a", ASCII, "SAVEPOINT a", UNICODE, "ROLLBACK TO a", SHOW, "RELEASE a", "ROLLBACK TO a",
        SHOW, "COMMIT", SHOW,
    ),
    "local in a savepoint": q("BEGIN", "SAVEPOINT a", f"{LOCAL} = sql_ascii", "RELEASE a", SHOW, "COMMIT", SHOW),
    "chained": q("BEGIN", ASCII, "COMMIT AND CHAIN", UNICODE, "ROLLBACK AND CHAIN", SHOW, "COMMIT", SHOW),
    "all is reset in a block": q(ASCII, "BEGIN", "RESET ALL", SHOW, "ROLLBACK", SHOW, "BEGIN; RESET ALL; COMMIT", SHOW),
    "reset behind what fails": q(ASCII, "RESET ALL; SELECT 1/0", SHOW),
    "a write in its block fails": q("BEGIN", ASCII, "INSERT INTO orders VALUES (1, 'x')", "COMMIT", SHOW),
    "by a function": q(
        f"SELECT set_config('{NAME}', 'sqlascii', false)", SHOW,
        f"SELECT set_config('{NAME}', NULL, false) AS x", SHOW,
        f"SELECT set_config('{NAME}', 'sqlascii', true)", SHOW,
        f"SELECT pg_catalog.set_config('{NAME}', 'wat', false)", SHOW,
    ),
    "by a function, local": q("BEGIN", f"SELECT set_config('{NAME}', 'sqlascii', true)", SHOW, "COMMIT", SHOW),
    "in a message with others": q(f"SET {NAME} = 'utf8'; SELECT 1", f"RESET {NAME}; SELECT 2"),
    "in a batch": b"".join(
        run(text) + SYNC for text in (ASCII, SHOW, f"RESET {NAME}", ASCII, f"SET {NAME} TO DEFAULT", SHOW)
    ),
    "bound": run(CONFIG, "sqlascii") + SYNC + run(SHOW) + SYNC + run(CONFIG, None) + SYNC + run(CONFIG, "wat") + SYNC
    + q(SHOW),
    "bound, in a block": q("BEGIN") + run(CONFIG, "sqlascii") + SYNC + run(SHOW) + SYNC
    + q("SELECT 1/0", "ROLLBACK", SHOW),
    "prepared before": parse(b"s", CONFIG.encode()) + describe_statement(b"s") + SYNC
    + (bind(b"", b"s", b"\0\0\0\1\0\0\0\x08sqlascii") + execute(b"") + SYNC) + q(SHOW),
    "several in a batch": run(ASCII) + run(SHOW) + run(UNICODE) + run(SHOW) + SYNC + q(SHOW),
    "a batch that fails": run(ASCII) + run("SELECT 1/0") + run(SHOW) + SYNC + q(SHOW),
    "a batch that fails behind local": run(f"{LOCAL} = sql_ascii") + run(SHOW) + run("SELECT 1/0") + SYNC + q(SHOW),
    "a batch with local": run(f"{LOCAL} = sql_ascii") + run(SHOW) + SYNC + q(SHOW),
    "a batch around a block": run("BEGIN") + run(ASCII) + run(SHOW) + run("ROLLBACK") + run(SHOW) + SYNC + q(SHOW),
    "a batch that becomes a block": q("SET client_min_messages = error") + run(ASCII) + run("BEGIN") + SYNC
    + q(SHOW, "ROLLBACK", SHOW),
    "a letter behind it": run(ASCII) + run("SELECT 'é'") + SYNC,
    "a mistake": q(ASCII, "SELECT 'é' FROM nowhere", "SELEC 'é'"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_it_is_told_as_by_the_server(postgres: EmbeddedPostgres, proxy: Served, shop: str, name: str) -> None:
    behind, bare = both(postgres, proxy, shop, CONVERSATIONS[name])
    assert behind == bare


def by_chance(chance: Random) -> bytes:
    """Return a conversation of settings, blocks, savepoints and failures, in both protocols."""
    texts = [
        ASCII, UTF8, UNICODE, f"{LOCAL} = sql_ascii", f"RESET {NAME}", "RESET ALL", SHOW, "BEGIN", "COMMIT", "ROLLBACK",
        "SAVEPOINT a", "SAVEPOINT b", "ROLLBACK TO a", "RELEASE a", "ROLLBACK TO b", "SELECT 1/0", f"SET {NAME} = wat",
        f"SELECT set_config('{NAME}', 'sqlascii', true)", "SELECT 'é'",
    ]  # fmt: skip
    return b"".join(
        run(text) + SYNC if chance.random() < 0.3 else q(text)
        for text in (chance.choice(texts) for _ in range(chance.randint(4, 14)))
    )


@pytest.mark.parametrize("seed", range(40))
def test_what_is_set_by_chance_is_told_as_by_the_server(
    postgres: EmbeddedPostgres, proxy: Served, shop: str, seed: int
) -> None:
    behind, bare = both(postgres, proxy, shop, by_chance(Random(seed)))
    assert behind == bare


def test_all_settings_are_shown_with_the_clients_own(proxy: Served, shop: str) -> None:
    with psycopg.connect(
        f"host=127.0.0.1 port={proxy.port} user=eva password={PASSWORD} dbname={shop}", autocommit=True
    ) as client:
        client.execute(ASCII.encode())
        shown = {bytes(name): bytes(value) for name, value, _ in client.execute("SHOW ALL").fetchall() if value}
    assert (shown[b"client_encoding"], shown[b"default_transaction_read_only"]) == (b"SQL_ASCII", b"off")
    assert shown[b"server_encoding"] == b"UTF8"


@pytest.mark.parametrize("value", ["SQL_ASCII", "UNICODE", "utf-8"])
def test_it_is_set_at_the_login(proxy: Served, postgres: EmbeddedPostgres, shop: str, value: str) -> None:
    behind = f"host=127.0.0.1 port={proxy.port} user=eva password={PASSWORD} dbname={shop}"
    dsns = [behind, postgres.dsn(shop)]
    found = []
    for dsn in dsns:
        with psycopg.connect(dsn, client_encoding=value, autocommit=True) as client:
            asked = [client.info.parameter_status(NAME)]
            for text in (SHOW, UTF8, SHOW, f"RESET {NAME}", SHOW):
                cursor = client.execute(text.encode())
                asked.append(str(cursor.fetchone() if cursor.description else client.info.parameter_status(NAME)))
        found.append(asked)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "text",
    [
        f"SELECT setting FROM pg_settings WHERE name = '{NAME}'",
        f"SELECT current_setting('{NAME}') || 'x'",
        "SELECT * FROM pg_show_all_settings()",
        "SELECT current_setting($1)",
        "SELECT pg_client_encoding(), 'client_encoding'",
        f"SET {NAME} = utf8; SELECT 1",
    ],
)
def test_what_would_tell_the_servers_is_refused_while_it_is_another_one(proxy: Served, shop: str, text: str) -> None:
    with raw_client("127.0.0.1", proxy.port, "eva", PASSWORD, shop) as client:
        client.send(q(ASCII) + (run(text, NAME) + SYNC if "$1" in text else q(text)) + q(UTF8))
        said = client.until_ready(3)
    assert "E 0A000" in said
    assert said[-3:] == ["C SET", "S", "Z I"]


@pytest.mark.parametrize("value", ["LATIN1", "sjis", "gbk", "big5"])
def test_an_encoding_that_is_not_carried_reaches_no_server(
    proxy: Served, postgres: EmbeddedPostgres, shop: str, value: str
) -> None:
    ways = [
        q(f"SET {NAME} = '{value}'"), q(f"{LOCAL} = {value}"), q(f"SELECT set_config('{NAME}', '{value}', false)"),
        run(CONFIG, value) + SYNC, parse(b"s", CONFIG.encode()) + SYNC + q(f"EXECUTE s('{value}')"),
        parse(b"s", CONFIG.replace("$1", f"'{value}'").encode()) + SYNC + q("EXECUTE s"),
        q(f"PREPARE p AS SELECT set_config('{NAME}', '{value}', false)"),
    ]  # fmt: skip
    for way in ways:
        with raw_client("127.0.0.1", proxy.port, "eva", PASSWORD, shop) as client:
            client.send(way + BARE)
            said: list[str] = []
            while "C SELECT 1" not in said:
                said += client.until_ready()
            assert "E 0A000" in said, way


def test_the_names_are_the_servers_names(postgres: EmbeddedPostgres) -> None:
    words = (
        "abc alt big5 euccn eucjis2004 eucjp euckr euctw gb18030 gbk johab koi8 koi8r koi8u mskanji muleinternal auto "
        "shiftjis shiftjis2004 sjis sqlascii tcvn tcvn5712 uhc unicode utf8 vscii win win866 win874 win932 win936 "
        "win949 win950 windows866 windows874 windows932 windows936 windows949 windows950 utf7 latin iso8859 "
        "iso88595 iso88596 iso88597 iso88598 cp1252 eucjis eucjp2004 ascii us-ascii binary default"
    ).split()
    words += [f"{kind}{number}" for kind in ("latin", "iso8859", "iso-8859-", "ISO_8859_") for number in range(18)]
    words += [f"{kind}{page}" for kind in ("win", "windows", "Windows-", "cp") for page in range(1248, 1260)]
    words += ["U T F 8", "utf.8", "UTF\u00e98", "utf8" + " " * 59, "", "-"]
    with psycopg.connect(postgres.dsn("postgres")) as client:
        for word in words:
            (name,) = (
                client.execute("SELECT pg_encoding_to_char(pg_char_to_encoding(%s::name))", [word]).fetchone() or ()
            )
            try:
                found = encoding_of(word).name
            except NotSupported as error:
                found = name if name and name in f"{error.message} {error.detail}" else "another"
            except StatementError:
                found = ""
            assert found == name, word
