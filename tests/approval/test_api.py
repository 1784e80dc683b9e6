"""The approval API over a real Unix socket."""

import asyncio
import contextlib
import http.client
import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop
from tests.approval.office import (
    SEEDS,
    VKEY,
    FakeDesk,
    MemoryLedger,
    Office,
    public_of,
    roster,
    running_office,
    signed,
)

from pgnotary.approval import unix_socket
from pgnotary.approval.access import LOCAL
from pgnotary.approval.api import MAX_BODY_BYTES, ApprovalApi
from pgnotary.approval.bodies import SignedDecision, Standing
from pgnotary.approval.client import ApprovalClient
from pgnotary.approval.event_routes import MAX_WATCHERS
from pgnotary.approval.refusals import REFUSED_AT_ONCE, REFUSED_PER_S
from pgnotary.approval.request_papers import MAX_LISTED_BYTES
from pgnotary.approval.unix_socket import MAX_EACH, MAX_LOCAL
from pgnotary.errors import ApiError, ConfigError, DecisionRefused, LedgerUnavailable, RequestMoved
from pgnotary.ledger import checkpoint as notes
from pgnotary.ledger.entries import Entry, parse_entry
from pgnotary.request import sshsig
from pgnotary.request.life import State
from pgnotary.request.openssh import fingerprint
from pgnotary.request.roster import parse_roster


async def _call(path: Path, method: str, target: str, body: bytes | None = None) -> tuple[int, Any]:
    """Make one call by hand; its status and its JSON."""

    def call() -> tuple[int, Any]:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(5)
        connection.sock.connect(str(path))
        connection.request(method, target, body)
        with connection.getresponse() as response:
            answer = response.status, json.loads(response.read())
        connection.close()
        return answer

    return await asyncio.to_thread(call)


async def _status(office: Office, document: bytes, signature: str, name: str = "R-1") -> tuple[int, str]:
    """Hand in a decision that must be refused; status and reason."""
    with pytest.raises(ApiError) as refused:
        await asyncio.to_thread(office.client.decide, name, document, signature)
    return refused.value.status, str(refused.value)


def _sign(office: Office) -> tuple[bytes, str]:
    opened = office.desk.open["R-1"]
    return signed(office.ledger, opened.request, opened.preview)


async def test_open_requests_are_listed_with_the_raw_bytes_of_their_entries() -> None:
    async with running_office() as office:
        first, second = office.hold("R-1"), office.hold("R-2")
        listed = await asyncio.to_thread(office.client.requests)
        assert [paper.id for paper in listed] == ["R-1", "R-2"]
        assert [paper.request.entry for paper in listed] == [first.entry.raw, second.entry.raw]
        assert listed[0].request.opened == first.opened
        assert parse_entry(listed[0].preview.entry).after == first.leaf


async def test_a_long_statement_is_left_out_of_the_list_and_fetched_alone() -> None:
    async with running_office() as office:
        long = "DELETE FROM orders -- " + "x" * MAX_LISTED_BYTES
        office.hold("R-1", long)
        office.hold("R-2")
        _, listed = await _call(office.socket, "GET", "/v1/requests")
        assert ["statement" in each["request"].get("opened", {}) for each in listed] == [False, True]
        whole = await asyncio.to_thread(office.client.requests)
        assert whole[0].request.opened["statement"][1] == long.encode()


async def test_a_long_list_is_one_array_of_all() -> None:
    async with running_office() as office:
        for n in range(1, 101):
            office.hold(f"R-{n}", f"DELETE FROM orders -- {'x' * 1_000}")
        _, listed = await _call(office.socket, "GET", "/v1/requests")
        assert [each["id"] for each in listed] == [f"R-{n}" for n in range(1, 101)]


