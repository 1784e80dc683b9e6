"""What was bound, sealed and opened again: every byte of it, and nothing that was not sealed so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgnotary.errors import NotCanonical, TooLarge
from pgnotary.ledger.canonical import encode
from pgnotary.request.parameters import (
    MAX_EXECUTIONS,
    MAX_VALUE_BYTES,
    Parameters,
    Value,
    check_size,
    opened,
    sealed,
    spelled,
)

TYPES = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.text(max_size=5)), max_size=4).map(tuple)
VALUES = st.one_of(
    st.just(Value(None)),
    st.builds(Value, st.binary(max_size=9), st.sampled_from([0, 1]), st.one_of(st.none(), st.text(max_size=9))),
)


@st.composite
def parameters(draw: st.DrawFn) -> Parameters:
    types = draw(TYPES)
    one = st.lists(VALUES, min_size=len(types), max_size=len(types)).map(tuple)
    return Parameters(types, draw(st.lists(one, max_size=4).map(tuple)), draw(st.sampled_from([(), (1,), (0, 1)])))


@given(parameters())
def test_what_was_sealed_is_what_is_opened(bound: Parameters) -> None:
    assert opened(sealed(bound)) == bound
    assert len(list(spelled(bound))) == len(bound.types) * len(bound.sets)


@pytest.mark.parametrize(
    "sets",
    [
        [[{"null": True}, {"null": True}]],
        [[]],
        [[{"null": True, "value": "eA=="}]],
        [[{"format": "text"}]],
        [[{"format": "hexadecimal", "value": "eA=="}]],
        [[{"format": "text", "value": "not base64"}]],
        [[{"format": "text", "value": "eA==", "also": "this"}]],
    ],
)
def test_what_no_seal_was_made_of_is_not_opened(sets: list[list[dict[str, str]]]) -> None:
    with pytest.raises(NotCanonical):
        opened(encode({"types": [{"oid": 25, "name": "text"}], "sets": sets}))


def test_text_that_the_server_did_not_spell_is_shown_as_it_came() -> None:
    bound = Parameters(((25, "text"),), ((Value("ü".encode()),), (Value(b"\xff"),)))
    assert [value for _, value in spelled(bound)] == ["text: 'ü' (as it came)", "text: '\\xff' (as it came)"]


def test_what_the_server_spells_otherwise_than_it_was_sent_is_shown_both_ways() -> None:
    """'now' is another time by the time it runs."""
    bound = Parameters(
        ((1184, "timestamptz"), (23, "integer")), ((Value(b"now", 0, "2026-01-02"), Value(b"7", 0, "7")),)
    )
    assert [value for _, value in spelled(bound)] == ["timestamptz: '2026-01-02', sent as 'now'", "integer: '7'"]


def test_no_value_ends_before_its_last_quote() -> None:
    bound = Parameters(((25, "text"),), ((Value(b"", 1, "x' (as it came)"),),))
    assert list(spelled(bound)) == [("$1", "text: 'x'' (as it came)'")]


def test_more_than_anybody_would_read_is_refused() -> None:
    check_size(MAX_EXECUTIONS, MAX_VALUE_BYTES)
    with pytest.raises(TooLarge, match="1001 executions"):
        check_size(MAX_EXECUTIONS + 1, 0)
    with pytest.raises(TooLarge, match="262145 bytes of parameters"):
        check_size(1, MAX_VALUE_BYTES + 1)
