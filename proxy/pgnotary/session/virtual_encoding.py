"""Changing and telling the client's own client_encoding, while the server's stays at UTF8.

A SET or RESET of it enters, or a SELECT that does nothing but call set_config() for it; the answer leaves that a server
without us would give. The server prepares such a text and never runs it. A statement that tells the setting runs as it
came, and the value in its answer is the client's own. What would tell it in any other way is refused while it is
another one than the server's, because the answer would be untrue.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

from pgnotary.errors import NotSupported, StatementError
from pgnotary.judge.settings import Ruling, SettingChange, keeps_utf8, ruling
from pgnotary.judge.statement import Part, Statement, StatementClass
from pgnotary.session.inject import inject
from pgnotary.session.refuse import refuse
from pgnotary.session.sent import Sent, query_of
from pgnotary.session.state import IDLE, SessionState
from pgnotary.session.steps import Keep, Relay, Step, relay, relay_batch
from pgnotary.session.told import Told
from pgnotary.session.writing import open_own_block
from pgnotary.wire import messages
from pgnotary.wire.encodings import CLIENT_ENCODING, Encoding, encoding_of
from pgnotary.wire.messages import Bound

__all__ = ["change_encoding", "changes_encoding", "misses_encoding", "note_resets", "tells_encoding", "with_encoding"]

_LOCAL_OF_OURS = b"SET LOCAL client_encoding = 'UTF8'"
_TELL = frozenset({"current_setting", "set_config", "pg_client_encoding", "pg_show_all_settings"})
_RESET_ALL = SettingChange("", None)
_OF_TEXTS = frozenset({0, 25, 705, 1043})
"""The types that set_config() takes its value of: not said, text, unknown, varchar."""


class _TooMany(StatementError):
    sqlstate = "22023"


def changes_encoding(statement: Statement) -> bool:
    """Say whether a text is one change of the client's client_encoding."""
    (first, *others) = statement.parts
    return not others and first.setting is not None and first.setting.name == CLIENT_ENCODING


def change_encoding(state: SessionState, change: SettingChange, sent: Sent) -> Generator[Step, Any, Told]:
    """Answer a change of it; whatever is wrong with it fails the transaction, as it would on the server."""
    warns = change.local and not change.column and state.status == IDLE
    try:
        if sent.extended:
            return (yield from _in_batch(state, change, sent, warns=warns))
        if warns:
            yield from relay(query_of(_LOCAL_OF_OURS), keep=Keep.FOREVER)
        if change.column:
            state.tell(messages.one_text_described(change.column, 0))  # Also before an error.
        state.tell(b"".join(_ran(state, change, None, 0)))
    except StatementError as error:
        return (yield from refuse(state, error))
    return Told.RESULT


def _in_batch(state: SessionState, change: SettingChange, sent: Sent, *, warns: bool) -> Generator[Step, Any, Told]:
    """Have prepared what the client prepares, and answer the other messages as if they had run.

    `warns`: the server says of SET LOCAL that it is in no block, if the client wants to hear such things.
    """
    prepares = sum(frame.type == b"P" for frame in sent.frames)
    if prepares:
        prepared = yield from relay_batch(sent.frames[:prepares], answered=min(sent.answered, prepares))
        if prepared.error is not None:
            return Told.ERROR
    bounds = iter(sent.bounds)
    bound: Bound | None = None
    for at, frame in enumerate(sent.frames[prepares:], prepares):
        match frame.type:
            case b"B":
                bound = next(bounds)
                answer = [messages.done(b"B", "")]
            case b"D" if change.column:
                answer = [messages.one_text_described(change.column, _format(bound))]
            case b"E":
                if warns:
                    yield Relay(inject(_LOCAL_OF_OURS), Keep.FOREVER)
                    warns = False
                if sent.followed and state.status == IDLE:
                    yield from open_own_block(state)  # What fails behind it in the batch takes it back.
                if change.column and messages.execute_limit(frame.body):
                    raise NotSupported(f"the rows of a change of {CLIENT_ENCODING} cannot be asked for one by one")
                value_type = sent.types[change.parameter - 1] if 0 < change.parameter <= len(sent.types) else 0
                answer = _ran(state, change, bound, value_type)
            case kind:
                answer = [messages.done(kind, "")]
        if at >= sent.answered:
            state.tell(b"".join(answer))
    return Told.RESULT


