"""Names that are looked up slowly, and headers that can be read in one way only."""

import asyncio
import socket
import threading
from contextlib import suppress

import pytest
from tests.notify.receiving import Receiving, until

from pgnotary.notify.sender import Sender
from pgnotary.notify.signature import signed_headers


async def test_a_name_server_that_hangs_takes_one_thread_and_none_of_the_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    release, lookups = threading.Event(), 0
    before = set(threading.enumerate())

    def hanging(*_: object, **__: object) -> list[object]:
        nonlocal lookups
        lookups += 1
        release.wait(10)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    try:
        async with Sender("0", 0.05) as sending:
            answers = [await sending.post("https://hooks.example.com/x", None, {}, b"{}") for _ in range(3)]
            assert [each.taken for each in answers] == [False] * 3
            assert lookups == 1
            # Whoever else looks up, or works in a thread, does not wait for it.
            async with asyncio.timeout(2):
                await asyncio.gather(*(asyncio.to_thread(int) for _ in range(8)))
            release.set()
            # Those of the loop's own pool stay for the next.
            more = [each for each in threading.enumerate() if each not in before and "asyncio" not in each.name]
            await until(lambda: not any(each.is_alive() for each in more), "the thread to end")
            assert lookups == 1
    finally:
        release.set()


async def test_after_a_moment_without_threads_names_are_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Receiving().listening() as receiving, Sender("0", 5) as sending:
        url = receiving.url.replace("127.0.0.1", "localhost")
        with monkeypatch.context() as exhausted:
            exhausted.setattr(threading.Thread, "start", _no_thread)
            assert not (await sending.post(url, None, {"webhook-id": "1"}, b"{}")).taken
        assert (await sending.post(url, None, {"webhook-id": "1"}, b"{}")).taken


def _no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


async def test_headers_without_an_end_are_given_up_and_kept_nowhere() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        with suppress(OSError):
            while True:
                writer.write(b"A: b\r\n" * 1_000)
                await writer.drain()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Sender("0", 5) as sending, asyncio.timeout(3):
        assert not (await sending.post(f"http://127.0.0.1:{port}/", None, {}, b"{}")).taken


async def test_an_answer_that_never_ends_is_taken_by_its_status() -> None:
    ended = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 100_000)
        with suppress(OSError):
            await writer.drain()
        writer.transport.abort()
        ended.set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Sender("0", 5) as sending, asyncio.timeout(3):
        assert (await sending.post(f"http://127.0.0.1:{port}/", None, {}, b"{}")).taken
        await ended.wait()


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 " + b"9" * 20_000, b"HTTP/1.1 200 OK\r\nA: " + b"x" * 200_000],
    ids=["nothing", "another protocol", "an endless status", "an endless header"],
)
async def test_what_is_no_answer_is_a_failure_that_is_tried_again(answer: bytes) -> None:
    ended = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(answer)
        # It hangs up as soon as it has seen enough.
        with suppress(OSError):
            await writer.drain()
        writer.transport.abort()
        ended.set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Sender("0", 5) as sending:
        found = await sending.post(f"http://127.0.0.1:{port}/", None, {}, b"{}")
        await ended.wait()
    assert (found.taken, found.refused) == (False, False)


async def test_the_path_and_query_of_an_address_are_sent_as_they_are_written() -> None:
    async with Receiving().listening() as receiving, Sender("0", 5) as sending:
        answer = await sending.post(
            receiving.url + "?a=%2F&b=%C3%A9", None, signed_headers("e", 1, b"{}", bytes(32)), b"{}"
        )
        assert answer.taken
        assert not (await sending.post(receiving.url + "%2f", None, {}, b"{}")).taken


def test_an_id_with_a_full_stop_is_never_signed() -> None:
    with pytest.raises(ValueError, match="full stop"):
        signed_headers("a.b", 1, b"{}", bytes(32))
