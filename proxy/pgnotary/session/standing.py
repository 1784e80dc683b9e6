"""Where a statement would run and what it would meet there: asked when it is held, and again when it is to run.

`standing_texts` are put to the server together with other questions of ours; `read_standing` makes a `Standing` of the
answer; `changed_since` says what is another now. Whoever signed has signed the one that the request holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pgnotary.errors import UpstreamProtocolError
from pgnotary.judge.secret_values import words_masked
from pgnotary.judge.statement import Statement
from pgnotary.ledger.canonical import JSON
from pgnotary.request.schema_state import difference, read_schema_state, schema_question

__all__ = ["Standing", "changed_since", "read_standing", "standing_texts"]

_IDLE_TIMERS = (
    b"pg_catalog.current_setting('idle_in_transaction_session_timeout')",
    b"pg_catalog.current_setting('idle_session_timeout')",
    b"coalesce(pg_catalog.current_setting('transaction_timeout', true), '0')",
)
# They decide what a text means, and how a sample's values are spelled: 01/02/2026 is in January or in February.
_SETTINGS = ("datestyle", "intervalstyle", "timezone")
# So do these, and people are told of them only if they are not as PostgreSQL has them.
_USUAL = {
    "array_nulls": "on",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "row_security": "on",
    "session_replication_role": "origin",
    "transform_null_equals": "off",
    "xmloption": "content",
}
_CONTEXT = (
    b"SELECT current_user, session_user, pg_catalog.current_setting('search_path'), "
    b"pg_catalog.current_setting('pgnotary.reason', true), pg_catalog.current_setting('client_min_messages'), "
    + b", ".join(b"pg_catalog.current_setting('%b')" % name.encode() for name in (*_SETTINGS, *_USUAL))
    + b", "
    + b", ".join(b"pg_catalog.date_part('epoch', %b::pg_catalog.interval)" % timer for timer in _IDLE_TIMERS)
    # To compile the question about the schema would take a hundred times as long as to answer it.
    + b", CASE WHEN pg_catalog.set_config('pgnotary.jit', pg_catalog.current_setting('jit'), true) IS NOT NULL "
    b"THEN pg_catalog.set_config('jit', 'off', true) END"
)
_JIT_AS_BEFORE = b", pg_catalog.set_config('jit', pg_catalog.current_setting('pgnotary.jit'), true)"
_CONTEXT_VALUES = 5 + len(_SETTINGS) + len(_USUAL) + len(_IDLE_TIMERS) + 1
# More would be no help to anybody.
_MOST_TOLD = 20
_MAX_VALUE = 200


@dataclass(frozen=True, slots=True)
class Standing:
    """What the server said."""

    role: str
    session_user: str
    search_path: str
    settings: Mapping[str, str]
    """Name -> value of what decides how a text is read."""
    schema: Mapping[str, str]
    """What the statement names -> a fingerprint of how that is defined."""
    reason: str = ""
    """The engineer's words, from SET pgnotary.reason, as they stand in the session; "" if there are none."""
    level: str = ""
    """client_min_messages."""
    idle: tuple[float, ...] = ()
    """The server's timers for idle transactions, idle sessions, and transactions, in seconds; 0 for none."""


def standing_texts(statement: Statement) -> tuple[bytes, bytes]:
    """Return the questions; each has one row for an answer, and they must be put together, in one transaction."""
    return _CONTEXT, schema_question(statement) + _JIT_AS_BEFORE


def read_standing(rows: Sequence[Sequence[str | None]]) -> Standing:
    """Return what the two rows say; raises UpstreamProtocolError if they have not the shape that was asked for."""
    try:
        context, (schema, *_) = rows
        role, session_user, search_path, reason, level, *rest = (value or "" for value in context)
        if len(context) != _CONTEXT_VALUES:
            raise ValueError(f"{len(context)} values instead of {_CONTEXT_VALUES}")
        names = (*_SETTINGS, *_USUAL)
        settings = dict(zip(names, rest, strict=False))
        return Standing(
            role=role,
            session_user=session_user,
            search_path=search_path,
            settings={name: value for name, value in settings.items() if value != _USUAL.get(name)},
            schema=read_schema_state(schema or ""),
            reason=reason,
            level=level,
            idle=tuple(float(value or 0) for value in rest[len(names) : len(names) + len(_IDLE_TIMERS)]),
        )
    except ValueError as error:
        raise UpstreamProtocolError(f"the session's context cannot be read: {error}") from error


def changed_since(signed: Standing, found: Standing) -> list[JSON]:
    """Return `{what, signed, found}` of each thing that is another now, at most 20 of them; "" is what is not there."""
    changed: list[JSON] = [
        {"what": what, "signed": was[:_MAX_VALUE], "found": now[:_MAX_VALUE]}
        for what, was, now in difference(_told(signed), _told(found))
    ]
    return changed[:_MOST_TOLD]


def _told(standing: Standing) -> dict[str, str]:
    session = {"role": standing.role, "session_user": standing.session_user, "search_path": standing.search_path}
    spoken = {name: words_masked(value) for name, value in (session | dict(standing.settings)).items()}
    return spoken | dict(standing.schema)
