"""Who may come in, and with which settings: psql and libpq as they are, and clients that do not play by the rules."""

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from pgnotary.demo.programs import find_bin_dir, find_psql
from pgnotary.errors import (
    ClientProtocolError,
    ConfigError,
    NotAuthenticated,
    NotSupported,
    StatementError,
    TooLarge,
)
from pgnotary.serve.attempts import Attempts
from pgnotary.serve.greeting import Greeting, fatal, greet
from pgnotary.serve.link import Link
from pgnotary.serve.scram import DEFAULT_ITERATIONS, ScramClient, make_verifier
from pgnotary.verifier import MECHANISM
from pgnotary.wire.frames import FrameCutter, backend_frames, frontend_frames
from pgnotary.wire.messages import (
    authentication,
    backend_key_data,
    diagnostic,
    parameter_status,
    query,
    query_text,
    ready_for_query,
    sasl_initial_response,
    sasl_response,
)
from pgnotary.wire.startup import PROTOCOL_3_0, PROTOCOL_3_2, CancelRequest, encode_cancel, encode_startup

SECRET = bytes(32)
PASSWORD = "correct horse"
VERIFIER = make_verifier(PASSWORD, salt=bytes(16))
QUICK_VERIFIER = make_verifier(PASSWORD, salt=bytes(16), iterations=4_096)
SSL_REQUEST = struct.pack("!II", 8, 80_877_103)
GSSENC_REQUEST = struct.pack("!II", 8, 80_877_104)
ALICE = {"user": "alice"}


def startup(parameters: Mapping[str, str], minor: int = 0) -> bytes:
    packet = encode_startup(parameters)
    return packet[:4] + struct.pack("!HH", 3, minor) + packet[8:]


# --- with real clients ---------------------------------------------------------------------------------------------