async def test_who_leaves_in_the_middle_of_a_long_list_disturbs_nobody() -> None:
    async with running_office() as office:
        for n in range(1, 101):
            office.hold(f"R-{n}", f"DELETE FROM orders -- {'x' * 10_000}")
        reader, writer = await asyncio.open_unix_connection(office.socket)
        writer.write(b"GET /v1/requests HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await reader.readexactly(10_000)
        writer.transport.abort()
        assert len(await asyncio.to_thread(office.client.requests)) == 100


async def test_an_open_request_comes_with_its_paper_and_an_ended_one_with_its_fate() -> None:
    async with running_office() as office:
        office.hold()
        held = await asyncio.to_thread(office.client.request, "R-1")
        assert held.state == "held"
        assert held.paper is not None
        office.desk.retire("R-1", State.EXPIRED)
        gone = await asyncio.to_thread(office.client.request, "R-1")
        assert (gone.state, gone.paper, gone.seq) == ("expired", None, 2)


async def test_what_became_of_a_request_is_what_its_entries_say() -> None:
    async with running_office() as office:
        office.ledger.hold("R-7")
        office.ledger.move("R-7", State.APPROVED)
        office.ledger.move("R-7", State.EXECUTED, rows=7, tags=["DELETE 7"])
        office.ledger.move("R-7", State.COMMITTED)
        standing = await asyncio.to_thread(office.client.request, "R-7")
        assert (standing.state, standing.rows, standing.tags, standing.seq) == ("committed", 7, ["DELETE 7"], 4)


@pytest.mark.parametrize("name", ["R-9", "R-0", "R-01", "r-1", "nothing", "R-1/../x", "R-" + "9" * 30])
async def test_an_unknown_request_is_not_found(name: str) -> None:
    async with running_office() as office:
        with pytest.raises(ApiError) as refused:
            await asyncio.to_thread(office.client.request, name)
        assert refused.value.status == 404


async def test_a_decision_goes_to_the_desk_byte_for_byte() -> None:
    async with running_office() as office:
        office.hold()
        document, signature = _sign(office)
        recorded = await asyncio.to_thread(office.client.decide, "R-1", document, signature)
        assert office.desk.taken == [(document, signature)]
        assert (recorded.seq, recorded.answer) == (2, "approve")
        assert sshsig.verify(signature, document, sshsig.DECISION_NAMESPACE) == public_of(SEEDS["bo"])


async def test_a_refusal_is_forbidden_with_its_reason() -> None:
    async with running_office() as office:
        office.hold()
        office.desk.refusal = DecisionRefused("nobody on the roster has the key")
        assert await _status(office, *_sign(office)) == (403, "nobody on the roster has the key")


async def test_somebody_faster_is_a_conflict() -> None:
    async with running_office() as office:
        office.hold()
        refusal = DecisionRefused("R-1 is withdrawn already")
        refusal.__cause__ = RequestMoved("R-1", "withdrawn")
        office.desk.refusal = refusal
        assert await _status(office, *_sign(office)) == (409, "R-1 is withdrawn already")


@pytest.mark.parametrize("how", ["retired", "deciding"])
async def test_a_request_that_is_not_open_is_a_conflict_and_still_reaches_the_desk(how: str) -> None:
    async with running_office() as office:
        office.hold()
        document, signature = _sign(office)
        if how == "retired":
            office.desk.retire("R-1", State.DENIED)
        else:
            office.desk.open["R-1"].deciding = True
        office.desk.refusal = DecisionRefused("R-1 is not open")
        assert (await _status(office, document, signature))[0] == 409
        # As evidence: the desk records what it refuses.
        assert office.desk.taken == [(document, signature)]


async def test_a_ledger_that_cannot_be_written_makes_the_service_unavailable() -> None:
    async with running_office() as office:
        office.hold()
        office.desk.refusal = LedgerUnavailable("the disk is full")
        status, reason = await _status(office, *_sign(office))
        assert status == 503
        assert "the disk is full" in reason


async def test_a_bug_in_the_desk_fails_one_call_and_not_the_api() -> None:
    async with running_office() as office:
        office.hold()
        office.desk.refusal = ZeroDivisionError("a bug")
        status, reason = await _status(office, *_sign(office))
        assert status == 500
        assert "a bug" not in reason
        office.desk.refusal = None
        assert (await asyncio.to_thread(office.client.decide, "R-1", *_sign(office))).answer == "approve"


class _Buggy:
    """Reviews and redactions that fail by a fault of our own."""

    waiting = ()
    first = 0
    hindrance = ""

    async def review(self, document: bytes, signature: str) -> int:
        raise ZeroDivisionError("a bug")

    async def redact(self, document: bytes, signature: str) -> Any:
        raise ZeroDivisionError("a bug")

    async def kept(self, of: str | int) -> list[Any]:
        return []


@pytest.mark.parametrize("what", ["reviews", "redactions"])
async def test_a_bug_behind_other_calls_fails_one_of_them_and_not_the_proxy(what: str) -> None:
    async with running_office(reviews=_Buggy(), redactions=_Buggy()) as office:
        body = msgspec.json.encode({"document": b"", "signature": ""})
        status, said = await _call(office.socket, "POST", f"/v1/{what}", body)
        assert (status, "a bug" in said["error"]) == (500, False)
        office.hold()
        assert (await asyncio.to_thread(office.client.decide, "R-1", *_sign(office))).answer == "approve"


async def test_a_decision_about_another_request_is_kept_as_evidence_and_decides_nothing() -> None:
    async with running_office() as office:
        office.hold("R-1")
        office.hold("R-2")
        document, signature = _sign(office)
        why = "the document is about R-1, not R-2"
        assert await _status(office, document, signature, name="R-2") == (403, why)
        assert office.desk.taken == []
        assert office.desk.rejected == [(document, signature, "R-2", why)]


async def test_a_decision_about_another_request_that_cannot_be_kept_makes_the_service_unavailable() -> None:
    async with running_office() as office:
        office.hold("R-1")
        office.hold("R-2")
        office.desk.refusal = LedgerUnavailable("the disk is full")
        assert (await _status(office, *_sign(office), name="R-2"))[0] == 503


async def test_a_document_that_cannot_be_read_reaches_the_desk_as_evidence() -> None:
    async with running_office() as office:
        office.hold()
        office.desk.refusal = DecisionRefused("document that cannot be read")
        assert (await _status(office, b"no document", "no signature"))[0] == 403
        assert office.desk.taken == [(b"no document", "no signature")]


_GOOD = msgspec.json.encode(SignedDecision(document=b"x", signature="y"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"document":"eA=="}',
        b'{"document":"eA==","signature":"y","extra":1}',
        b'{"document":"eA==","signature":null}',
        b'{"document":"not base64","signature":"y"}',
        b'{"document":["eA=="],"signature":"y"}',
        b'{"document":"eA==","signature":"\xff"}',
        b'{"document":"eA==","signature":"' + b"y" * 4_097 + b'"}',
        b'{"document":"' + b"eHh4" * 11_000 + b'","signature":"y"}',
        _GOOD[:-1],
        _GOOD + b"x",
        b"[" * 50_000,
    ],
)
async def test_a_body_that_is_not_a_decision_is_refused_before_the_desk(body: bytes) -> None:
    async with running_office() as office:
        office.hold()
        status, answer = await _call(office.socket, "POST", "/v1/requests/R-1/decisions", body)
        assert status == 400
        assert "not a decision" in answer["error"]
        assert office.desk.taken == []


