"""Webhooks over a real ledger and a real receiver, which is down, slow, refuses or breaks off: nothing is lost."""

import asyncio
import logging
import sqlite3
import ssl
from pathlib import Path
from typing import Any

import pytest
from nacl.exceptions import BadSignatureError
from tests.notify.receiving import HASTE, SECRET, Receiving, Word, hook, telling, until
from tests.pki import Files, Pki
from tests.store.ledgers import LEDGER, SEED, edited, opened

from pgnotary.config import load
from pgnotary.errors import ConfigError, LedgerBroken
from pgnotary.notify.notifier import Patience
from pgnotary.notify.outbox import Cursor, Outbox
from pgnotary.notify.running import notifying
from pgnotary.notify.sender import Answer
from pgnotary.notify.signature import public_text
from pgnotary.store.appender import Appender
from pgnotary.store.reader import SqliteReader
from pgnotary.webhook import webhook_seed


async def test_what_is_held_and_how_it_ends_is_told_in_order_signed_and_without_what_is_sealed(tmp_path: Path) -> None:
    async with Receiving().listening() as receiving, telling(tmp_path, hook("oncall", receiving)) as it:
        shown = await it.hold("R-7")
        await it.forward()
        await it.end("R-7", shown)
        await until(lambda: len(receiving.taken) == 2, "two messages")
    held, ended = receiving.taken
    assert receiving.attempts == receiving.taken
    assert held.said == {
        "type": "request.held",
        "timestamp": "2026-05-01T12:00:00.000000Z",
        "data": {
            "ledger": LEDGER, "entry": 1, "leaf": shown.leaf.hex(), "request": "R-7", "command": "pgnotary show R-7",
            "person": "eva", "user": "eva", "database": "shop", "kind": "delete", "rule": "default", "needs": 1,
            "expires_at": "2026-05-01T12:15:00.000000Z", "relations": ["public.orders"],
            "status": "measured", "rows": {"exact": 1204, "estimate": 1190},
        },
    }  # fmt: skip
    assert (ended.said["type"], ended.said["data"]["result"]) == ("request.ended", "expired")
    public = public_text(webhook_seed(SEED, "oncall"))
    for each in receiving.taken:
        assert b"s3cr3t" not in each.body
        assert SECRET.encode() not in each.body
        each.verify(public)
        assert each.headers["content-type"] == "application/json"
    with pytest.raises(BadSignatureError):
        held.verify(public_text(webhook_seed(SEED, "other")))


@pytest.mark.parametrize(
    "script",
    [[500, 500, 503, 500], [429, 408], ["drop", "drop"], [404, 400, 401], ["redirect"], [500, "drop", 302, 204]],
    ids=str,
)
async def test_a_receiver_that_fails_gets_everything_once_it_does_not(tmp_path: Path, script: list[Word]) -> None:
    receiving = Receiving(script=list(script))
    async with receiving.listening(), telling(tmp_path, hook("oncall", receiving)) as it:
        first = await it.hold("R-1")
        await it.hold("R-2")
        await it.end("R-1", first)
        await until(lambda: len(receiving.taken) == 3, "three messages")
        await asyncio.sleep(0.05)
    assert [each.said["data"]["request"] for each in receiving.taken] == ["R-1", "R-2", "R-1"]
    assert receiving.events == ["request.held", "request.held", "request.ended"]
    assert len({each.id for each in receiving.taken}) == 3
    # Until it was taken the same was sent, under the same id, and nothing else.
    tried = len(receiving.attempts) - 2
    assert {(each.id, each.body) for each in receiving.attempts[:tried]} == {
        (receiving.taken[0].id, receiving.taken[0].body)
    }
    assert receiving.elsewhere == 0


async def test_a_receiver_that_is_down_is_told_when_it_comes_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Receiving().listening() as receiving:
        port = int(receiving.url.rpartition(":")[2].partition("/")[0])
    async with telling(tmp_path, hook("oncall", receiving)) as it:
        await it.hold("R-1")
        await it.hold("R-2")
        await until(lambda: "no connection could be made" in caplog.text, "a warning")
        assert not receiving.attempts
        async with receiving.listening(port):
            await until(lambda: len(receiving.taken) == 2, "both messages")
    assert len(receiving.attempts) == 2


