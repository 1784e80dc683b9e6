"""Row ceilings: what is more than was signed does not stay, in whatever table and by whatever way it was changed."""

from collections.abc import Sequence

import pytest
from tests.play import Play, approve, error, until
from tests.session.stories import COUNTED, DELETE, GIVES_XID, SAME, asked_anew, held, in_a_block

from pgnotary.session.changes import BEFORE, BEHIND
from pgnotary.session.deferred import FIRE

CTE = "with gone as (delete from t returning 1) select count(*) from gone"
AGAIN = "upstream SET CONSTRAINTS ALL IMMEDIATE; WITH RECURSIVE locks..."


@pytest.fixture
def play(play: Play) -> Play:
    """The catalog is known, as in every session that has judged anything."""
    return asked_anew(play)


def test_as_many_rows_as_were_signed_stay_and_are_told_by_relation(play: Play) -> None:
    play.server.counted[DELETE] = {"t": (0, 0, 5), "items": (0, 0, 7)}
    held(play) >> approve(max_rows=5, others=7) << until("client ready I")
    executed = play.ledger.body("executed")
    assert executed["changed"] == [
        {"relation": "public.t", "target": True, "deleted": 5},
        {"relation": "public.items", "target": False, "deleted": 7},
    ]
    assert (executed["rows"], executed["other_rows"]) == (5, 7)
    assert play.server.committed == [DELETE]


@pytest.mark.parametrize("others", [0, 6])
def test_a_cascade_counts_against_what_was_signed(play: Play, others: int) -> None:
    play.server.counted[DELETE] = {"t": (0, 0, 5), "items": (0, 0, 7)}
    held(play) >> approve(max_rows=5, others=others) << until(COUNTED) << "record executed" << "upstream ROLLBACK"
    play << "record outcome rolled-back"
    play << f"client ERROR 55000 R-1 rolled back: 7 rows affected in other tables, approved for at most {others} there"
    play << "client ready I"
    exceeded = {"max_rows": 5, "rows": 5, "other_rows": 7} | ({"max_other_rows": others} if others else {})
    assert play.ledger.body("outcome")["ceiling_exceeded"] == exceeded
    assert play.server.committed == []


def test_any_number_elsewhere_holds_the_own_rows_all_the_same(play: Play) -> None:
    play.server.counted[DELETE] = {"t": (0, 0, 5), "items": (0, 0, 7)}
    held(play) >> approve(max_rows=4, others=None) << until("client ERROR 55000...") << "client ready I"
    held(play, request="R-2") >> approve("R-2", max_rows=5, others=None) << until("client DELETE 5") << "client ready I"
    exceeded = play.ledger.body("outcome", "R-1")["ceiling_exceeded"]
    assert exceeded == {"max_rows": 4, "max_other_rows": "any", "rows": 5, "other_rows": 7}


def test_what_exceeds_is_recorded_as_executed_before_it_is_undone(play: Play) -> None:
    held(play) >> approve(max_rows=4) << until(SAME) << COUNTED << "record executed" << "upstream ROLLBACK"
    play << "record outcome rolled-back" << "client ERROR 55000..." << "client ready I"
    assert play.ledger.body("executed")["rows"] == 5
    assert play.ledger.body("outcome")["ceiling_exceeded"] == {"max_rows": 4, "rows": 5}


@pytest.mark.parametrize(("signed", "stays"), [(11, True), (10, False)])
def test_a_change_inside_a_with_query_of_a_select_counts(play: Play, signed: int, stays: bool) -> None:
    play.server.counted[CTE] = {"t": (0, 0, 11)}
    held(play, CTE) >> approve(max_rows=signed) << until("client ready I")
    assert play.ledger.body("executed")["rows"] == 11
    assert play.server.committed == [CTE] * stays


def test_a_ceiling_in_the_clients_block_aborts_it(play: Play) -> None:
    play.server.counted[DELETE] = {"t": (0, 0, 5), "items": (0, 0, 1)}
    held(in_a_block(play)) >> approve(max_rows=5) << until(COUNTED) << "record executed"
    play << "upstream Bind" << "upstream Sync" << "record outcome rolled-back"
    play << "client ERROR 55000 R-1 rolled back: 1 rows affected..." << "client ready E"
    play >> "commit" << "upstream commit" << "client ROLLBACK" << "client ready I"
    assert play.server.committed == []


def test_without_track_counts_a_ceiling_lets_nothing_run(play: Play) -> None:
    play.server.counting = "off"
    held(play) >> approve(max_rows=5) << until("record void") << "upstream ROLLBACK"
    play << "client ERROR 55000 R-1 does not run: its rows cannot be counted, approved for at most 5"
    play << "client ready I"
    assert DELETE not in play.server.heard


def test_without_track_counts_and_a_ceiling_it_runs_and_its_rows_are_not_known(play: Play) -> None:
    play.server.counting = "off"
    held(play) >> approve() << until("client ready I")
    assert play.server.committed == [DELETE]
    assert play.ledger.body("executed")["uncountable"] == "cannot be counted while track_counts is off"
    assert "rows" not in play.ledger.body("outcome")


