"""PostgreSQL's own lexer and grammar (libpg_query): text to tokens and parse trees.

UTF-8 text without NUL enters; `Token`s and `RawStatement`s leave, or `Unreadable` says why not. Trees are walked by the
library's own message schema, so that each inner part is known by its type and no field can be passed over unseen.

Source: libpg_query 18 through its C entry points that return JSON (the protobuf path gives up at about 40 nested
sub-selects), and `pg_query.proto`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
import postgast
from postgast import native, pg_query_pb2

__all__ = [
    "Message",
    "RawStatement",
    "Token",
    "Unreadable",
    "messages",
    "packed",
    "parse",
    "scan",
    "unpacked",
    "without_constants",
]

# libpg_query needs quadratic time for nested comments: 20,000 levels took 4.7 s, 2,000 took 48 ms.
MAX_COMMENT_DEPTH = 32


class Unreadable(Exception):
    """The text cannot be read with certainty; the message says why."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token; `start` and `end` are byte offsets."""

    start: int
    end: int
    name: str
    """libpg_query's name, e.g. SELECT, IDENT, SCONST, C_COMMENT, ASCII_59 (the semicolon)."""


@dataclass(frozen=True, slots=True)
class RawStatement:
    """One statement of a text: its tree as libpg_query gives it and where it stands, in bytes."""

    node: str
    """The type of its root, e.g. DeleteStmt."""
    fields: Mapping[str, Any]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Message:
    """One typed part of a parse tree."""

    type: str
    fields: Mapping[str, Any]


def _refuse_deep_comments(text: bytes) -> None:
    # Counts openings anywhere, in literals too: too careful is fine, quadratic time is not.
    if text.count(b"/*") > MAX_COMMENT_DEPTH:
        raise Unreadable(f"has more than {MAX_COMMENT_DEPTH} comment openings")


def parse(text: bytes) -> tuple[RawStatement, ...]:
    """Return the statements of `text`; raises Unreadable on a syntax error."""
    _refuse_deep_comments(text)
    result = native.lib.pg_query_parse(text)
    try:
        if result.error:
            raise Unreadable(f"cannot be read: {result.error.contents.message.decode(errors='replace')}")
        tree = json.loads(result.parse_tree)
    except RecursionError as error:
        raise Unreadable("is nested too deeply") from error
    finally:
        native.lib.pg_query_free_parse_result(result)
    return tuple(_raw(entry, len(text)) for entry in tree["stmts"])


def _raw(entry: Mapping[str, Any], size: int) -> RawStatement:
    ((node, fields),) = entry["stmt"].items()
    start = entry.get("stmt_location", 0)
    return RawStatement(node, fields, start, start + entry["stmt_len"] if entry.get("stmt_len") else size)


def packed(fields: Mapping[str, Any]) -> bytes:
    """Return a tree as JSON, which takes a tenth of its memory; raises Unreadable if it is nested too deeply."""
    try:
        return msgspec.json.encode(fields)
    except RecursionError as error:
        raise Unreadable("is nested too deeply") from error


def unpacked(tree: bytes) -> Mapping[str, Any]:
    """Return a tree that was packed; raises Unreadable if it is nested too deeply for where it is unpacked."""
    try:
        fields: Mapping[str, Any] = json.loads(tree)
    except RecursionError as error:
        raise Unreadable("is nested too deeply") from error
    return fields


def without_constants(text: bytes) -> bytes:
    """Return the text with each constant replaced by a parameter; raises Unreadable on a syntax error."""
    _refuse_deep_comments(text)
    result = native.lib.pg_query_normalize(text)
    try:
        if result.error:
            raise Unreadable(f"cannot be read: {result.error.contents.message.decode(errors='replace')}")
        return bytes(result.normalized_query)
    finally:
        native.lib.pg_query_free_normalize_result(result)


def scan(text: bytes) -> tuple[Token, ...]:
    """Return the tokens of `text`, comments included; raises Unreadable if it cannot be cut into tokens."""
    _refuse_deep_comments(text)
    try:
        found = postgast.scan(text.decode())
    except postgast.PgQueryError as error:
        raise Unreadable(f"cannot be read: {error}") from error
    return tuple(Token(token.start, token.end, _name(token.token)) for token in found.tokens)


@cache
def _name(number: int) -> str:
    try:
        return str(pg_query_pb2.Token.Name(number))
    except ValueError:
        # Its lexer gives a character it has no use for as itself, e.g. "{".
        return f"ASCII_{number}"


@cache
def _schema(type_: str) -> Mapping[str, str]:
    """Field name in JSON -> type of the message in it, "" for a plain value."""
    descriptor = pg_query_pb2.DESCRIPTOR.message_types_by_name[type_]
    return {field.json_name: field.message_type.name if field.message_type else "" for field in descriptor.fields}


def messages(type_: str, fields: Mapping[str, Any]) -> Iterator[Message]:
    """Yield a tree's root and every message in it, each with its type; raises Unreadable for what the schema lacks."""
    stack: list[tuple[str, Any]] = [(type_, fields)]
    while stack:
        kind, value = stack.pop()
        if isinstance(value, list):
            stack.extend((kind, item) for item in reversed(value))
            continue
        if kind == "Node":
            # A null inside a list is an empty object here (e.g. a missing array bound).
            stack.extend(value.items())
            continue
        yield Message(kind, value)
        schema = _schema(kind)
        for key, inner in value.items():
            child = schema.get(key)
            if child is None:
                raise Unreadable(f"has a field that the grammar's schema lacks: {kind}.{key}")
            if child:
                stack.append((child, inner))
