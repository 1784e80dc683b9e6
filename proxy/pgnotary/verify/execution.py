"""Whether what an approved statement did is told without contradiction: entries enter, faults leave.

The intent must be of the connection that asked, the row count that of the command tags, the outcome's transaction and
rows those of the entries before it, and no more than was signed. The numbers are those of the checklist.
"""

from collections.abc import Iterator, Mapping, Sequence

from pgnotary.ledger.entries import Entry
from pgnotary.request.ceiling import Ceiling, Changed, other_rows, own_rows, told_rows
from pgnotary.request.ended import Ended
from pgnotary.request.life import State

__all__ = ["has_committed", "number", "of_executed", "of_intent", "of_name", "of_outcome"]

# As many tags as an entry lists, and no tag of PostgreSQL is longer than this with its count.
_MAX_TAGS = 200
_MAX_TAG = 64
_COMMITS = frozenset({Ended.AUTOCOMMIT, Ended.COMMIT, Ended.BATCH_COMMIT, Ended.COMMIT_PREPARED, Ended.OUTSIDE})
_SIGNED = ("max_rows", "max_other_rows")


def number(entry: Entry | None, name: str) -> int | None:
    """Return an integer of an entry's body, or None if there is none."""
    value = None if entry is None else entry.body.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def has_committed(outcome: Entry) -> bool:
    """Whether an outcome says, at once or in the end, that the transaction committed."""
    return State.COMMITTED.value in (outcome.body.get("result"), outcome.body.get("fate"))


def of_intent(intent: Entry, request: Entry) -> Iterator[str]:
    """Yield what speaks against sending it there."""
    # (15) nothing is sent to another database or over another connection
    for name, what in (("system_identifier", "the database"), ("upstream_pid", "the server process")):
        asked, sent = request.body.get(name), intent.body.get(name)
        if asked is not None and sent is not None and asked != sent:
            yield f"sent to {what} {sent!r:.60}, asked for {asked!r:.60}"


def of_executed(executed: Entry) -> Iterator[str]:
    """Yield a fault if the row counts are not those of the command tags and of the relations that were changed."""
    # (17) rows are what tags and relations say; harmless parts have tags too, and theirs are not in the sum
    rows, tags = number(executed, "rows"), executed.body.get("tags")
    try:
        changed = _changed(executed)
    except ValueError as error:
        yield str(error)
        return
    yield from _of_others(executed, changed)
    if rows is None or not isinstance(tags, list) or len(tags) >= _MAX_TAGS:
        return
    short = [tag for tag in tags if isinstance(tag, str) and len(tag) <= _MAX_TAG]
    told = told_rows(short) or 0
    counted = own_rows(told, changed)
    whole = "changed_more" not in executed.body
    # A part that is known to change nothing may have copied rows out: its tag is not in the sum.
    at_most_told = len(tags) == 1 or not any(tag.startswith("COPY") for tag in short)
    if whole and (rows > counted or (at_most_told and rows != counted)):
        and_more = f", with its relations {counted}" if changed else ""
        yield f"executed says {rows} rows, its command tags count {told}{and_more}"


def _changed(executed: Entry) -> list[Changed]:
    """Return what was changed in each relation that is listed; raises ValueError."""
    listed = executed.body.get("changed", [])
    if not isinstance(listed, list) or not all(isinstance(each, Mapping) for each in listed):
        raise ValueError("what was changed is no list of relations")
    return [Changed.of(each) for each in listed if isinstance(each, Mapping)]


def _of_others(executed: Entry, changed: Sequence[Changed]) -> Iterator[str]:
    said, counted = number(executed, "other_rows") or 0, other_rows(changed)
    if said < counted or ("changed_more" not in executed.body and said != counted):
        yield f"executed says {said} rows in other tables, its relations count {counted}"


def of_name(entry: Entry, prepared_as: str | None) -> Iterator[str]:
    """Yield a fault if what is prepared has no name, or another one than `prepared_as`, None before it is prepared."""
    # (17) what is prepared has a name, and ends by that name
    gid = entry.body.get("gid")
    if prepared_as is None:
        if entry.body.get("result") == State.PREPARED.value and not isinstance(gid, str):
            yield "prepared without a name"
    elif gid is not None and gid != prepared_as:
        yield f"prepared as {prepared_as!r:.60}, ended as {gid!r:.60}"


def of_outcome(outcome: Entry, intent: Entry | None, executed: Entry | None, ceiling: Ceiling | None) -> Iterator[str]:
    """Yield what speaks against an outcome; `ceiling` is what was signed, None for any number."""
    yield from _of_way(outcome)
    xid, sent = outcome.body.get("xid"), None if intent is None else intent.body.get("xid")
    if xid is not None and sent is not None and xid != sent:
        yield f"the outcome is of transaction {xid!r:.40}, sent was {sent!r:.40}"
    rows, counted = number(outcome, "rows"), number(executed, "rows")
    if executed is not None and rows is not None and rows != counted:
        yield f"the outcome says {rows} rows, executed says {'none' if counted is None else counted}"
    # (16) no more rows than were signed, and a count to tell it by
    yield from _of_excess(outcome, ceiling)
    if not has_committed(outcome) or ceiling is None:
        return
    counts = [each for each in (counted, rows) if each is not None]
    if not counts:
        yield f"committed without a row count, approved for at most {ceiling.max_rows}"
    elif max(counts) > ceiling.max_rows:
        yield f"committed {max(counts)} rows, approved for at most {ceiling.max_rows}"
    other = number(executed, "other_rows") or 0
    if ceiling.is_exceeded(0, other):
        yield f"committed {other} rows in other tables, approved for at most {ceiling.max_other_rows} there"
    if executed is not None and "uncountable" in executed.body:
        yield f"committed what could not be counted, approved for at most {ceiling.max_rows}"


def _of_way(outcome: Entry) -> Iterator[str]:
    """Yield a fault if which way it ended and what became of it are not the same story."""
    # (17) what has ended by a commit is committed, and nothing else is
    way, result = outcome.body.get("ended"), outcome.body.get("result")
    if way is not None and (isinstance(way, str) and way in _COMMITS) is not (result == State.COMMITTED.value):
        yield f"{result!s:.20}, and ended by {way!s:.20}"


def _of_excess(outcome: Entry, ceiling: Ceiling | None) -> Iterator[str]:
    """Yield what speaks against its being more than was signed."""
    told = outcome.body.get("ceiling_exceeded")
    if told is None:
        return
    if has_committed(outcome):
        yield "says that it was more than was signed, and committed all the same"
    if not isinstance(told, Mapping) or ceiling is None:
        yield "says that it was more than was signed, and no number was"
        return
    if {name: told.get(name) for name in _SIGNED if name in told} != ceiling.fields:
        yield f"says that it was more than was signed, but not than at most {ceiling.max_rows}"
    rows, other = told.get("rows"), told.get("other_rows", 0)
    if isinstance(rows, int) and isinstance(other, int) and not ceiling.excess(rows, other):
        yield f"says that it was more than was signed: {rows} rows, approved for at most {ceiling.max_rows}"
