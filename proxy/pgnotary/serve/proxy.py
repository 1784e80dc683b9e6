"""The proxy: accepts clients, logs them in, connects each to a PostgreSQL session of its own.

Connections enter; each becomes one `Conversation`, one cancel, or one error. A client is told that it is in only after
PostgreSQL is ready and the ledger holds that it came: who cannot be recorded is not let in.
"""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import cast

from pgnotary.config import Address, Config, User
from pgnotary.errors import (
    ConfigError,
    LedgerUnavailable,
    NotAdmitted,
    NotAuthenticated,
    PgnotaryError,
    ShuttingDown,
    StatementError,
    UpstreamProtocolError,
    UpstreamRefused,
)
from pgnotary.judge.secret_values import words_masked
from pgnotary.judge.settings import READ_ONLY_BY_DEFAULT
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, EntryType, Receipt
from pgnotary.ports import accepting, bind
from pgnotary.request.roster import Roster
from pgnotary.serve.attempts import Attempts
from pgnotary.serve.conversation import Conversation, now
from pgnotary.serve.desk import Desk
from pgnotary.serve.greeting import Greeting, fatal, greet
from pgnotary.serve.link import Link
from pgnotary.serve.listener import arrive
from pgnotary.serve.looks import Looks
from pgnotary.serve.tls import ServerTls
from pgnotary.serve.turns import Turns
from pgnotary.serve.upstream import Upstream, UpstreamAddress, dial
from pgnotary.serve.verdicts import Verdicts
from pgnotary.serve.workers import Workers
from pgnotary.session import events
from pgnotary.session.core import Session
from pgnotary.session.forwarded import ForwardLog
from pgnotary.session.places import Places
from pgnotary.session.prepared_transactions import PreparedTransactions
from pgnotary.session.state import Identity, Rules, SessionState, SharedCatalog
from pgnotary.store import Append
from pgnotary.store.appender import Appender
from pgnotary.wire import messages
from pgnotary.wire.encodings import CLIENT_ENCODING
from pgnotary.wire.startup import PROTOCOL_3_0, PROTOCOL_3_2, CancelRequest

__all__ = ["Proxy"]

log = logging.getLogger(__name__)

# PostgreSQL's authentication_timeout is 60 s; connecting upstream gets its share of it.
_DIAL_DEADLINE_S = 15.0
_TICK_S = 1.0
# Of our own cancel keys; 3.2 allows 256, PostgreSQL 18 takes as many as this.
_SECRET_BYTES = {PROTOCOL_3_0: 4, PROTOCOL_3_2: 32}
# How long who was not let in may take to read why.
_FAREWELL_S = 2.0
# How long what is queued for a slow reader may take once a session has ended, and TLS to say farewell.
_LINGER_S = 5.0
# How long SIGTERM waits for what is executing.
_DRAIN_S = 30.0
# And how long a session may take to write down what it could not wait for.
_RECORD_S = 5.0