async def test_a_body_beyond_the_limit_is_refused_as_too_large() -> None:
    async with running_office() as office:
        office.hold()
        status, _ = await _call(office.socket, "POST", "/v1/requests/R-1/decisions", b"x" * (MAX_BODY_BYTES + 1))
        assert status == 413
        assert office.desk.taken == []


@pytest.mark.parametrize(("method", "target"), [("GET", "/"), ("GET", "/v2/requests"), ("DELETE", "/v1/requests/R-1")])
async def test_what_there_is_not_is_told_in_json(method: str, target: str) -> None:
    async with running_office() as office:
        office.hold()
        status, answer = await _call(office.socket, method, target)
        assert status in (404, 405)
        assert target in answer["error"]


async def test_the_head_is_the_newest_checkpoint_and_the_desk_remembers_it() -> None:
    async with running_office() as office:
        office.hold()
        note = await asyncio.to_thread(office.client.head)
        found = notes.verify(note, VKEY)
        assert office.desk.heads == [office.ledger.head()]
        assert (found.size, found.root) == (2, office.ledger.head().root)


async def test_a_key_on_the_roster_has_a_person() -> None:
    async with running_office() as office:
        keys = {name: fingerprint(public_of(seed)) for name, seed in SEEDS.items()}
        assert await asyncio.to_thread(office.client.whois, keys["bo"]) == "bo"
        with pytest.raises(ApiError, match="nobody on the roster") as refused:
            await asyncio.to_thread(office.client.whois, keys["mallory"])
        assert refused.value.status == 404
        with pytest.raises(ApiError, match="43 characters") as refused:
            await asyncio.to_thread(office.client.whois, "bo")
        assert refused.value.status == 400


