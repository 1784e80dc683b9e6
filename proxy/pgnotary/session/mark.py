"""The mark that what was signed leaves in its transaction, and by which that is known again. Nothing is sent here.

A signed statement may run code, and code can end the transaction unseen, or undo a part of it: an EXECUTE, in a
function or in the text, of a COMMIT AND CHAIN or a ROLLBACK TO that a driver has prepared. The record would then speak
of another transaction. Such control takes effect behind the statement that has run it: nothing in that can hide it.

The mark is a setting, local to the transaction: ROLLBACK TO brings back what it was before, the end of the transaction
takes it away, and the next one has another id. Its value is new each time, and nobody can know it before the decision,
so that no savepoint holds it already. A savepoint of ours would put what was signed into a subtransaction, where
PostgreSQL refuses COPY FREEZE and pg_export_snapshot().
"""

__all__ = ["Mark"]


class Mark:
    """The mark of one signed text, with another value each time that it is made."""

    ASK = b"SELECT pg_catalog.pg_current_xact_id_if_assigned(), pg_catalog.current_setting('pgnotary.signed', true)"
    """Asks for the transaction's id, and for the mark in it."""

    def __init__(self, decision: bytes) -> None:
        """`decision`: the leaf of the decision's entry, unknown to everybody before."""
        self._decision = decision.hex()
        self._times = 0

    @property
    def value(self) -> str:
        """What it must be now."""
        return f"{self._decision}/{self._times}"

    def renewed(self) -> bytes:
        """Return the statement that makes it anew."""
        self._times += 1
        return f"SET LOCAL pgnotary.signed = '{self.value}'".encode()
