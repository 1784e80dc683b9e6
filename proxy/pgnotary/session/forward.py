"""Forwarding what policy lets pass: behind the read-only wall, in a read-write transaction of ours, or as it is.

A simple query that needs nobody's approval enters; PostgreSQL's answer leaves. What was forwarded is noted for the
ledger. Inside a block each statement of a text goes alone, so that each has its own wall. A statement that is stopped
by the wall although the judge let it pass has done nothing: it goes back to be held, unless the client has had a part
of its answer.
"""

from collections.abc import Generator, Sequence
from typing import Any

from pgnotary.errors import StatementError, UpstreamProtocolError, UpstreamRefused
from pgnotary.judge.policy import Verdict
from pgnotary.judge.renaming import may_rename
from pgnotary.judge.rules import Record
from pgnotary.judge.statement import Part, Qualifier, Statement
from pgnotary.ledger.executions import MAX_EXECUTIONS
from pgnotary.session.control import OutcomeUnknown, run_control
from pgnotary.session.copying import CopyIn
from pgnotary.session.events import Now
from pgnotary.session.manner import OF_ROWS, Manner, manner_of
from pgnotary.session.refuse import refuse
from pgnotary.session.relaying import relay_part
from pgnotary.session.sent import Sent, query_of
from pgnotary.session.state import IDLE, IN_BLOCK, SessionState
from pgnotary.session.steps import Answer, Keep, Step, UpstreamLost
from pgnotary.session.told import Told
from pgnotary.session.undone import remains_to_be_undone
from pgnotary.session.virtual import looks_at_default, relay_with_default
from pgnotary.session.virtual_encoding import note_resets, with_encoding
from pgnotary.session.wall import undo_wall
from pgnotary.session.writing import open_own_block, relay_in_own_block, relay_outside_block, runs_outside_block

__all__ = ["forward", "forward_bracket", "note", "note_effects", "note_lost"]

_STOPPED_BY_WALL = "25006"
# Whatever does no more than these leaves the catalog as it is, even where policy lets it run unwalled.
_BESIDE_CATALOG = frozenset(
    {
        Qualifier.LOCKING,
        Qualifier.SEQUENCE,
        Qualifier.ADVISORY_LOCK,
        Qualifier.ACCESS_SHARE,
        Qualifier.NOTIFY,
        Qualifier.ROLE,
        Qualifier.SESSION,
        Qualifier.SETTING,
        Qualifier.SINGLE_READER,
    }
)
_RESCOPING = frozenset({Qualifier.TEMP, Qualifier.FUNCTION, Qualifier.ROLE, Qualifier.UNREAD})


def forward(
    state: SessionState, statement: Statement, verdict: Verdict, sent: Sent
) -> Generator[Step, Any, Told | None]:
    """Forward a text without transaction control; return None if the wall stopped it before the client heard of it."""
    started = state.now
    manners = [manner_of(part, unwalled=verdict.unwalled) for part in statement.parts]
    try:
        answer = yield from _relay(state, statement, manners, sent)
    except OutcomeUnknown:
        note_lost(state, statement.text, verdict, started, unknown=True, copy=sent.copy)
        raise
    except StatementError as error:
        note(state, statement.text, verdict, started, [], error.sqlstate, why=error.message, copy=sent.copy)
        return (yield from refuse(state, error))
    except (UpstreamLost, UpstreamProtocolError):
        # Rows may have reached the client all the same.
        note_lost(state, statement.text, verdict, started, copy=sent.copy)
        raise
    sqlstate = _sqlstate(answer)
    note(state, statement.text, verdict, started, answer.tags, sqlstate, copy=sent.copy)
    if sqlstate == _STOPPED_BY_WALL and answer.kept and manners == [Manner.WALLED] and _may_hold(state):
        if state.block is not None:
            yield from undo_wall(state)
        return None
    note_effects(state, statement.parts, manners)
    if answer.error is None:
        note_resets(state, statement.parts, answer.tags)
    state.tell(answer.kept)
    return Told.of(answer.error)


def _may_hold(state: SessionState) -> bool:
    """Say whether what may write could run here once it is signed."""
    return not state.is_read_only and not (state.block and (state.block.loose or state.block.holds_cursor))


def _relay(
    state: SessionState, statement: Statement, manners: Sequence[Manner], sent: Sent
) -> Generator[Step, Any, Answer]:
    sent = with_encoding(state, statement, sent)
    if looks_at_default(statement, state.catalog):
        return (yield from relay_with_default(state, sent))
    writes = any(manner.writes for manner in manners)
    if sent.extended and state.status == IDLE and _begins_a_block(state, statement, manners[0], sent):
        yield from open_own_block(state)
    if state.status == IN_BLOCK:
        if len(statement.parts) > 1:
            return (yield from _relay_parts(state, statement, manners))
        return (yield from _relay_one(state, statement.parts[0], manners[0], sent))
    if writes and state.status == IDLE and not state.is_read_only:
        if runs_outside_block(statement):
            try:
                return (yield from relay_outside_block(state, sent))
            except UpstreamLost as lost:
                raise OutcomeUnknown("the server went away while it ran: what it did is not known") from lost
        return (yield from relay_in_own_block(state, statement, sent, manners))
    return (yield from _relay_one(state, statement.parts[0], manners[0], sent, alone=len(statement.parts) == 1))


def _begins_a_block(state: SessionState, statement: Statement, manner: Manner, sent: Sent) -> bool:
    """Say whether the rest of a batch must run in a block of ours: it changes something, or sets it for the rest."""
    if manner.writes:
        return not state.is_read_only and not runs_outside_block(statement)
    return sent.followed and manner in (Manner.KEPT, Manner.PLAIN) and statement.parts[0].node != "DiscardStmt"


