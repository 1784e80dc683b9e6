"""The upstream leg: one login to PostgreSQL, and the proof that it is PostgreSQL and keeps what we asked for.

An address, a role and settings enter; an `Upstream` leaves, authenticated, idle, with every pinned setting seen to be
in force and its process seen to be the one that cancels will name. A pooler in between fails both, and is refused: it
would give our session to others. The server's bytes are hostile until they are read: each message is bounded, each
field may be missing, and neither the password nor anything made from it appears in an error.

Without TLS only loopback and Unix sockets are dialled, since a password proof could be relayed and a session read. With
it, nothing is said and nothing believed before the server has shown a certificate for the name that was dialled: a
server that answers `N` is refused, and an error in plain text is not repeated, for anybody in between could write it.
The login is bound to that certificate (SCRAM-SHA-256-PLUS) whenever the server offers it.

Sources: PostgreSQL 18, "Start-up", "Canceling Requests in Progress", "Message Formats".
"""

import asyncio
import ipaddress
import secrets
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from pgnotary.errors import ConfigError, UpstreamProtocolError, UpstreamRefused
from pgnotary.judge.settings import PINNED
from pgnotary.serve.link import Link
from pgnotary.serve.scram import MECHANISM_PLUS, NONCE_BYTES, ScramClient
from pgnotary.serve.tls import end_point
from pgnotary.verifier import MECHANISM
from pgnotary.wire.frames import Frame, FrameCutter
from pgnotary.wire.messages import (
    data_row,
    diagnostic,
    parse_parameter_status,
    query,
    sasl_initial_response,
    sasl_response,
)
from pgnotary.wire.startup import encode_cancel, encode_startup

__all__ = ["CANCEL_DEADLINE_S", "Upstream", "UpstreamAddress", "ask", "cancel", "dial"]

CANCEL_DEADLINE_S = 5.0

# MAX_ERRLEN in libpq's fe-connect.c: no message of a login is longer.
_MAX_MESSAGE_BYTES = 30_000
# A login takes some thirty; notices of a login trigger may add to them.
_MAX_MESSAGES = 1_000
# As much of the server's own words as an error repeats.
_MAX_TEXT = 1_000

_OK, _CLEARTEXT, _MD5, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 5, 10, 11, 12
_METHODS = {2: "Kerberos", _CLEARTEXT: "a clear-text password", _MD5: "an MD5 password", 7: "GSSAPI", 9: "SSPI"}

_INSUFFICIENT_PRIVILEGE = "42501"
_READ_ONLY = "default_transaction_read_only"
# The first that reports its read-only setting, without which nobody would know that a session has left it.
_OLDEST_MAJOR = 14
_SYSTEM_IDENTIFIER = "SELECT system_identifier FROM pg_catalog.pg_control_system()"
# SSLRequest
_SSL_REQUEST = (8).to_bytes(4, "big") + (80_877_103).to_bytes(4, "big")
_POOLER = "Is this a pooler? Connect pgnotary to PostgreSQL directly."


