"""Judges each text of a script, and tries the judgement out on the server before the text runs.

A text enters; the tally has it afterwards, and it has run once for its script. What was called harmless runs READ ONLY
first, in a transaction or below a savepoint of its own, and is undone: it must not meet 25006, nor be given a
transaction id, nor be one of the known escapes. A held text of a read's form is run so too, to know that it is one.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.regress.judged import Judge, Judgement, OurJudge
from tests.regress.relay import Answer, Server
from tests.regress.shape import Shape, shape_of
from tests.regress.tally import Finding, Tally

from pgnotary.errors import InvalidText
from pgnotary.judge.grammar import Unreadable
from pgnotary.judge.settings import PINNED

__all__ = ["Scripts", "TextExaminer"]

READ_ONLY = "25006"

# An aggregate says nothing of itself: it is as volatile as what it is made of.
_VOLATILE = b"""
SELECT pg_catalog.json_agg(DISTINCT p.proname)::pg_catalog.text FROM pg_catalog.pg_proc p
LEFT JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = p.oid
LEFT JOIN pg_catalog.pg_proc made ON made.oid IN (a.aggtransfn, a.aggfinalfn, a.aggmtransfn, a.aggmfinalfn)
WHERE 'v' IN (p.provolatile, made.provolatile)
"""
_TRANSACTION_ID = b"SELECT pg_catalog.pg_current_xact_id_if_assigned()"
# A subtransaction has an id of its own, which no function tells; the lock on it does.
_ID_LOCKS = b"""
SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks WHERE pid = pg_catalog.pg_backend_pid()
AND locktype = 'transactionid'::pg_catalog.text AND mode = 'ExclusiveLock'::pg_catalog.text
"""
# The server counts the calls of functions that are not PostgreSQL's own; an inlined SQL function is not called.
_VOLATILE_CALLS = b"""
SELECT pg_catalog.sum(s.calls) FROM pg_catalog.pg_stat_xact_user_functions s
JOIN pg_catalog.pg_proc p ON p.oid = s.funcid WHERE p.provolatile = 'v'
"""
_BELOW = (b"SAVEPOINT pgnotary_trial", b"SET LOCAL transaction_read_only = on")
_UNDO = (b"ROLLBACK TO SAVEPOINT pgnotary_trial", b"RELEASE SAVEPOINT pgnotary_trial")

# Tags of what leaves the catalog as it was.
_NO_DDL = frozenset(
    """
    ANALYZE BEGIN CLOSE COPY DEALLOCATE DECLARE DELETE EXPLAIN FETCH INSERT LISTEN LOCK MERGE MOVE PREPARE RELEASE RESET
    SAVEPOINT SET SHOW START UPDATE VACUUM
    """.split()
)
_CHANGES_NAMES = re.compile(rb"\b(search_path|role|authorization|reset\s+all|discard)\b", re.IGNORECASE)


class Scripts:
    """Where the texts come from: the script that runs now, and the tallies of it and of psql itself."""

    def __init__(self, judge: Callable[[], Judge] = OurJudge) -> None:
        self.judge = judge
        self.of_scripts, self.of_psql = Tally(), Tally()
        self._name, self._text, self._at = "", b"", 0

    def begin(self, name: str, path: Path | None = None) -> None:
        """From now on texts come from that script."""
        self._name, self._text, self._at = name, path.read_bytes() if path else b"", 0

    def place(self, text: bytes) -> tuple[str, int]:
        """Return the script and the line at which a text stands; 0 if it is psql's own, as for \\d."""
        first = text.strip().partition(b"\n")[0].partition(b";")[0]
        # Short ones stand everywhere: they are looked for nearby only.
        reach = self._at + (20_000 if len(first) < 20 else len(self._text))
        at = self._text.find(text.strip(), self._at, reach)
        at = self._text.find(first, self._at, reach) if at < 0 else at
        # A variable of psql's may stand somewhere behind.
        at = self._text.find(first[:15], self._at, self._at + 4_000) if at < 0 and len(first) > 15 else at
        if at >= 0:
            self._at = at + len(first)
        elif b"pg_catalog." in text:
            return self._name, 0
        # What stands nowhere was made of variables, or of an answer by \gexec: somewhere near.
        return self._name, self._text.count(b"\n", 0, self._at) + 1


