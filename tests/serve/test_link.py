"""A link, on asyncio's own event loop and on uvloop: nothing lost, nothing doubled, nothing read too early."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop

from pgnotary.errors import ClientProtocolError, UpstreamProtocolError
from pgnotary.serve.link import HIGH_WATER_BYTES, LOGIN_BUFFER_BYTES, Link
from pgnotary.wire.frames import backend_frames, frontend_frames
from pgnotary.wire.messages import SYNC, query

# The most that asyncio reads at once, on top of the bound.
ONE_READ_BYTES = 256 * 1024
MANY_BYTES = 8 * 1024 * 1024

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def on_each_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[LoopFactory], None]:
    def run(loop_factory: LoopFactory) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(asyncio.wait_for(test(), 60))

    run.__name__ = test.__name__
    loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return pytest.mark.parametrize("loop_factory", loops.values(), ids=loops)(run)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


class Recorder:
    """A receiver that remembers; adjacent chunks are joined, since where they were cut means nothing."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def data(self, chunk: bytes) -> None:
        if self.events and isinstance(self.events[-1], bytes):
            chunk = self.events.pop() + chunk  # type: ignore[operator]  # just seen to be bytes
        self.events.append(chunk)

    def eof(self) -> None:
        self.events.append("eof")

    def lost(self, error: Exception | None) -> None:
        self.events.append(("lost", type(error)))

    def writable(self, *, ready: bool) -> None:
        self.events.append(("writable", ready))


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[Link, socket.socket]]:
    """Yield a link over a Unix socket, and the plain socket at its other end."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with theirs:
        _, link = await asyncio.get_running_loop().create_unix_connection(Link, sock=ours)
        try:
            yield link, theirs
        finally:
            link.abort()


@contextlib.contextmanager
def tcp_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


def push(peer: socket.socket, count: int) -> int:
    """Send up to `count` bytes; return how many the kernel took."""
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < count:
            sent += peer.send(bytes(min(count - sent, 65_536)))
    return sent


@on_each_loop
async def test_exactly_the_bytes_asked_for_are_read_however_they_come() -> None:
    async with connected() as (link, peer):
        peer.send(b"abcde")
        assert await link.read_exactly(2) == b"ab"
        assert link.buffered_bytes == 3
        for byte in b"fgh":
            peer.send(bytes([byte]))
        assert await link.read_exactly(6) == b"cdefgh"


@on_each_loop
async def test_a_message_is_read_whole_and_the_next_one_is_left_alone() -> None:
    async with connected() as (link, peer):
        cutter = frontend_frames(1_000)
        sent = query(b"select 1") + SYNC + b"not a message"
        reading = asyncio.create_task(link.read_frame(cutter))
        for byte in sent:
            peer.send(bytes([byte]))
            await asyncio.sleep(0)
        frame = await reading
        assert (frame.type, frame.raw) == (b"Q", query(b"select 1"))
        assert (await link.read_frame(cutter)).raw == SYNC
        assert cutter.pending_bytes == 0
        assert await link.read_exactly(13) == b"not a message"


@on_each_loop
async def test_a_bad_header_is_refused_before_its_body_comes() -> None:
    async with connected() as (link, peer):
        peer.send(b"Q\x7f\xff\xff\xff")
        with pytest.raises(ClientProtocolError):
            await link.read_frame(frontend_frames(1_000))
        peer.send(b"\0\0\0\0\x04")
        with pytest.raises(UpstreamProtocolError):
            await link.read_frame(backend_frames())


@on_each_loop
async def test_a_peer_that_leaves_ends_the_read() -> None:
    async with connected() as (link, peer):
        reading = asyncio.create_task(link.read_exactly(4))
        peer.send(b"ab")
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionResetError, match="2 of 4"):
            await reading
        assert await link.read_exactly(2) == b"ab"
        with pytest.raises(ConnectionResetError):
            await link.read_exactly(1)


@on_each_loop
async def test_a_cancelled_read_has_consumed_nothing() -> None:
    async with connected() as (link, peer):
        peer.send(b"ab")
        await until(lambda: link.buffered_bytes)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await link.read_exactly(4)
        peer.send(b"cd")
        assert await link.read_exactly(4) == b"abcd"


@on_each_loop
async def test_what_came_before_the_receiver_is_handed_over_first() -> None:
    async with connected() as (link, peer):
        peer.send(b"startup" + b"early")
        peer.shutdown(socket.SHUT_WR)
        assert await link.read_exactly(7) == b"startup"
        with pytest.raises(ConnectionResetError):
            await link.read_exactly(100)
        receiver = Recorder()
        link.attach(receiver)
        assert receiver.events == [b"early", "eof"]
        assert link.buffered_bytes == 0


@on_each_loop
async def test_a_receiver_learns_that_the_connection_was_lost_before_it_came() -> None:
    async with connected() as (link, peer):
        peer.send(b"last words")
        await until(lambda: link.buffered_bytes)
        link.abort()
        with pytest.raises(ConnectionResetError):
            await link.read_exactly(100)
        receiver = Recorder()
        link.attach(receiver)
        assert receiver.events == [b"last words", ("lost", type(None))]


@on_each_loop
async def test_a_flood_during_the_login_is_bounded_and_nothing_of_it_is_lost() -> None:
    async with connected() as (link, peer):
        sent = 0
        while count := push(peer, MANY_BYTES - sent):
            sent += count
            for _ in range(10):
                await asyncio.sleep(0)
        assert LOGIN_BUFFER_BYTES <= link.buffered_bytes <= LOGIN_BUFFER_BYTES + ONE_READ_BYTES
        assert sent < MANY_BYTES
        receiver = Recorder()
        link.attach(receiver)
        await until(lambda: receiver.events == [bytes(sent)])


@on_each_loop
async def test_a_read_may_ask_for_more_than_the_bound() -> None:
    async with connected() as (link, peer):
        count = 4 * LOGIN_BUFFER_BYTES
        assert push(peer, 2 * LOGIN_BUFFER_BYTES) == 2 * LOGIN_BUFFER_BYTES
        await until(lambda: link.buffered_bytes >= LOGIN_BUFFER_BYTES)
        reading = asyncio.create_task(link.read_exactly(count))
        await until(lambda: link.buffered_bytes == 2 * LOGIN_BUFFER_BYTES)
        push(peer, LOGIN_BUFFER_BYTES)
        await until(lambda: link.buffered_bytes == 3 * LOGIN_BUFFER_BYTES)
        push(peer, LOGIN_BUFFER_BYTES)
        assert await reading == bytes(count)


@on_each_loop
async def test_the_end_of_the_peers_stream_leaves_our_half_open() -> None:
    async with connected() as (link, peer):
        receiver = Recorder()
        link.attach(receiver)
        peer.send(b"question")
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: "eof" in receiver.events)
        link.write(b"answer")
        link.close()
        await until(lambda: len(receiver.events) == 3)
        assert receiver.events == [b"question", "eof", ("lost", type(None))]
        assert peer.recv(100) == b"answer"
        assert peer.recv(100) == b""


@on_each_loop
async def test_the_end_of_the_stream_is_told_once_even_if_reading_is_paused_and_resumed() -> None:
    async with connected() as (link, peer):
        receiver = Recorder()
        link.attach(receiver)
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: receiver.events)
        link.pause_reading()
        link.resume_reading()
        link.write(b"x")
        for _ in range(100):
            await asyncio.sleep(0)
        assert receiver.events == ["eof"]


@on_each_loop
async def test_a_paused_link_reads_nothing_until_it_is_resumed() -> None:
    async with connected() as (link, peer):
        receiver = Recorder()
        link.attach(receiver)
        link.pause_reading()
        link.pause_reading()
        peer.send(b"later")
        for _ in range(100):
            await asyncio.sleep(0)
        assert receiver.events == []
        link.resume_reading()
        link.resume_reading()
        await until(lambda: receiver.events == [b"later"])


@on_each_loop
async def test_a_receiver_may_pause_while_it_is_handed_the_buffer() -> None:
    async with connected() as (link, peer):

        class Cautious(Recorder):
            def data(self, chunk: bytes) -> None:
                super().data(chunk)
                link.pause_reading()

        peer.send(b"one")
        await until(lambda: link.buffered_bytes)
        receiver = Cautious()
        link.attach(receiver)
        peer.send(b"two")
        for _ in range(100):
            await asyncio.sleep(0)
        assert receiver.events == [b"one"]
        link.resume_reading()
        await until(lambda: receiver.events == [b"onetwo"])


@on_each_loop
async def test_a_peer_that_reads_slowly_blocks_writing_until_it_has_read() -> None:
    async with connected() as (link, peer):
        receiver = Recorder()
        link.attach(receiver)
        written = 0
        while not link.write_blocked:
            link.write(bytes(HIGH_WATER_BYTES // 2))
            written += HIGH_WATER_BYTES // 2
            await asyncio.sleep(0)
        assert receiver.events == [("writable", False)]
        assert written < MANY_BYTES
        received = 0
        while received < written:
            with contextlib.suppress(BlockingIOError):
                received += len(peer.recv(65_536))
            await asyncio.sleep(0)
        await until(lambda: not link.write_blocked)
        assert receiver.events == [("writable", False), ("writable", True)]


@on_each_loop
async def test_a_receiver_learns_that_writing_was_blocked_before_it_came() -> None:
    async with connected() as (link, _peer):
        while not link.write_blocked:
            link.write(bytes(HIGH_WATER_BYTES))
            await asyncio.sleep(0)
        receiver = Recorder()
        link.attach(receiver)
        assert receiver.events == [("writable", False)]


@on_each_loop
async def test_after_the_end_writing_pausing_and_closing_do_nothing() -> None:
    async with connected() as (link, peer):
        receiver = Recorder()
        link.attach(receiver)
        link.close()
        await until(lambda: receiver.events)
        link.write(b"too late")
        link.pause_reading()
        link.resume_reading()
        link.close()
        link.abort()
        assert receiver.events == [("lost", type(None))]
        assert peer.recv(100) == b""


@on_each_loop
async def test_a_reset_connection_is_lost_with_its_error() -> None:
    with tcp_pair() as (ours, theirs):
        _, link = await asyncio.get_running_loop().connect_accepted_socket(Link, ours)
        receiver = Recorder()
        link.attach(receiver)
        # Closed without lingering: the kernel sends a reset.
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        await until(lambda: receiver.events)
        assert receiver.events == [("lost", ConnectionResetError)]


@on_each_loop
async def test_a_tcp_connection_notices_a_dead_peer_and_sends_without_delay() -> None:
    with tcp_pair() as (ours, theirs), ours.dup() as plug:
        _, link = await asyncio.get_running_loop().connect_accepted_socket(Link, ours)
        assert plug.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 15
        assert plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 4
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
            assert plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 120_000
        host, port = theirs.getsockname()
        assert link.peer == f"{host}:{port}"
        link.abort()


@on_each_loop
async def test_a_unix_peer_has_no_address() -> None:
    async with connected() as (link, _peer):
        assert link.peer == "unix"