async def test_a_key_that_is_no_longer_valid_has_nobody() -> None:
    async with running_office() as office:
        line = next(signer.line for signer in roster("bo").signers)
        expired = parse_roster(line.replace('namespaces="', 'valid-before="20200101Z",namespaces="'))
        path = office.folder / "other.sock"
        async with ApprovalApi(office.desk, office.ledger, lambda: expired, path, VKEY):
            status, answer = await _call(
                path, "GET", f"/v1/whois?key={fingerprint(public_of(SEEDS['bo']))}".replace("+", "%2B")
            )
        assert status == 404
        assert "was valid until" in answer["error"]


async def _next(events: Iterator[list[str] | Standing]) -> list[str] | Standing:
    return await asyncio.to_thread(next, events)


async def test_watchers_hear_of_every_change_of_what_is_open() -> None:
    async with running_office() as office:
        office.hold("R-1")
        events = office.client.events()
        assert await _next(events) == ["R-1"]
        office.hold("R-2")
        assert await _next(events) == ["R-1", "R-2"]
        office.desk.retire("R-1", State.DENIED)
        assert await _next(events) == ["R-2"]
        await asyncio.to_thread(events.close)  # type: ignore[attr-defined]


async def test_a_change_while_an_event_is_written_is_told_too() -> None:
    told: list[bytes] = []

    async def write(data: bytes) -> None:
        """Something is held while the first event is on its way; the second ends the test."""
        told.append(data)
        if len(told) == 2:
            raise ConnectionResetError
        office.hold("R-1")

    async with running_office(3_600) as office, asyncio.timeout(10):
        with pytest.raises(ConnectionResetError):
            await office.api.events.stream(write, LOCAL)
        assert [json.loads(each.split(b"data: ")[1]) for each in told] == [[], ["R-1"]]


