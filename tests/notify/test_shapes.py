"""What is said, and in which shape: bounded, without what is sealed, and nothing in it that acts for others."""

import json
from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, Entry, EntryType, Position, parse_entry, write_entry
from pgnotary.notify.notice import Notice, notice, types_of
from pgnotary.notify.shapes import body, slack_text
from pgnotary.webhook import Event

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
ASKED: dict[str, JSON] = {
    "person": "eva@corp", "user": "eva", "database": "shop", "kind": "delete", "relations": ["public.orders"],
    "rule": "default", "needs": 2, "expires_at": "2026-05-01T12:15:00.000000Z", "why": "s3cr3t", "client": "s3cr3t",
    "application": "s3cr3t", "search_path": "s3cr3t",
}  # fmt: skip


def entry(type_: EntryType, request: str | None = "R-7", /, **fields: JSON) -> Entry:
    position = Position("ledger.example.com/prod", 7, bytes(32), AT)
    return parse_entry(write_entry(Draft(type_, fields, "S-1" if request else None, request), position, {}).raw)


def held(**changes: JSON) -> Notice:
    shown = entry(EntryType.PREVIEW, status="measured", exact=1204, estimate=1190)
    return notice(shown, [entry(EntryType.REQUEST, "R-7", **(ASKED | changes))])


def test_a_held_statement_in_the_shape_of_slack() -> None:
    assert slack_text(held()) == (
        "*R-7 waits for a decision*\n"
        "`delete` on `public.orders` in `shop`, asked by `eva@corp` (user `eva`)\n"
        "1,204 rows; rule `default`, needs 2 approvals, expires `2026-05-01T12:15:00.000000Z`\n"
        "Look at it: `pgnotary show R-7`\n"
        "Entry 7 of `ledger.example.com/prod`, 2026-05-01T12:00:00.000000Z"
    )


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (entry(EntryType.DECISION, answer="approve", approver="bo"), "*R-7: approved by bo*"),
        (entry(EntryType.DECISION, answer="deny", approver="bo"), "*R-7: denied by bo*"),
        (entry(EntryType.DECISION, answer="approve", approver="bo", lacks=2), "*R-7: approved by bo, 2 more needed*"),
        (
            entry(EntryType.DECISION, answer="break-glass", approver="bo"),
            "*BREAK GLASS: R-7 was approved by bo alone, and must be reviewed*",
        ),
        (entry(EntryType.DECISION, answer="<x>", approver="<b`o>"), "*R-7: &lt;x&gt; by &lt;b'o&gt;*"),
        (entry(EntryType.REVIEWED, why="s3cr3t"), "*What was approved by breaking the glass was reviewed*"),
        (entry(EntryType.POLICY, None, policy="ab"), "*Other rules are in force*"),
        (entry(EntryType.OUTCOME, result="committed", rows=1204), "*R-7 has ended: committed, 1,204 rows*"),
        (entry(EntryType.WITHDRAWN, by="cancelled"), "*R-7 has ended: withdrawn*"),
        (entry(EntryType.ORPHANED), "*R-7 has ended: orphaned*"),
        (entry(EntryType.REJECTED, why="s3cr3t"), "*A decision was refused*"),
        (entry(EntryType.FULL, None, why="s3cr3t"), "*The ledger's disk is full: nothing is forwarded*"),
        (entry(EntryType.ROSTER, None, allowed_signers="s3cr3t"), "*A roster of approvers is in force*"),
        (entry(EntryType.STARTED, None, version="0.1"), "*The proxy has started*"),
    ],
)
def test_each_event_has_a_headline_and_no_text_that_others_have_quoted(said: Entry, words: str) -> None:
    found = notice(said, [entry(EntryType.REQUEST, "R-7", **ASKED)] if said.request else [])
    assert slack_text(found).splitlines()[0] == words
    assert b"s3cr3t" not in body(found, "json") + body(found, "slack")
    assert ("Look at it: `pgnotary show R-7`" in slack_text(found)) is (said.request is not None)


@pytest.mark.parametrize(
    "name",
    [
        "<!channel>", "<!here|x>", "<@U0123>", "<https://evil.example|pgnotary>", "@channel", "&lt;!channel&gt;",
        "`pgnotary approve R-7 --yes`", "*R-8 waits*\n`pgnotary approve R-8`", "a\r\nb", "\u202egnirts", "\u200b",
        "x\u2028y", "~gone~ _it_", "```",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["person", "user", "database", "kind", "rule", "relation"])
def test_a_name_mentions_nobody_links_nowhere_and_adds_no_command(name: str, place: str) -> None:
    changes: dict[str, JSON] = {"relations": [name]} if place == "relation" else {place: name}
    text = slack_text(held(**changes))
    assert not {"<", ">"} & set(text)
    assert all(f"&{each.partition(';')[0]};" in ("&amp;", "&lt;", "&gt;") for each in text.split("&")[1:])
    lines = text.splitlines()
    assert len(lines) == 5
    assert all(line.isprintable() and line.count("`") % 2 == 0 for line in lines)
    # What is inside of code spans is what others said; outside of them stand our own words alone.
    outside = "".join("".join(line.split("`")[::2]) for line in lines)
    assert "approve R-" not in outside
    assert "channel" not in outside
    assert lines[3] == "Look at it: `pgnotary show R-7`"
    said = json.loads(body(held(**changes), "slack"))
    assert (said["parse"], said["link_names"], said["unfurl_links"]) == ("none", False, False)


@given(st.text(max_size=40).filter(lambda text: "\ud800" not in text))
def test_whatever_an_approver_is_called_the_headline_is_one_line(name: str) -> None:
    said = Notice("e", "request.decided", "t", {"ledger": "l", "entry": 1, "request": "R-7", "approver": name})
    headline = slack_text(said).split("\n")[0]
    assert headline.startswith("*R-7: ")
    assert not {"<", ">", "`"} & set(headline)


def test_a_message_is_bounded_whatever_is_asked() -> None:
    huge: dict[str, JSON] = {"relations": ["<" * 230] * 200, "person": "x" * 900, "rule": "\u202e" * 900}
    found = held(**huge)
    assert found.data["relations_more"] == 180
    assert len(slack_text(found)) < 30_000
    assert len(body(found, "json")) < 30_000


def test_a_request_that_is_archived_or_has_no_usual_name_is_told_with_what_is_known() -> None:
    alone = notice(entry(EntryType.DECISION, answer="deny", approver="bo"))
    assert slack_text(alone).splitlines()[0] == "*R-7: denied by bo*"
    assert "kind" not in alone.data
    odd = notice(entry(EntryType.EXPIRED, "R-7; rm -rf"))
    assert "command" not in odd.data
    assert "request" not in odd.data
    assert slack_text(odd).splitlines()[0] == "*A request has ended: expired*"


def test_values_of_an_unexpected_type_are_left_out() -> None:
    found = held(person=["x"], relations="public.orders", needs={"count": 2})
    assert {"person", "relations", "needs"}.isdisjoint(found.data)
    assert "needs" not in slack_text(found)


def test_every_event_has_entries_and_ids_have_no_full_stop() -> None:
    every = types_of(get_args(Event))
    assert EntryType.FORWARDED not in every
    assert EntryType.REQUEST not in every
    for type_ in every:
        said = notice(entry(type_, None))
        assert "." not in said.id
        assert json.loads(body(said, "json"))["type"] == said.type
