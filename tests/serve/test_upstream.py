"""Dialling a real PostgreSQL, and servers that only pose as one."""

import asyncio
import contextlib
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.errors import ConfigError, PgnotaryError, UpstreamProtocolError, UpstreamRefused
from pgnotary.judge.settings import PINNED
from pgnotary.serve.scram import ScramServer, make_verifier
from pgnotary.serve.upstream import Upstream, UpstreamAddress, cancel, dial
from pgnotary.verifier import MECHANISM, parse_verifier
from pgnotary.wire.frames import Frame, backend_frames, frontend_frames
from pgnotary.wire.messages import (
    Diagnostic,
    authentication,
    backend_key_data,
    data_row,
    diagnostic,
    error_response,
    notice_response,
    parameter_status,
    query,
    query_text,
    ready_for_query,
)
from pgnotary.wire.startup import (
    CancelRequest,
    StartupMessage,
    StartupPacket,
    encode_startup,
    parse_packet,
    startup_length,
)

PASSWORD = "correct horse"
ROLE = "app"
EMOJI = "\N{GRINNING FACE}"

# --- a real server -------------------------------------------------------------------------------------------------


def address_of(postgres: EmbeddedPostgres) -> UpstreamAddress:
    return UpstreamAddress(postgres.host, postgres.port)


@contextlib.asynccontextmanager
async def dialled(
    postgres: EmbeddedPostgres,
    database: str,
    parameters: Mapping[str, str] | None = None,
    credentials: tuple[str, str] | None = None,
) -> AsyncIterator[Upstream]:
    role, password = credentials or (postgres.superuser, postgres.password)
    upstream = await dial(address_of(postgres), role, password, database, parameters or {}, deadline_s=10)
    try:
        yield upstream
    finally:
        upstream.link.abort()


@contextlib.contextmanager
def role(postgres: EmbeddedPostgres, database: str, *statements: str) -> Iterator[None]:
    """Make the role ROLE, by statements in which {} is its name, and drop it afterwards."""
    with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
        name = sql.Identifier(ROLE)
        for statement in statements:
            connection.execute(sql.SQL(statement).format(name))
        yield
        connection.execute(sql.SQL("DROP ROLE {}").format(name))


async def answer(upstream: Upstream, text: str) -> list[Frame]:
    """Return what the server says to a query, until it is ready again."""
    upstream.link.write(query(text.encode()))
    cutter = backend_frames()
    frames = [await upstream.link.read_frame(cutter)]
    while frames[-1].type != b"Z":
        frames.append(await upstream.link.read_frame(cutter))
    return frames


async def value(upstream: Upstream, text: str) -> str | None:
    (row,) = [data_row(frame.body) for frame in await answer(upstream, text) if frame.type == b"D"]
    return row[0]


async def test_a_session_is_what_it_says(postgres: EmbeddedPostgres, database: str) -> None:
    async with dialled(postgres, database, {"application_name": "greeter", "datestyle": "German"}) as upstream:
        assert await value(upstream, "SELECT pg_backend_pid()") == str(upstream.pid)
        assert await value(upstream, "SELECT current_database()") == database
        assert upstream.parameter_status["application_name"] == "greeter"
        assert upstream.parameter_status["DateStyle"] == "German, DMY"
        assert upstream.parameter_status["default_transaction_read_only"] == "on"
        assert len(upstream.secret) == 4
        assert upstream.address == address_of(postgres)
        with psycopg.connect(postgres.dsn(database)) as connection:
            row = connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
        assert row == (int(upstream.system_identifier),)


async def test_an_unsigned_write_in_a_session_is_refused_by_the_server(
    postgres: EmbeddedPostgres, database: str
) -> None:
    async with dialled(postgres, database) as upstream:
        error, ready = await answer(upstream, "CREATE TABLE t (i int)")
        assert diagnostic(error.body).sqlstate == "25006"
        assert ready.body == b"I"


