"""The short way: which bytes pass as they came, and that whatever else happens is dealt with as on the long way."""

from datetime import timedelta

import pytest
from tests.listed import listed
from tests.play import Play, after, approve, command, error, ledger_is_back, ledger_is_down, message, row, until
from tests.session.stories import runs_by_itself, worked_by_hand

from pgnotary.judge.catalog import Catalog
from pgnotary.judge.policy import Verdict
from pgnotary.judge.statement import Statement
from pgnotary.ledger.canonical import timestamp
from pgnotary.session import actions, events
from pgnotary.session.events import ClientBytes, UpstreamBytes
from pgnotary.session.state import SharedCatalog
from pgnotary.wire import messages
from pgnotary.wire.messages import SYNC

QUERY = messages.query(b"select 1")
DESCRIBE = message("D", b"P\0")
EXECUTE = messages.execute(b"")
OF_S = messages.bind(b"", b"s") + DESCRIBE + EXECUTE + SYNC
WHOLE = messages.parse(b"", b"select 1") + messages.bind(b"", b"") + DESCRIBE + EXECUTE + SYNC
ANSWER = message("T", b"\0\0") + row("1") + command("SELECT 1") + messages.ready_for_query(b"I")


def passes(play: Play, data: bytes) -> bool:
    """Let the client send it, and say whether it went to the server at once, with nothing beside it."""
    found = play.session.receive(ClientBytes(data), play.now)
    return found == [actions.ToUpstream(data)] and play.session._passing.under_way


class Busy:
    """A judge of which nobody may ask anything now."""

    def ready(self, *_: object) -> bool:
        return False

    def judge(self, *_: object) -> tuple[Statement, Verdict]:
        raise AssertionError

    def verdict(self, *_: object) -> Verdict:
        raise AssertionError


@pytest.fixture
def play(play: Play) -> Play:
    """The session has prepared `s` and knows all that it has to know."""
    play >> ClientBytes(messages.parse(b"s", b"select 1") + SYNC) << until("client ready I")
    play >> ClientBytes(messages.parse(b"d", b"delete from t") + SYNC) << until("client ready I")
    play.unread.clear()
    return worked_by_hand(play)


@pytest.mark.parametrize(
    "data",
    [
        QUERY,
        messages.query(b"select 2"),
        messages.query(b"select a, b from t where id = 17 and b <> -3;"),
        OF_S,
        messages.bind(b"", b"s") + EXECUTE + SYNC,
        WHOLE,
        messages.parse(b"new", b"select 1") + messages.bind(b"", b"new") + EXECUTE + SYNC,
        messages.bind(b"", b"s", b"\0\1\0\1\0\2\0\0\0\4\0\0\0\7\0\0\0\0\0\0") + DESCRIBE + EXECUTE + SYNC,
    ],
)
def test_a_plain_read_passes(play: Play, data: bytes) -> None:
    assert passes(play, data)


@pytest.mark.parametrize(
    "data",
    [
        messages.query(b"delete from t"),
        messages.query(b"select 1; delete from t"),
        messages.query(b"select 1; select 2"),
        messages.query(b"select nextval('s')"),
        messages.query(b"select * from t for update"),
        messages.query(b"select * into n from t"),
        messages.query(b"with d as (delete from t returning 1) select 1 from d"),
        messages.query(b"select set_config('search_path', 'other', false)"),
        messages.query(b"select current_setting('transaction_read_only')"),
        messages.query(b"select setting from pg_catalog.pg_settings"),
        messages.query(b"begin"),
        messages.query(b"set work_mem = 1"),
        messages.query(b""),
        messages.query(b"insert into t values (1)"),
        messages.query(b"copy t to stdout"),
        messages.query(b"execute s"),
        messages.query(b"select \xff"),
        message("Q", b"select 1\0delete from t\0"),
        message("Q", b"select 1"),
        QUERY + QUERY,
        QUERY + b"Q",
        QUERY[:-1],
        messages.bind(b"", b"d") + DESCRIBE + EXECUTE + SYNC,
        messages.bind(b"", b"nobody") + DESCRIBE + EXECUTE + SYNC,
        messages.bind(b"", b"") + DESCRIBE + EXECUTE + SYNC,
        messages.parse(b"", b"delete from t") + messages.bind(b"", b"") + EXECUTE + SYNC,
        messages.parse(b"", b"select 1") + messages.bind(b"", b"d") + EXECUTE + SYNC,
        messages.parse(b"d2", b"select 1") + messages.bind(b"", b"d") + EXECUTE + SYNC,
        messages.parse(b"pgnotary_x", b"select 1") + messages.bind(b"", b"pgnotary_x") + EXECUTE + SYNC,
        messages.bind(b"c", b"s") + messages.execute(b"c") + SYNC,
        messages.bind(b"", b"s") + message("E", b"\0\0\0\0\1") + SYNC,
        messages.bind(b"", b"s") + EXECUTE + message("H"),
        OF_S + OF_S,
        OF_S + QUERY,
        messages.bind(b"", b"s") + EXECUTE + EXECUTE + SYNC,
        messages.bind(b"", b"s") + messages.bind(b"", b"d") + EXECUTE + SYNC,
        OF_S[:-5],
        OF_S[:-1],
        SYNC,
        message("X"),
        b"B",
        b"P\0\0\0\4",
        b"B\0\0\0\0" + OF_S[5:],
        b"P\xff\xff\xff\xff" + WHOLE[5:],
    ],
)
def test_anything_else_takes_the_long_way(play: Play, data: bytes) -> None:
    assert not passes(play, data)


