"""Both verifiers over a ledger that chance, and who holds the proxy's key, have changed: they must say the same.

The samples are drawn from a seed. Where the change is not found by either, it must be one that nothing in the ledger
forbids: who holds the proxy's key may write what was never signed.
"""

import copy
import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.second.agreement import Both, both_over_folder
from tests.tiers import one_in
from tests.verify.builder import SEEDS, VKEY, Ledger, roster_text

from pgnotary.audit.export import export_folder
from pgnotary.errors import LedgerBroken
from pgnotary.ledger import checkpoint as notes
from pgnotary.ledger.canonical import b64, encode, unb64
from pgnotary.ledger.entries import EntryType
from pgnotary.request import sshsig
from pgnotary.request.ceiling import Ceiling
from pgnotary.store import StoredEntry


def whole(entries: int) -> Ledger:
    """At least so many entries, with every type and every end that there is."""
    ledger = Ledger(keeps=False).start()
    number = 0
    while len(ledger.stored) < entries:
        session = f"S-{number:08}"
        ledger.open_session(session)
        ledger.forward("select 1", "select 2", session=session)
        ledger.sum_up(ledger.summary(), session=session)
        for end in (_committed, _denied, _unknown, _resolved, _prepared, _cascading):
            number += 1
            request = f"R-{number}"
            ledger.ask(request, session=session, reason="PAY-2210")
            ledger.preview(request)
            end(ledger, request)
        ledger.close_session(session, forwarded=6, held=6)
        ledger.roster("ana", "bo")
    return ledger


def _committed(ledger: Ledger, request: str) -> None:
    ledger.decide(request, "deny", approver="mallory", type_=EntryType.REJECTED)
    ledger.decide(request, max_rows=2000)
    ledger.run(request)


def _denied(ledger: Ledger, request: str) -> None:
    ledger.decide(request, "deny", approver="ana")


def _unknown(ledger: Ledger, request: str) -> None:
    ledger.decide(request)
    ledger.run(request, result="unknown")


def _resolved(ledger: Ledger, request: str) -> None:
    _unknown(ledger, request)
    ledger.step(EntryType.OUTCOME, request, result="resolved", fate="rolled-back", xid="771")


def _prepared(ledger: Ledger, request: str) -> None:
    ledger.decide(request)
    ledger.step(EntryType.INTENT, request, xid="771", where="block")
    ledger.step(EntryType.EXECUTED, request, rows=5, tags=["DELETE 5"])
    ledger.step(EntryType.ENDING, request, action="prepare-transaction", xid="771", gid="x")
    ledger.step(EntryType.OUTCOME, request, result="prepared", ended="prepared", xid="771", gid="x")
    ledger.step(EntryType.ENDING, request, action="commit-prepared", xid="771", gid="x", through="S-2")
    ledger.step(EntryType.OUTCOME, request, result="committed", ended="commit-prepared", xid="771", rows=5, gid="x")


def _cascading(ledger: Ledger, request: str) -> None:
    changed: list[dict[str, Any]] = [
        {"relation": "public.t1", "target": True, "root": "public.t", "deleted": 2, "updated": 1},
        {"relation": "public.t2", "target": True, "root": "public.t", "inserted": 2},
        {"relation": "public.child", "target": False, "deleted": 9},
    ]
    ledger.decide(request, ceiling=Ceiling(3, 8))
    ledger.step(EntryType.INTENT, request, xid="771", upstream_pid=4711)
    ledger.step(EntryType.EXECUTED, request, rows=3, other_rows=9, tags=["UPDATE 3"], changed=changed)
    exceeded = {"max_rows": 3, "max_other_rows": 8, "rows": 3, "other_rows": 9}
    ledger.step(EntryType.OUTCOME, request, result="rolled-back", ended="ceiling", ceiling_exceeded=exceeded)