def _ran(state: SessionState, change: SettingChange, bound: Bound | None, value_type: int) -> list[bytes]:
    """Do what a change says, and return what its execution is answered with."""
    wanted = _wanted(change, bound, value_type)
    state.encoding.change(wanted, local=change.local)
    if not change.column:
        return [messages.done(b"E", change.tag)]
    shown = wanted or state.encoding.default
    return [messages.row_of([shown.shown.encode()]), messages.done(b"E", "SELECT 1")]


def _wanted(change: SettingChange, bound: Bound | None, value_type: int) -> Encoding | None:
    """Return the encoding that is to be in force, None for the default; raises what PostgreSQL would answer."""
    if change.parameter:
        if bound is None or change.parameter > len(bound.values) or value_type not in _OF_TEXTS:
            raise NotSupported(f"the value of {CLIENT_ENCODING} must be bound as a text")
        value = bound.values[change.parameter - 1]
        return None if value is None else encoding_of(value.decode(errors="replace"))
    if change.values is None:
        return None
    if len(change.values) != 1:
        raise _TooMany(f"SET {CLIENT_ENCODING} takes only one argument")
    return encoding_of(change.values[0])


def _format(bound: Bound | None) -> int:
    return bound.results[0] if bound is not None and bound.results else 0


def note_resets(state: SessionState, parts: Sequence[Part], tags: Sequence[str]) -> None:
    """Take over that what has run without an error was, among others, RESET ALL or DISCARD ALL."""
    if "DISCARD ALL" in tags or any(part.setting == _RESET_ALL for part in parts):
        state.encoding.change(None, local=False)


# --- telling it -------------------------------------------------------------------------------------------------------


def tells_encoding(state: SessionState, statement: Statement) -> bool:
    """Say whether a text tells client_encoding, and what it tells must not be the server's."""
    return not state.encoding.is_utf8 and (_tells(statement) or _may_tell(statement))


def misses_encoding(state: SessionState, statement: Statement) -> NotSupported | None:
    """Return why a text is refused that tells client_encoding, or changes it, in a way that we cannot, or None."""
    if state.encoding.is_utf8:
        return None
    several = len(statement.parts) > 1
    if several and any(part.setting is not None and keeps_utf8(part.setting) for part in statement.parts):
        return NotSupported(f"{CLIENT_ENCODING} is changed in a message of its own", detail="Nothing was sent.")
    if _may_tell(statement) and not _tells(statement):
        return NotSupported(
            f"the client's {CLIENT_ENCODING} cannot be told in this way",
            detail=f"It is {state.encoding.value.shown}, and the server's is UTF8. Nothing was sent.",
            hint=f"SHOW {CLIENT_ENCODING}, or SELECT current_setting('{CLIENT_ENCODING}') alone.",
        )
    return None


def with_encoding(state: SessionState, statement: Statement, sent: Sent) -> Sent:
    """Return what is sent, with the value that its answer shall tell if it tells client_encoding."""
    if state.encoding.is_utf8 or not _tells(statement):
        return sent
    by_name = b"pg_client_encoding" in statement.text.lower()
    value = state.encoding.value
    return replace(sent, shown=(value.name if by_name else value.shown).encode())


def _tells(statement: Statement) -> bool:
    """Say whether a text tells it in a way in which we can tell it instead."""
    (first, *others) = statement.parts
    shows = first.kind is StatementClass.SHOW and first.shows in (CLIENT_ENCODING, "all")
    return not others and (shows or first.tells_encoding)


def _may_tell(statement: Statement) -> bool:
    """Say whether a text calls what may tell it, and names it, or does not say what it names."""
    text = statement.text.lower()
    named = any(word in text for word in (b"client_encoding", b"pg_settings", b"pg_show_all_settings", b"$", b"||"))
    return named and any(_may_tell_part(part) for part in statement.parts)


def _may_tell_part(part: Part) -> bool:
    if part.setting is not None and ruling(part.setting) is Ruling.VIRTUAL:
        return False
    if part.kind is StatementClass.SHOW:
        return part.shows in (CLIENT_ENCODING, "all")
    calls = any(name[-1] in _TELL for name in part.names.functions if name)
    return calls or any(name[-1] == "pg_settings" for name in part.names.relations if name)
