"""What was forwarded in a client's own block, and is undone with it or to a savepoint: told in a note of its own.

What is forwarded is recorded within a second, with the rows that the server told, and nobody waits for its block to
end. So where the block undoes it, the record says that, too: how many statements, by which text. Blocks of ours are
noted when they have ended.
"""

from collections.abc import Sequence

from pgnotary.judge.statement import Control, Part, StatementClass
from pgnotary.session.block import Block
from pgnotary.session.events import Now
from pgnotary.session.sent import Sent
from pgnotary.session.state import SessionState
from pgnotary.session.steps import Answer

__all__ = ["note_undone", "number_undone", "remains_to_be_undone"]

UNKNOWN = "08007"
"""transaction_resolution_unknown."""

_LEAVES_NOTHING = frozenset(
    {
        StatementClass.SELECT,
        StatementClass.SHOW,
        StatementClass.EXPLAIN,
        StatementClass.TRANSACTION,
        StatementClass.SESSION,
        StatementClass.COPY_OUT,
        StatementClass.EMPTY,
        StatementClass.PREPARE,
        StatementClass.CURSOR,
        StatementClass.LISTEN,
        StatementClass.SEQUENCE,
        StatementClass.LOCK,
    }
)
_READ_TAGS = ("SELECT", "FETCH", "MOVE", "SHOW")
_KEEPS = {Control.COMMIT: ["COMMIT"], Control.PREPARE: ["PREPARE TRANSACTION"]}


def remains_to_be_undone(kind: StatementClass, tags: Sequence[str]) -> bool:
    """Say whether one that ran without an error may have left something that its block can undo."""
    read = bool(tags) and all(tag.startswith(_READ_TAGS) for tag in tags)
    return kind not in _LEAVES_NOTHING and not read


def number_undone(state: SessionState, block: Block | None, before: int, part: Part, answer: Answer) -> int:
    """Return how many forwarded statements have been undone; `before`: how many had been noted in the block."""
    if block is None:
        return 0
    if state.block is block:
        return before - block.noted
    kept = answer.error is None and answer.tags == _KEEPS.get(part.control or Control.ROLLBACK)
    return 0 if kept else before


def note_undone(state: SessionState, sent: Sent, started: Now, number: int, tags: Sequence[str], sqlstate: str) -> None:
    """Have it noted that so many forwarded statements were undone, or, if its SQLSTATE says so, may have been."""
    if not number:
        return
    state.forwarded += 1
    took_us = int((state.now.monotonic - started.monotonic) * 1_000_000)
    statements = f"{number} statement{'' if number == 1 else 's'} forwarded before it in its block"
    why = f"whether it undoes {statements} is not known" if sqlstate == UNKNOWN else f"undoes {statements}"
    state.log.add(sent.text, StatementClass.TRANSACTION, started.wall, took_us, tags, sqlstate, why=why)
