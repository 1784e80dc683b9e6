"""The live server as a judge of the judge: it runs a text and is asked what the text did.

A text that was judged harmless enters, and what it did beyond reading leaves: transaction ids, locks, settings,
sequences, notifications, temporary objects, command tags that the judge did not see. It runs inside a block without a
read-only wall, as a superuser unless the address says otherwise, and is always undone; errors count too, since a text
may write before it fails. PREPARE TRANSACTION ends the block of a text that succeeded: the server refuses it after
NOTIFY, LISTEN and work on temporary objects, which nothing else shows inside a block.
"""

import re
import select
from collections.abc import Iterator
from dataclasses import dataclass, field

import psycopg
from psycopg import pq
from tests.fuzz.adapter import Judged, is_free

__all__ = ["Effects", "Server"]

# A text that sets the server's own timeout aside ends here.
_PATIENCE_S = 2.0
_OPTIONS = (
    "-c lock_timeout=200 -c work_mem=4MB -c jit=off"
    " -c idle_in_transaction_session_timeout=20000 -c max_parallel_workers_per_gather=0"
)
_INSIDE = b"""
SELECT pg_catalog.pg_current_xact_id_if_assigned(),
 (SELECT pg_catalog.string_agg(DISTINCT l.mode || ' on '
    || coalesce((SELECT c.relname FROM pg_catalog.pg_class c WHERE c.oid = l.relation), l.locktype), ', ')
  FROM pg_catalog.pg_locks l WHERE l.pid = pg_catalog.pg_backend_pid()
  AND l.locktype NOT IN ('virtualxid', 'transactionid')
  AND NOT (l.locktype IN ('relation', 'object') AND l.mode = 'AccessShareLock')),
 (SELECT pg_catalog.count(*) FROM pg_catalog.pg_cursors)
  + (SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_statements),
 current_user || ' as ' || session_user
"""
# Takes ten times as long as all the rest: only for a text that can spell the name of what changes one.
_SETTINGS = b"""
SELECT pg_catalog.string_agg(name || '=' || setting, E'\\n') FROM pg_catalog.pg_settings WHERE source = 'session'
"""
_MAY_SET = re.compile(rb"set|U&", re.IGNORECASE)
# The last three are of the whole server: another session's text may have changed them since our last one.
_BETWEEN = b"""
SELECT current_user || ' as ' || session_user,
 (SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks
  WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()),
 (SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_statements)
  + (SELECT pg_catalog.count(*) FROM pg_catalog.pg_listening_channels()),
 (SELECT last_value || ' ' || is_called FROM public.s),
 (SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata),
 pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
"""
_READING_TAGS = re.compile(rb"SELECT \d+|SHOW|EXPLAIN|COPY \d+|SET|RESET|")
_PARAMETER = re.compile(rb"\$(\d{1,2})")
# "cannot run inside a transaction block": what a server must keep out of blocks is no read.
_ONLY_OUTSIDE = b"25001"
_READ_ONLY = b"25006"
_NOT_TO_BE_PREPARED = b"0A000"


@dataclass(frozen=True, slots=True)
class Effects:
    """What a text did on a server, beyond reading."""

    did: frozenset[str] = frozenset()
    """Empty if it did nothing else."""
    via: frozenset[str] = frozenset()
    """The disguises of the scratch database that ran, e.g. "operator"."""
    sqlstate: str = ""
    """Of its first error."""
    message: str = ""


@dataclass
class _Answer:
    tags: list[bytes] = field(default_factory=list)
    sqlstate: bytes = b""
    message: str = ""
    row: list[str | None] = field(default_factory=list)
    copied_out: int = 0
    copied_in: bool = False