class TextExaminer:
    """Examines the texts of one connection."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._judge = scripts.judge()
        self._volatile: frozenset[str] = frozenset()
        self._stale = True
        self._stale_since_begin = False

    def examine(self, server: Server, text: bytes, forward: Callable[[], Answer]) -> None:
        """Judge a text, try it, and let it run."""
        script, line = self._scripts.place(text)
        tally = self._scripts.of_scripts if line else self._scripts.of_psql

        def finding(why: str) -> Finding:
            return Finding(script, line, text.decode(errors="replace"), why)

        try:
            shape = shape_of(text)
        except Unreadable:
            tally.unparsed += 1
            self._remember(text, forward(), harmless=False)
            return
        if any(server.settings.get(name, value) != value for name, value in PINNED.items() if _reads_texts(name)):
            tally.foreign += 1
            self._remember(text, forward(), harmless=False)
            return
        judgement = self._judged(server, text, shape, tally)
        tally.judged += len(shape.slices)
        tally.harmless += judgement.harmless * len(shape.slices)
        is_plain = shape.reads and not shape.functions & self._volatile
        obstacle = "a failed block" if server.status == "E" else shape.obstacle
        sqlstate = None
        if judgement.harmless and shape.escape:
            tally.wrong.append(finding(f"is {shape.escape}, which READ ONLY does not stop"))
        elif judgement.harmless and server.status == "T" and {part.node for part in shape.slices} == {"FetchStmt"}:
            tally.executed += 1
            if why := self._fetch(server, text, forward):
                tally.wrong.append(finding(why))
            return
        elif (judgement.harmless or is_plain) and not obstacle:
            trial = _try(server, shape, counts_calls=judgement.held)
            sqlstate = trial.sqlstate
            if judgement.harmless:
                tally.executed += len(shape.slices)
                tally.failed += bool(sqlstate)
                if trial.why:
                    tally.wrong.append(finding(trial.why))
            if is_plain and trial.calls_volatile:
                tally.reads_of_volatile += 1
            elif is_plain and trial.tells and not sqlstate and not trial.why:
                tally.reads += 1
                if judgement.held:
                    tally.held.append(finding(judgement.reason))
        elif judgement.harmless:
            tally.untried[obstacle] += len(shape.slices)
        answer = forward()
        if judgement.harmless and sqlstate is not None and sqlstate != answer.sqlstate:
            tally.otherwise[f"{sqlstate or 'ok'} -> {answer.sqlstate or 'ok'}"] += 1
        self._remember(text, answer, harmless=judgement.harmless)

    def _judged(self, server: Server, text: bytes, shape: Shape, tally: Tally) -> Judgement:
        if self._stale and shape.may_read and server.status != "E":
            self._judge.renew(server.ask)
            volatile = server.ask(_VOLATILE)
            if not volatile.sqlstate:
                self._volatile = frozenset(json.loads(volatile.rows[0][0] or "[]"))
                self._stale = False
        started = time.perf_counter()
        try:
            return self._judge.judge(text)
        except InvalidText as error:
            return Judgement(harmless=False, held=True, reason=str(error))
        finally:
            tally.judging_s += time.perf_counter() - started

    def _fetch(self, server: Server, text: bytes, forward: Callable[[], Answer]) -> str:
        """Run a FETCH for its script, read only: a cursor does not go back. Return why that was wrong."""
        before = server.ask(_ID_LOCKS).rows
        for wrap in _BELOW:
            server.ask(wrap)
        answer = forward()
        self._remember(text, answer, harmless=True)
        if server.status != "T":
            return READ_ONLY if answer.sqlstate == READ_ONLY else ""
        wrote = server.ask(_ID_LOCKS).rows != before
        server.ask(_UNDO[1])
        return "was given a transaction id" if wrote else ""

    def _remember(self, text: bytes, answer: Answer, *, harmless: bool) -> None:
        words = {tag.partition(" ")[0] for tag in answer.tags}
        if (words and not harmless and not words <= _NO_DDL) or _CHANGES_NAMES.search(text):
            self._stale = self._stale_since_begin = True
        # The end of a block may take back what it changed, or what was read in it.
        if words & {"COMMIT", "ROLLBACK"} and self._stale_since_begin:
            self._stale = True
            self._stale_since_begin = False


def _reads_texts(setting: str) -> bool:
    return setting in ("client_encoding", "standard_conforming_strings")


@dataclass(frozen=True)
class _Trial:
    """What came of running a text read only."""

    why: str
    """Why it is no read, or ""."""
    sqlstate: str
    """Of any other error."""
    calls_volatile: bool
    """A VOLATILE function of somebody's was called."""
    tells: bool
    """A transaction that has an id already does not tell whether the text would have been given one."""


def _try(server: Server, shape: Shape, *, counts_calls: bool) -> _Trial:
    """Run a text read only and undo it."""
    idle = server.status == "I"
    # A question would take the snapshot which SET TRANSACTION may still have to come before.
    counts = shape.takes_a_snapshot
    before = [["0"]] if idle or not counts else server.ask(_ID_LOCKS).rows
    for text in (b"BEGIN READ ONLY",) if idle else _BELOW:
        server.ask(text)
    called = server.ask(_VOLATILE_CALLS).rows if counts_calls else []
    sqlstate = ""
    for part in shape.slices:
        if sqlstate := server.ask(part.text).sqlstate:
            break
    wrote = calls_volatile = False
    if server.status == "T" and counts:
        wrote = server.ask(_TRANSACTION_ID).rows != [[None]] if idle else server.ask(_ID_LOCKS).rows != before
    if server.status == "T" and counts_calls:
        calls_volatile = _calls_since(server, shape, called)
    held_over = [part.held_over for part in shape.slices if part.held_over]
    if idle and held_over and not sqlstate:
        # Only its end runs the query of a cursor that outlives the transaction.
        sqlstate = server.ask(b"COMMIT").sqlstate
        for name in held_over:
            server.ask(b"CLOSE " + _quoted(name))
    else:
        for text in (b"ROLLBACK",) if idle else _UNDO:
            server.ask(text)
    # No rollback takes a prepared statement back.
    for name in [part.prepared for part in shape.slices if part.prepared and not sqlstate]:
        server.ask(b"DEALLOCATE " + _quoted(name))
    why = READ_ONLY if sqlstate == READ_ONLY else "was given a transaction id" if wrote else ""
    return _Trial(why, "" if sqlstate == READ_ONLY else sqlstate, calls_volatile, tells=before == [["0"]])


def _calls_since(server: Server, shape: Shape, called: list[list[str | None]]) -> bool:
    """Say whether a VOLATILE function was called; what EXPLAIN only shows runs for that, too."""
    for part in shape.slices:
        if part.explained and server.ask(part.explained).sqlstate:
            return False
    return server.ask(_VOLATILE_CALLS).rows != called


def _quoted(name: str) -> bytes:
    return b'"' + name.replace('"', '""').encode() + b'"'
