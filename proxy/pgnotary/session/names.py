"""What the client has prepared: which text stands behind each name of a statement and of a portal.

Messages that the server has answered enter; the text behind a name leaves, or nothing if no such name is known here.
A name is given by ParseComplete or BindComplete, never by the message that asked for it: a Parse that fails leaves the
old statement standing, and a Bind would run that one.

Source: PostgreSQL 18, "Extended Query": a portal lives to the end of its transaction, the unnamed statement to the
next Parse of it or the next simple query.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pgnotary.wire.frames import Frame
from pgnotary.wire.messages import bind_fields, described, parse_fields

__all__ = ["UNNAMED", "Names"]

UNNAMED = b""


@dataclass(slots=True)
class Names:
    """The client's prepared statements and portals."""

    statements: dict[bytes, bytes] = field(default_factory=dict)
    """Name -> text."""
    portals: dict[bytes, bytes] = field(default_factory=dict)
    """Name -> text of the statement at the time of the Bind."""
    doubtful: bool = False
    """Something that was signed has run since: it may have prepared another statement under one of the names."""

    def copy(self) -> "Names":
        """Return the same names, to try on them what messages would do."""
        return Names(dict(self.statements), dict(self.portals), self.doubtful)

    def follow(self, frame: Frame) -> None:
        """Do what a message does that the server has carried out."""
        match frame.type:
            case b"P":
                name, text = parse_fields(frame.body)
                self.statements[name] = text
            case b"B":
                portal, statement = bind_fields(frame.body)
                self.portals[portal] = self.statements[statement]
            case b"C":
                kind, name = described(frame.body)
                (self.statements if kind == b"S" else self.portals).pop(name, None)

    def follow_all(self, frames: Sequence[Frame], done: int) -> None:
        """Do what messages do of which the server has carried out the first ones, and refused the next, if any."""
        for frame in frames[:done]:
            self.follow(frame)
        for frame in frames[done : done + 1]:
            self.fail(frame)

    def fail(self, frame: Frame) -> None:
        """Do what a message does that the server has refused: the unnamed statement is gone before a Parse is read."""
        if frame.type == b"P" and parse_fields(frame.body)[0] == UNNAMED:
            self.statements.pop(UNNAMED, None)

    def end_transaction(self) -> None:
        """Forget the portals."""
        self.portals.clear()

    def run_simple_query(self) -> None:
        """Forget what a simple query destroys."""
        self.statements.pop(UNNAMED, None)
        self.portals.pop(UNNAMED, None)

    def compare(self, theirs: Mapping[bytes, bytes]) -> None:
        """Forget the named statements that the server has under another text, or not at all."""
        # No SQL can give the unnamed statement to another text.
        theirs = {**theirs, UNNAMED: self.statements.get(UNNAMED, b"")}
        self.statements = {name: text for name, text in self.statements.items() if theirs.get(name) == text}
        self.doubtful = False