async def test_a_slow_receiver_holds_up_neither_another_one_nor_the_ledger(tmp_path: Path) -> None:
    slow, quick = Receiving(script=["hang"] * 99), Receiving()
    async with slow.listening(), quick.listening():
        async with telling(tmp_path, hook("slow", slow), hook("quick", quick), within_s=0.1) as it:
            for n in range(5):
                async with asyncio.timeout(2):
                    await it.hold(f"R-{n}")
            await until(lambda: len(quick.taken) == 5, "all at the quick one")
            await until(lambda: len(slow.attempts) >= 2, "another attempt at the slow one")
        assert len(quick.attempts) == 5
        assert len({each.id for each in slow.attempts}) == 1
        assert not slow.taken


async def test_what_was_recorded_before_a_stop_is_told_after_it(tmp_path: Path) -> None:
    receiving = Receiving(script=[500] * 1_000)
    async with receiving.listening():
        table = hook("oncall", receiving)
        async with telling(tmp_path, table) as it:
            first = await it.hold("R-1")
            await it.end("R-1", first)
            await it.hold("R-2")
            await until(lambda: receiving.attempts, "an attempt in vain")
        receiving.script = []
        async with telling(tmp_path, table) as it:
            await it.hold("R-3")
            await until(lambda: len(receiving.taken) == 4, "all four")
    assert [each.said["data"]["request"] for each in receiving.taken] == ["R-1", "R-1", "R-2", "R-3"]
    assert len({each.id for each in receiving.taken}) == 4


async def test_an_answer_that_was_lost_repeats_the_message_under_its_id(tmp_path: Path) -> None:
    receiving = Receiving(script=["drop"])
    async with receiving.listening(), telling(tmp_path, hook("oncall", receiving)) as it:
        await it.hold("R-1")
        await until(lambda: receiving.taken, "the message")
    assert len(receiving.attempts) == 2
    assert len({each.id for each in receiving.attempts}) == 1


async def test_a_new_webhook_begins_at_the_end_and_one_that_was_away_does_too(tmp_path: Path) -> None:
    receiving, other = Receiving(), Receiving()
    async with receiving.listening(), other.listening():
        async with telling(tmp_path) as it:
            await it.hold("R-1")
        assert not (tmp_path / "ledger.db.webhooks").exists()
        async with telling(tmp_path, hook("oncall", receiving)) as it:
            await it.hold("R-2")
            await until(lambda: receiving.taken, "what came since")
        # Without it, and so its place is forgotten.
        async with telling(tmp_path, hook("other", other)) as it:
            await it.hold("R-3")
            await until(lambda: other.taken, "the other one")
        async with telling(tmp_path, hook("oncall", receiving)) as it:
            await it.hold("R-4")
            await until(lambda: len(receiving.taken) == 2, "what came since")
    assert [each.said["data"]["request"] for each in receiving.taken] == ["R-2", "R-4"]


async def test_only_the_events_that_are_wanted_are_told(tmp_path: Path) -> None:
    receiving = Receiving()
    async with receiving.listening(), telling(tmp_path, hook("oncall", receiving, events=["ended"])) as it:
        shown = await it.hold("R-1")
        await it.end("R-1", shown)
        await until(lambda: receiving.taken, "the end")
    assert receiving.events == ["request.ended"]


async def test_a_receiver_that_is_gone_is_left_alone_until_the_next_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiving = Receiving(script=[410])
    async with receiving.listening():
        async with telling(tmp_path, hook("oncall", receiving)) as it:
            await it.hold("R-1")
            await until(lambda: "gone for good" in caplog.text, "an error in the log")
            await it.hold("R-2")
            await asyncio.sleep(0.15)
            assert len(receiving.attempts) == 1
        async with telling(tmp_path, hook("oncall", receiving)):
            await until(lambda: len(receiving.taken) == 2, "both messages")
    assert [each.said["data"]["request"] for each in receiving.taken] == ["R-1", "R-2"]


