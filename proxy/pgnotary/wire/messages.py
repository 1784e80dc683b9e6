"""The few messages whose inside matters to a proxy: decoded on the way in, encoded on the way out.

Bodies of messages enter, values leave, and the other way round. What is only passed on is never decoded. A declared
inner length is never trusted: every field is bounds-checked, and a text must be one NUL-terminated string that fills
its place.

Source: PostgreSQL 18, "Message Formats" and "Error and Notice Message Fields".
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from pgnotary.errors import ClientProtocolError, UpstreamProtocolError

__all__ = [
    "FLUSH",
    "SYNC",
    "TERMINATE",
    "Bound",
    "Diagnostic",
    "authentication",
    "backend_key_data",
    "bind",
    "bind_fields",
    "bind_unknown_statement",
    "bound",
    "called_function",
    "close_portal",
    "close_statement",
    "command_tag",
    "copy_fail",
    "data_row",
    "describe_statement",
    "described",
    "described_types",
    "diagnostic",
    "done",
    "error_response",
    "execute",
    "execute_limit",
    "execute_portal",
    "notice_response",
    "one_text_described",
    "parameter_status",
    "parameter_types",
    "parse",
    "parse_fields",
    "parse_parameter_status",
    "query",
    "query_text",
    "ready_for_query",
    "row_of",
    "row_values",
    "rows_of",
    "sasl_initial_response",
    "sasl_response",
]

_LENGTH = Struct("!I")
_INT16 = Struct("!h")
_UINT16 = Struct("!H")
_INT32 = Struct("!i")
_TEXT_COLUMN = Struct("!IhIhih")

_FIELDS = {
    "severity": b"S",
    "severity_nonlocalized": b"V",
    "sqlstate": b"C",
    "message": b"M",
    "detail": b"D",
    "hint": b"H",
    "schema_name": b"s",
    "constraint_name": b"n",
    "routine": b"R",
}
_NAMES = {code[0]: name for name, code in _FIELDS.items()}


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + _LENGTH.pack(len(body) + 4) + body


FLUSH = _message(b"H", b"")
SYNC = _message(b"S", b"")
TERMINATE = _message(b"X", b"")


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """An ErrorResponse or a NoticeResponse. Every field may be missing: a server is not to be trusted either."""

    severity: str = ""
    sqlstate: str = ""
    message: str = ""
    detail: str = ""
    hint: str = ""
    schema_name: str = ""
    constraint_name: str = ""
    """Carries the request id, so that drivers expose it (`diag.constraint_name`)."""
    routine: str = ""
    """The server's function that reported it: the one field that no locale changes."""

    def __str__(self) -> str:
        return f"{self.severity or 'ERROR'} {self.sqlstate or '?????'}: {self.message or '(no message)'}"


def query_text(body: bytes) -> bytes:
    """Return the text of a Query message, without its NUL; ClientProtocolError unless it is one string to its end."""
    if not body.endswith(b"\0") or body.index(b"\0") != len(body) - 1:
        raise ClientProtocolError("invalid message format: a Query must be one string that ends with its message")
    return body[:-1]


def query(text: bytes) -> bytes:
    """Return a Query message for a text without NUL."""
    return _message(b"Q", text + b"\0")


def parse(name: bytes, text: bytes, types: Sequence[int] = ()) -> bytes:
    """Return a Parse message that gives its parameters these types, by oid."""
    return _message(b"P", name + b"\0" + text + b"\0" + struct.pack(f"!H{len(types)}I", len(types), *types))


def describe_statement(name: bytes) -> bytes:
    """Return a Describe message for a prepared statement."""
    return _message(b"D", b"S" + name + b"\0")


def close_statement(name: bytes) -> bytes:
    """Return a Close message for a prepared statement; the server answers CloseComplete even if there is none."""
    return _message(b"C", b"S" + name + b"\0")


def close_portal(name: bytes) -> bytes:
    """Return a Close message for a portal; the server answers CloseComplete even if there is none."""
    return _message(b"C", b"P" + name + b"\0")


def copy_fail(why: str) -> bytes:
    """Return a CopyFail message; the server repeats `why` in its error."""
    return _message(b"f", why.encode() + b"\0")


def bind(portal: bytes, statement: bytes, arguments: bytes = _INT16.pack(0) * 2) -> bytes:
    """Return a Bind for answers in text format; `arguments` as in `Bound`, none unless they are given."""
    return _message(b"B", portal + b"\0" + statement + b"\0" + arguments + _INT16.pack(0))


def execute(portal: bytes) -> bytes:
    """Return an Execute to the end of the portal."""
    return _message(b"E", portal + b"\0" + _INT32.pack(0))


def parse_fields(body: bytes) -> tuple[bytes, bytes]:
    """Return name and text of a Parse; ClientProtocolError unless both are there. The rest is passed on unread."""
    return _two_strings(body, "Parse")


