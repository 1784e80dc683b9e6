"""Verdicts that are remembered: the same text, in a database with the same functions, means the same.

A text and a catalog enter, a statement and its verdict leave. Only what is forwarded is remembered: it comes again and
again and takes little memory, while what is held waits for people anyway and carries its parse tree.
"""

from collections import OrderedDict

from pgnotary.judge.catalog import Catalog
from pgnotary.judge.policy import Action, Profile, Verdict, verdict
from pgnotary.judge.reading import read
from pgnotary.judge.statement import Statement

__all__ = ["MAX_REMEMBERED", "Verdicts"]

# At most 16 KB each, the longest text that is judged.
MAX_REMEMBERED = 1_024


class Verdicts:
    """The judge of all sessions, under one profile."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._remembered: OrderedDict[tuple[bytes, Catalog], tuple[Statement, Verdict]] = OrderedDict()

    def judge(self, text: bytes, catalog: Catalog) -> tuple[Statement, Verdict]:
        """Return what a text says and what happens to it; raises InvalidText if it is not UTF-8."""
        key = (text, catalog)
        if (found := self._remembered.get(key)) is not None:
            self._remembered.move_to_end(key)
            return found
        statement = read(text, catalog)
        found = (statement, verdict(statement, self._profile))
        if found[1].action is Action.FORWARD:
            self._remembered[key] = found
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        return found
