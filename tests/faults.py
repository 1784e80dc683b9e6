"""Faults put around real interfaces, by tests alone: a proxy that stands still, a clock that jumps, a wire that loses.

A `Stand` is a folder that a test shares with a proxy: the test writes where the proxy is to stand still and how far
its clock has jumped, the proxy writes what it has heard. `Stand.surround` puts that around the proxy's own public
calls; the product knows nothing of it. A `Wire` lies between proxy and server: it can hold back a COMMIT, or
the answer to one, and then pass it on or lose it.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from enum import Enum
from functools import wraps
from pathlib import Path
from typing import Any

__all__ = ["Keep", "Stand", "Wire"]

_POLL_S = 0.005


class Stand:
    """Where a proxy stands still, and what it hears meanwhile; both sides make one over the same folder."""

    def __init__(self, folder: Path) -> None:
        self._moment = folder / "moment"
        self._reached = folder / "reached"
        self._clock = folder / "clock"
        self._heard = folder / "heard"
        folder.mkdir(exist_ok=True)

    # --- the test's side --------------------------------------------------------------------------------------------

    def halt(self, moment: str) -> None:
        """Let whoever comes to `moment` stand still there, for instance "before intent" or "after decision"."""
        self._reached.unlink(missing_ok=True)
        _put(self._moment, moment)

    def is_halted(self) -> bool:
        """Say whether somebody stands there."""
        return self._reached.exists()

    def go_on(self) -> None:
        """Let them go on, and nobody stand still any more."""
        self._moment.unlink(missing_ok=True)
        self._reached.unlink(missing_ok=True)

    def advance_clock(self, seconds: float) -> None:
        """Let the sessions' monotonic clock jump forward; it stays ahead after a restart."""
        _put(self._clock, str(self.ahead() + seconds))

    def heard(self, what: str) -> int:
        """Return how often something was heard since `forget`: the name of an event, or "decide"."""
        with contextlib.suppress(FileNotFoundError):
            return self._heard.read_text().split().count(what)
        return 0

    def forget(self) -> None:
        """Forget what was heard."""
        self._heard.unlink(missing_ok=True)

    # --- the proxy's side -------------------------------------------------------------------------------------------

    def ahead(self) -> float:
        """Return how many seconds the clock has jumped."""
        with contextlib.suppress(FileNotFoundError):
            return float(self._clock.read_text())
        return 0.0

    def hear(self, what: str) -> None:
        """Write down what was heard."""
        with self._heard.open("a") as file:
            file.write(what + "\n")

    async def come_to(self, moment: str) -> None:
        """Stand still if this is the moment."""
        if self._is_at(moment):
            self._reached.touch()
            while self._is_at(moment):
                await asyncio.sleep(_POLL_S)

    def _is_at(self, moment: str) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return self._moment.read_text() == moment
        return False

    def surround(self, tick_s: float) -> None:
        """Put this around the calls of the proxy that is about to run in this process, whose ticks come faster."""
        from pgnotary.approval import refusals
        from pgnotary.serve import proxy
        from pgnotary.serve.desk import Desk
        from pgnotary.session.core import Session
        from pgnotary.session.events import Now
        from pgnotary.store.appender import Appender

        append, receive, decide = Appender.append, Session.receive, Desk.decide

        @wraps(append)
        async def halting_append(self_: Appender, *appends: Any) -> Any:
            types = [each.draft.type.value for each in appends]
            for type_ in types:
                await self.come_to(f"before {type_}")
            receipts = await append(self_, *appends)
            for type_ in types:
                await self.come_to(f"after {type_}")
            return receipts

        @wraps(receive)
        def hearing_receive(self_: Session, event: Any, now: Now) -> Any:
            done = receive(self_, event, Now(now.monotonic + self.ahead(), now.wall))
            self.hear(type(event).__name__)
            return done

        @wraps(decide)
        async def hearing_decide(self_: Desk, document: bytes, signature: str) -> Any:
            self.hear("decide")
            return await decide(self_, document, signature)

        _replace(Appender, "append", halting_append)
        _replace(Session, "receive", hearing_receive)
        _replace(Desk, "decide", hearing_decide)
        _replace(proxy, "_TICK_S", tick_s)
        # A race lost a thousand times is a flood to the API, which would stop listening to the one who lost.
        _replace(refusals, "REFUSED_AT_ONCE", 1_000_000)