def test_what_is_longer_takes_the_long_way(play: Play) -> None:
    value = b"\0\0\0\1" + (70_000).to_bytes(4, "big") + bytes(70_000) + b"\0\0"
    assert not passes(play, messages.bind(b"", b"s", value) + DESCRIBE + EXECUTE + SYNC)


def test_the_answer_passes_and_is_noted(play: Play) -> None:
    assert passes(play, QUERY)
    play.clock += 0.25
    assert play.session.receive(UpstreamBytes(ANSWER), play.now) == [actions.ToClient(ANSWER)]
    play.state.log.take()
    assert passes(play, OF_S)
    play.clock += 0.25
    answer = message("2") + ANSWER
    assert play.session.receive(UpstreamBytes(answer), play.now) == [actions.ToClient(answer)]
    (draft,) = play.state.log.take()
    assert listed(draft.body) == [
        {
            "text": "t1",
            "kind": "select",
            "at": timestamp(play.now.wall - timedelta(seconds=0.25)),
            "took_us": 250_000,
            "verdict": "forward",
            "tag": "SELECT 1",
            "rows": 1,
        }
    ]


@pytest.mark.parametrize("prepares", [False, True])
def test_names_are_what_they_would_be(play: Play, *, prepares: bool) -> None:
    if prepares:
        new = messages.parse(b"new", b"select 1") + messages.bind(b"", b"new") + EXECUTE + SYNC
        assert passes(play, new)
        assert b"new" not in play.state.names.statements, "the server has not said that it took it"
        assert play.session.receive(UpstreamBytes(message("1") + message("2") + ANSWER[7:]), play.now)
        assert play.state.names.statements[b"new"] == b"select 1"
    else:
        assert passes(play, WHOLE)
        play >> UpstreamBytes(message("1") + message("2") + ANSWER) << until("client ready I")
        assert b"" in play.state.names.statements
        assert passes(play, QUERY)
        assert b"" not in play.state.names.statements
    assert play.state.names.portals == {}


@pytest.mark.parametrize(
    ("sent", "answer", "told"),
    [
        (QUERY, error("22012", "division by zero") + messages.ready_for_query(b"I"), "client ERROR 22012 ..."),
        (QUERY, message("N", b"SNOTICE\0C00000\0Mhm\0\0") + ANSWER, "client NOTICE ..."),
        (QUERY, messages.parameter_status("TimeZone", "UTC") + ANSWER, "client parameter..."),
        (QUERY, ANSWER[: ANSWER.index(b"D")] + row("1") * 3 + command("SELECT 3") + ANSWER[-6:], "client columns"),
        (WHOLE, message("1") + message("2") + message("n") + command("SELECT 0") + ANSWER[-6:], "client 1"),
    ],
)
def test_another_answer_is_told_all_the_same(play: Play, sent: bytes, answer: bytes, told: str) -> None:
    assert passes(play, sent)
    play >> UpstreamBytes(answer) << told << until("client ready I")
    assert passes(play, QUERY)


@pytest.mark.parametrize("whole", [False, True])
def test_behind_a_copy_a_batch_has_its_ready_all_the_same(play: Play, *, whole: bool) -> None:
    """What a COPY of a Query had left behind was taken for the batch's own, and the next batch was passed over."""
    runs_by_itself(play)
    play >> "copy t from stdin" << until("announce R-1")
    play >> approve() << until("client copy in")
    play >> ClientBytes(message("d", b"1\n") + message("c")) << until("client ready I")
    play >> "select 1" << until("client ready I")
    worked_by_hand(play)
    answer = message("1") + message("2") + ANSWER
    if not whole:
        answer = error("22012", "division by zero") + ANSWER[-6:]
    for _ in range(2):
        assert passes(play, WHOLE)
        play.receive(UpstreamBytes(answer[:20]))
        play.receive(UpstreamBytes(answer[20:]))
        play << until("client ready I")


@pytest.mark.parametrize("at", [1, 5, 7, len(ANSWER) - 6, len(ANSWER) - 1])
def test_an_answer_in_two_pieces_is_put_together(play: Play, at: int) -> None:
    assert passes(play, QUERY)
    play.receive(UpstreamBytes(ANSWER[:at]))
    play.receive(UpstreamBytes(ANSWER[at:]))
    play << "client columns" << "client row 1" << "client SELECT 1" << "client ready I"


def test_a_prepared_read_that_fails_is_followed_by_its_sync(play: Play) -> None:
    assert passes(play, OF_S)
    play >> UpstreamBytes(error("22P02", "invalid input") + messages.ready_for_query(b"I")) << "client ERROR 22P02 ..."
    play << "client ready I"
    assert passes(play, OF_S)


