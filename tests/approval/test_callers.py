"""Calls over a port: who may call what, and what is done to those who sign wrongly, late, twice, or not at all."""

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import uvloop
from tests.approval.office import (
    LEDGER,
    PROXY_SEED,
    SEEDS,
    VKEY,
    Office,
    public_of,
    running_office,
    signed,
)
from tests.approval.test_api import _next, _until
from tests.pki import Pki

from pgnotary.approval import callers
from pgnotary.approval.access import MAY_CALL, Role
from pgnotary.approval.bodies import SignedDecision, Standing
from pgnotary.approval.callers import CALL_WINDOW
from pgnotary.approval.client import ApprovalClient
from pgnotary.approval.event_routes import MAX_WATCHERS_EACH
from pgnotary.approval.place import Server, UnixSocket, server_at
from pgnotary.door import HEAD_S, MAX_CALL_BYTES, Listening
from pgnotary.errors import ApiError, ConfigError
from pgnotary.ledger.checkpoint import vkey
from pgnotary.ledger.entries import parse_entry
from pgnotary.request import call as calls
from pgnotary.request import sshsig, withdrawal
from pgnotary.request.life import State
from pgnotary.request.openssh import PrivateKey, fingerprint
from pgnotary.request.roster import Roster, Signer, parse_roster
from pgnotary.request.ssh_encoding import Public

ANYBODY = Listening("approval.address", "127.0.0.1", 0, lambda: None, calls_per_s=10_000)
"""Plain HTTP on loopback, as often as one likes."""

_NAMESPACES: dict[str, tuple[str, ...] | None] = {
    "ana": (sshsig.DECISION_NAMESPACE,),
    "bo": (sshsig.REDACTION_NAMESPACE,),
    "eva": (sshsig.REQUEST_NAMESPACE,),
}
_ROLES = {"ana": Role.APPROVER, "bo": Role.REDACTOR, "eva": Role.ENGINEER}


on_each_loop = pytest.mark.parametrize(
    "loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
"""uvloop is the one that `serve` runs on."""


def _on(loop: Callable[[], asyncio.AbstractEventLoop], scene: Callable[[], Any]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scene())


def key_of(person: str) -> PrivateKey:
    return PrivateKey(SEEDS[person], public_of(SEEDS[person]))


def staff() -> Roster:
    """Ana decides, bo redacts, eva asks; fay is on the roster for something that is not ours."""
    lines = [Signer(each, public_of(SEEDS[each]), names).line for each, names in _NAMESPACES.items()]
    lines.append(Signer("fay", public_of(bytes([9]) * 32), ("git",)).line)
    return parse_roster("".join(f"{line}\n" for line in lines))


@asynccontextmanager
async def networked(listening: Listening = ANYBODY, **how: Any) -> AsyncIterator[Office]:
    async with running_office(listening=listening, allowed=how.pop("allowed", staff()), **how) as office:
        yield office


def server_of(office: Office, proxy: str = VKEY, scheme: str = "http", **how: Any) -> Server:
    assert office.api.address is not None
    return server_at(f"{scheme}://localhost:{office.api.address[1]}", proxy, how.get("ca"))


def client_of(office: Office, person: str | None, **how: Any) -> ApprovalClient:
    return ApprovalClient(server_of(office, **how), key_of(person) if person else None, timeout_s=5)


def headers(
    method: str = "GET",
    target: str = "/v1/requests",
    body: bytes = b"",
    *,
    person: str = "ana",
    proxy: str = VKEY,
    at: datetime | None = None,
    key: PrivateKey | None = None,
) -> dict[str, str]:
    nonce = time.monotonic_ns().to_bytes(16, "big")
    at = at or datetime.now(UTC)
    return calls.signed(key or key_of(person), proxy, method, target, body, called_at=at, nonce=nonce)


async def call(
    office: Office,
    method: str = "GET",
    target: str = "/v1/requests",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, Any]:
    """Make one call by hand; its status and its JSON."""
    assert office.api.address is not None
    port = office.api.address[1]

    def made() -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, target, body, headers or {})
            with connection.getresponse() as response:
                return response.status, json.loads(response.read())
        finally:
            connection.close()

    return await asyncio.to_thread(made)


# --- the table -----------------------------------------------------------------------------------------------------

