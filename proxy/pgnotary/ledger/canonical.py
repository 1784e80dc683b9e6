"""JSON values to canonical bytes and back: one value has one encoding, which is what gets hashed and signed.

`encode` takes a value and gives the bytes of RFC 8785 (JSON Canonicalization Scheme), restricted to what all
encoders agree upon: keys are lower-case ASCII words, numbers are integers below 2^53, there is no null (what
is absent is left out), strings hold no lone surrogates, nesting is bounded. Bytes travel as base64, instants
as UTC text with microseconds. `decode` accepts exactly what `encode` produces: duplicate keys, white space,
another order of keys or another spelling of a string are refused: no two texts can pass for the same entry.
"""

import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec

from pgnotary.errors import NotCanonical

__all__ = [
    "JSON",
    "MAX_DEPTH",
    "MAX_ENTRY_BYTES",
    "MAX_INT",
    "b64",
    "decode",
    "encode",
    "is_key",
    "parse_timestamp",
    "read_as",
    "timestamp",
    "unb64",
    "written",
]

_T = TypeVar("_T")
JSON: TypeAlias = str | int | bool | Sequence["JSON"] | Mapping[str, "JSON"]

# tlog-tiles bundles prefix each entry with its length as a uint16.
MAX_ENTRY_BYTES = 65_535

# RFC 7493 (I-JSON) section 2.2: what every reader of JSON keeps exactly.
MAX_INT = 2**53 - 1

# Without a bound of our own, the depth that is accepted would hang on how deep the caller's stack already is.
MAX_DEPTH = 16

_fits_key = re.compile(r"[a-z][a-z0-9_]*").fullmatch

# Keys that were looked at: the same few dozen come back in every entry. The bound keeps a hostile document from filling
# memory.
_known_keys: set[str] = set()
_MAX_KNOWN_KEYS = 1_024

_INT = frozenset({int})
_NO_OFFSET = timedelta()
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")

# "sorted" rather than "deterministic": the latter would keep the declared order of a Struct's fields.
_encoder = msgspec.json.Encoder(order="sorted", enc_hook=dict)

# How deep the decoder that checks as it reads can look; deeper values are read without it. Each level doubles what
# msgspec builds for it, and no entry of ours is as deep.
_SHALLOW = 6


@cache
def _plain_decoder() -> msgspec.json.Decoder[dict[str, JSON]]:
    """A decoder that takes only what is in the profile, but for the form of keys: its checks cost nothing in C."""
    number = Annotated[int, msgspec.Meta(ge=-MAX_INT, le=MAX_INT)]
    value: Any = str | number | bool
    for _ in range(_SHALLOW - 1):
        value = str | number | bool | list[value] | dict[str, value]
    return msgspec.json.Decoder(dict[str, value])


def encode(value: JSON) -> bytes:
    """The canonical bytes of `value`.

    Takes str (an Enum that is one counts as its text, if that is its value too), int, bool, list, tuple and any
    Mapping; raises NotCanonical naming the path of whatever lies outside the profile.
    """
    return _written(value)[0]


def written(value: Mapping[str, JSON]) -> tuple[bytes, dict[str, JSON]]:
    """The canonical bytes of an object, and what they read back as; raises NotCanonical as `encode` does."""
    data, read = _written(value)
    return data, decode(data) if read is None else read


def _written(value: JSON) -> tuple[bytes, dict[str, JSON] | None]:
    try:
        data = _encoder.encode(value)
        # What reads back as what was given has lost nothing on the way, and was checked while it was read.
        if (read := _plain(data)) is not None and read == value:
            return data, read
    # A lone surrogate is UnicodeEncodeError.
    except (TypeError, ValueError, RecursionError):
        pass
    _check(value, "$", 0)
    return _encoder.encode(value), None


def decode(data: bytes) -> dict[str, JSON]:
    """The object whose canonical bytes are exactly `data`; raises NotCanonical for anything else."""
    if (plain := _plain(data)) is not None and _encoder.encode(plain) == data:
        return plain
    try:
        value = msgspec.json.decode(data)
    # Invalid UTF-8 comes as UnicodeDecodeError, too many brackets as RecursionError.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotCanonical(f"not JSON: {error}") from error
    if type(value) is not dict:
        raise NotCanonical(f"expected an object at the top, found {_name(value)}")
    _check(value, "$", 0)
    if _encoder.encode(value) != data:
        raise NotCanonical(
            "the bytes are not the canonical form of what they say: "
            "look for white space, repeated or unsorted keys, or needless escapes"
        )
    return value


def read_as(decoder: msgspec.json.Decoder[_T], data: bytes) -> _T | None:
    """What the bytes say, if they are the canonical form of it; None for all else, whatever is wrong with it.

    What the decoder's type lets through must be in the profile: keys are names of fields, numbers are bounded.
    """
    try:
        value = decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if _encoder.encode(value) == data else None


