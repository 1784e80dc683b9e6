"""What became of a statement whose outcome is `unknown`: PostgreSQL itself is asked, until it knows.

Requests in that state enter, those that a crash left as well as those whose server was lost while they ran; for each an
`outcome` entry leaves, `resolved`, with the fate of its transaction as pg_xact_status() tells it, or `prepared` if it
waits for somebody to end it. What an earlier run has left prepared is asked about once, since it may have been ended
elsewhere; while it waits, its end is expected to pass through here. If that was sent already, the server may be about
to carry it out, and is asked until it has. While a session ends a transaction nothing is recorded here, and never
behind an entry that was not read.

The server is asked as the role that ran the statement, of the same cluster on the same timeline: a restored or promoted
copy may have given the transaction's id to another one. What cannot be told stays `unknown` and is asked again.

Sources: PostgreSQL 18, "Transaction ID and Snapshot Information Functions", "Backup Control Functions" (the first eight
digits of a WAL file's name are its timeline).
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from pgnotary.config import Config
from pgnotary.errors import ConfigError, LedgerUnavailable, RequestMoved, UpstreamProtocolError, UpstreamRefused
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, Entry, EntryType, Receipt
from pgnotary.request.life import Move, State
from pgnotary.serve.upstream import Upstream, UpstreamAddress, ask, dial
from pgnotary.session.prepared_transactions import PreparedTransaction, PreparedTransactions, Signed, identity
from pgnotary.session.timeline import TIMELINE
from pgnotary.store import Append, Store
from pgnotary.store.appender import Appender
from pgnotary.verify.steps import leads_to

__all__ = ["Ask", "Resolver", "Sent", "Verdict", "asking", "known", "sent_of"]

log = logging.getLogger(__name__)

_FIRST_DELAY_S = 0.1
_LAST_DELAY_S = 10.0
_DEADLINE_S = 5.0
_STATUS = "SELECT pg_catalog.pg_xact_status('{}'::pg_catalog.xid8)"
_PREPARED = (
    "SELECT 1 FROM pg_catalog.pg_prepared_xacts AS p WHERE p.gid OPERATOR(pg_catalog.=) '{}' "
    "AND p.transaction OPERATOR(pg_catalog.=) '{}'::pg_catalog.xid8::pg_catalog.xid"
)
_FATES = {"committed": State.COMMITTED, "aborted": State.ROLLED_BACK}


@dataclass(frozen=True, slots=True)
class Sent:
    """A statement that was sent and whose outcome is unknown, as its entries tell it."""

    request: str
    session: str | None
    leaf: bytes
    """Of its last entry."""
    user: str
    """Who asked for it: their role asks again."""
    database: str
    xid: str
    system_identifier: str
    """Empty if the role may not ask for it."""
    timeline: str
    rows: int | None
    """As its command tag said, if it came so far."""
    undone: bool
    """A ROLLBACK TO SAVEPOINT was about to be sent: of such a one the transaction's fate alone tells nothing."""
    gid: str | None = None
    """The name under which PREPARE TRANSACTION has left it on the server, or was about to."""
    ends: bool = False
    """Its COMMIT PREPARED or ROLLBACK PREPARED was about to be sent."""
    policy: str = ""
    """The digest of the policy that it was asked for under."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the server says of a transaction."""

    fate: State | None
    """COMMITTED, ROLLED_BACK or PREPARED; None if it cannot be told now."""
    why: str


Ask = Callable[[Sent], Awaitable[Verdict]]