# A target and a body for each call, and what it answers to those who may make it: about R-1, which is eva's.
_CALLS: dict[tuple[str, str], tuple[str, bytes, set[int]]] = {
    ("GET", "/v1/requests"): ("/v1/requests", b"", {200}),
    ("GET", "/v1/requests/{id}"): ("/v1/requests/R-1", b"", {200, 404}),
    ("POST", "/v1/requests/{id}/decisions"): ("/v1/requests/R-1/decisions", b"{}", {400}),
    ("POST", "/v1/requests/{id}/withdraw"): ("/v1/requests/R-9/withdraw", b"", {404}),
    ("GET", "/v1/events"): ("/v1/events", b"", {200}),
    ("GET", "/v1/whois"): ("/v1/whois?key=nobody", b"", {400}),
    ("GET", "/v1/head"): ("/v1/head", b"", {200}),
    ("GET", "/v1/proof"): ("/v1/proof?from=0", b"", {200}),
    ("GET", "/v1/sealed"): ("/v1/sealed?entry=0", b"", {200, 404}),
    ("POST", "/v1/redactions"): ("/v1/redactions", b"{}", {400}),
    ("GET", "/v1/erasure"): ("/v1/erasure", b"", {200}),
    ("GET", "/v1/reviews"): ("/v1/reviews", b"", {200}),
    ("POST", "/v1/reviews"): ("/v1/reviews", b"{}", {400}),
}


class _NoRedactions:
    """What there is to redact: nothing."""

    first = 0
    hindrance = ""

    async def kept(self, of: str | int) -> list[Any]:
        return []

    async def redact(self, document: bytes, signature: str) -> Any:
        raise AssertionError("a body that is none came this far")


class _NoReviews:
    """What waits for a review: nothing."""

    waiting = ()

    async def review(self, document: bytes, signature: str) -> int:
        raise AssertionError("a body that is none came this far")


@pytest.mark.parametrize("caller", ["nobody", "foreign", "other namespace", *_ROLES, "local"])
async def test_every_call_times_every_role(caller: str) -> None:
    fay = PrivateKey(bytes([9]) * 32, public_of(bytes([9]) * 32))
    async with networked(redactions=_NoRedactions(), reviews=_NoReviews()) as office:
        office.hold("R-1")
        routed = {
            (route.method, route.resource.canonical) for route in office.api._application().router.routes()
            if route.resource is not None
        }  # fmt: skip
        assert routed == MAY_CALL.keys() == _CALLS.keys()
        for (method, path), (target, body, answers) in _CALLS.items():
            match caller:
                case "local":
                    signature: dict[str, str] = {}
                    may = Role.LOCAL in MAY_CALL[method, path]
                case "nobody":
                    signature, may = {}, False
                case "foreign":
                    signature, may = headers(method, target, body, person="mallory"), False
                case "other namespace":
                    signature, may = headers(method, target, body, key=fay), False
                case _:
                    signature = headers(method, target, body, person=caller)
                    may = bool({_ROLES[caller], Role.ENGINEER} & MAY_CALL[method, path])
            status = await _status_of(office, method, target, body, signature, local=caller == "local")
            if may:
                assert status in answers, (method, path)
            else:
                assert status == (401 if caller == "nobody" else 403), (method, path)


