"""Ledgers for tests: the story of a few requests enters, a ledger with real keys, signatures and checkpoints leaves.

Everything is deterministic: salts are counted, the clock steps by a second, keys are made from small seeds. `Ledger` is
also an adversary's bench: it can be re-linked and re-signed after a change, as somebody with the proxy's key could do.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from nacl.signing import SigningKey
from tests.authenticator import security_key, touch
from tests.listed import forwarded_body

from pgnotary.ledger import checkpoint as notes
from pgnotary.ledger.canonical import JSON, b64, encode, timestamp
from pgnotary.ledger.entries import FIRST_PREV, Draft, Entry, EntryType, Position, encode_entry, parse_entry
from pgnotary.ledger.executions import Alike
from pgnotary.ledger.seals import commitment
from pgnotary.ledger.tree import leaf_hash, root_of
from pgnotary.request import call, redaction, review, sshsig
from pgnotary.request.ceiling import Ceiling
from pgnotary.request.decision import Answer, Seen, document
from pgnotary.request.openssh import fingerprint, public_line
from pgnotary.request.redaction import Values
from pgnotary.store import StoredEntry

LEDGER = "shop.example/ledger"
START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
PROXY_SEED = bytes([1]) * 32
SEEDS = {
    "ana": bytes([2]) * 32,
    "bo": bytes([3]) * 32,
    "eva": bytes([4]) * 32,
    "rita": bytes([5]) * 32,
    "cy": bytes([6]) * 32,
    "dan": bytes([7]) * 32,
    "mallory": bytes([66]) * 32,
}
STATEMENT = "DELETE FROM orders\nWHERE created_at < '2024-01-01'"


def public_of(seed: bytes) -> bytes:
    return bytes(SigningKey(seed).verify_key)


def roster_text(*people: str) -> str:
    return "".join(f'{each} namespaces="{_purpose(each)}" {public_line(public_of(SEEDS[each]))}\n' for each in people)


def _purpose(person: str) -> str:
    """What a person's key is for: rita redacts, eva asks, the others decide."""
    return {"rita": sshsig.REDACTION_NAMESPACE, "eva": sshsig.REQUEST_NAMESPACE}.get(person, sshsig.DECISION_NAMESPACE)


VKEY = notes.vkey(LEDGER, public_of(PROXY_SEED))


