"""What came of a request, in words: a `Standing` enters; a line that is safe for a terminal, a status or JSON leave."""

import sys

from pgnotary.approval.bodies import UNFIT, Standing
from pgnotary.approval.papers import Paper
from pgnotary.audit.words import row_count
from pgnotary.cli.exits import Exit
from pgnotary.cli.safe_text import broken, visible
from pgnotary.cli.terminal import terminal_columns
from pgnotary.errors import ApiError
from pgnotary.ledger.canonical import JSON
from pgnotary.request.life import State

__all__ = ["outcome_in_words", "settled_status", "standing_fields", "standing_in_words", "standing_line", "state_of"]

_MAX_TAGS = 8


def state_of(standing: Standing) -> State:
    """Return where a request stands; raises ApiError for a state that we do not know."""
    try:
        return State(standing.state)
    except ValueError as error:
        raise ApiError(f"the proxy's answer does not fit: {standing.state!r} is no state", UNFIT) from error


def standing_in_words(standing: Standing) -> str:
    """Return where a request stands that is no longer open, e.g. `R-1  committed, 1,204 rows (#14)`."""
    state = state_of(standing)
    told = [f"{standing.fate}, as PostgreSQL says" if state is State.RESOLVED and standing.fate else state.value]
    if standing.rows is not None:
        told.append(row_count(standing.rows))
    if standing.sqlstate:
        told.append(f"SQLSTATE {standing.sqlstate}")
    if standing.why:
        told.append(standing.why)
    return f"{visible(standing.id)}  {visible(', '.join(told))}{_place(standing)}"


def standing_line(standing: Standing) -> str:
    """Return the same for stdout, where none of it can begin a line but the id."""
    return broken(standing_in_words(standing), terminal_columns(sys.stdout))


def settled_status(standing: Standing) -> Exit:
    """Return how a command ends that waited for what becomes of a request."""
    match state_of(standing):
        case State.COMMITTED:
            return Exit.OK
        case State.RESOLVED:
            return Exit.OK if standing.fate == State.COMMITTED else Exit.FAILED
        case State.DENIED:
            return Exit.DENIED
        case State.EXPIRED | State.WITHDRAWN | State.ORPHANED:
            return Exit.GONE
        case State.VOID:
            return Exit.CONFLICT
        case State.ROLLED_BACK | State.FAILED:
            return Exit.FAILED
        case _:
            return Exit.PENDING


def standing_fields(standing: Standing) -> dict[str, JSON]:
    """Return where a request stands, for `--json`; what is not known is left out."""
    told: dict[str, JSON] = {
        "state": standing.state,
        "fate": standing.fate,
        "sqlstate": standing.sqlstate,
        "why": standing.why,
        "tags": list(standing.tags),
    }
    numbers: dict[str, JSON] = {
        name: value for name, value in (("rows", standing.rows), ("entry", standing.seq)) if value is not None
    }
    return {"request": standing.id} | {name: value for name, value in told.items() if value} | numbers


def outcome_in_words(paper: Paper, standing: Standing) -> tuple[str, Exit]:
    """Return what came of a request that was approved, and how a command ends that waited for it."""
    place = _place(standing)
    match state_of(standing):
        case State.COMMITTED:
            return f"executed: {_done(paper, standing)}, committed{place}", Exit.OK
        case State.EXECUTED:
            return f"executed: {_done(paper, standing)}, not committed yet{place}", Exit.PENDING
        case State.ROLLED_BACK:
            return f"rolled back: {_undone(paper, standing)}{place}", Exit.FAILED
        case State.VOID:
            return f"not executed after all{_because(standing)}{place}", Exit.CONFLICT
        case State.FAILED:
            sqlstate = f" with SQLSTATE {standing.sqlstate}" if standing.sqlstate else ""
            return f"failed{visible(sqlstate)}{_because(standing)}: nothing was changed{place}", Exit.FAILED
        case State.PREPARED:
            words = f"executed: {_done(paper, standing)}, prepared; COMMIT PREPARED or ROLLBACK PREPARED ends it"
            return f"{words}{place}", Exit.PENDING
        case State.UNKNOWN:
            words = f"outcome unknown{_because(standing)}; PostgreSQL is asked: pgnotary show {paper.id}"
            return f"{words}{place}", Exit.FAILED
        case State.RESOLVED if standing.fate == State.COMMITTED:
            return f"executed: {_done(paper, standing)}, committed, as PostgreSQL says{place}", Exit.OK
        case State.RESOLVED:
            return f"{visible(standing.fate or 'resolved')}, as PostgreSQL says{_because(standing)}{place}", Exit.FAILED
        case State.DENIED:
            return f"denied by somebody else{place}", Exit.DENIED
        case State.EXPIRED | State.WITHDRAWN | State.ORPHANED as state:
            return f"not executed: {state}{place}", Exit.GONE
        case state:
            return f"no outcome yet: it is {state}", Exit.PENDING


def _done(paper: Paper, standing: Standing) -> str:
    """Return what ran in the server's own words, or in ours if it has not said."""
    if standing.tags:
        more = f" and {len(standing.tags) - _MAX_TAGS} more" if len(standing.tags) > _MAX_TAGS else ""
        return visible("; ".join(standing.tags[:_MAX_TAGS])) + more
    rows = "" if standing.rows is None else f", {row_count(standing.rows)}"
    return visible(paper.context.kind.upper()) + rows


def _undone(paper: Paper, standing: Standing) -> str:
    # The engineer was told the same, beginning with the id.
    return visible(standing.why.removeprefix(f"{paper.id} rolled back: ")) or _done(paper, standing)


def _because(standing: Standing) -> str:
    return f" ({visible(standing.why)})" if standing.why else ""


def _place(standing: Standing) -> str:
    return "" if standing.seq is None else f" (#{standing.seq})"
