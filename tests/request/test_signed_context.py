"""The context document: made of two entries and of nothing else, and no fact of them is left out of its digest."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.approval.office import MemoryLedger

from pgnotary.ledger.canonical import b64, decode, encode
from pgnotary.ledger.entries import Entry, parse_entry
from pgnotary.request.signed_context import CONTEXT_FORMAT, context_digest, context_document


def held(**how: Any) -> tuple[Entry, Entry]:
    asked, shown = MemoryLedger().hold(**how)
    return asked.entry, shown.entry


REQUEST, PREVIEW = held()
DOCUMENT = context_document(REQUEST, PREVIEW)


def edited(entry: Entry, change: Callable[[dict[str, Any]], object]) -> Entry:
    fields = json.loads(entry.raw)
    change(fields)
    return parse_entry(encode(fields))


def test_it_holds_both_bodies_and_the_commitments_and_no_sealed_value() -> None:
    assert decode(DOCUMENT) == {
        "v": CONTEXT_FORMAT,
        "ledger": REQUEST.position.ledger,
        "request": REQUEST.request,
        "session": REQUEST.session,
        "request_leaf": REQUEST.leaf.hex(),
        "preview_leaf": PREVIEW.leaf.hex(),
        "held_at": json.loads(REQUEST.raw)["time"],
        "asked": REQUEST.body,
        "sealed": {name: b64(value) for name, value in REQUEST.seals.items()},
        "measured": PREVIEW.body,
        "measured_sealed": {name: b64(value) for name, value in PREVIEW.seals.items()},
    }
    assert {"statement", "reason"} <= REQUEST.seals.keys()
    for value in (b"DELETE FROM", b"purge", b"permission denied"):
        assert value not in DOCUMENT


def test_the_same_entries_make_the_same_document() -> None:
    again = (parse_entry(REQUEST.raw), parse_entry(PREVIEW.raw))
    assert context_document(*again) == DOCUMENT
    assert len(context_digest(DOCUMENT)) == 32


FACTS = [("request", name) for name in REQUEST.body] + [("preview", name) for name in PREVIEW.body]


@pytest.mark.parametrize(("of", "name"), FACTS)
def test_no_fact_is_left_out_of_the_digest(of: str, name: str) -> None:
    def drop(fields: dict[str, Any]) -> None:
        del fields["body"][name]

    other = (
        context_document(edited(REQUEST, drop), PREVIEW)
        if of == "request"
        else context_document(REQUEST, edited(PREVIEW, drop))
    )
    assert context_digest(other) != context_digest(DOCUMENT)


@pytest.mark.parametrize("name", ["statement", "reason", "prepared"])
def test_another_sealed_value_is_another_context(name: str) -> None:
    request, _ = held(**{name: "something else"})
    seal = b64(request.seals[name])
    swapped = edited(REQUEST, lambda fields: fields["seals"].update({name: seal}))
    assert context_digest(context_document(swapped, PREVIEW)) != context_digest(DOCUMENT)


@pytest.mark.parametrize("field", ["ledger", "seq", "prev", "time", "session", "request"])
def test_the_place_of_the_entries_is_in_the_digest(field: str) -> None:
    others = {"ledger": "x", "seq": 7, "prev": "11" * 32, "time": "2026-01-31T09:30:00.000000Z"}
    moved = edited(REQUEST, lambda fields: fields.update({field: others.get(field, "S-00000002")}))
    assert context_digest(context_document(moved, PREVIEW)) != context_digest(DOCUMENT)


def test_the_digest_is_that_of_a_prefix_of_its_own_and_the_document() -> None:
    # printf 'pgnotary/context/1\n{}' | sha256sum
    expected = "6be14cbe703c6a2a1e2454515f0e80f3e536422329c13b3c9d3e64e4bd077084"
    assert context_digest(b"{}").hex() == expected
