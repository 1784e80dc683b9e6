"""What a session does in every situation, whatever happens: one table, none of its cells left out.

The rows are the situations of `situations`, each with what it says to each happening: lines, in their order. SILENT is
an answer too: what happened is kept for later, or means nothing. NEVER: it cannot happen there.
"""

from collections.abc import Mapping, Sequence

import pytest
from tests.play import CLIENT_GONE, SERVER_GONE, Call, Play
from tests.session.situations import HAPPENINGS, SITUATIONS
from tests.session.stories import COUNTED, SAME, runs_by_itself
from tests.tiers import one_in

from pgnotary.request.life import FINAL, State
from pgnotary.session import events

SILENT: Sequence[str] = ()
NEVER = None

CLIENT = ("query", "Terminate", "nonsense", "client gone")
SERVER = ("server's FATAL", "server's nonsense", "server gone")
TIME = ("second", "hour")
LEDGER = ("ledger down", "ledger back")
RECORD = ("durable", "not recorded")

END = ("record session-closed", "upstream Terminate", "close")
END_AFTER_READS = ("record forwarded + session-closed", "upstream Terminate", "close")
LOST = ("record session-closed", "close")
LOST_AFTER_READS = ("record forwarded + session-closed", "close")

TABLE: Mapping[str, Mapping[Sequence[str], Sequence[str] | None]] = {
    "idle": {
        ("query",): ["upstream select 9", "client columns", "client row 1", "client SELECT 1", "client ready I"],
        ("Terminate", "client gone"): [*END],
        ("nonsense",): ["client FATAL 08P01...", *END],
        ("notification",): ["client notification"],
        ("server's FATAL",): ["client FATAL 57P01 bye", *LOST],
        ("server's nonsense",): ["client FATAL 08006 the server broke...", *LOST],
        ("server gone",): ["client FATAL 08006 the server closed the connection", *LOST],
        (*TIME, *LEDGER, "decision", "taken back", "cancel"): SILENT,
        ("shutdown",): ["client FATAL 57P01 terminating...", *END],
        (*RECORD, "cancel delivered"): NEVER,
    },
    "idle in a block": {
        ("query",): [
            "upstream SAVEPOINT pgnotary_read...",
            "upstream select 9",
            "client columns",
            "client row 1",
            "client SELECT 1",
            "upstream ROLLBACK TO SAVEPOINT pgnotary_read; RELEASE SAVEPOINT pgnotary_read",
            "client ready T",
        ],
        ("Terminate", "client gone"): [*END],
        ("nonsense",): ["client FATAL 08P01...", *END],
        ("notification",): ["client notification"],
        ("server's FATAL",): ["client FATAL 57P01 bye", *LOST],
        ("server's nonsense",): ["client FATAL 08006 the server broke...", *LOST],
        ("server gone",): ["client FATAL 08006 the server closed the connection", *LOST],
        (*TIME, *LEDGER, "decision", "taken back", "cancel"): SILENT,
        ("shutdown",): ["client FATAL 57P01 terminating...", *END],
        (*RECORD, "cancel delivered"): NEVER,
    },
    "idle in a failed block": {
        ("query",): ["client ERROR 25P02...", "client ready E"],
        ("Terminate", "client gone"): [*END_AFTER_READS],
        ("nonsense",): ["client FATAL 08P01...", *END_AFTER_READS],
        ("notification",): ["client notification"],
        ("server's FATAL",): ["client FATAL 57P01 bye", *LOST_AFTER_READS],
        ("server's nonsense",): ["client FATAL 08006 the server broke...", *LOST_AFTER_READS],
        ("server gone",): ["client FATAL 08006 the server closed the connection", *LOST_AFTER_READS],
        (*LEDGER, "decision", "taken back", "cancel"): SILENT,
        (*TIME,): ["note 1"],
        ("shutdown",): ["client FATAL 57P01 terminating...", *END_AFTER_READS],
        (*RECORD, "cancel delivered"): NEVER,
    },
    "skipping to Sync": {
        (*LEDGER, "query", "decision", "taken back", "cancel"): SILENT,
        (*TIME,): ["note 1"],
        ("Terminate", "client gone"): [*END_AFTER_READS],
        ("nonsense",): ["client FATAL 08P01...", *END_AFTER_READS],
        ("notification",): ["client notification"],
        ("server's FATAL",): ["client FATAL 57P01 bye", *LOST_AFTER_READS],
        ("server's nonsense",): ["client FATAL 08006 the server broke...", *LOST_AFTER_READS],
        ("server gone",): ["client FATAL 08006 the server closed the connection", *LOST_AFTER_READS],
        ("shutdown",): ["client FATAL 57P01 terminating...", *END_AFTER_READS],
        (*RECORD, "cancel delivered"): NEVER,
    },
    "a read runs": {
        (*TIME, *LEDGER, "query", "nonsense", "decision", "taken back", "shutdown"): SILENT,
        ("Terminate", "client gone", "cancel"): ["cancel"],
        ("notification",): ["client notification"],
        ("server's FATAL",): ["client FATAL 57P01 bye"],
        ("server's nonsense",): ["client FATAL 08006 the server broke...", "record forwarded + session-closed"],
        ("server gone",): ["client FATAL 08006 the server closed the connection", "record forwarded + session-closed"],
        (*RECORD, "cancel delivered"): NEVER,
    },
    "a read runs, a cancel is on its way": {
        (*CLIENT, *TIME, *LEDGER, "decision", "taken back", "cancel", "shutdown", "cancel delivered"): SILENT,
        ("notification",): ["client notification"],
        ("server's FATAL",): ["client FATAL 57P01 bye"],
        ("server's nonsense",): ["client FATAL 08006 the server broke...", "record forwarded + session-closed"],
        ("server gone",): ["client FATAL 08006 the server closed the connection", "record forwarded + session-closed"],
        (*RECORD,): NEVER,
    },
    "idle, a cancel is on its way": {
        (*LEDGER, "query", "decision", "taken back", "cancel", "cancel delivered"): SILENT,
        ("Terminate", "client gone"): ["record forwarded + session-closed"],
        ("nonsense",): ["client FATAL 08P01...", "record forwarded + session-closed"],
        ("notification",): ["client notification"],
        ("server's FATAL",): ["client FATAL 57P01 bye", "record forwarded + session-closed"],
        ("server's nonsense",): ["client FATAL 08006 the server broke...", "record forwarded + session-closed"],
        ("server gone",): ["client FATAL 08006 the server closed the connection", "record forwarded + session-closed"],
        (*TIME,): ["note 1"],
        ("shutdown",): ["client FATAL 57P01 terminating...", "record forwarded + session-closed"],
        (*RECORD,): NEVER,
    },
    "waiting for room": {
        (*TIME, "query", "Terminate", "client gone", "decision", "taken back", "cancel", "ledger back"): SILENT,
        ("nonsense",): ["client FATAL 08P01..."],
        ("notification",): ["client notification"],
        ("server's FATAL",): ["client FATAL 57P01 bye"],
        ("server's nonsense",): ["client FATAL 08006 the server broke..."],
        ("server gone",): ["client FATAL 08006 the server closed the connection"],
        ("ledger down",): ["client ERROR 58030...", "client ready I"],
        ("shutdown",): ["client FATAL 57P01 terminating..."],
        ("durable",): [
            "upstream select 2",
            "note 4000",
            "client columns",
            "client row 1",
            "client SELECT 1",
            "client ready I",
        ],
        ("not recorded", "cancel delivered"): NEVER,
    },
    "looking": {
        (*CLIENT, *TIME, *LEDGER, "server's FATAL", "decision", "taken back", "cancel", "shutdown"): SILENT,
        ("notification",): ["client notification"],
        ("server's nonsense",): ["client FATAL 08006 the server broke...", "record session-closed"],
        ("server gone",): ["client FATAL 08006 the server closed the connection", "record session-closed"],
        (*RECORD, "cancel delivered"): NEVER,
    },
    "held": {
        (*LEDGER, "query", "second"): SILENT,
        ("Terminate", "client gone"): ["record withdrawn client-gone", "retire R-1", *END],
        ("nonsense",): ["record withdrawn parting", "retire R-1", "client FATAL 08P01...", *END],
        ("notification",): ["client notification"],
        ("server's FATAL",): ["record withdrawn upstream-lost", "retire R-1", "client FATAL 57P01 bye", *LOST],
        ("server's nonsense",): [
            "record withdrawn upstream-lost",
            "retire R-1",
            "client FATAL 08006 the server broke...",
            *LOST,
        ],
        ("server gone",): [
            "record withdrawn upstream-lost",
            "retire R-1",
            "client FATAL 08006 the server closed the connection",
            *LOST,
        ],
        ("taken back",): [
            "record withdrawn requester",
            "retire R-1",
            "client ERROR 57014 canceling statement due to user request",
            "client ready I",
        ],
        ("decision",): [
            "retire R-1",
            "client NOTICE...",
            "upstream BEGIN...",
            "record intent",
            "upstream delete from t where id < 6",
            SAME,
            COUNTED,
            "record executed",
            "upstream COMMIT",
            "record outcome committed",
            "client DELETE 5",
            "client ready I",
        ],
        ("cancel",): ["record withdrawn cancel", "retire R-1", "client ERROR 57014 canceling...", "client ready I"],
        ("hour",): [
            "record expired",
            "retire R-1",
            "client ERROR 57014 R-1 expired: no decision in 15 min",
            "client ready I",
        ],
        ("shutdown",): ["record withdrawn parting", "retire R-1", "client FATAL 57P01 terminating...", *END],
        (*RECORD, "cancel delivered"): NEVER,
    },
    "withdrawing": {
        (*CLIENT, *SERVER, *TIME, *LEDGER, "decision", "taken back", "cancel", "shutdown"): SILENT,
        ("notification",): ["client notification"],
        (*RECORD,): ["retire R-1", "client ERROR 57014 canceling...", "client ready I"],
        ("cancel delivered",): NEVER,
    },
    "intending": {
        (*CLIENT, *SERVER, *TIME, *LEDGER, "decision", "taken back", "cancel", "shutdown"): SILENT,
        ("notification",): ["client notification"],
        ("durable",): [
            "upstream delete from t where id < 6",
            SAME,
            COUNTED,
            "record executed",
        ],
        ("not recorded",): ["upstream ROLLBACK", "client ERROR 58030...", "client ready I"],
        ("cancel delivered",): NEVER,
    },
    "running": {
        (*TIME, *LEDGER, "query", "nonsense", "server's FATAL", "decision", "taken back", "shutdown"): SILENT,
        ("Terminate", "client gone", "cancel"): ["cancel"],
        ("notification",): ["client notification"],
        ("server's nonsense", "server gone"): ["record outcome unknown"],
        (*RECORD, "cancel delivered"): NEVER,
    },
    "taking data": {
        (*TIME, *LEDGER, "server's FATAL", "decision", "taken back"): SILENT,
        ("query", "nonsense", "shutdown"): ["upstream CopyFail"],
        ("Terminate", "client gone"): ["cancel", "upstream CopyFail"],
        ("cancel",): ["cancel"],
        ("notification",): ["client notification"],
        ("server's nonsense", "server gone"): ["record outcome unknown"],
        (*RECORD, "cancel delivered"): NEVER,
    },
    "committing": {
        (*CLIENT, *TIME, *LEDGER, "server's FATAL", "decision", "taken back", "cancel", "shutdown"): SILENT,
        ("notification",): ["client notification"],
        ("server's nonsense", "server gone"): ["record outcome unknown"],
        (*RECORD, "cancel delivered"): NEVER,
    },
    "settling": {
        (*CLIENT, *SERVER, *TIME, *LEDGER, "decision", "taken back", "cancel", "shutdown"): SILENT,
        ("notification",): ["client notification"],
        ("durable",): ["client DELETE 5", "client ready I"],
        ("not recorded",): ["client FATAL 08007 the outcome could not be recorded", "record session-closed"],
        ("cancel delivered",): NEVER,
    },
    "announcing a commit": {
        (*CLIENT, *SERVER, *TIME, *LEDGER, "decision", "taken back", "cancel", "shutdown"): SILENT,
        ("notification",): ["client notification"],
        ("durable",): ["upstream commit"],
        ("not recorded",): ["upstream Bind", "upstream Sync"],
        ("cancel delivered",): NEVER,
    },
    "the client's commit runs": {
        (*CLIENT, *TIME, *LEDGER, "server's FATAL", "decision", "taken back", "shutdown"): SILENT,
        ("notification",): ["client notification"],
        ("server's nonsense", "server gone"): ["record outcome unknown"],
        ("cancel",): ["cancel"],
        (*RECORD, "cancel delivered"): NEVER,
    },
    "leaving": {
        (*CLIENT, *SERVER, *TIME, *LEDGER, "notification", "decision", "taken back", "cancel", "shutdown"): SILENT,
        (*RECORD,): ["upstream Terminate", "close"],
        ("cancel delivered",): NEVER,
    },
    "closed": {
        (*CLIENT, *SERVER, *TIME, *LEDGER, "notification", "decision", "taken back", "cancel", "shutdown"): SILENT,
        (*RECORD, "cancel delivered"): NEVER,
    },
}