def found(stored: list[StoredEntry], note: str) -> tuple[str, ...]:
    try:
        Both()(stored, note, VKEY, ahead=stored)
    except LedgerBroken as broken:
        return broken.faults
    return ()


SHORT, LONG = 60, 200
LENGTHS = [SHORT, pytest.param(LONG, marks=pytest.mark.long)]


@pytest.fixture(scope="module")
def short() -> Ledger:
    return whole(SHORT)


def test_the_ledger_that_is_changed_is_whole(short: Ledger) -> None:
    assert found(short.stored, short.sign()) == ()
    assert {json.loads(raw)["type"] for raw in short.raws} >= {
        *("decision-rejected", "decision", "ending", "executed", "forwarded", "intent", "outcome", "preview"),
        *("request", "roster", "session-closed", "session-opened", "proxy-started"),
    }


@pytest.mark.parametrize(("length", "samples"), [(SHORT, 120), pytest.param(LONG, 1500, marks=pytest.mark.long)])
def test_every_flipped_bit_is_told_by_both_at_the_same_place(length: int, samples: int) -> None:
    ledger, rng = whole(length), random.Random(1)
    note = ledger.sign()
    for _ in range(samples):
        place = rng.randrange(len(ledger.stored))
        kept = ledger.stored[place]
        at = rng.randrange(len(kept.raw))
        raw = kept.raw[:at] + bytes([kept.raw[at] ^ 1 << rng.randrange(8)]) + kept.raw[at + 1 :]
        stored = [*ledger.stored[:place], StoredEntry(raw, kept.opened), *ledger.stored[place + 1 :]]
        assert found(stored, note), (place, at)


@pytest.mark.parametrize("length", LENGTHS)
def test_every_deletion_swap_duplicate_and_cut_is_told_by_both(length: int) -> None:
    ledger = whole(length)
    note, stored = ledger.sign(), ledger.stored
    # tests/tamper does the same to files of 200 entries.
    for place in range(0, len(stored), 1 if length == LONG else 3):
        assert found([*stored[:place], *stored[place + 1 :]], note)
        assert found([*stored[:place], stored[place], *stored[place:]], note)
        assert found(stored[:place], note)
        if place:
            assert found([*stored[: place - 1], stored[place], stored[place - 1], *stored[place + 1 :]], note)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where each part of a value is, from the top."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, key)
        if isinstance(item, (dict, list)):
            yield from _paths(item, (*path, key))


_OTHERS: list[Any] = [
    *(0, 1, 6, 2**53 - 1, -1, True, False, "", "x", "committed", "unknown", "resolved", "prepared", "any", "deny"),
    *(
        "R-1",
        "R-2",
        "S-00000000",
        "commit-prepared",
        "2026-11-20T24:00:00.000000Z",
        "0" * 64,
        "AAAA",
        [],
        {},
        [1],
        ["x"],
    ),
    *({"a": 1}, "intent", "decision", "session-closed", "9999-12-31T23:59:59.999999Z", [["x"]]),
]


def _changed(fields: dict[str, Any], rng: random.Random) -> None:
    """Change, drop, or add one part of an entry, wherever it is."""
    path = rng.choice([each for each in _paths(fields) if each != ("v",)])
    holder: Any = fields
    for key in path[:-1]:
        holder = holder[key]
    action = rng.random()
    if action < 0.2:
        del holder[path[-1]]
    elif action < 0.3 and isinstance(holder, dict):
        holder[rng.choice(["gid", "xid", "rows", "fate", "changed", "countable", "needs", "uncountable", "extra"])] = (
            rng.choice(_OTHERS)
        )
    elif action < 0.45 and type(holder[path[-1]]) is int:
        holder[path[-1]] += rng.choice([-1, 1])
    else:
        holder[path[-1]] = copy.deepcopy(rng.choice(_OTHERS))


