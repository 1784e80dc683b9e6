"""Entries as a busy proxy writes them: sessions that open, run statements that nobody is asked about, and close.

The number of a session enters, its ten entries leave: one that opens it, eight that list five executions of a text that
is sealed there, one that closes it. That is about 560 bytes an entry; nothing is random.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.ledger.executions import Alike, Executions
from pgnotary.store import Append

__all__ = ["ENTRIES_IN_A_SESSION", "session"]

ENTRIES_IN_A_SESSION = 10
_LISTS = ENTRIES_IN_A_SESSION - 2
_EACH = 5

_START = datetime(2026, 11, 1, tzinfo=UTC)
_READ = Alike(kind="select", verdict="forward", tag="SELECT 1", rows=1)


def session(number: int) -> Iterator[Append]:
    """Yield the entries of one session."""
    name = f"S-{number:08x}"
    opened: dict[str, JSON] = {
        "user": "eva",
        "person": "eva",
        "role": "app_rw",
        "database": "shop",
        "application": "psql",
        "client": "10.2.0.7:50123",
        "upstream_pid": 4711 + number,
        "system_identifier": "7400000000000000001",
        "server_version": "18.6",
    }
    yield Append(Draft(EntryType.OPENED, opened, session=name))
    for text in range(1, _LISTS + 1):
        at = _START + timedelta(seconds=number + text)
        listed = Executions(at)
        for execution in range(_EACH):
            listed.add(text, _READ, at + timedelta(milliseconds=execution), 812, sealed=not execution)
        statement = f"SELECT id, status, total FROM orders WHERE id = $1 -- {number} {text}"
        yield Append(Draft(EntryType.FORWARDED, listed.body(), session=name, sealed={f"t{text}": statement.encode()}))
    counts = {"forwarded": _LISTS * _EACH, "held": 0, "refused": 0}
    yield Append(Draft(EntryType.CLOSED, {"why": "the client ended the session", **counts}, session=name))
