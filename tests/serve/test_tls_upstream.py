"""TLS to PostgreSQL: who is taken for it, what is said before that, and what a login is bound to."""

import asyncio
import contextlib
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from tests.pki import Files, Pki, self_signed
from tests.serve.test_upstream import KEY, PASSWORD, READY, ROLE, STATUS, Poser, listening, read_message, read_startup
from tests.terminator import Terminator

from pgnotary.errors import PgnotaryError, UpstreamProtocolError, UpstreamRefused
from pgnotary.serve.scram import MECHANISM_PLUS, ScramServer, make_verifier
from pgnotary.serve.tls import server_tls, upstream_context
from pgnotary.serve.upstream import Upstream, UpstreamAddress, cancel, dial
from pgnotary.verifier import MECHANISM, parse_verifier
from pgnotary.wire.messages import Diagnostic as Said
from pgnotary.wire.messages import authentication, error_response
from pgnotary.wire.startup import CancelRequest, EncryptionRequest, StartupPacket

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(scope="module")
def theirs(pki: Pki) -> Files:
    return pki.issue("localhost", "127.0.0.1")


def context_of(files: Files) -> ssl.SSLContext:
    return server_tls(files.certificate, files.key, None, required=True).context


@contextlib.asynccontextmanager
async def behind_tls(context: ssl.SSLContext, serve: Serve) -> AsyncIterator[int]:
    """Let a server listen behind one that does the handshake; yields its port."""
    async with listening(serve) as address:
        with Terminator(context, address.host, address.port) as terminator:
            yield terminator.port


async def dialled(port: int, trusted: ssl.SSLContext, host: str = "127.0.0.1", deadline_s: float = 10) -> Upstream:
    """Dial, and close at once what is good."""
    address = UpstreamAddress(host, port, trusted)
    upstream = await dial(address, ROLE, PASSWORD, "shop", {}, deadline_s=deadline_s)
    upstream.link.abort()
    return upstream


async def refusal(port: int, trusted: ssl.SSLContext) -> PgnotaryError:
    with pytest.raises(PgnotaryError) as refused:
        await dialled(port, trusted)
    return refused.value


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_server_with_a_good_certificate_is_logged_in_to(
    pki: Pki, theirs: Files, version: ssl.TLSVersion
) -> None:
    context = context_of(theirs)
    context.maximum_version = version
    async with behind_tls(context, Poser()) as port:
        upstream = await dialled(port, upstream_context(pki.ca))
        assert upstream.pid == 7
        assert upstream.link.tls is not None
        assert upstream.link.tls.version() == version.name.replace("_", ".")


@pytest.mark.parametrize(
    ("mistake", "why"),
    [
        ("expired", "certificate has expired"),
        ("another name", "not valid for '127.0.0.1'"),
        ("another authority", "unable to get local issuer certificate"),
        ("trusted by nobody", "self-signed certificate"),
    ],
)
async def test_a_certificate_that_is_not_good_is_refused_and_nothing_is_said(
    pki: Pki, tmp_path: Path, mistake: str, why: str
) -> None:
    files = {
        "expired": lambda: pki.issue("127.0.0.1", expired=True),
        "another name": lambda: pki.issue("db.example.com"),
        "another authority": lambda: Pki(tmp_path / "other").issue("127.0.0.1"),
        "trusted by nobody": lambda: self_signed(tmp_path, "sha256"),
    }[mistake]()
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())

    async with behind_tls(context_of(files), listen) as port:
        refused = await refusal(port, upstream_context(pki.ca))
    assert isinstance(refused, UpstreamRefused)
    assert "shows a certificate that is not good for it" in refused.message
    assert why in refused.message
    assert heard == []


async def test_tls_1_1_is_not_spoken(pki: Pki, theirs: Files) -> None:
    context = context_of(theirs)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with behind_tls(context, Poser()) as port:
        refused = await refusal(port, upstream_context(pki.ca))
    assert isinstance(refused, UpstreamRefused)


def answering(answer: bytes, heard: list[bytes]) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await read_startup(reader) == EncryptionRequest("ssl")
        writer.write(answer)
        heard.append(await reader.read())

    return serve


async def test_a_server_without_tls_is_refused_and_nothing_is_said(pki: Pki) -> None:
    heard: list[bytes] = []
    async with listening(answering(b"N", heard)) as address:
        refused = await refusal(address.port, upstream_context(pki.ca))
    assert isinstance(refused, UpstreamRefused)
    assert "does not carry TLS, which upstream.tls demands" in refused.message
    assert heard == [b""]


async def test_an_error_before_tls_is_not_repeated(pki: Pki) -> None:
    heard: list[bytes] = []
    lie = error_response(Said("FATAL", "28000", "send your password to mallory"))
    async with listening(answering(lie, heard)) as address:
        refused = await refusal(address.port, upstream_context(pki.ca))
    assert isinstance(refused, UpstreamProtocolError)
    assert "mallory" not in str(refused)
    assert heard == [b""]


async def test_cve_2021_23222_what_comes_in_plain_text_is_never_taken_for_encrypted(pki: Pki) -> None:
    heard: list[bytes] = []
    async with listening(answering(b"S" + authentication(0) + STATUS + KEY + READY, heard)) as address:
        refused = await refusal(address.port, upstream_context(pki.ca))
    assert isinstance(refused, UpstreamProtocolError)
    assert "received unencrypted data" in str(refused)
    assert heard == [b""]


