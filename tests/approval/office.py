"""An approver's office for tests: a ledger in memory, desks, and the real API on a real Unix socket.

Statements enter `MemoryLedger.hold`, receipts with real entries, seals and checkpoints leave. `MemoryLedger` keeps laws
of `Store`, so the real `Appender` and the real `Desk` stand on it; `FakeDesk` says what a test wants it to say.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from nacl.signing import SigningKey

from pgnotary.approval.api import ApprovalApi
from pgnotary.approval.client import ApprovalClient
from pgnotary.approval.desk import Redactions, Reviews
from pgnotary.door import Listening
from pgnotary.errors import DecisionRefused, LedgerUnavailable, NotCanonical, RequestMoved
from pgnotary.ledger import checkpoint as notes
from pgnotary.ledger.canonical import JSON, timestamp
from pgnotary.ledger.entries import (
    FIRST_PREV,
    Draft,
    Entry,
    EntryType,
    Filed,
    Position,
    Receipt,
    encode_entry,
    parse_entry,
)
from pgnotary.ledger.seals import commitment
from pgnotary.ledger.tree import consistency_proof, inclusion_proof, leaf_hash, root_of
from pgnotary.request import decision as decisions
from pgnotary.request import parameters, sshsig
from pgnotary.request.ceiling import Ceiling
from pgnotary.request.decision import Answer, Seen
from pgnotary.request.life import FINAL, State
from pgnotary.request.openssh import private_key_file
from pgnotary.request.parameters import Parameters
from pgnotary.request.roster import Roster, Signer, parse_roster
from pgnotary.serve.desk import Desk, OpenRequest
from pgnotary.serve.seen_head import root_at
from pgnotary.session.events import Decided, TakenBack
from pgnotary.store import Append, Head, HeadProof
from pgnotary.store.appender import Appender

LEDGER = "shop.example/ledger"
PROXY_SEED = bytes([1]) * 32
SEEDS = {"ana": bytes([2]) * 32, "bo": bytes([3]) * 32, "eva": bytes([4]) * 32, "mallory": bytes([66]) * 32}
STATEMENT = "DELETE FROM orders\nWHERE created_at < '2024-01-01'"


def public_of(seed: bytes) -> bytes:
    return bytes(SigningKey(seed).verify_key)


VKEY = notes.vkey(LEDGER, public_of(PROXY_SEED))


def roster(*people: str) -> Roster:
    signers = (Signer(each, public_of(SEEDS[each]), (sshsig.DECISION_NAMESPACE,)) for each in people)
    return parse_roster("".join(f"{signer.line}\n" for signer in signers))


def key_file(folder: Path, person: str, mode: int = 0o600) -> Path:
    path = folder / f"{person}.key"
    path.write_text(private_key_file(SEEDS[person], person, 7))
    path.chmod(mode)
    return path


_BECOMES: dict[State, tuple[EntryType, dict[str, JSON]]] = {
    State.APPROVED: (EntryType.DECISION, {"answer": "approve"}),
    State.DENIED: (EntryType.DECISION, {"answer": "deny"}),
    State.EXPIRED: (EntryType.EXPIRED, {}),
    State.WITHDRAWN: (EntryType.WITHDRAWN, {}),
    State.ORPHANED: (EntryType.ORPHANED, {}),
    State.VOID: (EntryType.VOID, {}),
    State.EXECUTED: (EntryType.EXECUTED, {}),
}


@dataclass
class MemoryLedger:
    """A `Store` in memory."""

    raws: list[bytes] = field(default_factory=list)
    states: dict[str, tuple[State, bytes]] = field(default_factory=dict)
    fails: bool = False
    full: asyncio.Event | None = None
    """Appending waits for it."""
    appended: list[Receipt] = field(default_factory=list)
    followers: list[Callable[[Sequence[Receipt]], None]] = field(default_factory=list)
    """Told of what this ledger appends by itself, as an appender's are."""

    def put(self, draft: Draft) -> Receipt:
        position = Position(
            LEDGER, len(self.raws), leaf_hash(self.raws[-1]) if self.raws else FIRST_PREV, datetime.now(UTC)
        )
        opened = {name: (bytes([len(self.raws) + 1]) * 32, value) for name, value in draft.sealed.items()}
        commitments = {name: commitment(name, salt, value) for name, (salt, value) in opened.items()}
        raw = encode_entry(draft, position, commitments)
        self.raws.append(raw)
        receipt = Receipt(parse_entry(raw), opened)
        self.appended.append(receipt)
        return receipt

    def hold(
        self,
        name: str = "R-1",
        statement: str = STATEMENT,
        *,
        person: str = "eva",
        reason: str = "PAY-2210 purge",
        prepared: str = "",
        bound: Parameters | None = None,
        exact: int | None = 1204,
        preview: dict[str, JSON] | None = None,
        **changes: JSON,
    ) -> tuple[Receipt, Receipt]:
        """Record a request and its preview."""
        size = len(statement.encode())
        body: dict[str, JSON] = {
            "user": person,
            "person": person,
            "role": "app_rw",
            "session_user": "app_rw",
            "database": "shop",
            "system_identifier": "7400000000000000001",
            "search_path": "public",
            "application": "psql",
            "client": "10.2.0.7:50123",
            "upstream_pid": 4711,
            "block": "none",
            "statements_before": 0,
            "bytes": size,
            "kind": "delete",
            "relations": ["public.orders"],
            "parts": [{"kind": "delete", "start": 0, "end": size}],
            "profile": "default",
            "policy": "ab" * 32,
            "rule": "default/hold-delete",
            "why": "it is DELETE",
            "needs": 1,
            "expires_at": timestamp(datetime.now(UTC) + timedelta(minutes=15)),
        }
        texts = {"statement": statement, "reason": reason, "prepared": prepared}
        sealed = {name: text.encode() for name, text in texts.items() if text}
        if bound is not None:
            body |= {"parameters": len(bound.types), "executions": len(bound.sets)}
            sealed["parameters"] = parameters.sealed(bound)
        session = "S-00000001"
        asked = self.put(Draft(EntryType.REQUEST, body | changes, session, name, None, sealed))
        measured: dict[str, JSON] = {
            "status": "unavailable",
            "why": "what DROP changes is not counted in rows",
            "took_us": 41000,
        }
        if exact is not None:
            measured = {"status": "measured", "estimate": 1190, "exact": exact, "took_us": 41000}
        shown = self.put(Draft(EntryType.PREVIEW, preview or measured, session, name, asked.leaf))
        self.states[name] = (State.HELD, shown.leaf)
        return asked, shown

    def move(self, name: str, state: State, **body: JSON) -> Receipt:
        """Record the entry that brings a request into a state."""
        type_, told = _BECOMES.get(state, (EntryType.OUTCOME, {"result": state.value}))
        receipt = self.put(Draft(type_, {**told, **body}, "S-00000001", name))
        self.states[name] = (state, receipt.leaf)
        for follower in self.followers:
            follower([receipt])
        return receipt

    async def append(self, groups: Sequence[Sequence[Append]]) -> list[list[Receipt] | Exception]:
        if self.full is not None:
            await self.full.wait()
        if self.fails:
            raise LedgerUnavailable("the disk is full")
        return [self._group(group) for group in groups]

    def _group(self, group: Sequence[Append]) -> list[Receipt] | Exception:
        for each in group:
            draft, move = each.draft, each.move
            if draft.request is None or draft.type is EntryType.REJECTED:
                continue
            state, last = self.states.get(draft.request, (None, None))
            if draft.after != last or (move and state is not move.of):
                return RequestMoved(draft.request, state)
        try:
            receipts = [self.put(each.draft) for each in group]
        except NotCanonical as error:
            return error
        for each, receipt in zip(group, receipts, strict=True):
            request = each.draft.request
            if request is not None and each.draft.type is not EntryType.REJECTED:
                self.states[request] = (each.move.to if each.move else self.states[request][0], receipt.leaf)
        return receipts

    async def state(self, request: str) -> State | None:
        return self.states[request][0] if request in self.states else None

    async def entries_of(self, request: str) -> list[Entry]:
        return [entry for entry in map(parse_entry, self.raws) if entry.request == request]

    async def open_requests(self) -> list[tuple[str, State, bytes]]:
        return [(name, state, leaf) for name, (state, leaf) in self.states.items() if state not in FINAL]

    async def last_request_number(self) -> int:
        return len(self.states)

    def head(self) -> Head:
        return Head(len(self.raws), root_of(leaf_hash(raw) for raw in self.raws))

    def checkpoint(self) -> str:
        head = self.head()
        return notes.sign(notes.Checkpoint(LEDGER, head.size, head.root), LEDGER, PROXY_SEED)

    async def prove(self, older: int, entries: Sequence[int]) -> HeadProof:
        leaves = [leaf_hash(raw) for raw in self.raws]
        known = older if older <= len(leaves) else 0
        return HeadProof(
            self.head(),
            self.checkpoint(),
            root_of(leaves[:known]) if known else None,
            tuple(consistency_proof(leaves, known, len(leaves))) if known else (),
            tuple(tuple(inclusion_proof(leaves, seq, len(leaves))) for seq in entries),
        )

    async def rest(self) -> None:
        pass

    async def last_words(self, group: Sequence[Append]) -> list[Receipt]:
        return []

    async def probe(self) -> None:
        if self.fails:
            raise LedgerUnavailable("the disk is full")

    async def close(self) -> None:
        return

    def of_type(self, type_: EntryType) -> list[Receipt]:
        return [receipt for receipt in self.appended if receipt.entry.type is type_]


