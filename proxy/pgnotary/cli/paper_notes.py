"""What the eye could miss in an open request: a `Paper` enters, labels and texts leave.

Characters that show as nothing, or as others, are named with their code points; what cannot be undone, seen or bounded
is said in capitals. Who shows the texts makes them safe.
"""

from collections import Counter
from collections.abc import Iterator

from pgnotary.approval.papers import Context, Paper
from pgnotary.cli.safe_text import visible

__all__ = ["notes"]

_MAX_NAMED = 40


def notes(paper: Paper) -> Iterator[tuple[str, str]]:
    """Yield what the eye could miss."""
    values = ((f"the parameter {label}", text) for label, text in paper.bound)
    texts = (("it", paper.statement), *values, ("what it runs", paper.prepared or ""), ("the reason", paper.reason))
    for name, text in (*texts, *_names(paper.context)):
        yield from (("note", f"{name} holds {told}") for told in _strange(text))
    if paper.prepared is None and paper.context.runs_unseen:
        yield "note", "NOBODY CAN SEE WHAT IT RUNS: it executes a prepared statement whose text is not known"
    if paper.context.outside:
        yield (
            "note",
            "IT RUNS OUTSIDE ANY TRANSACTION: nothing can undo it, no transaction id tells its outcome",
        )
    if not paper.context.has_ceiling:
        yield "note", "ANY NUMBER OF ROWS MAY CHANGE: PostgreSQL does not count them, so no ceiling can be held"


def _names(context: Context) -> Iterator[tuple[str, str]]:
    """Yield the names that a person knows people and places by, each with what it is."""
    for what in ("person", "user", "application", "database", "role", "session_user", "search_path"):
        yield f"the {what}", getattr(context, what)
    yield "the relation", ", ".join(context.relations)


def _strange(text: str) -> Iterator[str]:
    """Yield which characters of a text do not show as themselves, and which may be taken for others."""
    found = Counter(text)
    hidden = {each: times for each, times in found.items() if each not in "\n\t" and visible(each) != each}
    foreign = {each: times for each, times in found.items() if not each.isascii() and each not in hidden}
    if hidden:
        yield f"characters that do not show as themselves and stand there as escapes: {_named(hidden)}"
    if foreign:
        yield f"characters outside ASCII, which may look like others: {_named(foreign)}"


def _named(found: dict[str, int]) -> str:
    """Return characters with their code points and how often they occur, plain letters last."""
    each = sorted(found.items(), key=lambda item: (item[0].isalpha(), item[0]))
    named = [f"{_drawn(character)}U+{ord(character):04X} ({times:,}x)" for character, times in each[:_MAX_NAMED]]
    more = [f"{len(each) - _MAX_NAMED:,} more"] if len(each) > _MAX_NAMED else []
    return ", ".join([*named, *more])


def _drawn(character: str) -> str:
    return f"{character} " if visible(character) == character else ""
