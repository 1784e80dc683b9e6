"""Every vector in tests/vectors before both verifiers: they say the same of each, and what its source says of it."""

import base64
import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from tests.second.agreement import ed25519_is_good, sodium

from pgnotary.audit import standalone
from pgnotary.errors import BadCheckpoint, BadProof, NotCanonical, PgnotaryError
from pgnotary.ledger import checkpoint as notes
from pgnotary.ledger.canonical import decode, encode
from pgnotary.ledger.seals import commitment
from pgnotary.ledger.tree import leaf_hash, verify_consistency, verify_inclusion
from pgnotary.request import sshsig

FOLDER = Path(__file__).parents[1] / "vectors"
NUMBER, MESSAGE, SIGNATURE, RESULT, ABOUT = range(5)


def vectors(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def test_each_file_of_vectors_is_named_with_its_source() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert {path.name for path in FOLDER.glob("*.json")} == set(_quoted(page))


def _quoted(page: str) -> list[str]:
    return [word for word in page.split("`") if word.endswith(".json")]


def test_each_signature_of_wycheproof_is_judged_by_both_as_it_says() -> None:
    said: dict[str, set[bool]] = {"valid": set(), "invalid": set(), "acceptable": set()}
    count = 0
    for key in vectors("ed25519")["keys"]:
        public = bytes.fromhex(key["public"])
        for each in key["tests"]:
            message, signature = bytes.fromhex(each[MESSAGE]), bytes.fromhex(each[SIGNATURE])
            first = sodium(public, message, signature)
            assert ed25519_is_good(public, message, signature) is first, each
            said[each[RESULT]].add(first)
            # With a key of small order one signature fits many texts.
            assert not (first and each[ABOUT].startswith(("identity public key", "canonical Ed25519 torsion point")))
            count += 1
    assert count == 210
    assert (said["valid"], said["invalid"]) == ({True}, {False})


def canonical_for_both(raw: bytes) -> dict[str, Any] | None:
    """What both read from bytes; None: that they are not canonical."""
    first: dict[str, Any] | None = None
    second: dict[str, Any] | None = None
    with suppress(NotCanonical):
        first = decode(raw)
    with suppress(standalone.Bad):
        second = standalone._decode(raw)
    assert first == second, raw
    return second


def test_what_is_canonical_is_so_for_both() -> None:
    for each in vectors("canonical")["accepted"]:
        raw = bytes.fromhex(each["bytes"])
        assert canonical_for_both(raw) == each["value"]
        assert rfc8785.dumps(each["value"]) == standalone._canonical(each["value"]) == raw
    for refused in vectors("canonical")["refused"]:
        assert canonical_for_both(bytes.fromhex(refused)) is None


def test_the_samples_of_rfc_8785_are_read_where_they_are_in_the_profile_and_refused_elsewhere() -> None:
    for each in vectors("jcs")["samples"]:
        value = json.loads(each["input"])
        raw = each["canonical"].encode()
        assert rfc8785.dumps(value) == raw, each["name"]
        assert canonical_for_both(each["input"].encode()) is None, each["name"]
        assert canonical_for_both(raw) == (value if each["ours"] else None), each["name"]
        if each["ours"]:
            assert encode(value) == standalone._canonical(value) == raw


def test_of_the_numbers_of_rfc_8785_only_integers_below_2_to_the_53_are_read() -> None:
    read = []
    for bits, text in vectors("jcs")["numbers"]:
        [number] = struct.unpack(">d", bytes.fromhex(bits))
        assert rfc8785.dumps(number) == text.encode()
        found = canonical_for_both(b'{"n":' + text.encode() + b"}")
        if found is not None:
            read.append(text)
            assert type(found["n"]) is int
    assert set(read) == {"0"}
    assert canonical_for_both(b'{"n":-0}') is None
    assert canonical_for_both(b'{"n":9007199254740991}') == {"n": 2**53 - 1}


def checkpoint_for_both(note: str, vkey: str) -> tuple[str, int, bytes] | None:
    first = second = None
    with suppress(BadCheckpoint):
        read = notes.verify(note, vkey)
        first = (read.origin, read.size, read.root)
    with suppress(standalone.Bad):
        other = standalone.Checkpoint.read(note, standalone.Key.read(vkey))
        second = (other.origin, other.size, other.root)
    assert first == second, (note, vkey)
    return first


def test_each_note_is_read_by_both_as_c2sp_says() -> None:
    told = vectors("checkpoint")
    sumdb, golden = told["sumdb"], told["golden"]
    assert checkpoint_for_both(sumdb["note"], sumdb["vkey"]) == (
        sumdb["origin"],
        sumdb["size"],
        bytes.fromhex(sumdb["root"]),
    )
    expected = (golden["name"], golden["size"], bytes.fromhex(golden["root"]))
    assert checkpoint_for_both(golden["note"], golden["vkey"]) == expected
    for name in ("signed_note", "neumann"):
        # Signed, and no checkpoints.
        assert notes.open_note(told[name]["note"], told[name]["vkey"])
        assert checkpoint_for_both(told[name]["note"], told[name]["vkey"]) is None
    for each in (sumdb, golden):
        for other in (sumdb, golden):
            assert (checkpoint_for_both(each["note"], other["vkey"]) is None) is (each is not other)


def test_each_changed_byte_of_a_note_and_of_a_key_is_told_by_both() -> None:
    golden = vectors("checkpoint")["golden"]
    note, vkey = golden["note"], golden["vkey"]
    for at in range(0, len(note), 3):
        for change in (note[:at] + note[at + 1 :], note[:at] + chr(ord(note[at]) ^ 1) + note[at + 1 :]):
            assert checkpoint_for_both(change, vkey) is None
    for at in range(0, len(vkey), 3):
        assert checkpoint_for_both(note, vkey[:at] + chr(ord(vkey[at]) ^ 1) + vkey[at + 1 :]) is None


def test_the_published_roots_and_proofs_are_those_of_both() -> None:
    told = vectors("tree")
    leaves = [leaf_hash(bytes.fromhex(each)) for each in told["entries"]]
    tree = standalone._Tree(range(len(leaves) + 1))
    for leaf, entry in zip(leaves, told["entries"], strict=True):
        assert standalone._leaf(bytes.fromhex(entry)) == leaf
        tree.append(leaf)
    roots = [bytes.fromhex(each) for each in told["roots"]]
    assert [tree.at(size) for size in range(len(roots))] == roots
    for each in told["inclusion"]:
        proof = [bytes.fromhex(part) for part in each["proof"]]
        verify_inclusion(leaves[each["index"]], each["index"], each["size"], proof, roots[each["size"]])
        for wrong in (proof[1:], [*proof, roots[1]], [roots[1], *proof], [*reversed(proof)]):
            if wrong != proof:
                with pytest.raises(BadProof):
                    verify_inclusion(leaves[each["index"]], each["index"], each["size"], wrong, roots[each["size"]])
        for size in (each["size"] * 2, each["size"] // 2):
            with pytest.raises(BadProof):
                verify_inclusion(leaves[each["index"]], each["index"], size, proof, roots[each["size"]])
    for each in told["consistency"]:
        proof = [bytes.fromhex(part) for part in each["proof"]]
        old, new = each["old"], each["new"]
        verify_consistency(old, roots[old], new, roots[new], proof)
        if old != new:
            for wrong in (proof[1:], [*proof, roots[1]], [roots[1], *proof]):
                with pytest.raises(BadProof):
                    verify_consistency(old, roots[old], new, roots[new], wrong)
            with pytest.raises(BadProof):
                verify_consistency(old, roots[new], new, roots[old], proof)


def test_seals_and_signatures_of_decisions_are_those_of_both() -> None:
    for each in vectors("seals"):
        salt, value = bytes.fromhex(each["salt"]), bytes.fromhex(each["value"])
        made = standalone._sha256(b"pgnotary/seal/1\n" + each["name"].encode() + b"\x00" + salt + value)
        assert commitment(each["name"], salt, value) == made == bytes.fromhex(each["commitment"])
    told = vectors("sshsig")
    message, armored = bytes.fromhex(told["message"]), told["armored"]
    signer = standalone._signer_of(armored, message, told["namespace"])
    assert (signer.point.hex(), signer.fingerprint) == (told["public"], told["fingerprint"])
    raw = base64.b64decode("".join(armored.splitlines()[1:-1]))
    for at in range(0, len(raw), 5):
        changed = base64.b64encode(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]).decode()
        lines = [changed[n : n + 70] for n in range(0, len(changed), 70)]
        note = "\n".join([armored.splitlines()[0], *lines, armored.splitlines()[-1], ""])
        with pytest.raises(PgnotaryError):
            sshsig.verify(note, message, told["namespace"])
        with pytest.raises(standalone.Bad):
            standalone._signer_of(note, message, told["namespace"])
