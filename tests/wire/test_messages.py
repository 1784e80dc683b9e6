"""The inside of the few messages that matter: bounds-checked, and nothing smuggled in or out."""

import pytest

from pgnotary.errors import ClientProtocolError, UpstreamProtocolError
from pgnotary.wire.messages import Diagnostic, data_row, diagnostic, error_response, query_text, rows_of
from pgnotary.wire.startup import (
    CancelRequest,
    EncryptionRequest,
    StartupMessage,
    encode_cancel,
    encode_startup,
    parse_packet,
    startup_length,
)


@pytest.mark.parametrize("body", [b"", b"SELECT 1", b"SELECT 1\0DELETE\0", b"a\0\0"])
def test_a_query_must_be_one_string_that_fills_its_message(body: bytes) -> None:
    with pytest.raises(ClientProtocolError):
        query_text(body)


def test_a_query_text_comes_without_its_nul() -> None:
    assert query_text(b"SELECT 1\0") == b"SELECT 1"


@pytest.mark.parametrize(
    "body", [b"", b"\0", b"\0\1", b"\0\1\0\0\0\5ab", b"\0\1\xff\xff\xff\xf9", b"\0\2\0\0\0\1a"], ids=range(6)
)
def test_a_data_row_that_lies_is_refused(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        data_row(body)


def test_a_data_row_gives_texts_and_nulls() -> None:
    assert data_row(b"\0\2\0\0\0\1a\xff\xff\xff\xff") == ("a", None)


def test_an_error_without_any_field_is_still_an_error() -> None:
    assert str(diagnostic(b"\0")) == "ERROR ?????: (no message)"


def test_a_nul_in_our_words_cannot_make_a_field() -> None:
    raw = error_response(Diagnostic("ERROR", "42501", "denied\0Mapproved", constraint_name="R-1"))
    read = diagnostic(raw[5:])
    assert (read.message, read.constraint_name) == ("deniedMapproved", "R-1")


@pytest.mark.parametrize(("tag", "rows"), [("DELETE 5", 5), ("INSERT 0 3", 3), ("BEGIN", None), ("SELECT 0", 0)])
def test_a_tag_gives_its_rows(tag: str, rows: int | None) -> None:
    assert rows_of(tag) == rows


def test_a_startup_message_reads_back_and_the_last_of_duplicates_wins() -> None:
    assert parse_packet(encode_startup({"user": "eva"})) == StartupMessage(0, {"user": "eva"})
    body = b"\0\3\0\0user\0a\0user\0b\0\0"
    assert parse_packet((len(body) + 4).to_bytes(4, "big") + body) == StartupMessage(0, {"user": "b"})


@pytest.mark.parametrize("body", [b"user\0a\0", b"user\0a", b"user\0\0", b"\0a\0\0", b"user\0\xff\0\0"], ids=range(5))
def test_a_malformed_startup_message_is_refused(body: bytes) -> None:
    packet = b"\0\3\0\0" + body
    with pytest.raises(ClientProtocolError):
        parse_packet((len(packet) + 4).to_bytes(4, "big") + packet)


def test_cancel_and_encryption_requests_are_known() -> None:
    assert parse_packet(encode_cancel(7, b"abcd")) == CancelRequest(7, b"abcd")
    assert parse_packet(b"\0\0\0\x08" + (80_877_103).to_bytes(4, "big")) == EncryptionRequest("ssl")
    assert parse_packet(b"\0\0\0\x08" + (80_877_104).to_bytes(4, "big")) == EncryptionRequest("gssenc")


@pytest.mark.parametrize("word", [b"\0\0\0\0", b"\0\0\0\7", b"\0\1\0\0", b"\x16\3\1\2"])
def test_a_startup_length_that_cannot_be_is_refused(word: bytes) -> None:
    with pytest.raises(ClientProtocolError):
        startup_length(word)
