"""What is bound to a statement that is held, asked of the server: the types of its parameters, and how it spells them.

What the client has sent enters, inside the read-only frame of an examination; `Parameters` leave, or the server's own
error about a value, which the client's Bind would meet as well. Bound are the same bytes under the same types as will
run.

Sources: PostgreSQL 18, "Describe", format(), format_type().
"""

from collections.abc import Generator, Sequence
from typing import Any

from pgnotary.errors import UpstreamProtocolError
from pgnotary.request.parameters import Parameters, Value
from pgnotary.session.inject import OURS, put
from pgnotary.session.sent import Sent
from pgnotary.session.state import SessionState
from pgnotary.session.steps import Answer, Step, ask
from pgnotary.wire import messages

__all__ = ["FIRST_OWN", "bound_to", "parameters_of"]

_STATEMENT = OURS + b"bound"
_PORTAL = OURS + b"bound"
FIRST_OWN = 16_384
"""The first oid that is not PostgreSQL's own."""


def bound_to(text: bytes, types: Sequence[int], sent: Sent) -> bytes:
    """Return the messages that run a text of ours once for each of the client's Binds, with the values of that one."""
    runs = (
        messages.bind(_PORTAL, _STATEMENT, each.arguments) + messages.execute(_PORTAL) + messages.close_portal(_PORTAL)
        for each in sent.bounds
    )
    opening = messages.parse(_STATEMENT, text, types)
    return opening + b"".join(runs) + messages.close_statement(_STATEMENT) + messages.SYNC


def parameters_of(state: SessionState, types: tuple[int, ...], sent: Sent) -> Generator[Step, Any, Parameters | Answer]:
    """Return what is bound, or the answer with the server's error about a value of it."""
    names = yield from _names(state, types)
    shown: Sequence[str | None] = ()
    # Nobody has read what a type of the database's own calls to write a value out.
    if types and not (state.catalog.types and any(oid >= FIRST_OWN for oid in types)):
        values = b", ".join(b"(pg_catalog.format('%%s', $%d))" % place for place in range(1, len(types) + 1))
        answer = yield from ask(bound_to(b"VALUES " + values, types, sent))
        if answer.error is not None:
            return answer
        if len(answer.rows) != len(types) * len(sent.bounds) or any(len(row) != 1 for row in answer.rows):
            raise UpstreamProtocolError(f"{len(answer.rows)} values shown of {len(types)} parameters")
        shown = [row[0] for row in answer.rows]
    spelling = iter(shown)
    sets = tuple(
        tuple(Value(raw, format_, next(spelling, None)) for raw, format_ in zip(each.values, each.formats, strict=True))
        for each in sent.bounds
    )
    return Parameters(tuple(zip(types, names, strict=True)), sets, sent.bounds[0].results if sent.bounds else ())


def _names(state: SessionState, types: tuple[int, ...]) -> Generator[Step, Any, tuple[str, ...]]:
    if not types:
        return ()
    oids = b",".join(b"%d" % oid for oid in types)
    answer = yield from put(
        state,
        b"SELECT pg_catalog.format_type(t.oid, NULL) FROM pg_catalog.unnest('{%b}'::pg_catalog.oid[]) "
        b"WITH ORDINALITY AS t (oid, place) ORDER BY t.place" % oids,
    )
    names = tuple(row[0] or "" for row in answer.rows if len(row) == 1)
    if answer.error is not None or len(names) != len(types):
        raise UpstreamProtocolError(f"the names of types could not be read: {answer.error}")
    return names