@dataclass(frozen=True, slots=True)
class UpstreamAddress:
    """Where PostgreSQL listens."""

    host: str
    """A name, an address, or the absolute path of the folder of its Unix socket, as in libpq."""
    port: int
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    """Verifies its certificate; None: plain text, and `host` must be a Unix socket or loopback."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Upstream:
    """One session with PostgreSQL: ready, outside any transaction, no receiver attached yet."""

    link: Link
    pid: int
    """The server process, as it named itself and as its statements see it."""
    secret: bytes = field(repr=False)
    parameter_status: Mapping[str, str]
    """The last of each that the server has reported."""
    system_identifier: str
    """Names the cluster for its whole life; "" if the role may not ask."""
    address: UpstreamAddress


async def dial(
    address: UpstreamAddress,
    role: str,
    password: str | None,
    database: str,
    parameters: Mapping[str, str],
    *,
    deadline_s: float,
) -> Upstream:
    """Return a session of `role` in `database` that is fit to stand behind pgnotary.

    `parameters` are settings to open it with; the pinned ones come on top of them and win. Raises ConfigError for an
    address that is neither local nor verified, UpstreamProtocolError for nonsense, and UpstreamRefused for all else:
    not reachable, not let in, not in time, a pooler, older than PostgreSQL 14, with a certificate that is not good.
    After any error the connection is closed.
    """
    startup = encode_startup({**parameters, "user": role, "database": database, **PINNED})
    try:
        async with asyncio.timeout(deadline_s):
            link = await _connect(address)
            try:
                link.write(startup)
                return await _Login(link, address).run(password)
            except BaseException:
                link.abort()
                raise
    except TimeoutError as error:
        raise UpstreamRefused(f"PostgreSQL at {address} did not let us in within {deadline_s:g} s") from error
    except ConnectionResetError as error:
        raise UpstreamRefused(f"PostgreSQL at {address} closed the connection during the login") from error
    except OSError as error:
        raise UpstreamRefused(f"PostgreSQL at {address} cannot be reached: {error.strerror or error}") from error


async def ask(upstream: Upstream, sql: str) -> list[str]:
    """Return the first value of each row, "" for NULL; only before a receiver is attached. Raises UpstreamRefused."""
    return await _Login(upstream.link, upstream.address).ask(sql)


async def cancel(address: UpstreamAddress, pid: int, secret: bytes) -> None:
    """Ask PostgreSQL to cancel what a session runs, and return when the request can hit nothing later any more.

    The server closes the connection once it has signalled the session. Raises UpstreamRefused if that took longer than
    CANCEL_DEADLINE_S, or the server could not be reached: then it may still hit, or never.
    """
    try:
        async with asyncio.timeout(CANCEL_DEADLINE_S):
            link = await _connect(address)
            try:
                link.write(encode_cancel(pid, secret))
                await link.read_exactly(1)
                raise UpstreamProtocolError("the server answered a cancel request, which has no answer")
            except ConnectionResetError:
                return
            finally:
                link.abort()
    except TimeoutError as error:
        raise UpstreamRefused(f"PostgreSQL at {address} took no cancel request in {CANCEL_DEADLINE_S:g} s") from error
    except OSError as error:
        raise UpstreamRefused(f"PostgreSQL at {address} cannot be reached: {error.strerror or error}") from error


async def _connect(address: UpstreamAddress) -> Link:
    loop = asyncio.get_running_loop()
    if address.host.startswith("/"):
        path = f"{address.host}/.s.PGSQL.{address.port}"
        _, link = await loop.create_unix_connection(Link, path)
        return link
    if address.tls is None and not _is_loopback(address.host):
        raise ConfigError(
            f"upstream {address} is not local: "
            "without TLS only loopback addresses and folders of Unix sockets are dialled"
        )
    _, link = await loop.create_connection(Link, address.host, address.port)
    if address.tls is not None:
        try:
            await _encrypt(link, address, address.tls)
        except BaseException:
            link.abort()
            raise
    return link


async def _encrypt(link: Link, address: UpstreamAddress, context: ssl.SSLContext) -> None:
    link.write(_SSL_REQUEST)
    answer = await link.read_exactly(1)
    if answer == b"N":
        raise UpstreamRefused(
            f"PostgreSQL at {address} does not carry TLS, which upstream.tls demands",
            hint="Set ssl = on in its postgresql.conf, with a certificate for the name that is dialled.",
        )
    if answer != b"S":
        # Its error, if it is one, comes from nobody that we know: libpq does not show it either (CVE-2024-10977).
        raise UpstreamProtocolError(f"expected S or N in answer to an SSLRequest, got {answer!r}")
    # CVE-2021-23222: what came in plain text must never be taken for what comes encrypted.
    if link.buffered_bytes:
        raise UpstreamProtocolError("received unencrypted data after the answer to an SSLRequest")
    try:
        await link.start_tls(context, server_hostname=address.host)
    except ssl.SSLCertVerificationError as error:
        raise UpstreamRefused(
            f"PostgreSQL at {address} shows a certificate that is not good for it: {_clean(error.verify_message)}",
            hint="upstream.ca_file names the authorities that are trusted; the certificate must have the dialled name.",
        ) from error
    except ssl.SSLError as error:
        raise UpstreamRefused(f"PostgreSQL at {address}: the TLS handshake failed: {_clean(str(error))}") from error


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Login:
    """What is known of one login so far."""

    def __init__(self, link: Link, address: UpstreamAddress) -> None:
        self._link = link
        self._address = address
        self._cutter = FrameCutter(dict.fromkeys(b"RSKZNAETDCI", _MAX_MESSAGE_BYTES), UpstreamProtocolError)
        self._messages = 0
        self._status: dict[str, str] = {}

    async def run(self, password: str | None) -> Upstream:
        """Go through the whole login."""
        await self._authenticate(password)
        pid, secret = await self._until_ready()
        if _READ_ONLY not in self._status:
            # Older servers do not report it either, but poolers that hide it say the version of a newer one.
            reported = self._status.get("server_version", "")
            number = reported.partition(".")[0]
            if _is_number(number) and int(number) < _OLDEST_MAJOR:
                raise self._too_old(reported)
            raise UpstreamRefused(
                f"the server at {self._address} does not report {_READ_ONLY}: "
                f"PostgreSQL {_OLDEST_MAJOR} or later is needed",
                hint=_POOLER,
            )
        if (encoding := self._status.get("server_encoding")) != "UTF8":
            raise UpstreamRefused(
                f"the database is encoded in {_clean(encoding or 'no known way')}: only UTF8 is carried",
                hint="In another encoding the server reads names in a way that cannot be judged here.",
            )
        await self._verify(pid)
        system_identifier = await self._system_identifier()
        return Upstream(self._link, pid, secret, self._status, system_identifier, self._address)

    async def _next(self) -> Frame:
        """Return the next message that is not asynchronous; those may come at any time."""
        while True:
            self._messages += 1
            if self._messages > _MAX_MESSAGES:
                raise UpstreamProtocolError(f"the login is not done after {_MAX_MESSAGES} messages")
            frame = await self._link.read_frame(self._cutter)
            match frame.type:
                case b"S":
                    name, value = parse_parameter_status(frame.body)
                    # Most sessions are told the same: it is kept once for all of them.
                    self._status[sys.intern(name)] = sys.intern(value)
                case b"N" | b"A":
                    pass
                case _:
                    return frame

    async def _authenticate(self, password: str | None) -> None:
        code, payload = await self._authentication()
        if code == _OK:
            return
        if code != _SASL:
            method = _METHODS.get(code, f"authentication method {code}")
            raise UpstreamRefused(
                f"PostgreSQL at {self._address} asks for {method}, only {MECHANISM} and trust are spoken",
                hint="Set password_encryption = 'scram-sha-256', set the role's password anew, say so in pg_hba.conf.",
            )
        offered = payload.split(b"\0")
        bound = self._end_point()
        mechanism = MECHANISM_PLUS if bound and MECHANISM_PLUS.encode() in offered else MECHANISM
        if mechanism.encode() not in offered:
            raise UpstreamRefused(f"PostgreSQL at {self._address} does not offer {MECHANISM}")
        if not password:
            raise UpstreamRefused(f"PostgreSQL at {self._address} asks for a password and none is configured")
        nonce = secrets.token_urlsafe(NONCE_BYTES)
        if mechanism == MECHANISM_PLUS:
            client = ScramClient(password, nonce, end_point=bound)
        else:
            client = ScramClient(password, nonce, could_bind=bool(bound))
        self._link.write(sasl_initial_response(mechanism, client.first()))
        challenge = await self._expect(_SASL_CONTINUE)
        self._link.write(sasl_response(await asyncio.to_thread(client.final, challenge)))
        # Nothing is said to a server that has not proven that it knows the password's verifier.
        client.check(await self._expect(_SASL_FINAL))
        await self._expect(_OK)

    def _end_point(self) -> bytes:
        """Return what a login can be bound to; b"" if there is no TLS, or the certificate allows no binding."""
        shown = self._link.tls.getpeercert(binary_form=True) if self._link.tls is not None else None
        return (end_point(shown) or b"") if shown else b""

    async def _authentication(self) -> tuple[int, bytes]:
        frame = await self._next()
        if frame.type == b"E":
            raise self._refusal(frame)
        if frame.type != b"R" or len(frame.body) < 4:
            raise UpstreamProtocolError(f"expected an authentication request, got {_named(frame)}")
        return int.from_bytes(frame.body[:4], "big"), frame.body[4:]

    async def _expect(self, expected: int) -> bytes:
        code, payload = await self._authentication()
        if code != expected:
            raise UpstreamProtocolError(f"expected authentication request {expected}, got {code}")
        return payload

    async def _until_ready(self) -> tuple[int, bytes]:
        key = b""
        while (frame := await self._next()).type != b"Z":
            if frame.type == b"E":
                raise self._refusal(frame)
            # A secret has 4 bytes in protocol 3.0, and up to 256 in 3.2.
            if frame.type != b"K" or key or not 8 <= len(frame.body) <= 4 + 256:
                raise UpstreamProtocolError(f"expected BackendKeyData or ReadyForQuery, got {_named(frame)}")
            key = frame.body
        _check_idle(frame)
        if not key:
            raise UpstreamRefused(f"the server at {self._address} gives no key to cancel statements with", hint=_POOLER)
        return int.from_bytes(key[:4], "big"), key[4:]

    async def _verify(self, pid: int) -> None:
        """Have the server show that its settings, its process and its version are what they should be."""
        shows = [f"SHOW {name}" for name in PINNED]
        # One message, so that what shows the settings is what names its process.
        values = await self._ask("; ".join([*shows, "SELECT pg_catalog.pg_backend_pid()", "SHOW server_version_num"]))
        if values is None or len(values) != len(shows) + 2:
            raise UpstreamProtocolError(f"{len(shows) + 2} questions got {len(values or ())} answers")
        *shown, own_pid, version = values
        for (name, wanted), found in zip(PINNED.items(), shown, strict=True):
            if found != wanted:
                raise UpstreamRefused(
                    f"the session at {self._address} was opened with {name} = {wanted} and has {_clean(found)}",
                    hint=_POOLER,
                )
        if own_pid != str(pid):
            raise UpstreamRefused(
                f"the server at {self._address} said it was process {pid}, and statements run in {_clean(own_pid)}",
                hint=_POOLER,
            )
        if not _is_number(version):
            raise UpstreamProtocolError(f"server_version_num is {_clean(version)!r}")
        if int(version) < _OLDEST_MAJOR * 10_000:
            raise self._too_old(f"{int(version) // 10_000}.{int(version) % 10_000}")

    def _too_old(self, found: str) -> UpstreamRefused:
        return UpstreamRefused(
            f"the server at {self._address} is PostgreSQL {_clean(found)}: "
            f"PostgreSQL {_OLDEST_MAJOR} or later is needed",
            hint=f"Upgrade this server to PostgreSQL {_OLDEST_MAJOR} or later, or connect pgnotary to one that is.",
        )

    async def _system_identifier(self) -> str:
        values = await self._ask(_SYSTEM_IDENTIFIER, or_denied=True)
        if values is None:
            return ""
        if len(values) != 1 or not _is_number(values[0]):
            raise UpstreamProtocolError(f"expected one system identifier, got {_clean(str(values))}")
        return values[0]

    async def ask(self, sql: str) -> list[str]:
        """Return the first value of each row."""
        return await self._ask(sql) or []

    async def _ask(self, sql: str, *, or_denied: bool = False) -> list[str] | None:
        """Return the first value of each row, or None if the role may not ask and that is no reason to fail."""
        self._link.write(query(sql.encode()))
        denied = False
        values: list[str] = []
        while (frame := await self._next()).type != b"Z":
            match frame.type:
                case b"D":
                    row = data_row(frame.body)
                    values.append((row[0] if row else None) or "")
                case b"E":
                    denied = or_denied and diagnostic(frame.body).sqlstate == _INSUFFICIENT_PRIVILEGE
                    if not denied:
                        raise self._refusal(frame)
                case b"T" | b"C":
                    pass
                case _:
                    raise UpstreamProtocolError(f"unexpected {_named(frame)} in the answer to a query")
        _check_idle(frame)
        return None if denied else values

    def _refusal(self, frame: Frame) -> UpstreamRefused:
        said = diagnostic(frame.body)
        return UpstreamRefused(
            f"PostgreSQL at {self._address} refused: {_clean(said.message) or 'it does not say why'}",
            detail=f"SQLSTATE {_clean(said.sqlstate) or 'missing'}",
            hint=_clean(said.hint),
        )


def _check_idle(frame: Frame) -> None:
    if frame.body != b"I":
        raise UpstreamProtocolError(f"ReadyForQuery says {frame.body[:8]!r} outside any transaction")


def _named(frame: Frame) -> str:
    return f"message {frame.type!r} of {len(frame.body)} bytes"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 20


def _clean(text: str) -> str:
    """Return what may be shown on a terminal: one line, bounded."""
    return "".join(c if c.isprintable() else " " for c in text[:_MAX_TEXT])
