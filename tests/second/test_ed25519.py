"""The second verifier's Ed25519 against RFC 8032's vectors, and against libsodium where signatures are crafted.

The crafted ones are made from small-order points, of which there are eight; their encodings, canonical and not, are
the ones listed in "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko, 2020), table 1. libsodium is what the
package verifies with, so what it says is what the second one has to say.
"""

import hashlib
import random
from collections.abc import Iterator

import pytest
from nacl.signing import SigningKey
from tests.second.agreement import ed25519_is_good, sodium

from pgnotary.audit import standalone

# RFC 8032, section 7.1, TEST 1, 2, 3: public key, message, signature.
RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
]

ORDER, P = standalone._L, standalone._P
SMALL = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


def encoded(point: standalone._Point) -> bytes:
    z = pow(point[2], -1, P)
    x, y = point[0] * z % P, point[1] * z % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def expanded(seed: bytes) -> int:
    number = int.from_bytes(hashlib.sha512(seed).digest()[:32], "little")
    return number & ((1 << 254) - 8) | 1 << 254


def signed(secret: int, public: bytes, r: int, shift: standalone._Point, message: bytes, more: int = 0) -> bytes:
    """A signature whose R is moved by a point of small order, and whose S is `more` times the order too high."""
    assert standalone._BASE
    point = encoded(standalone._add(standalone._times(r, standalone._BASE), shift))
    k = int.from_bytes(hashlib.sha512(point + public + message).digest(), "little") % ORDER
    return point + ((r + k * secret) % ORDER + more * ORDER).to_bytes(32, "little")


def small_points() -> Iterator[standalone._Point]:
    for each in SMALL:
        if point := standalone._point(bytes.fromhex(each)):
            yield point


@pytest.mark.parametrize(("public", "message", "signature"), RFC_8032)
def test_the_vectors_of_rfc_8032_are_good_and_each_changed_bit_is_not(
    public: str, message: str, signature: str
) -> None:
    key, text, made = (bytes.fromhex(each) for each in (public, message, signature))
    assert sodium(key, text, made)
    assert ed25519_is_good(key, text, made)
    assert not ed25519_is_good(key, text + b"\0", made)
    for bit in range(0, 512, 37):
        changed = bytearray(made)
        changed[bit // 8] ^= 1 << bit % 8
        assert not ed25519_is_good(key, text, bytes(changed))


def test_an_s_that_is_as_much_as_the_order_too_high_is_refused() -> None:
    seed = bytes([7]) * 32
    public = bytes(SigningKey(seed).verify_key)
    made = signed(expanded(seed), public, 12345, standalone._NEUTRAL, b"text")
    assert ed25519_is_good(public, b"text", made)
    assert sodium(public, b"text", made)
    for more in range(1, 8):
        high = signed(expanded(seed), public, 12345, standalone._NEUTRAL, b"text", more)
        assert ed25519_is_good(public, b"text", high) is sodium(public, b"text", high) is False


def test_there_are_eight_points_of_small_order_and_no_other_encoding_of_them_is_read() -> None:
    points = list(small_points())
    assert len({encoded(each) for each in points}) == len(points) == 8
    assert all(standalone._is_neutral(standalone._times(8, each)) for each in points)


@pytest.mark.parametrize("public", SMALL)
@pytest.mark.parametrize("r", SMALL)
def test_keys_and_rs_of_small_order_sign_nothing(public: str, r: str) -> None:
    # With S = 0 each of the two equations holds for some of these texts, whoever "signed" them.
    key, point = bytes.fromhex(public), bytes.fromhex(r)
    for text in (b"a", b"b", b"c"):
        made = point + bytes(32)
        assert ed25519_is_good(key, text, made) is sodium(key, text, made) is False


def test_signatures_with_a_part_of_small_order_are_judged_as_libsodium_judges_them() -> None:
    """Only who has the private key can make these; the equation without the cofactor accepts few of them."""
    seed, said = bytes([9]) * 32, set()
    secret = expanded(seed)
    assert standalone._BASE
    for in_key in small_points():
        public = encoded(standalone._add(standalone._times(secret, standalone._BASE), in_key))
        for in_r in small_points():
            for r in (1, 77):
                made = signed(secret, public, r, in_r, b"text")
                said.add(sodium(public, b"text", made))
                assert ed25519_is_good(public, b"text", made) is sodium(public, b"text", made)
    assert said == {True, False}


def test_keys_of_another_length_and_off_the_curve_are_refused() -> None:
    seed = bytes([7]) * 32
    public = bytes(SigningKey(seed).verify_key)
    made = SigningKey(seed).sign(b"text").signature
    assert not ed25519_is_good(public[:31], b"text", made)
    assert not ed25519_is_good(public, b"text", made[:63])
    assert not ed25519_is_good(public, b"text", made + b"\0")
    off = next(each for n in range(2, 40) if standalone._point(each := n.to_bytes(32, "little")) is None)
    assert ed25519_is_good(off, b"text", made) is sodium(off, b"text", made) is False


def test_random_signatures_good_and_bad_are_judged_as_libsodium_judges_them() -> None:
    rng = random.Random(8032)
    for n in range(60):
        key, text = SigningKey(rng.randbytes(32)), rng.randbytes(n)
        public, made = bytes(key.verify_key), bytearray(key.sign(text).signature)
        assert ed25519_is_good(public, text, bytes(made))
        made[rng.randrange(64)] ^= 1 << rng.randrange(8)
        assert ed25519_is_good(public, text, bytes(made)) is sodium(public, text, bytes(made)) is False
