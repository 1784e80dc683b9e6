"""The requests of a ledger as rows for a spreadsheet: stories enter, cells leave, none of which is a formula.

Cells hold text of clients and approvers. A spreadsheet takes what begins with =, +, - or @ for a formula (OWASP, "CSV
Injection"), and where it separates by semicolons or tabs it also finds such beginnings inside a text; each gets an
apostrophe before it. The exact text is in the ledger and in its export.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from pgnotary.audit.story import Story
from pgnotary.audit.withheld import Disclosure
from pgnotary.ledger.canonical import timestamp

__all__ = ["COLUMNS", "table"]

COLUMNS = (
    "id", "time", "user", "database", "kind", "relations", "statement", "estimate", "exact", "at_most",
    "decision", "approver",
    "decided_at", "max_rows", "result", "rows", "xid",
)  # fmt: skip

# Also behind spaces, which are dropped, and in the wide forms that are read like the narrow ones.
_FORMULA = re.compile(r"(?:^|(?<=[;\t\r\n]))(?=[^\S\t\r\n]*[=+\-@\uff1d\uff0b\uff0d\uff20])|^(?=[\t\r\n])")


_ALL = Disclosure()


def table(told: Iterable[Story], disclosure: Disclosure = _ALL) -> Iterator[list[str]]:
    """Yield COLUMNS and then one row a request; of sealed values it has statements, if they are disclosed."""
    yield list(COLUMNS)
    for story in told:
        shown = story if disclosure.gives("statement") else replace(story, statement=None)
        yield [_cell(value) for value in _values(shown)]


def _values(story: Story) -> list[str | int | None]:
    preview, decision = story.preview, story.decision
    return [
        story.request,
        timestamp(story.asked_at),
        story.user,
        story.database,
        story.kind,
        ", ".join(story.relations),
        story.statement if "statement" not in story.redacted else f"({story.redacted['statement']})",
        preview.estimate if preview else None,
        preview.exact if preview else None,
        preview.at_most if preview else None,
        decision.answer if decision else None,
        ", ".join(each.approver for each in story.carried_by) or None,
        timestamp(decision.at) if decision else None,
        story.max_rows,
        story.state.value,
        story.rows,
        story.xid,
    ]


def _cell(value: str | int | None) -> str:
    return _FORMULA.sub("'", value) if isinstance(value, str) else "" if value is None else str(value)
