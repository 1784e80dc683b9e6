"""A secret that is bound, from a driver to the auditor: no command shows it, unless it is asked to."""

import json
import re
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.flow.forked import Forked
from tests.flow.served import PATIENCE_S, holding_inserts

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.ledger.canonical import unb64

SECRET = "hunter2-of-eva"
NUMBER = 90817263
"""A secret number."""
_WRITTEN = re.compile(rf"(?i){SECRET}|{SECRET.encode().hex()}|{NUMBER}|{NUMBER:08x}")
SCHEMA = """
CREATE TABLE accounts (id int PRIMARY KEY, name text, password text, pin int, note text);
INSERT INTO accounts SELECT i, 'name ' || i, 'old ' || i, i, 'plain' FROM generate_series(1, 6) i;
CREATE FUNCTION crypt(text, text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT md5($1 || $2)';
"""


def _one(sql: str, *values: object, **how: bool) -> Callable[[psycopg.Connection[Any]], object]:
    return lambda eva: eva.execute(sql.encode(), values or None, **how)


def _twice(eva: psycopg.Connection[Any]) -> None:
    eva.execute("UPDATE accounts SET note = %(new)s WHERE id = 4 OR password = %(new)s", {"new": SECRET})


def _many(eva: psycopg.Connection[Any]) -> None:
    sets = [("plain", f"{SECRET}-1", 1), ("plain", f"{SECRET}-2", 2), ("plain", None, 3)]
    eva.cursor().executemany("UPDATE accounts SET name = %s, password = %s WHERE id = %s", sets)


def _many_rows(eva: psycopg.Connection[Any]) -> object:
    rows = [[7, 8], [f"{SECRET}-7", f"{SECRET}-8"]]
    return eva.execute("INSERT INTO accounts (id, password) SELECT * FROM unnest(%s::int[], %s::text[])", rows)


UPDATE = "UPDATE accounts SET password = %s WHERE id = %s"
RUNS: dict[str, Callable[[psycopg.Connection[Any]], object]] = {
    "text": _one(UPDATE, SECRET, 1),
    "binary": _one(UPDATE, SECRET, 2, binary=True),
    "binary number": _one("UPDATE accounts SET pin = %s WHERE id = %s", NUMBER, 2, binary=True),
    "executemany": _many,
    "PREPARE": _one("PREPARE p (text, int) AS UPDATE accounts SET password = $1 WHERE id = $2"),
    "EXECUTE": _one(f"EXECUTE p('{SECRET}', 4)"),
    "many rows": _many_rows,
    "by its form": _one("UPDATE accounts SET note = %s WHERE id = %s", f"postgres://eva:{SECRET}@db/shop", 3),
    "in the sample": _twice,
    "encrypted": _one("UPDATE accounts SET note = crypt(%s, note) WHERE id < %s", SECRET, 3),
    "compared": _one("DELETE FROM accounts WHERE id = %s AND %s = password", 5, SECRET),
    "upsert": _one(
        "INSERT INTO accounts (id, password) VALUES (%s, %s) "
        "ON CONFLICT (id) DO UPDATE SET password = excluded.password",
        6,
        f"{SECRET}-6",
    ),
    "named by another": _one(
        "UPDATE accounts SET note = set_config(%s, %s, false) WHERE id = %s", "my.token", SECRET, 1
    ),
}


@dataclass
class Told:
    """What was printed about all requests, by command."""

    quietly: dict[str, str]
    openly: dict[str, str]


@pytest.fixture(scope="module")
def told(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory, own_database: str) -> Iterator[Told]:
    """Run all of it, held, approved and told by every command."""
    folder = Path(tmp_path_factory.mktemp("bound"))
    quietly: dict[str, str] = {}
    openly: dict[str, str] = {}
    with holding_inserts(postgres, folder / "pgnotary", hold_s=60) as served:
        watched = folder / "watched"
        watch = Forked(["watch", "--json", "--config", str(served.config)], watched)
        with served.connect(own_database, cursor_factory=psycopg.Cursor) as eva:
            for name, run in RUNS.items():
                worker = threading.Thread(target=run, args=(eva,))
                worker.start()
                request = served.held().id
                for words in (["requests", "--json"], ["show", request]):
                    quietly[f"{name}: {' '.join(words)}"] = served.pgnotary(*words)
                if name != "PREPARE":
                    openly[f"{name}: show"] = served.pgnotary("show", request, "--secrets")
                served.approve()
                worker.join(PATIENCE_S)
            session = served.entries()[-1]["session"]
            worker = threading.Thread(target=_unlike, args=(eva,))
            worker.start()
            served.approve()
            worker.join(PATIENCE_S)
        watch.send_signal(signal.SIGINT)
        watch.wait(PATIENCE_S)
        openly["show --json"] = served.pgnotary("show", "R-1", "--json", "--secrets")
        quietly["watch"] = watched.read_text()
        quietly["log"] = served.log
        quietly["ledger"] = json.dumps(served.entries())
        quietly["report"] = served.pgnotary("report")
        for words in (
            ["search"],
            ["search", "--json"],
            ["search", "--forwarded", "--json"],
            ["search", "--text", "accounts", "--json"],
            ["replay", session],
            ["export", "--csv", "-"],
        ):
            quietly[" ".join(words)] = served.pgnotary(*words)
        openly["search"] = served.pgnotary("search", "--json", "--secrets")
        openly["replay"] = served.pgnotary("replay", session, "--secrets")
        for name in ("R-1", "R-4"):
            quietly[f"show {name}"] = served.pgnotary("show", name)
            quietly[f"show {name} --json"] = served.pgnotary("show", name, "--json")
            quietly[f"replay {name}"] = served.pgnotary("replay", name)
        for where, words, shown in (("all", ["--secrets"], openly), ("some", [], quietly)):
            served.pgnotary("export", str(folder / where), *words)
            lines = [json.loads(line) for line in (folder / where / "opened.jsonl").read_text().splitlines()]
            shown["export"] = "\n".join(
                unb64(value).decode(errors="replace") for line in lines for value in [line["value"]]
            )
        for where, words in (("found", ["--text", SECRET]), ("found part", ["--text", SECRET[:7]])):
            quietly[where] = served.pgnotary("search", "--json", *words)
        yield Told(quietly, openly)


def _unlike(eva: psycopg.Connection[Any]) -> None:
    """Fail with an error that quotes the secret."""
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        eva.execute("UPDATE accounts SET pin = (lower(%s) || id)::int", [SECRET])


@pytest.fixture(scope="module")
def own_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as server:
        server.execute("CREATE DATABASE bound_secrets TEMPLATE template0 ENCODING 'UTF8'")
        with psycopg.connect(postgres.dsn("bound_secrets"), autocommit=True) as connection:
            connection.execute(SCHEMA.encode())
        yield "bound_secrets"
        server.execute("DROP DATABASE bound_secrets WITH (FORCE)")


def test_no_command_shows_it_and_every_command_does_when_it_is_asked(told: Told) -> None:
    leaks = {where for where, what in told.quietly.items() if _WRITTEN.search(what)}
    assert not leaks
    assert told.quietly["found"] == told.quietly["found part"] == ""
    error = "invalid input syntax for type integer"
    assert f'{error}: "{SECRET}' in told.openly["replay"]
    assert any(f'{error}: "***' in what for what in told.quietly.values())
    silent = {where for where, what in told.openly.items() if not _WRITTEN.search(what)}
    assert not silent