async def test_words_of_a_receiver_reach_no_log_and_a_reason_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiving = Receiving(script=[500] * 6)
    async with receiving.listening(), telling(tmp_path, hook("oncall", receiving)) as it:
        with caplog.at_level(logging.INFO):
            await it.hold("R-1")
            await until(lambda: "told at last" in caplog.text, "its end")
    assert "forged" not in caplog.text
    assert receiving.url not in caplog.text
    assert caplog.text.count("it answered 500") == 1


def documented() -> dict[str, Any]:
    """What the program on the page defines."""
    (_, program) = Path("docs/webhooks.md").read_text().split("```python\n")
    found: dict[str, Any] = {}
    exec(program.partition("```")[0], found)
    return found


async def test_the_program_in_the_documentation_verifies_a_message(tmp_path: Path) -> None:
    found = documented()
    async with Receiving().listening() as receiving, telling(tmp_path, hook("oncall", receiving)) as it:
        await it.hold("R-1")
        await until(lambda: receiving.taken, "the message")
    (message,) = receiving.taken
    found["verify"](message.headers, message.body, public_text(webhook_seed(SEED, "oncall")))
    with pytest.raises(BadSignatureError):
        found["verify"](message.headers, message.body + b" ", public_text(webhook_seed(SEED, "oncall")))


# --- whom a message reaches -------------------------------------------------------------------------------------------


def server_context(files: Files) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    return context


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


async def test_over_tls_a_receiver_with_a_good_certificate_is_told(tmp_path: Path, pki: Pki) -> None:
    receiving = Receiving()
    async with receiving.listening(tls=server_context(pki.issue("localhost"))):
        table = hook("oncall", receiving, ca_file=str(pki.ca))
        async with telling(tmp_path, table) as it:
            await it.hold("R-1")
            await until(lambda: receiving.taken, "the message")


