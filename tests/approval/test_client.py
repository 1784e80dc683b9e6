"""The client against proxies that are absent, silent, or talk nonsense."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pgnotary.approval.client import ApprovalClient
from pgnotary.errors import ApiError


@asynccontextmanager
async def _answering(answer: bytes, *, close: bool = True) -> AsyncIterator[Path]:
    """A server that answers everything with these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if not close:
            await reader.read()
        writer.close()

    with TemporaryDirectory(prefix="pgnotary-") as folder:
        path = Path(folder) / "s"
        async with await asyncio.start_unix_server(serve, path):
            yield path


async def _error(call: Callable[[], object]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await asyncio.to_thread(call)
    return caught.value


async def test_a_proxy_that_is_not_there_has_status_zero(tmp_path: Path) -> None:
    error = await _error(ApprovalClient(tmp_path / "none").requests)
    assert error.status == 0
    assert "pgnotary serve" in str(error)


async def test_a_path_too_long_for_a_socket_has_status_zero(tmp_path: Path) -> None:
    assert (await _error(ApprovalClient(tmp_path / ("x" * 200)).head)).status == 0


async def test_a_silent_proxy_has_status_zero() -> None:
    async with _answering(b"", close=False) as path:
        error = await _error(ApprovalClient(path, timeout_s=0.05).head)
    assert error.status == 0
    assert "has not answered" in str(error)


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}"])
async def test_an_answer_that_breaks_off_has_status_zero(answer: bytes) -> None:
    async with _answering(answer) as path:
        assert (await _error(ApprovalClient(path).head)).status == 0


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"\xff", b'{"note":1}', b'{"note":"\xff"}', b"[" * 50_000])
async def test_an_answer_that_does_not_fit_has_status_502(body: bytes) -> None:
    async with _answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)) as path:
        assert (await _error(ApprovalClient(path).head)).status == 502


def _plain(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


async def test_nested_without_end_where_nothing_is_expected_has_status_502() -> None:
    body = b'{"note":"","more":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    async with _answering(_plain(body)) as path:
        assert (await _error(ApprovalClient(path).head)).status == 502
    async with _answering(_plain(body, b"403 Forbidden")) as path:
        assert (await _error(ApprovalClient(path).head)).status == 403


async def test_an_error_that_would_fill_a_terminal_is_cut() -> None:
    async with _answering(_plain(b'{"error":"' + b"x" * 1_000_000 + b'"}', b"403 Forbidden")) as path:
        error = await _error(ApprovalClient(path).head)
    assert (error.status, len(str(error))) == (403, 4_001)


@pytest.mark.parametrize("size", [b"-5", b"-1", b"zz"])
async def test_a_chunk_of_less_than_nothing_has_status_zero(size: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b\r\nabc\r\n0\r\n\r\n" % size
    async with _answering(answer) as path:
        assert (await _error(ApprovalClient(path).head)).status == 0


@pytest.mark.parametrize("number", [b"\xff", b"1\rHost: elsewhere", b"\x00", b"", b"9" * 200])
async def test_what_no_header_can_hold_is_not_sent_back_as_the_last_event(number: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    async with _answering(head + b"id: %b\nevent: open\ndata: []\n\n" % number) as path:
        error = await _error(lambda: list(ApprovalClient(path).events()))
    assert (error.status, "an event with the id" in str(error)) == (502, True)


async def test_an_error_without_a_reason_keeps_its_status() -> None:
    async with _answering(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nOops") as path:
        error = await _error(ApprovalClient(path).head)
    assert error.status == 500
    assert "500" in str(error)


async def test_a_stream_of_nonsense_is_refused() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    async with _answering(head + b"event: requests\ndata: [1]\n\n") as path:
        assert (await _error(lambda: next(ApprovalClient(path).events()))).status == 502
    async with _answering(head + b": comment\n\nevent: other\n\n") as path:
        assert (await _error(lambda: next(ApprovalClient(path).events()))).status == 0
