"""The approval API's client: blocking, over the proxy's Unix socket or HTTPS, with the standard library alone.

Arguments enter, bodies leave as they came: well-formed, but not yet believed (`pgnotary.approval.papers` does that).
With a key each call is signed, anew each time it is made. Every failure is an ApiError: status 0 if there was no
answer, 502 if we do not understand or do not trust who answers, else the API's own.
"""

import http.client
import re
import secrets
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import msgspec

from pgnotary.approval.bodies import (
    UNFIT,
    EntryPaper,
    Erasure,
    GlassPaper,
    HeadNote,
    HeadProof,
    KeyOwner,
    Problem,
    Recorded,
    RecordedRedaction,
    RecordedReview,
    RequestPaper,
    SealedPaper,
    SignedDecision,
    SignedRedaction,
    SignedReview,
    Standing,
)
from pgnotary.approval.place import Place, UnixSocket
from pgnotary.errors import ApiError, NotCanonical
from pgnotary.ledger.entries import parse_entry
from pgnotary.request import call
from pgnotary.request.life import FINAL
from pgnotary.request.signs import Signs
from pgnotary.request.sshsig import DECISION_NAMESPACE
from pgnotary.request.withdrawal import target_of

__all__ = ["MAX_ANSWER_BYTES", "ApprovalClient"]

# A thousand open requests of the longest entries, as the API lists them.
MAX_ANSWER_BYTES = 256 << 20

# The API says something at least every 15 s.
_SILENCE_S = 40.0
# A redaction looks through everything that is sealed for other copies: seconds for each gigabyte.
_LONGEST_SEARCH_S = 600.0
_MAX_LINE_BYTES = 1 << 20

# How long a stream that has broken off is begun again, unless its reader says otherwise; and between two attempts.
_PATIENCE_S = 30.0
_TOO_SOON_S = 0.5
_RETRY_S = (0.1, 0.3, 1.0, 3.0)
# What passes by itself: no answer, too many calls or watchers at once.
_PASSING = frozenset({0, 429, 503})

# Of an error: it is read on a terminal.
_MAX_SAID_CHARS = 4_000
# What comes back in a header of ours.
_EVENT_ID = re.compile(r"[!-~]{1,100}")

_T = TypeVar("_T")


def _is_whole(paper: RequestPaper) -> bool:
    """Say whether the list has all that is sealed in a request: its text, what is bound, rows of the preview."""
    return all(map(_has_all, (paper.request, paper.preview)))


def _has_all(entry: EntryPaper) -> bool:
    try:
        return parse_entry(entry.entry).seals.keys() <= entry.opened.keys()
    except NotCanonical:
        return True  # Who reads the paper says what is wrong with it.


@dataclass(slots=True)
class _Stream:
    """How far a stream of events has come."""

    last_id: str = ""
    heard_at: float | None = None
    """By the monotonic clock; None: there was no event yet."""
    failures: int = 0
    """Since an event was heard."""
    open: list[str] = field(default_factory=list)
    """As was told last."""
    followed: set[str] = field(default_factory=set)
    """Those that were open, and whose end has not been told."""

    def take(self, event: list[str] | Standing) -> None:
        """Learn from an event."""
        if isinstance(event, Standing):
            if event.state in FINAL:
                self.followed.discard(event.id)
            return
        self.open = event
        self.followed.update(event)


