"""The files of an export that follow from its entries: entries enter in order, names and exact contents leave.

They are there for people with ssh-keygen, who look at nothing else. So the export writes them from here, and whoever
verifies a folder compares them with what comes from here, byte for byte.

    allowed_signers    the roster in force at the end; rosters/N is the one that entry #N put in force
    decisions/R-17.json, decisions/R-17.json.sig; of several R-17-2.json, R-17-3.json, ... beside it
    withdrawals/R-18.json, withdrawals/R-18.json.sig; if its requester took it back by a signed call
"""

import re
from dataclasses import dataclass

from pgnotary.errors import CallRefused, DecisionRefused, NotCanonical
from pgnotary.ledger.base import Base
from pgnotary.ledger.entries import Entry, EntryType, parse_entry
from pgnotary.request.withdrawal import call_in
from pgnotary.verify.signed import signed
from pgnotary.verify.steps import is_short

__all__ = ["DECISIONS", "ROSTER", "ROSTERS", "WITHDRAWALS", "Evidence", "File"]

DECISIONS, ROSTERS, WITHDRAWALS, ROSTER = "decisions", "rosters", "withdrawals", "allowed_signers"

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
        self._taken_back: set[str] = set()
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
        if entry.type in (EntryType.WITHDRAWN, EntryType.VOID):
            return self._withdrawal(entry, place)
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

    def _withdrawal(self, entry: Entry, place: int) -> list[File]:
        name = entry.request or ""
        try:
            call = call_in(entry)
        except CallRefused:
            return []
        # A request ends once: another end is a fault.
        if call is None or not _REQUEST.fullmatch(name) or name in self._taken_back:
            return []
        self._taken_back.add(name)
        path = f"{WITHDRAWALS}/{name}.json"
        return [File(path, call.raw, place), File(f"{path}.sig", call.signature.encode(), place)]