class Proxy:
    """Everything that one `pgnotary serve` does for clients."""

    def __init__(
        self,
        config: Config,
        appender: Appender,
        desk: Desk,
        roster: Callable[[], Roster],
        mint: Callable[[], str],
        workers: Workers,
        certificate: Callable[[], ServerTls | None],
        upstream: UpstreamAddress,
        prepared: PreparedTransactions,
    ) -> None:
        self._config = config
        self._certificate = certificate
        self._upstream = upstream
        self._prepared = prepared
        self._appender = appender
        self._desk = desk
        self._mint = mint
        # The same after a restart: a salt that changes would tell an unknown user from a known one.
        self._mock_secret = hashlib.sha256(b"pgnotary/mock-salt/0\n" + config.key().seed).digest()
        self._running: dict[tuple[int, bytes], Conversation] = {}
        self._users: dict[tuple[int, bytes], User] = {}
        """Who they were when they came."""
        self._admitted = 0
        """How many clients have a place of `max_clients`, from their password to their end."""
        self._logins: set[asyncio.Task[None]] = set()
        self._left = asyncio.Event()
        """A conversation has ended."""
        self._stopping = False
        policy = config.file.policy
        self._roster = roster
        self._rules = _rules(config, roster)
        self._places = Places(policy.max_held_per_person, policy.max_held)
        appender.watch(self._ledger_changed)
        self._verdicts = Verdicts(config.policy, workers.read, Turns())
        self._looks = Looks()
        self._generation = 0
        self._catalogs: dict[str, SharedCatalog] = {}
        self._attempts = Attempts(time.monotonic)
        appender.follow(self._witness)

    def adopt(self, config: Config) -> None:
        """Go on under other people and rules: what begins from now on is judged by them, what waits keeps its own.

        Who is not a user any more, or has another role or is another person, is sent away.
        """
        if config.policy.digest != self._rules.policy.digest:
            self._prepared.doubt()
        self._config, self._rules = config, _rules(config, self._roster)
        self._verdicts = self._verdicts.under(config.policy)
        self._places.limit(config.file.policy.max_held_per_person, config.file.policy.max_held)
        for shared in self._catalogs.values():
            shared.forget_reads()
        for key, conversation in list(self._running.items()):
            conversation.feed(events.RulesChanged(self._rules, self._verdicts))
            if not self._is_still(self._users[key]):
                conversation.feed(events.Shutdown("its user is not in the configuration any more as it was"))

    def _is_still(self, user: User) -> bool:
        """Say whether somebody who has logged in would still come in as the same."""
        now = self._config.user(user.name)
        return now is not None and (now.role, now.person, now.certificate) == (user.role, user.person, user.certificate)

    @property
    def stopping(self) -> bool:
        """Whether nobody is let in any more."""
        return self._stopping

    def load(self) -> tuple[int, int]:
        """Return how many sessions are open, and how many statements wait for a decision."""
        return len(self._running), len(self._places)

    def _witness(self, receipts: Sequence[Receipt]) -> None:
        """Learn from entries that something signed has run: it may have made a function, so catalogs are old."""
        self._generation += any(receipt.entry.type in (EntryType.EXECUTED, EntryType.OUTCOME) for receipt in receipts)

    def _changed(self) -> None:
        """Learn from a session that something forwarded may have changed the catalog."""
        self._generation += 1

    def _ledger_changed(self, down: LedgerUnavailable | None) -> None:
        log.warning("ledger is %s", f"down: {down}" if down else "back")
        for conversation in list(self._running.values()):
            conversation.feed(events.LedgerState(down))

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Address]:
        """Accept clients until left; yields the address that was bound. Leaving drains: what executes may finish."""
        async with asyncio.TaskGroup() as tasks:
            ticker = tasks.create_task(self._tick(), name="tick")
            try:
                listeners = await self._bind()
                async with accepting(listeners, lambda plug: tasks.create_task(self._accepted(plug), name="client")):
                    yield _bound(listeners[0])
            finally:
                self._stopping = True
                # Who is not in yet does not come in any more.
                for login in self._logins:
                    login.cancel()
                await self._drain()
                ticker.cancel()

    async def _bind(self) -> list[socket.socket]:
        address = self._config.listen
        try:
            return await bind(address.host, address.port)
        except OSError as error:
            why = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
            raise ConfigError(
                f"{self._config.path}: listen.address: cannot listen at {address.host} port {address.port}: {why}; "
                "stop what listens there, or choose another port"
            ) from error

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            for conversation in list(self._running.values()):
                conversation.feed(events.Tick())

    async def _drain(self) -> None:
        # What still runs then is cut off from its server, so that its session can say so in the record.
        for event, patience_s in ((events.Shutdown(), _DRAIN_S), (events.UpstreamGone(), _RECORD_S)):
            for conversation in list(self._running.values()):
                conversation.feed(event)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    while self._running:
                        self._left.clear()
                        await self._left.wait()
        for conversation in list(self._running.values()):
            conversation.abort()

    async def _accepted(self, plug: socket.socket) -> None:
        """Take a connection as it comes, and serve it."""
        task = cast("asyncio.Task[None]", asyncio.current_task())
        patience_s = self._config.file.listen.login_deadline_s
        deadline = asyncio.get_running_loop().time() + patience_s
        self._logins.add(task)
        task.add_done_callback(self._logins.discard)
        crowded = len(self._logins) > self._config.file.listen.max_logins
        # Too many are told so at once: nobody waits for what they would say first.
        tls = None if crowded else self._certificate()
        try:
            link = await arrive(plug, tls, deadline_s=patience_s)
        except OSError as error:
            log.debug("client left before it was in", extra={"why": str(error)})
            return
        except Exception:
            log.exception("connection failed")
            return
        try:
            await self._client(link, tls, task, crowded=crowded, deadline=deadline)
        except Exception:
            # What fails here failed while it dealt with a failure: it ends this connection, and never the others.
            log.exception("connection failed twice")
            link.abort()

    async def _client(
        self, link: Link, tls: ServerTls | None, task: asyncio.Task[None], *, crowded: bool, deadline: float
    ) -> None:
        """Serve one connection from its first byte to its last; nothing it does can end another's.

        One that came `crowded` is refused whatever has happened since: without `tls` it would be let in without it.
        `deadline`: of its login, by the loop's clock.
        """
        try:
            if crowded:
                raise _TooManyClients("too many connections are logging in (listen.max_logins)")
            left_s = max(deadline - asyncio.get_running_loop().time(), 0.0)
            await self._serve(link, tls, left_s, lambda: self._logins.discard(task))
        except UpstreamRefused as error:
            _tell(link, "PostgreSQL does not let us in", error, logging.WARNING)
        except UpstreamProtocolError as error:
            refused = UpstreamRefused(f"the server broke the protocol: {error}")
            _tell(link, "PostgreSQL broke the protocol", refused, logging.WARNING)
        except StatementError as error:
            _tell(link, "login refused", error, logging.INFO)
        except ConnectionError as error:
            # A health check, or psql that goes to ask for the password: nobody is there to be told.
            log.debug("client left before it was in", extra={"client": link.peer, "why": str(error)})
        except (PgnotaryError, OSError) as error:
            log.warning("client cannot be served", extra={"client": link.peer, "why": str(error)})
            link.write(fatal(UpstreamRefused("pgnotary cannot serve this connection; its log says why")))
        except Exception:
            # Anything else is our own fault: this connection ends, the others go on.
            log.exception("connection failed", extra={"client": link.peer})
            link.write(fatal(UpstreamRefused("pgnotary failed on this connection; its log says why")))
        finally:
            link.close(_LINGER_S)
            if task in self._logins:
                # Counted until it is gone: nobody who has not logged in holds more descriptors than logins may.
                await link.gone(_FAREWELL_S)

    async def _serve(self, link: Link, tls: ServerTls | None, deadline_s: float, logged_in: Callable[[], None]) -> None:
        greeting = await greet(link, self._verifier, self._mock_secret, self._attempts, tls=tls, deadline_s=deadline_s)
        if isinstance(greeting, CancelRequest):
            self._cancel(greeting)
            return
        if self._admitted >= (most := self._config.file.listen.max_clients):
            raise _TooManyClients(f"pgnotary carries {most} clients already, at most it may (listen.max_clients)")
        user = self._config.user(greeting.user)
        if user is None:
            raise NotAuthenticated(f'password authentication failed for user "{greeting.user}"')
        # Said only now, to somebody who has proven the password: before, it would tell who is a user here.
        if user.certificate and user.certificate not in greeting.certificate_names:
            raise NotAdmitted(
                f'certificate authentication failed for user "{greeting.user}"',
                detail=f"The certificate names {', '.join(sorted(greeting.certificate_names)) or 'nobody'}.",
                hint="Set sslcert and sslkey to the certificate that is registered for this user.",
            )
        # Taken before the server is asked for a session: others come meanwhile.
        self._admitted += 1
        try:
            upstream = await self._dial(greeting, user)
            try:
                await self._converse(link, greeting, user, upstream, logged_in)
            finally:
                upstream.link.close(_LINGER_S)
        finally:
            self._admitted -= 1

    def _verifier(self, name: str) -> str | None:
        user = self._config.user(name)
        return user.verifier if user else None

    async def _dial(self, greeting: Greeting, user: User) -> Upstream:
        allowed = self._config.file.upstream.databases
        if allowed and greeting.database not in allowed:
            raise NotAuthenticated(
                f'database "{greeting.database}" is not carried by pgnotary', hint="Carried: " + ", ".join(allowed)
            )
        application = f"pgnotary/{user.name}/{greeting.application_name}"[:63]
        parameters = {**greeting.parameters, "application_name": application}
        return await dial(
            self._upstream,
            user.role,
            self._config.password(user.role),
            greeting.database,
            parameters,
            deadline_s=_DIAL_DEADLINE_S,
        )

    async def _converse(
        self, link: Link, greeting: Greeting, user: User, upstream: Upstream, logged_in: Callable[[], None]
    ) -> None:
        who = Identity(
            # 64 bits: with 32 one in a hundred ledgers of ten thousand sessions would have two of one name.
            session=f"S-{secrets.token_hex(8)}",
            user=user.name,
            person=user.person or user.name,
            database=greeting.database,
            application=greeting.application_name,
            client=link.peer,
            upstream_pid=upstream.pid,
            system_identifier=upstream.system_identifier,
            standby=upstream.parameter_status.get("in_hot_standby") == "on",
            read_only_by_default=greeting.read_only,
            encoding=greeting.encoding,
        )
        await self._appender.append(Append(_opened(who, user, upstream)))
        log = ForwardLog(who.session)
        state = SessionState(
            who,
            self._rules,
            self._verdicts,
            self._mint,
            now(),
            log,
            lambda: self._generation,
            self._changed,
            self._places,
            self._prepared,
            self._catalogs.setdefault(who.database, SharedCatalog()),
        )
        if (path := upstream.parameter_status.get("search_path")) is not None:
            state.path_told = state.path_reported = messages.parameter_status("search_path", path)
        conversation = Conversation(
            Session(state), link, upstream, self._desk, self._appender, self._verdicts.read, self._looks
        )
        # The real pid, so that pg_backend_pid() and notifications agree with it; a secret of our own.
        key = (upstream.pid, secrets.token_bytes(_SECRET_BYTES[greeting.protocol]))
        # From one to the other without a pause: who stops us finds every connection in one of the two.
        if self._stopping:
            raise ShuttingDown("pgnotary is stopping")
        if not self._is_still(user):
            raise NotAuthenticated(f'password authentication failed for user "{user.name}"')
        self._running[key], self._users[key] = conversation, user
        logged_in()
        try:
            link.write(_welcome(greeting, upstream, key[1]))
            await conversation.run()
        finally:
            # A session that was aborted never came to the end of its hold.
            self._places.leave(who.session)
            del self._running[key], self._users[key]
            self._left.set()

    def _cancel(self, request: CancelRequest) -> None:
        for (pid, secret), conversation in self._running.items():
            if pid == request.pid and hmac.compare_digest(secret, request.secret):
                conversation.feed(events.CancelRequested())
                return


