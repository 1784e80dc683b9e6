"""What an engineer reads in psql while a statement is held: id, kind, relations, rows and rule in the first line.

`VERBOSITY=terse` shows only the first line, psycopg2 shows notices only afterwards: the words carry no state of their
own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pgnotary.judge.policy import Verdict
from pgnotary.ledger.canonical import JSON, parse_timestamp
from pgnotary.ledger.entries import Filed
from pgnotary.request.quorum import quorum_in
from pgnotary.session.standing import Standing

__all__ = ["Held", "held_notice", "one_line", "rows_in_words", "waiting_notice"]


_GUESSED = {
    "count": "counted, but may be others when it runs",
    "sum": "in all, but may be others when it runs",
}


@dataclass(frozen=True, slots=True)
class Held:
    """An open hold: no more than its end needs, since it may wait for hours, and others with it."""

    request: str
    asked: Filed
    """Its entry: what takes it back is held against that."""
    leaf: bytes
    """Of its `preview` entry: what comes next comes after that."""
    deadline: float
    """Monotonic seconds."""
    hold_s: float
    standing: Standing
    """As it was signed."""


def one_line(text: str) -> str:
    """Return what somebody else wrote without a line's end, or anything that moves a terminal: psql prints it."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def rows_in_words(preview: Filed) -> str:
    """Return how many rows the preview saw, and how it knows."""
    body = preview.entry.body
    if "exact" in body:
        return f"{body['exact']} row{'s' * (body['exact'] != 1)} (counted)"
    if "at_most" in body:
        return f"AT MOST {body['at_most']} row{'s' * (body['at_most'] != 1)} (counted; some may be kept)"
    if "estimate" in body:
        obtained = body.get("obtained")
        had = obtained.get("estimate") if isinstance(obtained, dict) else None
        how = _GUESSED.get(str(had.get("how")) if isinstance(had, dict) else "", "planner estimate")
        return f"about {body['estimate']} rows ({how})"
    return "rows unknown"


def _what(parts: JSON) -> str:
    """Return what of a text is held, part by part: `DELETE on orders; DROP on items`."""
    listed = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    named = (f"{str(part['kind']).upper()}{_on(part.get('relations'))}" for part in listed if not part["harmless"])
    return "; ".join(dict.fromkeys(named))


def _on(relations: JSON | None) -> str:
    return f" on {', '.join(map(str, relations))}" if isinstance(relations, list) and relations else ""


def held_notice(
    asked: Filed, preview: Filed, verdict: Verdict, approvers: Sequence[str], requester: str
) -> tuple[str, str, str]:
    """Return message, detail and hint of the NOTICE that tells about a hold."""
    others = [person for person in approvers if person != requester]
    request, body = asked.entry.request, asked.entry.body
    quorum = quorum_in(body)
    if not quorum.is_usual:
        who = f"Needs {quorum.words(requester)}."
    else:
        who = f"Needs 1 of {', '.join(others)}." if others else "Nobody else is on the roster of approvers."
    in_block = body["block"] == "open"
    block = "Your transaction is open and keeps its locks while held." if in_block else "No transaction is open."
    expires_at = parse_timestamp(str(body["expires_at"]))
    return (
        f"{request} held for approval: {_what(body['parts'])}, {rows_in_words(preview)}, rule {verdict.rule}",
        f"{who} Expires {expires_at:%H:%M:%S} UTC. {block} Held because {verdict.reason}.",
        f"Approve with: pgnotary approve {request}. Say why beforehand with SET pgnotary.reason = '...'. "
        "Ctrl-C withdraws it.",
    )


def waiting_notice(held: Held, now: float) -> tuple[str, str, str]:
    """Return the reminder: the connection lives, the request waits."""
    return f"{held.request} still waiting for approval, {max(int(held.deadline - now), 0)} s left", "", ""
