"""A hold: the statement waits, people are asked, and exactly one thing ends it.

A statement that policy wants signed enters; its execution or its refusal leaves. The order never changes: examined,
`request` durable, previewed, `preview` durable, announced, then a decision, an expiry, or a withdrawal, whichever the
store accepts first. Nothing of the statement is sent for execution here, and nothing is that its requester took back.
"""

from collections.abc import Generator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pgnotary.errors import (
    LedgerUnavailable,
    NotCanonical,
    NotSupported,
    RequestMoved,
    StatementError,
    TooLarge,
    UpstreamProtocolError,
)
from pgnotary.judge.policy import Verdict
from pgnotary.judge.rules import Action
from pgnotary.judge.statement import Statement
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, EntryType, Filed
from pgnotary.request.context import Client, request_draft
from pgnotary.request.decision import Answer
from pgnotary.request.life import Move, State
from pgnotary.request.parameters import check_size
from pgnotary.request.preview import NO_QUESTIONS, Questions, questions
from pgnotary.request.quorum import check_needs
from pgnotary.request.texts import Asking, asking
from pgnotary.request.withdrawal import REQUESTER, told
from pgnotary.session.actions import Announce, Looked, Retire
from pgnotary.session.events import Decided, TakenBack
from pgnotary.session.examine import Examination, NotExaminable, close, examine
from pgnotary.session.execute import execute, void
from pgnotary.session.places import TooManyHeld
from pgnotary.session.previewing import preview
from pgnotary.session.refuse import fail_block, refuse
from pgnotary.session.relaying import Withdrawn
from pgnotary.session.sent import Sent
from pgnotary.session.standing import Standing
from pgnotary.session.state import SessionState
from pgnotary.session.steps import Ending, Step, UpstreamLost, await_decision, await_look, write
from pgnotary.session.told import Told
from pgnotary.session.words import Held, held_notice, one_line, rows_in_words, waiting_notice

__all__ = ["hold"]


# A decision is handed over as soon as it is durable; this is for one whose bearer was stopped in between.
_DELIVERY_S = 10.0

_ENDS_SESSION = frozenset({Ending.CLIENT_GONE, Ending.PARTING, Ending.UPSTREAM_LOST})


class _Ended(StatementError):
    """A hold that ended without an approval; `sqlstate` is set where it is raised."""


class _Refused(StatementError):
    """More rows than any approver may let change."""

    sqlstate = "42501"


class _SessionEnds(StatementError):
    """A hold that ended with its session: what there is to say is said with that."""


def hold(state: SessionState, statement: Statement, verdict: Verdict, sent: Sent) -> Generator[Step, Any, Told]:
    """Hold a statement until it is decided, then run it or say no."""
    who, places = state.who, state.places
    try:
        places.enter(who.session, who.person)
    except TooManyHeld as full:
        state.note_refusal(statement.text, verdict.kind, full.sqlstate)
        return (yield from refuse(state, full))
    try:
        decided = yield from _decide(state, statement, verdict, sent)
    finally:
        places.leave(who.session)
    if isinstance(decided, Told):
        return decided
    return (yield from execute(state, statement, sent, *decided))


def _decide(
    state: SessionState, statement: Statement, verdict: Verdict, sent: Sent
) -> Generator[Step, Any, tuple[Decided, Standing] | Told]:
    """Return the approval with what was signed of the server, or what the client has been told if there is none."""
    try:
        held = yield from _put_up(state, statement, verdict, sent)
    except (LedgerUnavailable, NotExaminable, TooLarge, _Refused) as error:
        return (yield from refuse(state, error))
    if isinstance(held, Told):
        return held
    try:
        decided = yield from _wait(state, held)
    except _Ended as ended:
        return (yield from refuse(state, ended, held.request, sqlstate=ended.sqlstate))
    except _SessionEnds:
        return Told.NOTHING
    said, place = _said(decided), decided.receipt.entry.position.seq
    if decided.answer is Answer.DENY:
        detail = f"Not sent to the database. Ledger #{place}."
        denied = _Ended(f"{held.request} denied {said}", detail=detail)
        return (yield from refuse(state, denied, held.request, sqlstate="42501"))
    if decided.answer is Answer.BREAK_GLASS:
        state.notice(
            f"{held.request} GLASS BROKEN {said} (ledger #{place})",
            f"It runs on {decided.approver}'s word alone.",
            "Somebody else on the roster must review it: pgnotary reviewed " + held.request,
            request=held.request,
        )
    else:
        state.notice(f"{held.request} approved {said} (ledger #{place})")
    return decided, held.standing


def _said(decided: Decided) -> str:
    return f"by {decided.approver}: {one_line(decided.reason) or '(no reason given)'}"


