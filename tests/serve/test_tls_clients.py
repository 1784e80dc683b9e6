"""TLS with clients: libpq, and those who send what must never be read; on asyncio's own event loop and on uvloop."""

import asyncio
import contextlib
import socket
import ssl
import struct
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import uvloop
from psycopg import pq
from psycopg.conninfo import make_conninfo
from tests.pki import Files, Pki, self_signed

from pgnotary.errors import ClientProtocolError, NotAdmitted, StatementError
from pgnotary.ports import accepting, bind
from pgnotary.serve.attempts import Attempts
from pgnotary.serve.greeting import Greeting, fatal, greet
from pgnotary.serve.link import HIGH_WATER_BYTES, Link
from pgnotary.serve.listener import arrive
from pgnotary.serve.scram import MECHANISM_PLUS, ScramClient, make_verifier
from pgnotary.serve.tls import ServerTls, server_tls
from pgnotary.verifier import MECHANISM
from pgnotary.wire.frames import backend_frames
from pgnotary.wire.messages import (
    authentication,
    backend_key_data,
    diagnostic,
    parameter_status,
    ready_for_query,
    sasl_initial_response,
    sasl_response,
)
from pgnotary.wire.startup import CancelRequest, encode_cancel, encode_startup

PASSWORD = "correct horse"
VERIFIER = make_verifier(PASSWORD, salt=bytes(16), iterations=4_096)
SSL_REQUEST = struct.pack("!II", 8, 80_877_103)
GSSENC_REQUEST = struct.pack("!II", 8, 80_877_104)
STARTUP = encode_startup({"user": "eva"})
PATIENCE_S = 10.0
Outcome = Greeting | CancelRequest | Exception

DIRECT = pytest.mark.skipif(pq.version() < 170_000, reason="not run: libpq knows no sslnegotiation")


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Any], Any]]:
    async def patiently(work: Awaitable[Any]) -> Any:
        return await asyncio.wait_for(work, 20)

    with asyncio.Runner(loop_factory=request.param) as runner:
        yield lambda work: runner.run(patiently(work))


@pytest.fixture(scope="module")
def ours(pki: Pki) -> Files:
    return pki.issue("localhost", "127.0.0.1")


@dataclass
class Door:
    """A port at which clients are greeted and, if they may, let in; what became of each."""

    port: int
    outcomes: "asyncio.Queue[Outcome]"
    links: list[Link]
    tls: ServerTls | None

    async def psycopg(self, **options: str) -> psycopg.Connection[Any]:
        wishes = {"host": "127.0.0.1", "user": "eva", "password": PASSWORD, "dbname": "shop", "connect_timeout": "5"}
        return await asyncio.to_thread(psycopg.connect, make_conninfo(port=self.port, **(wishes | options)))


@contextlib.asynccontextmanager
async def door(
    files: Files, *, client_ca: Path | None = None, required: bool = True, deadline_s: float = PATIENCE_S
) -> AsyncIterator[Door]:
    tls = server_tls(files.certificate, files.key, client_ca, required=required)
    listeners = await bind("127.0.0.1", 0)
    opened = Door(listeners[0].getsockname()[1], asyncio.Queue(), [], tls)

    async def serve(plug: socket.socket) -> None:
        link: Link | None = None
        outcome: Outcome
        try:
            link = await arrive(plug, opened.tls, deadline_s=deadline_s)
            opened.links.append(link)
            outcome = await greet(
                link, {"eva": VERIFIER}.get, bytes(32), Attempts(time.monotonic), tls=opened.tls, deadline_s=deadline_s
            )
            if isinstance(outcome, Greeting):
                link.write(authentication(0) + parameter_status("server_version", "18.6"))
                link.write(backend_key_data(7, b"abcd") + ready_for_query(b"I"))
            else:
                link.close()
        except (StatementError, ConnectionError) as error:
            outcome = error
            if link is not None:
                if isinstance(error, StatementError):
                    link.write(fatal(error))
                link.close()
        await opened.outcomes.put(outcome)

    async with asyncio.TaskGroup() as tasks, accepting(listeners, lambda plug: tasks.create_task(serve(plug))):
        try:
            yield opened
        finally:
            for link in opened.links:
                link.abort()