async def test_pinned_settings_win_over_the_client_and_over_the_role(postgres: EmbeddedPostgres, database: str) -> None:
    opposite = {
        "client_encoding": "LATIN1",
        "standard_conforming_strings": "off",
        "backslash_quote": "on",
        "default_transaction_read_only": "off",
    }
    assert opposite.keys() == PINNED.keys()
    altered = [f"ALTER ROLE {{}} SET {name} = '{value}'" for name, value in opposite.items()]
    with role(postgres, database, f"CREATE ROLE {{}} LOGIN PASSWORD '{PASSWORD}'", *altered):
        async with dialled(postgres, database, opposite, (ROLE, PASSWORD)) as upstream:
            for name, pinned in PINNED.items():
                assert await value(upstream, f"SHOW {name}") == pinned


@pytest.mark.parametrize("password", [PASSWORD, EMOJI, "\N{ROMAN NUMERAL NINE}", "bell\a", "\N{SOFT HYPHEN}"])
async def test_any_password_that_postgresql_takes_opens_it(
    postgres: EmbeddedPostgres, database: str, password: str
) -> None:
    with role(postgres, database, f"CREATE ROLE {{}} LOGIN PASSWORD '{password}'"):
        async with dialled(postgres, database, credentials=(ROLE, password)) as upstream:
            assert await value(upstream, "SELECT current_user") == ROLE


async def test_a_role_that_may_not_ask_who_the_cluster_is_gets_in_without_knowing(
    postgres: EmbeddedPostgres, database: str
) -> None:
    closed = "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM public"
    with role(postgres, database, f"CREATE ROLE {{}} LOGIN PASSWORD '{PASSWORD}'", closed):
        async with dialled(postgres, database, credentials=(ROLE, PASSWORD)) as upstream:
            assert upstream.system_identifier == ""
            assert await value(upstream, "SELECT current_user") == ROLE


async def test_a_wrong_password_is_told_in_the_words_of_the_server(postgres: EmbeddedPostgres, database: str) -> None:
    with pytest.raises(UpstreamRefused) as refused:
        await dial(address_of(postgres), "postgres", PASSWORD, database, {}, deadline_s=10)
    assert refused.value.message.endswith('refused: password authentication failed for user "postgres"')
    assert refused.value.detail == "SQLSTATE 28P01"
    assert refused.value.sqlstate == "08006"