async def _status_of(
    office: Office, method: str, target: str, body: bytes, signature: dict[str, str], *, local: bool
) -> int:
    """Make a call and return its status, without waiting for the end of a stream."""
    if local:
        reader, writer = await asyncio.open_unix_connection(office.socket)
    else:
        assert office.api.address is not None
        reader, writer = await asyncio.open_connection(*office.api.address)
    said = "".join(f"{name}: {value}\r\n" for name, value in signature.items())
    writer.write(f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{said}\r\n".encode() + body)
    async with asyncio.timeout(10):
        line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return int(line.split()[1])


async def test_an_engineer_sees_their_own_requests_and_of_others_nothing() -> None:
    async with networked() as office:
        office.hold("R-1", person="eva")
        office.hold("R-2", "DELETE FROM salaries", person="dan")
        eva, ana = client_of(office, "eva"), client_of(office, "ana")
        assert [each.id for each in await asyncio.to_thread(eva.requests)] == ["R-1"]
        assert [each.id for each in await asyncio.to_thread(ana.requests)] == ["R-1", "R-2"]
        assert (await asyncio.to_thread(eva.request, "R-1")).state == "held"
        for held in (True, False):
            if not held:
                office.desk.retire("R-2", State.EXPIRED)
            with pytest.raises(ApiError) as refused:
                await asyncio.to_thread(eva.request, "R-2")
            with pytest.raises(ApiError) as unknown:
                await asyncio.to_thread(eva.request, "R-7")
            assert (refused.value.status, str(refused.value)) == (404, "there is no request R-2")
            assert (unknown.value.status, str(unknown.value)) == (404, "there is no request R-7")


async def test_an_engineer_is_told_of_nobody_elses_requests() -> None:
    async with networked() as office:
        office.hold("R-1", person="eva")
        events = client_of(office, "eva").events()
        assert await _next(events) == ["R-1"]
        office.hold("R-2", person="dan")
        office.desk.retire("R-2", State.DENIED)
        office.hold("R-3", person="eva")
        assert await _next(events) == ["R-1", "R-3"]
        office.desk.retire("R-3", State.DENIED)
        assert await _next(events) == ["R-1"]
        told = await _next(events)
        assert isinstance(told, Standing)
        assert (told.id, told.state) == ("R-3", "denied")
        await asyncio.to_thread(events.close)  # type: ignore[attr-defined]


async def test_an_approver_decides_over_the_port_and_nobody_else_hands_in_a_decision() -> None:
    async with networked() as office:
        office.hold()
        opened = office.desk.open["R-1"]
        document, signature = signed(office.ledger, opened.request, opened.preview, approver="ana")
        for person in ("eva", "bo"):
            with pytest.raises(ApiError) as refused:
                await asyncio.to_thread(client_of(office, person).decide, "R-1", document, signature)
            assert refused.value.status == 403
        assert office.desk.taken == []
        assert (
            await asyncio.to_thread(client_of(office, "ana").decide, "R-1", document, signature)
        ).answer == "approve"
        assert await asyncio.to_thread(client_of(office, "ana").whois, fingerprint(key_of("ana").public)) == "ana"


# --- signatures ----------------------------------------------------------------------------------------------------


async def test_an_unsigned_call_is_refused_and_says_what_is_missing() -> None:
    async with networked() as office:
        status, said = await call(office)
        assert status == 401
        assert "Pgnotary-Signature" in said["error"]
        one = dict([*headers().items()][:1])
        assert (await call(office, headers=one))[0] == 401
        assert office.api.callers.refused == 2


@pytest.mark.parametrize("off_s", [-61, 61, -3_600])
async def test_a_stale_call_is_refused_and_so_is_one_of_the_future(off_s: int) -> None:
    async with networked() as office:
        status, said = await call(office, headers=headers(at=datetime.now(UTC) + timedelta(seconds=off_s)))
        assert status == 401
        assert "set the clock" in said["error"]


async def test_a_call_that_was_signed_before_the_proxy_started_is_refused() -> None:
    before = headers()
    async with networked() as office:
        status, said = await call(office, headers=before)
        assert status == 401
        assert "before this proxy has started" in said["error"]


async def test_a_replayed_call_is_refused() -> None:
    async with networked() as office:
        once = headers()
        assert (await call(office, headers=once))[0] == 200
        status, said = await call(office, headers=once)
        assert status == 401
        assert "made before" in said["error"]
        assert (await call(office, headers=headers()))[0] == 200


async def test_twenty_replays_at_once_are_one_call() -> None:
    async with networked() as office:
        once = headers()
        statuses = [status for status, _ in await asyncio.gather(*(call(office, headers=once) for _ in range(20)))]
        assert sorted(statuses) == [200] + [401] * 19


@pytest.mark.parametrize(
    ("name", "method", "target", "body"),
    [
        ("target", "GET", "/v1/requests/R-1", b""),
        ("target", "GET", "/v1/requests?x", b""),
        ("target", "GET", "/v1/%72equests", b""),
        ("method", "POST", "/v1/requests", b""),
        ("another body", "GET", "/v1/requests", b"x"),
    ],
)
async def test_a_signature_is_good_for_no_other_call(name: str, method: str, target: str, body: bytes) -> None:
    async with networked() as office:
        office.hold()
        status, said = await call(office, method, target, body, headers())
        assert status == 401
        assert name in said["error"]


async def test_a_decision_that_was_signed_for_one_request_is_not_taken_for_another() -> None:
    async with networked() as office:
        office.hold("R-1")
        office.hold("R-2")
        body = msgspec.json.encode(SignedDecision(document=b"x", signature="y"))
        stolen = headers("POST", "/v1/requests/R-1/decisions", body)
        assert (await call(office, "POST", "/v1/requests/R-2/decisions", body, stolen))[0] == 401
        other = msgspec.json.encode(SignedDecision(document=b"z", signature="y"))
        assert (await call(office, "POST", "/v1/requests/R-1/decisions", other, stolen))[0] == 401
        assert office.desk.taken == []


async def test_a_call_that_is_signed_for_another_proxy_is_refused() -> None:
    async with networked() as office:
        for other in (vkey("other.example/ledger", public_of(PROXY_SEED)), vkey(LEDGER, public_of(SEEDS["mallory"]))):
            status, said = await call(office, headers=headers(proxy=other))
            assert status == 401
            assert other in said["error"]


async def test_a_key_that_nobody_has_is_refused_and_named() -> None:
    async with networked() as office:
        status, said = await call(office, headers=headers(person="mallory"))
        assert status == 403
        assert fingerprint(public_of(SEEDS["mallory"])) in said["error"]


async def test_a_key_that_has_left_the_roster_calls_no_more() -> None:
    async with networked() as office:
        assert (await call(office, headers=headers()))[0] == 200
        office.api.callers._roster = lambda: parse_roster("")
        assert (await call(office, headers=headers()))[0] == 403


async def test_a_stream_ends_when_its_key_leaves_the_roster_and_tells_nothing_more() -> None:
    async with networked() as office:
        events = client_of(office, "ana").events(patience_s=3_600)
        assert await _next(events) == []
        office.api.callers._roster = lambda: parse_roster("")
        office.hold()
        with pytest.raises(ApiError, match="nobody on the roster") as refused:
            await _next(events)
        assert refused.value.status == 403


async def test_a_stream_ends_when_its_key_may_no_longer_decide() -> None:
    async with networked() as office:
        events = client_of(office, "ana").events(patience_s=3_600)
        assert await _next(events) == []
        line = Signer("ana", public_of(SEEDS["ana"]), (sshsig.REQUEST_NAMESPACE,)).line
        office.api.callers._roster = lambda: parse_roster(line)
        office.hold("R-1", person="dan")
        office.hold("R-2", person="ana")
        # It goes on as what the key is now: an engineer's, who sees nothing of dan's.
        heard = await _next(events)
        while heard == []:
            heard = await _next(events)
        assert heard == ["R-2"]
        await asyncio.to_thread(events.close)  # type: ignore[attr-defined]


async def test_a_stream_ends_when_its_key_is_another_persons_now() -> None:
    async with networked() as office:
        events = client_of(office, "eva").events(patience_s=3_600)
        assert await _next(events) == []
        line = Signer("fay", public_of(SEEDS["eva"]), (sshsig.REQUEST_NAMESPACE,)).line
        office.api.callers._roster = lambda: parse_roster(line)
        office.hold("R-1", person="eva")
        office.hold("R-2", person="fay")
        # It goes on as fay's, who sees nothing of eva's.
        heard = await _next(events)
        while heard == []:
            heard = await _next(events)
        assert heard == ["R-2"]
        await asyncio.to_thread(events.close)  # type: ignore[attr-defined]


async def test_a_line_without_namespaces_is_for_decisions_and_never_for_erasing() -> None:
    everything = parse_roster(Signer("ana", public_of(SEEDS["ana"])).line)
    async with networked(allowed=everything, redactions=_NoRedactions()) as office:
        assert (await call(office, headers=headers()))[0] == 200
        for method, target in (("GET", "/v1/sealed?entry=0"), ("POST", "/v1/redactions"), ("GET", "/v1/erasure")):
            assert (await call(office, method, target, headers=headers(method, target)))[0] == 403


async def test_one_person_cannot_take_all_places_of_watchers() -> None:
    async with networked() as office:
        streams = []
        for _ in range(MAX_WATCHERS_EACH):
            events = client_of(office, "eva").events()
            assert await _next(events) == []
            streams.append(events)
        with pytest.raises(ApiError, match="streams of events already") as refused:
            await _next(client_of(office, "eva").events())
        assert refused.value.status == 429
        ana = client_of(office, "ana").events()
        assert await _next(ana) == []
        for events in (*streams, ana):
            await asyncio.to_thread(events.close)  # type: ignore[attr-defined]


async def test_the_key_of_another_in_a_signature_of_ones_own_is_refused() -> None:
    async with networked() as office:
        mallory = headers(person="mallory")
        ana = headers(person="ana")
        forged = mallory | {calls.CALL_HEADER: ana[calls.CALL_HEADER]}
        assert (await call(office, headers=forged))[0] == 403
        swapped = ana | {calls.CALL_HEADER: mallory[calls.CALL_HEADER]}
        status, said = await call(office, headers=swapped)
        assert status == 401
        assert "the signature is wrong" in said["error"]


async def test_a_signature_in_another_namespace_is_no_signature_of_a_call() -> None:
    class Decides(PrivateKey):
        def sign(self, message: bytes, namespace: str) -> str:
            return super().sign(message, sshsig.DECISION_NAMESPACE)

    async with networked() as office:
        key = Decides(SEEDS["ana"], public_of(SEEDS["ana"]))
        status, said = await call(office, headers=headers(key=key))
        assert status == 401
        assert "namespace" in said["error"]


@pytest.mark.parametrize("garbage", ["", "x", "{}", "e30=", "é", "A" * 4_097, "bnVsbA=="])
@pytest.mark.parametrize("name", [calls.CALL_HEADER, calls.SIGNATURE_HEADER])
async def test_headers_that_cannot_be_read_are_refused(name: str, garbage: str) -> None:
    async with networked() as office:
        assert (await call(office, headers=headers() | {name: garbage.encode("latin-1").decode("latin-1")}))[0] == 401


async def test_a_wrong_signature_by_the_socket_is_refused_too_and_a_good_one_changes_nothing() -> None:
    async with networked() as office:
        office.hold()
        assert len(await asyncio.to_thread(office.client.requests)) == 1
        local = UnixSocket(office.socket, VKEY)
        assert len(await asyncio.to_thread(ApprovalClient(local, key_of("eva")).requests)) == 1
        with pytest.raises(ApiError) as refused:
            await asyncio.to_thread(ApprovalClient(local, key_of("mallory")).requests)
        assert refused.value.status == 403


# --- limits --------------------------------------------------------------------------------------------------------


async def test_a_body_that_is_too_long_is_refused_before_its_signature_is_looked_at() -> None:
    async with networked() as office:
        body = b"x" * 65_537
        target = "/v1/requests/R-1/decisions"
        assert (await call(office, "POST", target, body, headers("POST", target, body)))[0] == 413


async def test_a_packed_body_is_taken_as_it_is_and_unpacked_for_nobody() -> None:
    packed, target = zlib.compress(bytes(20_000_000), 9), "/v1/requests/R-1/decisions"
    async with networked() as office:
        office.hold()
        packing = {"Content-Encoding": "deflate"}
        # The signature is over the bytes that came; unpacked they would be too many, and stop the proxy meanwhile.
        status, said = await call(office, "POST", target, packed, headers("POST", target, packed) | packing)
        assert (status, said["error"][:14]) == (400, "not a decision")


async def test_who_sends_without_end_is_cut_off() -> None:
    async with networked() as office:
        assert office.api.address is not None
        _, writer = await asyncio.open_connection(*office.api.address)
        writer.write(b"POST /v1/requests/R-1/decisions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        with contextlib.suppress(ConnectionError):
            for _ in range(1_000):
                writer.write(b"1000\r\n" + bytes(4_096) + b"\r\n")
                await writer.drain()
                await asyncio.sleep(0)
                sent += 1
        assert sent < 1_000, "it was never cut off"
        writer.close()


@pytest.mark.parametrize(
    ("said", "leaves"),
    [
        (b"GET http://[::1/" + b"x" * 8_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nA\x1b[2J: x\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", False),
        (b"POST /v1/requests/R-1/decisions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{", True),
    ],
)
async def test_what_a_caller_does_wrong_cannot_fill_the_log(
    said: bytes, leaves: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with networked() as office:
        reader, writer = await asyncio.open_unix_connection(office.socket)
        writer.write(said)
        if not leaves:
            assert (await reader.readline()).startswith(b"HTTP/1.0 400")
        await asyncio.sleep(0.05)
        writer.close()
        await asyncio.sleep(0.05)
    assert caplog.records == []


async def test_a_fault_of_our_own_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with networked() as office:
        office.api.callers.admit = None  # type: ignore[assignment]
        reader, writer = await asyncio.open_unix_connection(office.socket)
        writer.write(b"GET /v1/head HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 500")
        writer.close()
    assert [record.name for record in caplog.records] == ["pgnotary.http"]


async def test_calls_beyond_the_rate_are_answered_with_429_before_any_signature_is_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked = 0

    def counted(call: calls.Call, body: bytes) -> Public:
        nonlocal checked
        checked += 1
        return real(call, body)

    real = calls.verify
    monkeypatch.setattr(calls, "verify", counted)
    slow = Listening("approval.address", "127.0.0.1", 0, lambda: None, calls_per_s=2)
    async with networked(slow, monotonic=lambda: 0.0) as office:
        statuses = [(await call(office, headers=headers()))[0] for _ in range(8)]
        assert statuses == [200] * 6 + [429] * 2
        assert checked == 6


async def test_a_client_that_looks_too_often_looks_again_a_moment_later() -> None:
    clock = [0.0]
    slow = Listening("approval.address", "127.0.0.1", 0, lambda: None, calls_per_s=1)
    async with networked(slow, monotonic=lambda: clock[0]) as office:
        client = client_of(office, "ana")
        for _ in range(3):
            await asyncio.to_thread(client.head)
        looking = asyncio.get_running_loop().run_in_executor(None, client.head)
        await _until(lambda: office.api.callers.refused == 1)
        clock[0] += 1
        assert await looking


async def test_connections_beyond_the_rate_are_closed_before_a_handshake(pki: Pki) -> None:
    async with networked(encrypted(pki, calls_per_s=0.4), monotonic=lambda: 0.0) as office:
        client, statuses = ApprovalClient(server_of(office, scheme="https", ca=pki.ca), key_of("ana"), 0.4), []
        for _ in range(5):
            try:
                await asyncio.to_thread(client.head)
                statuses.append(200)
            except ApiError as error:
                statuses.append(error.status)
        assert statuses == [200, 429, 0, 0, 0]
        assert office.api.door is not None
        assert office.api.door.refused == 3


async def test_one_address_cannot_take_all_connections() -> None:
    few = Listening("approval.address", "127.0.0.1", 0, lambda: None, max_connections_per_address=3, calls_per_s=1_000)
    async with networked(few) as office:
        assert office.api.address is not None
        idle = [await asyncio.open_connection(*office.api.address) for _ in range(3)]
        await _until(lambda: len(office.api.door._calls) == 3)  # type: ignore[union-attr]
        reader, writer = await asyncio.open_connection(*office.api.address)
        assert await reader.read() == b""
        for _, each in [*idle, (reader, writer)]:
            each.close()
        await _until(lambda: not office.api.door._calls)  # type: ignore[union-attr]
        assert (await call(office, headers=headers()))[0] == 200


async def _cut_off(office: Office, said: bytes, tls: ssl.SSLContext | None = None) -> None:
    """Say something to a port, and be cut off without an answer."""
    assert office.api.address is not None
    reader, writer = await asyncio.open_connection(*office.api.address, ssl=tls)
    writer.write(said)
    async with asyncio.timeout(5):
        answered = b""
        with contextlib.suppress(ConnectionResetError):
            answered = await reader.read()
        assert answered == b""
    writer.close()


@on_each_loop
def test_who_is_slow_to_say_what_they_want_is_cut_off(
    pki: Pki, monkeypatch: pytest.MonkeyPatch, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    assert HEAD_S <= 30
    monkeypatch.setattr("pgnotary.door.HEAD_S", 0.05)

    async def scene() -> None:
        async with networked() as office:
            await _cut_off(office, b"GET /v1/requests HTTP/1.1\r\nX: ")
        async with networked(encrypted(pki)) as office:
            trusting = ssl.create_default_context(cafile=pki.ca)
            await _cut_off(office, b"GET /v1/requests HTTP/1.1\r\nX: ", trusting)

    _on(loop, scene)


@on_each_loop
def test_who_says_more_than_a_call_has_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    monkeypatch.setattr("pgnotary.door.MAX_CALL_BYTES", 100)

    async def scene() -> None:
        async with networked() as office:
            await _cut_off(office, b"GET /v1/requests HTTP/1.1\r\nX: " + b"x" * 100)

    _on(loop, scene)


async def test_a_body_that_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "_BODY_S", 0.05)
    async with networked() as office:
        assert office.api.address is not None
        target = "/v1/requests/R-1/decisions"
        said = "".join(f"{name}: {value}\r\n" for name, value in headers("POST", target, b"xx").items())
        reader, writer = await asyncio.open_connection(*office.api.address)
        writer.write(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n{said}\r\nx".encode())
        async with asyncio.timeout(5):
            assert (await reader.readline()).split()[1] == b"408"
        writer.close()


async def test_a_connection_carries_one_call() -> None:
    async with networked() as office:
        assert office.api.address is not None
        reader, writer = await asyncio.open_connection(*office.api.address)
        said = "".join(f"{name}: {value}\r\n" for name, value in headers().items())
        writer.write(f"GET /v1/requests HTTP/1.1\r\nHost: x\r\n{said}\r\n".encode() * 2)
        async with asyncio.timeout(5):
            answered = await reader.read()
        assert answered.count(b"HTTP/1.1 200") == 1
        assert b"HTTP/1.1" not in answered[20:]
        writer.close()


async def test_no_nonce_is_forgotten_early_when_there_is_no_room_for_one_more() -> None:
    async with networked() as office:
        office.api.callers._max_nonces = 2
        first = headers()
        assert (await call(office, headers=first))[0] == 200
        assert (await call(office, headers=headers()))[0] == 200
        status, said = await call(office, headers=headers())
        assert (status, "two minutes" in said["error"]) == (429, True)
        assert (await call(office, headers=first))[0] == 401


async def test_nonces_are_forgotten_when_their_calls_are_stale() -> None:
    clock = [0.0]
    async with networked(monotonic=lambda: clock[0]) as office:
        assert (await call(office, headers=headers()))[0] == 200
        office.api.callers._now = lambda: datetime.now(UTC) + 3 * CALL_WINDOW
        clock[0] += 3 * CALL_WINDOW.total_seconds()
        later = headers(at=datetime.now(UTC) + 3 * CALL_WINDOW)
        assert (await call(office, headers=later))[0] == 200
        assert len(office.api.callers._nonces) == 1


async def test_a_call_cannot_be_repeated_when_the_clock_is_set_back_behind_its_nonce() -> None:
    clock = [0.0]
    async with networked(monotonic=lambda: clock[0]) as office:
        overheard, later = headers(), 3 * CALL_WINDOW
        assert (await call(office, headers=overheard))[0] == 200
        office.api.callers._now = lambda: datetime.now(UTC) + later
        clock[0] += later.total_seconds()
        assert (await call(office, headers=headers(at=datetime.now(UTC) + later)))[0] == 200
        later = timedelta(0)
        status, said = await call(office, headers=overheard)
        assert (status, "or its clock was set back" in said["error"]) == (401, True)
        assert (await call(office, headers=headers()))[0] == 200


def test_the_limits_leave_room_for_the_longest_call() -> None:
    assert MAX_CALL_BYTES > 65_536 + 2 * 8_190


# --- TLS -----------------------------------------------------------------------------------------------------------


def encrypted(pki: Pki, **limits: Any) -> Listening:
    files = pki.issue("localhost", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return Listening("approval.address", "127.0.0.1", 0, lambda: context, **{"calls_per_s": 1_000, **limits})


@on_each_loop
def test_calls_go_over_tls_and_a_server_that_is_not_trusted_is_refused(
    pki: Pki, tmp_path_factory: pytest.TempPathFactory, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    other = Pki(tmp_path_factory.mktemp("other"))

    async def scene() -> None:
        async with networked(encrypted(pki)) as office:
            office.hold()
            client = client_of(office, "ana", scheme="https", ca=pki.ca)
            assert [each.id for each in await asyncio.to_thread(client.requests)] == ["R-1"]
            events = client.events()
            assert await _next(events) == ["R-1"]
            office.desk.retire("R-1", State.DENIED)
            assert await _next(events) == []
            await asyncio.to_thread(events.close)  # type: ignore[attr-defined]
            for ca in (other.ca, None):
                with pytest.raises(ApiError, match="is not trusted") as refused:
                    await asyncio.to_thread(client_of(office, "ana", scheme="https", ca=ca).head)
                assert refused.value.status == 502
            with pytest.raises(ApiError) as plain:
                await asyncio.to_thread(client_of(office, "ana").head)
            assert plain.value.status == 0

    _on(loop, scene)


async def test_a_certificate_for_another_host_is_refused(pki: Pki) -> None:
    files = pki.issue("elsewhere.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    async with networked(Listening("approval.address", "127.0.0.1", 0, lambda: context)) as office:
        with pytest.raises(ApiError, match="is not trusted") as refused:
            await asyncio.to_thread(client_of(office, "ana", scheme="https", ca=pki.ca).head)
        assert refused.value.status == 502


async def test_a_certificate_of_its_own_may_be_pinned_and_then_no_other_is_trusted(pki: Pki) -> None:
    files, others = pki.issue("localhost"), pki.issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    async with networked(Listening("approval.address", "127.0.0.1", 0, lambda: context)) as office:
        pinned = client_of(office, "ana", scheme="https", ca=files.certificate)
        assert await asyncio.to_thread(pinned.head)
        with pytest.raises(ApiError, match="is not trusted"):
            await asyncio.to_thread(client_of(office, "ana", scheme="https", ca=others.certificate).head)


async def test_who_stalls_in_a_handshake_is_not_in_the_way_of_others(pki: Pki) -> None:
    async with networked(encrypted(pki)) as office:
        assert office.api.address is not None
        with socket.create_connection(office.api.address):
            assert await asyncio.to_thread(client_of(office, "ana", scheme="https", ca=pki.ca).head)


@pytest.mark.parametrize(
    "url",
    [
        "http://db.example:7443", "https://", "https://a b", "ftp://x", "https://x/v1", "https://x:0", "x:7443",
        "https://a..b", "https://.b", "https://" + "a" * 64,
    ],
)  # fmt: skip
def test_a_url_that_is_none_of_ours_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="expected https://"):
        server_at(url, VKEY, None)


async def test_a_port_that_is_taken_is_said_so_and_the_socket_is_left_behind_for_nobody() -> None:
    async with networked() as office:
        assert office.api.address is not None
        taken = Listening("approval.address", "127.0.0.1", office.api.address[1], lambda: None)
        with pytest.raises(ConfigError, match=r"approval\.address: cannot listen"):
            async with networked(taken):
                pass


# --- withdrawal ----------------------------------------------------------------------------------------------------


async def test_the_requester_withdraws_and_the_session_is_told_who_it_was_and_what_they_signed() -> None:
    async with networked() as office:
        told: list[Any] = []

        def deliver(event: Any) -> None:
            told.append(event)
            office.desk.retire("R-1", State.WITHDRAWN)

        office.desk.announce(*office.ledger.hold("R-1"), deliver)
        standing = await asyncio.to_thread(client_of(office, "eva").withdraw, "R-1")
        assert standing.state == "withdrawn"
        assert [(each.request, each.person, each.key) for each in told] == [
            ("R-1", "eva", fingerprint(public_of(SEEDS["eva"])))
        ]
        request = parse_entry(office.ledger.raws[0])
        # What a verifier of the ledger makes of it.
        assert withdrawal.check(told[0].call, VKEY, request, staff(), datetime.now(UTC)).person == "eva"
        with pytest.raises(ApiError, match="it is withdrawn") as late:
            await asyncio.to_thread(client_of(office, "eva").withdraw, "R-1")
        assert late.value.status == 409


async def test_another_person_withdraws_nothing_by_whatever_way_they_come() -> None:
    async with networked() as office:
        told: list[Any] = []
        office.desk.announce(*office.ledger.hold("R-1"), told.append)
        office.desk.announce(*office.ledger.hold("R-2", person="dan"), told.append)
        attempts = [
            (client_of(office, "ana"), "R-1", 403),
            (client_of(office, "bo"), "R-1", 404),
            (client_of(office, "eva"), "R-2", 404),
            (client_of(office, "mallory"), "R-1", 403),
            (client_of(office, None), "R-1", 401),
            (office.client, "R-1", 403),
            (ApprovalClient(UnixSocket(office.socket, VKEY), key_of("ana")), "R-1", 403),
        ]
        for client, name, status in attempts:
            with pytest.raises(ApiError) as refused:
                await asyncio.to_thread(client.withdraw, name)
            assert refused.value.status == status
        assert told == []


@pytest.mark.parametrize("target", ["/v1/requests/R-1/withdraw?", "/v1/requests/%52-1/withdraw"])
async def test_what_is_spelled_otherwise_than_the_ledger_could_keep_it_withdraws_nothing(target: str) -> None:
    """Nobody takes anything back in a way that they could deny later."""
    async with networked() as office:
        told: list[Any] = []
        office.desk.announce(*office.ledger.hold("R-1"), told.append)
        status, said = await call(office, "POST", target, b"", headers("POST", target, person="eva"))
        assert (status, "sign '/v1/requests/R-1/withdraw'" in said["error"]) == (400, True)
        assert told == []


async def test_the_requester_withdraws_by_the_socket_with_a_signed_call() -> None:
    async with networked() as office:
        office.desk.announce(*office.ledger.hold("R-1"), lambda _: office.desk.retire("R-1", State.WITHDRAWN))
        local = ApprovalClient(UnixSocket(office.socket, VKEY), key_of("eva"))
        assert (await asyncio.to_thread(local.withdraw, "R-1")).state == "withdrawn"


async def test_who_withdraws_too_late_is_told_what_happened_instead() -> None:
    async with networked() as office:
        office.desk.announce(*office.ledger.hold("R-1"), lambda _: office.desk.retire("R-1", State.DENIED))
        with pytest.raises(ApiError, match="it is denied") as refused:
            await asyncio.to_thread(client_of(office, "eva").withdraw, "R-1")
        assert refused.value.status == 409


# --- a flood -------------------------------------------------------------------------------------------------------


async def test_a_flood_of_junk_keeps_out_no_decision_by_the_socket() -> None:
    slow = Listening("approval.address", "127.0.0.1", 0, lambda: None, calls_per_s=5)
    async with networked(slow) as office:
        office.hold()
        statuses = [(await call(office, headers={}))[0] for _ in range(20)]
        assert statuses.count(429) >= 4
        opened = office.desk.open["R-1"]
        document, signature = signed(office.ledger, opened.request, opened.preview, approver="ana")
        assert (await asyncio.to_thread(office.client.decide, "R-1", document, signature)).answer == "approve"
