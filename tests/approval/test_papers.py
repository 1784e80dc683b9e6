"""What a dishonest proxy may send, and that an approver believes none of it."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.approval.office import STATEMENT, MemoryLedger

from pgnotary.approval.bodies import EntryPaper, RequestPaper
from pgnotary.approval.papers import Measured, read_paper
from pgnotary.errors import ApiError, BrokenSeal
from pgnotary.ledger.canonical import encode
from pgnotary.ledger.entries import Draft, EntryType, Receipt
from pgnotary.ledger.tree import leaf_hash


def _paper(asked: Receipt, shown: Receipt) -> RequestPaper:
    return RequestPaper(
        id=asked.entry.request or "",
        request=EntryPaper(entry=asked.entry.raw, opened=dict(asked.opened)),
        preview=EntryPaper(entry=shown.entry.raw, opened=dict(shown.opened)),
    )


def _held(**how: Any) -> RequestPaper:
    return _paper(*MemoryLedger().hold(**how))


def _forged(
    paper: RequestPaper,
    request: Callable[[dict[str, Any]], None] = lambda _: None,
    preview: Callable[[dict[str, Any]], None] = lambda _: None,
) -> RequestPaper:
    """The paper with canonical entries that say something else; the preview follows the new request."""
    asked, shown = json.loads(paper.request.entry), json.loads(paper.preview.entry)
    request(asked)
    raw = encode(asked)
    shown["after"] = leaf_hash(raw).hex()
    preview(shown)
    return RequestPaper(
        id=paper.id,
        request=EntryPaper(entry=raw, opened=paper.request.opened),
        preview=EntryPaper(entry=encode(shown), opened=paper.preview.opened),
    )


def _with_opened(paper: RequestPaper, **opened: tuple[bytes, bytes] | None) -> RequestPaper:
    values = dict(paper.request.opened)
    for name, value in opened.items():
        values.pop(name, None)
        if value is not None:
            values[name] = value
    return RequestPaper(
        id=paper.id, request=EntryPaper(entry=paper.request.entry, opened=values), preview=paper.preview
    )


def _unfit(paper: RequestPaper, asked: str = "R-1") -> str:
    with pytest.raises(ApiError) as refused:
        read_paper(paper, asked)
    assert refused.value.status == 502
    return str(refused.value)


def test_an_honest_paper_is_read_from_its_own_bytes() -> None:
    paper = read_paper(_held(), "R-1")
    assert (paper.statement, paper.reason) == (STATEMENT, "PAY-2210 purge")
    assert (paper.context.person, paper.context.database, paper.measured.exact) == ("eva", "shop", 1204)
    assert paper.what == "DELETE on public.orders"
    assert paper.unread == ()


@pytest.mark.parametrize("name", ["R-1\x1b[2J", "R-1\nR-2", "R-1  approved by ana", "R-", "R-01", "", "R-" + "1" * 19])
def test_an_id_that_is_none_reaches_no_terminal(name: str) -> None:
    paper = _paper(*MemoryLedger().hold(name))
    assert f"{name!r:.80} is no request's id" in _unfit(paper, name)


def test_a_paper_made_by_nobody_but_the_entries_does_not_use_its_outer_id() -> None:
    paper = _held()
    other = RequestPaper(id="R-2", request=paper.request, preview=paper.preview)
    assert "got the request of R-1" in _unfit(other, "R-2")


def test_an_altered_statement_breaks_its_seal() -> None:
    paper = _held()
    salt, _ = paper.request.opened["statement"]
    for value in (b"DELETE FROM users\nWHERE created_at < '2024-01-01'", STATEMENT.encode() + b" ", b""):
        with pytest.raises(BrokenSeal):
            read_paper(_with_opened(paper, statement=(salt, value)), "R-1")


@pytest.mark.parametrize("salt", [bytes(32), b"", bytes(31)])
def test_an_altered_salt_breaks_its_seal(salt: bytes) -> None:
    with pytest.raises(BrokenSeal):
        read_paper(_with_opened(_held(), statement=(salt, STATEMENT.encode())), "R-1")


def test_an_altered_reason_breaks_its_seal() -> None:
    paper = _held()
    salt, _ = paper.request.opened["reason"]
    with pytest.raises(BrokenSeal):
        read_paper(_with_opened(paper, reason=(salt, b"the CTO said so")), "R-1")


def test_a_withheld_statement_or_reason_does_not_fit() -> None:
    assert "withheld" in _unfit(_with_opened(_held(), statement=None))
    assert "withheld" in _unfit(_with_opened(_held(), reason=None))


def test_an_opened_value_that_was_never_sealed_does_not_fit() -> None:
    assert "too many" in _unfit(_with_opened(_held(reason=""), reason=(bytes(32), b"the CTO said so")))


def test_a_request_without_a_sealed_statement_does_not_fit() -> None:
    paper = _forged(_held(reason=""), lambda fields: fields.pop("seals"))
    assert "the statement is withheld" in _unfit(_with_opened(paper, statement=None))


def test_a_statement_that_is_not_text_does_not_fit() -> None:
    ledger = MemoryLedger()
    asked, shown = ledger.hold()
    paper = _paper(asked, shown)
    salt = paper.request.opened["statement"][0]
    from pgnotary.ledger.canonical import b64
    from pgnotary.ledger.seals import commitment

    def reseal(fields: dict[str, Any]) -> None:
        fields["seals"]["statement"] = b64(commitment("statement", salt, b"\xff"))

    assert "not UTF-8" in _unfit(_with_opened(_forged(paper, reseal), statement=(salt, b"\xff")))


def test_the_preview_of_another_request_does_not_fit() -> None:
    ledger = MemoryLedger()
    (asked, _), (_, other) = ledger.hold("R-1"), ledger.hold("R-2", exact=3)
    assert "got the preview of R-2" in _unfit(_paper(asked, other))


def test_the_preview_of_an_earlier_request_with_the_same_id_does_not_fit() -> None:
    ledger = MemoryLedger()
    (_, small), (asked, _) = ledger.hold("R-1", exact=3), ledger.hold("R-1", "DELETE FROM orders")
    assert "another request entry" in _unfit(_paper(asked, small))


def test_a_request_in_place_of_its_preview_does_not_fit() -> None:
    asked, _ = MemoryLedger().hold()
    assert "an entry of type request where" in _unfit(_paper(asked, asked))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda fields: fields.update(after="ab" * 32), "follows another entry"),
        (lambda fields: fields.update(ledger="other.example/ledger"), "in one ledger"),
        (lambda fields: fields.update(session="S-00000002"), "different sessions"),
        (lambda fields: fields.update(seq=99), "stand behind"),
        (lambda fields: fields.update(type="preview"), "where its request should be"),
        (lambda fields: fields["body"].pop("person"), "person"),
        (lambda fields: fields["body"].update(bytes=-1), "bytes"),
        (lambda fields: fields["body"].update(bytes=7), "says 7"),
        (lambda fields: fields["body"].update(kind=["delete"]), "kind"),
        (lambda fields: fields["body"].update(expires_at="soon"), "expected a time"),
        (lambda fields: fields["body"].update(relations="public.orders"), "relations"),
    ],
)
def test_a_request_that_is_not_of_its_form_does_not_fit(change: Callable[[dict[str, Any]], None], says: str) -> None:
    assert says in _unfit(_forged(_held(), change))


@pytest.mark.parametrize(
    "body", [{}, {"status": 1}, {"status": "measured", "exact": -1}, {"status": "x", "exact": "9"}]
)
def test_a_preview_that_is_not_of_its_form_does_not_fit(body: dict[str, Any]) -> None:
    assert "the preview entry" in _unfit(_forged(_held(), preview=lambda fields: fields.update(body=body)))


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b"[" * 50_000, b'{"v":"pgnotary/entry/9"}'])
def test_bytes_that_are_no_entry_do_not_fit(raw: bytes) -> None:
    paper = _held()
    broken = RequestPaper(id="R-1", request=EntryPaper(entry=raw), preview=paper.preview)
    assert "the request entry is" in _unfit(broken)


def test_entries_that_are_not_canonical_do_not_fit() -> None:
    paper = _held()
    spaced = EntryPaper(entry=paper.request.entry.replace(b":", b": ", 1), opened=paper.request.opened)
    assert "canonical" in _unfit(RequestPaper(id="R-1", request=spaced, preview=paper.preview))


def test_fields_of_a_newer_version_are_kept_to_be_shown() -> None:
    def add(fields: dict[str, Any]) -> None:
        fields["body"]["colours"] = ["1"]

    paper = read_paper(_forged(_held(), add, lambda fields: fields["body"].update(weather=7)), "R-1")
    assert paper.unread == (("colours", ["1"]), ("weather", 7))


@pytest.mark.parametrize(
    "body",
    [
        {"exact": 1, "at_most": 2},
        {"exact": -1},
        {"at_most": -1},
        {"obtained": {"exact": {"at": "yesterday", "took_us": 1, "how": "count"}}},
        {"obtained": {"exact": {"at": "2026-01-01T00:00:00.000000Z", "took_us": 1, "how": "count", "new": 1}}},
        {"triggers": [{"relation": "t", "name": "x"}]},
        {"cascades": [1]},
    ],
)
def test_numbers_that_cannot_be_true_and_lists_of_another_shape_are_no_paper(body: dict[str, Any]) -> None:
    with pytest.raises(ApiError, match="the preview entry"):
        read_paper(_forged(_held(), lambda fields: None, lambda fields: fields["body"].update(body)), "R-1")


# What it asks.


_PARTS = [
    {"kind": "delete", "start": 0, "end": 18, "harmless": False, "relations": ["orders"]},
    {"kind": "select", "start": 20, "end": 28, "harmless": True},
    {"kind": "drop", "start": 30, "end": 45, "harmless": False, "relations": ["items", '"Old, items"']},
]


def test_what_is_asked_names_each_part_that_may_change_something() -> None:
    paper = read_paper(_held(parts=_PARTS, relations=["orders", "items"]), "R-1")
    assert paper.what == 'DELETE on orders; DROP on items, "Old, items"'


def test_an_entry_that_does_not_say_which_parts_are_harmless_is_named_by_its_kind() -> None:
    parts = [{"kind": "delete", "start": 0, "end": 18}]
    assert read_paper(_held(parts=parts), "R-1").what == "DELETE on public.orders"


@pytest.mark.parametrize(
    ("body", "has_ceiling"),
    [
        ({"kind": "delete"}, True),
        ({"kind": "merge"}, True),
        ({"kind": "truncate"}, False),
        ({"kind": "call"}, False),
        ({"kind": "delete", "countable": False}, False),
        ({"kind": "select", "countable": True}, True),
    ],
)
def test_a_ceiling_can_be_held_only_over_what_the_command_tag_counts(body: dict[str, Any], has_ceiling: bool) -> None:
    assert read_paper(_held(**body), "R-1").context.has_ceiling is has_ceiling


def test_settings_and_the_prepared_text_are_read() -> None:
    paper = read_paper(
        _held(kind="execute", settings={"timezone": "UTC"}, prepared="DELETE FROM orders"),
        "R-1",
    )
    assert paper.context.settings == {"timezone": "UTC"}
    assert paper.prepared == "DELETE FROM orders"
    assert paper.unread == ()
    assert paper.context.runs_unseen


def test_a_prepared_text_sealed_in_the_preview_is_not_taken_for_the_requests() -> None:
    ledger = MemoryLedger()
    asked, _ = ledger.hold(kind="execute")
    sealed = {"prepared": b"SELECT 1"}
    shown = ledger.put(
        Draft(EntryType.PREVIEW, {"status": "unavailable"}, asked.entry.session, "R-1", asked.entry.leaf, sealed)
    )
    paper = read_paper(_paper(asked, shown), "R-1")
    assert paper.prepared is None
    assert paper.unread == (("sealed prepared", "SELECT 1"),)


ODD_STATEMENTS = {
    "out of their order": [{"place": 2, "status": "measured"}, {"place": 1, "status": "measured"}],
    "one twice": [{"place": 1, "status": "measured"}, {"place": 1, "status": "measured"}],
    "one without its place": [{"status": "measured"}],
    "one that no text has": [{"place": 0, "status": "measured"}],
    "more than this version knows": [{"place": 1, "status": "measured", "further": 1}],
    "two numbers that cannot both be true": [{"place": 1, "status": "measured", "exact": 1, "at_most": 1}],
    "statements in a statement": [{"place": 1, "status": "measured", "statements": []}],
}


@pytest.mark.parametrize("name", ODD_STATEMENTS)
def test_statements_of_another_shape_are_refused_not_left_out(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"status": "partly", "statements": ODD_STATEMENTS[name]}, Measured)


def test_a_sample_that_is_of_no_statement_is_refused() -> None:
    body = {"status": "partly", "statements": [{"place": 1, "status": "measured"}], "sample": {"why": "none"}}
    with pytest.raises(msgspec.ValidationError, match="a sample beside statements"):
        msgspec.convert(body, Measured)


def test_rows_elsewhere_are_the_sum_only_if_all_are_known() -> None:
    key = {"from": "a", "to": "b", "constraint": "k", "action": "cascade", "depth": 1, "indexed": True}
    known, unknown = key | {"rows": {"exact": 4}}, key | {"rows": {}}
    first = {"place": 1, "status": "measured", "cascades": [known]}
    second = {"place": 3, "status": "measured", "cascades": [known, known]}
    third = {"place": 4, "status": "measured", "cascades": [unknown]}
    for statements, more, elsewhere in (([first, second], 0, 12), ([first, third], 0, 0), ([first, second], 1, 0)):
        body = {"status": "partly", "statements": statements, "statements_more": more}
        assert msgspec.convert(body, Measured).elsewhere == elsewhere
