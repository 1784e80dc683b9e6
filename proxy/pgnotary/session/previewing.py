"""The `preview` entry of a held text: what was measured of its one change, or of each of several, and their sum.

Questions enter, one `Draft` leaves. All questions share one budget of time, and all that is told has to fit in one
entry: of what was left out for lack of either it is said that it was, never that there is none. The rows of all samples
are one sealed value, those of one statement behind those of another.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from pgnotary.judge.rules import Terms
from pgnotary.ledger.canonical import JSON, MAX_INT, encode, timestamp
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.preview import Questions
from pgnotary.request.sample import Becomes, Sample, joined_rows, opened_rows, sealed_rows, without
from pgnotary.request.texts import Asked, Asking, Known, added_up, after, is_last_word
from pgnotary.session.figures import Figures
from pgnotary.session.measuring import measure
from pgnotary.session.sent import Sent
from pgnotary.session.state import SessionState
from pgnotary.session.steps import Step

__all__ = ["preview"]

# An entry holds 65,535 bytes, and has some of its own beside the body.
_MAX_BODY_BYTES = 60_000
_NO_TIME = "no time was left"
_FIGURES = ("exact", "at_most", "estimate")
_KEPT = ("place", "obtained", "caveats", "took_us")


@dataclass(slots=True)
class _Told:
    """What is told of one statement."""

    body: dict[str, JSON]
    rows: bytes = b""
    """Of its sample."""


def preview(
    state: SessionState,
    request: str,
    follows: bytes,
    asked: Questions | Asking,
    types: Sequence[int],
    sent: Sent,
    terms: Terms,
) -> Generator[Step, Any, Draft]:
    """Ask what may be asked and return the `preview` entry, which follows the `request` with that leaf.

    `terms` say what may be shown of the rows.
    """
    started = state.now.monotonic
    if isinstance(asked, Questions):
        found = Figures(state, types, sent, started)
        yield from measure(found, asked, terms)
        told = _told(found)
        _fit([told])
    else:
        told = yield from _text(state, asked, types, sent, terms)
    told.body["took_us"] = int((state.now.monotonic - started) * 1_000_000)
    sealed = {"sample": told.rows} if told.rows else {}
    return Draft(EntryType.PREVIEW, told.body, session=state.who.session, request=request, after=follows, sealed=sealed)


def _told(found: Figures, share: int = 1) -> _Told:
    """Return what was found, in so much of the room as is its share."""
    return _Told(found.told(share), found.sealed.get("sample", b""))


def _text(
    state: SessionState, asking: Asking, types: Sequence[int], sent: Sent, terms: Terms
) -> Generator[Step, Any, _Told]:
    started, asked = state.now.monotonic, 0
    told: list[_Told] = []
    known: list[Known] = []
    for each in asking.statements:
        found = Figures(state, types, sent, started, asked=asked)
        yield from _statement(found, each, known, terms)
        asked = found.asked
        one = _told(found, len(asking.statements))
        one.body = {"place": each.place} | one.body | {"took_us": int((state.now.monotonic - found.began) * 1_000_000)}
        told.append(one)
    for place, one in enumerate(told):
        if not is_last_word(known, place, more=asking.more):
            _leave_out_new_values(one)
    _fit(told)
    return _joined(state, told, asking.more)


def _statement(found: Figures, asked: Asked, known: list[Known], terms: Terms) -> Generator[Step, Any, None]:
    """Measure one statement of a text; what is known of it is added to what is known of those before it."""
    if found.is_late:
        found.why.append(_NO_TIME)
        known.append(Known(asked, None))
        return
    facts = yield from measure(found, asked.questions, terms, lambda facts: after(known, asked, facts))
    known.append(Known(asked, facts))


def _leave_out_new_values(told: _Told) -> None:
    """Say of each column that is set that it is not known what it becomes: a later statement may decide it."""
    sample = msgspec.convert(told.body.get("sample", {}), Sample)
    untold = {column.name for column in sample.columns if column.becomes in (Becomes.SHOWN, Becomes.DEFAULT)}
    if untold:
        shown, rows = without(sample, opened_rows(sample, told.rows), untold)
        told.body["sample"], told.rows = msgspec.to_builtins(shown), sealed_rows(rows)


def _fit(told: Sequence[_Told]) -> None:
    """Leave out samples, then all but the numbers, of the last statements first, until all fit in an entry."""
    for each in reversed(told):
        if _size(told) > _MAX_BODY_BYTES and "sample" in each.body:
            each.body["sample"] = {"why": "no room was left for it"}
            each.rows = b""
    for each in reversed(told):
        if _size(told) > _MAX_BODY_BYTES:
            why = f"no room was left for all of it; {each.body.get('why', '')}".removesuffix("; ")[:200]
            kept = {name: each.body[name] for name in (*_FIGURES, *_KEPT) if name in each.body}
            each.body = kept | {"status": "partly" if kept.keys() & set(_FIGURES) else "unavailable", "why": why}
            each.rows = b""


def _size(told: Sequence[_Told]) -> int:
    return sum(len(encode(each.body)) for each in told)


def _joined(state: SessionState, told: Sequence[_Told], more: int) -> _Told:
    """Return the sum over all statements, and each of them."""
    body: dict[str, JSON] = {"statements": [each.body for each in told]}
    numbers = [{name: rows for name in _FIGURES if isinstance(rows := each.body.get(name), int)} for each in told]
    summed = None if more else added_up(numbers)
    if summed is not None:
        figure, rows = summed
        body[figure] = min(rows, MAX_INT)
        body["obtained"] = {figure: {"at": timestamp(state.now.wall), "took_us": 0, "how": "sum"}}
    if more:
        body["statements_more"] = more
    statuses = {each.body["status"] for each in told} | ({"unavailable"} if more else set())
    body["status"] = str(statuses.pop()) if len(statuses) == 1 else "partly"
    return _Told(body, joined_rows([each.rows for each in told if each.rows]))