def b64(data: bytes) -> str:
    """`data` as standard base64 with padding (RFC 4648 section 4)."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def unb64(text: str) -> bytes:
    """The bytes whose only encoding is `text`: strict standard base64, or NotCanonical."""
    try:
        data = binascii.a2b_base64(text)
    except (binascii.Error, ValueError) as error:
        raise NotCanonical(f"not base64: {error}") from error
    # Python passes over what is no base64, and over trailing bits that are set: several texts for the same bytes.
    if b64(data) != text:
        raise NotCanonical("not base64 in its only canonical spelling")
    return data


def timestamp(at: datetime) -> str:
    """An aware UTC datetime as `YYYY-MM-DDTHH:MM:SS.ffffffZ`; raises NotCanonical for any other zone."""
    if at.utcoffset() != _NO_OFFSET:
        raise NotCanonical(f"expected a time in UTC, found {at.isoformat(timespec='microseconds')}")
    # A tenth of what isoformat takes, and there is one in every execution; it leaves out microseconds that are none.
    text = msgspec.json.encode(at)[1:-1].decode("ascii")
    return text if at.microsecond else f"{text[:-1]}.000000Z"


def parse_timestamp(text: str) -> datetime:
    """The aware UTC datetime that `timestamp` writes as `text`; raises NotCanonical for any other."""
    if not _TIMESTAMP.fullmatch(text):
        raise NotCanonical(f"expected a time like 2026-01-31T09:30:00.000000Z, found {text!r:.40}")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise NotCanonical(f"no such time: {text}") from error


def _plain(data: bytes) -> dict[str, JSON] | None:
    """Read an object of a few levels in the profile; None for all else, whatever is wrong with it.

    A third of the time that `_check` takes, and verifying a ledger does little else.
    """
    try:
        value = _plain_decoder().decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if _has_known_keys(value) else None


def _has_known_keys(value: object) -> bool:
    """Say whether all keys in an object, or in a list, are of their form."""
    items: Iterable[object]
    if isinstance(value, dict):
        if not _known_keys.issuperset(value) and not all(map(is_key, value)):
            return False
        items = value.values()
    elif isinstance(value, list):
        items = value
        # A column of numbers: nothing has more items.
        if _INT.issuperset(map(type, value)):
            return True
    else:
        return True
    for item in items:
        kind = type(item)
        if (kind is dict or kind is list) and not _has_known_keys(item):
            return False
    return True


def _check(value: object, path: str, depth: int) -> None:
    """Raise NotCanonical at the first part of `value` outside the profile."""
    if isinstance(value, str):
        _check_str(value, path)
    elif type(value) is int:
        if not -MAX_INT <= value <= MAX_INT:
            raise NotCanonical(f"{path}: an integer of 2^53 or more; write it as text")
    elif type(value) is bool:
        return
    elif isinstance(value, (list, tuple)):
        _check_depth(path, depth)
        # A column of numbers: nothing has more items.
        if _INT.issuperset(map(type, value)) and value and min(value) >= -MAX_INT and max(value) <= MAX_INT:
            return
        for index, item in enumerate(value):
            _check(item, f"{path}[{index}]", depth + 1)
    elif isinstance(value, (dict, Mapping)):
        _check_depth(path, depth)
        if not _known_keys.issuperset(value):
            _check_keys(value, path)
        for key, item in value.items():
            # Most items are plain; a call for each would double the time, and this runs for every entry.
            kind = type(item)
            if not ((kind is str and item.isascii()) or (kind is int and -MAX_INT <= item <= MAX_INT)):
                _check(item, f"{path}.{key}", depth + 1)
    else:
        raise NotCanonical(f"{path}: {_name(value)} has no canonical form")


def _check_keys(value: Mapping[object, object], path: str) -> None:
    for key in value:
        if type(key) is not str or not is_key(key):
            raise NotCanonical(f"{path}: the key {key!r:.60} is not of the form [a-z][a-z0-9_]*")


def is_key(key: str) -> bool:
    """Say whether a text is of the form that keys have."""
    if key in _known_keys:
        return True
    if not _fits_key(key):
        return False
    if len(_known_keys) < _MAX_KNOWN_KEYS:
        _known_keys.add(key)
    return True


def _check_depth(path: str, depth: int) -> None:
    if depth == MAX_DEPTH:
        raise NotCanonical(f"{path}: nested deeper than {MAX_DEPTH}")


def _check_str(value: str, path: str) -> None:
    # Another subclass could carry one text and be written as another, as an Enum mixed with str is.
    if type(value) is not str and not isinstance(value, StrEnum):
        raise NotCanonical(f"{path}: {_name(value)} has no canonical form")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise NotCanonical(f"{path}: a lone surrogate at character {error.start}") from error


def _name(value: object) -> str:
    return "null" if value is None else f"a value of type {type(value).__name__}"
