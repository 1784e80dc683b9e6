"""What an engineer reads in psql while a statement is held: id, kind, relations, rows and rule in the first line.

`VERBOSITY=terse` shows only the first line, psycopg2 shows notices only afterwards: the words carry no state of their
own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pgnotary.judge.policy import Verdict
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Receipt

__all__ = ["Held", "held_notice", "rows_in_words", "waiting_notice"]


@dataclass(frozen=True, slots=True)
class Held:
    """An open hold."""

    request: str
    asked: Receipt
    preview: Receipt
    verdict: Verdict
    deadline: float
    """Monotonic seconds."""
    hold_s: float
    expires_at: datetime
    in_block: bool


def rows_in_words(preview: Receipt) -> str:
    """Return how many rows the preview saw, and how it knows."""
    body = preview.entry.body
    if "exact" in body:
        return f"{body['exact']} row{'s' * (body['exact'] != 1)} (counted)"
    if "estimate" in body:
        return f"about {body['estimate']} rows (planner estimate)"
    return "rows unknown"


def _what(parts: JSON) -> str:
    """Return what of a text is held, part by part: `DELETE on orders; DROP on items`."""
    listed = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    named = (f"{str(part['kind']).upper()}{_on(part.get('relations'))}" for part in listed if not part["harmless"])
    return "; ".join(dict.fromkeys(named))


def _on(relations: JSON | None) -> str:
    return f" on {', '.join(map(str, relations))}" if isinstance(relations, list) and relations else ""


def held_notice(held: Held, approvers: Sequence[str], requester: str) -> tuple[str, str, str]:
    """Return message, detail and hint of the NOTICE that tells about a hold."""
    others = [person for person in approvers if person != requester]
    who = f"Needs 1 of {', '.join(others)}." if others else "Nobody else is on the roster of approvers."
    block = "Your transaction is open and keeps its locks while held." if held.in_block else "No transaction is open."
    what = _what(held.asked.entry.body["parts"])
    return (
        f"{held.request} held for approval: {what}, {rows_in_words(held.preview)}, rule {held.verdict.rule}",
        f"{who} Expires {held.expires_at:%H:%M:%S} UTC. {block} Held because {held.verdict.reason}.",
        f"Approve with: pgnotary approve {held.request}. Say why beforehand with SET pgnotary.reason = '...'. "
        "Ctrl-C withdraws it.",
    )


def waiting_notice(held: Held, now: float) -> tuple[str, str, str]:
    """Return the reminder: the connection lives, the request waits."""
    return f"{held.request} still waiting for approval, {max(int(held.deadline - now), 0)} s left", "", ""