@dataclass
class Ledger:
    """A ledger in memory."""

    stored: list[StoredEntry] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    clock: datetime = START
    last: dict[str, Entry] = field(default_factory=dict)
    """The last entry of each request's chain."""
    requests: dict[str, Entry] = field(default_factory=dict)
    previews: dict[str, Entry] = field(default_factory=dict)
    name: str = LEDGER
    seed: bytes = PROXY_SEED
    keeps: bool = True
    """Whether a checkpoint is kept for each entry; each costs a walk over all leaves."""
    before_edit: dict[bytes, bytes] = field(default_factory=dict)
    """From the leaf of an edited entry to the one that it had."""

    # The reader's side.

    def entries(self) -> Iterator[StoredEntry]:
        return iter(self.stored)

    def checkpoints(self) -> Iterator[str]:
        return iter(self.notes)

    @property
    def raws(self) -> list[bytes]:
        return [each.raw for each in self.stored]

    # The writer's side.

    def wait(self, seconds: float) -> "Ledger":
        self.clock += timedelta(seconds=seconds)
        return self

    def append(self, draft: Draft) -> Entry:
        seq = len(self.stored)
        self.wait(1)
        prev = leaf_hash(self.stored[-1].raw) if self.stored else FIRST_PREV
        opened = {name: (bytes([seq % 256, i]) * 16, value) for i, (name, value) in enumerate(draft.sealed.items())}
        commitments = {name: commitment(name, salt, value) for name, (salt, value) in opened.items()}
        raw = encode_entry(draft, Position(self.name, seq, prev, self.clock), commitments)
        self.stored.append(StoredEntry(raw, opened))
        if self.keeps:
            self.notes.append(self.sign())
        return parse_entry(raw)

    def sign(self, size: int | None = None) -> str:
        raws = self.raws[:size]
        root = root_of(leaf_hash(raw) for raw in raws)
        return notes.sign(notes.Checkpoint(self.name, len(raws), root), self.name, self.seed)

    def newest(self) -> Entry:
        return parse_entry(self.stored[-1].raw)

    def step(self, type_: EntryType, request: str, **body: JSON) -> Entry:
        """Append the next entry in a request's life."""
        before = self.last[request]
        entry = self.append(Draft(type_, body, before.session, request, before.leaf))
        self.last[request] = entry
        return entry

    # Its usual story.

    def start(self, *people: str, **more: JSON) -> "Ledger":
        body: dict[str, JSON] = {"version": "0.1", "profile": "default", "policy": "ab", "config": "cd"}
        self.append(Draft(EntryType.STARTED, body | more))
        self.roster(*people or ("ana", "bo"))
        return self

    def roster(self, *people: str) -> Entry:
        return self.append(Draft(EntryType.ROSTER, {"allowed_signers": roster_text(*people)}))

    def beat(self, up_ms: JSON, **more: JSON) -> Entry:
        return self.append(Draft(EntryType.HEARTBEAT, {"up_ms": up_ms, "sessions": 0, "held": 0, **more}))

    def stop(self, **more: JSON) -> Entry:
        return self.append(Draft(EntryType.STOPPED, {"why": "asked to", **more}))

    def open_session(self, session: str = "S-00000001", person: str = "eva") -> Entry:
        body: dict[str, JSON] = {
            "user": person,
            "person": person,
            "role": "app_rw",
            "database": "shop",
            "application": "psql",
            "client": "10.2.0.7:50123",
            "upstream_pid": 4711,
            "system_identifier": "7400000000000000001",
            "server_version": "18.6",
        }
        return self.append(Draft(EntryType.OPENED, body, session=session))

    def forward(self, *texts: str, session: str = "S-00000001", first: int = 1) -> Entry:
        alike = Alike(kind="select", verdict="forward", tag="SELECT 1", rows=1)
        body = forwarded_body([(first + i, alike) for i in range(len(texts))], self.clock)
        sealed = {f"t{first + i}": text.encode() for i, text in enumerate(texts)}
        return self.append(Draft(EntryType.FORWARDED, body, session=session, sealed=sealed))

    def sum_up(self, *summaries: JSON, session: str = "S-00000001") -> Entry:
        return self.append(Draft(EntryType.FORWARDED, {"summaries": summaries}, session=session))

    def summary(self, kind: str = "select", **changes: JSON) -> dict[str, JSON]:
        """Four executions, the last of them a second after the first."""
        first, last = self.clock, self.clock + timedelta(seconds=1)
        counts: dict[str, JSON] = {
            "executions": 4,
            "rows": 12,
            "took_us": 2_500,
            "first": timestamp(first),
            "last": timestamp(last),
        }
        return {"kind": kind, **counts, "sha256": "9c" * 32, **changes}

    def ask(
        self,
        request: str,
        *,
        statement: str = STATEMENT,
        person: str = "eva",
        session: str = "S-00000001",
        reason: str = "",
        **changes: JSON,
    ) -> Entry:
        body: dict[str, JSON] = {
            "user": person,
            "person": person,
            "role": "app_rw",
            "session_user": person,
            "database": "shop",
            "system_identifier": "7400000000000000001",
            "search_path": "public",
            "application": "psql",
            "client": "10.2.0.7:50123",
            "upstream_pid": 4711,
            "block": "none",
            "statements_before": 0,
            "bytes": len(statement.encode()),
            "kind": "delete",
            "relations": ["public.orders"],
            "parts": [{"kind": "delete", "start": 0, "end": len(statement.encode())}],
            "profile": "default",
            "policy": "ab",
            "rule": "default/hold-delete",
            "why": "it is DELETE",
            "needs": 1,
            "expires_at": timestamp(self.clock + timedelta(minutes=15)),
        }
        sealed = {"statement": statement.encode()} | ({"reason": reason.encode()} if reason else {})
        entry = self.append(Draft(EntryType.REQUEST, body | changes, session, request, None, sealed))
        self.last[request] = self.requests[request] = entry
        return entry

    def preview(self, request: str, exact: int = 1204) -> Entry:
        body: dict[str, JSON] = {
            "status": "measured",
            "estimate": 1190,
            "exact": exact,
            "took_us": 41000,
        }
        self.previews[request] = self.step(EntryType.PREVIEW, request, **body)
        return self.previews[request]

    def decide(
        self,
        request: str,
        answer: str = "approve",
        *,
        approver: str = "bo",
        signed_by: str | None = None,
        reason: str = "backup b-771 exists",
        max_rows: int | None = None,
        ceiling: Ceiling | None = None,
        namespace: str = sshsig.DECISION_NAMESPACE,
        seen: Seen | None = None,
        decided_at: datetime | None = None,
        type_: EntryType = EntryType.DECISION,
        application: str = "",
        **changes: JSON,
    ) -> Entry:
        seed = SEEDS[signed_by or approver]
        ceiling = ceiling if max_rows is None else Ceiling(max_rows)
        raw = document(
            self.requests[request],
            self.previews[request],
            Answer(answer),
            approver=approver,
            reason=reason,
            ceiling=ceiling,
            seen=seen or Seen(len(self.stored), root_of(leaf_hash(raw) for raw in self.raws)),
            decided_at=decided_at or self.clock,
            nonce=bytes(16),
        )
        body: dict[str, JSON] = {
            "approver": approver,
            "key": fingerprint(security_key(seed, application) if application else public_of(seed)),
            "answer": answer,
            "document": b64(raw),
            "signature": touch(raw, seed, namespace, application=application)
            if application
            else sshsig.sign(raw, seed, namespace),
        }
        body |= ceiling.fields if ceiling else {}
        if type_ is EntryType.REJECTED:
            sealed = {"document": raw, "signature": str(body["signature"]).encode()}
            asked = self.requests[request]
            return self.append(Draft(type_, {"why": "too late", **changes}, asked.session, request, asked.leaf, sealed))
        return self.step(type_, request, **(body | changes))

    def take_back(
        self,
        request: str,
        type_: EntryType = EntryType.WITHDRAWN,
        *,
        person: str = "eva",
        signed_by: str | None = None,
        namespace: str = sshsig.REQUEST_NAMESPACE,
        change: Callable[[dict[str, Any]], object] = lambda _: None,
        **changes: JSON,
    ) -> Entry:
        """End a request by its requester's signed call, changed before it is signed."""
        seed = SEEDS[signed_by or person]
        fields: dict[str, JSON] = {
            "v": call.CALL_FORMAT,
            "proxy": VKEY,
            "method": "POST",
            "target": f"/v1/requests/{request}/withdraw",
            "body": sha256(b"").hexdigest(),
            "called_at": timestamp(self.clock),
            "nonce": bytes(16).hex(),
        }
        change(fields)
        raw = encode(fields)
        body: dict[str, JSON] = {
            "by": "requester",
            "person": person,
            "key": fingerprint(public_of(seed)),
            "document": b64(raw),
            "signature": sshsig.sign(raw, seed, namespace),
        }
        return self.step(type_, request, **(body | changes))

    def run(self, request: str, rows: int = 1204, result: str = "committed", *approvals: Entry) -> Entry:
        """Run it; `approvals` are all that it has, if these are several."""
        several: dict[str, JSON] = {"approvals": [each.leaf.hex() for each in approvals]} if approvals else {}
        self.step(
            EntryType.INTENT,
            request,
            xid="771",
            upstream_pid=4711,
            system_identifier="7400000000000000001",
            where="wrapped",
            **several,
        )
        self.step(EntryType.EXECUTED, request, rows=rows, tags=[f"DELETE {rows}"], took_us=74000)
        counted: dict[str, JSON] = {"rows": rows} if result == "committed" else {}
        return self.step(EntryType.OUTCOME, request, result=result, xid="771", **counted)

    def review(
        self,
        broken: Entry,
        *,
        reviewer: str = "cy",
        signed_by: str | None = None,
        namespace: str = sshsig.DECISION_NAMESPACE,
        words: str = "the disk was full, ticket 815",
        seen: Seen | None = None,
        change: Callable[[dict[str, Any]], object] = lambda _: None,
        **changes: JSON,
    ) -> Entry:
        """Append a review of a decision that broke the glass, its document changed before it is signed."""
        seed = SEEDS[signed_by or reviewer]
        fields = json.loads(
            review.document(
                LEDGER,
                broken,
                words=words,
                reviewer=reviewer,
                seen=seen or Seen(len(self.stored), root_of(leaf_hash(raw) for raw in self.raws)),
                reviewed_at=self.clock,
                nonce=bytes(16),
            )
        )
        change(fields)
        raw = encode(fields)
        body: dict[str, JSON] = {
            "request": broken.request or "",
            "reviewer": reviewer,
            "key": fingerprint(public_of(seed)),
            "words": words,
            "document": b64(raw),
            "signature": sshsig.sign(raw, seed, namespace),
        }
        return self.append(Draft(EntryType.REVIEWED, body | changes))

    def redact(
        self,
        *values: Values,
        redactor: str = "rita",
        signed_by: str | None = None,
        namespace: str = sshsig.REDACTION_NAMESPACE,
        reason: str = "GDPR erasure, ticket 4711",
        seen: Seen | None = None,
        change: Callable[[dict[str, Any]], object] = lambda _: None,
        erase: bool = True,
        **changes: JSON,
    ) -> Entry:
        """Append a redaction, its document changed before it is signed, and drop the values that it names."""
        seed = SEEDS[signed_by or redactor]
        fields = json.loads(
            redaction.document(
                LEDGER,
                values,
                reason=reason,
                redactor=redactor,
                seen=seen or Seen(len(self.stored), root_of(leaf_hash(raw) for raw in self.raws)),
                redacted_at=self.clock,
                nonce=bytes(16),
            )
        )
        change(fields)
        raw = encode(fields)
        body: dict[str, JSON] = {
            "redactor": redactor,
            "key": fingerprint(public_of(seed)),
            "values": [each.fields for each in values],
            "reason": reason,
            "document": b64(raw),
            "signature": sshsig.sign(raw, seed, namespace),
        }
        if erase:
            for each in values:
                self.lose(each.seq, *each.seals)
        return self.append(Draft(EntryType.REDACTED, body | changes))

    def values(self, seq: int, *names: str) -> Values:
        """Sealed values of an entry, as a redaction names them."""
        return Values(seq, leaf_hash(self.stored[seq].raw), tuple(sorted(names)))

    def lose(self, seq: int, *names: str) -> None:
        """Drop sealed values of an entry."""
        kept = {name: value for name, value in self.stored[seq].opened.items() if name not in names}
        self.stored[seq] = StoredEntry(self.stored[seq].raw, kept)

    def close_session(
        self, session: str = "S-00000001", *, forwarded: int = 1, held: int = 1, refused: int = 0
    ) -> Entry:
        body: dict[str, JSON] = {"why": "client-gone", "forwarded": forwarded, "held": held, "refused": refused}
        return self.append(Draft(EntryType.CLOSED, body, session=session))

    # The adversary's side.

    def edit(self, place: int, change: Callable[[dict[str, Any]], None]) -> None:
        """Change one entry's fields in place; its bytes stay canonical, nothing else is touched."""
        old = self.stored[place]
        fields = json.loads(old.raw)
        change(fields)
        self.stored[place] = StoredEntry(encode(fields), old.opened)
        leaf = leaf_hash(old.raw)
        self.before_edit[leaf_hash(self.stored[place].raw)] = self.before_edit.pop(leaf, leaf)

    def relink(self, *, resign: bool = True) -> None:
        """Give all entries new numbers and links, as who holds the proxy's key can; what was signed stays."""
        leaves: dict[str, str] = {}
        prev = FIRST_PREV
        for place, each in enumerate(self.stored):
            fields = json.loads(each.raw)
            leaf = leaf_hash(each.raw)
            old = self.before_edit.get(leaf, leaf).hex()
            fields["seq"], fields["prev"] = place, prev.hex()
            if "after" in fields:
                fields["after"] = leaves.get(fields["after"], fields["after"])
            raw = encode(fields)
            prev = leaf_hash(raw)
            leaves[old] = prev.hex()
            self.stored[place] = StoredEntry(raw, each.opened)
        if resign:
            self.notes = [self.sign(size) for size in range(1, len(self.stored) + 1)]


def one_approval() -> Ledger:
    """A ledger of 12 entries: one request, approved by bo, run and committed."""
    ledger = Ledger().start()
    ledger.open_session()
    ledger.forward("select count(*) from orders")
    ledger.ask("R-1", reason="PAY-2210 purge")
    ledger.preview("R-1")
    ledger.wait(30).decide("R-1", max_rows=2000)
    ledger.run("R-1")
    ledger.close_session()
    ledger.append(Draft(EntryType.STOPPED, {"why": "asked to"}))
    return ledger