def _rules(config: Config, roster: Callable[[], Roster]) -> Rules:
    policy = config.file.policy
    return Rules(
        policy=config.policy,
        reminder_s=policy.reminder_s,
        preview_timeout_ms=policy.preview_timeout_ms,
        mask=config.masks,
        queue_bytes=policy.queue_bytes,
        roster=roster,
    )


class _TooManyClients(StatementError):
    sqlstate = "53300"


def _tell(link: Link, event: str, error: StatementError, level: int) -> None:
    """Tell client and log why a connection ends."""
    fields = {"client": link.peer, "sqlstate": error.sqlstate, "why": error.message, "detail": error.detail}
    log.log(level, event, extra={name: value for name, value in fields.items() if value})
    link.write(fatal(error))


def _bound(listener: socket.socket) -> Address:
    host, port, *_ = listener.getsockname()
    return Address(host, port)


def _opened(who: Identity, user: User, upstream: Upstream) -> Draft:
    body: dict[str, JSON] = {
        "user": who.user,
        "person": who.person,
        "role": user.role,
        "database": who.database,
        "application": words_masked(who.application),
        "client": who.client,
        "upstream_pid": who.upstream_pid,
        "system_identifier": who.system_identifier,
        "server_version": upstream.parameter_status.get("server_version", ""),
    }
    return Draft(EntryType.OPENED, body, session=who.session)


def _welcome(greeting: Greeting, upstream: Upstream, secret: bytes) -> bytes:
    """Return what follows a successful login: AuthenticationOk, the server's parameters, our cancel key, readiness.

    Of what is another one upstream the client is told its own: libpq's target_session_attrs and pools ask for it.
    """
    own = {
        READ_ONLY_BY_DEFAULT: "on" if greeting.read_only else "off",
        CLIENT_ENCODING: greeting.encoding.shown,
        "application_name": greeting.application_name,
    }
    told = {**upstream.parameter_status, **own}
    statuses = (messages.parameter_status(name, value) for name, value in told.items())
    return b"".join(
        [
            messages.authentication(0),
            *statuses,
            messages.backend_key_data(upstream.pid, secret),
            messages.ready_for_query(b"I"),
        ]
    )