class Resolver:
    """Settles unknown outcomes in the background from `run` until `stop`."""

    def __init__(self, store: Store, appender: Appender, ask: Ask, prepared: PreparedTransactions, policy: str) -> None:
        """`policy`: the digest of the policy in force."""
        self._store = store
        self._appender = appender
        self._ask = ask
        self._prepared = prepared
        self._policy = policy
        self._unknown: dict[str, None] = {}
        """Requests to ask about, oldest first."""
        self._news = asyncio.Event()
        """Something became unknown, or this is the end."""
        self._stopped = False

    def adopt(self, config: Config) -> None:
        """Go on under the policy that is in force now."""
        self._policy = config.policy.digest

    def stop(self) -> None:
        """Let `run` return, once the question under way is answered or has taken too long."""
        self._stopped = True
        self._news.set()

    def witness(self, receipts: Sequence[Receipt]) -> None:
        """Learn from entries that became durable whose outcome is unknown."""
        for receipt in receipts:
            entry = receipt.entry
            if entry.type is EntryType.OUTCOME and entry.body.get("result") == State.UNKNOWN and entry.request:
                self._unknown[entry.request] = None
                self._news.set()

    async def run(self) -> None:
        """Ask about all that is unknown and becomes unknown, until stopped."""
        for request, state, _ in await self._store.open_requests():
            if state in (State.UNKNOWN, State.PREPARED):
                self._unknown[request] = None
        delay_s = _FIRST_DELAY_S
        while not self._stopped:
            self._news.clear()
            for request in list(self._unknown):
                if not self._stopped:
                    await self._resolve(request)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s if self._unknown else None):
                    await self._news.wait()
                    delay_s = _FIRST_DELAY_S
            delay_s = min(delay_s * 2, _LAST_DELAY_S)

    async def _resolve(self, request: str) -> None:
        # Before it is asked about: what becomes unknown in the meantime is asked about again.
        self._unknown.pop(request, None)
        settled = False
        try:
            settled = await self._settle(request)
        except LedgerUnavailable as error:
            log.info("outcome cannot be resolved now", extra={"request": request, "why": str(error)})
        except RequestMoved as moved:
            log.info("outcome was asked about too early", extra={"request": request, "why": str(moved)})
        if not settled:
            self._unknown[request] = None

    async def _settle(self, request: str) -> bool:
        """Ask about a request and record what is found; say whether it need not be asked about again."""
        state = await self._store.state(request)
        if state not in (State.UNKNOWN, State.PREPARED):
            return True
        sent = sent_of(await self._store.entries_of(request))
        verdict = await self._ask(sent)
        if verdict.fate is None:
            log.info("outcome still unknown", extra={"request": request, "why": verdict.why})
            return False
        if verdict.fate is State.PREPARED and state is State.PREPARED:
            return not sent.ends
        waiting = self._prepared.find(sent.gid or "", identity(sent.timeline, sent.xid), sent.system_identifier)
        if waiting is not None and waiting.taken:
            return False
        if verdict.fate is State.PREPARED:
            move = Move(request, state, State.PREPARED)
            (receipt,) = await self._appender.append(Append(_prepared(sent, verdict), move))
            self._prepared.learn(known(replace(sent, leaf=receipt.leaf), self._policy))
            return False  # Others in the same transaction were known before it: a session may have ended those alone.
        await self._record(sent, verdict, state, waiting)
        return True

    async def _record(self, sent: Sent, verdict: Verdict, state: State, waiting: PreparedTransaction | None) -> None:
        """Record a fate; no session can end the same transaction meanwhile."""
        append = Append(_resolved(sent, verdict), Move(sent.request, state, State.RESOLVED))
        if waiting is None:
            await self._appender.append(append)
            return
        waiting.taken = True
        try:
            await self._appender.append(append)
        finally:
            waiting.taken = False
        waiting.signed = [each for each in waiting.signed if each.request != sent.request]
        if not waiting.signed:
            self._prepared.remove(waiting)


def sent_of(entries: Sequence[Entry]) -> Sent:
    """Return what the entries of a request tell of it; raises ValueError if it was never sent."""
    last = {entry.type: entry for entry in entries}
    request, intent = last.get(EntryType.REQUEST), last.get(EntryType.INTENT)
    if request is None or intent is None:
        raise ValueError("a request that was never sent")
    executed = last.get(EntryType.EXECUTED)
    rows = executed.body.get("rows") if executed else None
    ending = last.get(EntryType.ENDING)
    named = [entry.body["gid"] for entry in entries if "gid" in entry.body]
    life = [entry for entry in entries if entry.type is not EntryType.REJECTED]
    return Sent(
        request=str(request.request),
        session=request.session,
        leaf=life[-1].leaf,
        user=str(request.body["user"]),
        database=str(request.body["database"]),
        xid=str(intent.body.get("xid", "")),
        system_identifier=str(intent.body["system_identifier"]),
        timeline=str(intent.body["timeline"]),
        rows=rows if isinstance(rows, int) else None,
        undone=ending is not None and ending.body.get("action") == "rollback-to",
        gid=str(named[-1]) if named else None,
        ends=ending is not None and leads_to(ending) is State.PREPARED,
        policy=str(request.body.get("policy", "")),
    )