@dataclass
class FakeDesk:
    """A desk that says what a test wants it to say."""

    ledger: MemoryLedger
    open: dict[str, OpenRequest] = field(default_factory=dict)
    refusal: Exception | None = None
    waits_for: asyncio.Event | None = None
    deciding: bool = False
    """A decision has come in."""
    taken: list[tuple[bytes, str]] = field(default_factory=list)
    rejected: list[tuple[bytes, str, str, str]] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    outcome: list[tuple[State, dict[str, JSON]]] = field(default_factory=list)
    """How an approved request goes on at once."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def announce(
        self, request: Receipt, preview: Receipt, deliver: Callable[[Decided | TakenBack], None] = lambda _: None
    ) -> None:
        self.open[str(request.entry.request)] = OpenRequest.of(request.filed(), preview.filed(), deliver)
        self.tell()

    def retire(self, name: str, state: State) -> None:
        self.ledger.move(name, state)
        self.leave(name)

    def leave(self, name: str) -> None:
        """Take a request off the desk, whatever became of it."""
        del self.open[name]
        self.tell()

    def tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def requests(self) -> list[OpenRequest]:
        return list(self.open.values())

    def find(self, request: str) -> OpenRequest | None:
        return self.open.get(request)

    async def changed(self) -> None:
        await self._changed.wait()

    def show_head(self, head: Head) -> None:
        self.heads.append(head)

    async def decide(self, document: bytes, signature: str) -> Decided:
        self.deciding = True
        if self.waits_for is not None:
            await self.waits_for.wait()
        self.taken.append((document, signature))
        if self.refusal is not None:
            raise self.refusal
        decision = decisions.read(document)
        approved = decision.answer is Answer.APPROVE
        receipt = self.ledger.move(decision.request, State.APPROVED if approved else State.DENIED)
        for state, body in self.outcome if approved else ():
            self.ledger.move(decision.request, state, **body)
        self.leave(decision.request)
        return Decided(
            decision.request, decision.answer, decision.approver, decision.reason, decision.ceiling, receipt, bytes(32)
        )

    async def reject(self, document: bytes, signature: str, request: str, why: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.rejected.append((document, signature, request, why))


@dataclass
class Office:
    """A running API and what stands behind it."""

    folder: Path
    ledger: MemoryLedger
    desk: FakeDesk
    api: ApprovalApi
    socket: Path

    @property
    def client(self) -> ApprovalClient:
        return ApprovalClient(self.socket, timeout_s=5)

    def hold(self, name: str = "R-1", statement: str = STATEMENT, **how: object) -> Receipt:
        asked, shown = self.ledger.hold(name, statement, **how)  # type: ignore[arg-type]
        self.desk.announce(asked, shown)
        return asked

    def put_on_desk(self, asked: Receipt, shown: Receipt, opened: dict[str, bytes] | None = None) -> None:
        """Announce what a dishonest proxy would: the sealed values of `opened` instead of the real ones."""
        forged = dict(asked.opened) | {name: (asked.opened[name][0], value) for name, value in (opened or {}).items()}
        self.desk.announce(replace(asked, opened=forged), shown)


@asynccontextmanager
async def running_office(
    keepalive_s: float = 15.0,
    farewell_s: float = 2.0,
    monotonic: Callable[[], float] = time.monotonic,
    people: Sequence[str] = ("ana", "bo", "eva"),
    listening: Listening | None = None,
    allowed: Roster | None = None,
    redactions: Redactions | None = None,
    reviews: Reviews | None = None,
) -> AsyncIterator[Office]:
    """An API over a fake desk; a short folder, since a socket's path may have 108 bytes at most."""
    with TemporaryDirectory(prefix="pgnotary-") as name:
        folder, ledger, approvers = Path(name), MemoryLedger(), allowed or roster(*people)
        desk = FakeDesk(ledger)
        path = folder / "approvals.sock"
        async with ApprovalApi(
            desk,
            ledger,
            lambda: approvers,
            path,
            VKEY,
            keepalive_s=keepalive_s,
            farewell_s=farewell_s,
            monotonic=monotonic,
            listening=listening,
            redactions=redactions,
            reviews=reviews,
        ) as api:
            ledger.followers.append(api.events.witness)
            (folder / "proxy.vkey").write_text(VKEY + "\n")
            yield Office(folder, ledger, desk, api, path)


