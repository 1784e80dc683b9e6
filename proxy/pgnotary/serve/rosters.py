"""The roster in force: read again when the operator asks for it, recorded before it counts.

A reader of the roster's file enters, and asks for a reload; the roster that decisions are checked against leaves. A
file that cannot be honoured changes nothing. From the moment a changed roster is on its way into the ledger until it is
durable, nobody can say under which of the two the next decision will stand: meanwhile only those keys count that both
allow. So `verify`, which holds each decision against the roster before it, finds none that should not have counted.
"""

import logging
from collections.abc import Callable

from pgnotary.errors import LedgerUnavailable, PgnotaryError
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.roster import Roster, common
from pgnotary.serve.reloading import RETRY_S, Reloading
from pgnotary.store import Append
from pgnotary.store.appender import Appender

__all__ = ["RosterInForce"]

log = logging.getLogger(__name__)


class RosterInForce(Reloading):
    """The roster of one proxy; called, it says who may decide now."""

    def __init__(
        self, recorded: Roster, read: Callable[[], Roster], appender: Appender, *, retry_s: float = RETRY_S
    ) -> None:
        super().__init__("the roster", log, retry_s)
        self._recorded: Roster | None = recorded
        """As the newest roster entry says; None while nobody can tell whether that has been written."""
        self._counting = recorded
        self._read = read
        self._appender = appender

    def __call__(self) -> Roster:
        """Return who may decide now."""
        return self._counting

    async def _reload(self) -> None:
        """Bring the file's roster into force; raises ConfigError, or NotCanonical if it is too long to be recorded.

        After LedgerUnavailable it may have been recorded or not: nothing is in force then that it does not allow.
        """
        roster = self._read()
        if roster == self._recorded:
            log.info("the roster has not changed")
            return
        before = self._recorded, self._counting
        self._recorded, self._counting = None, common(self._counting, roster)
        try:
            await self._appender.append(Append(Draft(EntryType.ROSTER, {"allowed_signers": roster.text})))
        except LedgerUnavailable:
            raise
        except PgnotaryError:
            self._recorded, self._counting = before
            raise
        self._recorded = self._counting = roster
        log.info("the roster was reloaded: %d keys of %s", len(roster.signers), ", ".join(roster.people) or "nobody")