def _put_up(
    state: SessionState, statement: Statement, verdict: Verdict, sent: Sent
) -> Generator[Step, Any, Held | Told]:
    """Return the open hold, or what the client has been told if nobody needs to be asked."""
    check_needs(verdict.terms.approvals)
    check_size(sent.executions, sum(len(value or b"") for each in sent.bounds for value in each.values))
    ending = yield from await_look()
    try:
        if ending is not None:
            return (yield from _taken_back(state, statement, verdict, ending))
        return (yield from _look(state, statement, verdict, sent))
    finally:
        state.actions.append(Looked())


def _taken_back(
    state: SessionState, statement: Statement, verdict: Verdict, ending: Ending
) -> Generator[Step, Any, Told]:
    """Say that nothing was even asked, to whoever is there to hear it."""
    withdrawn = Withdrawn("Nobody was asked. Nothing was sent.")
    state.note_refusal(statement.text, verdict.kind, withdrawn.sqlstate)
    return Told.NOTHING if ending in _ENDS_SESSION else (yield from refuse(state, withdrawn))


def _look(state: SessionState, statement: Statement, verdict: Verdict, sent: Sent) -> Generator[Step, Any, Held | Told]:
    """Ask the server about a statement, then, unless that settles it, people."""
    examination = yield from examine(state, statement, sent)
    if examination.several:
        state.note_refusal(statement.text, verdict.kind, NotSupported.sqlstate)
        yield from close(state)
        return (yield from refuse(state, _unreadable(verdict)))
    if examination.rejection is not None:
        state.note_refusal(statement.text, verdict.kind, examination.rejection.sqlstate)
        yield from close(state)
        yield from fail_block(state)
        state.tell(examination.rejection.raw)
        return Told.ERROR
    return (yield from _ask_for_approval(state, statement, verdict, sent, examination))


def _unreadable(verdict: Verdict) -> NotSupported:
    return NotSupported(
        "pgnotary cannot read this text with certainty, and it holds several statements",
        detail=f"{verdict.reason[:1].upper()}{verdict.reason[1:]}. Nothing was sent.",
        hint="Send them one at a time, without what cannot be read.",
    )


def _ask_for_approval(
    state: SessionState, statement: Statement, verdict: Verdict, sent: Sent, examination: Examination
) -> Generator[Step, Any, Held]:
    """Record request and preview, tell the client and the approvers."""
    request = state.mint()
    hold_s = min(verdict.terms.hold_s, examination.hold_limit_s or verdict.terms.hold_s)
    deadline = state.now.monotonic + hold_s
    # Before the request is durable: one COMMIT may tell a thousand sessions at once, and each would work this out then.
    about = _questions(state, statement, verdict)
    asked = yield from _request(state, request, statement, verdict, examination, hold_s)
    bound = examination.parameters
    try:
        types = [oid for oid, _ in bound.types] if bound else []
        measured = yield from preview(state, request, asked.leaf, about, types, sent, verdict.terms)
        yield from close(state)
    except (UpstreamLost, UpstreamProtocolError):
        yield from _withdraw(state, request, asked.leaf, Ending.UPSTREAM_LOST)
        raise
    (receipt,) = yield from write(measured)
    previewed = receipt.filed()
    rows = next((measured.body[name] for name in ("exact", "at_most", "estimate") if name in measured.body), None)
    # What cannot be held to a number may be more rows by the time that it runs, so here it is as many as there may be.
    judged = state.counted(statement, verdict, rows if statement.countable and isinstance(rows, int) else None)
    if judged.action is Action.REFUSE:
        yield from _withdraw(state, request, previewed.leaf, Ending.POLICY)
        most = rows_in_words(previewed) if statement.countable else "any number of rows"
        message = f"refused by pgnotary: {request} may change {most}"
        raise _Refused(message, detail=f"Rule {judged.rule}. Nothing was sent.")
    state.held += 1
    people = state.rules.roster().deciders
    state.notice(*held_notice(asked, previewed, verdict, people, state.who.person), request=request)
    state.actions.append(Announce(asked, previewed))
    return Held(request, asked, previewed.leaf, deadline, hold_s, examination.standing)


def _questions(state: SessionState, statement: Statement, verdict: Verdict) -> Questions | Asking:
    """Return what is asked about its one change, or about each of several."""
    if not verdict.terms.preview:
        return NO_QUESTIONS
    asked = asking(statement, state.catalog, state.scope) or questions(statement, state.catalog, state.scope)
    return asked.behind_renames() if state.block and state.block.renamed else asked


def _request(
    state: SessionState, request: str, statement: Statement, verdict: Verdict, examination: Examination, hold_s: float
) -> Generator[Step, Any, Filed]:
    """Record what is asked for."""
    who = state.who
    client = Client(who.session, who.user, who.person, who.application, who.client, examination.standing.reason)
    expires_at = state.now.wall + timedelta(seconds=hold_s)
    draft = request_draft(
        request,
        statement,
        verdict,
        state.rules.policy,
        client,
        examination.server,
        expires_at,
        examination.parameters,
    )
    try:
        (receipt,) = yield from write(draft, move=Move(request, None, State.HELD))
    except (LedgerUnavailable, NotCanonical) as error:
        yield from close(state)
        raise (
            error if isinstance(error, LedgerUnavailable) else TooLarge(f"the request cannot be recorded: {error}")
        ) from error
    return receipt.filed()


