"""What was bound, without its secrets: one way for every display, whatever the format."""

import re
from pathlib import Path

import pytest

import pgnotary
from pgnotary.request.parameters import Parameters, Value, spelled
from pgnotary.request.veiled_parameters import Veiled, without_secrets

SECRET = "hunter2-of-eva"
UPDATE = b"UPDATE users SET password = $1 WHERE id = $2"
PLAIN = Value(b"7", shown="7")


def _veiled(*values: Value, statement: bytes | None = UPDATE, prepared: bytes = b"", sets: int = 1) -> Veiled:
    types = tuple((25, "text") for _ in values)
    return without_secrets(Parameters(types, (values,) * sets), statement, prepared)


def _told(veiled: Veiled) -> list[str]:
    return [text for _, text in spelled(veiled.parameters)]


@pytest.mark.parametrize(
    "value",
    [
        Value(SECRET.encode()),
        Value(SECRET.encode(), shown=SECRET),
        Value(SECRET.encode(), format=1),
        Value(b"\x00\x00\x00\x07", format=1, shown="7"),
        Value(b"\xff\xfe", format=1),
    ],
)
def test_a_secret_is_hidden_in_whatever_format_it_came(value: Value) -> None:
    veiled = _veiled(value, PLAIN)
    assert _told(veiled) == ["text: '***'", "text: '7'"]
    assert (veiled.hidden, veiled.hides_code) == (1, False)


def test_null_is_no_secret() -> None:
    veiled = _veiled(Value(None), PLAIN)
    assert (_told(veiled), veiled.hidden) == (["text: NULL", "text: '7'"], 0)


def test_every_set_of_values_is_hidden() -> None:
    veiled = _veiled(Value(SECRET.encode()), PLAIN, sets=3)
    assert _told(veiled) == ["text: '***'", "text: '7'"] * 3
    assert veiled.hidden == 3


def test_a_value_is_a_secret_by_what_was_sent_and_by_how_the_server_spells_it() -> None:
    plain = b"UPDATE notes SET note = $1 WHERE id = $2"
    connection = f"postgres://eva:{SECRET}@db"
    for value in (Value(connection.encode(), shown="cut"), Value(b"\x01", format=1, shown=connection)):
        assert _told(_veiled(value, PLAIN, statement=plain)) == ["text: '***'", "text: '7'"]


def test_of_a_text_that_runs_only_the_secret_in_it_is_hidden() -> None:
    runs = b"SELECT dblink_exec('c', $1)"
    shown = _veiled(Value(f"ALTER ROLE eva PASSWORD '{SECRET}'".encode()), statement=runs)
    assert _told(shown) == ["text: 'ALTER ROLE eva PASSWORD ''***'''"]
    assert (shown.hidden, shown.hides_code) == (1, False)
    other = _veiled(Value(f"ALTER ROLE eva PASSWORD $a${SECRET}".encode()), statement=runs)
    assert (_told(other), other.hides_code) == (["text: '***'"], True)
    harmless = _veiled(Value(b"DELETE FROM t"), statement=runs)
    assert (_told(harmless), harmless.hidden) == (["text: 'DELETE FROM t' (as it came)"], 0)


def test_of_a_statement_that_is_withheld_nothing_that_was_bound_is_told() -> None:
    assert _told(_veiled(PLAIN, Value(None), statement=None)) == ["text: '***'", "text: NULL"]


def test_an_execute_hides_what_its_prepared_statement_takes_for_a_secret() -> None:
    prepared = b"p:\nPREPARE p (int, text) AS UPDATE users SET password = $2 WHERE id = $1"
    veiled = _veiled(PLAIN, Value(SECRET.encode()), statement=b"EXECUTE p($1, $2)", prepared=prepared)
    assert _told(veiled) == ["text: '7'", "text: '***'"]


def test_what_a_message_may_quote_is_known_element_by_element() -> None:
    veiled = _veiled(Value(b'{eva-2,"it\\"s 5"}'), PLAIN)
    assert {"eva-2", 'it"s 5'} <= veiled.values


def test_a_thousand_sets_are_looked_through_without_a_long_wait() -> None:
    """Not by the clock: the text is cut once, however many sets there are."""
    veiled = _veiled(Value(SECRET.encode()), PLAIN, sets=1_000)
    assert veiled.hidden == 1_000


def test_no_command_prints_parameters_by_a_way_of_its_own() -> None:
    """Whoever spells parameters for people takes them from a veiled story or paper."""
    package = Path(pgnotary.__file__).parent
    users = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"from pgnotary\.request\.parameters import .*\bspelled\b", path.read_text())
    }
    # Paper.bound, of the paper that cli/hidden.py gives, and a story's lines, of what audit/veil.py gives.
    assert users == {"approval/papers.py", "audit/story.py"}
