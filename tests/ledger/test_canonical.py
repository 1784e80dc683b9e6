"""One value, one encoding: against the strict RFC 8785 implementation, and against every other spelling."""

import json
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum, StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from pgnotary.errors import NotCanonical
from pgnotary.ledger import canonical
from pgnotary.ledger.canonical import (
    JSON,
    MAX_DEPTH,
    MAX_INT,
    b64,
    decode,
    encode,
    parse_timestamp,
    timestamp,
    unb64,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "canonical.json").read_text(encoding="utf-8"))

keys = st.builds(str.__add__, st.sampled_from("abz"), st.text("ab_z09", max_size=4))
scalars = st.text() | st.booleans() | st.integers(-MAX_INT, MAX_INT)
values: st.SearchStrategy[JSON] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)
objects = st.dictionaries(keys, values, max_size=6)


@given(objects)
def test_inside_the_profile_the_bytes_are_those_of_rfc_8785(value: dict[str, Any]) -> None:
    assert encode(value) == rfc8785.dumps(value)


@given(objects)
def test_decoding_gives_back_what_was_encoded(value: dict[str, Any]) -> None:
    assert decode(encode(value)) == value


@given(objects, st.data())
def test_changed_bytes_never_decode_to_the_same_value(value: dict[str, Any], data: st.DataObject) -> None:
    raw = bytearray(encode(value))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(NotCanonical):
        assert decode(bytes(raw)) != value


@given(st.binary() | st.text(alphabet='{}[]:,"\\u0a1.e-+ntf ').map(str.encode))
def test_arbitrary_bytes_are_refused_or_are_canonical(data: bytes) -> None:
    with suppress(NotCanonical):
        assert encode(decode(data)) == data


@pytest.mark.parametrize("vector", VECTORS["accepted"], ids=lambda vector: str(vector["value"])[:30])
def test_the_golden_bytes_never_change(vector: dict[str, Any]) -> None:
    assert encode(vector["value"]).hex() == vector["bytes"]
    assert decode(bytes.fromhex(vector["bytes"])) == vector["value"]


@pytest.mark.parametrize("data", [bytes.fromhex(each) for each in VECTORS["refused"]], ids=repr)
def test_every_other_spelling_is_refused(data: bytes) -> None:
    with pytest.raises(NotCanonical):
        decode(data)


class Colour(StrEnum):
    RED = "red"


class Shade(str, Enum):  # noqa: UP042 - exactly the kind whose text and value can differ
    def __new__(cls, value: str) -> "Shade":
        member = str.__new__(cls, "another")
        member._value_ = value
        return member

    ONE = "one"


def test_tuples_mappings_and_string_enums_are_written_as_what_they_hold() -> None:
    assert encode({"b": (1, 2), "a": MappingProxyType({"x": Colour.RED})}) == b'{"a":{"x":"red"},"b":[1,2]}'
    # Whatever is written reads back as something equal to what was given.
    assert encode({"a": Shade.ONE}) == b'{"a":"another"}'


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": 1.0}, r"\$\.a: a value of type float"),
        ({"a": None}, r"\$\.a: null"),
        ({"a": [{"b": 2**53}]}, r"\$\.a\[0\]\.b: an integer"),
        ({"a": -(2**53)}, r"\$\.a: an integer"),
        ({"a": "\ud800"}, r"\$\.a: a lone surrogate"),
        ({"a": b"x"}, r"\$\.a: a value of type bytes"),
        ({"a": datetime(2026, 1, 1, tzinfo=UTC)}, r"\$\.a: a value of type datetime"),
        ({"a": {1}}, r"\$\.a: a value of type set"),
        ({"a": [Shade.ONE, 0.5]}, r"\$\.a\[0\]: a value of type Shade"),
        ({"a": {"B": 1}}, r"\$\.a: the key 'B'"),
        ({1: 2}, r"\$: the key 1 "),
        ({"a\n": 2}, r"\$: the key"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_lies_outside_the_profile_is_refused_with_its_path(value: Any, where: str) -> None:
    with pytest.raises(NotCanonical, match=where):
        encode(value)


@given(
    st.recursive(
        st.one_of(
            st.text(max_size=3),
            st.booleans(),
            st.none(),
            st.floats(),
            st.integers(),
            st.sampled_from([2**53, -(2**53)]),
        ),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("a b0 B _c \u00e9".split()), inner),
        max_leaves=12,
    )
)
def test_what_is_taken_at_a_glance_is_what_a_look_at_each_part_takes(value: Any) -> None:
    """Both ways, whatever the value: the short way may only be shorter."""
    try:
        canonical._check({"a": value}, "$", 0)
    except NotCanonical as error:
        refused = str(error)
        with pytest.raises(NotCanonical, match=re.escape(refused)):
            encode({"a": value})
    else:
        assert decode(encode({"a": value})) == {"a": value}
        return
    with suppress(UnicodeEncodeError):
        written = json.dumps({"a": value}, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        with pytest.raises(NotCanonical):
            decode(written)


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_nesting_has_the_same_limit_both_ways() -> None:
    deepest = encode(nested(MAX_DEPTH))
    assert decode(deepest) == nested(MAX_DEPTH)
    with pytest.raises(NotCanonical, match="nested deeper"):
        encode(nested(MAX_DEPTH + 1))
    with pytest.raises(NotCanonical, match="nested deeper"):
        decode(b'{"a":' + deepest + b"}")
    with pytest.raises(NotCanonical):
        decode(b'{"a":' * 100_000)


@given(st.binary())
def test_base64_gives_the_bytes_back(data: bytes) -> None:
    assert unb64(b64(data)) == data


@pytest.mark.parametrize("text", ["AB", "AB=", "AB==\n", " AA==", "AA", "A===", "AB==", "-_8=", "AA==AA==", "é"])
def test_another_spelling_of_base64_is_refused(text: str) -> None:
    with pytest.raises(NotCanonical):
        unb64(text)


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_is_read_back_to_the_microsecond(at: datetime) -> None:
    assert len(timestamp(at)) == 27
    assert parse_timestamp(timestamp(at)) == at


def test_a_time_without_its_zone_or_in_another_is_refused() -> None:
    with pytest.raises(NotCanonical):
        timestamp(datetime(2026, 1, 1))
    with pytest.raises(NotCanonical):
        timestamp(datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2))))


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.000Z",
        "2026-01-01T00:00:00.000000",
        "2026-01-01T00:00:00.000000+00:00",
        "2026-01-01 00:00:00.000000Z",
        "2026-01-01T00:00:00.000000z",
        "2026-02-30T00:00:00.000000Z",
        "2026-01-01T00:00:60.000000Z",
        "٢026-01-01T00:00:00.000000Z",
        "2026-01-01T00:00:00.000000Z\n",
    ],
)
def test_another_spelling_of_a_time_is_refused(text: str) -> None:
    with pytest.raises(NotCanonical):
        parse_timestamp(text)