def parameter_types(body: bytes) -> tuple[int, ...]:
    """Return the oids of the types that a Parse gives its parameters; ClientProtocolError if they are not there."""
    try:
        rest = body[body.index(b"\0", body.index(b"\0") + 1) + 1 :]
        (count,) = _UINT16.unpack_from(rest)
        types = struct.unpack_from(f"!{count}I", rest, _UINT16.size)
    except (ValueError, struct.error) as error:
        raise ClientProtocolError("invalid message format: the parameter types of a Parse are cut off") from error
    if _UINT16.size + 4 * count != len(rest):
        raise ClientProtocolError("invalid message format: more behind the parameter types of a Parse")
    return types


def bind_fields(body: bytes) -> tuple[bytes, bytes]:
    """Return portal and statement of a Bind; ClientProtocolError unless both are there. The rest is left unread."""
    return _two_strings(body, "Bind")


@dataclass(frozen=True, slots=True)
class Bound:
    """A Bind, read whole."""

    portal: bytes
    statement: bytes
    formats: tuple[int, ...]
    """Of each value: 0 text, 1 binary."""
    values: tuple[bytes | None, ...]
    """None is NULL."""
    results: tuple[int, ...]
    """The formats that it asks for, as they stand there: none, one for all columns, or one for each."""
    arguments: bytes
    """Formats and values as they came, each behind its count."""


def bound(body: bytes) -> Bound:
    """Return what a Bind binds; ClientProtocolError unless its fields fill it exactly."""
    portal, statement = bind_fields(body)
    start = at = len(portal) + len(statement) + 2
    try:
        codes, at = _codes(body, at)
        (count,) = _UINT16.unpack_from(body, at)
        at += _UINT16.size
        values: list[bytes | None] = []
        for _ in range(count):
            (length,) = _INT32.unpack_from(body, at)
            at += _INT32.size
            if length < -1 or at + max(length, 0) > len(body):
                raise ClientProtocolError(f"invalid message format: a Bind declares a value of {length} bytes")
            values.append(None if length == -1 else body[at : at + length])
            at += max(length, 0)
        arguments = body[start:at]
        results, at = _codes(body, at)
    except struct.error as error:
        raise ClientProtocolError("invalid message format: a Bind is shorter than it declares") from error
    if at != len(body):
        raise ClientProtocolError("invalid message format: a Bind is longer than it declares")
    if len(codes) not in (0, 1, count) or not {0, 1}.issuperset(codes):
        raise ClientProtocolError(f"a Bind has {len(codes)} parameter formats for {count} parameters, each 0 or 1")
    formats = codes if len(codes) == count else (codes or (0,)) * count
    return Bound(portal, statement, formats, tuple(values), results, arguments)


def _codes(body: bytes, at: int) -> tuple[tuple[int, ...], int]:
    """Return counted format codes, and where they end."""
    (count,) = _UINT16.unpack_from(body, at)
    at += _UINT16.size
    return struct.unpack_from(f"!{count}h", body, at), at + 2 * count


def described_types(body: bytes) -> tuple[int, ...]:
    """Return the oids of the types in a ParameterDescription; UpstreamProtocolError unless they fill it."""
    try:
        (count,) = _UINT16.unpack_from(body)
        if _UINT16.size + 4 * count != len(body):
            raise UpstreamProtocolError(f"ParameterDescription of {len(body)} bytes declares {count} parameters")
        return struct.unpack_from(f"!{count}I", body, _UINT16.size)
    except struct.error as error:
        raise UpstreamProtocolError("ParameterDescription is shorter than it declares") from error


def called_function(body: bytes) -> int:
    """Return the oid that a FunctionCall names; its arguments are for the server to read."""
    if len(body) < 4:
        raise ClientProtocolError("invalid message format: a FunctionCall must begin with the oid of a function")
    return int.from_bytes(body[:4], "big")


def execute_portal(body: bytes) -> bytes:
    """Return the portal of an Execute."""
    name, nul, rest = body.partition(b"\0")
    if not nul or len(rest) != 4:
        raise ClientProtocolError("invalid message format: an Execute must be a string and a number")
    return name


def execute_limit(body: bytes) -> int:
    """Return how many rows an Execute asks for at most; 0 for all."""
    limit: int = _INT32.unpack(body[-4:])[0]
    return limit


def described(body: bytes) -> tuple[bytes, bytes]:
    """Return kind (b"S" or b"P") and name in a Describe or a Close."""
    if body[:1] not in (b"S", b"P") or body.find(b"\0") != len(body) - 1:
        raise ClientProtocolError("invalid message format: a Describe or Close must name a statement or a portal")
    return body[:1], body[1:-1]


def _two_strings(body: bytes, what: str) -> tuple[bytes, bytes]:
    first, nul, rest = body.partition(b"\0")
    second, second_nul, _ = rest.partition(b"\0")
    if not nul or not second_nul:
        raise ClientProtocolError(f"invalid message format: a {what} must begin with two strings")
    return first, second


def bind_unknown_statement(name: bytes) -> bytes:
    """Return a Bind of a statement that does not exist: the surest way to make a transaction fail and do nothing."""
    return _message(b"B", b"\0" + name + b"\0" + _INT16.pack(0) * 3)


