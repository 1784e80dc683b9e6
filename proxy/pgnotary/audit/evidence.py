"""The files of an export that follow from its entries: entries enter in order, names and exact contents leave.

They are there for people with ssh-keygen, who look at nothing else. So the export writes them from here, and whoever
verifies a folder compares them with what comes from here, byte for byte.

    allowed_signers    the roster in force at the end; rosters/N is the one that entry #N put in force
    decisions/R-17.json, decisions/R-17.json.sig; of several R-17-2.json, R-17-3.json, ... beside it
"""

import re
from dataclasses import dataclass

from pgnotary.errors import DecisionRefused, NotCanonical
from pgnotary.ledger.base import Base
from pgnotary.ledger.entries import Entry, EntryType, parse_entry
from pgnotary.verify.signed import signed
from pgnotary.verify.steps import is_short

__all__ = ["DECISIONS", "ROSTER", "ROSTERS", "Evidence", "File"]

DECISIONS, ROSTERS, ROSTER = "decisions", "rosters", "allowed_signers"

# The ids that a proxy gives: nothing that could lead out of the folder.
_REQUEST = re.compile(r"R-[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class File:
    """One file of the folder."""

    name: str
    """Its path in the folder."""
    content: bytes
    place: int
    """The number of the entry that it is taken from."""


class Evidence:
    """Takes the bytes of all entries in order, from a base on if there is one, and gives the files that follow."""

    def __init__(self, base: Base | None = None) -> None:
        self.entries = self.decisions = 0
        self._first = base.size if base else 0
        self._decided: dict[str, tuple[int, bool]] = {}
        """Of each request how many decisions it has, and whether further ones may follow."""
        roster = base.allowed_signers if base else None
        self._roster = None if roster is None else File(ROSTER, roster.encode(), self._first)

    def take(self, raw: bytes) -> list[File]:
        """Return the files that the next entry gives."""
        place = self._first + self.entries
        self.entries += 1
        try:
            entry = parse_entry(raw)
        except NotCanonical:
            # The checklist names it.
            return []
        if entry.type is EntryType.DECISION:
            return self._decision(entry, place)
        if entry.type is EntryType.ROSTER:
            text = str(entry.body.get("allowed_signers", "")).encode()
            self._roster = File(ROSTER, text, place)
            return [File(f"{ROSTERS}/{place}", text, place)]
        return []

    def last(self) -> list[File]:
        """Return what only the end tells: the roster in force."""
        return [self._roster] if self._roster else []

    def _decision(self, entry: Entry, place: int) -> list[File]:
        name = entry.request or ""
        try:
            document, signature = signed(entry)
        except DecisionRefused:
            return []
        count, goes_on = self._decided.get(name, (0, True))
        # A decision behind one that was enough is a fault; the evidence of those before it stays.
        if not _REQUEST.fullmatch(name) or not goes_on:
            return []
        self._decided[name] = count + 1, is_short(entry)
        self.decisions += 1
        path = f"{DECISIONS}/{name}-{count + 1}.json" if count else f"{DECISIONS}/{name}.json"
        return [File(path, document.raw, place), File(f"{path}.sig", signature.encode(), place)]
