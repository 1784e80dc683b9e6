"""`Play`: a conversation with one session core, written down as a story.

What happens enters with `>>`: a str is a Query of the client, any event of `pgnotary.session.events` is itself, and the
words of this module (`approve()`, `after(30)`, `durable`) make their events. What must follow is asked for with `<<`,
a line for each thing that left the session, in the order it left, each side in PostgreSQL's own words:

    play >> "delete from orders" << until("announce R-1")
    play >> approve() << "retire R-1" << "client NOTICE 00000 R-1 approved by bo..." << "upstream BEGIN..."

A line that ends in `...` asks for its beginning only. Nothing may happen while a line was not asked for, and none may
be left at the end. A mismatch prints the whole conversation.

Behind the session stand a model of PostgreSQL and one of the ledger, so that a story tells only what it is about. Both
answer at once, one thing after the other, unless they are told not to (`by_hand=True`): then `durable` and `answers`
make them go on. The ledger keeps the table of a request's life and the links between its entries, as a store does.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeAlias

from nacl.signing import SigningKey
from tests.listed import executions_of

from pgnotary.errors import LedgerUnavailable, PgnotaryError, RequestMoved
from pgnotary.judge.catalog import BUILT_IN
from pgnotary.judge.policy import Verdict
from pgnotary.judge.rules import PROFILES, Policy, Subject, Terms, policy_of
from pgnotary.judge.scope import UNSCOPED
from pgnotary.judge.statement import Statement
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import FIRST_PREV, Draft, Entry, EntryType, Position, Receipt, encode_entry, parse_entry
from pgnotary.ledger.seals import commitment
from pgnotary.request import call as calls
from pgnotary.request.ceiling import Ceiling
from pgnotary.request.decision import Answer
from pgnotary.request.life import Move, State
from pgnotary.request.openssh import PrivateKey, fingerprint
from pgnotary.request.roster import Roster, Signer
from pgnotary.serve.verdicts import Verdicts
from pgnotary.session import actions, events
from pgnotary.session.actions import Action
from pgnotary.session.core import Session
from pgnotary.session.deferred import FIRE
from pgnotary.session.events import Decided, Event, Now
from pgnotary.session.forwarded import ForwardLog
from pgnotary.session.mark import Mark
from pgnotary.session.places import Places
from pgnotary.session.prepared_transactions import PreparedTransactions
from pgnotary.session.state import Identity, Rules, SessionState, SharedCatalog
from pgnotary.wire import messages
from pgnotary.wire.frames import Frame, FrameCutter, backend_frames, frontend_frames
from pgnotary.wire.messages import Diagnostic

__all__ = [
    "CLIENT_GONE",
    "COPY_IN",
    "EVA",
    "KEYS",
    "LEDGER",
    "SERVER_GONE",
    "SESSION",
    "START",
    "Call",
    "Happening",
    "Ledger",
    "Play",
    "ScriptedServer",
    "after",
    "answers",
    "approve",
    "command",
    "deny",
    "durable",
    "error",
    "judge",
    "ledger_is_back",
    "ledger_is_down",
    "message",
    "not_recorded",
    "ready",
    "row",
    "server",
    "taken_back",
    "until",
    "wall_clock_set",
]

LEDGER = "shop.example/ledger"
SESSION = "S-00000001"
START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
EVA = PrivateKey(bytes([4]) * 32, bytes(SigningKey(bytes([4]) * 32).verify_key))
KEYS = {"bo": bytes([3]) * 32, "eva": EVA.public}
"""The public keys on the roster."""
CLIENT_GONE = events.ClientGone()
SERVER_GONE = events.UpstreamGone()
DOWN = LedgerUnavailable("the ledger cannot be written: disk full", hint="make room")
POLICY = policy_of(PROFILES["default"], usual=Terms(sample_rows=0))
JUDGE = Verdicts(POLICY)


def judge(text: bytes) -> tuple[Statement, Verdict]:
    """Judge as the default profile does where no catalog is known."""
    return JUDGE.judge(text, BUILT_IN, UNSCOPED, Subject())


# --- messages ---------------------------------------------------------------------------------------------------------


def message(kind: str, body: bytes = b"") -> bytes:
    """Any message, of either side."""
    return kind.encode() + (len(body) + 4).to_bytes(4, "big") + body


def command(tag: str) -> bytes:
    """CommandComplete."""
    return message("C", tag.encode() + b"\0")


def ready(status: str) -> bytes:
    """ReadyForQuery."""
    return messages.ready_for_query(status.encode())


def error(sqlstate: str, text: str, severity: str = "ERROR") -> bytes:
    """ErrorResponse."""
    return messages.error_response(Diagnostic(severity=severity, sqlstate=sqlstate, message=text))


def row(*values: str | None) -> bytes:
    """DataRow."""
    found = len(values).to_bytes(2, "big")
    for value in values:
        raw = value.encode() if value is not None else b""
        found += (len(raw) if value is not None else -1).to_bytes(4, "big", signed=True) + raw
    return message("D", found)


_COLUMNS = message("T", b"\0\0")
COPY_IN = message("G", b"\0\0\0")
"""CopyInResponse: text, and no columns."""


# --- the server -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Savepoint:
    name: str
    read_only: bool
    changed: int
    client_default: str | None
    done_unsaid: int


@dataclass(slots=True)
class ScriptedServer:
    """A small PostgreSQL: transaction status, savepoints, READ ONLY, and answers that a test sets for a text.

    Changes (INSERT, UPDATE, DELETE and the like) succeed only in a READ WRITE transaction: otherwise 25006. `changed`
    lists those that did, `committed` those that a COMMIT made last.
    """

    by_hand: bool = False
    default_read_only: bool = True
    status: str = "I"
    read_only: bool = True
    savepoints: list[_Savepoint] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    """The text of every Query, in order."""
    writable: list[str] = field(default_factory=list)
    """Those Queries that could have written: they came while the transaction was READ WRITE and had not failed."""
    changed: list[str] = field(default_factory=list)
    committed: list[str] = field(default_factory=list)
    scripted: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    interrupted: list[str] = field(default_factory=list)
    """The Queries that a cancel has hit."""
    cancelled: bool = False
    """A cancel hits the next Query."""
    reason: str = ""
    """What pgnotary.reason is."""
    slow: set[str] = field(default_factory=set)
    """Queries that the limit of time hits, once each."""
    level: str = "notice"
    """What client_min_messages is."""
    acts_as: str = "app_rw"
    """Its current_user."""
    searched: str = '"$user", public'
    """Its search_path."""
    schema: dict[str, Any] = field(
        default_factory=lambda: {
            "relations": [["public", "t", "r 16400", 10, *["0f" * 16] * 10]],
            "functions": None,
            "operators": None,
            "event triggers": "0f" * 16,
            "behind": None,
            "domains": None,
            "casts": "0f" * 16,
            "around": None,
            "mappings": None,
            "roles": None,
            "usual": None,
            "said": None,
        }
    )
    """What it says of how the relations are defined that a held statement names."""
    holders: list[list[Any]] = field(default_factory=list)
    """Who holds what a statement that is held would wait for."""
    things: dict[str, Any] = field(
        default_factory=lambda: {"relations": [["public", "t", "r", 1, 8_192, 20, False]], "dependents": None}
    )
    """What one would take that is TRUNCATE, DROP or ALTER."""
    prepared: dict[bytes, str] = field(default_factory=dict)
    portals: dict[bytes, str] = field(default_factory=dict)
    timers: tuple[str, str, str] = ("0", "0", "0")
    """idle_in_transaction_session_timeout, idle_session_timeout and transaction_timeout, in seconds."""
    isolation: str = "read committed"
    functions: str = "[]"
    """The names of the database's own functions, all of which may write, as JSON."""
    relations: tuple[str, ...] = ("t", "orders", "items", "u")
    """The plain tables in the schema public."""
    path: str = '["pg_catalog", "public"]'
    role: str = "app_rw"
    temporary: str = "[]"
    """The session's temporary relations, each with whether reading it and writing to it runs nobody's code, as JSON."""
    views: tuple[str, ...] = ()
    """Views in the schema public that call what nobody has read."""
    watched: tuple[str, ...] = ()
    """Tables in the schema public with a trigger."""
    client_default: str | None = None
    """What pgnotary.default_transaction_read_only is."""
    cursors: dict[str, str] = field(default_factory=dict)
    """What pg_cursors says."""
    counting: str = "on"
    """What track_counts is."""
    counted: dict[str, dict[str, tuple[int, int, int]]] = field(default_factory=dict)
    """By text: the rows that it inserts, updates and deletes in tables of the schema public, as they are counted."""
    deferred: str = ""
    """A text that is run when constraints become immediate."""
    unsaid: dict[str, str] = field(default_factory=dict)
    """What a text does beside what it says: it empties that table, or leaves a cursor WITH HOLD if that is "cursor".

    "cursor c" is one of that name.
    """
    waiting: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    """Prepared transactions by name: the id of each, and what it has changed."""
    locked: str = "orders"
    """The table in the schema public that they have locked."""
    owner: str = "t"
    """Whether the session's role may end them."""
    _done_unsaid: list[str] = field(default_factory=list)
    _before: list[str | None] = field(default_factory=list)
    """What the client's default was at the beginning of the transaction, and at each savepoint."""
    _local: bool = False
    _cutter: FrameCutter = field(default_factory=lambda: frontend_frames(1 << 30))
    _skipping: bool = False
    copying: str = ""
    """The COPY FROM STDIN that takes data; CopyData with "bad" in it fails it."""
    copied: bytes = b""
    """The data of the last one."""
    _copying_extended: bool = False
    xid: int = 770
    _has_xid: bool = False
    """The transaction that is open has the id `xid`."""
    mark: str = ""
    """What something signed has left in the transaction."""

    def on(self, text: str, *frames: bytes) -> Self:
        """Answer this statement so; an ErrorResponse among the frames fails the transaction, as it would."""
        self.scripted[text] = frames
        return self

    def hear(self, data: bytes) -> bytes:
        """Take bytes in and return the answer to what they complete."""
        return b"".join(map(self._answer, self._cutter.feed(data)))

    def _answer(self, frame: Frame) -> bytes:
        kind = frame.type.decode()
        if self.copying:
            return self._copy(kind, frame.body)
        if kind == "Q":
            return self._simple(frame.body[:-1].decode())
        if kind == "F":
            return message("V", b"\xff\xff\xff\xff") + ready(self.status)
        if kind == "S":
            self._skipping = False
            return ready(self.status)
        if self._skipping or kind in "Xfdc":
            return b""
        answer = self._extended(kind, frame.body)
        self._skipping = _fails(answer)
        return answer

    def _simple(self, text: str) -> bytes:
        found = self._query(text)
        return found if self.copying else found + ready(self.status)

    def _extended(self, kind: str, body: bytes) -> bytes:
        """Answer one message of the extended protocol, as it comes, whatever is behind it."""
        match kind:
            case "P":
                name, text = messages.parse_fields(body)
                self.heard.append(f"{_name(name)}: {text.decode()}")
                if failing := self._scripted_error(text.decode()):
                    return failing
                if name and name in self.prepared:
                    return self._fail("42P05", "prepared statement already exists")
                self.prepared[name] = text.decode()
                return message("1")
            case "B":
                portal, name = messages.bind_fields(body)
                if name not in self.prepared:
                    return self._fail("26000", "prepared statement does not exist")
                self.portals[portal] = self.prepared[name]
                return message("2")
            case "D":
                return message("t", b"\0\0") + message("n") if body[:1] == b"S" else message("n")
            case "C":
                (self.prepared if body[:1] == b"S" else self.portals).pop(body[1:-1], None)
                return message("3")
            case "E":
                portal = messages.execute_portal(body)
                if portal not in self.portals:
                    return self._fail("34000", "portal does not exist")
                self.heard.append(self.portals[portal])
                self._note_writable(self.portals[portal])
                self._copying_extended = True
                return self._run(self.portals[portal]).removeprefix(_COLUMNS)
            case _:
                return b""

    def _copy(self, kind: str, body: bytes) -> bytes:
        """Take a message while COPY FROM STDIN reads: CopyGetData()."""
        text, failed = self.copying, b""
        match kind:
            case "d" if b"bad" not in body:
                self.copied += body
                return b""
            case "S" | "H":
                return b""
            case "d":
                failed = self._fail("22P02", "invalid input syntax")
            case "f":
                failed = self._fail("57014", f"COPY from stdin failed: {body[:-1].decode()}")
            case "c":
                (self.changed if self.status == "T" else self.committed).append(text)
            case _:
                raise AssertionError(f"{kind!r} was sent during COPY")
        self.copying = ""
        answer = failed or command("COPY 5")
        self._skipping = self._copying_extended and bool(failed)
        return answer if self._copying_extended else answer + ready(self.status)

    def _note_writable(self, text: str) -> None:
        """In a failed block nothing runs any more: 25P02."""
        if not self.read_only and self.status != "E":
            self.writable.append(text)

    def _scripted_error(self, text: str) -> bytes:
        frames = self.scripted.get(f"PARSE {text}", ())
        if frames and self.status == "T":
            self.status = "E"
        return b"".join(frames)

    def _query(self, text: str) -> bytes:
        """Answer a whole string: in one implicit transaction, up to the first error."""
        self.heard.append(text)
        self._note_writable(text)
        self._copying_extended = False
        if self.cancelled:
            self.cancelled = False
            self.interrupted.append(text)
            return self._fail("57014", "canceling statement due to user request")
        if text in self.slow:
            self.slow.remove(text)
            return self._fail("57014", "canceling statement due to statement timeout")
        if text in self.scripted:
            return self._run(text)
        found = b""
        for one in filter(None, (part.strip() for part in text.split(";"))):
            answer = self._run(one)
            found += answer
            if _fails(answer):
                break
        return found or message("I")

    def _fail(self, sqlstate: str, text: str) -> bytes:
        self.status = "E" if self.status == "T" else self.status
        return error(sqlstate, text)

    def _run(self, text: str) -> bytes:
        words = text.upper().split()
        if not words:
            return message("I")
        prepares = words[:2] == ["PREPARE", "TRANSACTION"]
        if self.status == "E" and words[0] not in ("ROLLBACK", "ABORT", "COMMIT", "END") and not prepares:
            return self._fail("25P02", "current transaction is aborted")
        takes_data = words[0] == "COPY" and words[-2:] == ["FROM", "STDIN"]
        if (words[0] in _CHANGES or takes_data) and self.read_only:
            return self._fail("25006", f"cannot execute {words[0]} in a read-only transaction")
        if text in self.scripted:
            found = b"".join(self.scripted[text])
            if _fails(found):
                if words[0] in ("COMMIT", "END") and b"\0C22P05\0" not in found:  # that one never began
                    self._end("ROLLBACK", chained=False)
                self.status = "E" if self.status == "T" else self.status
                return found
        elif prepares or words[1:2] == ["PREPARED"]:
            found = self._two_phase(words[0], text)
        elif words[0] in _CONTROL:
            return self._control(words[0], words, text)
        elif takes_data:
            self.copying, self.copied = text, b""
            return COPY_IN
        else:
            found = self._work(words[0], text)
        if text in self.unsaid:
            self._done_unsaid.append(self.unsaid[text])
        if words[0] in _CHANGES or text in self.counted:
            (self.changed if self.status == "T" else self.committed).append(text)
        return found

    def _control(self, word: str, words: Sequence[str], text: str) -> bytes:
        name = words[-1].lower()
        match word:
            case "BEGIN" | "START":
                self.status = "T"
                self._before, self._local = [self.client_default], False
                self.read_only = "READ ONLY" in text.upper() or (
                    self.default_read_only and "READ WRITE" not in text.upper()
                )
                return command("BEGIN")
            case "ROLLBACK" if "TO" in words:
                places = [i for i, each in enumerate(self.savepoints) if each.name == name]
                if not places:
                    return self._fail("3B001", f"savepoint {name} does not exist")
                del self.savepoints[places[-1] + 1 :]
                self.read_only = self.savepoints[-1].read_only
                del self.changed[self.savepoints[-1].changed :]
                del self._done_unsaid[self.savepoints[-1].done_unsaid :]
                self.client_default = self.savepoints[-1].client_default
                self.status = "T"
                return command("ROLLBACK")
            case "SAVEPOINT" if self.status == "I":
                return self._fail("25P01", "SAVEPOINT can only be used in transaction blocks")
            case "SAVEPOINT":
                self.savepoints.append(
                    _Savepoint(name, self.read_only, len(self.changed), self.client_default, len(self._done_unsaid))
                )
                return command("SAVEPOINT")
            case "RELEASE":
                while self.savepoints:
                    last = self.savepoints.pop()
                    self.read_only = last.read_only
                    if last.name == name:
                        return command("RELEASE")
                return self._fail("3B001", f"savepoint {name} does not exist")
        return self._end(word, chained="CHAIN" in words)

    def _end(self, word: str, *, chained: bool) -> bytes:
        commits = word in ("COMMIT", "END") and self.status != "E"
        if commits:
            self.committed += self.changed
        if self._before and (not commits or self._local):
            self.client_default = self._before[0]
        self.changed.clear()
        self._has_xid = False
        self._done_unsaid.clear()
        self.savepoints.clear()
        self.status = "T" if chained else "I"
        self.read_only = self.read_only if chained else self.default_read_only
        return command("COMMIT" if commits else "ROLLBACK")

    def _two_phase(self, word: str, text: str) -> bytes:
        gid = text.split("'")[1]
        if word == "PREPARE":
            if self.status != "T":
                return self._end("ROLLBACK", chained=False)
            if gid in self.waiting:
                self._end("ROLLBACK", chained=False)
                return error("42710", "transaction identifier is already in use")
            self.waiting[gid] = (str(self.xid), list(self.changed))
            self.changed.clear()
            self._end("COMMIT", chained=False)
            return command("PREPARE TRANSACTION")
        if self.status != "I":
            return self._fail("25001", f"{word} PREPARED cannot run inside a transaction block")
        if gid not in self.waiting:
            return error("42704", "prepared transaction does not exist")
        changed = self.waiting.pop(gid)[1]
        self.committed += changed if word == "COMMIT" else []
        return command(f"{word} PREPARED")

    def _own_functions(self) -> str:
        try:
            names = json.loads(self.functions)
            if not isinstance(names, list):
                return self.functions
            own = [
                [20_000 + i, "public", name, "v", "plpgsql", True, None, None, None, False]
                for i, name in enumerate(names)
            ]
        except ValueError:
            return self.functions
        return json.dumps(
            {"built_in": [], "own": own, "words": [], "making": [], "anyarrays": [], "unifying": [], "equals": False}
        )

    def _left_cursors(self) -> list[tuple[str, str]]:
        left = [done for done in self._done_unsaid if done.startswith("cursor")]
        return [(done.removeprefix("cursor ") if " " in done else f"left_{i}", "now") for i, done in enumerate(left)]

    def _counted(self) -> str:
        emptied = [name for name in self._done_unsaid if not name.startswith("cursor")]
        relations = [[16_384 + i, ["public", name], None, False, 0, 0, 10] for i, name in enumerate(emptied)]
        return json.dumps(
            {
                "counting": self.counting,
                "path": json.loads(self.path),
                "role": self.role,
                "cursors": [name for name, _ in self._left_cursors()],
                "objects": None,
                "relations": relations,
            }
        )

    def _changed(self) -> str:
        sums: dict[str, list[int]] = {}
        for text in self.changed:
            for name, rows in self.counted.get(text, {}).items():
                sums[name] = [was + more for was, more in zip(sums.get(name, [0, 0, 0]), rows, strict=True)]
        changed = [
            {"oid": 16_384 + i, "kind": "r", "name": ["public", name], "root": None, "above": None, "emptied": False}
            | {"file": 1, "rows": rows}
            for i, (name, rows) in enumerate(sums.items())
        ]
        return json.dumps({"track_counts": self.counting, "cursors": None, "changed": changed})

    def _work(self, word: str, text: str) -> bytes:
        upper = text.upper()
        if word in ("SET", "RESET") and "PGNOTARY.DEFAULT_TRANSACTION_READ_ONLY" in upper:
            self.client_default = text.rsplit(maxsplit=1)[-1] if word == "SET" else None
            self._local = self._local or " LOCAL " in upper
            return command(word)
        if text == FIRE.decode() and self.deferred:
            self.changed.append(self.deferred)
            self.deferred = ""
        if word == "SET":
            if "PGNOTARY.SIGNED" in upper:
                self.mark = text.split("'")[1]
            if "READ WRITE" in upper:
                self.read_only = False
            elif "TRANSACTION_READ_ONLY = ON" in upper or "READ ONLY" in upper:
                self.read_only = True
            return command("SET")
        if word in _CHANGES:
            return command("INSERT 0 5" if word == "INSERT" else f"{word} 5" if word in _COUNTED else word)
        if "g.tgdeferrable))" in text:
            return _COLUMNS + row(None) + command("SELECT 1")
        if "WITH RECURSIVE locks" in text:
            return _COLUMNS + row(self._changed()) + command("SELECT 1")
        if "AS x (inserted, updated, deleted)" in text:
            return _COLUMNS + row(self._counted()) + command("SELECT 1")
        if "is_holdable" in text:
            return _COLUMNS + b"".join(row(name, at) for name, at in self._left_cursors()) + command("SELECT 1")
        if "pg_current_xact_id()" in text:
            self.xid += not self._has_xid
            self._has_xid = self.status == "T"
            return _COLUMNS + row(str(self.xid), "00000001") + command("SELECT 1")
        if "pg_prepared_xacts" in text:
            gid = text.rsplit("'", 2)[1]
            if gid not in self.waiting:
                return command("SELECT 0")
            return (
                _COLUMNS
                + row(self.waiting[gid][0], "t", self.owner, "app_rw", "09:00", "00000001")
                + command("SELECT 1")
            )
        if "own.transactionid" in text:
            return _COLUMNS + row("RowExclusiveLock", "public", self.locked, "16400") + command("SELECT 1")
        if text == Mark.ASK.decode():
            return _COLUMNS + row(str(self.xid), self.mark) + command("SELECT 1")
        if "current_user, session_user" in text:
            context = (self.acts_as, "app_rw", self.searched, self.reason, self.level, "ISO, MDY", "postgres", "UTC")
            usual = ("on", "hex", "1", "on", "origin", "off", "content")
            return _COLUMNS + row(*context, *usual, *self.timers, "off") + command("SELECT 1")
        if "pg_catalog.pg_prepared_statements WHERE" in text or "pg_catalog.pg_cursors WHERE name" in text:
            behind = {_name(name): said for name, said in self.prepared.items()} | self.cursors
            asked = text.split("'")[1]
            name = [asked] if text.startswith("SELECT name, ") else []
            return _COLUMNS + (row(*name, behind[asked]) if asked in behind else b"") + command("SELECT 1")
        if "pg_catalog.pg_prepared_statements" in text:
            named = {name: text for name, text in self.prepared.items() if name and not name.startswith(b"pgnotary_")}
            return _COLUMNS + b"".join(row(_name(name), text) for name, text in named.items()) + command("SELECT 1")
        if "WITH RECURSIVE spelled" in text:
            return _COLUMNS + row(json.dumps([self.schema])) + command("SELECT 1")
        if "WITH RECURSIVE weighed" in text and "pg_lock_status" in text:
            return _COLUMNS + row(json.dumps(self.holders) if self.holders else None) + command("SELECT 1")
        if "WITH RECURSIVE weighed" in text:
            return _COLUMNS + row(json.dumps(self.things)) + command("SELECT 1")
        if "WITH RECURSIVE named" in text:
            return _COLUMNS + row(_FACTS) + command("SELECT 1")
        if "'built_in'" in text:
            return _COLUMNS + row(self._own_functions()) + command("SELECT 1")
        if "WITH RECURSIVE seed" in text:
            tables = [["public", name, "r", False, False, False] for name in self.relations]
            tables += [["public", name, "v", True, False, False] for name in self.views]
            tables += [["public", name, "r", False, True, False] for name in self.watched]
            found = {"functions": [], "operators": [], "types": [], "anything": False, "event_triggers": False}
            return _COLUMNS + row(json.dumps(found | {"relations": tables, "spreading": []})) + command("SELECT 1")
        if "current_schemas" in text:
            return _COLUMNS + row(self.path, self.role, self.client_default) + command("SELECT 1")
        if "pg_my_temp_schema" in text:
            return _COLUMNS + row(self.temporary) + command("SELECT 1")
        if "transaction_isolation" in text:
            return _COLUMNS + row(self.isolation) + command("SELECT 1")
        if word == "EXPLAIN":
            return _COLUMNS + row(_PLAN) + command("EXPLAIN")
        if word == "SELECT" and "count(*)" in text:
            return _COLUMNS + row("5") + command("SELECT 1")
        return _COLUMNS + row("1") + command("SHOW" if word == "SHOW" else "SELECT 1")


