"""The parameters of a held statement, as they are sealed: what was bound, and how the server spells it.

Types, values as they came and the server's spelling of them enter; the bytes of one sealed value leave, and the lines
that people are shown. A value that the server did not spell is shown as it came: as text, or in hexadecimal digits.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from pgnotary.errors import NotCanonical, TooLarge
from pgnotary.ledger.canonical import JSON, b64, decode, encode, unb64

__all__ = ["MAX_EXECUTIONS", "MAX_VALUE_BYTES", "Parameters", "Value", "check_size", "opened", "sealed", "spelled"]

MAX_VALUE_BYTES = 256 * 1024
"""Of all values together: more than anybody would read."""
MAX_EXECUTIONS = 1_000

_FORMATS = ("text", "binary")


@dataclass(frozen=True, slots=True)
class Value:
    """One value that was bound."""

    raw: bytes | None
    """As it came; None is NULL."""
    format: int = 0
    """0 text, 1 binary."""
    shown: str | None = None
    """As the server spells it; None if it was not asked, or could not say."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What was bound to one statement, for each of its executions."""

    types: tuple[tuple[int, str], ...]
    """Oid and name of each parameter's type."""
    sets: tuple[tuple[Value, ...], ...]
    """Values in the order of the parameters, for each execution."""
    results: tuple[int, ...] = ()
    """Formats of the columns that come back: none (all text), one for all, or one for each."""


class _Type(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    oid: int
    name: str


class _Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str = "text"
    value: str | None = None
    shown: str | None = None
    null: bool = False


class _Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    types: tuple[_Type, ...]
    sets: tuple[tuple[_Value, ...], ...]
    results: tuple[int, ...] = ()


def check_size(executions: int, value_bytes: int) -> None:
    """Raise TooLarge if that is more than one person can approve at once."""
    if executions > MAX_EXECUTIONS:
        raise TooLarge(
            f"{executions} executions in one batch: at most {MAX_EXECUTIONS} can be approved at once",
            hint="Send a Sync between them, or one statement over all rows.",
        )
    if value_bytes > MAX_VALUE_BYTES:
        raise TooLarge(f"{value_bytes} bytes of parameters: at most {MAX_VALUE_BYTES} can be approved at once")


def sealed(parameters: Parameters) -> bytes:
    """Return the canonical bytes that a request commits to."""
    fields: dict[str, JSON] = {
        "types": [{"oid": oid, "name": name} for oid, name in parameters.types],
        "sets": [[_sealed(value) for value in values] for values in parameters.sets],
    }
    if parameters.results:
        fields["results"] = list(parameters.results)
    return encode(fields)


def _sealed(value: Value) -> JSON:
    if value.raw is None:
        return {"null": True}
    fields: dict[str, JSON] = {"format": _FORMATS[value.format], "value": b64(value.raw)}
    return fields if value.shown is None else fields | {"shown": value.shown}


def opened(raw: bytes) -> Parameters:
    """Return what `sealed` made; raises NotCanonical for anything else."""
    try:
        found = msgspec.convert(decode(raw), _Sealed)
    except msgspec.ValidationError as error:
        raise NotCanonical(f"parameters: {error}") from error
    sets = tuple(tuple(map(_opened, values)) for values in found.sets)
    if any(len(values) != len(found.types) for values in sets):
        raise NotCanonical(f"parameters: an execution has not one value for each of {len(found.types)} types")
    return Parameters(tuple((each.oid, each.name) for each in found.types), sets, found.results)


def _opened(value: _Value) -> Value:
    if value.format not in _FORMATS or value.null == (value.value is not None):
        raise NotCanonical(f"parameters: a value in format {value.format!r}, null {value.null}")
    raw = None if value.value is None else unb64(value.value)
    return Value(raw, _FORMATS.index(value.format), value.shown)


def spelled(parameters: Parameters) -> Iterator[tuple[str, str]]:
    """Yield a label and the value of each parameter for people: `$1`, or `#2 $1` in the second of several executions.

    A value is its type, a colon and how the server spells it; not safe for a terminal.
    """
    several = len(parameters.sets) > 1
    for number, values in enumerate(parameters.sets, 1):
        for place, (value, (_, name)) in enumerate(zip(values, parameters.types, strict=True), 1):
            label = f"#{number} ${place}" if several else f"${place}"
            yield label, f"{name}: {_in_words(value)}"


def _in_words(value: Value) -> str:
    if value.raw is None:
        return "NULL"
    if value.shown is not None:
        # 'now' is another time when it runs, and a name of a relation may be another one.
        sent = value.raw.decode(errors="backslashreplace") if value.format == 0 else value.shown
        return _quoted(value.shown) + (f", sent as {_quoted(sent)}" if sent != value.shown else "")
    if value.format == 0:
        return f"{_quoted(value.raw.decode(errors='backslashreplace'))} (as it came)"
    return f"\\x{value.raw.hex()} (as it came, in binary)"


def _quoted(text: str) -> str:
    # A quote inside is doubled, so that no value can end early and go on in our own words.
    return "'" + text.replace("'", "''") + "'"
