"""Plain reads that are remembered: by their bytes, or by their shape, since no constant can change what they are.

A text enters; what was read in it and its verdict leave. Whether it is a plain read is decided by whoever judges it,
once. All that a judgement depends on beside the text is the same for one memory: a `PlainReads` is of one catalog, one
scope and one subject.

A shape is the text with its integers replaced, if the text is so simple that everybody cuts it into the same tokens:
words, integers and a few signs, with no quotes, comments or dollars.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from pgnotary.judge.policy import Verdict
from pgnotary.judge.statement import Part, Statement

__all__ = ["MAX_TEXTS", "MAX_TEXT_BYTES", "PlainRead", "PlainReads", "shape"]

MAX_TEXT_BYTES = 4_096
"""A longer text seldom comes again."""
MAX_TEXTS = 1_024

_SIMPLE = re.compile(rb"[A-Za-z0-9_ \t\r\n,.()*=<>;:+-]+")
# Nothing that 1.5, 1e5, 0x1f or 1_000 could be a part of: those keep their bytes, as does 007, which is read otherwise.
_INTEGER = re.compile(rb"(?<![\w.])(?:0|[1-9][0-9]*)(?![\w.])")


@dataclass(frozen=True, slots=True)
class PlainRead:
    """What was read in a text of this shape."""

    part: Part
    verdict: Verdict

    def statement(self, text: bytes) -> Statement:
        """Return what a text of this shape says."""
        return Statement(text, (replace(self.part, start=0, end=len(text)),))


class PlainReads:
    """What is known of texts under one catalog, one scope, and for one subject."""

    def __init__(self) -> None:
        self._found: dict[bytes, PlainRead | None] = {}

    def find(self, text: bytes, judge: Callable[[bytes], PlainRead | None]) -> PlainRead | None:
        """Return the plain read that a text is, or None.

        `judge` is asked about a text of a new shape; if it raises, nothing is remembered.
        """
        if (found := self._found.get(text)) is not None:
            return found
        if len(text) > MAX_TEXT_BYTES:
            return None
        key = shape(text)
        if key not in self._found:
            if len(self._found) >= MAX_TEXTS:
                self._found.clear()
            self._found[key] = judge(text)
        return self._found[key]


def shape(text: bytes) -> bytes:
    """Return a text with 0 in place of each integer if it is simple, else the text itself."""
    # In a comment, an integer may stand between what belongs together.
    if _SIMPLE.fullmatch(text) is None or b"--" in text:
        return text
    return _INTEGER.sub(b"0", text)
