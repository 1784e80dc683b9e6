"""Decisions: only the document that was shown, signed by whom it names, for its own request, counts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.verify.builder import LEDGER, SEEDS, START, Ledger, public_of, roster_text

from pgnotary.errors import DecisionRefused
from pgnotary.ledger.canonical import JSON, b64, decode, encode
from pgnotary.ledger.entries import Entry
from pgnotary.request import sshsig
from pgnotary.request.ceiling import Ceiling
from pgnotary.request.decision import DECISION_FORMAT, Answer, Decision, Seen, check, document, read
from pgnotary.request.roster import Roster, Signer, parse_roster
from pgnotary.request.signed_context import context_digest, context_document

SEEN = Seen(7, bytes(range(32)))
NONCE = bytes(range(16))
ROSTER = parse_roster(roster_text("ana", "bo"))
OF_THE_REQUEST = (
    "v",
    "ledger",
    "request",
    "request_leaf",
    "preview_leaf",
    "context",
    "user",
    "database",
    "kind",
    "statement",
)
OF_THE_APPROVER = ("decision", "reason", "approver", "head", "decided_at", "nonce", "max_rows")


@dataclass(frozen=True)
class Case:
    """A request as it was shown, and who answers."""

    request: Entry
    preview: Entry

    def answer(
        self,
        answer: Answer = Answer.APPROVE,
        *,
        approver: str = "bo",
        max_rows: int | None = 1204,
        others: int | None = 0,
    ) -> bytes:
        return document(
            self.request,
            self.preview,
            answer,
            approver=approver,
            reason="backup b-771 exists",
            ceiling=None if max_rows is None else Ceiling(max_rows, others),
            seen=SEEN,
            decided_at=START,
            nonce=NONCE,
        )

    def check(
        self, raw: bytes, *, by: str = "bo", namespace: str = sshsig.DECISION_NAMESPACE, roster: Roster = ROSTER
    ) -> Signer:
        signature = sshsig.sign(raw, SEEDS[by], namespace)
        return check(read(raw), signature, self.request, self.preview, roster, START)


def case_of(request: str = "R-1", person: str = "eva", exact: int = 1204) -> Case:
    ledger = Ledger()
    return Case(ledger.ask(request, person=person), ledger.preview(request, exact))


CASE = case_of()
RAW = CASE.answer()


def changed(raw: bytes, change: Callable[[dict[str, JSON]], object]) -> bytes:
    fields = decode(raw)
    change(fields)
    return encode(fields)


def test_a_document_reads_back_as_what_was_said() -> None:
    assert read(RAW) == Decision(
        request="R-1",
        request_leaf=CASE.request.leaf,
        preview_leaf=CASE.preview.leaf,
        context=context_digest(context_document(CASE.request, CASE.preview)),
        answer=Answer.APPROVE,
        ceiling=Ceiling(1204),
        reason="backup b-771 exists",
        approver="bo",
        seen=SEEN,
        decided_at=START,
        raw=RAW,
    )


def test_a_document_repeats_what_people_must_recognise() -> None:
    fields = decode(RAW)
    assert set(fields) == {*OF_THE_REQUEST, *OF_THE_APPROVER}
    assert fields["v"] == DECISION_FORMAT
    assert (fields["ledger"], fields["user"], fields["database"], fields["kind"]) == (LEDGER, "eva", "shop", "delete")
    assert fields["statement"] == b64(CASE.request.seals["statement"])


@pytest.mark.parametrize(("answer", "max_rows"), [(Answer.APPROVE, 0), (Answer.APPROVE, None), (Answer.DENY, None)])
def test_an_answer_signed_by_its_approver_counts(answer: Answer, max_rows: int | None) -> None:
    raw = CASE.answer(answer, max_rows=max_rows)
    assert CASE.check(raw).person == "bo"
    assert (read(raw).answer, read(raw).ceiling) == (answer, None if max_rows is None else Ceiling(max_rows))


@pytest.mark.parametrize("name", OF_THE_REQUEST)
@pytest.mark.parametrize(
    "change",
    [
        lambda value: value[:-1] + ("0" if value[-1] != "0" else "1"),
        lambda value: value + " ",
        lambda value: value.upper(),
        lambda value: "",
        lambda value: [value],
        lambda value: 1,
        lambda value: True,
    ],
    ids=["last character", "longer", "upper case", "empty", "list", "number", "boolean"],
)
def test_a_field_of_the_request_that_differs_is_refused_though_signed(name: str, change: Callable[[str], JSON]) -> None:
    raw = changed(RAW, lambda fields: fields.update({name: change(str(fields[name]))}))
    if raw != RAW:
        with pytest.raises(DecisionRefused):
            CASE.check(raw)


@pytest.mark.parametrize("name", [*OF_THE_REQUEST, "decision", "reason", "approver", "head", "decided_at", "nonce"])
def test_a_field_that_is_missing_is_refused(name: str) -> None:
    with pytest.raises(DecisionRefused):
        CASE.check(changed(RAW, lambda fields: fields.pop(name)))


@pytest.mark.parametrize(("said", "others"), [(5, 5), (0, 0), ("any", None)])
def test_rows_of_other_tables_are_signed_by_a_number_of_their_own(said: int | str, others: int | None) -> None:
    assert read(changed(RAW, lambda fields: fields.update(max_other_rows=said))).ceiling == Ceiling(1204, others)
    assert decode(CASE.answer(others=others)).get("max_other_rows", 0) == said


def test_a_number_for_other_tables_alone_is_refused() -> None:
    raw = changed(CASE.answer(max_rows=None), lambda fields: fields.update(max_other_rows=5))
    with pytest.raises(DecisionRefused, match="max_other_rows, but without max_rows"):
        read(raw)


def test_a_field_that_nobody_knows_is_refused() -> None:
    with pytest.raises(DecisionRefused, match="unknown fields: needs"):
        CASE.check(changed(RAW, lambda fields: fields.update(needs=1)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("decision", "APPROVE"),
        ("decision", "yes"),
        ("decision", 1),
        ("max_rows", -1),
        ("max_rows", True),
        ("max_rows", "5"),
        ("max_rows", [5]),
        ("max_other_rows", -1),
        ("max_other_rows", True),
        ("max_other_rows", "5"),
        ("max_other_rows", "ANY"),
        ("reason", 5),
        ("reason", ["because"]),
        ("approver", ["bo"]),
        ("head", "7"),
        ("head", {"size": 7}),
        ("head", {"size": "7", "root": "00" * 32}),
        ("head", {"size": True, "root": "00" * 32}),
        ("head", {"size": -1, "root": "00" * 32}),
        ("head", {"size": 7, "root": "00" * 31}),
        ("head", {"size": 7, "root": "0 " * 32}),
        ("head", {"size": 7, "root": "AB" * 32}),
        ("head", {"size": 7, "root": "00" * 32, "more": 1}),
        ("decided_at", "2026-11-20"),
        ("decided_at", "2026-11-20T09:00:00+00:00"),
        ("decided_at", 0),
        ("nonce", ""),
        ("nonce", "00"),
        ("nonce", "zz" * 16),
        ("nonce", 5),
        ("request_leaf", "00 " * 32),
        ("preview_leaf", ""),
    ],
)
def test_a_field_of_another_form_is_refused(name: str, value: JSON) -> None:
    raw = changed(RAW, lambda fields: fields.update({name: value}))
    with pytest.raises(DecisionRefused):
        CASE.check(raw)


def test_a_denial_allows_no_rows() -> None:
    with pytest.raises(DecisionRefused, match="a denial that allows rows"):
        read(CASE.answer(Answer.DENY))


@given(st.integers(0, len(RAW) - 1), st.integers(1, 255))
def test_no_changed_byte_keeps_its_signature(place: int, difference: int) -> None:
    signature = sshsig.sign(RAW, SEEDS["bo"], sshsig.DECISION_NAMESPACE)
    raw = RAW[:place] + bytes([RAW[place] ^ difference]) + RAW[place + 1 :]
    with pytest.raises(DecisionRefused):
        check(read(raw), signature, CASE.request, CASE.preview, ROSTER, START)


@given(st.integers(0, len(RAW) - 1), st.integers(1, 255))
def test_a_changed_byte_that_is_signed_changes_only_what_the_approver_says(place: int, difference: int) -> None:
    raw = RAW[:place] + bytes([RAW[place] ^ difference]) + RAW[place + 1 :]
    try:
        CASE.check(raw)
    except DecisionRefused:
        return
    before, after = decode(RAW), decode(raw)
    assert {name for name in before if before[name] != after[name]} <= set(OF_THE_APPROVER) - {"approver"}


@given(st.binary(max_size=60) | st.builds(lambda cut: RAW[:cut], st.integers(0, len(RAW) - 1)))
def test_what_is_no_document_is_refused(raw: bytes) -> None:
    with pytest.raises(DecisionRefused):
        read(raw)


@pytest.mark.parametrize("raw", [RAW + b"\n", b" " + RAW, RAW.replace(b":", b": ", 1), b"[]", b'{"v":1}'])
def test_another_spelling_of_the_same_document_is_refused(raw: bytes) -> None:
    with pytest.raises(DecisionRefused):
        read(raw)


@pytest.mark.parametrize("namespace", ["file", "api@pgnotary", "decision@pgnotary ", "git"])
def test_a_signature_for_another_purpose_is_refused(namespace: str) -> None:
    with pytest.raises(DecisionRefused, match="namespace"):
        CASE.check(RAW, namespace=namespace)


def test_a_key_that_is_not_on_the_roster_is_refused() -> None:
    with pytest.raises(DecisionRefused, match="nobody on the roster"):
        CASE.check(RAW, by="mallory")


def test_a_document_that_names_somebody_else_is_refused() -> None:
    with pytest.raises(DecisionRefused, match="signed by ana's key, but the document says bo"):
        CASE.check(RAW, by="ana")


def test_a_key_out_of_force_is_refused() -> None:
    limits = (replace(ROSTER.find(public_of(SEEDS["bo"]), START), valid_before=START - timedelta(seconds=1)),)
    with pytest.raises(DecisionRefused):
        CASE.check(RAW, roster=Roster(limits))


@pytest.mark.parametrize("person", ["bo", "BO", "Bo"])
def test_the_requester_cannot_approve_whatever_the_spelling(person: str) -> None:
    case = case_of(person=person)
    with pytest.raises(DecisionRefused, match="bo asked for it: somebody else must decide"):
        case.check(case.answer())


@pytest.mark.parametrize(
    "other", [case_of("R-2"), case_of(exact=1205), case_of(person="ana")], ids=["request", "preview", "requester"]
)
def test_an_answer_counts_for_its_own_request_and_preview_only(other: Case) -> None:
    signature = sshsig.sign(RAW, SEEDS["bo"], sshsig.DECISION_NAMESPACE)
    with pytest.raises(DecisionRefused, match="in the document and"):
        check(read(RAW), signature, other.request, other.preview, ROSTER, START)


@pytest.mark.parametrize("signature", ["", "nonsense", sshsig.sign(RAW, SEEDS["bo"], "decision@pgnotary")[:-40]])
def test_what_is_no_signature_is_refused(signature: str) -> None:
    with pytest.raises(DecisionRefused):
        check(read(RAW), signature, CASE.request, CASE.preview, ROSTER, START)
