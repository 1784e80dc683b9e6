"""What a pruned file stands on: its one row enters, a `Base` leaves that an entry of the file vouches for, or a fault.

The row is hashed by no later entry, so it is only believed if the `archived` entry behind it names its digest. Nothing
is read here; the SQL is for both who write the file and who only read it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from pgnotary.errors import LedgerBroken, NotCanonical
from pgnotary.ledger.archived import Archived, told_of
from pgnotary.ledger.base import Base, read_base
from pgnotary.ledger.tree import leaf_hash

__all__ = ["BASE", "VOUCHERS", "based", "vouched_for"]

BASE = "SELECT document FROM base"
VOUCHERS = 'SELECT leaf, raw FROM entry WHERE instr(raw, \'"type":"archived"\') ORDER BY seq'


def based(rows: Iterable[Sequence[Any]]) -> Base:
    """Return what a file stands on, given the rows of BASE; raises LedgerBroken if it has not exactly one."""
    found = [document for (document,) in rows]
    if len(found) != 1 or type(found[0]) is not bytes:
        raise LedgerBroken([f"the file stands on {len(found)} bases, expected one document"])
    try:
        return read_base(found[0])
    except NotCanonical as error:
        raise LedgerBroken([f"what the file stands on cannot be read: {error}"]) from error


def vouched_for(base: Base, rows: Iterable[Sequence[Any]]) -> Archived:
    """Return what the first `archived` entry says, given the rows of VOUCHERS.

    Raises LedgerBroken if it is not about this base, or there is none.
    """
    for leaf, raw in rows:
        if leaf != leaf_hash(raw):
            raise LedgerBroken(["an archived entry is not what its leaf hash says"])
        for told in told_of([raw]):
            if (told.kept, told.base, told.root) != (base.size, base.digest, base.tree().root()):
                raise LedgerBroken([f"the file stands on another base than its entry says: #{told.kept} is the first"])
            return told
    raise LedgerBroken([f"entries before #{base.size} were taken away, and no entry says that they were archived"])
