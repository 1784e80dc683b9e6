"""The client's own default_transaction_read_only: what it sets, and what it sees, while the real one stays on.

SET, RESET and SESSION CHARACTERISTICS enter, and statements that ask for the setting or for transaction_read_only;
answers leave as a server without us would give them. The client's value is kept by the server under another name, so
that a transaction which is rolled back takes it back, too. A statement that looks at it runs in a transaction, or in a
savepoint that is undone, in which the real setting has the client's value. Only what reads PostgreSQL's own catalogs
alone is run so, because it runs without the wall.
"""

from collections.abc import Generator
from typing import Any

from pgnotary.errors import StatementError, UpstreamProtocolError
from pgnotary.judge.catalog import Catalog
from pgnotary.judge.settings import READ_ONLY_BY_DEFAULT, SettingChange, parse_boolean
from pgnotary.judge.statement import Statement, StatementClass
from pgnotary.session.inject import put
from pgnotary.session.refuse import refuse
from pgnotary.session.sent import Sent, query_of
from pgnotary.session.state import IDLE, IN_BLOCK, SessionState
from pgnotary.session.steps import Answer, Flow, Step, relay, relay_batch
from pgnotary.session.told import Told
from pgnotary.wire import messages

__all__ = ["READ_ONLY_OF_CLIENT", "change_default", "looks_at_default", "relay_with_default", "tell_default"]

READ_ONLY_OF_CLIENT = "pgnotary.default_transaction_read_only"
_MENTIONS = (b"read_only", b"pg_settings", b"pg_show_all_settings")
_SHOWS = frozenset({READ_ONLY_BY_DEFAULT, "transaction_read_only", "all"})
_UNDO = ("ROLLBACK TO SAVEPOINT pgnotary_default", "RELEASE SAVEPOINT pgnotary_default")


class _NoBoolean(StatementError):
    sqlstate = "22023"


def change_default(state: SessionState, change: SettingChange, sent: Sent) -> Generator[Step, Any, Told]:
    """Answer a SET, RESET or SET SESSION CHARACTERISTICS of it."""
    value = None
    if change.values is not None:
        value = parse_boolean(change.values[0]) if len(change.values) == 1 else None
        if value is None:
            return (
                yield from refuse(state, _NoBoolean(f'parameter "{READ_ONLY_BY_DEFAULT}" requires a Boolean value'))
            )
    text = f"RESET {READ_ONLY_OF_CLIENT}"
    if value is not None:
        text = f"SET {'LOCAL' if change.local else 'SESSION'} {READ_ONLY_OF_CLIENT} = {_word(value)}"
    if sent.extended:
        answer = yield from _set_extended(state, text.encode(), sent)
    else:
        answer = yield from relay(query_of(text.encode()))
    if answer.error is None and (state.status == IN_BLOCK or not change.local):
        if state.block:
            state.block.rescoped = True
        tell_default(state, state.who.read_only_by_default if value is None else value)
    return Told.of(answer.error)


def _set_extended(state: SessionState, text: bytes, sent: Sent) -> Generator[Step, Any, Answer]:
    """Prepare what the client prepares, set what we have made of it, and answer as if its own had run."""
    prepares = sum(frame.type == b"P" for frame in sent.frames)
    if prepares:
        prepared = yield from relay_batch(sent.frames[:prepares])
        if prepared.error is not None:
            return prepared
    answer = yield from put(state, text)
    if answer.error is not None:
        state.tell(answer.raw_error)
        return answer
    done = [messages.done(frame.type, "RESET" if text.startswith(b"RESET") else "SET") for frame in sent.frames]
    state.tell(b"".join(done[max(sent.answered, prepares) :]))
    return answer


def tell_default(state: SessionState, value: bool) -> None:  # noqa: FBT001  # the value of a setting
    """Take over the client's value, and report it as the server reports a setting that has changed."""
    if value != state.read_only_by_default:
        state.read_only_by_default = value
        state.tell(messages.parameter_status(READ_ONLY_BY_DEFAULT, _word(value)))


def looks_at_default(statement: Statement, catalog: Catalog) -> bool:
    """Say whether a text shows the setting, and nothing that somebody else has made."""
    (part, *others) = statement.parts
    if others or not part.harmless:
        return False
    if part.kind is StatementClass.SHOW:
        return part.shows in _SHOWS
    if part.node != "SelectStmt" or not _may_mention(statement.text.lower()):
        return False
    names = part.names
    own = any(name[-1] in catalog.proven for name in names.functions if name)
    return not own and all(name[0] == "pg_catalog" for name in part.resolved)


def _may_mention(text: bytes) -> bool:
    """Say whether a text names one of the settings, or takes the name of a setting as a parameter."""
    return any(word in text for word in _MENTIONS) or (b"current_setting" in text and b"$" in text)


def relay_with_default(state: SessionState, sent: Sent) -> Generator[Step, Any, Answer]:
    """Relay a statement that sees the client's values of both settings."""
    value = f"SET LOCAL {READ_ONLY_BY_DEFAULT} = {_word(state.read_only_by_default)}"
    state.pin_moves = True
    if state.status == IDLE:
        mode = "READ ONLY" if state.is_read_only else "READ WRITE"
        yield from _ours(state, "BEGIN", f"SET TRANSACTION {mode}", value)
        answer = yield from relay(sent)
        yield from _ours(state, "ROLLBACK")
    else:
        yield from _ours(state, "SAVEPOINT pgnotary_default", value)
        answer = yield from relay(sent)
        if answer.error is None:
            yield from _ours(state, *_UNDO)
    state.pin_moves = False
    return answer


def _ours(state: SessionState, *texts: str) -> Flow:
    answer = yield from put(state, *(text.encode() for text in texts))
    if answer.error is not None:
        raise UpstreamProtocolError(f"the client's {READ_ONLY_BY_DEFAULT} could not be shown: {answer.error}")


def _word(value: bool) -> str:  # noqa: FBT001  # the value of a setting
    return "on" if value else "off"