def _fails(answer: bytes) -> bool:
    return any(frame.type == b"E" for frame in backend_frames().feed(answer))


_CONTROL = frozenset({"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"})
_COUNTED = frozenset({"UPDATE", "DELETE", "MERGE"})
_CHANGES = _COUNTED | {"INSERT", "TRUNCATE", "DROP", "CREATE", "ALTER", "GRANT", "CALL", "DO", "LOCK"}
_FACTS = json.dumps(
    {
        "relations": [
            {"oid": 16_400, "target": True, "how": "named", "schema": "public", "name": "t", "kind": "r", "rows": 20}
            | {
                "secured": False,
                "policies": None,
                "twice": False,
                "renames": False,
                "parents": 0,
                "rules": None,
                "triggers": None,
            }
            | {"unsteady": False, "codes": False}
        ],
        "unsteady": None,
        "operators": None,
        "casts": False,
        "strange": False,
        "sets": False,
        "texts": False,
        "keys": None,
        "ancestors": None,
    }
)
_PLAN = (
    '[{"Plan": {"Node Type": "ModifyTable", "Plan Rows": 0,'
    ' "Plans": [{"Parent Relationship": "Outer", "Plan Rows": 4}]}}]'
)


# --- the ledger -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Ledger:
    """A ledger in memory. It makes a move only from the state that the table knows, and checks each `after`."""

    by_hand: bool = False
    entries: list[Entry] = field(default_factory=list)
    states: dict[str, State] = field(default_factory=dict)
    last: dict[str, bytes] = field(default_factory=dict)
    fails: dict[str, bool] = field(default_factory=dict)
    """By entry type: the next Record with such an entry fails; True: though it was written all the same."""
    overtaken: set[bytes] = field(default_factory=set)
    """The leaves behind which an approval that is not enough stands: nothing else may follow on them."""

    def record(self, action: actions.Record) -> Event:
        """Make a group durable and return what the session is told."""
        move = action.move
        if move and self.states.get(move.request) != move.of:
            return events.RecordFailed(RequestMoved(move.request, self.states.get(move.request)))
        if move and any(draft.after in self.overtaken for draft in action.drafts):
            return events.RecordFailed(RequestMoved(move.request, self.states.get(move.request)))
        failing = [self.fails.pop(draft.type.value) for draft in action.drafts if draft.type.value in self.fails]
        if failing and not failing[0]:
            return events.RecordFailed(DOWN)
        receipts = tuple(map(self.append, action.drafts))
        if move:
            self.states[move.request] = move.to
        return events.RecordFailed(DOWN) if failing else events.Recorded(receipts)

    def append(self, draft: Draft) -> Receipt:
        """Place one draft."""
        seq = len(self.entries)
        if draft.request is not None:
            known = self.last.get(draft.request)
            assert draft.after == known, f"{draft.type} of {draft.request} does not follow the entry before it"
        opened = {name: (bytes([seq % 256, n]) * 16, value) for n, (name, value) in enumerate(draft.sealed.items())}
        sealed = {name: commitment(name, salt, value) for name, (salt, value) in opened.items()}
        prev = self.entries[-1].leaf if self.entries else FIRST_PREV
        position = Position(LEDGER, seq, prev, START + timedelta(seconds=seq))
        entry = parse_entry(encode_entry(draft, position, sealed))
        self.entries.append(entry)
        if draft.request is not None:
            self.last[draft.request] = entry.leaf
        return Receipt(entry, opened)

    def decide(self, request: str, answer: Answer, ceiling: Ceiling | None, reason: str) -> Decided:
        """Make a decision durable, as the desk does; the move must still be possible."""
        to = State.APPROVED if answer is Answer.APPROVE else State.DENIED
        move = Move(request, self.states[request], to)
        body: dict[str, JSON] = {"approver": "bo", "answer": answer.value, **(ceiling.fields if ceiling else {})}
        receipt = self.append(Draft(EntryType.DECISION, body, SESSION, request, self.last[request]))
        self.states[request] = move.to
        return Decided(request, answer, "bo", reason, ceiling, receipt, KEYS["bo"])

    def approve_in_part(self, request: str, approver: str, missing: str) -> Decided:
        """Make an approval durable that is not enough."""
        body: dict[str, JSON] = {"approver": approver, "answer": Answer.APPROVE.value, "lacks": 1}
        self.overtaken.add(self.last[request])
        receipt = self.append(Draft(EntryType.DECISION, body, SESSION, request, self.last[request]))
        return Decided(request, Answer.APPROVE, approver, "fine", None, receipt, KEYS["bo"], missing=missing)

    def life(self, request: str) -> list[str]:
        """What the ledger tells about a request, in the words of a play."""
        return [_entry_line(entry.type, entry.body) for entry in self.entries if entry.request == request]

    def body(self, type_: str, request: str = "R-1") -> dict[str, Any]:
        """The fields of the newest entry of a type."""
        found = [each for each in self.entries if each.type.value == type_ and each.request in (request, None)]
        return dict(found[-1].body)