@contextlib.asynccontextmanager
async def visitor(at: Door) -> AsyncIterator[Link]:
    """Yield a client that does what it likes."""
    _, link = await asyncio.get_running_loop().create_connection(Link, "127.0.0.1", at.port)
    try:
        yield link
    finally:
        link.abort()


async def request_tls(link: Link, context: ssl.SSLContext) -> None:
    link.write(SSL_REQUEST)
    assert await link.read_exactly(1) == b"S"
    await link.start_tls(context, server_hostname="localhost")


async def said(link: Link) -> list[bytes]:
    """Return all that comes until the end."""
    received = bytearray()
    with contextlib.suppress(ConnectionError):
        while True:
            received += await link.read_exactly(1)
    return [bytes(received)]


async def ended(at: Door) -> Outcome:
    return await asyncio.wait_for(at.outcomes.get(), PATIENCE_S)


# --- libpq ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("negotiation", ["postgres", pytest.param("direct", marks=DIRECT)])
def test_libpq_comes_in_by_both_ways_and_checks_who_we_are(
    run: Callable[[Any], Any], pki: Pki, ours: Files, negotiation: str, version: str
) -> None:
    async def conversation() -> None:
        async with door(ours) as at:
            with await at.psycopg(
                sslmode="verify-full",
                sslrootcert=str(pki.ca),
                sslnegotiation=negotiation,
                channel_binding="require",
                ssl_max_protocol_version=version,
            ) as connection:
                assert connection.pgconn.ssl_in_use
                assert isinstance(await ended(at), Greeting)
            (link,) = at.links
            assert link.tls is not None
            assert link.tls.version() == version

    run(conversation())


@pytest.mark.parametrize("sslmode", ["prefer", "require"])
def test_libpq_is_encrypted_without_being_told_more(run: Callable[[Any], Any], ours: Files, sslmode: str) -> None:
    async def conversation() -> None:
        async with door(ours) as at:
            with await at.psycopg(sslmode=sslmode) as connection:
                assert connection.pgconn.ssl_in_use

    run(conversation())


@pytest.mark.parametrize(
    ("mistake", "why"),
    [
        ("expired", "certificate verify failed"),
        ("another name", "does not match host name"),
        ("another authority", "certificate verify failed"),
    ],
)
def test_libpq_refuses_a_certificate_that_is_not_good(
    run: Callable[[Any], Any], pki: Pki, tmp_path: Path, mistake: str, why: str
) -> None:
    files = {
        "expired": lambda: pki.issue("127.0.0.1", expired=True),
        "another name": lambda: pki.issue("db.example.com"),
        "another authority": lambda: Pki(tmp_path / "other").issue("127.0.0.1"),
    }[mistake]()

    async def conversation() -> None:
        async with door(files) as at:
            with pytest.raises(psycopg.OperationalError, match=why):
                await at.psycopg(sslmode="verify-full", sslrootcert=str(pki.ca))
            assert isinstance(await ended(at), ConnectionError)

    run(conversation())


def test_tls_1_1_is_not_spoken(run: Callable[[Any], Any], ours: Files) -> None:
    async def conversation() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        # Without it OpenSSL would refuse by itself to speak first.
        context.set_ciphers("ALL:@SECLEVEL=0")
        async with door(ours) as at, visitor(at) as client:
            client.write(SSL_REQUEST)
            assert await client.read_exactly(1) == b"S"
            with contextlib.suppress(OSError):
                await client.start_tls(context, server_hostname="localhost")
            assert "UNSUPPORTED_PROTOCOL" in str(await ended(at))

    run(conversation())


