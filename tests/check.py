"""`check_ledger`: a whole ledger verified again, after each step of a test, by code that shares nothing with ours.

A path and, if at hand, the verifier key enter; the entries leave as parsed JSON, or an AssertionError names the first
entry that is wrong. Only hashlib, json, sqlite3 and PyNaCl are used, and the table of a request's life.
"""

import base64
import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any, TypeAlias

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from pgnotary.request.life import MOVES, State

__all__ = ["check_ledger"]

Fields: TypeAlias = dict[str, Any]

# What an entry can make of its request. A decision below its quorum makes nothing of it.
BECOMES = {
    "request": {State.HELD},
    "decision": {State.APPROVED, State.DENIED},
    "withdrawn": {State.WITHDRAWN},
    "expired": {State.EXPIRED},
    "orphaned": {State.ORPHANED},
    "void": {State.VOID},
    "intent": {State.INTENT},
    "executed": {State.EXECUTED},
    "outcome": {
        State.COMMITTED,
        State.ROLLED_BACK,
        State.FAILED,
        State.UNKNOWN,
        State.PREPARED,
        State.RESOLVED,
    },
}


def check_ledger(path: str | Path, vkey: str | None = None) -> list[Fields]:
    """Verify the SQLite ledger at `path`, live or closed, and return its entries; raises AssertionError."""
    db = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        db.execute("BEGIN")
        rows = db.execute("SELECT seq, leaf, raw, time, type, request, session FROM entry ORDER BY seq").fetchall()
        entries = _check_chain(rows)
        leaves = [row[1] for row in rows]
        _check_checkpoints(db.execute("SELECT size, note FROM checkpoint ORDER BY size").fetchall(), leaves, vkey)
        _check_seals(db.execute("SELECT leaf, name, salt, value FROM sealed").fetchall(), leaves, entries)
        _check_lives(db.execute("SELECT request, state, leaf FROM request_state").fetchall(), leaves, entries)
    finally:
        db.close()
    return entries


def _check_chain(rows: list[tuple[Any, ...]]) -> list[Fields]:
    entries: list[Fields] = []
    prev, time = "0" * 64, ""
    for n, (seq, leaf, raw, *columns) in enumerate(rows):
        where = f"entry {n}"
        assert seq == n, f"{where} is missing, the next one is {seq}"
        assert hashlib.sha256(b"\0" + raw).digest() == leaf, f"{where}: the leaf is not the hash of its bytes"
        entry: Fields = json.loads(raw)
        again = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        assert again == raw, f"{where}: not canonical"
        assert entry["v"] in ("pgnotary/entry/1", "pgnotary/entry/2"), f"{where}: format {entry['v']}"
        assert entry["ledger"] == (entries or [entry])[0]["ledger"], f"{where}: of ledger {entry['ledger']}"
        assert entry["seq"] == n, f"{where}: says that it is {entry['seq']}"
        assert entry["prev"] == prev, f"{where}: does not follow the one before"
        assert entry["time"] >= time, f"{where}: before the one before"
        said = [entry["time"], entry["type"], entry.get("request"), entry.get("session")]
        assert columns == said, f"{where}: columns {columns}, bytes {said}"
        entries.append(entry)
        prev, time = leaf.hex(), entry["time"]
    return entries


def _check_checkpoints(rows: list[tuple[int, str]], leaves: list[bytes], vkey: str | None) -> None:
    assert rows, "no checkpoint"
    newest = rows[-1][0]
    assert newest >= len(leaves), f"entry {newest} and those behind it have no checkpoint"
    assert newest <= len(leaves), f"entry {len(leaves)} is missing, the newest checkpoint is over {newest}"
    complete: list[bytes] = []
    done = 0
    for size, note in rows:
        where = f"checkpoint over entry {size - 1}"
        for n in range(done, size):
            node = leaves[n]
            for _ in range((~n & (n + 1)).bit_length() - 1):
                node = hashlib.sha256(b"\1" + complete.pop() + node).digest()
            complete.append(node)
        done = size
        root = complete[-1] if complete else hashlib.sha256(b"").digest()
        for left in complete[-2::-1]:
            root = hashlib.sha256(b"\1" + left + root).digest()
        text, _, signature = note.partition("\n\n")
        origin, said_size, said_root = text.split("\n")
        assert (int(said_size), base64.b64decode(said_root)) == (size, root), f"{where}: not over these entries"
        dash, name, encoded = signature.removesuffix("\n").split(" ")
        assert (dash, name) == ("\u2014", origin), f"{where}: signed by {name}, not by {origin}"
        if vkey is not None:
            wanted, _, key = vkey.split("+", 2)
            assert name == wanted, f"{where}: signed by {name}, not by {wanted}"
            try:
                # Before the key stands its type (1 byte), before the signature the key id (4 bytes).
                VerifyKey(base64.b64decode(key)[1:]).verify((text + "\n").encode(), base64.b64decode(encoded)[4:])
            except BadSignatureError as error:
                raise AssertionError(f"{where}: not signed by this key") from error


def _check_seals(rows: list[tuple[bytes, str, bytes, bytes]], leaves: list[bytes], entries: list[Fields]) -> None:
    places = {leaf: n for n, leaf in enumerate(leaves)}
    for leaf, name, salt, value in rows:
        assert leaf in places, f"the sealed {name} belongs to no entry"
        where = f"entry {places[leaf]}"
        seals = entries[places[leaf]].get("seals", {})
        assert name in seals, f"{where}: does not commit to the {name} that is kept for it"
        found = hashlib.sha256(b"pgnotary/seal/1\n" + name.encode() + b"\0" + salt + value).digest()
        assert base64.b64decode(seals[name]) == found, f"{where}: does not commit to this {name}"


def _check_lives(rows: list[tuple[str, str, bytes]], leaves: list[bytes], entries: list[Fields]) -> None:
    last: dict[str, int] = {}
    may_be: dict[str, set[State | None]] = {}
    for n, entry in enumerate(entries):
        request = entry.get("request")
        if request is None:
            assert "after" not in entry, f"entry {n}: after something, but of no request"
            continue
        where = f"entry {n} of {request}"
        if entry["type"] == "decision-rejected":
            # Evidence stands beside the life of a request: it names the request, and nothing continues from it.
            asked = next(each for each in entries if each.get("request") == request)["seq"]
            assert entry.get("after") in {leaves[asked].hex(), leaves[last[request]].hex()}, f"{where}: beside nothing"
            continue
        after = leaves[last[request]].hex() if request in last else None
        assert entry.get("after") == after, f"{where}: not after the one before it, entry {last.get(request)}"
        last[request] = n
        before = may_be.get(request, {None})
        now: set[State | None] = set(before)
        if becomes := BECOMES.get(entry["type"]):
            now = {to for of in before for to in becomes & MOVES.get(of, frozenset())}
        if entry["type"] == "decision":
            now |= before & {State.HELD}
        assert now, f"{where}: {entry['type']} cannot follow on {sorted(map(str, before))}"
        may_be[request] = now
    states = {request: (State(state), leaf) for request, state, leaf in rows}
    held = {request for request, found in may_be.items() if found != {None}}
    assert states.keys() == held, f"states of {sorted(states)}, entries of {sorted(held)}"
    for request, (state, leaf) in states.items():
        where = f"entry {last[request]} of {request}"
        assert state in may_be[request], (
            f"{where}: the store says {state}, the entries {sorted(map(str, may_be[request]))}"
        )
        assert leaf == leaves[last[request]], f"{where}: the store knows another one as the last"
