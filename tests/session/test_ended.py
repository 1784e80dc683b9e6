"""Every way in which CommandComplete is not the outcome shows the right one in the ledger, and which way it was."""

from collections.abc import Callable

import pytest
from tests.play import CLIENT_GONE, SERVER_GONE, Play, approve, error, until
from tests.session.stories import DELETE, held, in_a_block, ran_in_a_block, worked_by_hand

from pgnotary.session.deferred import FIRE
from pgnotary.session.events import ClientBytes
from pgnotary.wire import messages

FAILS = "select 1 / 0"


def _says(*texts: str) -> Callable[[Play], None]:
    """In a block, behind what was signed."""

    def told(play: Play) -> None:
        play.server.on(FAILS, error("22012", "division by zero"))
        ran_in_a_block(in_a_block(play))
        for text in texts:
            play >> text << until("client ready...")

    return told


def _behind_a_savepoint(*texts: str) -> Callable[[Play], None]:
    def told(play: Play) -> None:
        in_a_block(play) >> "savepoint s" << until("client ready T")
        held(play) >> approve() << until("client ready T")
        for text in texts:
            play >> text << until("client ready...")

    return told


def _failing(text: str, sqlstate: str, *, max_rows: int | None = None) -> Callable[[Play], None]:
    def told(play: Play) -> None:
        play.server.on(text, error(sqlstate, "no"))
        held(play) >> approve(max_rows=max_rows) << until("client ready I")

    return told


def _batch(*, behind: str = "") -> Callable[[Play], None]:
    def told(play: Play) -> None:
        play.server.on("delete from u", error("42P01", "no"))
        runs = b"".join(
            messages.parse(b"", text.encode()) + messages.bind(b"", b"") + messages.execute(b"")
            for text in filter(None, (DELETE, behind))
        )
        play >> ClientBytes(runs + messages.SYNC) << until("announce R-1")
        play >> approve() << (until("announce R-2") if behind else until("client ready I"))
        if behind:
            play >> approve("R-2") << until("client ready I")

    return told


WAYS: dict[str, tuple[Callable[[Play], object], str, str]] = {
    "our COMMIT": (lambda play: held(play) >> approve() << until("client ready I"), "committed", "autocommit"),
    "COMMIT": (_says("commit"), "committed", "commit"),
    "COMMIT AND CHAIN": (_says("commit and chain"), "committed", "commit"),
    "ROLLBACK": (_says("rollback"), "rolled-back", "rollback"),
    "ROLLBACK AND CHAIN": (_says("rollback and chain"), "rolled-back", "rollback"),
    "COMMIT of a failed block": (_says(FAILS, "commit"), "rolled-back", "commit-rolled-back"),
    "ROLLBACK TO": (_behind_a_savepoint("rollback to s", "commit"), "rolled-back", "rollback-to"),
    "RELEASE, then ROLLBACK": (_behind_a_savepoint("release s", "rollback"), "rolled-back", "rollback"),
    "RELEASE, then COMMIT": (_behind_a_savepoint("release s", "commit"), "committed", "commit"),
    "PREPARE TRANSACTION": (_says("prepare transaction 'x'"), "prepared", "prepared"),
    "COMMIT PREPARED": (_says("prepare transaction 'x'", "commit prepared 'x'"), "committed", "commit-prepared"),
    "ROLLBACK PREPARED": (
        _says("prepare transaction 'x'", "rollback prepared 'x'"),
        "rolled-back",
        "rollback-prepared",
    ),
    "an error of its own": (_failing(DELETE, "23503"), "failed", "error"),
    "an error of our COMMIT": (_failing("COMMIT", "40001"), "rolled-back", "commit-failed"),
    "an error of what is deferred": (_failing(FIRE.decode(), "23503"), "rolled-back", "commit-failed"),
    "more rows than were signed": (
        lambda play: held(play) >> approve(max_rows=4) << until("client ready I"),
        "rolled-back",
        "ceiling",
    ),
    "a batch": (_batch(), "committed", "batch-commit"),
    "an error behind it in a batch": (_batch(behind="delete from u"), "rolled-back", "batch-rollback"),
    "a bracket": (
        lambda play: held(play, "begin; delete from t; commit") >> approve() << until("client ready I"),
        "committed",
        "commit",
    ),
    "a bracket that rolls back": (
        lambda play: held(play, "begin; delete from t; rollback") >> approve() << until("client ready I"),
        "rolled-back",
        "rollback",
    ),
    "a string whose later statement fails": (
        lambda play: (
            play.server.on("delete from u", error("42P01", "no")),
            held(play, "delete from t; delete from u") >> approve() << until("client ready I"),
        ),
        "failed",
        "error",
    ),
    "a client that leaves its block": (
        lambda play: ran_in_a_block(in_a_block(play)) >> CLIENT_GONE << until("close"),
        "rolled-back",
        "session-end",
    ),
    "a server that is lost in its block": (
        lambda play: ran_in_a_block(in_a_block(play)) >> SERVER_GONE << until("close"),
        "rolled-back",
        "session-end",
    ),
    "VACUUM": (
        lambda play: held(play, "vacuum t") >> approve() << until("client ready I"),
        "committed",
        "outside",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_in_which_command_complete_is_not_the_outcome(play: Play, way: str) -> None:
    happens, result, ended = WAYS[way]
    happens(play)
    outcome = play.ledger.body("outcome", "R-1")
    assert (outcome["result"], outcome["ended"]) == (result, ended)


def test_a_server_that_is_lost_during_the_commit_leaves_it_unknown(play: Play) -> None:
    ran_in_a_block(in_a_block(play))
    worked_by_hand(play, ledger=False) >> "commit" << until("upstream commit") >> SERVER_GONE << until("close")
    outcome = play.ledger.body("outcome", "R-1")
    assert (outcome["result"], outcome["ended"]) == ("unknown", "server-lost")
