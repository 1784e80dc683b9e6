"""What operators see of sessions and holds: the log follows the ledger.

Entries that became durable enter, log lines leave: who came and went, what was held, decided, and how it ended. Only
the fields named here are told: no SQL text, no parameter, no word of a server's error, which may quote data.
"""

import logging
from collections.abc import Mapping, Sequence

from pgnotary.ledger.entries import EntryType, Receipt

__all__ = ["log_lives"]

log = logging.getLogger(__name__)

_TOLD: Mapping[EntryType, tuple[str, tuple[str, ...]]] = {
    EntryType.OPENED: ("session opened", ("user", "role", "database", "client")),
    EntryType.CLOSED: ("session closed", ("forwarded", "held", "refused")),
    EntryType.REQUEST: ("statement held", ("user", "database")),
    EntryType.DECISION: ("request decided", ("answer", "approver")),
    EntryType.REJECTED: ("decision rejected", ()),
    EntryType.WITHDRAWN: ("request withdrawn", ()),
    EntryType.EXPIRED: ("request expired", ()),
    EntryType.ORPHANED: ("request orphaned", ()),
    EntryType.VOID: ("request void", ()),
    EntryType.REVIEWED: ("broken glass reviewed", ("reviewer",)),
    EntryType.POLICY: ("policy in force", ("policy", "config")),
    EntryType.OUTCOME: ("request ended", ("result", "rows", "fate", "sqlstate")),
}


def log_lives(receipts: Sequence[Receipt]) -> None:
    """Tell the log what entries say of sessions and holds."""
    for entry in (receipt.entry for receipt in receipts):
        if entry.type in _TOLD:
            event, names = _TOLD[entry.type]
            known = {"session": entry.session, "request": entry.request} | {n: entry.body.get(n) for n in names}
            fields = {name: value for name, value in known.items() if value is not None}
            log.info(event, extra={"entry": entry.position.seq, **fields})