CELLS = {
    (situation, happening): lines
    for situation, row in TABLE.items()
    for happenings, lines in row.items()
    for happening in happenings
}
CAN_HAPPEN = [cell for cell, lines in CELLS.items() if lines is not NEVER]


def test_the_table_has_every_cell_once() -> None:
    assert CELLS.keys() == {(situation, happening) for situation in SITUATIONS for happening in HAPPENINGS}
    assert sum(len(happenings) for row in TABLE.values() for happenings in row) == len(CELLS)


@pytest.mark.parametrize(("situation", "happening"), CAN_HAPPEN)
def test_it_says_what_the_table_says(play: Play, situation: str, happening: str) -> None:
    SITUATIONS[situation](play) >> HAPPENINGS[happening] << (CELLS[situation, happening] or SILENT)


def _go_on(play: Play) -> list[events.Event]:
    """What the world does by itself: the server answers, the ledger writes, cancels arrive."""
    found: list[events.Event] = [play.ledger.record(play.recorded.pop(0))] if play.recorded else []
    while play.noted:
        for draft in play.noted.pop(0).drafts:
            play.ledger.append(draft)
        found.append(events.Noted())
    return [*found, *play.answer(0), events.CancelDelivered()]


@pytest.mark.parametrize("cell", one_in(3, {", ".join(cell): cell for cell in CAN_HAPPEN}))
def test_the_session_ends_when_the_client_leaves_after_it(play: Play, cell: tuple[str, str]) -> None:
    situation, happening = cell
    SITUATIONS[situation](play) >> HAPPENINGS[happening]
    play.unread.clear()
    runs_by_itself(play) >> CLIENT_GONE
    for _ in range(3):
        play.unread.clear()
        play >> Call("the world goes on", _go_on)
    if happening == "server's FATAL" and not play.session.closed:
        play.unread.clear()
        play >> SERVER_GONE  # It says so, and goes.
    assert play.session.closed
    play.unread.clear()
    settled = all(state in FINAL or state is State.UNKNOWN for state in play.ledger.states.values())
    assert settled or happening == "not recorded"