def _relay_one(
    state: SessionState, part: Part, manner: Manner, sent: Sent, *, alone: bool = True
) -> Generator[Step, Any, Answer]:
    if state.block:
        state.block.statements += 1
    keep = Keep.HEAD if manner is Manner.WALLED and alone else Keep.NOTHING
    return (yield from relay_part(state, part, manner, sent, keep=keep))


def _relay_parts(state: SessionState, statement: Statement, manners: Sequence[Manner]) -> Generator[Step, Any, Answer]:
    """Relay each part of a text as its own message, up to the first error; return the last answer, with all tags."""
    answer, tags = Answer(), []
    if state.block:
        state.block.statements += 1
    for part, manner in zip(statement.parts, manners, strict=True):
        answer = yield from _relay_slice(state, statement, part, manner)
        tags += answer.tags
        if answer.error is not None:
            break
    answer.tags = tags
    return answer


def _relay_slice(state: SessionState, statement: Statement, part: Part, manner: Manner) -> Generator[Step, Any, Answer]:
    sent = query_of(statement.slice(part))
    if part.control:
        return (yield from run_control(state, part, sent))
    return (yield from relay_part(state, part, manner, sent))


def forward_bracket(state: SessionState, statement: Statement, verdict: Verdict) -> Generator[Step, Any, Told]:
    """Forward `BEGIN; ...; COMMIT`, each slice as its own message; stop where PostgreSQL would."""
    started = state.now
    manners = [manner_of(part, unwalled=verdict.unwalled) for part in statement.parts]
    # The block is opened by the first part, so what the others may do is noted in it, for its end.
    answer, tags = Answer(), list[str]()
    for part, manner in zip(statement.parts, manners, strict=True):
        try:
            answer = yield from _relay_slice(state, statement, part, manner)
        except OutcomeUnknown:
            note_lost(state, statement.text, verdict, started, unknown=True)
            raise
        except StatementError as error:
            note(state, statement.text, verdict, started, tags, error.sqlstate, why=error.message)
            return (yield from refuse(state, error))
        except (UpstreamLost, UpstreamProtocolError):
            note_lost(state, statement.text, verdict, started)
            raise
        if not part.control:
            note_effects(state, [part], [manner])
            if answer.error is None:
                note_resets(state, [part], answer.tags)
        tags += answer.tags
        if answer.error is not None:
            break
    note(state, statement.text, verdict, started, tags, _sqlstate(answer))
    return Told.of(answer.error)


def note_effects(state: SessionState, parts: Sequence[Part], manners: Sequence[Manner]) -> None:
    """Remember what has run may have changed: where names are looked up, what they reach, what COMMIT must write."""
    if any(part.prepared or part.defines or part.node in ("DeallocateStmt", "DiscardStmt") for part in parts):
        state.names.doubtful = True
    if any(part.rescopes or not part.qualifiers.isdisjoint(_RESCOPING) for part in parts):
        state.scope_stale = True
        if state.block:
            state.block.rescoped = True
    if state.block and any(part.with_hold for part in parts):
        state.block.holds_cursor = True
    if not any(manner.writes for manner in manners):
        return
    if state.block:
        state.block.wrote = True
        state.block.renamed |= any(map(may_rename, parts))
    written = [part for part, manner in zip(parts, manners, strict=True) if manner.writes]
    if any(_may_change_catalog(part) for part in written):
        state.changed()
        state.scope_stale = True
        if state.block:
            state.block.remade = True


def _may_change_catalog(part: Part) -> bool:
    """Say whether others may have to ask anew what names reach; nobody else's names reach a temporary table."""
    if part.qualifiers <= _BESIDE_CATALOG:
        return False
    if Qualifier.FUNCTION in part.qualifiers:
        return True
    own = Qualifier.TEMP in part.qualifiers and Qualifier.WRITE not in part.qualifiers
    return not own and not part.wants_copy_data and (part.runs or part.kind) not in OF_ROWS


def note(
    state: SessionState,
    text: bytes,
    verdict: Verdict,
    started: Now,
    tags: list[str],
    sqlstate: str = "",
    *,
    why: str = "",
    copy: CopyIn | None = None,
) -> None:
    """Note one execution for the record; `why` it was undone.

    Whatever a rule says: what failed or was undone, and what took data, is listed.
    """
    state.forwarded += 1
    if state.block and not (state.block.own or sqlstate or why) and remains_to_be_undone(verdict.kind, tags):
        state.block.noted += 1
    took_us = int((state.now.monotonic - started.monotonic) * 1_000_000)

    def record(sqlstate: str, why: str) -> None:
        if verdict.record is Record.SUMMARY and not (sqlstate or why) and copy is None:
            state.log.sum_up(text, verdict.kind, started.wall, took_us, tags)
            return
        copied = copy.told if copy else {}
        state.log.add(
            text, verdict.kind, started.wall, took_us, tags, sqlstate, would=verdict.would, why=why, copied=copied
        )

    if state.block and state.block.own and not (sqlstate or why):
        # The client believes it once its batch is committed, and so does the record.
        state.block.ran.append(record)
        if len(state.block.ran) >= MAX_EXECUTIONS:
            state.block.note_open()
    else:
        record(sqlstate, why)


def note_lost(
    state: SessionState,
    text: bytes,
    verdict: Verdict,
    started: Now,
    *,
    unknown: bool = False,
    copy: CopyIn | None = None,
) -> None:
    """Note one execution whose server went away before it had answered; `unknown` if it may have been committed."""
    note(state, text, verdict, started, [], OutcomeUnknown.sqlstate if unknown else UpstreamRefused.sqlstate, copy=copy)


def _sqlstate(answer: Answer) -> str:
    return (answer.error.sqlstate or "XX000") if answer.error else ""
