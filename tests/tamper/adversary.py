"""The adversary: who can write the ledger's file, and, where an attack says so, holds the proxy's signing key.

The file and the key enter; a changed file leaves, as well made as the key allows: leaf hashes, links, columns, the
table of requests and every checkpoint can be made anew, guard rails are taken away and put back. What no key of the
proxy's makes are approvers' signatures, and what their machines remember.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey
from tests.verify.builder import SEEDS, Ledger, public_of

from pgnotary.ledger import checkpoint as notes
from pgnotary.ledger.canonical import b64, encode, timestamp
from pgnotary.ledger.entries import FIRST_PREV, Entry, EntryType, parse_entry
from pgnotary.ledger.tree import Tree, leaf_hash
from pgnotary.request import sshsig
from pgnotary.request.decision import Seen, document
from pgnotary.request.openssh import fingerprint, public_line
from pgnotary.store import StoredEntry
from pgnotary.store.schema import SCHEMA
from pgnotary.store.states import States
from pgnotary.verify.signed import signed

__all__ = ["Adversary", "Change", "deposit"]

Change = Callable[[dict[str, Any]], None]


def deposit(path: Path, entries: Sequence[StoredEntry], checkpoints: Iterable[str]) -> Path:
    """Write a whole ledger into a new file, as a store would have: columns, sealed values and states follow."""
    db = sqlite3.connect(path, isolation_level=None)
    try:
        for statement in (*SCHEMA, "BEGIN"):
            db.execute(statement)
        states = States()
        for seq, kept in enumerate(entries):
            entry = parse_entry(kept.raw)
            states.take(entry)
            said = (timestamp(entry.position.time), entry.type.value, entry.request, entry.session)
            db.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?)", (seq, entry.leaf, kept.raw, *said))
            for name, (salt, value) in kept.opened.items():
                db.execute("INSERT OR REPLACE INTO sealed VALUES (?, ?, ?, ?)", (entry.leaf, name, salt, value))
        for note in sorted(checkpoints, key=notes.claimed_size):
            db.execute("INSERT INTO checkpoint VALUES (?, ?)", (notes.claimed_size(note), note))
        for request, (state, leaf) in states._last.items():
            db.execute("INSERT INTO request_state VALUES (?, ?, ?)", (request, state.value, leaf))
        db.execute("INSERT INTO probe VALUES (1, 1)")
        db.execute("COMMIT")
    finally:
        db.close()
    return path


class Adversary:
    """Works on the closed ledger at `path`; nothing of it is written before `write` or `sql`."""

    def __init__(self, path: Path, seed: bytes) -> None:
        self.path = path
        db = sqlite3.connect(path)
        try:
            self.checkpoints: list[str] = [note for (note,) in db.execute("SELECT note FROM checkpoint ORDER BY size")]
            stored = [
                StoredEntry(raw, {name: (salt, value) for name, salt, value in db.execute(_SEALED, (leaf,))})
                for leaf, raw in db.execute("SELECT leaf, raw FROM entry ORDER BY seq").fetchall()
            ]
        finally:
            db.close()
        name = self.checkpoints[0].partition("\n")[0]
        self.ledger = Ledger(stored, name=name, seed=seed, keeps=False, clock=parse_entry(stored[-1].raw).position.time)

    # What the ledger says.

    @property
    def size(self) -> int:
        return len(self.ledger.stored)

    @property
    def vkey(self) -> str:
        return notes.vkey(self.ledger.name, public_of(self.ledger.seed))

    def entries(self) -> list[Entry]:
        return [parse_entry(raw) for raw in self.ledger.raws]

    def fields(self, place: int) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(self.ledger.stored[place].raw)
        return fields

    # Without any key.

    def sql(self, *statements: str) -> None:
        """Run statements on the file, with the guard rails out of the way."""
        db = sqlite3.connect(self.path, isolation_level=None)
        try:
            rails = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
            for name, _ in rails:
                db.execute(f"DROP TRIGGER {name}")
            for statement in (*statements, *(made for _, made in rails)):
                db.execute(statement)
        finally:
            db.close()

    def edit(self, place: int, change: Change) -> None:
        """Change the fields of one entry."""
        self.ledger.edit(place, change)

    def relink(self) -> None:
        """Give all entries the numbers and links of their places."""
        self.ledger.relink(resign=False)

    def write(self, checkpoints: Iterable[str] | None = None) -> None:
        """Put what there is now in the file's place; without new checkpoints those that were there stay."""
        for path in self.path.parent.glob(f"{self.path.name}*"):
            path.unlink()
        deposit(self.path, self.ledger.stored, self.checkpoints if checkpoints is None else checkpoints)

    # With the proxy's key.

    def signed(self) -> list[str]:
        """Return a checkpoint over each size, signed."""
        tree, made = Tree(), [self._sign(Tree())]
        for raw in self.ledger.raws:
            tree.append(leaf_hash(raw))
            made.append(self._sign(tree))
        return made

    def _sign(self, tree: Tree) -> str:
        return notes.sign(
            notes.Checkpoint(self.ledger.name, tree.size, tree.root()), self.ledger.name, self.ledger.seed
        )

    def forge(self) -> None:
        """Link everything and sign it with the proxy's key."""
        self.relink()
        self.write(self.signed())

    def append(self, place: int, change: Change | None = None) -> None:
        """Put another entry with the fields of the one at `place` behind the last one, changed; links come later."""
        kept = self.ledger.stored[place]
        fields = json.loads(kept.raw)
        fields["seq"], fields["time"] = self.size, timestamp(self.ledger.wait(1).clock)
        if change:
            change(fields)
        self.ledger.stored.append(StoredEntry(encode(fields), kept.opened))

    def rewrite(self, people: Sequence[str]) -> None:
        """Write all of it anew, with approvals signed by keys of the adversary's own, for the same people."""
        keys = {person: SEEDS["mallory"][:31] + bytes([n]) for n, person in enumerate(people)}
        roster = "".join(
            f'{person} namespaces="{sshsig.DECISION_NAMESPACE}" {public_line(public_of(key))}\n'
            for person, key in keys.items()
        )
        tree, prev, leaves, entries = Tree(), FIRST_PREV, dict[str, str](), dict[str, Entry]()
        for place, kept in enumerate(self.ledger.stored):
            entry, fields = parse_entry(kept.raw), json.loads(kept.raw)
            fields["seq"], fields["prev"] = place, prev.hex()
            if "after" in fields:
                fields["after"] = leaves[fields["after"]]
            if entry.type is EntryType.ROSTER:
                fields["body"]["allowed_signers"] = roster
            if entry.type is EntryType.DECISION:
                request, preview = entries[f"{entry.request} request"], entries[f"{entry.request} preview"]
                fields["body"] |= self._approved(entry, request, preview, Seen(tree.size, tree.root()), keys)
            raw = encode(fields)
            prev = leaf_hash(raw)
            tree.append(prev)
            leaves[entry.leaf.hex()] = prev.hex()
            entries[f"{entry.request} {entry.type}"] = parse_entry(raw)
            self.ledger.stored[place] = StoredEntry(raw, kept.opened)
        self.write(self.signed())

    @staticmethod
    def _approved(entry: Entry, request: Entry, preview: Entry, seen: Seen, keys: dict[str, bytes]) -> dict[str, Any]:
        was = signed(entry)[0]
        raw = document(
            request,
            preview,
            was.answer,
            approver=was.approver,
            reason=was.reason,
            ceiling=was.ceiling,
            seen=seen,
            decided_at=was.decided_at,
            nonce=bytes(16),
        )
        key = keys[was.approver]
        return {
            "key": fingerprint(bytes(SigningKey(key).verify_key)),
            "document": b64(raw),
            "signature": sshsig.sign(raw, key, sshsig.DECISION_NAMESPACE),
        }


_SEALED = "SELECT name, salt, value FROM sealed WHERE leaf = ? ORDER BY name"
