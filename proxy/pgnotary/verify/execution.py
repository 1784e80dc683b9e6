"""Whether what an approved statement did is told without contradiction: entries enter, faults leave.

The intent must be of the connection that asked, the row count that of the command tags, the outcome's transaction and
rows those of the entries before it, and no more than was signed. The numbers are those of the checklist.
"""

from collections.abc import Iterator

from pgnotary.ledger.entries import Entry
from pgnotary.request.life import State
from pgnotary.wire.messages import rows_of

__all__ = ["has_committed", "number", "of_executed", "of_intent", "of_name", "of_outcome"]

# As many tags as an entry lists, and no tag of PostgreSQL is longer than this with its count.
_MAX_TAGS = 200
_MAX_TAG = 64


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
    """Yield a fault if the row count is not that of the command tags."""
    # (17) rows are what the tags count; harmless parts have tags too, and theirs are not in the sum
    rows, tags = number(executed, "rows"), executed.body.get("tags")
    if rows is None or not isinstance(tags, list) or len(tags) >= _MAX_TAGS:
        return
    short = [tag for tag in tags if isinstance(tag, str) and len(tag) <= _MAX_TAG]
    told = sum(count for count in map(rows_of, short) if count is not None)
    if rows > told or (len(tags) == 1 and rows != told):
        yield f"executed says {rows} rows, its command tags count {told}"


def of_name(entry: Entry, prepared_as: str | None) -> Iterator[str]:
    """Yield a fault if what is prepared has no name, or another one than `prepared_as`, None before it is prepared."""
    # (17) what is prepared has a name, and ends by that name
    gid = entry.body.get("gid")
    if prepared_as is None:
        if entry.body.get("result") == State.PREPARED.value and not isinstance(gid, str):
            yield "prepared without a name"
    elif gid is not None and gid != prepared_as:
        yield f"prepared as {prepared_as!r:.60}, ended as {gid!r:.60}"


def of_outcome(outcome: Entry, intent: Entry | None, executed: Entry | None, max_rows: int | None) -> Iterator[str]:
    """Yield what speaks against an outcome; `max_rows` is what was signed, None for any number."""
    xid, sent = outcome.body.get("xid"), None if intent is None else intent.body.get("xid")
    if xid is not None and sent is not None and xid != sent:
        yield f"the outcome is of transaction {xid!r:.40}, sent was {sent!r:.40}"
    rows, counted = number(outcome, "rows"), number(executed, "rows")
    if executed is not None and rows is not None and rows != counted:
        yield f"the outcome says {rows} rows, executed says {'none' if counted is None else counted}"
    if not has_committed(outcome) or max_rows is None:
        return
    # (16) no more rows than were signed, and a count to tell it by
    counts = [each for each in (counted, rows) if each is not None]
    if not counts:
        yield f"committed without a row count, approved for at most {max_rows}"
    elif max(counts) > max_rows:
        yield f"committed {max(counts)} rows, approved for at most {max_rows}"
