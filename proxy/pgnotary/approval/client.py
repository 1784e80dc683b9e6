"""The approval API's client: blocking, over the proxy's Unix socket, with the standard library alone.

Arguments enter, bodies leave as they came: well-formed, but not yet believed (`pgnotary.approval.papers` does that).
Every failure is an ApiError: status 0 if there was no answer, 502 if we do not understand it, else the API's own.
"""

import http.client
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from pgnotary.errors import ApiError, NotCanonical
from pgnotary.ledger.entries import parse_entry
from pgnotary.request.sshsig import DECISION_NAMESPACE

__all__ = ["MAX_ANSWER_BYTES", "ApprovalClient"]

# A thousand open requests of the longest entries, as the API lists them.
MAX_ANSWER_BYTES = 256 << 20

# The API says something at least every 15 s.
_SILENCE_S = 40.0
# A redaction looks through everything that is sealed for other copies: seconds for each gigabyte.
_LONGEST_SEARCH_S = 600.0
_MAX_LINE_BYTES = 1 << 20

_T = TypeVar("_T")


def _is_whole(paper: RequestPaper) -> bool:
    """Say whether the list has all that is sealed in a request: its text, what is bound, rows of the preview."""
    return all(map(_has_all, (paper.request, paper.preview)))


def _has_all(entry: EntryPaper) -> bool:
    try:
        return parse_entry(entry.entry).seals.keys() <= entry.opened.keys()
    except NotCanonical:
        return True  # Who reads the paper says what is wrong with it.


class ApprovalClient:
    """Speaks to the proxy whose approval API listens at `socket_path`; each call is a connection of its own."""

    def __init__(self, socket_path: Path, timeout_s: float = 10.0) -> None:
        self._path = socket_path
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

    def events(self) -> Iterator[list[str] | Standing]:
        """Yield the ids of all open requests, now and at each change, and how those go on that are no longer open.

        Ends only with an ApiError.
        """
        with self._answered("GET", "/v1/events", None, _SILENCE_S) as response:
            if response.status != 200:
                raise _refused(response.status, response.read(MAX_ANSWER_BYTES))
            while line := response.readline(_MAX_LINE_BYTES):
                if line.startswith(b"data: "):
                    data = line.removeprefix(b"data: ")
                    yield _decoded(data, list[str]) if data.startswith(b"[") else _decoded(data, Standing)
        raise ApiError(f"the proxy at {self._path} has ended the connection")

    def _get(self, path: str, type_: type[_T]) -> _T:
        return self._call("GET", path, type_, None)

    def _call(self, method: str, path: str, type_: type[_T], body: bytes | None, timeout_s: float | None = None) -> _T:
        with self._answered(method, path, body, timeout_s or self._timeout_s) as response:
            answer = response.read(MAX_ANSWER_BYTES + 1)
            if len(answer) > MAX_ANSWER_BYTES:
                raise ApiError(f"the proxy's answer is longer than {MAX_ANSWER_BYTES} bytes", UNFIT)
            if response.length:
                raise http.client.IncompleteRead(answer, response.length)
            if response.status not in (200, 201):
                raise _refused(response.status, answer)
            return _decoded(answer, type_)

    @contextmanager
    def _answered(
        self, method: str, path: str, body: bytes | None, timeout_s: float
    ) -> Iterator[http.client.HTTPResponse]:
        """Make a call; whatever the connection does wrong meanwhile is an ApiError."""
        connection = _UnixConnection(self._path, timeout_s)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            with connection.getresponse() as response:
                yield response
        except TimeoutError as error:
            raise ApiError(f"the proxy at {self._path} has not answered for {timeout_s:g} s") from error
        except OSError as error:
            said = error.strerror or error
            raise ApiError(f"cannot reach the proxy at {self._path}: {said}; is `pgnotary serve` running?") from error
        except http.client.HTTPException as error:
            raise ApiError(f"the proxy at {self._path} broke off its answer: {error!r}") from error
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _decoded(answer: bytes, type_: type[_T]) -> _T:
    try:
        return msgspec.json.decode(answer, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(f"the proxy's answer does not fit: {error}", UNFIT) from error


def _refused(status: int, answer: bytes) -> ApiError:
    try:
        said = msgspec.json.decode(answer, type=Problem).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = f"the proxy answered with status {status}"
    return ApiError(said, status)