def known(sent: Sent, policy: str) -> PreparedTransaction:
    """Return the prepared transaction that a request is in, with that request as the only one that was signed in it.

    Whether all else in it has passed policy is known only of the policy that it was asked for under.
    """
    return PreparedTransaction(
        gid=sent.gid or "",
        xid=sent.xid,
        timeline=sent.timeline,
        system_identifier=sent.system_identifier,
        vouched=sent.policy == policy,
        signed=[Signed(sent.request, sent.session, sent.leaf, sent.rows)],
    )


def _prepared(sent: Sent, verdict: Verdict) -> Draft:
    body: dict[str, JSON] = {"result": State.PREPARED.value, "gid": sent.gid or "", "xid": sent.xid, "why": verdict.why}
    return Draft(EntryType.OUTCOME, body, sent.session, sent.request, sent.leaf)


def _resolved(sent: Sent, verdict: Verdict) -> Draft:
    body: dict[str, JSON] = {
        "result": State.RESOLVED.value,
        "fate": str(verdict.fate),
        "xid": sent.xid,
        "why": verdict.why,
    }
    if sent.rows is not None and verdict.fate is State.COMMITTED:
        body["rows"] = sent.rows
    return Draft(EntryType.OUTCOME, body, sent.session, sent.request, sent.leaf)


def asking(config: Callable[[], Config], upstream: UpstreamAddress) -> Ask:
    """Return how to ask the PostgreSQL of the configuration in force."""

    async def asked(sent: Sent) -> Verdict:
        try:
            async with asyncio.timeout(2 * _DEADLINE_S):
                return await _ask(config(), upstream, sent)
        except (UpstreamRefused, UpstreamProtocolError, OSError, ConfigError) as error:
            return Verdict(None, f"the server cannot be asked: {' '.join(str(error).split()) or 'not in time'}")

    return asked


async def _ask(config: Config, address: UpstreamAddress, sent: Sent) -> Verdict:
    if not sent.xid:
        return Verdict(None, "it ran outside any transaction: the server cannot tell what became of it")
    if not (sent.xid.isascii() and sent.xid.isdigit()):
        return Verdict(None, f"the ledger has {sent.xid!r:.40} for its transaction, which is no number")
    user = config.user(sent.user)
    if user is None:
        return Verdict(None, f"user {sent.user!r} is not in the configuration any more")
    # By the way of every session: with the same proofs of who the server is, and read only.
    parameters = {"application_name": f"pgnotary/resolver/{sent.request}", "statement_timeout": "5s"}
    password = config.password(user.role)
    upstream = await dial(address, user.role, password, sent.database, parameters, deadline_s=_DEADLINE_S)
    try:
        if sent.system_identifier and upstream.system_identifier != sent.system_identifier:
            return _elsewhere("system identifier", upstream.system_identifier, sent.system_identifier)
        if sent.timeline and (timeline := await _value(upstream, f"SELECT {TIMELINE}")) != sent.timeline:
            return _elsewhere("timeline", timeline, sent.timeline)
        status = await _value(upstream, _STATUS.format(sent.xid))
        if status == "in progress" and sent.gid is not None:
            name = sent.gid.replace("'", "''")
            if await _value(upstream, _PREPARED.format(name, sent.xid)):
                return Verdict(State.PREPARED, f"transaction {sent.xid} waits as {sent.gid!r}")
    finally:
        upstream.link.close()
    fate = _FATES.get(status)
    if fate is State.COMMITTED and sent.undone:
        return Verdict(None, "the transaction committed, but the statement may have been rolled back to a savepoint")
    return Verdict(fate, f"pg_xact_status('{sent.xid}') is {status or 'not known any more'}")


def _elsewhere(what: str, found: str, expected: str) -> Verdict:
    return Verdict(None, f"the server has {what} {found}, the statement was sent to {expected}")


async def _value(upstream: Upstream, question: str) -> str:
    (value,) = await ask(upstream, question) or [""]
    return value
