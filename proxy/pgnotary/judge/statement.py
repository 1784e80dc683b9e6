"""What a text says: its parts, each with a class, what it touches, and any doubt that it is harmless.

`Statement` is the one value that policy, preview, records and display share. Its texts are byte offsets into the
original bytes, which are never rewritten. An empty `doubt` is a proof: both readers read the part and every piece of
it is known to be harmless.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pgnotary.judge.catalog import BUILT_IN, Catalog
from pgnotary.judge.settings import SettingChange

__all__ = ["Control", "Part", "Statement", "StatementClass"]


class StatementClass(StrEnum):
    """The kinds of statement that policy speaks of."""

    SELECT = "select"
    SHOW = "show"
    EXPLAIN = "explain"
    TRANSACTION = "transaction"
    SESSION = "session"
    COPY_OUT = "copy-out"
    EMPTY = "empty"
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    MERGE = "merge"
    TRUNCATE = "truncate"
    DROP = "drop"
    ALTER = "alter"
    CREATE = "create"
    GRANT = "grant"
    CALL = "call"
    DO = "do"
    COPY_IN = "copy-in"
    LOCK = "lock"
    PREPARE = "prepare"
    EXECUTE = "execute"
    CURSOR = "cursor"
    LISTEN = "listen"
    MAINTENANCE = "maintenance"
    UNKNOWN = "unknown"


class Control(StrEnum):
    """Transaction control, by what it does to the block."""

    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"
    RELEASE = "release"
    ROLLBACK_TO = "rollback-to"
    SET = "set"
    TWO_PHASE = "two-phase"


@dataclass(frozen=True, slots=True)
class Part:
    """One statement of a text."""

    kind: StatementClass
    node: str
    """The root's type in PostgreSQL's grammar, e.g. DeleteStmt; "" for a text that could not be read."""
    start: int
    end: int
    doubt: str = ""
    """Why it is not known to be harmless; empty if it is."""
    doubt_about_reader: bool = False
    """The only doubt is that the second reader cannot read it: policy may accept that."""
    written: tuple[str, ...] = ()
    """Relations or objects it names as its target, as spelled."""
    functions: tuple[str, ...] = ()
    """What it calls, or may call by selecting an attribute, as spelled."""
    countable: bool = False
    """Its command tag counts the rows that it changes, beside those of triggers, rules and cascades.

    Not if it calls what nobody has read, which may change any number.
    """
    planning_doubt: str = ""
    """Of an INSERT, UPDATE, DELETE or MERGE: why not even planning it is known to be harmless."""
    control: Control | None = None
    read_only_block: bool = False
    """A BEGIN that asks for READ ONLY itself."""
    savepoint: str = ""
    """The name in SAVEPOINT, RELEASE and ROLLBACK TO."""
    prepared: tuple[tuple[str, bool], ...] = ()
    """The names of what EXECUTE or FETCH runs, each with whether it is a cursor."""
    chained: bool = False
    """COMMIT or ROLLBACK AND CHAIN: another block follows at once."""
    setting: SettingChange | None = None
    outside_block_only: bool = False
    """PostgreSQL runs it only outside a transaction block."""
    wants_copy_data: bool = False
    """COPY FROM STDIN: the client's data would have to follow."""
    tree: Mapping[str, Any] | None = None
    """Of an INSERT, UPDATE, DELETE or MERGE: the fields of the root as the grammar gives them, to build a count from.

    A tree takes 500 times the memory of its text.
    """

    @property
    def harmless(self) -> bool:
        """Whether every piece of it is known to change nothing."""
        return not self.doubt


@dataclass(frozen=True, slots=True)
class Statement:
    """A text as one client message carried it."""

    text: bytes
    parts: tuple[Part, ...]
    catalog: Catalog = BUILT_IN
    """Of the database in which it was read."""

    @property
    def unreadable(self) -> bool:
        """Whether nothing in it could be read with certainty."""
        return self.parts[0].kind is StatementClass.UNKNOWN and not self.parts[0].node

    @property
    def countable(self) -> bool:
        """Whether command tags count the rows that its doubtful parts change."""
        return all(part.countable for part in self.parts if part.doubt)

    @property
    def weightiest(self) -> Part:
        """The part that decides: the first that may change something, else the first unread one, else the first."""
        doubtful = [part for part in self.parts if part.doubt]
        return next((part for part in doubtful if not part.doubt_about_reader), [*doubtful, self.parts[0]][0])

    def slice(self, part: Part) -> bytes:
        """Return a part's own bytes."""
        return self.text[part.start : part.end]
