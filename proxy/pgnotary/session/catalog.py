"""The catalog of a session's database, asked of the server before a text is judged.

A session enters; its `catalog` is new enough afterwards. The catalog is shared by all sessions of a database: it is
asked for when it is a minute old, when something that was signed may have changed it, and when a text names a relation
that it does not know. Inside the client's block only a change is reason enough, and what is learnt there is this
session's alone, since it may show what nobody else can see.
"""

from collections.abc import Generator
from typing import Any

from pgnotary.errors import UpstreamProtocolError
from pgnotary.judge.asked import FUNCTIONS_QUESTION, grown, reach_question, read_catalog, read_functions
from pgnotary.judge.catalog import Catalog
from pgnotary.session.inject import put
from pgnotary.session.look import BUILT_IN_ONLY, NamesUnread, leave, opening
from pgnotary.session.state import FAILED, IDLE, SessionState
from pgnotary.session.steps import Answer, Flow, Step

__all__ = ["MAX_AGE_S", "is_catalog_new", "renew_catalog"]

# How long what somebody made without us may be unknown.
MAX_AGE_S = 60.0

# JIT would take a hundred times as long to compile the question as the server takes to answer it.
_LIMITS = (b"SET LOCAL statement_timeout = 10000", b"SET LOCAL jit = off", BUILT_IN_ONLY)
_FUNCTIONS = FUNCTIONS_QUESTION.encode()
_ISOLATION = b"SELECT pg_catalog.current_setting('transaction_isolation')"


def is_catalog_new(state: SessionState) -> bool:
    """Say whether an idle session has the catalog that it would have after `renew_catalog`, which would ask nothing."""
    shared = state.shared
    known = state.catalog is shared.catalog and shared.generation == state.catalog_generation == state.generation()
    return known and state.now.monotonic - shared.at <= MAX_AGE_S


def renew_catalog(state: SessionState, *, max_age_s: float = MAX_AGE_S, anywhere: bool = False) -> Flow:
    """Ask for the catalog if what is known of it is too old; raises StatementError if it cannot be read.

    `anywhere`: in a block, too, if it is too old.
    """
    if state.status == FAILED or state.unsynced:
        return
    idle = state.status == IDLE
    generation, now, shared = state.generation(), state.now.monotonic, state.shared
    if idle and shared.generation == generation and now - shared.at <= max_age_s:
        # Where names are looked up depends on what is there.
        state.scope_stale |= state.catalog is not shared.catalog
        state.catalog, state.catalog_generation, state.catalog_at = shared.catalog, generation, shared.at
        return
    changed = state.catalog_generation != generation
    if not (changed or ((idle or anywhere) and now - state.catalog_at > max_age_s)):
        return
    state.catalog = yield from _read(state, idle=idle)
    state.catalog_at, state.catalog_generation, state.scope_stale = now, generation, True
    if idle:
        shared.learn(state.catalog, now, generation)


def _read(state: SessionState, *, idle: bool) -> Generator[Step, Any, Catalog]:
    first = yield from put(state, opening(idle), *_LIMITS, *([] if idle else [_ISOLATION]), _FUNCTIONS)
    try:
        if first.error is not None:
            raise NamesUnread(f"the names of the database's functions could not be read: {first.error}")
        if not idle and first.rows[0] != ("read committed",):
            raise NamesUnread(
                "the catalog may have changed since this transaction took its snapshot, which shows no new functions",
                hint="End the transaction and begin it anew.",
            )
        functions = read_functions(_only(first))
        while True:
            second = yield from put(state, reach_question(functions).encode())
            if second.error is not None:
                raise NamesUnread(f"what the database's names reach could not be read: {second.error}")
            more = grown(functions, _only(second))
            if more == functions:
                break
            functions = more
        catalog = read_catalog(functions, _only(second))
    except ValueError as error:
        raise UpstreamProtocolError(f"the answer about the catalog cannot be read: {error}") from error
    except NamesUnread:
        yield from leave(state, idle=idle)
        raise
    yield from leave(state, idle=idle)
    return catalog


def _only(answer: Answer) -> str:
    """Return the value of a question with one row of one column; raises ValueError for any other answer."""
    match answer.rows[-1:]:
        case [(str(value),)]:
            return value
        case _:
            raise ValueError("not one row of one column")