def signed(
    ledger: MemoryLedger,
    asked: Receipt | Filed,
    shown: Receipt | Filed,
    answer: Answer = Answer.APPROVE,
    *,
    approver: str = "bo",
    by: str | None = None,
    namespace: str = sshsig.DECISION_NAMESPACE,
    max_rows: int | None = None,
    nonce: bytes = bytes(16),
) -> tuple[bytes, str]:
    """A document over a request and its preview, and a signature over it."""
    head = ledger.head()
    raw = decisions.document(
        asked.entry,
        shown.entry,
        answer,
        approver=approver,
        reason="backup b-771 is there",
        ceiling=None if max_rows is None else Ceiling(max_rows),
        seen=Seen(head.size, head.root),
        decided_at=datetime.now(UTC),
        nonce=nonce,
    )
    return raw, sshsig.sign(raw, SEEDS[by or approver], namespace)


@dataclass
class RealDesk:
    """The proxy's own desk on a ledger in memory, with one request on it."""

    ledger: MemoryLedger
    desk: Desk
    asked: Receipt
    shown: Receipt
    delivered: list[Decided | TakenBack]

    def signed(self, **how: object) -> tuple[bytes, str]:
        return signed(self.ledger, self.asked, self.shown, **how)  # type: ignore[arg-type]

    @property
    def rejected(self) -> list[Receipt]:
        return self.ledger.of_type(EntryType.REJECTED)

    async def refused(self, document: bytes, signature: str) -> str:
        """Hand in a decision that must be refused and recorded as such; why."""
        before = len(self.rejected)
        try:
            await self.desk.decide(document, signature)
        except DecisionRefused as error:
            assert len(self.rejected) == before + 1
            assert not self.delivered
            return str(error)
        raise AssertionError("a decision counted that must not")


@asynccontextmanager
async def real_desk(*people: str, looks_back: bool = False) -> AsyncIterator[RealDesk]:
    """The real desk and the real appender over a ledger in memory, which it may ask for older heads."""
    ledger = MemoryLedger()
    async with Appender(ledger) as appender:
        desk = Desk(
            appender,
            lambda: roster(*(people or ("ana", "bo", "eva"))),
            lambda: datetime.now(UTC),
            (lambda size: root_at(ledger, size)) if looks_back else None,
        )
        asked, shown = ledger.hold()
        delivered: list[Decided | TakenBack] = []
        desk.announce(asked.filed(), shown.filed(), delivered.append)
        desk.show_head(ledger.head())
        yield RealDesk(ledger, desk, asked, shown, delivered)