def test_a_certificate_without_a_hash_is_spoken_to_without_channel_binding(
    run: Callable[[Any], Any], tmp_path: Path
) -> None:
    files = self_signed(tmp_path, "ed25519")

    async def conversation() -> None:
        async with door(files) as at:
            with await at.psycopg(host="localhost", sslmode="verify-full", sslrootcert=str(files.certificate)):
                assert isinstance(await ended(at), Greeting)
            with pytest.raises(psycopg.OperationalError, match="channel binding"):
                await at.psycopg(sslmode="require", channel_binding="require")

    run(conversation())


# --- client certificates -------------------------------------------------------------------------------------------


def test_a_client_certificate_says_who_comes(run: Callable[[Any], Any], pki: Pki, ours: Files) -> None:
    eva = pki.issue("eva@example.com", common_name="eva")

    async def conversation() -> None:
        async with door(ours, client_ca=pki.ca) as at:
            for shown, names in ((eva, {"CN:eva", "email:eva@example.com"}), (None, set())):
                files = {} if shown is None else {"sslcert": str(shown.certificate), "sslkey": str(shown.key)}
                with await at.psycopg(**({"sslcert": "none", "sslmode": "require"} | files)):
                    outcome = await ended(at)
                assert isinstance(outcome, Greeting)
                assert outcome.certificate_names == names

    run(conversation())


@pytest.mark.parametrize("mistake", ["expired", "another authority"])
def test_a_client_certificate_that_is_not_good_ends_the_handshake(
    run: Callable[[Any], Any], pki: Pki, ours: Files, tmp_path: Path, mistake: str
) -> None:
    authority = pki if mistake == "expired" else Pki(tmp_path / "other")
    bad = authority.issue("eva@example.com", common_name="eva", expired=mistake == "expired")

    async def conversation() -> None:
        async with door(ours, client_ca=pki.ca) as at:
            # Neither event loop sends the alert of a failed handshake: the log alone says why.
            with pytest.raises(psycopg.OperationalError, match="unexpected"):
                await at.psycopg(sslmode="require", sslcert=str(bad.certificate), sslkey=str(bad.key))
            why = "certificate has expired" if mistake == "expired" else "unable to get local issuer certificate"
            assert why in str(await ended(at))

    run(conversation())


def test_a_certificate_that_nobody_asked_for_says_nothing(run: Callable[[Any], Any], pki: Pki, ours: Files) -> None:
    eva = pki.issue("eva@example.com", common_name="eva")

    async def conversation() -> None:
        async with door(ours) as at:
            with await at.psycopg(sslmode="require", sslcert=str(eva.certificate), sslkey=str(eva.key)):
                outcome = await ended(at)
            assert isinstance(outcome, Greeting)
            assert outcome.certificate_names == frozenset()

    run(conversation())


# --- what is in plain text -----------------------------------------------------------------------------------------


def test_plain_text_is_refused_before_anything_is_asked(run: Callable[[Any], Any], ours: Files) -> None:
    async def conversation() -> None:
        async with door(ours) as at, visitor(at) as client:
            client.write(STARTUP)
            answer = (await said(client))[0]
            assert answer[:1] == b"E"
            told = diagnostic(answer[5:])
            assert (told.severity, told.sqlstate) == ("FATAL", "28000")
            assert isinstance(await ended(at), NotAdmitted)

    run(conversation())


def test_plain_text_passes_where_it_is_not_forbidden(run: Callable[[Any], Any], ours: Files) -> None:
    async def conversation() -> None:
        async with door(ours, required=False) as at:
            with await at.psycopg(sslmode="disable") as connection:
                assert not connection.pgconn.ssl_in_use
                assert isinstance(await ended(at), Greeting)

    run(conversation())


def test_a_cancel_request_may_come_in_plain_text(run: Callable[[Any], Any], ours: Files) -> None:
    async def conversation() -> None:
        async with door(ours) as at, visitor(at) as client:
            client.write(encode_cancel(7, b"abcd"))
            assert await ended(at) == CancelRequest(7, b"abcd")

    run(conversation())