def _wait(state: SessionState, held: Held) -> Generator[Step, Any, Decided]:
    """Return the decision; raises _Ended or _SessionEnds if the hold ended without one."""
    remind_at = state.now.monotonic + state.rules.reminder_s
    while True:
        ending = yield from await_decision(held.request, held.deadline, remind_at)
        if isinstance(ending, Decided) and ending.missing:
            held = _approved_in_part(state, held, ending)
            continue
        if isinstance(ending, Decided):
            state.actions.append(Retire(held.request))
            return ending
        if ending is not Ending.REMINDER:
            break
        remind_at = state.now.monotonic + state.rules.reminder_s
        state.notice(*waiting_notice(held, state.now.monotonic), request=held.request)
    while not (yield from _withdraw(state, held.request, held.leaf, ending, _taker(state, held, ending))):
        decided = yield from _decided_first(state, held, ending)
        if not decided.missing:
            return decided
        held = _approved_in_part(state, held, decided)
    raise _ended(held, ending)


def _approved_in_part(state: SessionState, held: Held, decided: Decided) -> Held:
    """Tell of an approval that is not enough, and return the hold as it goes on behind it."""
    place = decided.receipt.entry.position.seq
    message = f"{held.request} approved {_said(decided)} (ledger #{place}); needs {decided.missing}"
    state.notice(message, request=held.request)
    return replace(held, leaf=decided.receipt.leaf)


def _withdraw(
    state: SessionState, request: str, after: bytes, ending: Ending | TakenBack, taker: Mapping[str, JSON] | None = None
) -> Generator[Step, Any, bool]:
    """Move the request out of the way; False if a decision was faster, which is then on its way to us."""
    if ending is Ending.EXPIRED:
        draft = Draft(EntryType.EXPIRED, {}, session=state.who.session, request=request, after=after)
        move = Move(request, State.HELD, State.EXPIRED)
    else:
        draft = Draft(
            EntryType.WITHDRAWN,
            taker or {"by": _cause(ending)},
            session=state.who.session,
            request=request,
            after=after,
        )
        move = Move(request, State.HELD, State.WITHDRAWN)
    try:
        yield from write(draft, move=move)
    except RequestMoved:
        return False
    except LedgerUnavailable:
        # Nothing may run and nothing can be recorded: the request stays open in the ledger, closed to decisions.
        pass
    state.actions.append(Retire(request))
    return True


def _cause(ending: Ending | TakenBack) -> str:
    """Return the word of the ledger for what ended a hold."""
    return REQUESTER if isinstance(ending, TakenBack) else ending.value


def _taker(state: SessionState, held: Held, ending: Ending | TakenBack) -> Mapping[str, JSON]:
    """Return what the ledger says of who takes a request back by a signed call; nothing of who does so in psql."""
    if not isinstance(ending, TakenBack):
        return {}
    return told(ending.call, ending.person, ending.key, held.asked.entry, state.rules.roster(), state.now.wall)


def _decided_first(state: SessionState, held: Held, ending: Ending | TakenBack) -> Generator[Step, Any, Decided]:
    """Return the decision that was faster than the deadline; what its requester took back stays undone all the same."""
    limit = state.now.monotonic + _DELIVERY_S
    found: Decided | TakenBack | Ending = ending
    while not isinstance(found, Decided):
        found = yield from await_decision(held.request, limit)
        if found is Ending.EXPIRED:
            state.actions.append(Retire(held.request))
            raise _ended(held, ending)
    if found.missing:
        return found  # It has not ended anything: what was ending it goes on.
    state.actions.append(Retire(held.request))
    if ending is Ending.EXPIRED or found.answer is Answer.DENY:
        return found
    why = f"withdrawn by {_cause(ending)} while it was being approved"
    yield from void(state, found, why, taker=_taker(state, held, ending))
    raise _ended(held, ending)


def _ended(held: Held, ending: Ending | TakenBack) -> _Ended | _SessionEnds:
    if ending in _ENDS_SESSION:
        return _SessionEnds(f"{held.request} withdrawn")
    if ending is Ending.EXPIRED:
        waited = f"{held.hold_s / 60:.0f} min" if held.hold_s >= 60 else f"{held.hold_s:.0f} s"
        error = _Ended(f"{held.request} expired: no decision in {waited}", hint="Run it again to ask again.")
    else:
        # Drivers know a cancelled statement by exactly these words.
        error = _Ended(
            "canceling statement due to user request",
            detail=f"{held.request} was withdrawn{_by(ending)}. Nothing was sent.",
        )
    error.sqlstate = "57014"
    return error


def _by(ending: Ending | TakenBack) -> str:
    return f" by {ending.person}" if isinstance(ending, TakenBack) else ""
