"""The one place where the fuzz touches the judge: adapt it here when the judge changes.

A text and what is known of a database enter; a `Judged` leaves, with nothing of the judge's own types in it. What the
judge may raise is `DOCUMENTED`; all else is a finding.
"""

from dataclasses import dataclass

import psycopg
from tests.judge.asking import catalog_of

from pgnotary.errors import InvalidText
from pgnotary.judge.catalog import BUILT_IN, Catalog
from pgnotary.judge.harmless_functions import HARMLESS
from pgnotary.judge.meaning import weigh
from pgnotary.judge.policy import verdict
from pgnotary.judge.reading import read
from pgnotary.judge.rules import PROFILES, Action, policy_of
from pgnotary.judge.settings import Ruling, SettingChange, ruling
from pgnotary.judge.statement import Part

__all__ = ["DOCUMENTED", "HARMLESS", "KNOWN_WITHOUT_A_DATABASE", "Judged", "Known", "is_free", "judge"]
__all__ += ["known_of"]

DOCUMENTED = (InvalidText,)
"""What the judge may raise, by its docstring."""

Known = Catalog
"""What the judge knows of one database."""

KNOWN_WITHOUT_A_DATABASE: Known = BUILT_IN

# Of the two profiles the one that shall never forward anything that has an effect, whatever `default` learns.
_POLICY = policy_of(PROFILES["strict"])


@dataclass(frozen=True, slots=True)
class Judged:
    """What the judge says about a text, as far as the fuzz wants to know."""

    forwarded: bool
    parts: tuple[tuple[int, int, str], ...]
    """Where each statement stands, in bytes, and the type of its root; "" for an empty or unread text."""
    controls_transactions: bool
    """Or what it leaves is the session's own: a prepared statement, a cursor, the client's own read-only default."""
    plans_a_write: bool
    """EXPLAIN of a write, which is planned under the lock that the write would take."""
    reason: str


_KEPT_BY_THE_SESSION = frozenset({"PrepareStmt", "DeallocateStmt", "DeclareCursorStmt", "ClosePortalStmt"})


def _is_virtual(part: Part) -> bool:
    return part.setting is not None and ruling(part.setting) is Ruling.VIRTUAL


def judge(text: bytes, known: Known = KNOWN_WITHOUT_A_DATABASE) -> Judged:
    """Return what becomes of a text in a database of which that is known."""
    statement = weigh(read(text), known)
    answer = verdict(statement, _POLICY)
    return Judged(
        forwarded=answer.action is Action.FORWARD,
        parts=tuple((part.start, part.end, part.node) for part in statement.parts),
        controls_transactions=any(
            part.control or part.node in _KEPT_BY_THE_SESSION or _is_virtual(part) for part in statement.parts
        ),
        plans_a_write=any(part.node == "ExplainStmt" and part.written for part in statement.parts),
        reason=answer.reason,
    )


def known_of(connection: psycopg.Connection[tuple[object, ...]]) -> Known:
    """Return what the judge asks of a database before it judges texts for it."""
    return catalog_of(connection)


def is_free(setting: str, value: str) -> bool:
    """Say whether the judge lets everybody change that setting to that value."""
    return ruling(SettingChange(setting.lower(), (value,))) is Ruling.FREE