class FakeUpstream:
    """What a session does after the greeting, as little of it as psql needs: every query gets one row, "1"."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._cutter = frontend_frames(100_000)
        link.write(authentication(0) + parameter_status("server_version", "18.6") + backend_key_data(7, b"abcd"))
        link.write(ready_for_query(b"I"))
        link.attach(self)

    def data(self, chunk: bytes) -> None:
        for frame in self._cutter.feed(chunk):
            if frame.type == b"X":
                self._link.close()
            else:
                assert query_text(frame.body)
                field = b"one\0" + struct.pack("!IhIhih", 0, 0, 25, -1, -1, 0)
                self._say(b"T", struct.pack("!h", 1) + field)
                self._say(b"D", struct.pack("!hi", 1, 1) + b"1")
                self._say(b"C", b"SELECT 1\0")
                self._link.write(ready_for_query(b"I"))

    def _say(self, kind: bytes, body: bytes) -> None:
        self._link.write(kind + struct.pack("!I", len(body) + 4) + body)

    def eof(self) -> None:
        self._link.close()

    def lost(self, error: Exception | None) -> None:
        pass

    def writable(self, *, ready: bool) -> None:
        pass


@dataclass
class Door:
    """A port at which clients are greeted."""

    port: int
    outcomes: asyncio.Queue[Greeting | CancelRequest | Exception]

    def conninfo(self, **wishes: str) -> str:
        return make_conninfo(host="127.0.0.1", port=self.port, user="alice", dbname="shop", **wishes)


@contextlib.asynccontextmanager
async def door() -> AsyncIterator[Door]:
    loop = asyncio.get_running_loop()
    users = {"alice": VERIFIER}.get
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        attempts = Attempts(time.monotonic)
        opened = Door(listener.getsockname()[1], asyncio.Queue())

        links: list[Link] = []

        async def serve(plug: socket.socket) -> None:
            _, link = await loop.connect_accepted_socket(Link, plug)
            links.append(link)
            try:
                outcome: Greeting | CancelRequest | Exception = await greet(link, users, SECRET, attempts)
                if isinstance(outcome, Greeting):
                    FakeUpstream(link)
                else:
                    link.close()
            except StatementError as error:
                outcome = error
                link.write(fatal(error))
                link.close()
            except ConnectionError as error:
                outcome = error
                link.close()
            await opened.outcomes.put(outcome)

        async def accept() -> None:
            async with asyncio.TaskGroup() as group:
                while True:
                    plug, _ = await loop.sock_accept(listener)
                    group.create_task(serve(plug))

        accepting = asyncio.create_task(accept())
        try:
            yield opened
        finally:
            accepting.cancel()
            await asyncio.wait([accepting])
            for link in links:
                link.abort()


async def psql(at: Door, password: str, *arguments: str, **environment: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        str(find_psql(find_bin_dir())),
        "-XAtw",
        *arguments,
        at.conninfo(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "PGPASSWORD": password, **environment},
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_psql_comes_in_with_the_right_password() -> None:
    async with door() as at:
        options = "-c statement_timeout=5s -c search_path=shop"
        assert await psql(at, PASSWORD, "-c", "select 1", PGOPTIONS=options, PGTZ="UTC") == (0, "1\n", "")
        expected = {
            "application_name": "psql",
            "search_path": "shop",
            "statement_timeout": "5s",
            "timezone": "UTC",
        }
        greeting = await at.outcomes.get()
        assert greeting == Greeting("alice", "shop", expected, PROTOCOL_3_0, False)
        assert isinstance(greeting, Greeting)
        assert greeting.application_name == "psql"


async def test_psql_is_told_that_its_password_is_wrong() -> None:
    async with door() as at:
        code, out, err = await psql(at, "wrong", "-c", "select 1")
        assert (code, out) == (2, "")
        assert 'FATAL:  password authentication failed for user "alice"' in err
        assert isinstance(await at.outcomes.get(), NotAuthenticated)


async def test_psql_is_told_what_to_do_about_an_option_that_cannot_pass() -> None:
    async with door() as at:
        code, _, err = await psql(at, PASSWORD, "-c", "select 1", PGOPTIONS="-c role=admin")
        assert code == 2
        assert 'FATAL:  start-up parameter "role" is not supported' in err
        assert "HINT:  Leave it out, or SET it after the login" in err


async def test_psql_that_leaves_to_ask_for_the_password_is_no_error_to_answer() -> None:
    async with door() as at:
        code, _, err = await psql(at, "", "-c", "select 1")
        assert code == 2
        assert "no password supplied" in err
        assert isinstance(await at.outcomes.get(), ConnectionResetError)


@pytest.mark.parametrize("sslmode", ["disable", "allow", "prefer"])
@pytest.mark.parametrize("version", ["3.0", "3.2", "latest"])
async def test_libpq_comes_in_whatever_encryption_and_version_it_prefers(sslmode: str, version: str) -> None:
    async with door() as at:
        wishes = {"sslmode": sslmode, "max_protocol_version": version, "client_encoding": "utf-8"}
        async with await psycopg.AsyncConnection.connect(at.conninfo(password=PASSWORD, **wishes)) as connection:
            assert connection.info.backend_pid == 7
            assert connection.pgconn.full_protocol_version == (30_000 if version == "3.0" else 30_002)
        greeting = await at.outcomes.get()
        assert isinstance(greeting, Greeting)
        assert greeting.protocol == (PROTOCOL_3_0 if version == "3.0" else PROTOCOL_3_2)
        assert "client_encoding" not in greeting.parameters


async def test_libpq_that_insists_on_encryption_is_told_that_there_is_none() -> None:
    async with door() as at:
        with pytest.raises(psycopg.OperationalError, match="server does not support SSL"):
            await psycopg.AsyncConnection.connect(at.conninfo(sslmode="require"))


async def test_libpq_that_insists_on_a_channel_binding_does_not_send_its_proof() -> None:
    async with door() as at:
        with pytest.raises(psycopg.OperationalError, match="channel binding"):
            await psycopg.AsyncConnection.connect(at.conninfo(channel_binding="require", password=PASSWORD))
        assert isinstance(await at.outcomes.get(), ConnectionResetError)


async def test_a_cancel_by_libpq_is_returned_and_not_answered() -> None:
    async with door() as at, await psycopg.AsyncConnection.connect(at.conninfo(password=PASSWORD)) as connection:
        await at.outcomes.get()
        await connection.cancel_safe(timeout=10)
        assert await at.outcomes.get() == CancelRequest(7, b"abcd")


# --- with bytes ----------------------------------------------------------------------------------------------------


class Visitor:
    """A client made by hand, in front of one `greet`."""

    def __init__(self, plug: socket.socket, greeting: asyncio.Task[Greeting | CancelRequest], link: Link) -> None:
        self.plug = plug
        self.greeting = greeting
        self.link = link
        self.slowly = False
        self._cutter: FrameCutter = backend_frames()
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        if not self.slowly:
            await self._loop.sock_sendall(self.plug, data)
            return
        for byte in data:
            await self._loop.sock_sendall(self.plug, bytes([byte]))
            await asyncio.sleep(0)

    async def receive(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            chunk = await self._loop.sock_recv(self.plug, count - len(received))
            assert chunk, "the connection was closed"
            received += chunk
        return received

    async def message(self) -> tuple[bytes, bytes]:
        header = await self.receive(5)
        return header[:1], await self.receive(int.from_bytes(header[1:], "big") - 4)

    async def authentication(self, code: int) -> bytes:
        kind, body = await self.message()
        assert (kind, body[:4]) == (b"R", struct.pack("!I", code))
        return body[4:]

    async def log_in(self, glued: bytes = b"") -> None:
        client = ScramClient(PASSWORD, "client-nonce")
        assert await self.authentication(10) == b"SCRAM-SHA-256\0\0"
        await self.send(sasl_initial_response(MECHANISM, client.first()))
        await self.send(sasl_response(client.final(await self.authentication(11))) + glued)
        client.check(await self.authentication(12))


@contextlib.asynccontextmanager
async def visitor(
    deadline_s: float = 10, verifier: str = QUICK_VERIFIER, attempts: Attempts | None = None
) -> AsyncIterator[Visitor]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    _, link = await asyncio.get_running_loop().create_unix_connection(Link, sock=ours)
    users = {"alice": verifier}.get
    attempts = attempts or Attempts(time.monotonic)
    greeting = asyncio.create_task(greet(link, users, SECRET, attempts, deadline_s=deadline_s))
    try:
        with theirs:
            async with asyncio.timeout(30):
                yield Visitor(theirs, greeting, link)
    finally:
        greeting.cancel()
        link.abort()
        await asyncio.wait([greeting])


async def greeted(parameters: Mapping[str, str], minor: int = 0) -> Greeting:
    async with visitor() as client:
        await client.send(startup({"user": "alice", **parameters}, minor))
        await client.log_in()
        greeting = await client.greeting
        assert isinstance(greeting, Greeting)
        return greeting


async def refusal(*sent: bytes) -> StatementError:
    """Send packets, each after the answer to the one before it; return why the client was not let in."""
    async with visitor() as client:
        for packet in sent[:-1]:
            await client.send(packet)
            assert await client.receive(1) == b"N"
        await client.send(sent[-1])
        with pytest.raises(StatementError) as refused:
            await client.greeting
        # It says nothing itself: the caller answers with `fatal`.
        with pytest.raises(BlockingIOError):
            client.plug.recv(1)
        return refused.value


async def test_a_login_may_come_one_byte_at_a_time() -> None:
    async with visitor() as client:
        client.slowly = True
        await client.send(SSL_REQUEST)
        assert await client.receive(1) == b"N"
        await client.send(startup(ALICE))
        await client.log_in()
        assert await client.greeting == Greeting("alice", "alice", {}, PROTOCOL_3_0, False)


async def test_authentication_ok_is_left_to_the_caller_and_early_bytes_to_the_receiver() -> None:
    async with visitor() as client:
        await client.send(startup(ALICE))
        await client.log_in(glued=query(b"select 1"))
        await client.greeting
        with pytest.raises(BlockingIOError):
            client.plug.recv(1)
        assert client.link.buffered_bytes == len(query(b"select 1"))


@pytest.mark.parametrize("requests", [[SSL_REQUEST], [GSSENC_REQUEST], [SSL_REQUEST, GSSENC_REQUEST]])
async def test_encryption_is_declined_and_the_login_goes_on(requests: list[bytes]) -> None:
    for order in (requests, requests[::-1]):
        async with visitor() as client:
            for request in order:
                await client.send(request)
                assert await client.receive(1) == b"N"
            await client.send(startup(ALICE))
            await client.log_in()
            assert isinstance(await client.greeting, Greeting)


@pytest.mark.parametrize("request_", [SSL_REQUEST, GSSENC_REQUEST], ids=["ssl", "gssenc"])
async def test_encryption_may_be_asked_for_once(request_: bytes) -> None:
    assert isinstance(await refusal(request_, request_), ClientProtocolError)


@pytest.mark.parametrize("request_", [SSL_REQUEST, GSSENC_REQUEST], ids=["ssl", "gssenc"])
@pytest.mark.parametrize("stuffed", [b"x", startup(ALICE), SSL_REQUEST])
async def test_nothing_may_be_stuffed_behind_an_encryption_request(request_: bytes, stuffed: bytes) -> None:
    """CVE-2021-23214 of PostgreSQL, CVE-2021-3935 of pgbouncer."""
    async with visitor() as client:
        await client.send(request_ + stuffed)
        with pytest.raises(ClientProtocolError, match="received unencrypted data after"):
            await client.greeting
        with pytest.raises(BlockingIOError):
            client.plug.recv(1)


@pytest.mark.parametrize("before", [[], [SSL_REQUEST], [SSL_REQUEST, GSSENC_REQUEST]])
async def test_a_cancel_request_is_returned_as_it_came_and_gets_no_answer(before: list[bytes]) -> None:
    async with visitor() as client:
        for request in before:
            await client.send(request)
            assert await client.receive(1) == b"N"
        await client.send(encode_cancel(4711, bytes(range(32))))
        assert await client.greeting == CancelRequest(4711, bytes(range(32)))
        with pytest.raises(BlockingIOError):
            client.plug.recv(1)


@pytest.mark.parametrize(
    ("minor", "extensions", "spoken"),
    [
        (1, [], PROTOCOL_3_0),
        (3, [], PROTOCOL_3_2),
        (9_999, [], PROTOCOL_3_2),  # libpq 19 greases with this...
        (0, ["_pq_.test_protocol_negotiation"], PROTOCOL_3_0),  # ... and with this
        (2, ["_pq_.one"], PROTOCOL_3_2),
        (9_999, ["_pq_.one", "_pq_.two"], PROTOCOL_3_2),
    ],
)
async def test_what_we_do_not_speak_is_negotiated_down_before_the_login(
    minor: int, extensions: list[str], spoken: int
) -> None:
    async with visitor() as client:
        await client.send(startup({"user": "alice", **dict.fromkeys(extensions, "on")}, minor))
        kind, body = await client.message()
        assert kind == b"v"
        assert body[:8] == struct.pack("!II", spoken, len(extensions))
        assert body[8:].split(b"\0")[:-1] == [name.encode() for name in extensions]
        await client.log_in()
        assert await client.greeting == Greeting("alice", "alice", {}, spoken, False)


@pytest.mark.parametrize("user", ["alice", "nobody"])
async def test_behind_a_wrong_password_the_next_proof_waits_whoever_sends_it(user: str) -> None:
    attempts = Attempts(lambda: 0.0, at_once=1)
    for owed in (True, False):
        async with visitor(attempts=attempts) as client:
            await client.send(startup({"user": user}))
            wrong = ScramClient("wrong", "client-nonce")
            await client.authentication(10)
            await client.send(sasl_initial_response(MECHANISM, wrong.first()))
            await client.send(sasl_response(wrong.final(await client.authentication(11))))
            done, _ = await asyncio.wait([client.greeting], timeout=20 if owed else 0.05)
            assert bool(done) is owed
            if owed:
                with pytest.raises(NotAuthenticated):
                    await client.greeting


async def test_right_passwords_make_nobody_wait() -> None:
    attempts = Attempts(lambda: 0.0, at_once=1)
    for _ in range(3):
        async with visitor(attempts=attempts) as client:
            await client.send(startup(ALICE))
            await client.log_in()
            await client.greeting


@pytest.mark.parametrize(("minor", "spoken"), [(0, PROTOCOL_3_0), (2, PROTOCOL_3_2)])
async def test_a_version_that_we_speak_is_not_negotiated(minor: int, spoken: int) -> None:
    async with visitor() as client:
        await client.send(startup(ALICE, minor))
        await client.log_in()
        assert await client.greeting == Greeting("alice", "alice", {}, spoken, False)


@pytest.mark.parametrize("value", ["true", "on", "1", "database", "logical", ""])
async def test_replication_is_refused(value: str) -> None:
    refused = await refusal(startup({**ALICE, "replication": value}))
    assert isinstance(refused, NotSupported)
    assert "replication" in str(refused)


@pytest.mark.parametrize("value", ["false", "off", "0", "no", "FALSE"])
async def test_a_client_may_say_that_it_wants_no_replication(value: str) -> None:
    assert (await greeted({"replication": value})).parameters == {}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", {}),
        (" \t\n", {}),
        ("-c geqo=off", {"geqo": "off"}),
        ("-cgeqo=off", {"geqo": "off"}),
        ("--geqo=off", {"geqo": "off"}),
        ("  -c\tgeqo=off\n-c\vlock_timeout=1  ", {"geqo": "off", "lock_timeout": "1"}),
        ("--statement-timeout=1s", {"statement_timeout": "1s"}),
        ("-c DateStyle=ISO", {"datestyle": "ISO"}),
        (r"-c datestyle=ISO,\ DMY", {"datestyle": "ISO, DMY"}),
        (r"-c timezone=a\\b", {"timezone": r"a\b"}),
        ("-c timezone=a=b", {"timezone": "a=b"}),
        ("-c geqo=on -c geqo=off", {"geqo": "off"}),
        (r"-c pgnotary.reason=fix\ order\ 7", {"pgnotary.reason": "fix order 7"}),
        ("-c geqo=", {"geqo": ""}),
        ("-c timezone=UTC\\", {"timezone": "UTC"}),
    ],
)
async def test_options_are_read_as_postgresql_reads_them(options: str, expected: dict[str, str]) -> None:
    assert (await greeted({"options": options})).parameters == expected


@pytest.mark.parametrize(
    "options",
    [
        "geqo=off",
        "-c",
        "-c geqo",
        "-c =off",
        "--",
        "-- geqo=off",
        "-",
        "-e",
        "-ec geqo=off",
        "-fs",
        "-W 60",
        "\\",
        r"-c\ geqo=off",
        "-c geqo=off trailing",
        "-c role=admin",
        "--session-replication-role=replica",
        "-c geqo=off -c standard_conforming_strings=off",
        "-c default_transaction_read_only=maybe",
        "-c -c",
    ],
)
async def test_no_other_argument_in_options_passes(options: str) -> None:
    refused = await refusal(startup({**ALICE, "options": options}))
    assert isinstance(refused, NotSupported)
    assert refused.hint


async def test_a_parameter_of_its_own_wins_over_the_same_in_options() -> None:
    parameters = {"timezone": "UTC", "options": "-c TimeZone=CET"}
    assert (await greeted(parameters)).parameters == {"timezone": "UTC"}


async def test_settings_that_only_shape_answers_are_passed_on() -> None:
    given = {
        "application_name": "app",
        "client_min_messages": "error",
        "DateStyle": "ISO",
        "extra_float_digits": "3",
        "geqo": "off",
        "idle_in_transaction_session_timeout": "1min",
        "IntervalStyle": "iso_8601",
        "lock_timeout": "1s",
        "search_path": "shop",
        "statement_timeout": "1s",
        "TimeZone": "UTC",
        "pgnotary.reason": "ticket 7",
    }
    greeting = await greeted({"database": "shop", **given})
    assert greeting.database == "shop"
    assert greeting.parameters == {name.lower(): value for name, value in given.items()}


@pytest.mark.parametrize(
    "name",
    ["role", "session_authorization", "Role", "Replication", "Options", "work_mem", "User", "_pq", "loc\u212a_timeout"],
)
async def test_any_other_setting_is_refused_by_name(name: str) -> None:
    refused = await refusal(startup({**ALICE, name: "x"}))
    assert isinstance(refused, NotSupported)
    assert f'"{name}"' in refused.message
    assert "SET it after the login" in refused.hint


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("UTF8", "UTF8"),
        ("utf-8", "UTF8"),
        ("'utf-8'", "UTF8"),
        ("unicode", "UTF8"),
        ("UNICODE", "UNICODE"),
        ("SQL_ASCII", "SQL_ASCII"),
        ("sql-ascii", "SQL_ASCII"),
    ],
)
async def test_the_encoding_of_a_client_is_its_own_and_never_passed_on(value: str, shown: str) -> None:
    greeting = await greeted({"client_encoding": value})
    assert (greeting.parameters, greeting.encoding.shown) == ({}, shown)
    assert (await greeted({"options": f"-c client_encoding={value}"})).encoding.shown == shown
    both = {"options": f"-c client_encoding={value}", "client_encoding": "sqlascii"}
    assert (await greeted(both)).encoding.shown == "SQL_ASCII"
    assert (await greeted({})).encoding.shown == "UTF8"


@pytest.mark.parametrize("value", ["BIG5", "SJIS", "EUC_TW", "mule_internal"])
async def test_what_cannot_be_converted_exactly_is_refused(value: str) -> None:
    refused = await refusal(startup({**ALICE, "client_encoding": value}))
    assert isinstance(refused, NotSupported)
    assert "client_encoding" in refused.message


@pytest.mark.parametrize("value", ["", "utf16", "auto", "\u00fctf8", "8", "x" * 63 + "utf8", "utf8" + " " * 60])
async def test_what_is_no_encoding_is_refused_as_the_server_does(value: str) -> None:
    refused = await refusal(startup({**ALICE, "client_encoding": value}))
    assert (refused.sqlstate, refused.message) == ("22023", f'invalid value for parameter "client_encoding": "{value}"')


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("standard_conforming_strings", "on"),
        ("Standard_Conforming_Strings", "TRUE"),
        ("backslash_quote", "safe_encoding"),
    ],
)
async def test_a_pinned_setting_may_be_set_to_what_it_is(name: str, value: str) -> None:
    assert await greeted({name: value}) == Greeting("alice", "alice", {}, PROTOCOL_3_0, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("standard_conforming_strings", "off"),
        ("standard_conforming_strings", ""),
        ("backslash_quote", "on"),
        ("BACKSLASH_QUOTE", "off"),
        ("default_transaction_read_only", "maybe"),
        ("default_transaction_read_only", ""),
        ("transaction_read_only", "on"),
    ],
)
async def test_a_pinned_setting_cannot_be_set_to_anything_else(name: str, value: str) -> None:
    refused = await refusal(startup({**ALICE, name: value}))
    assert isinstance(refused, NotSupported)
    assert name.lower() in refused.message
    assert refused.hint


async def test_a_client_that_wants_to_be_read_only_is_heard() -> None:
    greeting = await greeted({"options": "-c default_transaction_read_only=on"})
    assert greeting == Greeting("alice", "alice", {}, PROTOCOL_3_0, True)


@pytest.mark.parametrize(("value", "wanted"), [("off", False), ("F", False), ("0", False), ("yes", True), ("T", True)])
async def test_read_only_by_default_is_the_clients_own_and_never_passed_on(value: str, wanted: bool) -> None:
    greeting = await greeted({"default_transaction_read_only": value})
    assert greeting == Greeting("alice", "alice", {}, PROTOCOL_3_0, wanted)


@pytest.mark.parametrize(
    "path",
    ["", "shop", "pg_catalog", "pg_catalog, shop", '"$user", public', 'a , "PG_CATALOG", pg_catalogue', 'a,"b""c, d"'],
)
async def test_a_search_path_may_leave_the_built_in_functions_first(path: str) -> None:
    assert (await greeted({"search_path": path})).parameters == {"search_path": path}


@pytest.mark.parametrize(
    "path",
    [
        "shop, pg_catalog",
        "shop,PG_Catalog",
        'shop,\f"pg_catalog"\v',
        "pg_catalog, shop, pg_catalog",
        'shop, "pg_catalog',
        'shop, a"b, pg_catalog',
        "shop pg_catalog",
        "shop,",
        ",",
        '""',
    ],
)
async def test_nothing_may_stand_before_the_built_in_functions(path: str) -> None:
    refused = await refusal(startup({**ALICE, "search_path": path}))
    assert isinstance(refused, NotSupported)
    assert "search_path" in refused.message


@pytest.mark.parametrize("parameters", [{}, {"user": ""}, {"database": "shop"}])
async def test_a_client_without_a_name_is_refused(parameters: dict[str, str]) -> None:
    assert isinstance(await refusal(startup(parameters)), NotAuthenticated)


@pytest.mark.parametrize(
    "packet",
    [
        struct.pack("!I", 0),
        struct.pack("!I", 7),
        struct.pack("!I", 10_005),
        struct.pack("!I", 0xFFFF_FFFF),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS without SSLRequest
        struct.pack("!IHH", 8, 2, 0),
        struct.pack("!IHH", 9, 3, 0) + b"x",
        startup(ALICE).replace(b"alice", b"al\xffce"),
        encode_cancel(1, b""),
    ],
)
async def test_a_packet_that_is_no_start_up_is_a_fault_of_the_client(packet: bytes) -> None:
    assert isinstance(await refusal(packet), ClientProtocolError)


async def test_the_longest_start_up_packet_passes() -> None:
    name = "x" * (10_004 - len(startup({"user": "alice", "application_name": ""})))
    assert (await greeted({"application_name": name})).application_name == name


async def test_a_password_message_is_short() -> None:
    async with visitor() as client:
        await client.send(startup(ALICE))
        await client.authentication(10)
        await client.send(b"p" + struct.pack("!I", 2_000))
        with pytest.raises(TooLarge):
            await client.greeting


@pytest.mark.parametrize(
    "answer",
    [
        query(b"delete from orders"),
        b"X\0\0\0\x04",
        b"\0\0\0\0\x04",
        b"p\0\0\0\x03",
        sasl_initial_response("SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,n=,r=abc"),
        sasl_initial_response("SCRAM-SHA-512", b"n,,n=,r=abc"),
        b"Q" + sasl_initial_response(MECHANISM, b"n,,n=,r=abc")[1:],
        sasl_initial_response("PLAIN", b"\0alice\0secret"),
        sasl_response(PASSWORD.encode() + b"\0"),
        sasl_response(MECHANISM.encode() + b"\0" + struct.pack("!i", -1)),
        sasl_response(MECHANISM.encode() + b"\0" + struct.pack("!i", 3) + b"n,,n=,r=abc"),
        sasl_response(MECHANISM.encode() + b"\0\0\0"),
        sasl_response(MECHANISM.encode()),
        sasl_response(b""),
    ],
)
async def test_anything_but_a_sasl_response_is_refused(answer: bytes) -> None:
    async with visitor() as client:
        await client.send(startup(ALICE))
        await client.authentication(10)
        await client.send(answer)
        with pytest.raises(ClientProtocolError):
            await client.greeting


async def test_known_and_unknown_users_see_the_same() -> None:
    seen = []
    for user in ("alice", "carol"):
        async with visitor(verifier=VERIFIER) as client:
            await client.send(startup({"user": user}))
            guess = ScramClient("guess", "client-nonce")
            offer = await client.authentication(10)
            await client.send(sasl_initial_response(MECHANISM, guess.first()))
            challenge = await client.authentication(11)
            await client.send(sasl_response(guess.final(challenge)))
            with pytest.raises(NotAuthenticated) as refused:
                await client.greeting
            answer = fatal(refused.value).replace(user.encode(), b"<user>")
            count = challenge.rpartition(b",i=")[2]
            seen.append((offer, len(challenge), count, answer))
    assert seen[0] == seen[1]
    assert seen[0][2] == b"%d" % DEFAULT_ITERATIONS


@pytest.mark.parametrize("sent", [b"", startup(ALICE)[:-1], SSL_REQUEST, startup(ALICE)])
async def test_a_slow_client_is_not_waited_for(sent: bytes) -> None:
    async with visitor(deadline_s=0.05) as client:
        await client.send(sent)
        with pytest.raises(NotAuthenticated, match="timeout"):
            await client.greeting


@pytest.mark.parametrize("sent", [b"", startup(ALICE)[:-1], SSL_REQUEST, startup(ALICE)])
async def test_a_client_that_leaves_gets_no_answer(sent: bytes) -> None:
    async with visitor() as client:
        await client.send(sent)
        client.plug.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionResetError):
            await client.greeting


async def test_a_verifier_that_is_none_lets_nobody_in() -> None:
    async with visitor(verifier=PASSWORD) as client:
        await client.send(startup(ALICE))
        with pytest.raises(ConfigError):
            await client.greeting


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64), st.booleans())
def test_no_bytes_break_the_greeting(junk: bytes, after_startup: bool) -> None:
    async def conversation() -> None:
        async with visitor() as client:
            await client.send((startup(ALICE) if after_startup else b"") + junk)
            client.plug.shutdown(socket.SHUT_WR)
            with contextlib.suppress(StatementError, ConnectionResetError):
                assert not isinstance(await client.greeting, Greeting)

    asyncio.run(conversation())


def test_a_fatal_error_carries_all_that_psql_shows() -> None:
    message = fatal(NotSupported("no", detail="because", hint="do this"))
    assert message[:1] == b"E"
    said = diagnostic(message[5:])
    assert (said.severity, said.sqlstate, said.message) == ("FATAL", "0A000", "no")
    assert (said.detail, said.hint) == ("because", "do this")