def test_a_cancel_request_may_come_encrypted(run: Callable[[Any], Any], pki: Pki, ours: Files) -> None:
    async def conversation() -> None:
        async with door(ours) as at, visitor(at) as client:
            await request_tls(client, pki.client())
            client.write(encode_cancel(7, b"abcd"))
            assert await ended(at) == CancelRequest(7, b"abcd")

    run(conversation())


@pytest.mark.parametrize("glued", [STARTUP, b"\0", b"\x16\x03\x01", SSL_REQUEST])
def test_cve_2021_23214_what_is_glued_to_an_sslrequest_is_never_read(
    run: Callable[[Any], Any], ours: Files, glued: bytes
) -> None:
    async def conversation() -> None:
        async with door(ours) as at, visitor(at) as client:
            client.write(SSL_REQUEST + glued)
            answer = (await said(client))[0]
            assert not answer.startswith(b"S")
            outcome = await ended(at)
            assert isinstance(outcome, ClientProtocolError)
            assert "received unencrypted data after ssl encryption request" in outcome.message

    run(conversation())


def test_cve_2021_23214_what_comes_a_moment_later_dies_in_the_handshake(run: Callable[[Any], Any], ours: Files) -> None:
    async def conversation() -> None:
        async with door(ours) as at, visitor(at) as client:
            client.write(SSL_REQUEST)
            assert await client.read_exactly(1) == b"S"
            client.write(STARTUP)
            await said(client)
            outcome = await ended(at)
            assert isinstance(outcome, ConnectionError)
            assert "TLS handshake failed" in str(outcome)

    run(conversation())


def test_gss_encryption_is_declined_before_tls(run: Callable[[Any], Any], pki: Pki, ours: Files) -> None:
    async def conversation() -> None:
        async with door(ours) as at, visitor(at) as client:
            client.write(GSSENC_REQUEST)
            assert await client.read_exactly(1) == b"N"
            await request_tls(client, pki.client())
            client.write(GSSENC_REQUEST)
            assert isinstance(await ended(at), ClientProtocolError)

    run(conversation())


# --- direct TLS ----------------------------------------------------------------------------------------------------


async def connect_directly(at: Door, context: ssl.SSLContext) -> Link:
    link = Link()
    await asyncio.get_running_loop().create_connection(
        lambda: link, "127.0.0.1", at.port, ssl=context, server_hostname="localhost"
    )
    return link


@pytest.mark.parametrize("protocols", [[], ["http/1.1"]])
def test_direct_tls_that_does_not_agree_on_the_protocol_is_closed_without_a_word(
    run: Callable[[Any], Any], pki: Pki, ours: Files, protocols: list[str]
) -> None:
    async def conversation() -> None:
        context = pki.client()
        context.set_alpn_protocols(protocols)
        async with door(ours) as at:
            client = await connect_directly(at, context)
            client.write(STARTUP)
            assert await said(client) == [b""]
            assert "ALPN" in str(await ended(at))
            client.abort()

    run(conversation())


def test_within_direct_tls_a_second_encryption_is_declined_and_the_login_goes_on(
    run: Callable[[Any], Any], pki: Pki, ours: Files
) -> None:
    async def conversation() -> None:
        context = pki.client()
        context.set_alpn_protocols(["postgresql"])
        async with door(ours) as at:
            client = await connect_directly(at, context)
            for request in (SSL_REQUEST, GSSENC_REQUEST):
                client.write(request)
                assert await client.read_exactly(1) == b"N"
            client.write(STARTUP)
            assert (await client.read_exactly(9))[5:9] == struct.pack("!I", 10)
            client.abort()
            assert isinstance(await ended(at), ConnectionError)

    run(conversation())


def test_within_requested_tls_a_second_request_is_refused(run: Callable[[Any], Any], pki: Pki, ours: Files) -> None:
    async def conversation() -> None:
        async with door(ours) as at, visitor(at) as client:
            await request_tls(client, pki.client())
            client.write(SSL_REQUEST)
            assert isinstance(await ended(at), ClientProtocolError)

    run(conversation())


