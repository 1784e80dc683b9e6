"""The client's own client_encoding, as PostgreSQL would keep it: by transaction, by savepoint, by SET LOCAL.

Changes that the client has made and transaction control that the server has accepted enter; the encoding in force
leaves, and what is to be reported of it. The server is never asked: it has another one, always UTF8, and in a failed
block it would not answer. A block that fails takes back at once what was set since its last savepoint.

Source: PostgreSQL 18, AtEOXact_GUC() and ReportChangedGUCOptions() in src/backend/utils/misc/guc.c.
"""

from dataclasses import dataclass

from pgnotary.wire.encodings import UTF8, Encoding

__all__ = ["ClientEncoding"]


@dataclass(frozen=True, slots=True)
class _Level:
    """A transaction or a savepoint, and what it takes back."""

    name: str
    value: Encoding
    kept: Encoding


class ClientEncoding:
    """The client_encoding of one session."""

    def __init__(self, default: Encoding) -> None:
        self.default = default
        """What RESET goes back to: what the client has asked for when it connected."""
        self.value = default
        """What is in force."""
        self._kept = default
        """What will be once the transaction is committed: SET LOCAL does not last."""
        self._told = default
        self._levels: list[_Level] = []
        self.is_utf8 = default == UTF8
        """Whether it is what the server has, whatever may yet come of a transaction's end; each message asks for it."""

    def change(self, wanted: Encoding | None, *, local: bool) -> None:
        """Take over what was set, None for the default; `local`: until the end of the transaction that is open."""
        value = self.default if wanted is None else wanted
        if local and not self._levels:
            return
        self.value = value
        if not local:
            self._kept = value
        self._note()

    def report(self) -> Encoding | None:
        """Return what the client is to be told before the next ReadyForQuery, or None if it knows."""
        if self.value.shown == self._told.shown:
            return None
        self._told = self.value
        return self.value

    # --- what the server has done ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A transaction is open from here on."""
        self._levels = [_Level("", self.value, self._kept)]

    def savepoint(self, name: str) -> None:
        """A savepoint is set."""
        self._levels.append(_Level(name, self.value, self._kept))

    def release(self, name: str) -> None:
        """A savepoint and those after it are gone; what was set since belongs to the outer level."""
        if at := self._find(name):
            del self._levels[at:]
            self._note()

    def roll_back_to(self, name: str) -> None:
        """What was set since a savepoint is taken back; the savepoint itself stays."""
        if at := self._find(name):
            del self._levels[at + 1 :]
            self.fail()

    def fail(self) -> None:
        """What was set since the last savepoint is taken back."""
        if self._levels:
            self.value, self._kept = self._levels[-1].value, self._levels[-1].kept
            self._note()

    def end(self, *, committed: bool) -> None:
        """The transaction is over."""
        if committed:
            self.value = self._kept
        else:
            del self._levels[1:]
            self.fail()
        self._levels = []
        self._note()

    def _note(self) -> None:
        levels = (encoding for level in self._levels for encoding in (level.value, level.kept))
        self.is_utf8 = all(each == UTF8 for each in (self.value, self._kept, self.default, *levels))

    def _find(self, name: str) -> int:
        """Return where the last savepoint of a name is; 0 if there is none, which is the transaction's own place."""
        return max((at for at, level in enumerate(self._levels) if at and level.name == name), default=0)
