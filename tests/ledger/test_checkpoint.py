"""Checkpoints as C2SP signed notes: published notes of others are read, and nothing changed is believed."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from pgnotary.errors import BadCheckpoint
from pgnotary.ledger.canonical import b64
from pgnotary.ledger.checkpoint import Checkpoint, NoteKey, claimed_size, open_note, parse_vkey, sign, verify, vkey
from pgnotary.ledger.tree import EMPTY_ROOT

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "checkpoint.json").read_text(encoding="utf-8")
)
GOLDEN = VECTORS["golden"]
SEED = bytes.fromhex(GOLDEN["seed"])
NAME: str = GOLDEN["name"]
NOTE: str = GOLDEN["note"]
VKEY: str = GOLDEN["vkey"]
HEAD = Checkpoint(NAME, GOLDEN["size"], bytes.fromhex(GOLDEN["root"]))


def signed(text: str, name: str = NAME, seed: bytes = SEED) -> str:
    """A note over any text, well-formed or not, with a signature that is good."""
    key = SigningKey(seed)
    key_id = NoteKey(name, bytes(key.verify_key)).key_id
    return f"{text}\n\u2014 {name} {b64(key_id + key.sign(text.encode()).signature)}\n"


def test_the_sample_of_the_signed_note_specification_is_read() -> None:
    sample = VECTORS["signed_note"]
    assert open_note(sample["note"], sample["vkey"]) == sample["text"]


def test_a_head_of_the_go_checksum_database_is_read() -> None:
    sample = VECTORS["sumdb"]
    expected = Checkpoint(sample["origin"], sample["size"], bytes.fromhex(sample["root"]))
    assert verify(sample["note"], sample["vkey"]) == expected


def test_keys_and_signatures_are_those_of_the_go_implementation() -> None:
    sample = VECTORS["neumann"]
    seed = bytes.fromhex(sample["seed"])
    assert vkey("PeterNeumann", bytes(SigningKey(seed).verify_key)) == sample["vkey"]
    text = open_note(sample["note"], sample["vkey"])
    assert signed(text, "PeterNeumann", seed) == sample["note"]


def test_the_golden_note_never_changes() -> None:
    assert vkey(NAME, bytes(SigningKey(SEED).verify_key)) == VKEY
    assert sign(HEAD, NAME, SEED) == NOTE
    assert verify(NOTE, VKEY) == HEAD


@given(st.integers(0, 2**53 - 1), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_what_is_signed_verifies_under_its_key(size: int, root: bytes, seed: bytes) -> None:
    head = Checkpoint("example.com/log", size, root if size else EMPTY_ROOT)
    key = vkey("example.com/log", bytes(SigningKey(seed).verify_key))
    assert verify(sign(head, "example.com/log", seed), key) == head
    assert parse_vkey(key).text == key


def test_no_changed_bit_of_a_note_is_believed() -> None:
    raw = NOTE.encode()
    for at in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[at] ^= 1 << bit
            try:
                text = changed.decode()
            except UnicodeDecodeError:
                continue
            with pytest.raises(BadCheckpoint):
                verify(text, VKEY)


def test_no_changed_bit_of_a_verifier_key_is_accepted() -> None:
    for at in range(len(VKEY)):
        for bit in range(7):
            text = VKEY[:at] + chr(ord(VKEY[at]) ^ 1 << bit) + VKEY[at + 1 :]
            with pytest.raises(BadCheckpoint):
                verify(NOTE, text)


def test_signatures_of_witnesses_and_of_unknown_kinds_are_ignored() -> None:
    head, _, ours = NOTE.partition("\n\n")
    witness = f"\u2014 witness.example.com {b64(bytes(76))}\n"
    same_name_other_key = f"\u2014 {NAME} {b64(bytes(4 + 2420))}\n"
    note = f"{head}\n\n{witness}{ours}{same_name_other_key}{witness * 20}"
    assert verify(note, VKEY) == HEAD


def test_a_note_that_only_others_signed_is_refused() -> None:
    with pytest.raises(BadCheckpoint, match="no signature by"):
        verify(signed(HEAD.text, "somebody.else"), VKEY)
    with pytest.raises(BadCheckpoint, match="no signature by"):
        verify(signed(HEAD.text, NAME, bytes(32)), VKEY)


def test_a_wrong_signature_spoils_the_note_even_beside_a_right_one() -> None:
    key_id = parse_vkey(VKEY).key_id
    for value in (bytes(64), bytes(63), bytes(65)):
        with pytest.raises(BadCheckpoint, match="wrong signature"):
            verify(f"{NOTE}\u2014 {NAME} {b64(key_id + value)}\n", VKEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "log\n",
        "log\n1\n",
        "\n1\n{root}\n",
        "log\n01\n{root}\n",
        "log\n+1\n{root}\n",
        "log\n-1\n{root}\n",
        "log\n1 \n{root}\n",
        "log\n\u0661\n{root}\n",
        "log\n10000000000000000000000\n{root}\n",
        "log\n1\n{root}=\n",
        "log\n1\nAAAA\n",
        "log\n1\n{root}\nextension\n",
        "log\n1\n{root}\n\n",
        "\nlog\n1\n{root}\n",
        "log\n0\n{root}\n",
    ],
    ids=repr,
)
def test_a_signed_text_that_is_not_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(BadCheckpoint):
        verify(signed(text.format(root=b64(bytes(32)))), VKEY)


@pytest.mark.parametrize(
    "broken",
    [
        NOTE[:-1],
        NOTE + "\n",
        NOTE + "x\n",
        NOTE.replace("\n", "\r\n"),
        NOTE.replace("\u2014", "-"),
        NOTE.replace("\u2014 ", "\u2014"),
        NOTE.replace("\n\n", "\n"),
        "\n" + NOTE.partition("\n\n")[2],
        NOTE + f"\u2014 other {b64(bytes(4))}\n",
        NOTE + "\u2014 other not-base64\n",
        NOTE + f"\u2014 oth+er {b64(bytes(68))}\n",
        NOTE + f"\u2014 oth\u00a0er {b64(bytes(68))}\n",
        NOTE + f"\u2014 other {b64(bytes(68))} \n",
        NOTE + f"\u2014 other {b64(bytes(200_000))}\n",
        "\ud800" + NOTE,
    ],
    ids=lambda broken: repr(broken)[-40:],
)
def test_a_malformed_note_is_refused_though_its_signature_stands(broken: str) -> None:
    with pytest.raises(BadCheckpoint):
        verify(broken, VKEY)


@pytest.mark.parametrize(
    "head",
    [
        Checkpoint("", 1, bytes(32)),
        Checkpoint("two\nlines", 1, bytes(32)),
        Checkpoint("bell\a", 1, bytes(32)),
        Checkpoint("log", -1, bytes(32)),
        Checkpoint("log", 1, bytes(31)),
        Checkpoint("log", 0, bytes(32)),
        Checkpoint("log", True, bytes(32)),
    ],
    ids=repr,
)
def test_nothing_is_signed_that_would_not_verify(head: Checkpoint) -> None:
    with pytest.raises(BadCheckpoint):
        sign(head, NAME, SEED)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\nb", "a\x01b", "\ud800"])
def test_a_name_that_would_break_the_line_is_refused(name: str) -> None:
    with pytest.raises(BadCheckpoint):
        sign(HEAD, name, SEED)
    with pytest.raises(BadCheckpoint):
        vkey(name, bytes(32))


@pytest.mark.parametrize(
    "text",
    [
        "",
        NAME,
        VKEY + "\n",
        VKEY.replace("+cedb23bc+", "+CEDB23BC+"),
        VKEY.replace("+cedb23bc+", "+cedb23bd+"),
        VKEY.replace("+AQ", "+BA"),
        VKEY[:-4],
    ],
)
def test_a_verifier_key_that_is_not_exactly_one_is_refused(text: str) -> None:
    with pytest.raises(BadCheckpoint):
        parse_vkey(text)


@pytest.mark.parametrize("note", ["", "a", "a\nb\nc", "a\n-1\n", "a\n\u0661\n", "a\n" + "9" * 30 + "\n"])
def test_a_text_that_claims_no_size_has_none(note: str) -> None:
    assert claimed_size(note) == -1