async def test_a_missing_database_is_told_in_the_words_of_the_server(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(UpstreamRefused, match='database "missing" does not exist') as refused:
        await dial(address_of(postgres), "postgres", postgres.password, "missing", {}, deadline_s=10)
    assert refused.value.detail == "SQLSTATE 3D000"


@pytest.mark.parametrize("password", [None, ""])
async def test_a_password_that_is_not_configured_is_named_as_the_reason(
    postgres: EmbeddedPostgres, password: str | None
) -> None:
    with pytest.raises(UpstreamRefused, match="asks for a password and none is configured"):
        await dial(address_of(postgres), "postgres", password, "postgres", {}, deadline_s=10)


async def test_a_setting_that_the_server_does_not_take_is_told_in_its_words(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(UpstreamRefused, match='invalid value for parameter "TimeZone": "Atlantis"'):
        async with dialled(postgres, "postgres", {"timezone": "Atlantis"}):
            pass


async def test_a_cancelled_statement_stops_before_cancel_returns(postgres: EmbeddedPostgres, database: str) -> None:
    async with dialled(postgres, database) as upstream:
        upstream.link.write(query(b"SELECT pg_sleep(1000)"))
        with psycopg.connect(postgres.dsn(database), autocommit=True) as connection:
            sleeping = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
            while connection.execute(sleeping, [upstream.pid]).fetchone() != (1,):
                pass
        await cancel(upstream.address, upstream.pid, b"none")
        await cancel(upstream.address, upstream.pid, upstream.secret)
        cutter = backend_frames()
        while (frame := await upstream.link.read_frame(cutter)).type == b"T":
            pass
        assert diagnostic(frame.body).sqlstate == "57014"


@contextlib.asynccontextmanager
async def forgetful_pooler(postgres: EmbeddedPostgres, forgotten: str) -> AsyncIterator[UpstreamAddress]:
    """Relay to a real server, dropping one start-up parameter without a word, as poolers do."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packet = await read_startup(reader)
        assert isinstance(packet, StartupMessage)
        kept = {name: value for name, value in packet.parameters.items() if name != forgotten}
        from_server, to_server = await asyncio.open_connection(postgres.host, postgres.port)
        to_server.write(encode_startup(kept))
        try:
            await asyncio.gather(pipe(reader, to_server), pipe(from_server, writer))
        finally:
            to_server.close()
            with contextlib.suppress(ConnectionError):
                await to_server.wait_closed()

    async with listening(relay) as address:
        yield address


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
    writer.close()


async def test_a_pooler_that_drops_a_pinned_setting_is_refused(postgres: EmbeddedPostgres) -> None:
    forgotten = "default_transaction_read_only"
    async with forgetful_pooler(postgres, forgotten) as address:
        with pytest.raises(UpstreamRefused, match=f"was opened with {forgotten} = .* and has ") as refused:
            await dial(address, "postgres", postgres.password, "postgres", {}, deadline_s=10)
    assert "Connect pgnotary to PostgreSQL directly" in refused.value.hint


# --- servers that pose as PostgreSQL -------------------------------------------------------------------------------


async def read_startup(reader: asyncio.StreamReader) -> StartupPacket:
    word = await reader.readexactly(4)
    return parse_packet(word + await reader.readexactly(startup_length(word) - 4))


@contextlib.asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], folder: str | None = None
) -> AsyncIterator[UpstreamAddress]:
    """Serve on a loopback port, or in a folder for Unix sockets; wait at the end until each client was served."""
    served: set[asyncio.Task[None]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.create_task(run(reader, writer)))

    if folder is None:
        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        address = UpstreamAddress("127.0.0.1", server.sockets[0].getsockname()[1])
    else:
        server = await asyncio.start_unix_server(accept, f"{folder}/.s.PGSQL.5432")
        address = UpstreamAddress(folder, 5432)
    async with server:
        yield address
    async with asyncio.timeout(10):
        await asyncio.gather(*served)


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def result(*values: str | None) -> bytes:
    """Return one result set with one row."""
    fields = b"".join(
        struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value.encode() for value in values
    )
    row = message(b"D", struct.pack("!h", len(values)) + fields)
    return message(b"T", b"\0\0") + row + message(b"C", b"SELECT 1\0")


KEY = backend_key_data(7, b"abcd")
READY = ready_for_query(b"I")
STATUS = (
    parameter_status("server_encoding", "UTF8")
    + parameter_status("default_transaction_read_only", "on")
    + parameter_status("in_hot_standby", "on")
)
VERSION = "SHOW server_version_num"
PID = "SELECT pg_catalog.pg_backend_pid()"
SYSTEM = "SELECT system_identifier FROM pg_catalog.pg_control_system()"
ANSWERS = {f"SHOW {name}": result(value) for name, value in PINNED.items()} | {
    PID: result("7"),
    VERSION: result("140001"),
    SYSTEM: result("7312345678901234567"),
}


@dataclass(frozen=True)
class Poser:
    """A server that says what it is told to; as it stands, what PostgreSQL would say."""

    login: bytes = authentication(0) + STATUS + KEY + READY
    answers: Mapping[str, bytes] = field(default_factory=lambda: ANSWERS)
    ready: bytes = READY
    slowly: bool = False

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packet = await read_startup(reader)
        assert isinstance(packet, StartupMessage)
        assert PINNED.items() <= packet.parameters.items()
        await self.after_startup(reader, writer)

    async def after_startup(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._say(writer, self.login)
        cutter = frontend_frames(100_000)
        while chunk := await reader.read(65_536):
            for frame in cutter.feed(chunk):
                if frame.type == b"Q":
                    said = [self.answers[text] for text in query_text(frame.body).decode().split("; ")]
                    await self._say(writer, b"".join(said) + self.ready)

    async def _say(self, writer: asyncio.StreamWriter, said: bytes) -> None:
        if not self.slowly:
            writer.write(said)
            return
        for byte in said:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    def answering(self, text: str, said: bytes) -> "Poser":
        return replace(self, answers={**self.answers, text: said})


Served = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def refusal(serve: Served, deadline_s: float = 10) -> PgnotaryError:
    """Return why a server is not accepted; `listening` has then seen our end of the connection closed."""
    async with listening(serve) as address:
        with pytest.raises((UpstreamRefused, UpstreamProtocolError)) as refused:
            await dial(address, ROLE, PASSWORD, "shop", {}, deadline_s=deadline_s)
    assert PASSWORD not in str(refused.value)
    return refused.value


@pytest.mark.parametrize("slowly", [False, True])
async def test_a_standby_that_trusts_us_is_accepted_however_its_bytes_come(slowly: bool) -> None:
    async with listening(Poser(slowly=slowly)) as address:
        upstream = await dial(address, ROLE, None, "shop", {}, deadline_s=10)
        upstream.link.abort()
        assert (upstream.pid, upstream.secret) == (7, b"abcd")
        assert upstream.system_identifier == "7312345678901234567"
        assert "abcd" not in repr(upstream)


async def test_a_unix_socket_is_named_by_its_folder_as_in_libpq() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with listening(Poser(), folder) as address:
            upstream = await dial(address, ROLE, None, "shop", {}, deadline_s=10)
            upstream.link.abort()
            assert upstream.address == UpstreamAddress(folder, 5432)


async def test_notices_and_new_parameters_may_come_at_any_time() -> None:
    asides = notice_response(Diagnostic("NOTICE", "00000", "welcome")) + parameter_status("search_path", "shop")
    asides += message(b"A", struct.pack("!I", 7) + b"channel\0payload\0")
    late = asides + result("on")
    poser = Poser(asides + authentication(0) + asides + STATUS + KEY + READY).answering(
        "SHOW default_transaction_read_only", late
    )
    async with listening(poser) as address:
        upstream = await dial(address, ROLE, None, "shop", {}, deadline_s=10)
        upstream.link.abort()
        assert upstream.parameter_status["search_path"] == "shop"


async def test_what_comes_after_the_login_is_left_for_the_receiver() -> None:
    async with listening(Poser().answering(SYSTEM, result("1") + READY)) as address:
        upstream = await dial(address, ROLE, None, "shop", {}, deadline_s=10)
        assert await upstream.link.read_exactly(len(READY)) == READY
        upstream.link.abort()


@pytest.mark.parametrize("name", PINNED)
async def test_each_pinned_setting_is_verified(name: str) -> None:
    for wrong in ("off", "", "LATIN1"):
        refused = await refusal(Poser().answering(f"SHOW {name}", result(wrong)))
        assert isinstance(refused, UpstreamRefused)
        assert name in refused.message
        assert "directly" in refused.hint


async def test_a_server_that_answers_for_another_process_is_a_pooler() -> None:
    refused = await refusal(Poser().answering(PID, result("8")))
    assert isinstance(refused, UpstreamRefused)
    assert "process 7, and statements run in 8" in refused.message
    assert "pooler" in refused.hint


async def test_a_server_without_a_cancel_key_is_refused() -> None:
    refused = await refusal(Poser(authentication(0) + STATUS + READY))
    assert isinstance(refused, UpstreamRefused)
    assert "no key" in refused.message


@pytest.mark.parametrize("reported", ["13.23", "13.23 (Debian 13.23-1)", "9.6.24"])
async def test_a_server_older_than_14_is_refused(reported: str) -> None:
    encoding = parameter_status("server_encoding", "UTF8")
    login = authentication(0) + encoding + parameter_status("server_version", reported) + KEY + READY
    refused = await refusal(Poser(login))
    assert isinstance(refused, UpstreamRefused)
    assert f"is PostgreSQL {reported}: PostgreSQL 14 or later is needed" in refused.message
    assert "Upgrade" in refused.hint
    assert "pooler" not in refused.hint


async def test_a_server_that_only_counts_as_older_than_14_is_refused() -> None:
    refused = await refusal(Poser().answering(VERSION, result("130023")))
    assert isinstance(refused, UpstreamRefused)
    assert "is PostgreSQL 13.23: PostgreSQL 14 or later is needed" in refused.message
    assert "Upgrade" in refused.hint


@pytest.mark.parametrize("reported", ["14.23", "18devel", "", "x"])
async def test_who_hides_the_read_only_setting_is_a_pooler_unless_it_is_old(reported: str) -> None:
    login = authentication(0) + parameter_status("server_version", reported) + KEY + READY
    refused = await refusal(Poser(login))
    assert isinstance(refused, UpstreamRefused)
    assert "does not report default_transaction_read_only" in refused.message
    assert "pooler" in refused.hint


@pytest.mark.parametrize(
    ("code", "name"), [(3, "a clear-text password"), (5, "an MD5 password"), (7, "GSSAPI"), (99, "method 99")]
)
async def test_no_password_is_sent_in_another_way_than_scram(code: int, name: str) -> None:
    sent = bytearray()

    async def greedy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_startup(reader)
        writer.write(authentication(code, b"salt"))
        sent.extend(await reader.read())

    refused = await refusal(greedy)
    assert isinstance(refused, UpstreamRefused)
    assert name in refused.message
    assert "scram-sha-256" in refused.hint
    assert sent == b""


async def test_a_server_that_offers_no_scram_without_tls_is_refused() -> None:
    refused = await refusal(Poser(authentication(10, b"SCRAM-SHA-256-PLUS\0\0")))
    assert isinstance(refused, UpstreamRefused)
    assert MECHANISM in refused.message


async def answer_scram(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, challenge: bytes | None) -> bytes:
    """Go through the exchange as one who knows the verifier, or say another challenge; return the final message."""
    await read_startup(reader)
    writer.write(authentication(10, MECHANISM.encode() + b"\0\0"))
    ours = ScramServer(ROLE, parse_verifier(make_verifier(PASSWORD, salt=bytes(16), iterations=4_096)), "server-nonce")
    first = await read_message(reader)
    said = ours.challenge(first.removeprefix(MECHANISM.encode() + b"\0")[4:])
    writer.write(authentication(11, challenge or said))
    return ours.verify(await read_message(reader))


async def read_message(reader: asyncio.StreamReader) -> bytes:
    header = await reader.readexactly(5)
    return await reader.readexactly(int.from_bytes(header[1:], "big") - 4)


async def test_a_server_that_lets_us_in_before_it_has_proven_itself_is_not_trusted() -> None:
    async def too_kind(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer_scram(reader, writer, None)
        writer.write(authentication(0) + STATUS + KEY + READY)
        await reader.read()

    refused = await refusal(too_kind)
    assert isinstance(refused, UpstreamProtocolError)
    assert str(refused) == "expected authentication request 12, got 0"


async def test_a_server_that_cannot_prove_itself_is_not_trusted() -> None:
    async def ignorant(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        final = await answer_scram(reader, writer, None)
        writer.write(authentication(12, final[:-4] + b"AAA=") + authentication(0))
        await reader.read()

    refused = await refusal(ignorant)
    assert isinstance(refused, UpstreamRefused)
    assert "not the one we trust" in refused.message


@pytest.mark.parametrize(
    "challenge",
    [
        b"r=" + b"a" * 20_000 + b",s=AAAA,i=4096",  # CVE-2026-6665 of pgbouncer
        b"r=client,s=AAAA,i=4000000000",
        b"r=\xff,s=AAAA,i=1",
        b"",
    ],
)
async def test_a_challenge_cannot_be_long_costly_or_another_ones(challenge: bytes) -> None:
    async def hostile(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer_scram(reader, writer, challenge or b"?")

    assert isinstance(await refusal(hostile), UpstreamProtocolError)


async def test_an_error_may_lack_every_field() -> None:
    """CVE-2026-6666 of pgbouncer: an error without an SQLSTATE."""
    for said in (b"", b"\0", b"M", b"\xff\0"):
        refused = await refusal(Poser(message(b"E", said)))
        assert isinstance(refused, UpstreamRefused)
        assert refused.message.endswith("refused: it does not say why")
        assert refused.detail == "SQLSTATE missing"


async def test_the_words_of_a_server_cannot_paint_on_a_terminal_or_fill_it() -> None:
    paint = "\x1b[2J\r\n\u202e" + "x" * 9_000
    refused = await refusal(Poser(error_response(Diagnostic("FATAL", paint, paint, hint=paint))))
    assert isinstance(refused, UpstreamRefused)
    for text in (refused.message, refused.detail, refused.hint):
        assert text.isprintable()
        assert len(text) < 1_200


@pytest.mark.parametrize(
    "after",
    [b"", authentication(0), authentication(0) + STATUS, authentication(0) + STATUS + KEY + READY],
    ids=["at once", "let in", "reported", "ready"],
)
async def test_an_error_is_told_whenever_it_comes(after: bytes) -> None:
    died = error_response(Diagnostic("FATAL", "57P03", "the database system is starting up"))
    refused = await refusal(Poser(after + died))
    assert isinstance(refused, UpstreamRefused)
    assert refused.message.endswith("refused: the database system is starting up")
    assert refused.detail == "SQLSTATE 57P03"


@pytest.mark.parametrize(
    "login",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"R\0\0\0\0",
        b"R\0\0\0\x04",
        b"R\x7f\xff\xff\xff",
        b"E\0\0\x80\0",
        message(b"v", struct.pack("!II", 3 << 16, 0)),
        KEY,
        READY,
        authentication(0) + authentication(0),
        authentication(0) + KEY + KEY,
        authentication(0) + message(b"K", b"\0\0\0\x07"),
        authentication(0) + message(b"K", bytes(261)),
        authentication(0) + message(b"S", b"name"),
        authentication(0) + message(b"S", b"name\0value\0more\0"),
        authentication(0) + message(b"D", b"\0\0"),
        authentication(0) + message(b"G", b"\0\0\0"),
        authentication(0) + STATUS + KEY + ready_for_query(b"T"),
        authentication(0) + STATUS + KEY + ready_for_query(b""),
        authentication(0) + STATUS + KEY + ready_for_query(b"II"),
        authentication(0) + STATUS * 10_000,
        notice_response(Diagnostic(message="x")) * 10_000,
    ],
)
async def test_nonsense_during_the_login_is_a_fault_of_the_server(login: bytes) -> None:
    assert isinstance(await refusal(Poser(login)), UpstreamProtocolError)


@pytest.mark.parametrize(
    "poser",
    [
        Poser(ready=ready_for_query(b"E")),
        Poser().answering(PID, b""),
        Poser().answering(PID, result("7") * 2),
        Poser().answering(VERSION, result("18devel")),
        Poser().answering(VERSION, result("\N{SUPERSCRIPT TWO}")),
        Poser().answering(VERSION, result(None)),
        Poser().answering(VERSION, message(b"D", b"\0\x01\0\0\xff\xff")),
        Poser().answering(VERSION, message(b"G", b"\0\0\0")),
        Poser().answering(VERSION, KEY),
        Poser().answering(VERSION, result("1") * 10_000),
        Poser().answering(SYSTEM, result("one")),
        Poser().answering(SYSTEM, result("1") * 2),
        Poser().answering(SYSTEM, b""),
    ],
)
async def test_nonsense_for_an_answer_is_a_fault_of_the_server(poser: Poser) -> None:
    assert isinstance(await refusal(poser), UpstreamProtocolError)


async def test_an_error_for_an_answer_is_told_unless_it_is_a_missing_privilege() -> None:
    for text in (PID, SYSTEM):
        broken = error_response(Diagnostic("ERROR", "XX000", "cache lookup failed"))
        refused = await refusal(Poser().answering(text, broken))
        assert isinstance(refused, UpstreamRefused)
        assert "cache lookup failed" in refused.message
    denied = error_response(Diagnostic("ERROR", "42501", "permission denied"))
    assert isinstance(await refusal(Poser().answering(PID, denied)), UpstreamRefused)


async def test_a_server_that_leaves_is_told_from_one_that_is_slow() -> None:
    login = Poser().login
    for count in range(0, len(login), 7):

        async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: int = count) -> None:
            await read_startup(reader)
            writer.write(login[:count])

        refused = await refusal(leave)
        assert isinstance(refused, UpstreamRefused)
        assert "closed the connection" in refused.message
    for said in (b"", login[:5], login[:-1]):
        refused = await refusal(Poser(said), deadline_s=0.1)
        assert isinstance(refused, UpstreamRefused)
        assert "within 0.1 s" in refused.message


async def test_a_dial_that_is_given_up_leaves_no_connection_behind() -> None:
    arrived = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await reader.read()

    async with listening(silent) as address:
        dialling = asyncio.create_task(dial(address, ROLE, None, "shop", {}, deadline_s=10))
        await arrived.wait()
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling


async def test_a_port_where_nobody_listens_cannot_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = UpstreamAddress("127.0.0.1", closed.getsockname()[1])
    for unreachable in (address, UpstreamAddress("/nonexistent", 5432)):
        with pytest.raises(UpstreamRefused, match="cannot be reached"):
            await dial(unreachable, ROLE, None, "shop", {}, deadline_s=10)
        with pytest.raises(UpstreamRefused, match="cannot be reached"):
            await cancel(unreachable, 7, b"abcd")


@pytest.mark.parametrize("host", ["10.0.0.1", "db.example.com", "0.0.0.0", "::", "", "localhost.example.com", "run"])
async def test_only_local_addresses_are_dialled(host: str) -> None:
    address = UpstreamAddress(host, 5432)
    with pytest.raises(ConfigError, match="is not local"):
        await dial(address, ROLE, None, "shop", {}, deadline_s=10)
    with pytest.raises(ConfigError, match="is not local"):
        await cancel(address, 7, b"abcd")


async def test_every_local_address_is_dialled() -> None:
    async with listening(Poser()) as address:
        for host in ("127.0.0.1", "localhost"):
            upstream = await dial(UpstreamAddress(host, address.port), ROLE, None, "shop", {}, deadline_s=10)
            upstream.link.abort()


def test_an_address_is_shown_as_people_write_it() -> None:
    assert str(UpstreamAddress("127.0.0.1", 5432)) == "127.0.0.1:5432"
    assert str(UpstreamAddress("::1", 5432)) == "[::1]:5432"


async def test_cancel_waits_until_the_server_is_done_with_it() -> None:
    received: list[StartupPacket] = []
    closing = asyncio.Event()

    async def careful(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await read_startup(reader))
        await closing.wait()

    async with listening(careful) as address:
        cancelling = asyncio.create_task(cancel(address, 4711, b"abcd"))
        async with asyncio.timeout(10):
            while not received:
                await asyncio.sleep(0)
        assert not cancelling.done()
        closing.set()
        await cancelling
    assert received == [CancelRequest(4711, b"abcd")]


async def test_cancel_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgnotary.serve.upstream.CANCEL_DEADLINE_S", 0.1)

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(deaf) as address:
        with pytest.raises(UpstreamRefused, match="took no cancel request"):
            await cancel(address, 7, b"abcd")


async def test_a_cancel_request_has_no_answer() -> None:
    async def chatty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_startup(reader)
        writer.write(READY)
        await reader.read()

    async with listening(chatty) as address:
        with pytest.raises(UpstreamProtocolError):
            await cancel(address, 7, b"abcd")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64), st.sampled_from([b"", authentication(0), authentication(0) + STATUS + KEY + READY]))
def test_no_bytes_break_the_dialling(junk: bytes, before: bytes) -> None:
    async def hostile(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_startup(reader)
        writer.write(before + junk)

    asyncio.run(refusal(hostile))


async def test_a_database_in_another_encoding_is_refused(postgres: EmbeddedPostgres, database: str) -> None:
    create = "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(create)
        try:
            address = UpstreamAddress(postgres.host, postgres.port)
            with pytest.raises(UpstreamRefused, match="the database is encoded in LATIN1: only UTF8 is carried"):
                await dial(address, "postgres", postgres.password, "latin", {}, deadline_s=10)
        finally:
            connection.execute("DROP DATABASE latin WITH (FORCE)")
