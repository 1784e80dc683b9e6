"""The client's leg until it is known who is there: start-up packets, TLS, settings, password.

A fresh link enters; a `Greeting` leaves, or the CancelRequest that came instead. Nothing is sent upstream here, no byte
that came before we answered is taken for one that came after, and no start-up parameter passes that is not on the list:
each is a setting, and a setting can change what every later statement means. AuthenticationOk is not sent either: the
caller sends it once PostgreSQL is ready, so that a client is never let in and then thrown out.

Sources: PostgreSQL 18, "Start-up", "SASL Authentication"; ProcessStartupPacket() in
src/backend/tcop/backend_startup.c, pg_split_opts() in src/backend/utils/init/postinit.c.
"""

import asyncio
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from struct import Struct

from pgnotary.errors import ClientProtocolError, NotAdmitted, NotAuthenticated, NotSupported, StatementError
from pgnotary.judge.settings import PINNED, REASON, Ruling, SettingChange, parse_boolean, ruling
from pgnotary.serve.attempts import Attempts
from pgnotary.serve.link import Link
from pgnotary.serve.listener import encrypt
from pgnotary.serve.scram import NONCE_BYTES, ScramServer, mock_verifier
from pgnotary.serve.tls import ServerTls, certificate_names
from pgnotary.verifier import parse_verifier
from pgnotary.wire.encodings import CLIENT_ENCODING, UTF8, Encoding, encoding_of
from pgnotary.wire.frames import FrameCutter, frontend_frames
from pgnotary.wire.messages import Diagnostic, authentication, error_response
from pgnotary.wire.startup import (
    PROTOCOL_3_0,
    PROTOCOL_3_2,
    CancelRequest,
    EncryptionRequest,
    StartupMessage,
    StartupPacket,
    parse_packet,
    startup_length,
)

__all__ = ["LOGIN_DEADLINE_S", "Greeting", "Users", "fatal", "greet"]

Users = Callable[[str], str | None]
"""From a user name to the verifier of its password, in PostgreSQL's form; None for an unknown user."""

# PostgreSQL's authentication_timeout.
LOGIN_DEADLINE_S = 60.0
# PG_MAX_SASL_MESSAGE_LENGTH in src/include/libpq/sasl.h.
_MAX_SASL_BYTES = 1_024

# The verifier of a password that nobody has.
_ANYBODY = f"SCRAM-SHA-256$4096:{'A' * 22}==${'A' * 43}=:{'A' * 43}="

_SASL, _SASL_CONTINUE, _SASL_FINAL = 10, 11, 12
_UINT32 = Struct("!I")
_INT32 = Struct("!i")

# They change how answers look and how long things may take, never what a text means or may do.
_PASSED_ON = frozenset(
    {
        "application_name",
        "client_min_messages",
        "datestyle",
        "extra_float_digits",
        "geqo",
        "idle_in_transaction_session_timeout",
        "intervalstyle",
        "lock_timeout",
        "search_path",
        "statement_timeout",
        "timezone",
        REASON,
    }
)
_FALSE = frozenset({"off", "false", "no", "0"})

_READ_ONLY = "default_transaction_read_only"
# As much of a foreign text as an error repeats; names of PostgreSQL are no longer.
_SHOWN = 63

# What isspace() is in the C locale.
_SPACE = " \t\n\v\f\r"
_ARGUMENT = re.compile(rf"(?:[^\\{_SPACE}]|\\.?)+", re.DOTALL)
_ESCAPED = re.compile(r"\\(.?)", re.DOTALL)
# What SplitIdentifierString() in src/backend/utils/adt/varlena.c accepts, and of that what can be read in one way only.
_SCHEMA = rf'[{_SPACE}]*(?:"(?:[^"]|"")+"|[^",{_SPACE}]+)[{_SPACE}]*'
_SEARCH_PATH = re.compile(rf"(?:{_SCHEMA}(?:,{_SCHEMA})*)?")
_ONE_SCHEMA = re.compile(_SCHEMA)


@dataclass(frozen=True, slots=True)
class Greeting:
    """Who has come, has proven it, and what they asked for. AuthenticationOk is still owed."""

    user: str
    database: str
    """The user's name if the client named none, as PostgreSQL has it."""
    parameters: Mapping[str, str]
    """Settings to open the upstream session with, names in lower case; never a pinned one."""
    protocol: int
    """The version word of the protocol that is spoken with them: PROTOCOL_3_0 or PROTOCOL_3_2."""
    read_only: bool
    """The client set default_transaction_read_only, which is ours upstream and virtual for the client."""
    encoding: Encoding = UTF8
    """The client's own client_encoding; upstream it is always UTF8."""
    certificate_names: frozenset[str] = frozenset()
    """What the verified certificate of the client says who it is; what that is worth, the caller decides."""

    @property
    def application_name(self) -> str:
        """What the client calls itself; it proves nothing."""
        return self.parameters.get("application_name", "")