@pytest.mark.parametrize("seed", one_in(60, range(60)))
def test_who_holds_the_proxys_key_is_told_the_same_by_both(seed: int, short: Ledger) -> None:
    """One edit or two, all links and the checkpoint made anew, as no thief of the file alone could."""
    rng, unnoticed = random.Random(seed), 0
    for _ in range(100):
        ledger = copy.copy(short)
        ledger.stored, ledger.before_edit = list(short.stored), {}
        for _ in range(rng.choice([1, 1, 2])):
            ledger.edit(rng.randrange(len(ledger.stored)), lambda fields: _changed(fields, rng))
        try:
            ledger.relink(resign=False)
        except TypeError:
            # An edit that took away what a link would be written into.
            continue
        unnoticed += not found(ledger.stored, ledger.sign())
    assert unnoticed < 60


@pytest.mark.parametrize("change", one_in(3, ["swap", "drop", "repeat"]))
def test_entries_that_are_moved_and_linked_anew_are_told_the_same_by_both(change: str, short: Ledger) -> None:
    for place in range(len(short.stored) - 1):
        ledger = copy.copy(short)
        ledger.stored, ledger.before_edit = list(short.stored), {}
        if change == "swap":
            ledger.stored[place : place + 2] = ledger.stored[place : place + 2][::-1]
        elif change == "drop":
            del ledger.stored[place]
        else:
            ledger.stored.insert(place, ledger.stored[place])
        ledger.relink(resign=False)
        found(ledger.stored, ledger.sign())


@pytest.mark.parametrize(
    "line",
    [
        'bo namespaces="decision@pgnotary",valid-after="20270101Z" {}',
        'bo valid-before="20261120Z" {}',
        'bo valid-before="20261120090006Z" {}',
        'bo valid-before="20261120090005Z" {}',
        'bo valid-after="20261120090006Z" {}',
        'bo valid-after="20261120090007" {}',
        'bo valid-after="20270101Z",valid-before="20260101Z" {}',
        'bo valid-after="20261301Z" {}',
        'bo valid-after="19700101Z" {}',
        'bo namespaces="file,decision@pgnotary" {}',
        'bo namespaces="file" {}',
        'bo namespaces="decision@*" {}',
        'bo namespaces="" {}',
        'bo namespaces="file" ,x {}',
        'bo namespaces="decision@pgnotary", {}',
        'bo namespaces="a",namespaces="decision@pgnotary" {}',
        "bo cert-authority {}",
        "bo,ana {}",
        "b* {}",
        '"bo" {}',
        "bo\t{}",
        "  bo   {}  # c",
        "bo {} a comment",
        "bo {} a comment\u2028",
        "bo {}\r",
        "bo {}\x0b",
        "# bo {}",
        "",
        "bo",
        "bo ssh-rsa AAAA",
        "bo ssh-ed25519 AAAA",
        "bo\n{}",
        "bo {0}\nbo {0}",
        "bo {0}\nBo {1}",
        "bo {0}\nana {0}",
        "bo {0}\nana {1}\n\n",
        "eva {}",
        "\ufeffbo {}",
    ],
)
def test_rosters_are_read_alike(line: str) -> None:
    keys = [each.split(" ", 2)[2].strip() for each in roster_text("bo", "ana").splitlines()]
    ledger = Ledger(keeps=False).start()
    ledger.edit(1, lambda fields: fields["body"].update(allowed_signers=line.format(*keys)))
    ledger.relink(resign=False)
    ledger.open_session()
    ledger.ask("R-1")
    ledger.preview("R-1")
    ledger.decide("R-1")
    found(ledger.stored, ledger.sign())


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":-0}', b'{"a":1e2}', b'{"a":1.0}', b'{"a":NaN}', b'{"a":null}', b'{"A":1}', b'{"a":1,"a":1}',
        b'{"b":1,"a":1}',
        b'{"a":"\\u00e9"}', b'{"a":"\\/"}', b'{"a":"\\u001F"}', b'{"a":"\\ud800"}', b'{"a":9007199254740992}',
        b"\xef\xbb\xbf{}", b'{"a":' + b"9" * 5000 + b"}", b'{"a":' + b"[" * 16 + b"]" * 16 + b"}", b'{"a":"\x7f"}',
        b'{"":1}', b'{"a-b":1}', b'{"a":1}\n', b'"{}"', b'{"a":"\xed\xa0\x80"}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["whole", "body"])
