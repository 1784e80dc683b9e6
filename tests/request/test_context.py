"""The context of a held statement: all of it in the entry, the words of people sealed, and always small enough."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pgnotary.errors import TooLarge
from pgnotary.judge.meaning import weigh
from pgnotary.judge.policy import verdict
from pgnotary.judge.reading import read
from pgnotary.judge.rules import PROFILES, policy_of
from pgnotary.ledger.entries import FIRST_PREV, Draft, EntryType, Position, encode_entry
from pgnotary.request.context import Client, Server, request_draft

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
CLIENT = Client("S-00000001", "eva", "eva@corp", "psql", "10.2.0.7:50123", "clean-up")
SERVER = Server(
    database="shop",
    system_identifier="7400000000000000001",
    pid=4711,
    role="app_rw",
    session_user="eva",
    search_path="app, public",
    settings={"datestyle": "ISO, MDY"},
    schema="5c" * 32,
    prepared="",
    in_block=True,
    statements_before=3,
)
POLICY = policy_of(PROFILES["default"])


def draft(sql: str = "DELETE FROM app.orders", client: Client = CLIENT, server: Server = SERVER) -> Draft:
    statement = weigh(read(sql.encode()))
    return request_draft("R-1", statement, verdict(statement, POLICY), POLICY, client, server, NOW)


def encoded(of: Draft) -> bytes:
    position = Position("shop.example/ledger", 5, FIRST_PREV, NOW)
    return encode_entry(of, position, dict.fromkeys(of.sealed, bytes(32)))


def test_everything_that_decides_what_a_statement_means_is_in_the_entry() -> None:
    asked = draft("SELECT 1; DELETE FROM app.orders")
    assert (asked.type, asked.session, asked.request, asked.after) == (EntryType.REQUEST, "S-00000001", "R-1", None)
    assert asked.body == {
        "user": "eva",
        "person": "eva@corp",
        "application": "psql",
        "client": "10.2.0.7:50123",
        "role": "app_rw",
        "session_user": "eva",
        "database": "shop",
        "system_identifier": "7400000000000000001",
        "upstream_pid": 4711,
        "search_path": "app, public",
        "block": "open",
        "statements_before": 3,
        "bytes": 32,
        "kind": "delete",
        "settings": {"datestyle": "ISO, MDY"},
        "schema": "5c" * 32,
        "countable": True,
        "relations": ["app.orders"],
        "parts": [
            {"kind": "select", "start": 0, "end": 8, "harmless": True},
            {"kind": "delete", "start": 10, "end": 32, "harmless": False, "relations": ["app.orders"]},
        ],
        "profile": "default",
        "policy": POLICY.digest,
        "rule": "default/hold-delete",
        "why": "statement 2 of 2 is DELETE",
        "needs": 1,
        "expires_at": "2026-11-20T09:00:00.000000Z",
    }


def test_the_statement_and_the_engineers_words_are_sealed_and_not_written() -> None:
    asked = draft("DELETE FROM orders WHERE name = 'Mrs Secret'")
    assert asked.sealed == {"statement": b"DELETE FROM orders WHERE name = 'Mrs Secret'", "reason": b"clean-up"}
    assert b"Secret" not in encoded(asked)
    assert b"clean-up" not in encoded(asked)


def test_no_reason_seals_none() -> None:
    assert set(draft(client=replace(CLIENT, reason="")).sealed) == {"statement"}


def test_outside_a_block_it_says_so() -> None:
    assert draft(server=replace(SERVER, in_block=False)).body["block"] == "none"


@pytest.mark.parametrize("name", [field.name for field in fields(Client) if field.name != "session"])
def test_no_fact_about_the_client_is_left_out(name: str) -> None:
    other = draft(client=replace(CLIENT, **{name: "other"}))
    assert (other.body, other.sealed) != (draft().body, draft().sealed)


@pytest.mark.parametrize("name", [field.name for field in fields(Server)])
def test_no_fact_about_the_server_is_left_out(name: str) -> None:
    value = getattr(SERVER, name)
    other: Any = "other"
    if isinstance(value, int):
        other = not value if isinstance(value, bool) else value + 1
    elif isinstance(value, dict):
        other = {"datestyle": "SQL, DMY"}
    changed = draft(server=replace(SERVER, **{name: other}))
    assert (changed.body, changed.sealed) != (draft().body, draft().sealed)


@pytest.mark.parametrize(
    "sql",
    [
        ";".join(["SELECT 1"] * 199 + ["DELETE FROM t"]),
        "TRUNCATE " + ", ".join(f'a."{i:061}"' for i in range(200)),
        "DROP TABLE " + ", ".join('U&"' + "\\0001" * 60 + f'{i:03}"' for i in range(52)),
        "SELECT " + ".".join(['"' + "\u00e9" * 31 + '"'] * 3) + "()",
        'SELECT "' + "\\" * 63 + '"."' + "\\" * 63 + '"()',
        "x" * 17_000,
    ],
    ids=["many parts", "many long names", "many escapes", "a long function", "backslashes", "long"],
)
def test_a_text_of_any_shape_fits_an_entry(sql: str) -> None:
    longest = replace(CLIENT, application="\x01" * 63, user="\x01" * 63, person="p" * 200)
    asked = draft(sql, longest, replace(SERVER, search_path=", ".join(["s" * 63] * 60)))
    assert len(encoded(asked)) < 65_535


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        (";".join(["SELECT 1"] * 200 + ["DROP TABLE t"]), "201 statements over 1 relations"),
        ("TRUNCATE " + ", ".join(f"t{i} " for i in range(201)), "1 statements over 201 relations"),
    ],
)
def test_more_than_a_person_can_read_is_refused_and_never_cut(sql: str, what: str) -> None:
    with pytest.raises(TooLarge, match=f"^{what} in one message: at most 200 can be approved at once"):
        draft(sql)


def test_a_request_quotes_no_secret_in_clear() -> None:
    for sql in ("CREATE USER eva 'hunter2'", "ALTER ROLE eva PASSWORD hunter2", "INSERT INTO u VALUES ('hunter2"):
        asked = draft(sql)
        assert "cannot be read" in str(asked.body["why"])
        assert b"hunter2" not in encoded(asked)
        assert b"hunter2" in asked.sealed["statement"]


def test_names_that_hold_a_secret_are_recorded_without_it() -> None:
    uri = "postgres://eva:hunter2@db/shop"
    asked = draft(f'DELETE FROM "{uri}"', replace(CLIENT, application=uri), replace(SERVER, search_path=f'"{uri}"'))
    assert b"hunter2" not in encoded(asked)
    assert asked.body["relations"] == ['"postgres://eva:***@db/shop"']