def fatal(error: StatementError) -> bytes:
    """Return the ErrorResponse that ends a connection."""
    return error_response(Diagnostic("FATAL", error.sqlstate, error.message, error.detail, error.hint))


async def greet(
    link: Link,
    users: Users,
    mock_secret: bytes,
    attempts: Attempts,
    *,
    tls: ServerTls | None = None,
    deadline_s: float = LOGIN_DEADLINE_S,
) -> Greeting | CancelRequest:
    """Return who is at the other end of `link`, once they have proven it.

    A CancelRequest is returned as it came, and must not be answered. `mock_secret`, 32 random bytes that stay the same,
    makes unknown users look like known ones; `attempts` makes guesses wait. `tls` is what the client is shown if it
    asks, or has been shown already. Raises a StatementError, to be answered with `fatal`, for a client that cannot be
    let in or takes longer than `deadline_s`, and ConnectionError if it leaves, as psql does to ask for the password, or
    if its handshake fails. Sends nothing but what the exchange needs; closing the link is the caller's.
    """
    try:
        async with asyncio.timeout(deadline_s):
            packet = await _startup(link, tls)
            # In plain text too, and although TLS is required: libpq before 17 sends it so, and it holds no password.
            if isinstance(packet, CancelRequest):
                return packet
            if tls is not None and tls.required and link.tls is None:
                raise NotAdmitted(
                    "this connection is not encrypted, and has to be",
                    hint="Use sslmode=verify-full, or at least require.",
                )
            greeting = _read(packet, _spoken(packet))
            _negotiate(link, packet)
            await _authenticate(link, greeting.user, users, mock_secret, attempts, tls)
            return replace(greeting, certificate_names=certificate_names(link.tls)) if link.tls else greeting
    except TimeoutError as error:
        raise NotAuthenticated("canceling authentication due to timeout") from error


async def _startup(link: Link, tls: ServerTls | None) -> StartupMessage | CancelRequest:
    answered: set[str] = set()
    while isinstance(packet := await _packet(link), EncryptionRequest):
        if packet.kind in answered:
            raise ClientProtocolError(f"a second {packet.kind} encryption request on one connection")
        # CVE-2021-23214: what came in plain text before the answer must never be taken for what comes after it.
        if link.buffered_bytes:
            raise ClientProtocolError(
                f"received unencrypted data after {packet.kind} encryption request",
                detail="This could be a client software bug or evidence of an attempted man-in-the-middle attack.",
            )
        answered.add(packet.kind)
        if packet.kind == "ssl" and tls is not None and link.tls is None:
            await encrypt(link, tls)
        else:
            link.write(b"N")
    return packet


async def _packet(link: Link) -> StartupPacket:
    word = await link.read_exactly(4)
    return parse_packet(word + await link.read_exactly(startup_length(word) - 4))


def _spoken(startup: StartupMessage) -> int:
    """Return the newest version that both sides speak; PostgreSQL's own clients never ask for 3.1."""
    return PROTOCOL_3_2 if PROTOCOL_3_0 + startup.minor >= PROTOCOL_3_2 else PROTOCOL_3_0


def _negotiate(link: Link, startup: StartupMessage) -> None:
    extensions = [name for name in startup.parameters if name.startswith("_pq_.")]
    spoken = _spoken(startup)
    if spoken != PROTOCOL_3_0 + startup.minor or extensions:
        # NegotiateProtocolVersion. The documentation says "newest minor protocol version", the server sends, and libpq
        # expects, the whole version word.
        names = b"".join(name.encode() + b"\0" for name in extensions)
        body = _UINT32.pack(spoken) + _UINT32.pack(len(extensions)) + names
        link.write(b"v" + _UINT32.pack(len(body) + 4) + body)


def _read(startup: StartupMessage, protocol: int) -> Greeting:
    # PostgreSQL compares these few names exactly, and those of settings without regard to case.
    given = {name: value for name, value in startup.parameters.items() if not name.startswith("_pq_.")}
    user = given.pop("user", "")
    if not user:
        raise NotAuthenticated("no PostgreSQL user name specified in startup packet")
    database = given.pop("database", "") or user
    if given.pop("replication", "off").lower() not in _FALSE:
        raise NotSupported(
            'start-up parameter "replication" is not supported',
            hint="Connect to PostgreSQL directly: what a replication connection may do cannot be judged here.",
        )
    options = _read_options(_split_options(given.pop("options", "")))
    # As in process_startup_options(): what has a key of its own is set later than what is in `options`, and wins.
    parameters, own = _read_settings([*options, *given.items()])
    encoding = encoding_of(own[CLIENT_ENCODING]) if CLIENT_ENCODING in own else UTF8
    return Greeting(user, database, parameters, protocol, parse_boolean(own.get(_READ_ONLY, "")) is True, encoding)