@pytest.mark.parametrize("wrong", ["authority", "name", "expired", "system"])
async def test_a_receiver_with_a_wrong_certificate_is_told_nothing(
    tmp_path: Path, pki: Pki, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    receiving = Receiving()
    files = pki.issue("evil.example" if wrong == "name" else "localhost", expired=wrong == "expired")
    trusted = Pki(tmp_path / "other").ca if wrong == "authority" else pki.ca
    more = {} if wrong == "system" else {"ca_file": str(trusted)}
    async with receiving.listening(tls=server_context(files)):
        table = hook("oncall", receiving, **more)
        async with telling(tmp_path, table) as it:
            await it.hold("R-1")
            await until(lambda: "its certificate is not one that is trusted" in caplog.text, "a warning")
    assert not receiving.attempts


async def test_proxies_of_the_environment_are_told_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receiving, listener = Receiving(), Receiving()
    async with receiving.listening(), listener.listening():
        monkeypatch.setenv("http_proxy", listener.url)
        monkeypatch.setenv("HTTP_PROXY", listener.url)
        async with telling(tmp_path, hook("oncall", receiving)) as it:
            await it.hold("R-1")
            await until(lambda: receiving.taken, "the message")
    assert not listener.attempts


async def test_a_ledger_that_cannot_be_read_for_a_moment_or_a_fault_of_ours_delays_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[Exception] = [LedgerBroken(["the file cannot be read: database is locked"]), KeyError("a fault")]

    def reading(path: Path) -> SqliteReader:
        if errors:
            raise errors.pop(0)
        return SqliteReader(path)

    monkeypatch.setattr("pgnotary.notify.notifier.SqliteReader", reading)
    async with Receiving().listening() as receiving, telling(tmp_path, hook("oncall", receiving)) as it:
        await it.hold("R-1")
        await until(lambda: receiving.taken, "the message")
    assert "database is locked" in caplog.text
    assert "a fault of pgnotary's own" in caplog.text
    assert len(receiving.attempts) == 1


async def test_an_outbox_that_cannot_be_written_stops_telling_and_not_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full, keep = [True], Outbox.keep

    async def kept(self: Outbox, name: str, cursor: Cursor) -> None:
        if full[0]:
            raise OSError("database or disk is full")
        await keep(self, name, cursor)

    monkeypatch.setattr(Outbox, "keep", kept)
    async with Receiving().listening() as receiving, telling(tmp_path, hook("oncall", receiving)) as it:
        await it.hold("R-1")
        await it.hold("R-2")
        await until(lambda: "the outbox cannot be written" in caplog.text, "a warning")
        await asyncio.sleep(0.05)
        assert len(receiving.attempts) == 1
        full[0] = False
        await until(lambda: len(receiving.taken) == 2, "the second")
    assert len(receiving.attempts) == 2


# --- the outbox, and the ledger's past --------------------------------------------------------------------------------


async def test_an_outbox_of_another_ledger_or_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db.webhooks"
    async with telling(tmp_path, hook("oncall", "https://hooks.example.com")):
        pass
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE of SET ledger = 'another'")
    db.close()
    with pytest.raises(ConfigError, match="of the ledger 'another'"):
        async with telling(tmp_path, hook("oncall", "https://hooks.example.com")):
            pass
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(ConfigError, match="cannot be used as the outbox"):
        async with telling(tmp_path, hook("oncall", "https://hooks.example.com")):
            pass
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE other(x)")
    db.close()
    with pytest.raises(ConfigError, match="of something else"):
        async with telling(tmp_path, hook("oncall", "https://hooks.example.com")):
            pass


async def test_a_ledger_that_is_an_older_copy_is_told_of_from_its_end(tmp_path: Path) -> None:
    receiving = Receiving()
    async with receiving.listening():
        async with telling(tmp_path, hook("oncall", receiving)) as it:
            await it.hold("R-1")
            await until(lambda: receiving.taken, "the first")
        (tmp_path / "ledger.db").unlink()
        async with telling(tmp_path, hook("oncall", receiving)) as it:
            await it.hold("R-2")
            await until(lambda: len(receiving.taken) == 2, "what came since")
    assert receiving.taken[0].id != receiving.taken[1].id


async def test_entries_that_were_archived_untold_are_passed_over_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiving = Receiving(script=[500] * 1_000)
    async with receiving.listening():
        async with telling(tmp_path, hook("oncall", receiving)) as it:
            await it.hold("R-1")
            await it.hold("R-2")
            await until(lambda: receiving.attempts, "an attempt in vain")
        edited(tmp_path / "ledger.db", "DELETE FROM entry WHERE seq < 2")
        receiving.script = []
        # No store opens it without a base; to tell, it is enough that it can be read.
        async with (
            opened(tmp_path / "unused.db") as store,
            notifying(load(tmp_path / "pgnotary.toml"), Appender(store), 4, patience=HASTE),
        ):
            await until(lambda: receiving.taken, "the second")
    assert [each.said["data"]["request"] for each in receiving.taken] == ["R-2"]
    assert "entries #1 to #1 were archived before it was told of them" in caplog.text


# --- how long is waited -----------------------------------------------------------------------------------------------


def test_waits_grow_to_a_bound_and_are_not_alike() -> None:
    failed, patience = Answer(500, ""), Patience(first=1, most=300, asked=3_600)
    for attempts in (1, 2, 5, 9, 10, 10_000):
        waits = {patience.before(attempts, failed) for _ in range(20)}
        longest = min(300.0, 2.0 ** min(attempts - 1, 20))
        assert all(longest / 2 <= each <= longest for each in waits)
        assert len(waits) > 10
    assert all(150 <= patience.before(1, Answer(status, "")) <= 300 for status in (301, 307, 400, 401, 404, 422))
    assert all(patience.before(1, Answer(status, "")) <= 1 for status in (408, 425, 429, 500, 502, None))


def test_a_receiver_may_ask_to_be_left_alone_but_not_for_ever() -> None:
    patience = Patience(first=1, most=300, asked=3_600)
    assert patience.before(1, Answer(503, "", 120)) == 120
    assert patience.before(1, Answer(503, "", 999_999)) == 3_600


async def test_retry_after_is_heeded(tmp_path: Path) -> None:
    receiving = Receiving(script=[503], retry_after="1")
    started = asyncio.get_running_loop().time()
    async with receiving.listening(), telling(tmp_path, hook("oncall", receiving)) as it:
        await it.hold("R-1")
        await until(lambda: receiving.taken, "the message")
    assert asyncio.get_running_loop().time() - started >= HASTE.asked