async def test_a_silent_stream_is_kept_alive_by_comments() -> None:
    async with running_office(0.01) as office:
        reader, writer = await asyncio.open_unix_connection(str(office.socket))
        writer.write(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"event: requests\ndata: []\n\n" in await reader.readuntil(b"data: []\n\n")
        await reader.readuntil(b": still here\n\n")
        await reader.readuntil(b": still here\n\n")
        writer.close()
        await writer.wait_closed()


async def test_a_watcher_that_leaves_makes_room_for_another() -> None:
    async with running_office(0.01) as office:
        streams = []
        for _ in range(MAX_WATCHERS):
            reader, writer = await asyncio.open_unix_connection(str(office.socket))
            writer.write(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"data: []\n\n")
            streams.append(writer)
        with pytest.raises(ApiError, match="watchers already") as refused:
            await _next(office.client.events())
        assert refused.value.status == 503
        for writer in streams:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(5):
            while True:
                events = office.client.events()
                try:
                    assert await _next(events) == []
                    break
                except ApiError:
                    await asyncio.sleep(0)
        await asyncio.to_thread(events.close)  # type: ignore[attr-defined]


async def test_the_end_of_the_api_ends_its_streams() -> None:
    async with asyncio.timeout(30):
        async with running_office(farewell_s=3_600) as office:
            events = office.client.events(patience_s=0)
            assert await _next(events) == []
        with pytest.raises(ApiError) as ended:
            await _next(events)
    assert ended.value.status == 0


def _post(document: bytes, signature: str) -> bytes:
    body = msgspec.json.encode(SignedDecision(document=document, signature=signature))
    head = f"POST /v1/requests/R-1/decisions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def test_a_decision_whose_caller_has_left_is_brought_to_its_end() -> None:
    async with running_office() as office:
        office.hold()
        gate = office.desk.waits_for = asyncio.Event()
        _, writer = await asyncio.open_unix_connection(str(office.socket))
        writer.write(_post(*_sign(office)))
        await writer.drain()
        await _until(lambda: office.desk.deciding)
        writer.close()
        await writer.wait_closed()
        # A whole other call: the API knows by then that the caller has gone.
        await asyncio.to_thread(office.client.head)
        gate.set()
        await _until(lambda: "R-1" not in office.desk.open)


async def test_a_decision_outlives_the_end_of_the_api() -> None:
    async def release(reader: asyncio.StreamReader, office: Office, gate: asyncio.Event) -> None:
        """Let the desk go on once the API has given up its caller."""
        assert await reader.read() == b""
        assert office.desk.taken == []
        gate.set()

    async with asyncio.TaskGroup() as tasks:
        async with running_office(farewell_s=0.01) as office:
            office.hold()
            document, signature = _sign(office)
            gate = office.desk.waits_for = asyncio.Event()
            reader, writer = await asyncio.open_unix_connection(str(office.socket))
            writer.write(_post(document, signature))
            await _until(lambda: office.desk.deciding)
            tasks.create_task(release(reader, office, gate))
        assert office.desk.taken == [(document, signature)]
        assert office.ledger.states["R-1"][0] is State.APPROVED
        writer.close()
        await writer.wait_closed()


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0)


async def test_the_socket_is_for_owner_and_group_alone_and_is_removed_at_the_end() -> None:
    async with running_office() as office:
        mode = office.socket.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o660
    assert not office.socket.exists()


async def test_the_socket_of_a_dead_process_is_replaced() -> None:
    async with running_office() as office:
        path = office.folder / "stale.sock"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        async with ApprovalApi(office.desk, office.ledger, lambda: roster("bo"), path, VKEY):
            assert (await _call(path, "GET", "/v1/requests"))[0] == 200


async def test_a_socket_that_somebody_listens_at_is_left_alone() -> None:
    async with running_office() as office:
        with pytest.raises(ConfigError, match="another process listens"):
            async with ApprovalApi(office.desk, office.ledger, lambda: roster("bo"), office.socket, VKEY):
                pass
        assert (await _call(office.socket, "GET", "/v1/requests"))[0] == 200


async def test_a_file_that_is_no_socket_is_left_alone() -> None:
    async with running_office() as office:
        path = office.folder / "precious"
        path.write_text("data")
        for taken in (path, office.folder):
            with pytest.raises(ConfigError, match="is not a socket"):
                async with ApprovalApi(office.desk, office.ledger, lambda: roster("bo"), taken, VKEY):
                    pass
        assert path.read_text() == "data"


async def test_a_socket_that_replaced_ours_is_not_removed() -> None:
    async with running_office() as office:
        path = office.folder / "other.sock"
        async with ApprovalApi(office.desk, office.ledger, lambda: roster("bo"), path, VKEY):
            path.unlink()
            path.write_text("somebody else's")
        assert path.read_text() == "somebody else's"


@pytest.mark.parametrize("name", ["x" * 200, "missing/x.sock"])
async def test_a_path_that_cannot_be_used_is_a_configuration_error(name: str) -> None:
    async with running_office() as office:
        with pytest.raises(ConfigError, match=r"approval\.socket"):
            async with ApprovalApi(office.desk, office.ledger, lambda: roster("bo"), office.folder / name, VKEY):
                pass


def test_it_works_on_uvloop_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def scene() -> None:
        async with running_office() as office:
            office.hold()
            events = office.client.events()
            assert await _next(events) == ["R-1"]
            await asyncio.to_thread(office.client.decide, "R-1", *_sign(office))
            assert await _next(events) == []
            assert stat.S_IMODE(office.socket.stat().st_mode) == 0o660
            await asyncio.to_thread(events.close)  # type: ignore[attr-defined]
        assert not office.socket.exists()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())