def _entry_line(type_: EntryType, body: Any) -> str:
    more = body.get("result") or body.get("answer") or body.get("by") or body.get("action") or ""
    return f"{type_.value} {more}".strip()


# --- the play ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """Something that happens, done by the play: `do` returns the events that it makes."""

    name: str
    do: "Callable[[Play], Iterable[Event]]"


@dataclass(frozen=True, slots=True)
class Until:
    """All lines up to and including this one, whatever they are."""

    line: str


Happening: TypeAlias = str | Event | Call
Expected: TypeAlias = str | Until | Sequence[str]


class Play:
    """One conversation. Options that begin with `user_` belong to the client's identity, others to the rules."""

    def __init__(
        self,
        *,
        by_hand: bool = False,
        user_read_only: bool = False,
        hold_s: float = 900.0,
        reminder_s: float = 30.0,
        queue_bytes: int = 4_096,
        policy: Policy = POLICY,
        session: Callable[[SessionState], Session] = Session,
    ) -> None:
        if hold_s != policy.usual.hold_s:
            policy = replace(policy, usual=replace(policy.usual, hold_s=hold_s))
        self.server = ScriptedServer(by_hand=by_hand)
        self.ledger = Ledger(by_hand=by_hand)
        self.clock = 1_000.0
        self.wall_ahead_s = 0.0
        self.roster = Roster(tuple(Signer(person, key) for person, key in KEYS.items()))
        self.said: list[Action] = []
        self.recorded: list[actions.Record] = []
        """Outstanding groups, when the ledger is worked by hand."""
        self.noted: list[actions.Note] = []
        self.story: list[str] = []
        self.unread: deque[str] = deque()
        self.failed = False
        self.queues_for_a_look = False
        """Others look at the server: the session has to wait for MayLook."""
        self._heard: deque[bytes] = deque()
        self._events: deque[Event] = deque()
        self._to_client = backend_frames()
        self._to_upstream = frontend_frames(1 << 30)
        numbers = iter(range(1, 10_000))
        identity = Identity(
            session=SESSION,
            user="eva",
            person="eva",
            database="shop",
            application="psql",
            client="10.2.0.7:50123",
            upstream_pid=4711,
            system_identifier="7400000000000000001",
            read_only_by_default=user_read_only,
        )
        rules = Rules(
            policy=policy,
            reminder_s=reminder_s,
            preview_timeout_ms=2_000,
            mask=(),
            queue_bytes=queue_bytes,
            roster=lambda: self.roster,
        )
        self.prepared = PreparedTransactions()
        self.generation = 0
        """Of the catalog; a session asks for it again when this grows."""
        self.state = SessionState(
            identity,
            rules,
            JUDGE if policy is POLICY else Verdicts(policy),
            lambda: f"R-{next(numbers)}",
            self.now,
            ForwardLog(SESSION),
            lambda: self.generation,
            self._grow,
            Places(1, 1),
            self.prepared,
            SharedCatalog(at=self.clock, generation=0),
            catalog_at=self.clock,
            catalog_generation=0,
            scope_stale=False,
        )
        self.session = session(self.state)

    def _grow(self) -> None:
        self.generation += 1

    @property
    def now(self) -> Now:
        """The two clocks, which only `after` moves; `wall_clock_set` moves one of them alone."""
        return Now(self.clock, START + timedelta(seconds=self.clock + self.wall_ahead_s))

    # What happens.

    def __rshift__(self, happening: Happening) -> Self:
        if self.unread:
            self._mismatch(f"nobody asked for: {self.unread[0]}")
        match happening:
            case str(text):
                self.story.append(f">> client {text}")
                self._events.append(events.ClientBytes(messages.query(text.encode())))
            case Call(name, do):
                self.story.append(f">> {name}")
                self._events.extend(do(self))
            case _:
                self.story.append(f">> {happening!r:.100}")
                self._events.append(happening)
        self.run()
        return self

    def run(self) -> None:
        """Let everything happen that waits."""
        while self._events:
            self.receive(self._events.popleft())

    def receive(self, event: Event) -> list[Action]:
        """Give the session one event and perform what it says."""
        found = self.session.receive(event, self.now)
        for action in found:
            self.said.append(action)
            self._perform(action)
        return found

    def _perform(self, action: Action) -> None:
        match action:
            case actions.ToClient(data):
                self._say(*map(_client_line, self._to_client.feed(data)))
            case actions.ToUpstream(data):
                self._say(*map(_upstream_line, self._to_upstream.feed(data)))
                if self.server.by_hand:
                    self._heard.append(data)
                elif answer := self.server.hear(data):
                    self._events.append(events.UpstreamBytes(answer))
            case actions.Record(drafts):
                self._say("record " + " + ".join(_entry_line(draft.type, draft.body) for draft in drafts))
                if self.ledger.by_hand:
                    self.recorded.append(action)
                else:
                    self._events.append(self.ledger.record(action))
            case actions.Note(drafts):
                self._say(f"note {sum(executions_of(draft.body) for draft in drafts)}")
                if self.ledger.by_hand:
                    self.noted.append(action)
                else:
                    for draft in drafts:
                        self.ledger.append(draft)
                    self._events.append(events.Noted())
            case actions.Look():
                if self.queues_for_a_look:
                    self._say("look")
                else:
                    self._events.append(events.MayLook())
            case actions.Looked():
                if self.queues_for_a_look:
                    self._say("looked")
            case actions.Announce(request):
                self._say(f"announce {request.entry.request}")
            case actions.Retire(request):
                self._say(f"retire {request}")
            case actions.PauseClient():
                self._say("pause")
            case actions.ResumeClient():
                self._say("resume")
            case actions.CancelUpstream():
                self._say("cancel")
            case actions.Close():
                self._say("close")

    def _say(self, *lines: str) -> None:
        self.unread.extend(lines)

    # What must follow.

    def __lshift__(self, expected: Expected) -> Self:
        match expected:
            case str(line):
                self._read(line)
            case Until(line):
                while not _fits(self._read(), line):
                    pass
            case _:
                for line in expected:
                    self._read(line)
        return self

    def _read(self, expected: str = "...") -> str:
        if not self.unread:
            self._mismatch(f"nothing more was said, expected: {expected}")
        if not _fits(self.unread[0], expected):
            self._mismatch(f"expected: {expected}")
        line = self.unread.popleft()
        self.story.append(f"<< {line}")
        return line

    def _mismatch(self, why: str) -> None:
        self.failed = True
        unread = "".join(f"\n   << {line}" for line in self.unread)
        told = "".join(f"\n   {line}" for line in self.story[-100:])
        raise AssertionError(f"{why}\n\nthe conversation so far:{told}\n\nnot asked for yet:{unread or ' nothing'}")

    def end(self) -> None:
        """Fail if anything was said that nobody asked for."""
        if self.unread and not self.failed:
            self._mismatch(f"the play ended, and nobody asked for: {self.unread[0]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, found: BaseException | None, _: TracebackType | None) -> None:
        if kind is None:
            self.end()

    # What the words of a story do.

    def answer(self, count: int) -> Iterable[Event]:
        """Let the server, worked by hand, answer what it heard."""
        for _ in range(count or len(self._heard)):
            yield events.UpstreamBytes(self.server.hear(self._heard.popleft()))


def until(line: str) -> Until:
    """Pass over everything up to and including this line: it is another story's."""
    return Until(line)


def _fits(line: str, expected: str) -> bool:
    return line.startswith(expected[:-3]) if expected.endswith("...") else line == expected


def approve(request: str = "R-1", max_rows: int | None = None, reason: str = "fine", *, others: int | None = 0) -> Call:
    """Bo approves; `others`: how many other rows, None for any."""
    ceiling = None if max_rows is None else Ceiling(max_rows, others)
    return Call(f"approve {request}", lambda play: [play.ledger.decide(request, Answer.APPROVE, ceiling, reason)])


def approve_in_part(approver: str = "ana", missing: str = "1 more of dba", request: str = "R-1") -> Call:
    """Somebody approves what needs others too."""
    name = f"{approver} approves {request} in part"
    return Call(name, lambda play: [play.ledger.approve_in_part(request, approver, missing)])


def deny(request: str = "R-1", reason: str = "not today") -> Call:
    """Bo denies."""
    return Call(f"deny {request}", lambda play: [play.ledger.decide(request, Answer.DENY, None, reason)])


def taken_back(request: str = "R-1", called_at: datetime = START) -> events.TakenBack:
    """Eva takes a request back by a signed call."""
    target = f"/v1/requests/{request}/withdraw"
    headers = calls.signed(EVA, "shop.example/ledger+key", "POST", target, b"", called_at=called_at, nonce=bytes(16))
    call = calls.read(headers[calls.CALL_HEADER], headers[calls.SIGNATURE_HEADER])
    return events.TakenBack(request, "eva", fingerprint(EVA.public), call)


def after(seconds: float) -> Call:
    """Time passes, and the proxy's clock ticks."""

    def tick(play: Play) -> list[Event]:
        play.clock += seconds
        return [events.Tick()]

    return Call(f"after {seconds} s", tick)


def wall_clock_set(seconds: float) -> Call:
    """Somebody sets the wall clock forward, or back; the monotonic one does not care."""

    def tick(play: Play) -> list[Event]:
        play.wall_ahead_s += seconds
        return [events.Tick()]

    return Call(f"the wall clock set by {seconds} s", tick)


def server(*frames: bytes) -> Call:
    """The server says exactly this."""
    return Call(f"the server says {b''.join(frames)!r:.100}", lambda _: [events.UpstreamBytes(b"".join(frames))])


def answers(count: int = 0) -> Call:
    """The server, worked by hand, answers what it has heard: `count` writes, or all."""
    return Call("the server answers", lambda play: play.answer(count))


def _durable(play: Play) -> list[Event]:
    if play.noted:
        for draft in play.noted.pop(0).drafts:
            play.ledger.append(draft)
        return [events.Noted()]
    return [play.ledger.record(play.recorded.pop(0))]


durable = Call("the ledger has it", _durable)
"""The ledger, worked by hand, has the oldest group that waits."""


def not_recorded(failure: PgnotaryError = DOWN) -> Call:
    """The ledger, worked by hand, could not write the oldest group that waits."""

    def fail(play: Play) -> list[Event]:
        play.recorded.pop(0)
        return [events.RecordFailed(failure)]

    return Call(f"not recorded: {failure}", fail)


ledger_is_down = events.LedgerState(DOWN)
ledger_is_back = events.LedgerState(None)


# --- lines ------------------------------------------------------------------------------------------------------------


def _name(sent: bytes) -> str:
    """Return a name for reading: a client may send what is no UTF-8."""
    return sent.decode(errors="replace")


def _client_line(frame: Frame) -> str:
    match frame.type:
        case b"T":
            return "client columns"
        case b"D":
            return "client row " + ",".join(value or "null" for value in messages.data_row(frame.body))
        case b"C":
            return f"client {messages.command_tag(frame.body)}"
        case b"Z":
            return f"client ready {frame.body.decode()}"
        case b"E" | b"N":
            found = messages.diagnostic(frame.body)
            return f"client {found.severity} {found.sqlstate} {found.message}"
        case b"S":
            return "client parameter {}={}".format(*messages.parse_parameter_status(frame.body))
    return f"client {_KINDS.get(frame.type, frame.type.decode())}"


def _upstream_line(frame: Frame) -> str:
    match frame.type:
        case b"Q":
            return f"upstream {messages.query_text(frame.body).decode()}"
        case b"P":
            return f"upstream Parse {frame.body.split(bytes(1))[1].decode()}"
    return f"upstream {_SENT.get(frame.type, frame.type.decode())}"


_KINDS = {
    b"A": "notification",
    b"I": "nothing to do",
    b"G": "copy in",
    b"H": "copy out",
    b"d": "copy data",
    b"c": "copy done",
}
_SENT = {
    b"B": "Bind",
    b"C": "Close",
    b"D": "Describe",
    b"E": "Execute",
    b"H": "Flush",
    b"S": "Sync",
    b"X": "Terminate",
    b"c": "CopyDone",
    b"d": "CopyData",
    b"f": "CopyFail",
}
