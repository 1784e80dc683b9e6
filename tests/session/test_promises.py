"""The promises, kept through everything that can happen: no byte goes upstream unless it may, no record is untrue.

Scripts and troubles are random. What reached the server is cut into messages again here, by code that shares nothing
with the session's, and each message must be one of our own, judged `forward`, or part of a text whose intent was
recorded after an approval. Each record is then held against what the server did.
"""

import re
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.play import judge, message
from tests.session.chance import ANOTHERS, MOST, Improvised, improvise
from tests.session.stories import GIVES_XID, XID

from pgnotary.judge.asked import FUNCTIONS_QUESTION, reach_question, read_functions
from pgnotary.judge.reading import read
from pgnotary.judge.rules import Action
from pgnotary.judge.scoped import SCOPE_QUESTIONS
from pgnotary.judge.statement import Statement
from pgnotary.ledger.entries import Entry
from pgnotary.request.along import along_question
from pgnotary.request.decision import Answer
from pgnotary.request.life import FINAL, State
from pgnotary.request.subject import Subject
from pgnotary.session import actions
from pgnotary.session.changes import BEFORE, BEHIND
from pgnotary.session.deferred import FIRE
from pgnotary.session.mark import Mark
from pgnotary.session.standing import standing_texts
from pgnotary.session.timeline import TIMELINE
from pgnotary.session.two_phase import LOCKS, ONE
from pgnotary.session.waiting import WAITING
from pgnotary.session.writing import READ_WRITE_SESSION
from pgnotary.wire import messages

BATCH = (
    messages.parse(b"", b"set transaction_read_only = off")
    + message("B", bytes(8))
    + message("E", bytes(5))
    + messages.SYNC
)

# Every change has a number of its own, so that what the server did can be held against what was recorded.
# What begins with a > comes in the extended protocol: the texts between semicolons in one batch.
READS = ["select 1", "select 1/0", "select 1; select 2", ""]
CHANGES = [
    "delete from t{n}",
    "delete from t{n}",
    "delete from t{n}",
    "insert into t{n} values (1)",
    "drop table t{n}",
    "select 1; delete from t{n}; select 2",
    "delete from t{n}; select 1/0",
    "> delete from t{n}",
    "> delete from t{n}",
    "> drop table t{n}",
    "> delete from t{n}a; delete from t{n}b",
    "> select 1; insert into t{n} values (1); select 2; delete from t{n}b",
    "> delete from t{n}; select 1/0; delete from t{n}b",
    *[f"{extended}copy t{{n}}{how} from stdin" for extended in ("", "> ") for how in ("", "_bad", "_given_up")],
]
DATA = message("d", b"1\n")
DATA_OF = {"_bad": DATA + message("d", b"bad\n") + DATA + message("c"), "_given_up": DATA + message("f", b"no\0")}
"""What follows a COPY without waiting for anything, by what is in its name."""
BRACKETS = [
    "begin; select 1; commit",
    "begin; select 1/0; commit",
    "begin; select 1; delete from t{n}; commit",
    "begin; delete from t{n}; rollback",
    "begin read only; delete from t{n}; commit",
    "begin; delete from t{n}; select 1/0; commit",
]
SAVEPOINTS = ["savepoint a", "savepoint b", "rollback to a", "rollback to b", "release a"]
PREPARES = "prepare transaction 'x'"
ENDINGS = ["commit", "commit", "rollback", "commit and chain", "rollback and chain", "end", PREPARES]
# Whatever waits as x was prepared here, and what waits as y was not.
ENDS_PREPARED = [f"{how}{word} prepared 'x'" for how in ("", "> ") for word in ("commit", "rollback")]
ENDS_ANOTHERS = [how + ANOTHERS for how in ("", "> ")]
REFUSED = ["delete from nowhere", "set transaction_read_only = off"]
READ_BATCHES = [
    messages.parse(name, text) + messages.bind(b"", name) + messages.execute(b"") + end
    for name, text, end in [
        (b"", b"select 1", messages.SYNC),
        (b"", b"select 1/0", messages.SYNC),
        (b"s", b"select 1", messages.SYNC),
        (b"", b"begin", messages.SYNC),
        (b"", b"commit", messages.SYNC),
        (b"", b"select 1", messages.FLUSH + messages.SYNC),
    ]
]
OF_PREPARED = messages.bind(b"", b"s") + message("D", b"P\0") + messages.execute(b"") + messages.SYNC
RAW = [BATCH, *READ_BATCHES, OF_PREPARED, messages.SYNC, message("F", bytes(12)), message("d", b"x"), message("H")]