async def test_a_ledger_that_is_down_has_no_head() -> None:
    class Down(MemoryLedger):
        def checkpoint(self) -> str:
            raise LedgerUnavailable("the file is gone")

    async with running_office() as office:
        path = office.folder / "other.sock"
        async with ApprovalApi(FakeDesk(office.ledger), Down(), lambda: roster("bo"), path, VKEY):
            status, answer = await _call(path, "GET", "/v1/head")
        assert (status, answer) == (503, {"error": "the file is gone"})


# What became of it.


async def test_watchers_hear_how_an_approved_request_goes_on_until_it_has_ended() -> None:
    async with running_office(0.01) as office:
        office.hold()
        events = office.client.events()
        assert await _next(events) == ["R-1"]
        office.desk.retire("R-1", State.APPROVED)
        assert await _next(events) == []
        assert await _standing(events) == ("approved", None)
        office.ledger.move("R-1", State.EXECUTED, rows=3, tags=["DELETE 3"])
        assert await _standing(events) == ("executed", 3)
        office.ledger.move("R-1", State.COMMITTED, rows=3)
        assert await _standing(events) == ("committed", 3)
        office.hold("R-2")
        assert await _next(events) == ["R-2"]
        await asyncio.to_thread(events.close)  # type: ignore[attr-defined]


async def _standing(events: Iterator[list[str] | Standing]) -> tuple[str, int | None]:
    event = await _next(events)
    assert isinstance(event, Standing)
    return event.state, event.rows


async def test_a_ledger_that_cannot_be_read_for_a_while_does_not_end_the_stream() -> None:
    class Down(MemoryLedger):
        down = True

        async def entries_of(self, request: str) -> list[Entry]:
            if self.down:
                raise LedgerUnavailable("the file is gone")
            return await super().entries_of(request)

    async with running_office() as office:
        ledger = Down()
        desk = FakeDesk(ledger)
        path = office.folder / "other.sock"
        async with ApprovalApi(desk, ledger, lambda: roster("bo"), path, VKEY, keepalive_s=0.01) as api:
            ledger.followers.append(api.events.witness)
            desk.announce(*ledger.hold())
            events = ApprovalClient(path).events()
            assert await _next(events) == ["R-1"]
            desk.retire("R-1", State.DENIED)
            assert await _next(events) == []
            ledger.down = False
            assert await _standing(events) == ("denied", None)
            await asyncio.to_thread(events.close)  # type: ignore[attr-defined]


# Floods.


async def test_whoever_may_open_the_socket_cannot_fill_the_ledger_with_decisions_that_do_not_count() -> None:
    clock = [0.0]
    async with running_office(monotonic=lambda: clock[0]) as office:
        office.hold()
        office.desk.refusal = DecisionRefused("document that cannot be read")
        junk = b"x" * 32_000
        for _ in range(REFUSED_AT_ONCE):
            assert (await _status(office, junk, "no signature"))[0] == 403
        assert await _status(office, junk, "no signature") == (
            429, "too many decisions that do not count: wait a few seconds",
        )  # fmt: skip
        assert len(office.desk.taken) == REFUSED_AT_ONCE
        clock[0] += 1 / REFUSED_PER_S
        assert (await _status(office, junk, "no signature"))[0] == 403
        assert (await _status(office, junk, "no signature"))[0] == 429


async def test_a_decision_that_counted_cannot_be_replayed_without_end() -> None:
    async with running_office(monotonic=lambda: 0.0) as office:
        office.hold()
        document, signature = _sign(office)
        await asyncio.to_thread(office.client.decide, "R-1", document, signature)
        office.desk.refusal = DecisionRefused("R-1 is not open")
        statuses = [(await _status(office, document, signature))[0] for _ in range(REFUSED_AT_ONCE + 1)]
        assert statuses == [409] * REFUSED_AT_ONCE + [429]