def test_json_that_is_not_canonical_is_an_entry_to_neither(raw: bytes, where: str) -> None:
    ledger = Ledger().start()
    entry = ledger.stored[0].raw
    changed = raw if where == "whole" else entry[: entry.index(b"{", 1)] + raw + entry[entry.index(b',"ledger"') :]
    stored = [StoredEntry(changed, {}), *ledger.stored[1:]]
    assert found(stored, ledger.notes[-1])


def test_every_depth_is_accepted_by_both_or_by_none() -> None:
    good = []
    for depth in range(10, 20):
        ledger = Ledger(keeps=False).start()
        value: Any = 1
        for _ in range(depth):
            value = [value]
        raw = json.loads(ledger.stored[0].raw)
        raw["body"]["deep"] = value
        text = json.dumps(raw, sort_keys=True, separators=(",", ":")).encode()
        ledger.stored = [StoredEntry(text, {})]
        good.append(not found(ledger.stored, ledger.sign()))
    assert good == [True] * 5 + [False] * 5


@pytest.mark.parametrize("length", LENGTHS)
def test_an_export_is_the_same_ledger_to_both(length: int, tmp_path: Path) -> None:
    ledger = whole(length)
    ledger.notes = [ledger.sign()]
    export_folder(ledger, tmp_path / "e", VKEY)
    assert both_over_folder(tmp_path / "e", VKEY) == ((), [])
    path, rng = tmp_path / "e" / "entries.jsonl", random.Random(3)
    content = path.read_bytes()
    for _ in range(40):
        at = rng.randrange(len(content))
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :])
        both_over_folder(tmp_path / "e", VKEY)


@pytest.mark.parametrize("other", one_in(3, [[], ["committed"], {}, {"a": 1}, True, 0, 1, -1, "", "x"]))
@pytest.mark.parametrize("name", "answer result fate held needs tags xid gid action ceiling_exceeded rows".split())
def test_a_value_of_another_type_is_told_the_same_by_both(name: str, other: Any, short: Ledger) -> None:
    """In each place where it can stand, in turn, linked and signed anew."""
    places = [n for n, raw in enumerate(short.raws) if f'"{name}":'.encode() in raw][:2]
    assert places
    for place in places:
        ledger = copy.copy(short)
        ledger.stored, ledger.before_edit = list(short.stored), {}
        ledger.edit(place, lambda fields: fields["body"].update({name: other}))
        ledger.relink(resign=False)
        found(ledger.stored, ledger.sign())


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"max_rows": True},
        {"max_rows": -1},
        {"max_rows": 5},
        {"max_rows": 5, "max_other_rows": 0},
        {"max_rows": 5, "max_other_rows": "any"},
        {"max_rows": 5, "max_other_rows": "some"},
        {"max_rows": 5, "max_other_rows": True},
        {"max_other_rows": 1},
        {"decision": ["approve"]},
        {"decision": "deny", "max_rows": 5},
        {"decision": "maybe"},
        {"kind": 7},
        {"user": ["eva"]},
        {"ledger": {}},
        {"statement": ""},
        {"approver": 7},
        {"approver": "eva"},
        {"request": "R-2"},
        {"request_leaf": "00" * 32},
        {"preview_leaf": "AB" * 32},
        {"context": "00" * 32},
        {"nonce": "00" * 15},
        {"reason": 7},
        {"decided_at": "2026-11-20T24:00:00.000000Z"},
        {"head": {"size": True, "root": "00" * 32}},
        {"head": {"size": 5}},
        {"head": {"size": 5, "root": "00" * 32}},
        {"head": {"size": 99, "root": "00" * 32}},
        {"head": {"size": 2**53 - 1, "root": "00" * 32}},
        {"v": "pgnotary/decision/2"},
        {"extra": 1},
    ],
)
def test_documents_that_an_approver_signed_are_read_alike(change: dict[str, Any]) -> None:
    ledger = Ledger(keeps=False).start()
    ledger.open_session()
    ledger.ask("R-1")
    ledger.preview("R-1")
    good = ledger.decide("R-1")
    document = json.loads(unb64(str(good.body["document"]))) | change
    raw = encode(document)
    signature = sshsig.sign(raw, SEEDS["bo"], sshsig.DECISION_NAMESPACE)
    repeated: dict[str, Any] = {name: document[name] for name in ("max_rows", "max_other_rows") if name in change}
    body: dict[str, Any] = {"answer": document["decision"], "document": b64(raw), "signature": signature, **repeated}
    ledger.edit(5, lambda fields: fields["body"].update(body))
    ledger.relink(resign=False)
    found(ledger.stored, ledger.sign())


