"""What a text says: its parts, each with a class, what it touches, and what it may do beyond a plain read.

`Statement` is the one value that policy, preview, records and display share. Its texts are byte offsets into the
original bytes, which are never rewritten. A part without findings is a proof: both readers read it, and every piece of
it is known to be harmless. What a name means is for the database's catalog to say: a part carries its `Names`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from pgnotary.judge.settings import SettingChange

__all__ = [
    "ONLY_A_NAME",
    "Control",
    "Finding",
    "Name",
    "Names",
    "Part",
    "Qualifier",
    "Statement",
    "StatementClass",
    "frozen",
]

_T = TypeVar("_T")
_EMPTY: frozenset[Any] = frozenset()

Name = tuple[str, ...]
"""One to three names, outermost first, as PostgreSQL folds them: ("public", "orders")."""


def frozen(found: Iterable[_T]) -> frozenset[_T]:
    """Return a set of these; all that are empty are one, or each would take 216 bytes."""
    return frozenset(found) or _EMPTY


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
    SEQUENCE = "sequence"
    MAINTENANCE = "maintenance"
    TWO_PHASE = "two-phase"
    """COMMIT PREPARED and ROLLBACK PREPARED; PREPARE TRANSACTION is transaction control."""
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
    PREPARE = "prepare-transaction"
    """PREPARE TRANSACTION: what is prepared outlives the session, and is committed or rolled back by its name."""


class Qualifier(StrEnum):
    """What a part may do that a plain read does not; a rule that forwards must name each that it lets through."""

    WRITE = "write"
    """It changes rows, objects or the server by what it is."""
    UNCONDITIONAL = "unconditional"
    """An UPDATE or DELETE without WHERE."""
    CASCADE = "cascade"
    CODE = "code"
    """What it writes to runs code of its own (a trigger, a rule, a default, a check), or is no plain table."""
    LOCKING = "locking"
    """FOR UPDATE, FOR SHARE and their like."""
    SEQUENCE = "sequence"
    """nextval()."""
    ADVISORY_LOCK = "advisory-lock"
    TEMP = "temp"
    """It changes nothing but the session's own temporary relations."""
    ACCESS_SHARE = "access-share"
    """LOCK TABLE ... IN ACCESS SHARE MODE: what every read takes, too."""
    NOTIFY = "notify"
    """LISTEN, NOTIFY and pg_notify()."""
    ROLE = "role"
    """SET ROLE and SET SESSION AUTHORIZATION."""
    SESSION = "session"
    """A free setting, changed by set_config()."""
    PINNED = "pinned"
    """What pgnotary keeps as it is."""
    SETTING = "setting"
    """A setting that is not on the list of free ones."""
    WITH_HOLD = "with-hold"
    """A cursor WITH HOLD over what is not proven: COMMIT would run it."""
    FUNCTION = "function"
    """It calls what nobody has read: in so many words, or by an operator, a cast, a type, a view."""
    FOREIGN = "foreign"
    """It reads from another server, which no read-only transaction of ours stops from writing."""
    UNKNOWN_NAME = "unknown-name"
    """It names a relation that the catalog does not know."""
    SINGLE_READER = "single-reader"
    """PostgreSQL's grammar reads it as harmless, the second reader cannot read it."""
    DISAGREEMENT = "disagreement"
    """The second reader sees something else in it."""
    UNREAD = "unread"
    """Nobody can read it with certainty."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a part may do, and where that is seen: `reason` follows on "it", or is a sentence of its own."""

    qualifier: Qualifier
    reason: str
    judge: str = "grammar"
    """Who saw it: gate, grammar, second reader, catalog, server."""


ONLY_A_NAME = Finding(Qualifier.UNREAD, "runs what has only a name here")
"""Of EXECUTE and FETCH, until somebody looks behind the name."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a part names, for a catalog to say what that reaches."""

    relations: frozenset[Name] = frozenset()
    """What it reads, or may read: the names of WITH queries are among them."""
    queries: frozenset[str] = frozenset()
    """The names of its WITH queries."""
    functions: frozenset[Name] = frozenset()
    attributes: frozenset[str] = frozenset()
    """What it selects with a dot, which may be a call."""
    operators: frozenset[Name] = frozenset()
    types: frozenset[Name] = frozenset()
    collations: frozenset[Name] = frozenset()
    constructs: frozenset[str] = frozenset()
    """Syntax that an older server takes for a call of a function of that name."""
    typed_by_text: bool = False
    """It makes values of types that a text or an oid names (array_in, pg_input_is_valid and their like)."""
    of_any_type: bool = False
    """It reads what PostgreSQL keeps as arrays of any type: samples of columns, and defaults."""
    makes_json: bool = False
    """It makes JSON of values, by casts of their types if they have such."""
    unifies: bool = False
    """It may make a literal a value of a type that only a column or a function has (arrays, whole rows, lag...)."""


