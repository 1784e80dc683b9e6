"""Cutting streams into messages: the same however the network cut them, and strict about every length."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgnotary.errors import ClientProtocolError, TooLarge, UpstreamProtocolError
from pgnotary.wire.frames import backend_frames, frontend_frames
from pgnotary.wire.messages import query

STREAM = query(b"SELECT 1") + b"S\0\0\0\4" + query(b"") + b"X\0\0\0\4"


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_the_cuts_change_nothing(cuts: list[int]) -> None:
    cutter, places = frontend_frames(1 << 20), [0, *sorted(cuts), len(STREAM)]
    frames = [frame for a, b in itertools.pairwise(places) for frame in cutter.feed(STREAM[a:b])]
    assert [frame.type for frame in frames] == [b"Q", b"S", b"Q", b"X"]
    assert b"".join(frame.raw for frame in frames) == STREAM
    assert cutter.pending_bytes == 0


@pytest.mark.parametrize("length", [0, 1, 2, 3, -1, -(2**31), 2**31 - 1])
def test_a_length_that_cannot_be_is_refused_before_anything_is_buffered(length: int) -> None:
    with pytest.raises(ClientProtocolError, match="invalid length"):
        list(frontend_frames(1 << 20).feed(b"Q" + length.to_bytes(4, "big", signed=True)))


def test_a_small_message_has_the_servers_small_limit() -> None:
    with pytest.raises(ClientProtocolError, match="invalid length"):
        list(frontend_frames(1 << 20).feed(b"S" + (10_005).to_bytes(4, "big")))


def test_a_statement_over_our_cap_is_refused_from_its_length_word() -> None:
    with pytest.raises(TooLarge):
        list(frontend_frames(100).feed(b"Q" + (1_000_000).to_bytes(4, "big")))


@pytest.mark.parametrize("kind", [b"\0", b"z", b"R", b"\xff"])
def test_an_unknown_type_ends_the_stream(kind: bytes) -> None:
    with pytest.raises(ClientProtocolError, match="unknown message type"):
        list(frontend_frames(100).feed(kind + b"\0\0\0\4"))


def test_the_servers_bytes_are_no_more_trusted() -> None:
    with pytest.raises(UpstreamProtocolError):
        list(backend_frames().feed(b"Q\0\0\0\4"))
