"""A commitment opens to one name, one salt and one value, and shows none of them."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgnotary.errors import BrokenSeal
from pgnotary.ledger.seals import SALT_BYTES, Seal, check_opened, commitment

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "seals.json").read_text(encoding="utf-8"))
SALT = bytes(range(SALT_BYTES))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_golden_commitments_never_change(vector: dict[str, str]) -> None:
    salt, value = bytes.fromhex(vector["salt"]), bytes.fromhex(vector["value"])
    assert Seal(vector["name"], salt, value).commitment.hex() == vector["commitment"]
    check_opened(vector["name"], salt, value, bytes.fromhex(vector["commitment"]))


def test_a_commitment_is_the_hash_of_the_documented_bytes() -> None:
    hashed = b"pgnotary/seal/1\n" + b"sql" + b"\0" + SALT + b"select 1"
    assert commitment("sql", SALT, b"select 1") == sha256(hashed).digest()


@given(st.binary(max_size=64), st.binary(min_size=SALT_BYTES, max_size=SALT_BYTES), st.data())
def test_any_changed_bit_of_salt_value_or_commitment_breaks_the_seal(
    value: bytes, salt: bytes, data: st.DataObject
) -> None:
    parts = [salt, value, commitment("sql", salt, value)]
    which = data.draw(st.sampled_from([n for n, part in enumerate(parts) if part]))
    changed = bytearray(parts[which])
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    parts[which] = bytes(changed)
    with pytest.raises(BrokenSeal):
        check_opened("sql", *parts)


def test_a_value_cannot_be_moved_to_another_name() -> None:
    with pytest.raises(BrokenSeal, match="params"):
        check_opened("params", SALT, b"x", commitment("sql", SALT, b"x"))


@pytest.mark.parametrize(("name", "salt"), [("sql", b""), ("sql", SALT[:-1]), ("sql\0", SALT), ("", SALT), ("é", SALT)])
def test_a_name_or_salt_that_could_be_read_two_ways_is_never_hashed(name: str, salt: bytes) -> None:
    with pytest.raises(ValueError, match="a seal's"):
        commitment(name, salt, b"")
    with pytest.raises(BrokenSeal):
        check_opened(name, salt, b"", bytes(32))


def test_a_seal_in_a_traceback_shows_neither_value_nor_salt() -> None:
    assert repr(Seal("sql", SALT, b"secret")) == "Seal(name='sql')"