@dataclass(frozen=True, slots=True)
class Part:
    """One statement of a text."""

    kind: StatementClass
    node: str
    """The root's type in PostgreSQL's grammar, e.g. DeleteStmt; "" for a text that could not be read."""
    start: int
    end: int
    findings: tuple[Finding, ...] = ()
    """What it may do beyond a plain read; empty if it is known to be harmless."""
    names: Names = field(default=Names())
    written: tuple[str, ...] = ()
    """Relations or objects it names as its target, as spelled."""
    targets: tuple[Name, ...] = ()
    """The relations whose rows it changes, or which it makes, by name."""
    others: tuple[Name, ...] = ()
    """The views, indexes and the like that it drops, the relations whose trigger, policy or rule it drops, those that
    it comments, labels, or gives to an extension, and those that own a sequence from then on.
    """
    makes: tuple[Name, ...] = ()
    """The tables that it makes: by CREATE TABLE, CREATE TABLE AS, SELECT INTO."""
    resolved: tuple[Name, ...] = ()
    """All relations that it names, by their whole names where the catalog knows them."""
    resolved_targets: tuple[Name, ...] = ()
    """Those whose rows it changes; of EXECUTE, those that what it runs changes."""
    on_conflict: bool = False
    """It has ON CONFLICT: what loses against another session is inserted and deleted again."""
    functions: tuple[str, ...] = ()
    """What it calls, or may call by selecting an attribute, as spelled."""
    changes: frozenset[StatementClass] = frozenset()
    """The classes of all changes of rows in it: of one with WITH queries, or a MERGE, there may be several."""
    parameters: int = 0
    """The highest $n that it names."""
    countable: bool = False
    """How many rows it changes can be held to a number: by its command tag, or as the server counts them.

    It changes rows of ordinary tables, and is nothing else.
    """
    planning: tuple[Finding, ...] = ()
    """Of an INSERT, UPDATE, DELETE or MERGE: why not even planning it is known to be harmless."""
    control: Control | None = None
    read_only: bool | None = None
    """BEGIN and SET TRANSACTION: READ ONLY or READ WRITE, or neither."""
    savepoint: str = ""
    """The name in SAVEPOINT, RELEASE and ROLLBACK TO."""
    prepared: tuple[tuple[str, bool], ...] = ()
    """The names of what EXECUTE or FETCH runs, each with whether it is a cursor."""
    defines: str = ""
    """The name that PREPARE or DECLARE gives."""
    with_hold: bool = False
    """A cursor that COMMIT materialises."""
    runs_no_query: str = ""
    """The name of what EXECUTE or FETCH runs, if that is no query: transaction control, a setting, DDL."""
    runs: StatementClass | None = None
    """The class of what PREPARE, EXECUTE, DECLARE or FETCH is about."""
    run: tuple[Names, ...] = ()
    """What that names which EXECUTE or FETCH runs."""
    rescopes: bool = False
    """Names may stand for something else behind it."""
    gid: str = ""
    """The name in PREPARE TRANSACTION, COMMIT PREPARED and ROLLBACK PREPARED."""
    ends: Control | None = None
    """What COMMIT PREPARED and ROLLBACK PREPARED make of the transaction of that name: COMMIT or ROLLBACK."""
    ends_which: str = ""
    """Which transaction has that name, once the server was asked: its timeline and its id."""
    chained: bool = False
    """COMMIT or ROLLBACK AND CHAIN: another block follows at once."""
    setting: SettingChange | None = None
    tells_encoding: bool = False
    """Its one value is client_encoding."""
    shows: str = ""
    """The setting that SHOW names; "all" for all."""
    outside_block_only: bool = False
    """PostgreSQL runs it only outside a transaction block."""
    wants_copy_data: bool = False
    """COPY FROM STDIN: the client's data follow when it runs."""
    tree: bytes = b""
    """Of an INSERT, UPDATE, DELETE or MERGE: the fields of the root, to build a count from, `packed` by the grammar.

    Unpacked it would take a hundred times the memory of the text.
    """

    @property
    def harmless(self) -> bool:
        """Whether every piece of it is known to change nothing."""
        return not self.findings

    @property
    def classes(self) -> frozenset[StatementClass]:
        """Its class, or that of what it runs by name, and those of all changes of rows that it makes."""
        made = self.changes if Qualifier.WRITE in self.qualifiers else frozenset()
        return made | {self.runs or self.kind}

    @property
    def command(self) -> str:
        """What it is called in words to the client: DELETE, COMMIT PREPARED."""
        return f"{self.ends} prepared".upper() if self.ends else self.kind.value.upper()

    @property
    def qualifiers(self) -> frozenset[Qualifier]:
        """What it may do."""
        return frozenset(finding.qualifier for finding in self.findings)

    @property
    def doubt(self) -> str:
        """Why it is not known to be harmless; empty if it is."""
        return self.findings[0].reason if self.findings else ""


@dataclass(frozen=True, slots=True)
class Statement:
    """A text as one client message carried it."""

    text: bytes
    parts: tuple[Part, ...]

    @property
    def runs_outside_blocks(self) -> bool:
        """Whether PostgreSQL runs it only outside a transaction block."""
        return len(self.parts) == 1 and self.parts[0].outside_block_only

    @property
    def unreadable(self) -> bool:
        """Whether nothing in it could be read with certainty."""
        return self.parts[0].kind is StatementClass.UNKNOWN and not self.parts[0].node

    @property
    def countable(self) -> bool:
        """Whether the rows that its doubtful parts change can be held to a number."""
        return all(part.countable for part in self.parts if not part.harmless)

    def slice(self, part: Part) -> bytes:
        """Return a part's own bytes."""
        return self.text[part.start : part.end]
