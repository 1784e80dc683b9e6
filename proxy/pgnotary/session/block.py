"""The client's open transaction block: which approved statements it holds, and what its savepoints would undo.

Transaction control that PostgreSQL has accepted enters; which approved statements it committed or undid leaves. The
top transaction's fate alone would say "committed" of a statement whose savepoint was rolled back.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from pgnotary.ledger.canonical import JSON
from pgnotary.request.ceiling import Ceiling
from pgnotary.session.mark import Mark
from pgnotary.session.waiting import Waiting

__all__ = ["Block", "Pending"]


@dataclass(slots=True)
class Pending:
    """An approved statement that ran in a block and is not committed yet."""

    request: str
    leaf: bytes
    """Of the newest entry in the request's life."""
    rows: int | None
    other_rows: int
    ceiling: Ceiling | None
    """What was signed."""
    xid: str
    mark: Mark
    """What is left in the transaction, as long as nothing of it is undone."""
    waiting: Waiting = field(default_factory=dict)
    """The functions that COMMIT may run for it."""
    doubtful: bool = False
    """A record about it failed, and may have happened all the same: `leaf` may no longer be its newest entry."""

    def compared(self, added: int) -> dict[str, JSON]:
        """Return what was signed, and how many rows it is with those that were `added` at the end of its block."""
        fields = self.ceiling.fields if self.ceiling else {}
        rows: dict[str, JSON] = {} if self.rows is None else {"rows": self.rows}
        return fields | rows | {"other_rows": self.other_rows + added}


@dataclass(slots=True)
class Block:
    """One transaction block."""

    own: bool = False
    """It is ours, around the rest of a batch of extended messages; the client knows of none."""
    statements: int = 0
    """How many statements of the client have run in it."""
    pending: list[Pending] = field(default_factory=list)
    read_only: bool = False
    """The client asked for READ ONLY."""
    wrote: bool = False
    """Something has been forwarded in it that may write, so its COMMIT must."""
    remade: bool = False
    """Something has been forwarded in it that may have changed the catalog; its end may change that back."""
    older_rules: bool = False
    """Something may have run in it under rules that are no longer in force."""
    renamed: bool = False
    """What has run in it may have renamed what masks know by its name; what is undone of that counts, too."""
    rescoped: bool = False
    """Something in it may have changed where names are looked up; its end may change that back."""
    holds_cursor: bool = False
    """A cursor WITH HOLD was declared in it: COMMIT runs its query."""
    loose: bool = False
    """A portal of a read lives on in it, and whatever else that read left behind does, too."""
    unrecorded: bool = False
    """What ran in it could not be recorded: it can only be ended."""
    ran: list[Callable[[str, str], None]] = field(default_factory=list)
    """What has run in a block of ours and is noted once that has ended: with an SQLSTATE, and why it was undone."""
    noted: int = 0
    """How many statements that were forwarded in it, and left something to undo, have been noted."""
    lost: bool = False
    """What became of it is not known: the server ended it by itself."""
    _savepoints: list[tuple[str, int, int]] = field(default_factory=list)
    """Name, and how many of `pending` and of `noted` there were when it was set; a name may stand here twice."""

    @property
    def must_write(self) -> bool:
        """Whether its COMMIT cannot be made read only."""
        return self.wrote or bool(self.pending)

    def note_ran(self, sqlstate: str = "", why: str = "") -> None:
        """Have what has run noted: as it ran, or as undone."""
        ran, self.ran = self.ran, []
        for note in ran:
            note(sqlstate, why)

    def note_open(self) -> None:
        """Have what has run noted although the block goes on: what is not in the record yet must stay little."""
        self.note_ran(why="its batch was not committed yet")

    def savepoint(self, name: str) -> None:
        """Set a savepoint."""
        self._savepoints.append((name, len(self.pending), self.noted))

    def release(self, name: str) -> None:
        """Forget a savepoint and those after it; what ran since belongs to the outer level."""
        if (at := self._find(name)) is not None:
            del self._savepoints[at:]

    def after(self, name: str) -> list[Pending]:
        """Return what rolling back to a savepoint undoes; empty if there is no such savepoint."""
        at = self._find(name)
        return [] if at is None else self.pending[self._savepoints[at][1] :]

    def knows(self, name: str) -> bool:
        """Say whether there is a savepoint of that name."""
        return self._find(name) is not None

    def rolled_back_to(self, name: str) -> None:
        """Undo what ran since a savepoint; the savepoint itself stays."""
        at = self._find(name)
        if at is not None:
            _, pending, self.noted = self._savepoints[at]
            del self.pending[pending:]
            del self._savepoints[at + 1 :]

    def _find(self, name: str) -> int | None:
        found = [i for i, (known, *_) in enumerate(self._savepoints) if known == name]
        return found[-1] if found else None
