"""The prepared transactions that are known here: what was signed in them, and whether policy has seen all of it.

PREPARE TRANSACTION that the server has accepted enters, and what a ledger says of earlier ones; the transaction behind
a name leaves, or nothing. Only a transaction of the same name, id, timeline and cluster is the same one: a name that
somebody has given to another one since is not known, and one that had the name before takes nothing from it. Whoever
ends one takes it first, and keeps it until the fate is recorded: of two that record the fate of the same statements at
once one would be told that it cannot.
"""

from dataclasses import dataclass, field

__all__ = ["PreparedTransaction", "PreparedTransactions", "Signed", "identity"]

# Each takes a place of the server's max_prepared_transactions; of those that are ended elsewhere nobody hears here.
_MOST = 10_000
# pg_prepared_xacts shows 32 bits of the 64 that pg_current_xact_id() gives.
_XIDS = 1 << 32


def identity(timeline: str, xid: str) -> str:
    """Return what tells a prepared transaction from another one of its name; `xid` may have 32 bits or 64."""
    return f"{timeline}/{int(xid) % _XIDS if xid.isascii() and xid.isdigit() else xid}"


@dataclass(slots=True)
class Signed:
    """An approved statement in a prepared transaction."""

    request: str
    session: str | None
    """In which it was asked for and run."""
    leaf: bytes
    """Of the newest entry in the request's life."""
    rows: int | None
    doubtful: bool = False
    """A record about it failed, and may have happened all the same: `leaf` may no longer be its newest entry."""


@dataclass(slots=True)
class PreparedTransaction:
    """A transaction that waits on the server for COMMIT PREPARED or ROLLBACK PREPARED."""

    gid: str
    """Its name."""
    xid: str
    """The server's decimal text, 64 bits."""
    timeline: str
    system_identifier: str
    vouched: bool
    """All that ran in it was forwarded or signed under the policy that is in force."""
    signed: list[Signed] = field(default_factory=list)
    taken: bool = False
    """Its end is under way, or being recorded."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What `find` asks for."""
        return self.gid, identity(self.timeline, self.xid), self.system_identifier


class PreparedTransactions:
    """Those of one proxy, shared by its sessions."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], PreparedTransaction] = {}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, gid: str, identity_: str, system_identifier: str) -> PreparedTransaction | None:
        """Return the transaction of that name if it is this one."""
        return self._known.get((gid, identity_, system_identifier))

    def add(self, prepared: PreparedTransaction) -> None:
        """Remember a transaction that the server has prepared."""
        self._known.pop(prepared.key, None)
        self._known[prepared.key] = prepared
        while len(self._known) > _MOST:
            # What is forgotten is held when it is to be committed, and its record is settled by the next start.
            del self._known[next(iter(self._known))]

    def learn(self, prepared: PreparedTransaction) -> None:
        """Add what the ledger says of one request: it may be one of several in the same transaction."""
        known = self.find(*prepared.key)
        if known is None:
            self.add(prepared)
            return
        news = {each.request for each in prepared.signed}
        known.signed = [each for each in known.signed if each.request not in news] + prepared.signed
        known.vouched &= prepared.vouched

    def doubt(self) -> None:
        """Vouch for none of them any more: other rules are in force than those that all in them has passed."""
        for each in self._known.values():
            each.vouched = False

    def remove(self, prepared: PreparedTransaction) -> None:
        """Forget a transaction that has ended."""
        if self.find(*prepared.key) is prepared:
            del self._known[prepared.key]