def sasl_initial_response(mechanism: str, payload: bytes) -> bytes:
    """Return a SASLInitialResponse."""
    return _message(b"p", mechanism.encode() + b"\0" + _INT32.pack(len(payload)) + payload)


def sasl_response(payload: bytes) -> bytes:
    """Return a SASLResponse."""
    return _message(b"p", payload)


def authentication(code: int, payload: bytes = b"") -> bytes:
    """Return an Authentication request: 0 ok, 10 SASL, 11 SASLContinue, 12 SASLFinal."""
    return _message(b"R", _INT32.pack(code) + payload)


def backend_key_data(pid: int, secret: bytes) -> bytes:
    """Return BackendKeyData."""
    return _message(b"K", pid.to_bytes(4, "big") + secret)


def parameter_status(name: str, value: str) -> bytes:
    """Return a ParameterStatus."""
    return _message(b"S", f"{name}\0{value}\0".encode())


def parse_parameter_status(body: bytes) -> tuple[str, str]:
    """Return name and value of a ParameterStatus."""
    fields = body.split(b"\0")
    if len(fields) != 3 or fields[2]:
        raise UpstreamProtocolError("ParameterStatus is not two strings")
    return fields[0].decode(errors="replace"), fields[1].decode(errors="replace")


def ready_for_query(status: bytes) -> bytes:
    """Return ReadyForQuery with the transaction status b"I", b"T" or b"E"."""
    return _message(b"Z", status)


def _diagnostic_fields(diagnostic: Diagnostic) -> bytes:
    named = {name: getattr(diagnostic, name) for name in _FIELDS if name != "severity_nonlocalized"}
    named["severity_nonlocalized"] = diagnostic.severity
    # A NUL would end the field early and let what follows pose as another one.
    fields = (
        _FIELDS[name] + value.replace("\0", "").encode(errors="replace") + b"\0"
        for name, value in named.items()
        if value
    )
    return b"".join(fields) + b"\0"


def error_response(diagnostic: Diagnostic) -> bytes:
    """Return an ErrorResponse."""
    return _message(b"E", _diagnostic_fields(diagnostic))


def notice_response(diagnostic: Diagnostic) -> bytes:
    """Return a NoticeResponse; legal between any two messages."""
    return _message(b"N", _diagnostic_fields(diagnostic))


def diagnostic(body: bytes) -> Diagnostic:
    """Read an ErrorResponse or NoticeResponse, its severity in English; unknown fields are passed over."""
    found: dict[str, str] = {}
    for field in body.split(b"\0"):
        name = _NAMES.get(field[0]) if field else None
        if name:
            found[name] = field[1:].decode(errors="replace")
    # Which every server since 9.6 sends behind the one in its own language.
    found["severity"] = found.pop("severity_nonlocalized", found.get("severity", ""))
    return Diagnostic(**found)


def done(kind: bytes, tag: str) -> bytes:
    """Return what completes an extended message of a statement without rows that ends with this command tag."""
    return {
        b"P": _message(b"1", b""),
        b"B": _message(b"2", b""),
        b"C": _message(b"3", b""),
        b"D": _message(b"n", b""),
        b"E": _message(b"C", tag.encode() + b"\0"),
    }[kind]


def command_tag(body: bytes) -> str:
    """Return the tag of a CommandComplete, e.g. "DELETE 5"."""
    return body.rstrip(b"\0").decode(errors="replace")


def rows_of(tag: str) -> int | None:
    """Return the row count in a command tag, or None if its kind has none."""
    last = tag.rsplit(" ", 1)[-1]
    return int(last) if last.isascii() and last.isdigit() else None


def data_row(body: bytes) -> tuple[str | None, ...]:
    """Return the text values of a DataRow of one of our own queries."""
    return tuple(None if value is None else value.decode(errors="replace") for value in row_values(body))


def row_of(values: Sequence[bytes | None]) -> bytes:
    """Return a DataRow of these values."""
    each = (_INT32.pack(-1) if value is None else _INT32.pack(len(value)) + value for value in values)
    return _message(b"D", _INT16.pack(len(values)) + b"".join(each))


def one_text_described(name: bytes, form: int) -> bytes:
    """Return a RowDescription of one column of type text that is no table's, in text (0) or binary (1) format."""
    return _message(b"T", _INT16.pack(1) + name + b"\0" + _TEXT_COLUMN.pack(0, 0, 25, -1, -1, form))


def row_values(body: bytes) -> tuple[bytes | None, ...]:
    """Return the values of a DataRow."""
    try:
        (count,) = _INT16.unpack_from(body)
        at = 2
        values: list[bytes | None] = []
        for _ in range(count):
            (length,) = _INT32.unpack_from(body, at)
            at += 4
            if length < -1 or at + max(length, 0) > len(body):
                raise UpstreamProtocolError(f"DataRow declares a value of {length} bytes beyond its end")
            values.append(None if length == -1 else body[at : at + length])
            at += max(length, 0)
    except struct.error as error:
        raise UpstreamProtocolError("DataRow is shorter than it declares") from error
    if count < 0 or at != len(body):
        raise UpstreamProtocolError(f"DataRow of {len(body)} bytes declares {count} values that end after {at}")
    return tuple(values)
