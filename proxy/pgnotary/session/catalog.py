"""The catalog as a session knows it: what functions its database has, asked of the server before a text is judged.

A session enters, its `catalog` is new enough afterwards. It is asked at the first statement, when it is a minute old,
and after whatever was signed has changed something, in this session or another one. Inside the client's block only the
last is reason enough: a question would fix the snapshot before the client could SET TRANSACTION.
"""

from pgnotary.errors import StatementError, UpstreamProtocolError
from pgnotary.judge.catalog import QUESTION, read_catalog
from pgnotary.judge.statement import Statement, StatementClass
from pgnotary.session.inject import inject
from pgnotary.session.state import FAILED, IDLE, SessionState
from pgnotary.session.steps import Flow, ask
from pgnotary.wire.messages import query

__all__ = ["MAX_AGE_S", "needs_catalog", "renew_catalog"]

# How long a function that somebody made without us may be taken for a column.
MAX_AGE_S = 60.0

_WITHOUT_CODE = frozenset({StatementClass.SHOW, StatementClass.SESSION, StatementClass.EMPTY})

_LIMIT = b"SET LOCAL statement_timeout = 5000"
_QUESTION = QUESTION.encode()
_OUTSIDE = (b"BEGIN READ ONLY", _LIMIT, _QUESTION, b"COMMIT")
_IN_BLOCK = (
    b"SAVEPOINT pgnotary_catalog",
    _LIMIT,
    _QUESTION,
    b"ROLLBACK TO SAVEPOINT pgnotary_catalog",
    b"RELEASE SAVEPOINT pgnotary_catalog",
)


class _CatalogUnread(StatementError):
    """Without the catalog nothing can be judged: what a name calls is not known."""

    sqlstate = "55000"


def needs_catalog(statement: Statement) -> bool:
    """Say whether a judgement may depend on the catalog: not that of transaction control, SET or SHOW."""
    return not all(part.control or part.kind in _WITHOUT_CODE for part in statement.parts)


def renew_catalog(state: SessionState, *, extended: bool = False) -> Flow:
    """Ask for the catalog if what is known of it is too old; raises StatementError if it cannot be read.

    `extended`: what the client has prepared must outlive the question.
    """
    idle = state.status == IDLE
    changed = state.catalog_generation != state.generation()
    old = state.now.monotonic - state.catalog_at > MAX_AGE_S
    if state.status == FAILED or state.unsynced or not (changed or (idle and old)):
        return
    generation = state.generation()
    texts = _OUTSIDE if idle else _IN_BLOCK
    answer = yield from ask(inject(*texts) if extended else query(b"; ".join(texts)))
    if idle and state.status != IDLE:
        yield from ask(inject(b"ROLLBACK") if extended else query(b"ROLLBACK"))
    if answer.error is not None:
        raise _CatalogUnread(f"the names of the database's functions could not be read: {answer.error}")
    try:
        ((one_argument, elsewhere, isolation),) = answer.rows
        if not idle and isolation != "read committed":
            raise _CatalogUnread(
                "something signed has run since this transaction took its snapshot, which shows no new functions",
                hint="End the transaction and begin it anew.",
            )
        state.catalog = read_catalog(one_argument, elsewhere)
    except ValueError as error:
        raise UpstreamProtocolError(f"the answer about the catalog cannot be read: {error}") from error
    state.catalog_at, state.catalog_generation = state.now.monotonic, generation