INSIDE = st.lists(st.sampled_from([*CHANGES, *CHANGES, *READS, *SAVEPOINTS]), min_size=1, max_size=5)
UNDONE = st.builds(lambda before, after: ["savepoint a", *before, "rollback to a", *after], INSIDE, INSIDE)
BLOCK = st.builds(
    lambda begin, inside, ending: [begin, *inside, ending],
    st.sampled_from(["begin", "begin", "begin read only"]),
    st.one_of(INSIDE, UNDONE),
    st.sampled_from(ENDINGS),
)
ANYTHING = st.lists(
    st.sampled_from(
        [*CHANGES, *READS, *BRACKETS, *SAVEPOINTS, *ENDINGS, *ENDS_PREPARED, *ENDS_ANOTHERS, *REFUSED, *RAW, "begin"]
    ),
    min_size=1,
    max_size=4,
)
TWO_PHASES = st.builds(
    lambda inside, end: ["begin", *inside, PREPARES, end], INSIDE, st.sampled_from([*ENDS_PREPARED, *ENDS_ANOTHERS])
)
SCRIPTS = st.lists(st.one_of(ANYTHING, BLOCK, BLOCK, TWO_PHASES), min_size=1, max_size=3)
APPROVED = [(Answer.APPROVE, None), (Answer.APPROVE, None), (Answer.APPROVE, 5)]
VERDICTS = st.lists(
    st.sampled_from([*APPROVED, *APPROVED, (Answer.APPROVE, 4), (Answer.DENY, None), None]), max_size=16
)
CHANCE = st.integers(0, 2**32).map(Random)

LIMITS = "SET LOCAL statement_timeout = 2000; SET LOCAL lock_timeout = 200"
LOOKS = {f"BEGIN READ ONLY; {LIMITS}", f"SAVEPOINT pgnotary_look; SET LOCAL transaction_read_only = on; {LIMITS}"}
CONTEXT, *SCHEMAS = (each.decode() for each in standing_texts(Statement(b"", ())))
# Of DDL more is asked.
SCHEMAS.append(re.sub(r"'\[[^']+\]'::", "'[]'::", standing_texts(read(b"create table t ()"))[1].decode()))


# Whatever it names.
def _with_places(question: str) -> str:
    """Return a pattern of a question of ours, whatever stands in its literals and switches."""
    pattern = re.escape(question).replace(re.escape("'[]'::pg_catalog.json"), r"'(?:[^']|'')*'::pg_catalog\.json")
    return pattern.replace("WHERE\\ false", "WHERE\\ (?:true|false)")