def test_a_count_that_fails_leaves_nothing_behind(play: Play) -> None:
    play.server.on(BEHIND.decode(), error("57014", "canceling statement due to statement timeout"))
    held(play) >> approve() << until("upstream ROLLBACK") << "record outcome rolled-back"
    (
        play
        << "client ERROR 57014 R-1 rolled back: what it changed could not be counted: ERROR 57014..."
        << "client ready I"
    )
    assert play.server.committed == []


def test_a_count_that_fails_before_lets_nothing_run(play: Play) -> None:
    play.server.on(BEFORE.decode(), error("57014", "canceling statement due to statement timeout"))
    held(play) >> approve() << until("record void") << "client ERROR 57014..." << "client ready I"
    assert DELETE not in play.server.heard


# --- what is deferred -------------------------------------------------------------------------------------------------


def test_a_deferred_trigger_is_counted_before_our_commit(play: Play) -> None:
    play.server.deferred = "insert into audit"
    play.server.counted["insert into audit"] = {"audit": (3, 0, 0)}
    held(play) >> approve(max_rows=5) << until(COUNTED) << AGAIN << "record executed" << "upstream ROLLBACK"
    play << "record outcome rolled-back" << "client ERROR 55000 R-1 rolled back: 3 rows affected..." << "client ready I"
    assert play.server.committed == []


def test_an_error_of_what_is_deferred_is_that_of_the_commit(play: Play) -> None:
    play.server.on(FIRE.decode(), error("23503", "violates foreign key constraint"))
    held(play) >> approve(max_rows=5) << until(COUNTED) << "record executed" << "upstream ROLLBACK"
    play << "record outcome rolled-back" << "client ERROR 23503 violates foreign key constraint" << "client ready I"
    assert play.ledger.body("outcome")["sqlstate"] == "23503"


@pytest.mark.parametrize("rolls_back", [False, True])
def test_what_a_bracket_that_is_rolled_back_defers_is_not_run(play: Play, rolls_back: bool) -> None:
    held(play, f"begin; delete from t; {'rollback' if rolls_back else 'commit'}") >> approve(max_rows=5)
    play << until("client ready I")
    assert any(FIRE.decode() in text for text in play.server.heard) is not rolls_back


def _deferred_in_a_block(play: Play, others: Sequence[int | None]) -> Play:
    in_a_block(play)
    for number, allowed in enumerate(others, 1):
        held(play, request=f"R-{number}") >> approve(f"R-{number}", max_rows=5, others=allowed)
        play << until("client DELETE 5") << "client ready T"
    play.server.deferred = "insert into audit"
    play.server.counted["insert into audit"] = {"audit": (3, 0, 0)}
    return play


@pytest.mark.parametrize("others", [[0], [2], [1, 1]])
def test_what_is_deferred_to_the_end_of_a_block_is_held_to_what_its_approvals_leave(
    play: Play, others: list[int | None]
) -> None:
    _deferred_in_a_block(play, others) >> "commit" << until("record ending commit")
    play << until(COUNTED) << AGAIN << "upstream ROLLBACK" << until("client ERROR 55000 R-1...") << "client ready I"
    names = [f"R-{number}" for number in range(1, len(others) + 1)]
    for name in names:
        outcome = play.ledger.body("outcome", name)
        assert (outcome["result"], outcome["ceiling_exceeded"]["other_rows"]) == ("rolled-back", 3)
        assert outcome["why"].startswith(f"{', '.join(names)} rolled back: 3 rows affected in other tables")
    assert play.server.committed == []
    play >> "select 1" << until("client ready I")


@pytest.mark.parametrize("others", [[3], [None], [2, 1], [0, None]])
def test_what_its_approvals_leave_room_for_is_committed(play: Play, others: list[int | None]) -> None:
    _deferred_in_a_block(play, others) >> "commit" << until("client COMMIT") << "client ready I"
    assert DELETE in play.server.committed


def test_what_fails_before_the_end_of_a_block_is_its_commits_error(play: Play) -> None:
    held(in_a_block(play)) >> approve(max_rows=5) << until("client ready T")
    play.server.on(FIRE.decode(), error("23503", "violates foreign key constraint"))
    play >> "commit" << "record ending commit" << COUNTED << "upstream ROLLBACK" << "record outcome rolled-back"
    play << "client ERROR 23503 violates foreign key constraint" << "client ready I"
    assert play.ledger.body("outcome")["sqlstate"] == "23503"
    assert "ceiling_exceeded" not in play.ledger.body("outcome")


def test_what_is_deferred_is_held_before_it_is_prepared_too(play: Play) -> None:
    _deferred_in_a_block(play, [0]) >> "prepare transaction 'p'" << until("client ERROR 55000 R-1...")
    play << "client ready I"
    assert play.server.waiting == {}


def test_a_block_without_a_ceiling_ends_as_it_is(play: Play) -> None:
    held(in_a_block(play)) >> approve() << until("client ready T")
    play >> "commit" << "record ending commit" << "upstream commit" << "record outcome committed"
    play << "client COMMIT" << "client ready I"


def test_the_time_before_is_asked_about_in_the_same_message_as_the_transaction(play: Play) -> None:
    held(play) >> approve(max_rows=5) << until("client ready I")
    [opening] = [text for text in play.server.heard if GIVES_XID in text]
    assert BEFORE.decode() in opening
