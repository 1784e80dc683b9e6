"""Judging one text in a session: what it says, what its names mean here and now, what policy says of that.

A text enters; a `Statement` and a `Verdict` leave, after whatever has to be asked of the server has been: the catalog,
the scope, and what stands behind the names in EXECUTE and FETCH. Nothing is asked for what needs no names: nothing may
keep a client from ending its block, and a question would take its snapshot.
"""

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from pgnotary.errors import NotSupported
from pgnotary.judge.gate import decode
from pgnotary.judge.meaning import weigh_run
from pgnotary.judge.policy import Verdict, held_terms
from pgnotary.judge.reading import read
from pgnotary.judge.rules import Action
from pgnotary.judge.statement import Finding, Qualifier, Statement, StatementClass
from pgnotary.session.catalog import MAX_AGE_S, renew_catalog
from pgnotary.session.manner import manner_of
from pgnotary.session.prepared import text_behind
from pgnotary.session.scope import renew_scope
from pgnotary.session.state import FAILED, IDLE, SessionState
from pgnotary.session.steps import Flow, Step, read_elsewhere

__all__ = ["judged", "needs_names", "needs_nothing", "read_if_large", "stopped_by_wall"]

_WITHOUT_NAMES = frozenset(
    {StatementClass.SHOW, StatementClass.SESSION, StatementClass.EMPTY, StatementClass.LISTEN, StatementClass.UNKNOWN}
)
_OF_CATALOG = frozenset({StatementClass.CREATE, StatementClass.ALTER, StatementClass.DROP, StatementClass.GRANT})
_MOST_BEHIND_A_NAME = 16
_FRESH_S = 1.0
_NOTHING = read(b"")


def needs_names(statement: Statement) -> bool:
    """Say whether a judgement may depend on what names mean: not that of transaction control, SET or SHOW."""
    return not all(part.control or part.kind in _WITHOUT_NAMES for part in statement.parts)


def needs_nothing(statement: Statement, verdict: Verdict) -> bool:
    """Say whether a text runs as it is whatever its names mean, and has the catalog asked for anew by what is next.

    So a migration of a thousand statements, where policy forwards all, reads it once.
    """
    makes = all(part.kind in _OF_CATALOG and Qualifier.WRITE in part.qualifiers for part in statement.parts)
    return verdict.certain and verdict.unwalled and makes


def judged(state: SessionState, text: bytes) -> Generator[Step, Any, tuple[Statement, Verdict]]:
    """Return what a text says and what happens to it; raises StatementError if that cannot be found out."""
    yield from read_if_large(state, text)
    statement, verdict = state.judge(text)
    if state.status == FAILED or needs_nothing(statement, verdict):
        return statement, verdict
    # What SHOW tells of the client's own default may have been taken back.
    shows = state.scope_stale and any(part.shows for part in statement.parts)
    if not (state.status == IDLE or shows or needs_names(statement)):
        return statement, verdict
    yield from renew_catalog(state)
    yield from renew_scope(state)
    statement, verdict = state.judge(text)
    if len(statement.parts) > 1 and any(part.rescopes for part in statement.parts):
        # What a later part names is looked up where an earlier one says.
        return state.judge(text, anywhere=True)
    if (max_age_s := _trusted_for(state, statement, verdict)) is not None:
        yield from renew_catalog(state, max_age_s=max_age_s, anywhere=True)
        yield from renew_scope(state)
        statement, verdict = state.judge(text)
    if any(part.prepared for part in statement.parts):
        statement = yield from _behind_names(state, statement)
        verdict = state.verdict(statement)
    return statement, verdict


def _trusted_for(state: SessionState, statement: Statement, verdict: Verdict) -> float | None:
    """Return how old the catalog may be for what no wall stops, or for a name that it lacks; None for the rest."""
    if any(Qualifier.UNKNOWN_NAME in part.qualifiers for part in statement.parts):
        return _FRESH_S
    writing = [part for part in statement.parts if part.with_hold or manner_of(part, unwalled=verdict.unwalled).writes]
    if verdict.action is not Action.FORWARD or not writing:
        return None
    names = {name[-1] for part in writing for name in part.names.functions if name}
    kinds = {kind.kind for part in writing for name in part.resolved for _, kind in state.catalog.find(name, None)}
    return _FRESH_S if "v" in kinds or not names.isdisjoint(state.catalog.proven) else MAX_AGE_S


def read_if_large(state: SessionState, text: bytes) -> Flow:
    """Have a text read elsewhere that would stall all sessions; raises InvalidText if it is not UTF-8."""
    if not state.may_judge(text):
        decode(text)
        state.read_elsewhere[text] = yield from read_elsewhere(text)


def stopped_by_wall(state: SessionState, statement: Statement) -> tuple[Statement, Verdict]:
    """Return the same statement, and why it is held or refused after all: PostgreSQL is the last judge.

    What it needs is what it would have needed if that had been seen before: no rule that it did not meet is evaded.
    """
    (part,) = statement.parts
    why = "tried to write in a read-only transaction, which nobody had seen: a miss of the judge"
    part = replace(part, findings=(*part.findings, Finding(Qualifier.WRITE, why, "server")))
    seen = replace(statement, parts=(part,))
    verdict = state.verdict(seen)
    if verdict.action is Action.REFUSE:
        return seen, verdict
    terms = verdict.terms if verdict.action is Action.HOLD else held_terms(state.rules.policy)
    return seen, Verdict(Action.HOLD, part.kind, "wall/25006", f"it {why}", terms, "server")


def _behind_names(state: SessionState, statement: Statement) -> Generator[Step, Any, Statement]:
    """Return the statement with what EXECUTE and FETCH run, as far as the server knows it."""
    names = list(dict.fromkeys(name for part in statement.parts for name in part.prepared))
    if len(names) > _MOST_BEHIND_A_NAME:
        raise NotSupported(f"more than {_MOST_BEHIND_A_NAME} statements are executed by name in one text")
    texts = {}
    for name, is_cursor in names:
        try:
            behind = yield from text_behind(state, name.encode(), is_cursor=is_cursor)
        except NotSupported:
            continue
        if behind is None:
            texts[name, is_cursor] = _NOTHING  # The server will say that there is none.
        elif behind:
            yield from read_if_large(state, behind)
            texts[name, is_cursor] = state.judge(behind)[0]
    weighed = tuple(weigh_run(part, texts) if part.prepared else part for part in statement.parts)
    if len(statement.parts) > 1:
        # An earlier part may give the name to another query, so there is doubt about what it runs; none about the rest.
        pairs = zip(statement.parts, weighed, strict=True)
        weighed = tuple(replace(part, runs_no_query=each.runs_no_query) for part, each in pairs)
    return Statement(statement.text, weighed)
