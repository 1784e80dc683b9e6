"""A text that nobody here can read, and that is refused for the word it begins with: what the server says of it.

The text enters; the server's own error leaves, or nothing if it has none, and then the text is refused. So who mistypes
a DECLARE or a COMMIT is told what PostgreSQL tells. The server is asked by a Parse under a name of ours, which runs
nothing; its error fails an open block, as it would have.
"""

from collections.abc import Generator, Sequence
from typing import Any

from pgnotary.judge.policy import Verdict
from pgnotary.judge.rules import Action
from pgnotary.judge.statement import Statement
from pgnotary.session.examine import EXAMINED, Rejection, analysing_runs
from pgnotary.session.state import SessionState
from pgnotary.session.steps import Step, ask
from pgnotary.wire.messages import SYNC, close_statement, parse

__all__ = ["rejected"]


def rejected(
    state: SessionState, statement: Statement, verdict: Verdict, types: Sequence[int] = ()
) -> Generator[Step, Any, Rejection | None]:
    """Return the server's error about a text that is refused because it cannot be read; None if it has none.

    `types`: the oids that a Parse gives its parameters.
    """
    refused = statement.unreadable and verdict.action is Action.REFUSE
    if not refused or state.ledger_down is not None or analysing_runs(state, statement.parts[0]):
        return None
    answer = yield from ask(parse(EXAMINED, statement.text, types) + close_statement(EXAMINED) + SYNC)
    # A Query may hold several statements where a Parse may not: that is no error of the text.
    if answer.error is None or answer.error.routine == "exec_parse_message":
        return None
    return Rejection(answer.error.sqlstate or "XX000", answer.raw_error)
