"""What comes before the first message: read to the byte, or refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgnotary.errors import ClientProtocolError
from pgnotary.wire.startup import (
    MAX_STARTUP_BYTES,
    CancelRequest,
    EncryptionRequest,
    StartupMessage,
    encode_cancel,
    encode_startup,
    parse_packet,
    startup_length,
)

SSL, GSSENC, CANCEL = 80_877_103, 80_877_104, 80_877_102

words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


def packet(code: int, body: bytes = b"") -> bytes:
    return (len(body) + 8).to_bytes(4, "big") + code.to_bytes(4, "big") + body


def startup(body: bytes) -> bytes:
    return packet(3 << 16, body)


@given(st.dictionaries(words.filter(bool), words, max_size=5))
def test_parameters_read_back(parameters: dict[str, str]) -> None:
    assert parse_packet(encode_startup(parameters)) == StartupMessage(0, parameters)


def test_the_last_of_duplicates_wins() -> None:
    assert parse_packet(startup(b"user\0a\0database\0d\0user\0b\0\0")) == StartupMessage(
        0, {"user": "b", "database": "d"}
    )


def test_a_value_may_be_empty_and_a_packet_without_parameters_too() -> None:
    assert parse_packet(startup(b"user\0\0\0")) == StartupMessage(0, {"user": ""})
    assert parse_packet(startup(b"\0")) == StartupMessage(0, {})


@pytest.mark.parametrize(("code", "minor"), [(0x30000, 0), (0x30002, 2), (0x3270F, 9_999)])
def test_the_minor_version_is_told(code: int, minor: int) -> None:
    assert parse_packet(packet(code, b"\0")) == StartupMessage(minor, {})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"user",
        b"user\0a",
        b"user\0a\0",
        b"user\0\0",
        b"\0a\0\0",
        b"\0\0",
        b"user\0a\0\0\0",
        b"user\0a\0\0x\0y\0\0",
        b"user\0a\0database\0\0",
        b"user\0\xff\0\0",
    ],
)
def test_a_malformed_layout_is_refused(body: bytes) -> None:
    with pytest.raises(ClientProtocolError):
        parse_packet(startup(body))


@given(st.binary(max_size=40))
def test_any_bytes_are_a_packet_or_a_protocol_error(body: bytes) -> None:
    for raw in (body, startup(body), packet(CANCEL, body), packet(SSL, body)):
        with contextlib.suppress(ClientProtocolError):
            assert isinstance(parse_packet(raw), StartupMessage | CancelRequest | EncryptionRequest)


def test_a_nul_in_a_parameter_cannot_make_another() -> None:
    with pytest.raises(ValueError, match="NUL"):
        encode_startup({"user": "eva\0options\0-c x=y"})
    with pytest.raises(ValueError, match="NUL"):
        encode_startup({"user\0a": "eva"})


@pytest.mark.parametrize("code", [2 << 16, 4 << 16, 0, 80_877_105, 0xFFFF_FFFF])
def test_another_protocol_is_refused_by_name(code: int) -> None:
    with pytest.raises(ClientProtocolError, match=r"unsupported protocol \d+\.\d+: pgnotary speaks 3\.0"):
        parse_packet(packet(code, b"\0"))


@pytest.mark.parametrize(("code", "kind"), [(SSL, "ssl"), (GSSENC, "gssenc")])
def test_an_encryption_request_is_eight_bytes_and_no_more(code: int, kind: str) -> None:
    assert parse_packet(packet(code)) == EncryptionRequest(kind)
    with pytest.raises(ClientProtocolError, match="expected 8"):
        parse_packet(packet(code, b"\0"))


@given(st.integers(0, 2**32 - 1), st.binary(min_size=4, max_size=256))
def test_a_cancel_request_reads_back_with_a_key_of_any_legal_length(pid: int, secret: bytes) -> None:
    assert parse_packet(encode_cancel(pid, secret)) == CancelRequest(pid, secret)


@pytest.mark.parametrize("size", [0, 3, 7, 261, 4_000])
def test_a_cancel_request_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(ClientProtocolError, match="expected 16 to 268"):
        parse_packet(packet(CANCEL, bytes(size)))


@pytest.mark.parametrize("length", [8, 9, MAX_STARTUP_BYTES])
def test_a_startup_length_counts_its_own_word(length: int) -> None:
    assert startup_length(length.to_bytes(4, "big")) == length


@pytest.mark.parametrize("length", [0, 1, 4, 7, MAX_STARTUP_BYTES + 1, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_a_startup_length_that_cannot_be_is_refused(length: int) -> None:
    with pytest.raises(ClientProtocolError, match=f"invalid length of startup packet: {length}") as caught:
        startup_length(length.to_bytes(4, "big"))
    assert caught.value.hint == ""


def test_tls_without_a_request_for_it_is_told_what_to_do() -> None:
    with pytest.raises(ClientProtocolError) as caught:
        startup_length(b"\x16\3\1\2")
    assert "sslmode=disable" in caught.value.hint


@pytest.mark.parametrize("raw", [b"", b"\0\0\0\x08", startup(b"\0") + b"x", startup(b"\0")[:-1]])
def test_a_packet_must_have_the_length_it_claims(raw: bytes) -> None:
    with pytest.raises(ClientProtocolError, match="does not have the length it claims"):
        parse_packet(raw)
