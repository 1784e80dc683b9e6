"""The prepared transactions that are known here: what was signed in them, and whether policy has seen all of it.

PREPARE TRANSACTION that the server has accepted enters, and what a ledger says of earlier ones; the transaction behind
a name leaves, or nothing. Only a transaction of the same name, id, timeline and cluster is the same one: a name that
somebody has given to another one since is not known. Whoever ends one takes it first: two sessions that record
the fate of the same statements at once would each break the other's record.
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

    def is_the_one(self, identity_: str, system_identifier: str) -> bool:
        """Say whether the server speaks of this one."""
        return identity(self.timeline, self.xid) == identity_ and self.system_identifier == system_identifier


class PreparedTransactions:
    """Those of one proxy, shared by its sessions."""

    def __init__(self) -> None:
        self._by_gid: dict[str, PreparedTransaction] = {}

    def __len__(self) -> int:
        return len(self._by_gid)

    def find(self, gid: str, identity_: str, system_identifier: str) -> PreparedTransaction | None:
        """Return the transaction of that name if it is this one."""
        found = self._by_gid.get(gid)
        return found if found and found.is_the_one(identity_, system_identifier) else None

    def add(self, prepared: PreparedTransaction) -> None:
        """Remember a transaction that the server has prepared; what had its name before has ended."""
        self._by_gid.pop(prepared.gid, None)
        self._by_gid[prepared.gid] = prepared
        while len(self._by_gid) > _MOST:
            # What is forgotten is held when it is to be committed, and its record is settled by the next start.
            del self._by_gid[next(iter(self._by_gid))]

    def learn(self, prepared: PreparedTransaction) -> None:
        """Add what the ledger says of one request: it may be one of several in the same transaction."""
        known = self.find(prepared.gid, identity(prepared.timeline, prepared.xid), prepared.system_identifier)
        if known is None:
            self.add(prepared)
            return
        news = {each.request for each in prepared.signed}
        known.signed = [each for each in known.signed if each.request not in news] + prepared.signed
        known.vouched &= prepared.vouched

    def remove(self, prepared: PreparedTransaction) -> None:
        """Forget a transaction that has ended."""
        if self._by_gid.get(prepared.gid) is prepared:
            del self._by_gid[prepared.gid]