@pytest.mark.parametrize("sent", [b"", b"\x16", SSL_REQUEST[:4], SSL_REQUEST])
def test_who_stops_on_the_way_is_not_waited_for(run: Callable[[Any], Any], ours: Files, sent: bytes) -> None:
    async def conversation() -> None:
        async with door(ours, deadline_s=0.1) as at, visitor(at) as client:
            client.write(sent)
            assert isinstance(await ended(at), StatementError | ConnectionError)
            assert (await said(client))[0][:1] in (b"", b"S", b"E")

    run(conversation())


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x00", SSL_REQUEST[:4], SSL_REQUEST])
def test_who_leaves_on_the_way_is_forgotten(run: Callable[[Any], Any], ours: Files, sent: bytes) -> None:
    async def conversation() -> None:
        async with door(ours) as at, visitor(at) as client:
            client.write(sent)
            client.close()
            assert isinstance(await ended(at), ConnectionError)

    run(conversation())


@pytest.mark.parametrize("junk", [b"\x16" * 400, b"\x16\x03\x01\xff\xff" + bytes(400), b"\x16GET / HTTP/1.1\r\n\r\n"])
def test_no_bytes_break_the_handshake(run: Callable[[Any], Any], ours: Files, junk: bytes) -> None:
    async def conversation() -> None:
        async with door(ours) as at, visitor(at) as client:
            client.write(junk)
            client.close()
            assert isinstance(await ended(at), ConnectionError)
            async with visitor(at) as again:
                again.write(encode_cancel(7, b"abcd"))
                assert isinstance(await ended(at), CancelRequest)

    run(conversation())


# --- channel binding -----------------------------------------------------------------------------------------------


async def log_in(client: Link, mechanism: str, scram: ScramClient) -> None:
    """Go through the exchange, whatever was offered."""
    cutter = backend_frames()
    client.write(STARTUP)
    assert (await client.read_frame(cutter)).body == struct.pack("!I", 10) + b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"
    client.write(sasl_initial_response(mechanism, scram.first()))
    challenge = await client.read_frame(cutter)
    assert challenge.type == b"R", diagnostic(challenge.body)
    client.write(sasl_response(scram.final(challenge.body[4:])))


@pytest.mark.parametrize(
    ("mechanism", "could_bind", "bound_to", "why"),
    [
        (MECHANISM_PLUS, False, "ours", ""),
        (MECHANISM, False, "", ""),
        (MECHANISM, True, "", "thinks the server does not"),
        (MECHANISM, False, "ours", "without channel binding, but binds a channel"),
        (MECHANISM_PLUS, False, "", "but binds no channel"),
        (MECHANISM_PLUS, True, "", "but binds no channel"),
        (MECHANISM_PLUS, False, "another", "channel binding check failed"),
    ],
)
def test_a_login_is_bound_to_our_certificate_or_to_none(
    run: Callable[[Any], Any], pki: Pki, ours: Files, mechanism: str, could_bind: bool, bound_to: str, why: str
) -> None:
    async def conversation() -> None:
        async with door(ours) as at, visitor(at) as client:
            assert at.tls is not None
            assert at.tls.end_point is not None
            end_point = {"": b"", "ours": at.tls.end_point, "another": bytes(32)}[bound_to]
            await request_tls(client, pki.client())
            scram = ScramClient(PASSWORD, "client-nonce", could_bind=could_bind, end_point=end_point)
            with contextlib.suppress(AssertionError) if why else contextlib.nullcontext():
                await log_in(client, mechanism, scram)
            outcome = await ended(at)
            assert isinstance(outcome, ClientProtocolError) if why else isinstance(outcome, Greeting)
            assert why in str(outcome)

    run(conversation())


