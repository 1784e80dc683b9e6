"""Entries that list executions are read in a way of their own: whatever the bytes, it says what the other one says."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pgnotary.errors import NotCanonical
from pgnotary.ledger import entries
from pgnotary.ledger.entries import FIRST_PREV, Draft, EntryType, Position, encode_entry, parse_entry
from pgnotary.ledger.executions import Alike, Executions, executions_in, told_in

AT = datetime(2026, 11, 27, 12, 0, 0, 250_000, tzinfo=UTC)


def _raw() -> bytes:
    listed = Executions(AT)
    listed.add(7, Alike(kind="select", verdict="forward", tag="SELECT 1", rows=1), AT, 812, sealed=True)
    listed.add(8, Alike(kind="select", verdict="refuse", sqlstate="42501", why="Grüße"), AT, 3, sealed=True)
    listed.add(7, Alike(kind="select", verdict="forward", tag="SELECT 1", rows=1), AT - timedelta(1), 9, sealed=False)
    draft = Draft(EntryType.FORWARDED, listed.body(), session="S-0000002a", sealed={"t7": b"", "t8": b""})
    return encode_entry(draft, Position("shop.example/l", 41, FIRST_PREV, AT), {"t7": bytes(32), "t8": b"\7" * 32})


RAW = _raw()
CHANGES: dict[str, tuple[bytes, bytes]] = {
    "nothing": (b"", b""),
    "white space": (b'"seq":41', b'"seq": 41'),
    "another order": (b'"seq":41,"session":"S-0000002a"', b'"session":"S-0000002a","seq":41'),
    "another order of seals": (b'"t7":"', b'"t9":"'),
    "a field twice": (b'"seq":41', b'"seq":41,"seq":41'),
    "a needless escape": (b'"kind":"select"', b'"kind":"s\\u0065lect"'),
    "an escape for what needs none": (b"Gr\xc3\xbc\xc3\x9fe", b"Gr\\u00fc\\u00dfe"),
    "no UTF-8": (b"Gr\xc3\xbc\xc3\x9fe", b"Gr\xc3e"),
    "a lone surrogate": (b"Gr\xc3\xbc\xc3\x9fe", b"Gr\\ud800e"),
    "what is empty, written": (b'"tag":"SELECT 1"', b'"sqlstate":"","tag":"SELECT 1"'),
    "null": (b'"rows":1', b'"rows":null'),
    "a number that is none": (b'"rows":1', b'"rows":true'),
    "a fraction": (b'"rows":1', b'"rows":1.0'),
    "a number with an exponent": (b'"rows":1', b'"rows":1e0'),
    "minus nothing": (b'"rows":1', b'"rows":-0'),
    "fewer rows than none": (b'"rows":1', b'"rows":-1'),
    "the largest number": (b"812", b"9007199254740991"),
    "a larger number": (b"812", b"9007199254740992"),
    "a number that is no word of the machine": (b"812", b"99999999999999999999999"),
    "a number of the entry that is too large": (b'"seq":41', b'"seq":9007199254740992'),
    "an entry before the first": (b'"seq":41', b'"seq":-1'),
    "a time before all times": (b'"at_us":[0,0,', b'"at_us":[0,-9007199254740991,'),
    "an unknown verdict": (b'"refuse"', b'"perhaps"'),
    "an unknown field": (b'"kind":"select"', b'"kinds":1,"kind":"select"'),
    "an unknown field of the entry": (b'"v":"', b'"u":1,"v":"'),
    "a field of a request": (b'"seals":', b'"request":"R-1","seals":'),
    "an entry before it in a life": (b'{"body"', b'{"after":"' + b"0" * 64 + b'","body"'),
    "no session": (b'"session":"S-0000002a",', b""),
    "an empty session": (b'"S-0000002a"', b'""'),
    "no seals": (b'"seals":{', b'"seal":{'),
    "a seal with a name that no key has": (b'"t7":"', b'"T7":"'),
    "a seal that is too short": (b'"t7":"AAAA', b'"t7":"'),
    "a seal in another spelling": (b"AAA=", b"AAB="),
    "another format": (b"entry/1", b"entry/2"),
    "an old format": (b"entry/1", b"entry/0"),
    "another type": (b'"forwarded"', b'"heartbeat"'),
    "an unknown type": (b'"forwarded"', b'"forwarder"'),
    "a time of day that there is not": (b"T12:00:00.250000Z", b"T25:00:00.250000Z"),
    "a time without microseconds": (b"T12:00:00.250000Z", b"T12:00:00Z"),
    "a hash in capitals": (b'"prev":"0', b'"prev":"A'),
    "columns of different lengths": (b'"text":[7,', b'"text":['),
    "something that is told of nothing": (b'"alike":[0,1,0]', b'"alike":[0,0,0]'),
    "a list too deep": (b'"text":[7,', b'"text":[[[[[[[[7]]]]]]],'),
    "half of it": (b'"ledger"', b""),
}


def _said(raw: bytes) -> tuple[Any, ...]:
    """Return all that can be had of an entry, or why it cannot be read."""
    try:
        entry = parse_entry(raw)
    except NotCanonical as error:
        return ("refused", str(error))
    body = dict(entry.body)
    said = [entry.position, entry.type, body, entry.session, entry.request, entry.after, entry.seals, entry.leaf]
    for read in (told_in, lambda body: list(executions_in(body))):
        try:
            said.append(read(entry.body))
        except NotCanonical as error:
            said.append(str(error).partition(": ")[0])
    return ("read", *said)


def _in_general(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    with monkeypatch.context() as patched:
        patched.setattr(entries, "read_as", lambda *_: None)
        return _said(raw)


@pytest.mark.parametrize("name", CHANGES)
def test_both_ways_say_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = CHANGES[name]
    assert before in RAW
    raw = RAW.replace(before, after, 1)
    assert (raw == RAW) == (name == "nothing")
    assert _said(raw) == _in_general(raw, monkeypatch)


def test_an_entry_as_it_is_written_is_read_by_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "decode", lambda _: pytest.fail("it was read in general"))
    assert parse_entry(RAW).session == "S-0000002a"


def test_so_they_do_of_bytes_that_were_changed_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    chance, accepted = random.Random(7), 0
    for _ in range(1_500):
        raw = bytearray(RAW)
        for _ in range(chance.choice((1, 1, 2))):
            place = chance.randrange(len(raw))
            match chance.randrange(4):
                case 0:
                    raw[place] ^= 1 << chance.randrange(8)
                case 1:
                    raw[place] = chance.choice(b'0123456789abcdefAZ-,:"[]{}\\ ')
                case 2:
                    del raw[place : place + chance.randrange(1, 4)]
                case _:
                    raw[place:place] = raw[chance.randrange(len(raw)) :][: chance.randrange(1, 12)]
        found = _said(bytes(raw))
        assert found == _in_general(bytes(raw), monkeypatch), bytes(raw)
        accepted += found[0] == "read"
    assert accepted > 100
