"""Every situation that a session can be in, and everything that can happen to it: one name each."""

from collections.abc import Callable, Mapping

from tests.play import (
    CLIENT_GONE,
    DOWN,
    SERVER_GONE,
    Call,
    Happening,
    Play,
    after,
    answers,
    approve,
    durable,
    error,
    ledger_is_back,
    ledger_is_down,
    message,
    not_recorded,
    server,
    taken_back,
    until,
)
from tests.session.stories import COUNTED, DELETE, SAME, full, held, in_a_block, ran_in_a_block, worked_by_hand

from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.decision import Answer
from pgnotary.request.life import State
from pgnotary.session import events
from pgnotary.session.events import ClientBytes
from pgnotary.wire import messages

__all__ = ["HAPPENINGS", "SITUATIONS"]


def _waiting(play: Play) -> Play:
    return full(play) >> "select 2"


def _failed(play: Play) -> Play:
    play.server.on("select 1/0", error("22012", "division by zero"))
    return in_a_block(play) >> "select 1/0" << until("client ready E")


def _skipping(play: Play) -> Play:
    return (
        play
        >> ClientBytes(messages.parse(b"", b"set transaction_read_only = off") + messages.FLUSH)
        << "client ERROR 0A000..."
    )


def _relaying(play: Play) -> Play:
    return worked_by_hand(play) >> "select 1" << "upstream select 1"


def _cancelling(play: Play) -> Play:
    return _relaying(play) >> events.CancelRequested() << "cancel"


def _cancelled(play: Play) -> Play:
    return _cancelling(play) >> answers() << until("client ready I")


def _asking(play: Play) -> Play:
    return worked_by_hand(play) >> DELETE << "upstream BEGIN READ ONLY..."


def _intending(play: Play) -> Play:
    return worked_by_hand(held(play), server=False) >> approve() << until("record intent")


def _running(play: Play) -> Play:
    return worked_by_hand(_intending(play)) >> durable << f"upstream {DELETE}"


def _taking_data(play: Play) -> Play:
    worked_by_hand(held(play, "copy t from stdin"), server=False) >> approve() << until("record intent")
    return worked_by_hand(play) >> durable << "upstream copy t from stdin" >> answers() << "client copy in"


def _committing(play: Play) -> Play:
    _running(play) >> answers() << SAME >> answers() << COUNTED >> answers() << "record executed"
    return play >> durable << "upstream COMMIT"


def _settling(play: Play) -> Play:
    return _committing(play) >> answers() << "record outcome committed"


def _ending(play: Play) -> Play:
    return worked_by_hand(ran_in_a_block(in_a_block(play))) >> "commit" << "record ending commit"


def _ended(play: Play) -> Play:
    return _ending(play) >> durable << "upstream commit"


def _withdrawing(play: Play) -> Play:
    return worked_by_hand(held(play)) >> events.CancelRequested() << "record withdrawn cancel"


def _leaving(play: Play) -> Play:
    return worked_by_hand(play) >> events.Shutdown() << until("record session-closed")


def _closed(play: Play) -> Play:
    return play >> CLIENT_GONE << until("close")


SITUATIONS: Mapping[str, Callable[[Play], Play]] = {
    "idle": lambda play: play,
    "idle in a block": in_a_block,
    "idle in a failed block": _failed,
    "skipping to Sync": _skipping,
    "a read runs": _relaying,
    "a read runs, a cancel is on its way": _cancelling,
    "idle, a cancel is on its way": _cancelled,
    "waiting for room": _waiting,
    "looking": _asking,
    "held": held,
    "withdrawing": _withdrawing,
    "intending": _intending,
    "running": _running,
    "taking data": _taking_data,
    "committing": _committing,
    "settling": _settling,
    "announcing a commit": _ending,
    "the client's commit runs": _ended,
    "leaving": _leaving,
    "closed": _closed,
}


def _someone_decides(play: Play) -> list[events.Event]:
    """The decision that is waited for, or else one that comes too late."""
    if play.ledger.states.get("R-1") is State.HELD:
        return list(approve().do(play))
    return [
        events.Decided("R-99", Answer.APPROVE, "bo", "late", None, play.ledger.append(Draft(EntryType.STOPPED)), b"")
    ]


HAPPENINGS: Mapping[str, Happening] = {
    "query": "select 9",
    "Terminate": ClientBytes(messages.TERMINATE),
    "nonsense": ClientBytes(b"!\0\0\0\4"),
    "client gone": CLIENT_GONE,
    "notification": server(message("A", bytes(4) + b"channel\0hello\0")),
    "server's FATAL": server(error("57P01", "bye", "FATAL")),
    "server's nonsense": server(b"!\0\0\0\4"),
    "server gone": SERVER_GONE,
    "decision": Call("a decision", _someone_decides),
    "taken back": taken_back(),
    "cancel": events.CancelRequested(),
    "second": after(1),
    "hour": after(3_600),
    "ledger down": ledger_is_down,
    "ledger back": ledger_is_back,
    "shutdown": events.Shutdown(),
    "durable": durable,
    "not recorded": not_recorded(DOWN),
    "cancel delivered": events.CancelDelivered(),
}