def test_a_read_that_the_wall_stops_is_held(play: Play) -> None:
    assert passes(play, messages.query(b"select 1 from w"))
    runs_by_itself(play)
    stopped = error("25006", "cannot execute DELETE in a read-only transaction") + messages.ready_for_query(b"I")
    play >> UpstreamBytes(stopped) << until("announce R-1")


def test_what_comes_behind_it_waits(play: Play) -> None:
    assert passes(play, QUERY)
    play >> ClientBytes(messages.query(b"select 2"))
    play >> UpstreamBytes(ANSWER) << until("client ready I") << "upstream select 2"


def test_a_delete_behind_it_is_held(play: Play) -> None:
    assert passes(play, OF_S)
    play >> ClientBytes(messages.query(b"delete from t where id < 6"))
    runs_by_itself(play)
    play >> UpstreamBytes(message("2") + ANSWER) << until("announce R-1")


def test_a_cancel_is_passed_on_and_nothing_passes_until_it_is_delivered(play: Play) -> None:
    assert passes(play, QUERY)
    play >> events.CancelRequested() << "cancel"
    play >> UpstreamBytes(ANSWER) << until("client ready I")
    assert not passes(play, QUERY)
    play >> events.CancelDelivered() << "upstream select 1"


def test_a_client_that_leaves_takes_it_back(play: Play) -> None:
    assert passes(play, QUERY)
    play >> events.ClientGone() << "cancel"


def test_a_server_that_leaves_ends_the_session(play: Play) -> None:
    assert passes(play, QUERY)
    play.ledger.by_hand = False
    play >> events.UpstreamGone() << "client FATAL 08006 ..." << until("close")


def test_a_flow_that_would_have_sent_something_else_is_a_fault_of_our_own(play: Play) -> None:
    assert passes(play, QUERY)
    give_up = play.session._passing.give_up
    play.session._passing.give_up = lambda: (*give_up()[:2], b"something else")  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="not what the long way would have sent"):
        play.receive(events.Tick())


def test_a_tick_changes_nothing(play: Play) -> None:
    assert passes(play, QUERY)
    play >> UpstreamBytes(ANSWER) << until("client ready I")
    assert passes(play, QUERY)
    play >> after(1) << "note 1"
    play >> UpstreamBytes(ANSWER) << "client columns" << until("client ready I")


def test_with_the_ledger_down_nothing_passes(play: Play) -> None:
    play >> ledger_is_down
    assert not passes(play, QUERY)
    play >> ledger_is_back
    assert passes(play, QUERY)


def test_in_a_block_or_a_failed_one_nothing_passes(play: Play) -> None:
    play.server.by_hand = False
    play >> "begin" << until("client ready T")
    assert not passes(play, QUERY)


def test_behind_a_set_nothing_passes_before_the_scope_is_known_again(play: Play) -> None:
    play.server.by_hand = False
    play >> "set search_path = other" << until("client ready I")
    assert not passes(play, QUERY)


def test_with_a_catalog_that_may_have_changed_nothing_passes(play: Play) -> None:
    play.generation += 1
    assert not passes(play, QUERY)


def test_with_an_old_catalog_nothing_passes(play: Play) -> None:
    play.clock += 61
    assert not passes(play, QUERY)


def test_with_another_catalog_it_is_judged_anew(play: Play) -> None:
    assert passes(play, messages.query(b"select f(1)")) is False
    other = Catalog(known=True, elsewhere=frozenset({"abs"}))
    play.state.shared = SharedCatalog(other, at=play.clock, generation=0)
    play.state.catalog = other
    assert not passes(play, messages.query(b"select abs(1)"))


def test_what_must_not_be_read_now_takes_the_long_way_and_passes_later(play: Play) -> None:
    judges, play.state.judges = play.state.judges, Busy()
    assert play.session.receive(ClientBytes(QUERY), play.now) == [actions.Read(b"select 1")]
    play.state.judges = judges
    runs_by_itself(play)
    play >> events.WasRead(judges.judge(b"select 1", play.state.catalog, play.state.scope, play.state.subject)[0])
    play << until("client ready I")
    assert passes(play, QUERY)


def test_names_that_code_may_have_changed_do_not_pass(play: Play) -> None:
    play.state.names.doubtful = True
    assert not passes(play, OF_S)


def test_in_a_database_whose_types_run_code_no_typed_parse_passes(play: Play) -> None:
    odd = Catalog(known=True, types=frozenset({"odd"}))
    play.state.shared = SharedCatalog(odd, at=play.clock, generation=0)
    play.state.catalog = odd
    typed = messages.parse(b"", b"select $1", (16_400,)) + messages.bind(b"", b"", b"\0\0\0\1\0\0\0\0011\0\0")
    assert not passes(play, typed + EXECUTE + SYNC)


def test_behind_a_tick_it_is_noted_at_once(play: Play) -> None:
    play >> after(1)
    assert passes(play, QUERY)
    (told, noted) = play.session.receive(UpstreamBytes(ANSWER), play.now)
    assert isinstance(told, actions.ToClient)
    assert isinstance(noted, actions.Note)
