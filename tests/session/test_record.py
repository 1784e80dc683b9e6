"""What a session records under a rule with `record = "summary"`: counts and a digest, and in full what went wrong."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from tests.listed import listed
from tests.play import (
    CLIENT_GONE,
    SESSION,
    Play,
    after,
    approve,
    command,
    durable,
    error,
    ledger_is_back,
    ledger_is_down,
    message,
    row,
    until,
)
from tests.session.stories import asked_anew, in_a_block, runs_by_itself, worked_by_hand

from pgnotary.judge.rule_table import RuleTable, rules_of
from pgnotary.judge.rules import PROFILES, policy_of
from pgnotary.ledger.entries import EntryType
from pgnotary.ledger.summaries import summaries_in
from pgnotary.session import actions
from pgnotary.session.events import ClientBytes, UpstreamBytes
from pgnotary.verify.sessions import told_by
from pgnotary.wire import messages
from pgnotary.wire.messages import SYNC

QUIET = RuleTable(
    name="quiet",
    result="forward",
    class_=("select", "insert", "copy-in"),
    qualifier=("write", "sequence", "single-reader"),
    record="summary",
)
INSERT = "insert into t values (1)"
ANSWER = message("T", b"\0\0") + row("1") + command("SELECT 1") + messages.ready_for_query(b"I")


def quiet(profile: str = "default", *more: RuleTable) -> Play:
    return Play(policy=policy_of(PROFILES[profile], rules_of([QUIET, *more])))


@pytest.fixture
def play() -> Iterator[Play]:
    """The session knows its database, and nothing of it waits to be recorded."""
    with quiet() as play:
        asked_anew(play)
        play.state.log.take()
        play.state.forwarded = 0
        yield play


def run(text: str) -> bytes:
    return messages.parse(b"", text.encode()) + messages.bind(b"", b"") + messages.execute(b"")


def digest(*texts: str) -> str:
    raw = b"".join(len(text).to_bytes(8, "big") + text for text in map(str.encode, texts))
    return hashlib.sha256(b"pgnotary/summary/1\n" + raw).hexdigest()


def recorded(play: Play) -> tuple[list[Any], dict[str, tuple[int, int, str]], list[bytes]]:
    """Take what waits: what is listed, what is counted by kind (executions, rows, digest), and all that is sealed."""
    found: list[Any] = []
    counted: dict[str, tuple[int, int, str]] = {}
    sealed: list[bytes] = []
    for draft in play.state.log.take():
        sealed += draft.sealed.values()
        if "summaries" in draft.body:
            counted |= {each.kind: (each.executions, each.rows, each.sha256) for each in summaries_in(draft.body)}
        else:
            found += listed(draft.body)
    return found, counted, sealed


# --- each way to run a statement --------------------------------------------------------------------------------------


def test_what_passes_the_short_way_is_counted(play: Play) -> None:
    worked_by_hand(play)
    for text in ("select 1", "select 2"):
        data = messages.query(text.encode())
        assert play.session.receive(ClientBytes(data), play.now) == [actions.ToUpstream(data)]
        play.clock += 0.25
        assert play.session.receive(UpstreamBytes(ANSWER), play.now) == [actions.ToClient(ANSWER)]
    (draft,) = play.state.log.take()
    assert draft.sealed == {}
    assert draft.body["summaries"] == [
        {
            "kind": "select",
            "executions": 2,
            "rows": 2,
            "took_us": 500_000,
            "first": "2026-11-20T09:16:40.000000Z",
            "last": "2026-11-20T09:16:40.250000Z",
            "sha256": digest("select 1", "select 2"),
        }
    ]


def test_what_leaves_the_short_way_on_its_way_is_counted_once(play: Play) -> None:
    worked_by_hand(play)
    play.receive(ClientBytes(messages.query(b"select 1")))
    play.receive(UpstreamBytes(ANSWER[:20]))
    play.receive(UpstreamBytes(ANSWER[20:]))
    play << until("client ready I")
    assert recorded(play) == ([], {"select": (1, 1, digest("select 1"))}, [])


def test_a_prepared_read_is_counted_by_its_text(play: Play) -> None:
    play >> ClientBytes(messages.parse(b"s", b"select a from t where b = $1") + SYNC) << until("client ready I")
    for value in (b"7", b"secret"):
        bound = messages.bind(b"", b"s", b"\0\0\0\1" + len(value).to_bytes(4, "big") + value + b"\0\0")
        play >> ClientBytes(bound + messages.execute(b"") + SYNC) << until("client ready I")
    text = "select a from t where b = $1"
    assert recorded(play) == ([], {"select": (2, 2, digest(text, text))}, [])


def test_each_execution_of_a_batch_is_counted_up_to_the_one_that_fails(play: Play) -> None:
    play.server.on("select 1/0", error("22012", "division by zero"))
    data = run("select 1") + run("select 2") + run("select 1/0") + run("select 3") + SYNC
    play >> ClientBytes(data) << until("client ready I")
    found, counted, sealed = recorded(play)
    assert counted == {"select": (2, 2, digest("select 1", "select 2"))}
    assert ([each["sqlstate"] for each in found], sealed) == (["22012"], [b"select 1/0"])


def test_what_takes_the_long_way_is_counted_by_its_kind(play: Play) -> None:
    play >> INSERT << until("client ready I")
    play >> "select nextval('s')" << until("client ready I")
    in_a_block(play) >> "select 1" << until("client ready T")
    play >> "commit" << until("client ready I")
    play >> ClientBytes(run(INSERT) + SYNC) << until("client ready I")
    assert recorded(play) == (
        [],
        {"insert": (2, 10, digest(INSERT, INSERT)), "select": (2, 2, digest("select nextval('s')", "select 1"))},
        [],
    )


def test_a_text_of_several_is_counted_once_with_all_of_its_rows(play: Play) -> None:
    play >> "select 1; select 2" << until("client ready I")
    assert recorded(play) == ([], {"select": (1, 2, digest("select 1; select 2"))}, [])


def test_a_function_call_counts_as_the_select_that_it_stands_for(play: Play) -> None:
    play >> ClientBytes(message("F", (954).to_bytes(4, "big"))) << until("client ready I")
    assert recorded(play) == ([], {"select": (1, 0, digest("SELECT pg_catalog.loread($1, $2)"))}, [])


# --- what is listed all the same --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["show work_mem", "select 1; show work_mem", "begin; select 1; commit"])
def test_what_no_such_rule_forwards_as_a_whole_is_listed(play: Play, text: str) -> None:
    play >> text << until("client ready I")
    found, counted, sealed = recorded(play)
    assert (len(found), counted, sealed) == (1, {}, [text.encode()])


@pytest.mark.parametrize("extended", [False, True])
def test_an_error_is_listed_with_its_text(play: Play, *, extended: bool) -> None:
    play.server.on("select 1/0", error("22012", "division by zero"))
    data = run("select 1/0") + SYNC if extended else messages.query(b"select 1/0")
    play >> ClientBytes(data) << until("client ready I")
    found, counted, sealed = recorded(play)
    assert ([each["sqlstate"] for each in found], counted, sealed) == (["22012"], {}, [b"select 1/0"])


def test_an_error_in_place_of_the_usual_answer_is_listed(play: Play) -> None:
    worked_by_hand(play)
    play.receive(ClientBytes(messages.query(b"select 1")))
    play.receive(UpstreamBytes(error("57014", "cancelled") + messages.ready_for_query(b"I")))
    play << until("client ready I")
    found, counted, sealed = recorded(play)
    assert ([each["sqlstate"] for each in found], counted, sealed) == (["57014"], {}, [b"select 1"])


def test_what_is_refused_is_listed(play: Play) -> None:
    play >> "set client_encoding = 'LATIN1'" << until("client ready I")
    found, counted, _ = recorded(play)
    assert ([each["verdict"] for each in found], counted) == (["refuse"], {})


@pytest.mark.parametrize("extended", [False, True])
def test_what_is_undone_is_listed_with_why(play: Play, *, extended: bool) -> None:
    play.server.unsaid[INSERT] = "u"
    play >> ClientBytes(run(INSERT) + SYNC if extended else messages.query(INSERT.encode())) << until("client ready I")
    found, counted, sealed = recorded(play)
    assert [(each["sqlstate"], each["why"][:27]) for each in found] == [("55000", "undone: it changed public.u")]
    assert (counted, sealed) == ({}, [INSERT.encode()])


def test_what_the_wall_stops_is_listed_and_then_held() -> None:
    with quiet() as play:
        play.server.on("select 1 from w", error("25006", "cannot execute DELETE in a read-only transaction"))
        play >> "select 1 from w" << until("announce R-1")
        found, counted, sealed = recorded(play)
        assert ([each["sqlstate"] for each in found], counted, sealed) == (["25006"], {}, [b"select 1 from w"])
        play.server.scripted.clear()
        play >> approve() << until("client ready I")
        assert recorded(play) == ([], {}, [])


def test_what_would_have_been_held_is_listed() -> None:
    with quiet("observe", RuleTable(name="deletes", result="hold", class_="delete")) as play:
        play >> "delete from t" << until("client ready I")
        found, counted, sealed = recorded(play)
    assert ([each["would"] for each in found], counted, sealed) == (["policy/deletes"], {}, [b"delete from t"])


def test_data_of_a_copy_are_listed_with_their_digest(play: Play) -> None:
    play >> "copy t from stdin" << until("client copy in")
    play >> ClientBytes(message("d", b"1\n") + message("c")) << until("client ready I")
    found, counted, sealed = recorded(play)
    assert [(each["tag"], each["copied_sha256"]) for each in found] == [("COPY 5", hashlib.sha256(b"1\n").hexdigest())]
    assert (counted, sealed) == ({}, [b"copy t from stdin"])


# --- when it is written, and when it cannot be ------------------------------------------------------------------------


def test_it_is_written_once_a_second(play: Play) -> None:
    for _ in range(3):
        play >> "select 1" << until("client ready I")
    play >> after(1) << "note 3"
    (summary,) = play.ledger.body("forwarded")["summaries"]
    assert (summary["executions"], summary["sha256"]) == (3, digest(*["select 1"] * 3))
    play >> after(1)
    assert len(play.state.log) == 0


def test_while_it_is_on_its_way_the_next_one_waits(play: Play) -> None:
    worked_by_hand(play, server=False) >> "select 1" << until("client ready I")
    play >> after(1) << "note 1"
    play >> "select 2" << until("client ready I")
    play >> after(1)
    play >> durable << "note 1"
    play >> durable
    assert play.ledger.body("forwarded")["summaries"][0]["sha256"] == digest("select 2")


def test_many_are_written_before_the_second_is_over(play: Play) -> None:
    for _ in range(1_999):
        play >> "select 1" << until("client ready I")
    play >> "select 1" << until("client ready I") << "note 2000"
    assert play.ledger.body("forwarded")["summaries"][0]["executions"] == 2_000


def test_what_a_session_has_forwarded_is_what_its_ledger_counts(play: Play) -> None:
    play.server.on("select 1/0", error("22012", "division by zero"))
    for text in ("select 1", "select 1/0", INSERT, "show work_mem", "set client_encoding = 'LATIN1'"):
        play >> text << until("client ready I")
    play >> after(1) << "note 5"
    play >> "select 2" << until("client ready I")
    play >> CLIENT_GONE << until("close")
    entries = [entry for entry in play.ledger.entries if entry.type is EntryType.FORWARDED]
    closed = play.ledger.body("session-closed")
    told = [told_by(entry) for entry in entries]
    found = [sum(each.forwarded for each in told), sum(each.refused for each in told)]
    assert found == [closed["forwarded"], closed["refused"]] == [5, 1]
    assert all(entry.session == SESSION for entry in entries)


def full(play: Play) -> Play:
    """As much has been forwarded as may be while none of it is durable: one summary is on its way, 4,000 are behind."""
    worked_by_hand(play, server=False) >> "select 1" << until("client ready I")
    play >> after(1) << "note 1"
    for _ in range(3_999):
        play.state.log.sum_up(b"select 1", "select", play.now.wall, 0, [])
    return play >> "select 1" << until("client ready I")


def waits(play: Play, data: bytes) -> bool:
    """Let the client send it, and say whether nothing comes of it now."""
    before = list(play.server.heard)
    play >> ClientBytes(data)
    return not play.unread and play.server.heard == before


READS = [messages.query(b"select 2"), messages.query(b"select nextval('s')"), run("select 2") + SYNC]


@pytest.mark.parametrize("data", READS)
def test_when_too_many_wait_for_the_disk_forwarding_waits_too(play: Play, data: bytes) -> None:
    full(play)
    assert waits(play, data)
    play >> durable << until("client ready I")
    assert play.server.heard[-1] == "COMMIT" or "2" in play.server.heard[-1]


@pytest.mark.parametrize("data", READS)
def test_who_waits_for_the_disk_is_told_that_it_is_lost(play: Play, data: bytes) -> None:
    assert waits(full(play), data)
    play >> ledger_is_down << "client ERROR 58030 the ledger cannot be written: disk full" << "client ready I"
    assert "select 2" not in play.server.heard


@pytest.mark.parametrize("data", READS)
def test_with_the_ledger_down_nothing_is_forwarded_and_nothing_is_lost(play: Play, data: bytes) -> None:
    play >> "select 1" << until("client ready I")
    heard = list(play.server.heard)
    play >> ledger_is_down
    play >> ClientBytes(data) << "client ERROR 58030 the ledger cannot be written: disk full" << "client ready I"
    assert play.server.heard == heard
    play >> ledger_is_back
    play >> "select 1" << until("client ready I")
    assert recorded(play)[1] == {"select": (2, 2, digest("select 1", "select 1"))}


def test_a_client_that_leaves_while_too_many_wait_has_them_recorded(play: Play) -> None:
    assert waits(full(play), messages.query(b"select 2"))
    play >> CLIENT_GONE
    play >> durable << "record forwarded + session-closed"
    runs_by_itself(play)
    play >> durable << "upstream Terminate" << "close"
    entries = [entry for entry in play.ledger.entries if entry.type is EntryType.FORWARDED]
    assert [(each.forwarded, each.refused) for each in map(told_by, entries)] == [(1, 0), (4_000, 0)]
