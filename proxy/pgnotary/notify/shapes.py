"""The body of a message: a `Notice` enters, bytes leave, as JSON or as Slack's incoming webhooks take it.

The JSON is that of Standard Webhooks: {type, timestamp, data}. For Slack it becomes a few lines of text. What others
have written stands there in code spans alone, which it cannot leave: no mention (<!channel>), link, or second command
comes out of a name. Nothing in it can be pressed: a decision is signed with a key, and Slack has none.
"""

import json
from collections.abc import Mapping
from typing import Literal

from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import BREAK_GLASS
from pgnotary.notify.notice import Notice

__all__ = ["body", "slack_text"]

_ANSWERS = {"approve": "approved", "deny": "denied"}
_EVENTS = {
    "decision.rejected": "A decision was refused",
    "values.redacted": "Values were redacted",
    "decision.reviewed": "What was approved by breaking the glass was reviewed",
    "roster.recorded": "A roster of approvers is in force",
    "policy.recorded": "Other rules are in force",
    "proxy.started": "The proxy has started",
    "proxy.stopped": "The proxy has stopped",
    "ledger.full": "The ledger's disk is full: nothing is forwarded",
}


def body(notice: Notice, shape: Literal["json", "slack"]) -> bytes:
    """Return the bytes to send, ASCII."""
    if shape == "json":
        said: Mapping[str, JSON] = {"type": notice.type, "timestamp": notice.at, "data": dict(notice.data)}
    else:
        # `parse` and `link_names` would make links and mentions of plain words; unfurling would fetch what is linked.
        said = {
            "text": slack_text(notice),
            "mrkdwn": True,
            "parse": "none",
            "link_names": False,
            "unfurl_links": False,
            "unfurl_media": False,
        }
    return json.dumps(said, separators=(",", ":")).encode("ascii")


def slack_text(notice: Notice) -> str:
    """Return a notice in Slack's mrkdwn."""
    data = notice.data
    lines = [f"*{_headline(notice)}*", _what(data), *_asked(notice)]
    if "command" in data:
        lines.append(f"Look at it: {_code(data['command'])}")
    lines.append(f"Entry {data['entry']} of {_code(data['ledger'])}, {notice.at}")
    return "\n".join(line for line in lines if line)


def _headline(notice: Notice) -> str:
    data = notice.data
    # Of the form R-7: see `pgnotary.notify.notice`.
    request = data.get("request", "A request")
    match notice.type:
        case "request.held":
            return f"{request} waits for a decision"
        case "request.decided":
            return _decided(str(request), data)
        case "request.ended":
            return f"{request} has ended: {_escaped(data.get('result', 'unknown'))}{_changed(data)}"
        case other:
            return _EVENTS.get(other, "Something was recorded")


def _decided(request: str, data: Mapping[str, JSON]) -> str:
    answer, approver = str(data.get("answer", "decided")), _escaped(data.get("approver", "somebody"))
    if answer == BREAK_GLASS:
        return f"BREAK GLASS: {request} was approved by {approver} alone, and must be reviewed"
    lacks = data.get("lacks")
    more = f", {lacks} more needed" if isinstance(lacks, int) and lacks else ""
    return f"{request}: {_ANSWERS.get(answer) or _escaped(answer)} by {approver}{more}"


def _changed(data: Mapping[str, JSON]) -> str:
    rows = data.get("rows")
    return f", {rows:,} rows" if isinstance(rows, int) else ""


def _what(data: Mapping[str, JSON]) -> str:
    if "kind" not in data:
        return ""
    relations = data.get("relations")
    names = [_code(each) for each in relations] if isinstance(relations, list) else []
    more = f" and {data['relations_more']} more" if "relations_more" in data else ""
    on = f" on {', '.join(names)}{more}" if names else ""
    person, user = data.get("person"), data.get("user")
    who = _code(person or user or "?") + (f" (user {_code(user)})" if user and user != person else "")
    return f"{_code(data['kind'])}{on} in {_code(data.get('database', '?'))}, asked by {who}"


def _asked(notice: Notice) -> list[str]:
    data = notice.data
    if notice.type != "request.held":
        return []
    needs = data.get("needs")
    approvals = f"needs {needs} approval{'' if needs == 1 else 's'}, " if isinstance(needs, int) else ""
    expires = _code(data.get("expires_at", "?"))
    return [f"{_rows(data.get('rows'))}; rule {_code(data.get('rule', '?'))}, {approvals}expires {expires}"]


def _rows(rows: JSON | None) -> str:
    found: Mapping[str, JSON] = rows if isinstance(rows, Mapping) else {}
    for name, words in (("exact", "{:,} rows"), ("at_most", "at most {:,} rows"), ("estimate", "about {:,} rows")):
        if isinstance(count := found.get(name), int):
            return words.format(count)
    return "How many rows is not known"


def _code(value: JSON) -> str:
    """Return foreign text as a code span, in which nothing has a meaning but the backtick that ends it."""
    return f"`{_escaped(value)}`"


def _escaped(value: JSON) -> str:
    """Return foreign text without what Slack gives a meaning, on one line, and with nothing hidden in it."""
    text = str(value).replace("`", "'").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = "".join(each if each.isprintable() else f"\\u{{{ord(each):x}}}" for each in text)
    return shown.strip() or "?"
