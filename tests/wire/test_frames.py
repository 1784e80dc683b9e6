"""Cutting streams into messages: the same however the network cut them, and strict about every length."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgnotary.errors import ClientProtocolError, TooLarge, UpstreamProtocolError
from pgnotary.wire.frames import HEADER_BYTES, Frame, FrameCutter, backend_frames, frontend_frames
from pgnotary.wire.messages import query

FRONTEND = "QPBFdCDEHSXcfp"
SMALL = "CDEHSXcf"
BACKEND = "RKSNAETDCIZtnsGHWcdV123v"
GIB = 1 << 30


def message(kind: str, body: bytes) -> bytes:
    return kind.encode() + (len(body) + 4).to_bytes(4, "big") + body


def header(kind: str, length: int) -> bytes:
    return kind.encode("latin-1") + length.to_bytes(4, "big", signed=length < 0)


def cut(stream: bytes, places: list[int], cutter: FrameCutter) -> list[Frame]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [frame for a, b in itertools.pairwise(edges) for frame in cutter.feed(stream[a:b])]


streams = st.lists(st.builds(message, st.sampled_from(FRONTEND), st.binary(max_size=40)), max_size=8)


@given(streams, st.lists(st.integers(0), max_size=12))
def test_the_cuts_change_nothing(messages: list[bytes], places: list[int]) -> None:
    cutter = frontend_frames(1 << 20)
    frames = cut(b"".join(messages), places, cutter)
    assert [frame.raw for frame in frames] == messages
    assert all(frame.type == frame.raw[:1] and frame.body == frame.raw[HEADER_BYTES:] for frame in frames)
    assert cutter.pending_bytes == 0


@given(
    st.lists(st.builds(message, st.sampled_from("DDDdddTCZ"), st.binary(max_size=9)), max_size=30),
    st.lists(st.integers(0), max_size=12),
)
def test_rows_and_copy_data_of_the_server_come_in_runs_of_the_same_messages(
    messages: list[bytes], places: list[int]
) -> None:
    frames = cut(b"".join(messages), places, backend_frames(runs=True))
    assert [frame.type + body for frame in frames for body in frame.bodies()] == [
        raw[:1] + raw[HEADER_BYTES:] for raw in messages
    ]
    assert b"".join(frame.raw for frame in frames) == b"".join(messages)
    assert sum(frame.count for frame in frames) == len(messages)
    assert all(frame.count == 1 or frame.type in b"Dd" for frame in frames)
    if not places:
        assert all(a.type != b.type or a.type not in b"Dd" for a, b in itertools.pairwise(frames)), "a run in two"


@pytest.mark.parametrize("bad", [header("D", 3), header("D", -1), b"\xff\0\0\0\4"])
def test_a_run_ends_before_what_is_no_message(bad: bytes) -> None:
    rows, found = message("D", b"\0\0") * 3, []
    with pytest.raises(UpstreamProtocolError):  # noqa: PT012 (what came before it matters)
        for frame in backend_frames(runs=True).feed(rows + bad):
            found.append(frame.raw)
    assert found == [rows]


@given(streams, st.binary(max_size=30), st.lists(st.integers(0), max_size=12))
def test_the_messages_before_a_fault_are_the_same_however_it_was_cut(
    messages: list[bytes], tail: bytes, places: list[int]
) -> None:
    stream = b"".join(messages) + b"\xff\0\0\0\4" + tail
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    cutter, found = frontend_frames(1 << 20), []
    with pytest.raises(ClientProtocolError, match="unknown message type"):  # noqa: PT012 (what came before it matters)
        for a, b in itertools.pairwise(edges):
            for frame in cutter.feed(stream[a:b]):
                found.append(frame.raw)
    assert found == messages


def test_a_message_waits_for_its_last_byte() -> None:
    cutter, raw = frontend_frames(1 << 20), query(b"SELECT 1")
    assert list(cutter.feed(raw[:-1])) == []
    assert cutter.pending_bytes == len(raw) - 1
    assert [frame.raw for frame in cutter.feed(raw[-1:] + raw[:3])] == [raw]
    assert cutter.pending_bytes == 3


@pytest.mark.parametrize("kind", FRONTEND)
@pytest.mark.parametrize("length", [0, 1, 2, 3, -1, -5, -(2**31), 2**31 - 1, GIB, GIB + 1])
def test_a_length_that_cannot_be_is_refused_before_anything_is_buffered(kind: str, length: int) -> None:
    cutter = frontend_frames(1 << 31)
    with pytest.raises(ClientProtocolError, match=f"invalid length {length} of message"):
        list(cutter.feed(header(kind, length)))
    assert cutter.pending_bytes <= HEADER_BYTES


@pytest.mark.parametrize("kind", SMALL)
def test_a_small_message_has_the_servers_small_limit(kind: str) -> None:
    body = bytes(10_000 - 4)
    assert [frame.body for frame in frontend_frames(1 << 20).feed(message(kind, body))] == [body]
    with pytest.raises(ClientProtocolError, match=r"invalid length 10001 .* expected 4 to 10000"):
        list(frontend_frames(1 << 20).feed(header(kind, 10_001)))


def test_a_password_has_the_servers_limit_for_tokens() -> None:
    assert list(frontend_frames(1 << 20).feed(header("p", 65_535))) == []
    with pytest.raises(ClientProtocolError, match="invalid length 65536"):
        list(frontend_frames(1 << 20).feed(header("p", 65_536)))


@pytest.mark.parametrize("kind", "QPBFd")
def test_a_large_message_may_be_as_long_as_the_servers_buffer(kind: str) -> None:
    assert list(frontend_frames(1 << 30).feed(header(kind, 0x3FFF_FFFE))) == []
    with pytest.raises(ClientProtocolError, match="invalid length 1073741823"):
        list(frontend_frames(1 << 30).feed(header(kind, 0x3FFF_FFFF)))


def test_a_message_over_our_cap_is_refused_from_its_length_word() -> None:
    assert list(frontend_frames(100).feed(header("Q", 104))) == []
    cutter = frontend_frames(100)
    with pytest.raises(TooLarge, match="message 'Q' of 101 bytes is longer than the 100"):
        list(cutter.feed(header("Q", 105)))
    assert cutter.pending_bytes == HEADER_BYTES


@pytest.mark.parametrize("kind", sorted(set(range(256)) - set(FRONTEND.encode())))
def test_an_unknown_type_ends_the_stream(kind: int) -> None:
    with pytest.raises(ClientProtocolError, match="unknown message type"):
        list(frontend_frames(100).feed(bytes([kind]) + b"\0\0\0\4"))


@given(
    st.lists(st.builds(message, st.sampled_from(BACKEND), st.binary(max_size=40)), max_size=8), st.lists(st.integers(0))
)
def test_the_servers_stream_is_cut_alike(messages: list[bytes], places: list[int]) -> None:
    assert [frame.raw for frame in cut(b"".join(messages), places, backend_frames())] == messages


@pytest.mark.parametrize("raw", [b"Q\0\0\0\4", b"\0\0\0\0\4", b"D\0\0\0\3", b"D\xff\xff\xff\xff", b"D\x7f\xff\xff\xff"])
def test_the_servers_bytes_are_no_more_trusted(raw: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        list(backend_frames().feed(raw))


def test_a_server_may_send_a_row_as_long_as_its_buffer() -> None:
    assert list(backend_frames().feed(header("D", 0x3FFF_FFFE + 4))) == []


LONG = b"d" + (2_500 + 4).to_bytes(4, "big") + bytes(n % 251 for n in range(2_500))


@given(st.lists(st.integers(0, 2_600), max_size=6))
def test_long_copy_data_leave_in_pieces_wherever_they_are_cut(places: list[int]) -> None:
    stream = LONG + message("c", b"") + message("d", b"x")
    cutter = frontend_frames(1_000, runs=True)
    frames = cut(stream, places, cutter)
    assert [(frame.type, len(frame.body)) for frame in frames] == [
        (b"d", 1_000), (b"d", 1_000), (b"d", 500), (b"c", 0), (b"d", 1),
    ]  # fmt: skip
    assert b"".join(frame.body for frame in frames[:3]) == LONG[5:]
    assert cutter.pending_bytes == 0


def test_copy_data_in_pieces_never_wait_whole() -> None:
    cutter = frontend_frames(1_000, runs=True)
    for at in range(0, len(LONG), 100):
        list(cutter.feed(LONG[at : at + 100]))
        assert cutter.pending_bytes <= 1_000 + 2 * 5


def test_copy_data_of_a_client_come_in_runs_and_other_messages_do_not() -> None:
    stream = message("d", b"1") * 3 + message("H", b"") * 2
    found = [(frame.type, frame.count, [*frame.bodies()]) for frame in frontend_frames(1_000, runs=True).feed(stream)]
    assert found == [(b"d", 3, [b"1"] * 3), (b"H", 1, [b""]), (b"H", 1, [b""])]


def test_nothing_but_copy_data_leaves_in_pieces() -> None:
    with pytest.raises(TooLarge, match=r"message 'P' of 2500 bytes is longer than the 1000"):
        list(frontend_frames(1_000, runs=True).feed(b"P" + LONG[1:]))
    with pytest.raises(ClientProtocolError, match="invalid length"):
        list(frontend_frames(1_000, runs=True).feed(b"d" + (1 << 30).to_bytes(4, "big")))