def _split_options(text: str) -> Iterator[str]:
    """Yield the arguments in `options`: white space ends one, a backslash takes the next character as it is."""
    for match in _ARGUMENT.finditer(text):
        yield _ESCAPED.sub(r"\1", match[0])


def _read_options(arguments: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield name and value of `-c name=value`, `-cname=value` and `--name=value`; refuse all other arguments."""
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "-c":
            setting = next(remaining, "")
        elif argument.startswith(("-c", "--")):
            setting = argument[2:]
        else:
            setting = ""
        name, equals, value = setting.partition("=")
        if not equals:
            raise NotSupported(
                f'argument "{argument[:_SHOWN]}" in start-up parameter "options" is not supported',
                hint="Only -c name=value and --name=value are read.",
            )
        # ParseLongOption() in src/backend/utils/misc/guc.c
        yield name.replace("-", "_"), value


def _read_settings(given: Iterable[tuple[str, str]]) -> tuple[dict[str, str], dict[str, str]]:
    """Return what is passed on, and what the client has of its own; raises StatementError for what cannot be set."""
    passed_on: dict[str, str] = {}
    own: dict[str, str] = {}
    for spelled, value in given:
        name = spelled.lower() if spelled.isascii() else spelled
        if name not in _PASSED_ON and name not in PINNED:
            raise NotSupported(
                f'start-up parameter "{spelled[:_SHOWN]}" is not supported',
                hint="Leave it out, or SET it after the login, where it is judged like any statement.",
            )
        hint = _objection(name, value)
        if hint:
            raise NotSupported(f'start-up parameter "{name}" cannot be "{value[:_SHOWN]}"', hint=hint)
        if name in _PASSED_ON:
            passed_on[name] = value
        else:
            own[name] = value
    return passed_on, own


def _objection(name: str, value: str) -> str:
    """Return what to do instead, or "" if the setting may have this value."""
    if name == CLIENT_ENCODING:
        encoding_of(value)
        return ""
    if name == "search_path":
        schemas = tuple(_schema(match[0]) for match in _ONE_SCHEMA.finditer(value))
        good = _SEARCH_PATH.fullmatch(value) is not None and _is_free(name, schemas)
        return "" if good else "Name pg_catalog first or not at all: nothing may stand before the built-in functions."
    if name == _READ_ONLY:
        return "" if parse_boolean(value) is not None else "It is on or off."
    if name in PINNED:
        return "" if _is_free(name, (value,)) else f"Leave it out: every session has {name} = {PINNED[name]}."
    return ""


def _is_free(name: str, values: tuple[str, ...]) -> bool:
    return ruling(SettingChange(name, values)) is Ruling.FREE


def _schema(text: str) -> str:
    name = text.strip(_SPACE)
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


async def _authenticate(
    link: Link, user: str, users: Users, mock_secret: bytes, attempts: Attempts, tls: ServerTls | None
) -> None:
    known, mock = users(user), mock_verifier(user, mock_secret)
    # Read for an unknown user, too: the time that it takes would tell them from a known one.
    parsed = parse_verifier(_ANYBODY if known is None else known)
    verifier = mock if known is None else parsed
    end_point = tls.end_point if tls is not None and link.tls is not None else None
    server = ScramServer(user, verifier, secrets.token_urlsafe(NONCE_BYTES), end_point)
    cutter = frontend_frames(_MAX_SASL_BYTES)
    link.write(authentication(_SASL, b"".join(name.encode() + b"\0" for name in server.mechanisms) + b"\0"))
    mechanism, first = _initial_response(await _response(link, cutter), server.mechanisms)
    link.write(authentication(_SASL_CONTINUE, server.challenge(first, mechanism)))
    proof = await _response(link, cutter)
    await attempts.turn(link.address, user, lambda: link.gone_already)
    try:
        final = server.verify(proof)
    except NotAuthenticated:
        attempts.failed(link.address, user)
        raise
    link.write(authentication(_SASL_FINAL, final))


async def _response(link: Link, cutter: FrameCutter) -> bytes:
    frame = await link.read_frame(cutter)
    if frame.type != b"p":
        raise ClientProtocolError(f"expected SASL response, got message type {frame.type!r}")
    return frame.body


def _initial_response(body: bytes, offered: tuple[str, ...]) -> tuple[str, bytes]:
    """Return the mechanism that was chosen, and the first message of it."""
    chosen, _, rest = body.partition(b"\0")
    mechanism = next((name for name in offered if name.encode() == chosen), None)
    if mechanism is None:
        raise ClientProtocolError(
            f"client selected an invalid SASL authentication mechanism, expected {' or '.join(offered)}"
        )
    # A length of -1 is legal, for mechanisms in which the server speaks first; in SCRAM it never does.
    if len(rest) < 4 or _INT32.unpack_from(rest)[0] != len(rest) - 4:
        raise ClientProtocolError("malformed SASLInitialResponse: its response must fill the message")
    return mechanism, rest[4:]