class ApprovalClient:
    """Speaks to the proxy whose approval API is at `place`; each call is a connection of its own.

    A path is that of a Unix socket. Calls are signed if there is a key and the place names its proxy: over HTTPS each
    must be.
    """

    def __init__(self, place: Place | Path, signs: Signs | None = None, timeout_s: float = 10.0) -> None:
        self._place = UnixSocket(place) if isinstance(place, Path) else place
        self._signs = signs if self._place.proxy else None
        self._timeout_s = timeout_s

    def requests(self) -> list[RequestPaper]:
        """Return the open requests, oldest first."""
        listed = self._get("/v1/requests", list[RequestPaper])
        whole = [paper if _is_whole(paper) else self.request(paper.id).paper for paper in listed]
        # One of which something was left out for its length may have been decided since.
        return [paper for paper in whole if paper is not None]

    def request(self, name: str) -> Standing:
        """Return where a request stands."""
        return self._get(f"/v1/requests/{quote(name, safe='')}", Standing)

    def decide(self, name: str, document: bytes, signature: str) -> Recorded:
        """Hand in a decision; when this returns it is durable.

        After an ApiError of status 0 it may or may not have been recorded: look at the request again.
        """
        body = msgspec.json.encode(SignedDecision(document=document, signature=signature))
        return self._call("POST", f"/v1/requests/{quote(name, safe='')}/decisions", Recorded, body)

    def sealed(self, of: str | int) -> list[SealedPaper]:
        """Return the entries with seals of a request, or the one of this number, and what is kept of them."""
        asked = f"request={quote(of, safe='')}" if isinstance(of, str) else f"entry={of}"
        return self._get(f"/v1/sealed?{asked}", list[SealedPaper])

    def redact(self, document: bytes, signature: str) -> RecordedRedaction:
        """Hand in a redaction; when this returns it is durable, and what it names is deleted, if not yet erased.

        After an ApiError of status 0 it may or may not have been recorded: ask what is kept.
        """
        body = msgspec.json.encode(SignedRedaction(document=document, signature=signature))
        return self._call("POST", "/v1/redactions", RecordedRedaction, body, _LONGEST_SEARCH_S)

    def reviews(self) -> list[GlassPaper]:
        """Return what one person alone has let run and nobody else has reviewed, oldest first."""
        return self._get("/v1/reviews", list[GlassPaper])

    def review(self, document: bytes, signature: str) -> RecordedReview:
        """Hand in a review; when this returns it is durable."""
        body = msgspec.json.encode(SignedReview(document=document, signature=signature))
        return self._call("POST", "/v1/reviews", RecordedReview, body)

    def erasure(self) -> Erasure:
        """Return whether bytes of redacted values may still be in the ledger's files."""
        return self._get("/v1/erasure", Erasure)

    def head(self) -> str:
        """Return the newest checkpoint note; a decision may name it from now on."""
        return self._get("/v1/head", HeadNote).note

    def prove(self, older: int, entries: Sequence[int]) -> HeadProof:
        """Return the newest checkpoint with proofs: that it extends the first `older` leaves, and covers these entries.

        A decision may name it from now on.
        """
        asked = "".join(f"&entry={seq}" for seq in entries)
        return self._get(f"/v1/proof?from={older}{asked}", HeadProof)

    def whois(self, key: str, namespace: str = DECISION_NAMESPACE) -> str:
        """Return the person whose key has this fingerprint, if it may sign in this namespace."""
        asked = f"key={quote(key, safe='')}&namespace={quote(namespace, safe='')}"
        return self._get(f"/v1/whois?{asked}", KeyOwner).person

    def withdraw(self, name: str) -> Standing:
        """Take a request of one's own back, and return where it stands then; it needs a key."""
        return self._call("POST", target_of(quote(name, safe="")), Standing, b"")

    def events(self, *, patience_s: float = _PATIENCE_S) -> Iterator[list[str] | Standing]:
        """Yield the ids of all open requests, now and at each change, and how those go on that are no longer open.

        Goes on after the connection has broken off, without missing anything. Ends only with an ApiError: of the first
        call, or once the proxy has not been reached for `patience_s`.
        """
        stream = _Stream()
        while True:
            try:
                yield from self._streamed(stream)
            except ApiError as error:
                if error.status not in _PASSING or stream.heard_at is None:
                    raise
                if time.monotonic() - stream.heard_at >= patience_s:
                    raise
            time.sleep(_RETRY_S[min(stream.failures, len(_RETRY_S) - 1)])
            stream.failures += 1

    def _streamed(self, stream: _Stream) -> Iterator[list[str] | Standing]:
        headers = {"Last-Event-ID": stream.last_id} if stream.last_id else {}
        with self._answered("GET", "/v1/events", None, _SILENCE_S, headers) as response:
            if response.status != 200:
                raise _refused(response.status, response.read(MAX_ANSWER_BYTES))
            name = number = ""
            while line := response.readline(_MAX_LINE_BYTES):
                if stream.heard_at is not None:
                    stream.heard_at = time.monotonic()
                if line.startswith(b"id: "):
                    number = line.removeprefix(b"id: ").strip().decode("ascii", "replace")
                    if not _EVENT_ID.fullmatch(number):
                        raise ApiError(f"the proxy's answer does not fit: an event with the id {number!r:.60}", UNFIT)
                elif line.startswith(b"event: "):
                    name = line.removeprefix(b"event: ").strip().decode("ascii", "replace")
                elif line.startswith(b"data: "):
                    data = line.removeprefix(b"data: ")
                    event = _decoded(data, list[str]) if data.startswith(b"[") else _decoded(data, Standing)
                    yield event
                    stream.take(event)
                    if name == "snapshot":
                        yield from self._missed(stream)
                    # Only now: what was not taken is asked for again.
                    stream.last_id, stream.heard_at, stream.failures = number, time.monotonic(), 0
        raise ApiError(f"the proxy at {self._place} has ended the connection")

    def _missed(self, stream: _Stream) -> Iterator[Standing]:
        """Yield where those stand that are no longer open, after a break that the proxy cannot tell of."""
        for name in sorted(stream.followed - set(stream.open)):
            try:
                standing = self.request(name)
            except ApiError as error:
                if error.status != 404:
                    raise
                stream.followed.discard(name)
                continue
            yield standing
            stream.take(standing)

    def _get(self, path: str, type_: type[_T]) -> _T:
        """Make a call that changes nothing; one that came too soon, since others call from here too, is made again."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return self._call("GET", path, type_, None)
            except ApiError as error:
                if error.status != 429 or time.monotonic() + _TOO_SOON_S > deadline:
                    raise
            time.sleep(_TOO_SOON_S)

    def _call(self, method: str, path: str, type_: type[_T], body: bytes | None, timeout_s: float | None = None) -> _T:
        with self._answered(method, path, body, timeout_s or self._timeout_s) as response:
            try:
                answer = response.read(MAX_ANSWER_BYTES + 1)
            except ValueError as error:
                # Of http.client: a chunk of less than nothing.
                raise http.client.HTTPException(str(error)) from error
            if len(answer) > MAX_ANSWER_BYTES:
                raise ApiError(f"the proxy's answer is longer than {MAX_ANSWER_BYTES} bytes", UNFIT)
            if response.length:
                raise http.client.IncompleteRead(answer, response.length)
            if response.status not in (200, 201, 202):
                raise _refused(response.status, answer)
            return _decoded(answer, type_)

    @contextmanager
    def _answered(
        self, method: str, path: str, body: bytes | None, timeout_s: float, headers: dict[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """Make a call; whatever the connection does wrong meanwhile is an ApiError."""
        sent = {"Content-Type": "application/json"} if body else {}
        sent |= (headers or {}) | self._signature(method, path, body or b"")
        place = self._place
        connection = place.connection(timeout_s)
        try:
            connection.request(method, path, body, sent)
            with connection.getresponse() as response:
                yield response
        except TimeoutError as error:
            raise ApiError(f"the proxy at {place} has not answered for {timeout_s:g} s") from error
        except ssl.SSLCertVerificationError as error:
            why = f"{error.verify_message}; expected the certificate of an authority in --ca FILE, for this name"
            raise ApiError(f"who answers at {place} is not trusted: {why}", UNFIT) from error
        except OSError as error:
            said = error.strerror or error
            raise ApiError(f"cannot reach the proxy at {place}: {said}; is `pgnotary serve` running?") from error
        except http.client.HTTPException as error:
            raise ApiError(f"the proxy at {place} broke off its answer: {error!r}") from error
        finally:
            connection.close()

    def _signature(self, method: str, path: str, body: bytes) -> dict[str, str]:
        if self._signs is None:
            return {}
        now, nonce = datetime.now(UTC), secrets.token_bytes(16)
        return call.signed(self._signs, self._place.proxy, method, path, body, called_at=now, nonce=nonce)


def _decoded(answer: bytes, type_: type[_T]) -> _T:
    try:
        return msgspec.json.decode(answer, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(f"the proxy's answer does not fit: {error}", UNFIT) from error


def _refused(status: int, answer: bytes) -> ApiError:
    try:
        said = msgspec.json.decode(answer, type=Problem).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = f"the proxy answered with status {status}"
    return ApiError(said if len(said) <= _MAX_SAID_CHARS else said[:_MAX_SAID_CHARS] + "…", status)
