"""One attempt to deliver one message: an address, headers and a body enter, an `Answer` leaves, whatever happens there.

The certificate is verified always, no redirect is followed, no proxy of the environment is used, no cookie is kept, and
each attempt has a connection of its own. The attempt has an end; of an answer the status and Retry-After are read, and
its body never. Names are looked up in a thread that nobody else waits for: a name server may take a minute to fail, and
the loop's own threads look up PostgreSQL's name, too.
"""

import asyncio
import re
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from pgnotary.errors import ConfigError

__all__ = ["Answer", "Sender", "trusting"]

_SECONDS = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt."""

    status: int | None
    """None: no answer came, and the message may have arrived all the same."""
    why: str
    """For the log; nothing of it is the receiver's own words, which could be anything."""
    retry_after_s: int = 0

    @property
    def taken(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether the receiver wants nothing any more."""
        return self.status == 410

    @property
    def refused(self) -> bool:
        """Whether it would be refused again as likely as not, until somebody puts something right."""
        return self.status is not None and 300 <= self.status < 500 and self.status not in (408, 425, 429)


class Sender:
    """Sends to one receiver, inside `async with`."""

    def __init__(self, version: str, timeout_s: float) -> None:
        self._agent = f"pgnotary/{version}"
        self._timeout_s = timeout_s

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # A kept connection may be closed just as a message goes out: nobody would know whether it arrived.
            connector=aiohttp.TCPConnector(force_close=True, limit=1, resolver=_Lookup(), use_dns_cache=False),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            headers={"User-Agent": self._agent, "Content-Type": "application/json"},
            trust_env=False,
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def post(self, url: str, trust: ssl.SSLContext | None, headers: dict[str, str], body: bytes) -> Answer:
        """Send once; `trust` is for https, and None for http."""
        try:
            async with self._session.post(
                URL(url, encoded=True), data=body, headers=headers, ssl=True if trust is None else trust,
                allow_redirects=False,
            ) as response:  # fmt: skip
                after = response.headers.get("Retry-After", "")
                wait_s = int(after) if _SECONDS.fullmatch(after) else 0
                return Answer(response.status, f"it answered {response.status}", wait_s)
        except aiohttp.ClientConnectorCertificateError:
            return Answer(None, "its certificate is not one that is trusted for this address")
        except aiohttp.ClientConnectorError as error:
            why = error.os_error.strerror or type(error.os_error).__name__
            return Answer(None, f"no connection could be made: {why:.200}")
        except TimeoutError:
            return Answer(None, f"no answer came in {self._timeout_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(None, f"no answer came: {type(error).__name__}")


class _Lookup(AbstractResolver):
    """Looks names up one after another, each in a thread that ends when it will."""

    def __init__(self) -> None:
        self._is_busy = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        if self._is_busy:
            raise OSError("the lookup of its name has not ended")
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[ResolveResult]] = loop.create_future()

        def tell(result: list[ResolveResult] | OSError) -> None:
            self._is_busy = False
            if found.done():
                return
            if isinstance(result, OSError):
                found.set_exception(result)
            else:
                found.set_result(result)

        def work() -> None:
            result: list[ResolveResult] | OSError
            try:
                result = _addresses(host, port, family)
            except (OSError, UnicodeError) as error:
                result = error if isinstance(error, OSError) else OSError(f"no name: {error}")
            # The proxy may have ended meanwhile.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(tell, result)

        self._is_busy = True
        try:
            threading.Thread(target=work, name="webhook lookup", daemon=True).start()
        except RuntimeError as error:
            # No thread can be had now; the next attempt may get one.
            self._is_busy = False
            raise OSError(f"its name cannot be looked up: {error}") from error
        return await found

    async def close(self) -> None:
        """Nothing is kept."""


def _addresses(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    return [
        ResolveResult(hostname=host, host=str(at[0]), port=port, family=kind, proto=proto, flags=socket.AI_NUMERICHOST)
        for kind, _, proto, _, at in found
    ]


def trusting(ca: Path | None) -> ssl.SSLContext:
    """Return how certificates are verified; raises ConfigError if the authorities cannot be read."""
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except OSError as error:
        raise ConfigError(f"{ca}: expected certificates of authorities in PEM: {error.strerror or error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