def _put(path: Path, text: str) -> None:
    """Write a file that nobody can see half written."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def _replace(owner: object, name: str, by: object) -> None:
    """Put something in the place of what must be there: a fault around nothing would be a test of nothing."""
    getattr(owner, name)
    setattr(owner, name, by)


class Keep(Enum):
    """What a wire holds back."""

    COMMIT = "COMMIT"
    ANSWER = "the answer to COMMIT"


_COMMIT = b"Q\0\0\0\x0bCOMMIT\0"


class Wire:
    """Carries connections to a server; holds back what it is told to, once."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._plugs: list[socket.socket] = []
        self._keep: Keep | None = None
        self._kept = threading.Event()
        self._go_on = threading.Event()
        self._lost = False
        self._start(self._accept)

    @property
    def address(self) -> str:
        """Where to connect, as host:port."""
        host, port = self._listener.getsockname()
        return f"{host}:{port}"

    def hold_back(self, what: Keep) -> None:
        """Hold back the next one."""
        self._kept.clear()
        self._go_on.clear()
        self._lost = False
        self._keep = what

    def has_kept(self) -> bool:
        """Say whether something is held back."""
        return self._kept.is_set()

    def pass_on(self) -> None:
        """Let what is held back go its way."""
        self._go_on.set()

    def lose(self) -> None:
        """End the connection of what is held back, which nobody will ever see."""
        self._lost = True
        self._go_on.set()

    def close(self) -> None:
        """End all connections; no thread is left behind."""
        self.lose()
        for plug in (self._listener, *self._plugs):
            _shut(plug)
        for thread in self._threads:
            thread.join(10)
        for plug in (self._listener, *self._plugs):
            plug.close()

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                proxy, _ = self._listener.accept()
                self._plugs.append(proxy)
                try:
                    server = socket.create_connection(self._to)
                except OSError:
                    _shut(proxy)
                    continue
                self._plugs.append(server)
                waits = threading.Event()
                """A COMMIT has gone through, and its answer is to be held back."""
                self._start(self._to_server, proxy, server, waits)
                self._start(self._to_proxy, server, proxy, waits)

    def _to_server(self, proxy: socket.socket, server: socket.socket, waits: threading.Event) -> None:
        with contextlib.suppress(OSError), _ending(server):
            while data := proxy.recv(65_536):
                if _COMMIT in data and self._keep is not None:
                    keep, self._keep = self._keep, None
                    if keep is Keep.ANSWER:
                        waits.set()
                    elif not self._passes(proxy, server):
                        return
                server.sendall(data)

    def _to_proxy(self, server: socket.socket, proxy: socket.socket, waits: threading.Event) -> None:
        with contextlib.suppress(OSError), _ending(proxy):
            while data := server.recv(65_536):
                if waits.is_set():
                    waits.clear()
                    if not self._passes(proxy, server):
                        return
                proxy.sendall(data)

    def _passes(self, proxy: socket.socket, server: socket.socket) -> bool:
        """Hold back until told what to do; False if it is lost, and the connection with it."""
        self._kept.set()
        self._go_on.wait()
        if self._lost:
            _shut(proxy)
            _shut(server)
        return not self._lost


@contextlib.contextmanager
def _ending(plug: socket.socket) -> Iterator[None]:
    """Tell the other side of the end, whether this side closed or was reset."""
    try:
        yield
    finally:
        plug.shutdown(socket.SHUT_WR)


def _shut(plug: socket.socket) -> None:
    with contextlib.suppress(OSError):
        plug.shutdown(socket.SHUT_RDWR)
