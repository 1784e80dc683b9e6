"""The inside of the few messages that matter: bounds-checked, and nothing smuggled in or out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgnotary.errors import ClientProtocolError, UpstreamProtocolError
from pgnotary.wire import messages
from pgnotary.wire.frames import backend_frames, frontend_frames
from pgnotary.wire.messages import (
    Diagnostic,
    data_row,
    diagnostic,
    error_response,
    notice_response,
    query_text,
    rows_of,
)

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
values = st.none() | texts


def body_of(raw: bytes) -> bytes:
    """Return the body of the only message in `raw`."""
    cutter = backend_frames()
    (frame,) = cutter.feed(raw)
    assert cutter.pending_bytes == 0
    return frame.body


def row(fields: list[str | None]) -> bytes:
    encoded = [None if field is None else field.encode() for field in fields]
    cells = (b"\xff\xff\xff\xff" if cell is None else len(cell).to_bytes(4, "big") + cell for cell in encoded)
    return len(fields).to_bytes(2, "big") + b"".join(cells)


@given(st.binary().filter(lambda text: b"\0" not in text))
def test_a_query_reads_back(text: bytes) -> None:
    (frame,) = frontend_frames(1 << 20).feed(messages.query(text))
    assert (frame.type, query_text(frame.body)) == (b"Q", text)


@pytest.mark.parametrize("body", [b"", b"SELECT 1", b"SELECT 1\0DELETE\0", b"a\0\0", b"\0\0", b"\0a"])
def test_a_query_must_be_one_string_that_fills_its_message(body: bytes) -> None:
    with pytest.raises(ClientProtocolError, match="one string"):
        query_text(body)


@pytest.mark.parametrize(
    "raw",
    [
        messages.SYNC,
        messages.TERMINATE,
        messages.query(b"SELECT 1"),
        messages.parse(b"name", b"SELECT 1"),
        messages.close_statement(b"name"),
        messages.bind_unknown_statement(b"name"),
        messages.sasl_initial_response("SCRAM-SHA-256", b"n,,"),
        messages.sasl_response(b"c=biws"),
    ],
)
def test_what_we_send_to_the_server_is_one_whole_message(raw: bytes) -> None:
    cutter = frontend_frames(1 << 20)
    assert [frame.raw for frame in cutter.feed(raw)] == [raw]
    assert cutter.pending_bytes == 0


@given(texts, texts)
def test_a_parameter_status_reads_back(name: str, value: str) -> None:
    assert messages.parse_parameter_status(body_of(messages.parameter_status(name, value))) == (name, value)


@pytest.mark.parametrize("body", [b"", b"a", b"a\0b", b"a\0b\0c", b"a\0b\0c\0"])
def test_a_parameter_status_must_be_two_strings(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        messages.parse_parameter_status(body)


@given(st.lists(values, max_size=6))
def test_a_data_row_gives_texts_and_nulls(fields: list[str | None]) -> None:
    assert data_row(row(fields)) == tuple(fields)


@given(st.lists(values, min_size=1, max_size=4), st.data())
def test_a_data_row_that_lacks_bytes_or_has_some_over_is_refused(fields: list[str | None], data: st.DataObject) -> None:
    body = row(fields)
    with pytest.raises(UpstreamProtocolError):
        data_row(body[: data.draw(st.integers(0, len(body) - 1))])
    with pytest.raises(UpstreamProtocolError):
        data_row(body + data.draw(st.binary(min_size=1, max_size=5)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"\0\1",
        b"\0\1\0\0\0\5ab",
        b"\0\1\xff\xff\xff\xf9",
        b"\0\2\0\0\0\1a",
        b"\xff\xff",
        b"\x80\0",
        b"\0\1\x7f\xff\xff\xffab",
        b"\0\0\0",
        b"\0\2\0\0\0\2ab\xff\xff\xff\xfe",
    ],
)
def test_a_data_row_that_lies_is_refused(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError, match="DataRow"):
        data_row(body)


@given(st.builds(Diagnostic, texts, texts, texts, texts, texts, texts, texts))
def test_a_diagnostic_reads_back(given_: Diagnostic) -> None:
    assert diagnostic(body_of(error_response(given_))) == given_
    assert diagnostic(body_of(notice_response(given_))) == given_


@given(st.builds(Diagnostic, *[st.text(st.sampled_from("\0MCSn ab"))] * 7))
def test_a_nul_in_our_words_cannot_make_a_field(given_: Diagnostic) -> None:
    read = diagnostic(body_of(error_response(given_)))
    for name in Diagnostic.__slots__:
        assert getattr(read, name) == getattr(given_, name).replace("\0", "")


def test_lone_surrogates_in_our_words_do_no_harm() -> None:
    assert diagnostic(body_of(error_response(Diagnostic("ERROR", "42501", "a\ud800b")))).message == "a?b"


def test_an_error_without_any_field_is_still_an_error() -> None:
    for body in (b"\0", b"", b"M"):
        assert str(diagnostic(body)) == "ERROR ?????: (no message)"
    assert str(diagnostic(b"SFATAL\0C57P01\0Mbye\0\0")) == "FATAL 57P01: bye"


@given(st.binary(max_size=60))
def test_any_bytes_of_a_server_make_a_diagnostic(body: bytes) -> None:
    assert str(diagnostic(body))


def test_unknown_fields_are_passed_over() -> None:
    read = diagnostic(b"SERROR\0VERROR\0C42P01\0Mno\0Zodd\0P15\0Fparse.c\0\0")
    assert read == Diagnostic("ERROR", "42P01", "no")


@pytest.mark.parametrize(
    ("tag", "rows"),
    [
        ("DELETE 5", 5),
        ("INSERT 0 3", 3),
        ("SELECT 0", 0),
        ("MERGE 7", 7),
        ("COPY 12", 12),
        ("BEGIN", None),
        ("CREATE TABLE", None),
        ("", None),
        ("DELETE -1", None),
        ("DELETE \u0665", None),
    ],
)
def test_a_tag_gives_its_rows(tag: str, rows: int | None) -> None:
    assert rows_of(tag) == rows
    assert rows_of(messages.command_tag(tag.encode() + b"\0")) == rows


@pytest.mark.parametrize("status", [b"I", b"T", b"E"])
def test_the_servers_side_of_the_conversation_is_framed(status: bytes) -> None:
    assert body_of(messages.ready_for_query(status)) == status
    assert body_of(messages.authentication(10, b"SCRAM-SHA-256\0\0")) == b"\0\0\0\x0aSCRAM-SHA-256\0\0"
    assert body_of(messages.backend_key_data(7, b"abcd")) == b"\0\0\0\7abcd"