# What goes along with what is dropped or emptied is asked beside it, once for each part.
ALONG = rf"(?:,\ \({_with_places(along_question(Subject(None)).decode())}\))*"
ASKED = [schema.partition("), pg_catalog.set_config('jit'") for schema in SCHEMAS]
STANDS = "|".join(_with_places(named) + ALONG + re.escape(closed + jit) for named, closed, jit in ASKED)
STANDING = re.compile(f"{re.escape(CONTEXT)}; (?:{STANDS})")
BEHIND_IT = re.compile(f"; {STANDING.pattern}\\Z")
LOOKS_EXTENDED = {"BEGIN READ ONLY", "SAVEPOINT pgnotary_look"}
LOOKS_EXTENDED_END = {"ROLLBACK", "RELEASE SAVEPOINT pgnotary_look"}
LOOKS_END = {"ROLLBACK", "ROLLBACK TO SAVEPOINT pgnotary_look; RELEASE SAVEPOINT pgnotary_look"}
FIGURES = {
    f"{frame}; SET LOCAL statement_timeout = 2000{jit}"
    for frame in ("SAVEPOINT pgnotary_figure", "ROLLBACK TO SAVEPOINT pgnotary_figure")
    for jit in ("", "; SET LOCAL jit = off")
}
FACTS = ("WITH RECURSIVE named (oid, target, children) AS (", "WITH RECURSIVE weighed (oid, children) AS (")
WALL = "SAVEPOINT pgnotary_read; SET LOCAL transaction_read_only = on"
UNDOING = "ROLLBACK TO SAVEPOINT pgnotary_read; RELEASE SAVEPOINT pgnotary_read"
RUNS_CODE = re.compile("select|explain|copy")
LIMIT = "SET LOCAL statement_timeout = 10000; SET LOCAL jit = off; SET LOCAL search_path = pg_catalog"
NO_FUNCTIONS = (
    '{"built_in": [], "own": [], "words": [], "making": [], "anyarrays": [], "unifying": [], "equals": false}'
)
ISOLATION = "SELECT pg_catalog.current_setting('transaction_isolation')"
REACH = reach_question(read_functions(NO_FUNCTIONS))
OPENING, CLOSING = (
    "SAVEPOINT pgnotary_catalog",
    ("ROLLBACK TO SAVEPOINT pgnotary_catalog; RELEASE SAVEPOINT pgnotary_catalog"),
)
SCOPES = (SCOPE_QUESTIONS[0], f"SET LOCAL search_path = pg_catalog; {SCOPE_QUESTIONS[1]}")
PREPARED_ELSEWHERE = {ONE.replace("__GID__", gid) for gid in ("x", *(f"y{n}" for n in range(MOST)))} | {
    LOCKS.replace("__XID__", "900")
}
OPENED = f"{XID}; {BEFORE.decode()}"
FIRES = f"{FIRE.decode()}; {BEHIND.decode()}"
COUNTS = {
    f"{BEHIND.decode()}; {WAITING.decode()}",
    WAITING.decode(),
    FIRES,
    f"{BEHIND.decode()}; {FIRES}",
    f"{BEFORE.decode()}; {FIRES}",
}
OUTSIDE = {f"SELECT {TIMELINE}", *(each.decode() for each in READ_WRITE_SESSION)}
OURS = {
    *PREPARED_ELSEWHERE,
    *OUTSIDE,
    GIVES_XID,
    f"BEGIN READ ONLY; {LIMIT}; {FUNCTIONS_QUESTION}",
    f"{OPENING}; {LIMIT}; {ISOLATION}; {FUNCTIONS_QUESTION}",
    REACH,
    CLOSING,
    *(f"BEGIN READ ONLY; {scope}; ROLLBACK" for scope in SCOPES),
    *(f"{OPENING}; {scope}; {CLOSING}" for scope in SCOPES),
    *LOOKS,
    *LOOKS_END,
    *FIGURES,
    WALL,
    UNDOING,
    "SET LOCAL transaction_read_only = on",
    "SET TRANSACTION READ WRITE",
    f"BEGIN; SET TRANSACTION READ WRITE; {OPENED}",
    OPENED,
    *COUNTS,
    "SET LOCAL pgnotary.signed = ...",
    Mark.ASK.decode(),
    "COMMIT",
}


INJECTED = {
    CONTEXT,
    *PREPARED_ELSEWHERE,
    *OUTSIDE,
    *WALL.split("; "),
    *UNDOING.split("; "),
    "SELECT name, creation_time FROM pg_catalog.pg_cursors WHERE is_holdable",
    "SET TRANSACTION READ WRITE",
    "SELECT name, statement FROM pg_catalog.pg_prepared_statements",
    "BEGIN READ ONLY",
    "BEGIN",
    *LIMITS.split("; "),
    *OPENED.split("; "),
    FIRE.decode(),
    BEHIND.decode(),
    WAITING.decode(),
    Mark.ASK.decode(),
    "SET LOCAL transaction_read_only = on",
    *(part for each in FIGURES for part in each.split("; ")),
    "SAVEPOINT pgnotary_look",
    "ROLLBACK TO SAVEPOINT pgnotary_look",
    "RELEASE SAVEPOINT pgnotary_look",
    *LIMIT.split("; "),
    FUNCTIONS_QUESTION,
    REACH,
    ISOLATION,
    *SCOPE_QUESTIONS,
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT pgnotary_catalog",
    "ROLLBACK TO SAVEPOINT pgnotary_catalog",
    "RELEASE SAVEPOINT pgnotary_catalog",
}


