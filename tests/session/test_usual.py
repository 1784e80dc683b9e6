"""What is taken for the usual bytes is exactly that, as code which cuts messages one by one sees it."""

from hypothesis import example, given
from hypothesis import strategies as st
from tests.play import command, error, message, row

from pgnotary.errors import ClientProtocolError, PgnotaryError, UpstreamProtocolError
from pgnotary.session.usual import QUERY_ANSWER, execution, query, tag
from pgnotary.wire import messages
from pgnotary.wire.frames import Frame, backend_frames, frontend_frames
from pgnotary.wire.messages import SYNC

NAMES = st.sampled_from([b"", b"", b"s", b"other"])
TEXTS = st.sampled_from([b"select 1", b"delete from t", b""])
FROM_CLIENT = st.one_of(
    st.builds(messages.query, TEXTS),
    st.builds(messages.parse, NAMES, TEXTS, st.sampled_from([(), (23,), (0, 16_400)])),
    st.builds(messages.bind, NAMES, NAMES, st.sampled_from([bytes(4), b"\0\0\0\1\0\0\0\1x\0\0"])),
    st.builds(messages.bind, st.just(b""), NAMES),
    st.sampled_from([message("D", b"P\0"), message("D", b"Ps\0"), message("D", b"S\0"), message("C", b"P\0")]),
    st.sampled_from([messages.execute(b""), messages.execute(b""), message("E", b"\0\0\0\0\5"), SYNC, SYNC, SYNC]),
    st.sampled_from([message("Q", b"a\0b\0"), message("Q"), message("P", b"\0a\0"), message("B", b"\0"), message("H")]),
)
READY = messages.ready_for_query(b"I")
FROM_SERVER = st.one_of(
    st.sampled_from([message(kind) for kind in "123nsTIGHW"]),
    st.sampled_from(
        [row("1"), row(None), command("SELECT 1"), command("SELECT 9007199254740993"), command("DELETE 1")]
    ),
    st.sampled_from([error("25006", "read only"), message("N", b"\0"), READY, messages.ready_for_query(b"T")]),
)
OF_S = messages.bind(b"", b"s") + message("D", b"P\0") + messages.execute(b"") + SYNC
TAIL = messages.execute(b"") + SYNC
WHOLE = messages.parse(b"s", b"select 1") + OF_S


@st.composite
def damaged(draw: st.DrawFn, parts: st.SearchStrategy[bytes]) -> bytes:
    """Draw some messages, as they are or with a byte that is another one."""
    data = bytearray(b"".join(draw(st.lists(parts, max_size=7))))
    if data and draw(st.booleans()):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.sampled_from(b"\0\1\4\5BDEPQSZ\xff"))
    return bytes(data)


def cut(data: bytes) -> list[Frame]:
    """Return the messages that a chunk is made of; raises PgnotaryError if it is no whole number of them."""
    cutter = frontend_frames(1 << 20)
    found = list(cutter.feed(data))
    if cutter.pending_bytes:
        raise ClientProtocolError("the last message is not whole")
    return found


@given(damaged(FROM_CLIENT))
@example(messages.query(b"select 1"))
def test_a_query_is_one_message_with_one_string(data: bytes) -> None:
    text = query(data)
    try:
        (frame,) = cut(data)
        expected = messages.query_text(frame.body) if frame.type == b"Q" else None
    except (PgnotaryError, ValueError):
        expected = None
    assert text == expected


@given(damaged(FROM_CLIENT))
@example(WHOLE)
@example(OF_S)
@example(messages.bind(b"x", b"s") + OF_S[-21:])
@example(message("P", b"s\0select 1\0\0\1") + OF_S)
@example(b"B" + (-len(TAIL) - 1).to_bytes(4, "big", signed=True) + b"\0s\0\0\0\0\0\0\0" + TAIL)
@example(WHOLE.replace(message("D", b"P\0"), b""))
@example(messages.bind(b"", b"s") + messages.execute(b"") + SYNC)
def test_an_execution_is_a_bind_and_an_execute_of_one_text_and_nothing_else(data: bytes) -> None:
    if (found := execution(data)) is None:
        return
    frames = cut(data)
    kinds = b"".join(frame.type for frame in frames)
    assert kinds in (b"BES", b"BDES", b"PBES", b"PBDES")
    if kinds.startswith(b"P"):
        assert messages.parse_fields(frames[0].body) == (found.statement, found.text)
        assert bool(messages.parameter_types(frames[0].body)) is found.typed
    bind, execute = frames[kinds.index(b"B")], frames[kinds.index(b"E")]
    assert messages.bind_fields(bind.body) == (b"", found.statement)
    assert (messages.execute_portal(execute.body), messages.execute_limit(execute.body)) == (b"", 0)
    if b"D" in kinds:
        assert messages.described(frames[kinds.index(b"D")].body) == (b"P", b"")
    assert found.answer == (b"1" if b"P" in kinds else b"") + b"2" + (b"T" if b"D" in kinds else b"") + b"C"


@given(damaged(FROM_SERVER), st.sampled_from([QUERY_ANSWER, b"2C", b"12TC"]))
@example(message("T") + row("1") + command("SELECT 1") + READY, QUERY_ANSWER)
@example(message("n") + command("SELECT 0") + READY, QUERY_ANSWER)
@example(b"D\xff\xff\xff\xff" + message("T") + command("SELECT 0") + READY, QUERY_ANSWER)
@example(message("1") + message("2") + message("T") + row("1") + row("2") + command("SELECT 2") + READY, b"12TC")
def test_an_answer_has_these_messages_and_rows_up_to_ready(data: bytes, answer: bytes) -> None:
    completed = tag(data, answer)
    cutter = backend_frames()
    try:
        frames = list(cutter.feed(data))
        whole = not cutter.pending_bytes
    except UpstreamProtocolError:
        frames, whole = [], False
    kinds = b"".join(frame.type for frame in frames).replace(b"D", b"")
    completes = [len(frame.body) for frame in frames if frame.type == b"C"]
    tags = [messages.command_tag(frame.body) for frame in frames if frame.type == b"C"]
    usual = whole and kinds == answer + b"Z" and frames[-1].raw == READY and completes[-1] <= len("SELECT ") + 15 + 1
    assert completed == (tags[-1] if usual else None)