async def test_a_server_that_does_not_do_the_handshake_is_not_waited_for(pki: Pki) -> None:
    heard: list[bytes] = []
    async with listening(answering(b"S", heard)) as address:
        with pytest.raises(UpstreamRefused, match="within"):
            await dialled(address.port, upstream_context(pki.ca), deadline_s=0.2)


async def test_a_server_that_leaves_in_the_handshake_is_told_of(pki: Pki) -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_startup(reader)
        writer.write(b"S")
        await reader.read(100)

    async with listening(leave) as address:
        refused = await refusal(address.port, upstream_context(pki.ca))
    assert isinstance(refused, UpstreamRefused)


async def test_a_cancel_request_is_encrypted_too(pki: Pki, theirs: Files) -> None:
    heard: list[StartupPacket] = []

    async def listen(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        heard.append(await read_startup(reader))

    async with behind_tls(context_of(theirs), listen) as port:
        await cancel(UpstreamAddress("127.0.0.1", port, upstream_context(pki.ca)), 7, b"abcd")
    assert heard == [CancelRequest(7, b"abcd")]


async def test_a_cancel_request_is_not_sent_to_a_server_without_tls(pki: Pki) -> None:
    heard: list[bytes] = []
    async with listening(answering(b"N", heard)) as address:
        with pytest.raises(UpstreamRefused, match="does not carry TLS"):
            await cancel(UpstreamAddress("127.0.0.1", address.port, upstream_context(pki.ca)), 7, b"abcd")
    assert heard == [b""]


# --- channel binding -----------------------------------------------------------------------------------------------


class Asking:
    """A server that offers mechanisms and goes through the exchange; what it heard first."""

    def __init__(self, *offers: str, end_point: bytes | None = None) -> None:
        self.offers = offers
        self.end_point = end_point
        self.first = b""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_startup(reader)
        writer.write(authentication(10, b"".join(name.encode() + b"\0" for name in self.offers) + b"\0"))
        verifier = parse_verifier(make_verifier(PASSWORD, salt=bytes(16), iterations=4_096))
        server = ScramServer(ROLE, verifier, "server-nonce", self.end_point)
        mechanism, _, rest = (await read_message(reader)).partition(b"\0")
        self.first = mechanism + b" " + rest[4:].partition(b",,")[0]
        try:
            writer.write(authentication(11, server.challenge(rest[4:], mechanism.decode())))
            writer.write(authentication(12, server.verify(await read_message(reader))))
        except PgnotaryError as error:
            writer.write(error_response(Said("FATAL", "28P01", str(error))))
            return
        await Poser(authentication(0) + STATUS + KEY + READY).after_startup(reader, writer)


async def logged_in(asking: Asking, files: Files, trusted: Path) -> None:
    async with behind_tls(context_of(files), asking) as port:
        await dialled(port, upstream_context(trusted), "localhost")


async def test_a_login_is_bound_to_the_certificate_if_the_server_offers_it(pki: Pki, theirs: Files) -> None:
    end_point = server_tls(theirs.certificate, theirs.key, None, required=True).end_point
    asking = Asking(MECHANISM_PLUS, MECHANISM, end_point=end_point)
    await logged_in(asking, theirs, pki.ca)
    assert asking.first == b"SCRAM-SHA-256-PLUS p=tls-server-end-point"


async def test_a_login_that_somebody_relays_is_refused_by_the_server(pki: Pki, theirs: Files) -> None:
    """The one in between has a good certificate of its own, and the server knows only its own."""
    with pytest.raises(UpstreamRefused, match="channel binding check failed"):
        await logged_in(Asking(MECHANISM_PLUS, MECHANISM, end_point=bytes(32)), theirs, pki.ca)


async def test_a_server_whose_offer_was_cut_learns_of_it(pki: Pki, theirs: Files) -> None:
    with pytest.raises(UpstreamRefused, match="thinks the server does not"):
        await logged_in(Asking(MECHANISM, end_point=bytes(32)), theirs, pki.ca)


async def test_a_server_that_cannot_bind_is_told_that_we_could(pki: Pki, theirs: Files) -> None:
    asking = Asking(MECHANISM)
    await logged_in(asking, theirs, pki.ca)
    assert asking.first == b"SCRAM-SHA-256 y"


async def test_a_certificate_without_a_hash_binds_nothing_and_we_could_not(tmp_path: Path) -> None:
    files = self_signed(tmp_path, "ed25519")
    asking = Asking(MECHANISM_PLUS, MECHANISM)
    await logged_in(asking, files, files.certificate)
    assert asking.first == b"SCRAM-SHA-256 n"


async def test_a_server_in_plain_text_that_offers_a_binding_gets_none() -> None:
    asking = Asking(MECHANISM_PLUS, MECHANISM)
    async with listening(asking) as address:
        upstream = await dial(address, ROLE, PASSWORD, "shop", {}, deadline_s=10)
        upstream.link.abort()
    assert asking.first == b"SCRAM-SHA-256 n"