def _without_mark(text: str) -> str:
    return re.sub(r"(?<=SET LOCAL pgnotary\.signed = )'[^']*'", "...", text)


def script_of(scenes: Sequence[Sequence[str | bytes]]) -> tuple[bytes, list[str]]:
    """Return the client's bytes and its texts."""
    parts = [part for scene in scenes for part in scene]
    texts = [part.format(n=n) for n, part in enumerate(parts) if isinstance(part, str)]
    remaining = iter(texts)
    said = b"".join(part if isinstance(part, bytes) else _said(next(remaining)) for part in parts)
    return said, [each for text in texts for each in _texts(text)]


def _texts(text: str) -> list[str]:
    """Return what is sent as one text each."""
    return text.removeprefix("> ").split("; ") if text.startswith(">") else [text]


def _said(text: str) -> bytes:
    data = b""
    if "from stdin" in text:
        data = next((data for how, data in DATA_OF.items() if how in text), DATA * 2 + message("c"))
    if not text.startswith(">"):
        return messages.query(text.encode()) + data
    runs = (
        messages.parse(b"", each.encode()) + messages.bind(b"", b"") + messages.execute(b"") for each in _texts(text)
    )
    return b"".join(runs) + data + messages.SYNC


def cut(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Cut bytes into messages: type and body."""
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("!I", data, at + 1)
        yield data[at : at + 1], data[at + 5 : at + 1 + length]
        at += 1 + length
    assert at == len(data), "the last message is not whole"


def slices(text: str) -> list[str]:
    statement, _ = judge(text.encode())
    return [statement.slice(part).decode() for part in statement.parts]


class _Oracle:
    """Says of each thing that was sent whether it may have been."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.held = {text for text in texts if judge(text.encode())[1].action is Action.HOLD}
        self.free = {
            each for text in texts if judge(text.encode())[1].action is Action.FORWARD for each in (text, *slices(text))
        }
        self.approved: set[str] = set()
        self.statements: dict[str, str] = {}
        self.may_run: Counter[str] = Counter()
        self.looking = False
        self.prepared: dict[bytes, str] = {}
        self.portals: dict[bytes, str] = {}
        self.copying = False
        """A COPY that may run was sent, and not yet the end of its data."""
        self.prepares = False
        """PREPARE TRANSACTION has been sent."""
        self.left = False
        """The client has gone: no client, no execution."""

    def recorded(self, entry: Entry) -> None:
        request = entry.request or ""
        match entry.type.value, entry.body.get("answer"):
            case "decision", "approve":
                self.approved.add(request)
            case "intent", _:
                assert request in self.approved, f"{request}: an intent without an approval"
                text = self.statements[request]
                parts = slices(text)
                self.may_run.update(parts if len(parts) > 1 else [text])

    def announced(self, action: actions.Announce) -> None:
        text = action.request.opened["statement"][1].decode()
        self.statements[str(action.request.entry.request)] = text

    def sent(self, kind: bytes, body: bytes) -> None:
        if kind in (b"d", b"c", b"f"):
            assert self.copying, f"{kind!r} was sent without a COPY"
            self.copying = kind == b"d"
        elif kind == b"Q":
            self._query(body[:-1].decode())
        elif kind == b"P":
            name, text, types = body.split(b"\0", 2)
            assert types == b"\0\0"
            self._parse(name, text.decode())
        elif kind == b"B":
            portal, name = messages.bind_fields(body)
            self.portals[portal] = self.prepared.get(name, "")
            assert (
                portal.startswith(b"pgnotary_")
                or self._is_free(self.portals[portal])
                or self.may_run[self.portals[portal]]
            ), f"{self.portals[portal]!r} is bound, and nothing allows it"
        elif kind == b"E":
            portal = messages.execute_portal(body)
            if not portal.startswith(b"pgnotary_") and not self._is_free(self.portals[portal]):
                self._run(self.portals[portal])
        else:
            assert kind in (b"S", b"C", b"X", b"H", b"D"), f"{kind!r} was sent"

    def _is_free(self, text: str) -> bool:
        if text == PREPARES:
            self.prepares = True
        if text in ENDS_PREPARED:
            return self.prepares
        return judge(text.encode())[1].action is Action.FORWARD

    def _parse(self, name: bytes, text: str) -> None:
        explained = text.removeprefix("EXPLAIN (FORMAT JSON) ")
        self.prepared[name] = text
        if name == b"pgnotary_examined":
            assert text in self.held, f"{text!r} is parsed, and nobody held it"
            assert self.looking, f"{text!r} is parsed where it could do something"
        elif name == b"pgnotary_bound":
            assert self.looking, f"{text!r} was asked where it could do something"
            assert explained in self.held or text.startswith("SELECT pg_catalog.count(*) FROM ")
        elif name.startswith(b"pgnotary_"):
            asks = text.startswith((*FACTS, "SELECT pg_catalog.count(*) FROM ONLY "))
            ours = _without_mark(text) in INJECTED or asks or re.fullmatch(STANDS, text)
            assert self.looking or not asks, "the catalog is asked where that could do something"
            assert ours, f"{text!r} is not one of ours"
            self.looking = text in LOOKS_EXTENDED or (self.looking and text not in LOOKS_EXTENDED_END)
        else:
            assert self._is_free(text) or self.may_run[text], f"{text!r} is prepared, and nothing allows it"

    def _run(self, text: str) -> None:
        assert self.may_run[text], f"{text!r} was sent, and nothing allows it"
        assert not self.left or text not in self.held, f"{text!r} was sent, and nobody is there to have it"
        self.may_run[text] -= 1
        self.copying = text.endswith("from stdin")

    def _query(self, said: str) -> None:
        text = BEHIND_IT.sub("", _without_mark(said))
        explained = text.removeprefix("EXPLAIN (FORMAT JSON) ")
        if text in OURS:
            assert self.looking or text not in FIGURES
            self.looking = text in LOOKS or (self.looking and text not in LOOKS_END)
        elif text.startswith(FACTS) or STANDING.fullmatch(text):
            assert self.looking
        elif explained != text or text.startswith("SELECT pg_catalog.count(*) FROM "):
            assert self.looking, f"{text!r} was asked where it could do something"
            assert explained == text or any(explained in slices(held) for held in self.held)
        elif text in (*self.free, *ENDS_PREPARED) and not self.looking:
            assert self._is_free(text), f"{text!r} was sent, and nothing was prepared"
        elif text.endswith(f"; {OPENED}"):
            beginning = text.removesuffix(f"; {OPENED}").removesuffix("; SET TRANSACTION READ WRITE")
            assert beginning in {slices(held)[0] for held in self.held}, f"{text!r} begins what nobody asked for"
        else:
            self._run(text)


def check_what_was_sent(found: Improvised, texts: Sequence[str]) -> None:
    oracle = _Oracle(texts)
    sent = b""
    for kind, what in found.order:
        match kind, what:
            case "recorded", Entry() as entry:
                oracle.recorded(entry)
            case "announced", actions.Announce() as action:
                oracle.announced(action)
            case "left", _:
                oracle.left = True
            case "sent", bytes(data):
                sent += data
                for each in cut(data):
                    oracle.sent(*each)
    assert sent == found.to_upstream
    for text in found.play.server.writable:
        assert not (text in oracle.free and RUNS_CODE.match(text)), f"{text!r} was free to write"


def check_what_was_answered(found: Improvised, script: bytes) -> None:
    kinds = [kind for kind, _ in cut(found.to_client)]
    wanted = Counter(_wants_ready(script))
    fatal = [n for n, (kind, body) in enumerate(cut(found.to_client)) if kind == b"E" and b"SFATAL\0" in body]
    assert fatal in ([], [len(kinds) - 1]), "something follows a FATAL error"
    assert b"\0CXX000\0" not in found.to_client, "something failed that nothing expects"
    assert kinds.count(b"Z") <= wanted[True]
    if not found.play.session.closed:
        assert not found.troubled
        assert kinds.count(b"Z") == wanted[True], "a message was never answered"
    if found.troubled:
        assert found.play.session.closed, "the session does not end"
    assert found.after_close == []


def _wants_ready(script: bytes) -> Iterator[bool]:
    # Each batch ends in a Sync, so no query is ever passed over.
    return (kind in (b"S", b"Q", b"F") for kind, _ in cut(script))


def check_what_was_recorded(found: Improvised) -> None:
    """Hold the last word about each request against what the server has committed."""
    server, ledger = found.play.server, found.play.ledger
    changes = Counter(each.rstrip(";") for each in server.committed)
    assert all(count == 1 for count in changes.values()), "something ran twice"
    texts = {
        str(action.request.entry.request): action.request.opened["statement"][1].decode()
        for kind, action in found.order
        if isinstance(action, actions.Announce)
    }
    limits = {entry.request: entry.body.get("max_rows") for entry in ledger.entries if entry.type.value == "decision"}
    explained = 0
    for request, text in texts.items():
        committed = sum(changes[each] for each in {text, *slices(text), *(one.strip() for one in text.split(";"))})
        explained += committed
        state = ledger.states[request]
        if state is State.COMMITTED:
            # Of what ends a prepared transaction nobody counts rows; the desk takes no ceiling over it.
            assert text.startswith("commit prepared") or limits[request] != 4, (
                f"{request} has changed 5 rows, approved for at most 4"
            )
            assert limits[request] is None or "drop" not in text, f"{request}: nothing counts the rows of a DROP"
            assert committed == 1, f"{request} is recorded as committed, and is not"
        elif state in FINAL or state is State.PREPARED:
            assert committed == 0, f"{request} is recorded as {state}, and was committed"
    assert explained == sum(changes.values()), "something was committed that was never held"
    for text in server.interrupted:
        assert text not in OURS, f"a cancel of the client hit our own {text!r}"


def improvised(
    scenes: Sequence[Sequence[str | bytes]],
    verdicts: Sequence[tuple[Answer, int | None] | None],
    chance: Random,
    troubles: int = 0,
) -> Improvised:
    """Play a script by chance and check everything; who was not told what to say approves."""
    script, texts = script_of(scenes)
    found = improvise(script, [*verdicts, *APPROVED * 6], chance, troubles)
    check_what_was_sent(found, texts)
    check_what_was_answered(found, script)
    check_what_was_recorded(found)
    return found


@settings(deadline=None, max_examples=80)
@given(SCRIPTS, VERDICTS, CHANCE)
def test_the_promises_hold_in_a_kind_world(
    scenes: list[list[str | bytes]], verdicts: list[tuple[Answer, int | None] | None], chance: Random
) -> None:
    found = improvised(scenes, verdicts, chance)
    assert not found.play.session.closed, "the session ended for no reason"
    assert all(
        state in FINAL or state in (State.EXECUTED, State.PREPARED) for state in found.play.ledger.states.values()
    )


@settings(deadline=None, max_examples=80)
@given(SCRIPTS, VERDICTS, CHANCE, st.integers(1, 6))
def test_the_promises_hold_through_troubles(
    scenes: list[list[str | bytes]], verdicts: list[tuple[Answer, int | None] | None], chance: Random, troubles: int
) -> None:
    improvised(scenes, verdicts, chance, troubles)


@pytest.mark.long
@settings(deadline=None, max_examples=20_000)
@given(SCRIPTS, VERDICTS, CHANCE, st.integers(0, 6))
def test_the_promises_hold_in_twenty_thousand_conversations(
    scenes: list[list[str | bytes]], verdicts: list[tuple[Answer, int | None] | None], chance: Random, troubles: int
) -> None:
    improvised(scenes, verdicts, chance, troubles)