async def test_an_approver_cannot_fill_the_ledger_with_well_signed_decisions_that_do_not_count() -> None:
    async with running_office(monotonic=lambda: 0.0) as office:
        office.hold()
        opened = office.desk.open["R-1"]
        office.desk.refusal = DecisionRefused("the head that it names is not one of this ledger")

        def another(number: int, person: str = "bo") -> tuple[bytes, str]:
            return signed(office.ledger, opened.request, opened.preview, approver=person, nonce=number.to_bytes(16))

        statuses = [(await _status(office, *another(number)))[0] for number in range(REFUSED_AT_ONCE + 5)]
        taken = statuses.index(429)
        assert statuses == [403] * taken + [429] * (len(statuses) - taken)
        assert len(office.desk.taken) == taken <= REFUSED_AT_ONCE + 3
        # Another approver is not kept out by that.
        office.desk.refusal = None
        recorded = await asyncio.to_thread(office.client.decide, "R-1", *another(99, "ana"))
        assert recorded.answer == "approve"


async def test_a_flood_does_not_keep_out_a_good_decision() -> None:
    async with running_office(monotonic=lambda: 0.0) as office:
        office.hold()
        office.desk.refusal = DecisionRefused("document that cannot be read")
        while (await _status(office, b"junk", "no signature"))[0] == 403:
            pass
        office.desk.refusal = None
        assert (await asyncio.to_thread(office.client.decide, "R-1", *_sign(office))).answer == "approve"


async def test_an_empty_roster_is_told_to_whoever_wants_to_decide() -> None:
    async with running_office(people=()) as office:
        office.hold()
        assert [paper.id for paper in await asyncio.to_thread(office.client.requests)] == ["R-1"]
        with pytest.raises(ApiError, match="the roster of approvers is empty: nobody can decide") as refused:
            await asyncio.to_thread(office.client.whois, fingerprint(public_of(SEEDS["bo"])))
        assert refused.value.status == 404


async def test_one_user_leaves_places_at_the_socket_to_others_and_all_others_to_root(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_office() as office, contextlib.AsyncExitStack() as opened:

        def become(user: int) -> None:
            monkeypatch.setattr(unix_socket, "user_of", lambda _: user)

        async def let_in() -> bool:
            """Connect, ask nothing yet, and say whether that was let in."""
            reader, writer = await asyncio.open_unix_connection(office.socket)
            opened.callback(writer.close)
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(reader.read(), 0.05) != b""
            return True

        for user in (4_001, 4_002, 4_003):
            become(user)
            assert all(await asyncio.gather(*(let_in() for _ in range(MAX_EACH))))
            assert not await let_in()
        become(4_004)
        assert not await let_in()
        for user in (0, os.geteuid()):
            become(user)
            assert (await _call(office.socket, "GET", "/v1/head"))[0] == 200


async def test_who_says_nothing_at_the_socket_is_cut_off_and_who_watches_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pgnotary.door.HEAD_S", 0.1)
    async with running_office() as office:
        reader, writer = await asyncio.open_unix_connection(office.socket)
        writer.write(b"GET /v1/head HTTP/1.1\r\nX: ")
        watching, watcher = await asyncio.open_unix_connection(office.socket)
        watcher.write(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            assert (await watching.readline()).split()[1] == b"200"
        await asyncio.sleep(0.2)
        assert not watching.at_eof()
        writer.close()
        watcher.close()


def test_the_kernel_says_who_has_connected() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert unix_socket.user_of(ours) == os.geteuid()


async def test_who_opens_the_socket_again_and_again_leaves_descriptors_to_the_clients() -> None:
    async with running_office() as office:
        opened = [await asyncio.open_unix_connection(office.socket) for _ in range(MAX_LOCAL)]
        reader, one_too_many = await asyncio.open_unix_connection(office.socket)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        one_too_many.close()
        for _, writer in opened:
            writer.close()
        async with asyncio.timeout(10):
            status = 0
            while status != 200:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    status, _ = await _call(office.socket, "GET", "/v1/head")