def _armored(change: Callable[[str], str]) -> tuple[str, ...]:
    ledger = Ledger(keeps=False).start()
    ledger.open_session()
    ledger.ask("R-1")
    ledger.preview("R-1")
    ledger.decide("R-1")
    ledger.edit(5, lambda fields: fields["body"].update(signature=change(fields["body"]["signature"])))
    ledger.relink(resign=False)
    return found(ledger.stored, ledger.sign())


@pytest.mark.parametrize(
    ("change", "good"),
    [
        (lambda text: text, True),
        (lambda text: text.removesuffix("\n"), True),
        (lambda text: text + "\n", False),
        (lambda text: " " + text, False),
        (lambda text: text.replace("\n", "\r\n"), False),
        (lambda text: text.replace("SSH", "PGP"), False),
        (lambda text: text.replace("=", ""), False),
        (lambda text: text.replace("-----END", "\n-----END"), False),
        (lambda text: text[:40] + "\n" + text[40:], True),
        (lambda text: text * 20, False),
        (lambda text: "", False),
    ],
)
def test_armor_is_read_alike(change: Callable[[str], str], good: bool) -> None:
    assert (_armored(change) == ()) is good


def blob(text: str) -> bytes:
    return unb64("".join(text.split("\n")[1:-2]))


def armor(data: bytes) -> str:
    text = b64(data)
    lines = [text[at : at + 70] for at in range(0, len(text), 70)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


def _flipped_at(at: int, text: str) -> str:
    return armor(_flip(blob(text), at))


def test_every_byte_of_a_signature_counts_to_both() -> None:
    length = len(blob(sshsig.sign(b"", SEEDS["bo"], sshsig.DECISION_NAMESPACE)))
    assert _armored(lambda text: armor(blob(text))) == ()
    for at in range(0, length, 3):
        assert _armored(partial(_flipped_at, at))
    assert _armored(lambda text: armor(blob(text) + b"\0"))
    assert _armored(lambda text: armor(blob(text)[:-1]))


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_every_byte_of_a_checkpoint_counts_to_both(short: Ledger) -> None:
    note = short.sign()
    other = notes.sign(notes.verify(note, VKEY), "witness", SEEDS["mallory"]).splitlines()[-1]
    assert found(short.stored, note) == ()
    assert found(short.stored, f"{note}{other}\n") == ()
    for at in range(len(note.encode())):
        changed = _flip(note.encode(), at).decode(errors="replace")
        assert found(short.stored[:3], changed)
    for bad in (note[:-1], note + "\n", note.replace("\n\n", "\n"), "\n" + note, note + other, note * 2, ""):
        assert found(short.stored, bad)