def test_in_plain_text_no_binding_is_offered(run: Callable[[Any], Any], ours: Files) -> None:
    async def conversation() -> None:
        async with door(ours, required=False) as at, visitor(at) as client:
            client.write(STARTUP)
            frame = await client.read_frame(backend_frames())
            assert frame.body == struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0"
            client.write(sasl_initial_response(MECHANISM_PLUS, b"p=tls-server-end-point,,n=,r=abc"))
            assert isinstance(await ended(at), ClientProtocolError)

    run(conversation())


# --- the link, encrypted -------------------------------------------------------------------------------------------


class Collector:
    """A receiver that remembers."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.events: list[str] = []

    def data(self, chunk: bytes) -> None:
        self.received += chunk

    def eof(self) -> None:
        self.events.append("eof")

    def lost(self, error: Exception | None) -> None:
        self.events.append("lost")

    def writable(self, *, ready: bool) -> None:
        self.events.append(f"writable {ready}")


@contextlib.asynccontextmanager
async def encrypted_pair(pki: Pki, ours: Files) -> AsyncIterator[tuple[Link, Link]]:
    """Yield server's and client's end of an encrypted connection that has said nothing yet."""
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    _, server = await loop.create_unix_connection(Link, sock=near)
    _, client = await loop.create_unix_connection(Link, sock=far)
    context = server_tls(ours.certificate, ours.key, None, required=True).context
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.start_tls(context))
        tasks.create_task(client.start_tls(pki.client(), server_hostname="localhost"))
    try:
        yield server, client
    finally:
        server.abort()
        client.abort()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0)


def test_a_flood_behind_the_handshake_is_bounded_and_nothing_of_it_is_lost(
    run: Callable[[Any], Any], pki: Pki, ours: Files
) -> None:
    async def conversation() -> None:
        async with encrypted_pair(pki, ours) as (server, client):
            sent = bytes(range(256)) * 16_384
            client.write(sent)
            await until(lambda: server.buffered_bytes)
            for _ in range(200):
                await asyncio.sleep(0)
            assert server.buffered_bytes < len(sent)
            receiver = Collector()
            server.attach(receiver)
            await until(lambda: len(receiver.received) == len(sent))
            assert receiver.received == sent

    run(conversation())


def test_an_encrypted_peer_that_reads_slowly_blocks_writing(run: Callable[[Any], Any], pki: Pki, ours: Files) -> None:
    async def conversation() -> None:
        async with encrypted_pair(pki, ours) as (server, client):
            receiver = Collector()
            server.attach(receiver)
            client.pause_reading()
            written = 0
            while not server.write_blocked:
                server.write(bytes(HIGH_WATER_BYTES))
                written += HIGH_WATER_BYTES
                assert written < 64 * 1024 * 1024
                await asyncio.sleep(0)
            reader = Collector()
            client.attach(reader)
            await until(lambda: len(reader.received) == written)
            await until(lambda: not server.write_blocked)
            assert receiver.events == ["writable False", "writable True"]

    run(conversation())


def test_the_end_of_an_encrypted_stream_is_told_once_and_is_the_end_of_both_ways(
    run: Callable[[Any], Any], pki: Pki, ours: Files
) -> None:
    async def conversation() -> None:
        async with encrypted_pair(pki, ours) as (server, client):
            receiver = Collector()
            server.attach(receiver)
            client.write(b"last words")
            client.close()
            await until(lambda: "lost" in receiver.events)
            assert receiver.received == b"last words"
            assert receiver.events in (["eof", "lost"], ["lost"])

    run(conversation())


def test_tls_does_not_start_on_a_link_that_has_read_ahead(run: Callable[[Any], Any], pki: Pki) -> None:
    async def conversation() -> None:
        near, far = socket.socketpair()
        with far:
            _, link = await asyncio.get_running_loop().create_unix_connection(Link, sock=near)
            far.send(b"early")
            await until(lambda: link.buffered_bytes)
            with pytest.raises(ValueError, match="5 bytes came before"):
                await link.start_tls(pki.client(), server_hostname="localhost")
            link.abort()

    run(conversation())
