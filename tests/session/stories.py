"""Beginnings that many stories share."""

from tests.play import Play, approve, until

from pgnotary.session.mark import Mark
from pgnotary.session.state import SharedCatalog
from pgnotary.session.timeline import TIMELINE

__all__ = [
    "COUNTED",
    "DELETE",
    "GIVES_XID",
    "MARKED",
    "SAME",
    "XID",
    "asked_anew",
    "full",
    "held",
    "in_a_block",
    "in_the_queue",
    "ran_in_a_block",
    "runs_by_itself",
    "worked_by_hand",
]

DELETE = "delete from t where id < 6"
GIVES_XID = f"SELECT pg_catalog.pg_current_xact_id(), {TIMELINE}"
XID = f"SET LOCAL synchronous_commit = on; {GIVES_XID}; SET LOCAL pgnotary.signed = ..."
SAME = f"upstream {Mark.ASK.decode()}"
COUNTED = "upstream WITH RECURSIVE locks..."
MARKED = "upstream SET LOCAL pgnotary.signed = ..."


def asked_anew(play: Play) -> Play:
    """The session has read the catalog and the scope as the server has them now."""
    play.state.catalog_generation = -1
    play.state.shared = SharedCatalog()
    play.state.scope_stale = True
    return play >> "select 1" << until("client ready I")


def held(play: Play, text: str = DELETE, request: str = "R-1") -> Play:
    """A statement is held and waits for somebody to decide."""
    return play >> text << until(f"announce {request}")


def in_a_block(play: Play) -> Play:
    """The client has opened a transaction block."""
    return play >> "begin" << until("client ready T")


def in_the_queue(play: Play) -> Play:
    """A statement is to be held, and the server may not be asked about it yet."""
    play.queues_for_a_look = True
    return play >> DELETE << "look"


def ran_in_a_block(play: Play, text: str = DELETE, request: str = "R-1") -> Play:
    """An approved statement has run in the client's open block."""
    held(play, text, request)
    return play >> approve(request) << until("record executed") << "client DELETE 5" << "client ready T"


def worked_by_hand(play: Play, *, server: bool = True, ledger: bool = True) -> Play:
    """From here on the test says when the server answers and when the ledger is done."""
    play.server.by_hand, play.ledger.by_hand = server, ledger
    return play


def runs_by_itself(play: Play) -> Play:
    """From here on the server answers and the ledger writes at once."""
    return worked_by_hand(play, server=False, ledger=False)


def full(play: Play) -> Play:
    """As much has been forwarded as may be while none of it is durable: 500 in notes on their way, 4,000 behind."""
    for _ in range(500):
        play.state.log.add(b"select 1", "select", play.now.wall, 0, [])
    worked_by_hand(play, server=False) >> "select 1" << "upstream select 1" << "note 500" << until("client ready I")
    for _ in range(3_999):
        play.state.log.add(b"select 1", "select", play.now.wall, 0, [])
    return play
