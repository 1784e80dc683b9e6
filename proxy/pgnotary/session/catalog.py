"""The catalog as a session knows it: what functions its database has, asked of the server before a text is judged.

A session enters, its `catalog` is new enough afterwards. It is asked at the first statement, when it is a minute old,
and after whatever was signed has changed something, in this session or another one. Inside the client's block only the
last is reason enough: a question would fix the snapshot before the client could SET TRANSACTION.
"""

from pgnotary.errors import StatementError, UpstreamProtocolError
from pgnotary.judge.catalog import QUESTION, read_catalog
from pgnotary.session.state import FAILED, IDLE, SessionState
from pgnotary.session.steps import Flow, ask
from pgnotary.wire.messages import query

__all__ = ["MAX_AGE_S", "renew_catalog"]

# How long a function that somebody made without us may be taken for a column.
MAX_AGE_S = 60.0

_LIMIT = "SET LOCAL statement_timeout = 5000"
_ASK = query(f"BEGIN READ ONLY; {_LIMIT}; {QUESTION}; COMMIT".encode())
_ASK_IN_BLOCK = query(
    f"SAVEPOINT pgnotary_catalog; {_LIMIT}; {QUESTION}; "
    "ROLLBACK TO SAVEPOINT pgnotary_catalog; RELEASE SAVEPOINT pgnotary_catalog".encode()
)


class _CatalogUnread(StatementError):
    """Without the catalog nothing can be judged: what a name calls is not known."""

    sqlstate = "55000"


def renew_catalog(state: SessionState) -> Flow:
    """Ask for the catalog if what is known of it is too old; raises StatementError if it cannot be read."""
    idle = state.status == IDLE
    changed = state.catalog_generation != state.generation()
    old = state.now.monotonic - state.catalog_at > MAX_AGE_S
    if state.status == FAILED or not (changed or (idle and old)):
        return
    generation = state.generation()
    answer = yield from ask(_ASK if idle else _ASK_IN_BLOCK)
    if idle and state.status != IDLE:
        yield from ask(query(b"ROLLBACK"))
    if answer.error is not None:
        raise _CatalogUnread(f"the names of the database's functions could not be read: {answer.error}")
    try:
        ((one_argument, elsewhere),) = answer.rows
        state.catalog = read_catalog(one_argument, elsewhere)
    except ValueError as error:
        raise UpstreamProtocolError(f"the answer about the catalog cannot be read: {error}") from error
    state.catalog_at, state.catalog_generation = state.now.monotonic, generation
