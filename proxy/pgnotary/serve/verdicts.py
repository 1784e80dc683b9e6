"""Verdicts that are remembered: the same text in the same database and scope, from the same person, means the same.

A text and everything that changes its meaning enter; a statement and its verdict leave. What is forwarded is remembered
by its exact bytes, without its parse tree: it comes again and again and takes little memory then, while what is held
waits for people anyway. Of a plain SELECT or INSERT that is forwarded the verdict is remembered by its text without
constants, too, since no constant can change it. Never by fingerprint: `BEGIN READ ONLY` and `BEGIN READ WRITE` have the
same one.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from pgnotary.judge.catalog import Catalog
from pgnotary.judge.gate import decode
from pgnotary.judge.grammar import Unreadable, without_constants
from pgnotary.judge.meaning import weigh
from pgnotary.judge.policy import Verdict, verdict
from pgnotary.judge.rules import Action, Policy, Subject
from pgnotary.judge.scope import Scope
from pgnotary.judge.statement import Finding, Part, Qualifier, Statement, StatementClass
from pgnotary.serve.turns import Turns
from pgnotary.serve.workers import Readings, is_unread

__all__ = ["MAX_REMEMBERED", "MAX_REMEMBERED_BYTES", "Verdicts"]

MAX_REMEMBERED = 1_024
MAX_REMEMBERED_BYTES = 8 << 20
_MAX_NORMALISED = 4_096
"""Of a longer text the constants are most of it, and it seldom comes again with others."""
_CONSTANTS_DECIDE_NOTHING = frozenset({"SelectStmt", "InsertStmt"})
_PLAIN = frozenset({Qualifier.WRITE})

_Key = tuple[bytes, Catalog, Scope, Subject]
_Found = tuple[Statement, Verdict]


class _Remembered:
    """A bounded memory; what was not asked for longest is forgotten first."""

    def __init__(self) -> None:
        self._found: OrderedDict[_Key, _Found] = OrderedDict()
        self._bytes = 0

    def get(self, key: _Key) -> _Found | None:
        if (found := self._found.get(key)) is not None:
            self._found.move_to_end(key)
        return found

    def put(self, key: _Key, found: _Found) -> None:
        if key not in self._found:
            self._bytes += len(key[0])
        self._found[key] = found
        while len(self._found) > MAX_REMEMBERED or (self._bytes > MAX_REMEMBERED_BYTES and len(self._found) > 1):
            (text, *_), _ = self._found.popitem(last=False)
            self._bytes -= len(text)


class Verdicts:
    """The judge of all sessions, under one policy."""

    def __init__(
        self,
        policy: Policy,
        reader: Callable[[bytes], Awaitable[Statement]] | None = None,
        turns: Turns | None = None,
    ) -> None:
        """`reader` reads large texts beside the event loop; without one they stay unread.

        `turns` are for all other texts that are not remembered; without them nobody waits to read one.
        """
        self._policy = policy
        self._reader = reader
        self._turns = turns
        self._readings = Readings()
        self._by_bytes = _Remembered()
        self._by_shape = _Remembered()

    def under(self, policy: Policy) -> "Verdicts":
        """Return the judge under another policy, which remembers what texts say and no verdict over them."""
        other = Verdicts(policy, self._reader, self._turns)
        other._readings = self._readings
        return other

    def ready(self, text: bytes, catalog: Catalog, scope: Scope, subject: Subject) -> bool:
        """Say whether `judge` may read a text itself, and now."""
        if not self._readings.ready(text):
            return False
        return self._turns is None or self._turns.free or self._remembered(text, catalog, scope, subject) is not None

    async def read(self, text: bytes) -> Statement:
        """Return what a text says: read by a worker, and kept for later sessions, or here when it is its turn."""
        if self._turns is not None and self._readings.ready(text):
            await self._turns.wait()
            return self._readings.read(text)
        if self._reader is None:
            return _unread(text)
        statement = await self._reader(text)
        if not is_unread(statement):
            self._readings.remember(text, statement)
        return statement

    def judge(
        self, text: bytes, catalog: Catalog, scope: Scope, subject: Subject, read: Statement | None = None
    ) -> _Found:
        """Return what a text says and what happens to it; raises InvalidText if it is not UTF-8.

        `read` is what a worker has read in it. A large text that no worker has read is held.
        """
        if (found := self._remembered(text, catalog, scope, subject)) is not None:
            return found
        key, shape = (text, catalog, scope, subject), _shape(text)
        if read is None and self._turns is not None:
            self._turns.take()
        try:
            statement = weigh(read or self._readings.read(text), catalog, scope)
        except LookupError:
            statement = _unread(text)
        found = (statement, self.verdict(statement, subject))
        if found[1].action is Action.FORWARD:
            found = (replace(statement, parts=tuple(replace(part, tree=b"") for part in statement.parts)), found[1])
            self._by_bytes.put(key, found)
            if shape is not None and _no_constant_decides(statement):
                self._by_shape.put((shape, *key[1:]), found)
        return found

    def _remembered(self, text: bytes, catalog: Catalog, scope: Scope, subject: Subject) -> _Found | None:
        """Return what is remembered of a text; raises InvalidText if it is not UTF-8."""
        key = (text, catalog, scope, subject)
        if (found := self._by_bytes.get(key)) is not None:
            return found
        decode(text)
        shape = _shape(text)
        if shape is not None and (found := self._by_shape.get((shape, *key[1:]))) is not None:
            (part,) = found[0].parts
            found = (Statement(text, (replace(part, start=0, end=len(text)),)), found[1])
            self._by_bytes.put(key, found)
        return found

    def verdict(self, statement: Statement, subject: Subject) -> Verdict:
        """Return what happens to a statement whose names are known."""
        return verdict(statement, self._policy, subject)


def _shape(text: bytes) -> bytes | None:
    """Return a text without its constants, if that is worth it."""
    # C stops reading at a NUL.
    if len(text) > _MAX_NORMALISED or b"\0" in text:
        return None
    with suppress(Unreadable):
        return without_constants(text)
    return None


def _no_constant_decides(statement: Statement) -> bool:
    (part, *others) = statement.parts
    plain = not others and part.node in _CONSTANTS_DECIDE_NOTHING and part.qualifiers <= _PLAIN
    return plain and not part.rescopes


def _unread(text: bytes) -> Statement:
    finding = Finding(Qualifier.UNREAD, "the text is too large to be read here", "gate")
    return Statement(text, (Part(StatementClass.UNKNOWN, "", 0, len(text), (finding,)),))