class Server:
    """One session in the scratch database of one server; it connects again when it is lost."""

    def __init__(self, name: str, dsn: str, *, timeout_ms: int = 300) -> None:
        self.name = name
        options = f"{_OPTIONS} -c statement_timeout={timeout_ms}".replace(" ", "%20").replace("=", "%3D")
        self._dsn = f"{dsn}?options={options}"
        self._notices: list[str] = []
        self.lost = 0
        self._connect()

    def _connect(self) -> None:
        self._session = pq.PGconn.connect(self._dsn.encode())
        if self._session.status != pq.ConnStatus.OK:
            raise RuntimeError(f"no session: {self._session.error_message.decode()}")
        self._session.notice_handler = self._hear
        self._session.nonblocking = 0
        self._role = self._ask(_BETWEEN).row[0]

    def close(self) -> None:
        self._session.finish()

    def _hear(self, notice: pq.abc.PGresult) -> None:
        said = (notice.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
        if said.startswith("via "):
            self._notices.append(said.removeprefix("via "))

    def effects(self, text: bytes, judged: Judged) -> Effects:
        """Run a text and return what it did; everything it did is undone but what a rollback cannot undo."""
        try:
            return self._effects(text, judged)
        except (psycopg.OperationalError, RuntimeError) as error:
            self.lost += 1
            self._connect()
            return Effects(frozenset({"ended the session"}), sqlstate="lost", message=str(error)[:200])

    def is_stopped_by_the_wall(self, text: bytes) -> bool:
        """Say whether a read-only block would have refused the text, as pgnotary's sessions do."""
        refused = self._is_refused_read_only(text)
        self._forget()
        return refused

    def _is_refused_read_only(self, text: bytes) -> bool:
        self._ask(b"BEGIN READ ONLY")
        answer = self._ask(text, _parameters(text))
        self._ask(b"ROLLBACK")
        # A text that failed keeps those of the session that it took before.
        self._ask(b"SELECT pg_catalog.pg_advisory_unlock_all()")
        return answer.sqlstate == _READ_ONLY

    def _forget(self) -> None:
        """Undo what can be undone, in the block and in the session."""
        for command in (b"ROLLBACK", b"RESET SESSION AUTHORIZATION", b"DISCARD ALL"):
            self._ask(command)

    def _effects(self, text: bytes, judged: Judged) -> Effects:
        self._notices.clear()
        before = self._ask(_BETWEEN).row
        self._ask(b"BEGIN")
        answer = self._ask(text, _parameters(text) if len(judged.parts) == 1 else 0)
        did = set(_shown_by_tags(answer, judged))
        failed = self._session.transaction_status == pq.TransactionStatus.INERROR
        did |= self._ended(text, judged)
        if did or (not failed and _MAY_SET.search(text)):
            left = self._ask(_BETWEEN).row
            # Before the next question: it may be asked as somebody who may not ask it.
            self._forget()
            did |= set(_own_differences(before, left))
        after = self._ask(_BETWEEN).row
        if not after:
            did.add("acts as somebody else for good")
            self._forget()
            after = self._ask(_BETWEEN).row
        did |= set(_differences(before, after, failed=failed))
        if not did and answer.sqlstate and self._is_refused_read_only(text):
            # It failed before it came to write.
            did.add("would be refused in a read-only block")
        if did and failed:
            self._forget()
        return Effects(frozenset(did), frozenset(self._notices), answer.sqlstate.decode(), answer.message)

    def _ended(self, text: bytes, judged: Judged) -> set[str]:
        """Look into the block that a text left, and end it."""
        match self._session.transaction_status:
            case pq.TransactionStatus.INTRANS:
                did = self._look_inside(text, judged)
                ended = self._ask(b"PREPARE TRANSACTION 'fuzz'")
                if not ended.sqlstate:
                    self._ask(b"ROLLBACK PREPARED 'fuzz'")
                elif ended.sqlstate == _NOT_TO_BE_PREPARED:
                    did.add(ended.message)
                return did
            case pq.TransactionStatus.IDLE:
                return {"ended the transaction"}
            case _:
                self._ask(b"ROLLBACK")
                return set()

    def _look_inside(self, text: bytes, judged: Judged) -> set[str]:
        row = self._ask(_INSIDE).row
        if not row:
            return set()
        xid, locks, kept, role = row
        did = {f"took {lock}" for lock in (locks or "").split(", ") if lock}
        if judged.plans_a_write:
            did = {lock for lock in did if not lock.startswith("took RowExclusiveLock on ")}
        if xid is not None:
            did.add("took a transaction id")
        if kept != "0":
            did.add("left a cursor or a prepared statement")
        if role != self._role:
            did.add(f"acts as {role}")
        if _MAY_SET.search(text):
            changed = self._ask(_SETTINGS).row
            did |= {f"changed the setting {setting}" for setting in _not_free(changed[0] if changed else "")}
        return did

    def _ask(self, text: bytes, parameters: int = 0) -> _Answer:
        session, answer = self._session, _Answer()
        if parameters:
            session.send_query_params(text, [b"1"] * parameters)
        else:
            session.send_query(text)
        while True:
            while session.is_busy():
                self._wait()
            result = session.get_result()
            if result is None:
                return answer
            match result.status:
                case pq.ExecStatus.COPY_OUT:
                    answer.copied_out += 1
                    self._drain()
                case pq.ExecStatus.COPY_IN:
                    answer.copied_in = True
                    session.put_copy_end(b"not carried")
                case pq.ExecStatus.FATAL_ERROR:
                    answer.sqlstate = answer.sqlstate or result.error_field(pq.DiagnosticField.SQLSTATE) or b"lost!"
                    answer.message = answer.message or _primary(result)
                    if session.status == pq.ConnStatus.BAD:
                        raise RuntimeError(answer.message)
                case pq.ExecStatus.EMPTY_QUERY:
                    pass
                case _:
                    answer.tags.append(result.command_status or b"")
                    if result.ntuples == 1:
                        answer.row = [_text(result.get_value(0, i)) for i in range(result.nfields)]

    def _wait(self) -> None:
        if not select.select([self._session.socket], [], [], _PATIENCE_S)[0]:
            self._session.get_cancel().cancel()
        self._session.consume_input()

    def _drain(self) -> None:
        while True:
            size, _ = self._session.get_copy_data(1)
            if size < 0:
                return
            if size == 0:
                self._wait()


def _parameters(text: bytes) -> int:
    return max((int(number) for number in _PARAMETER.findall(text)), default=0)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")


def _primary(result: pq.abc.PGresult) -> str:
    return (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"the connection is gone").decode(
        errors="replace"
    )


def _shown_by_tags(answer: _Answer, judged: Judged) -> Iterator[str]:
    parts = sum(1 for _, _, node in judged.parts if node)
    if len(answer.tags) > parts:
        yield f"ran {len(answer.tags)} commands where the judge saw {parts}"
    for tag in answer.tags:
        if not _READING_TAGS.fullmatch(tag):
            yield f"ran {tag.decode(errors='replace').rstrip('0123456789 ')}"
    if sum(tag.startswith(b"COPY ") for tag in answer.tags) > answer.copied_out:
        yield "copied elsewhere than to the client"
    if answer.copied_in:
        yield "asked the client for COPY data"
    if answer.sqlstate == _ONLY_OUTSIDE:
        yield f"would run outside a block only: {answer.message}"


def _not_free(settings: str | None) -> list[str]:
    named = (line.partition("=") for line in (settings or "").split("\n") if "=" in line)
    return [name for name, _, value in named if not is_free(name, value)]


def _own_differences(before: list[str | None], after: list[str | None]) -> Iterator[str]:
    if not after or before[0] != after[0]:
        yield "acts as somebody else for good"
        return
    if before[1] != after[1]:
        yield "left an advisory lock"
    if before[2] != after[2]:
        yield "left a statement or channel"


def _differences(before: list[str | None], after: list[str | None], *, failed: bool) -> Iterator[str]:
    yield from _own_differences(before, after)
    if before[3] != after[3]:
        yield "moved a sequence"
    if before[4] != after[4]:
        yield "left a large object"
    # The block of a text that succeeded took an id to be prepared.
    if failed and before[5] != after[5]:
        yield "took a transaction id"
