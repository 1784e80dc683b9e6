"""The judge as these tests see it, all in one place: what it asks of a server, and its judgement of a text.

Who changes the judge changes this file, and nothing else here.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from tests.judge.asking import catalog_by
from tests.regress.relay import Answer

from pgnotary.judge.catalog import BUILT_IN
from pgnotary.judge.meaning import weigh, weigh_run
from pgnotary.judge.policy import verdict
from pgnotary.judge.reading import read
from pgnotary.judge.rules import PROFILES, Action, policy_of
from pgnotary.judge.scope import UNSCOPED
from pgnotary.judge.scoped import SCOPE_QUESTIONS, read_scope
from pgnotary.judge.statement import Statement

__all__ = ["Ask", "Judge", "Judgement", "OurJudge"]

Ask = Callable[[bytes], Answer]


@dataclass(frozen=True)
class Judgement:
    """What becomes of a text."""

    harmless: bool
    """It is forwarded, and every part of it is said to change nothing."""
    held: bool
    """It is not forwarded."""
    reason: str


class Judge(Protocol):
    """Judges the texts of one connection."""

    def renew(self, ask: Ask) -> None:
        """Ask the server for what may have changed since the last time: its catalog, or where the session stands."""
        ...

    def judge(self, text: bytes) -> Judgement:
        """Judge a text by what was last asked; raises InvalidText if it is not UTF-8."""
        ...


_POLICY = policy_of(PROFILES["default"])


class _Unanswered(Exception):
    """The server would not say."""


class OurJudge:
    """pgnotary's judge under the profile `default`."""

    def __init__(self) -> None:
        self._catalog, self._scope = BUILT_IN, UNSCOPED
        self._ask: Ask | None = None

    def renew(self, ask: Ask) -> None:
        """Ask for the catalog and the scope."""
        self._ask = ask

        def put(question: str) -> str:
            answer = ask(question.encode())
            if answer.sqlstate:
                raise _Unanswered
            return str(answer.rows[0][0])

        # Not while a script has taken its own rights away, or the time to answer.
        with suppress(_Unanswered):
            self._catalog = catalog_by(put)
            where, temporary = (ask(question.encode()) for question in SCOPE_QUESTIONS)
            if not where.sqlstate and not temporary.sqlstate:
                path, role, _ = where.rows[0]
                self._scope = read_scope(path or "[]", role or "", temporary.rows[0][0])

    def judge(self, text: bytes) -> Judgement:
        """Judge a text."""
        statement = weigh(read(text), self._catalog, self._scope)
        if len(statement.parts) > 1 and any(part.rescopes for part in statement.parts):
            # As a session does: what a later part names is looked up where an earlier one says.
            statement = weigh(read(text), self._catalog, replace(self._scope, path=None))
        names = {each for part in statement.parts for each in part.prepared} if len(statement.parts) == 1 else set()
        texts = {each: found for each in names if (found := self._prepared(*each)) is not None}
        parts = tuple(weigh_run(part, texts) if part.prepared else part for part in statement.parts)
        given = verdict(Statement(statement.text, parts), _POLICY)
        forwarded = given.action is Action.FORWARD
        return Judgement(forwarded and all(part.harmless for part in parts), not forwarded, given.reason)

    def _prepared(self, name: str, is_cursor: bool) -> Statement | None:
        relation = "pg_catalog.pg_cursors" if is_cursor else "pg_catalog.pg_prepared_statements"
        quoted = name.replace("'", "''")
        question = f"SELECT statement FROM {relation} WHERE name OPERATOR(pg_catalog.=) '{quoted}'"
        answer = self._ask(question.encode()) if self._ask else None
        if answer is None or answer.sqlstate or not answer.rows:
            return None
        return weigh(read((answer.rows[0][0] or "").encode()), self._catalog, self._scope)
