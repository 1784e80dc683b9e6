"""The newest head as an approver's command checks it: what it believes, and what each way of lying looks like."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import pytest
from tests.approval.office import LEDGER, PROXY_SEED, SEEDS, VKEY, MemoryLedger, public_of

from pgnotary.approval.bodies import EntryPaper, HeadProof, RequestPaper
from pgnotary.approval.head import Look, size_before
from pgnotary.approval.papers import Paper, read_paper
from pgnotary.errors import BadCheckpoint, BadProof, HeadContradicted, PgnotaryError
from pgnotary.ledger import checkpoint as notes
from pgnotary.ledger.canonical import decode, encode
from pgnotary.ledger.checkpoint import Checkpoint
from pgnotary.ledger.remembered import Remembered, remembered
from pgnotary.ledger.tree import leaf_hash
from pgnotary.verify.misbehaviour import document, examine

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
MALLORY = notes.vkey(LEDGER, public_of(SEEDS["mallory"]))


def paper_of(ledger: MemoryLedger, name: str = "R-1") -> Paper:
    """Hold a statement and return its paper."""
    asked, shown = ledger.hold(name)
    body = RequestPaper(
        id=name,
        request=EntryPaper(entry=asked.entry.raw, opened=dict(asked.opened)),
        preview=EntryPaper(entry=shown.entry.raw, opened=dict(shown.opened)),
    )
    return read_paper(body, name)


async def answer(ledger: MemoryLedger, older: int, entries: Sequence[int]) -> HeadProof:
    """What an honest proxy over this ledger answers."""
    proof = await ledger.prove(older, entries)
    return HeadProof(
        note=proof.note,
        older_root=proof.older_root or b"",
        consistency=list(proof.consistency),
        inclusion=[list(each) for each in proof.inclusion],
    )


async def look(ledger: MemoryLedger, paper: Paper, known: Remembered | None, vkey: str | None = VKEY) -> Checkpoint:
    entries = [paper.request.position.seq, paper.preview.position.seq]
    return Look(paper.entries, vkey, known, NOW).checked(await answer(ledger, size_before(known), entries))


def seen(ledger: MemoryLedger) -> Remembered:
    return remembered(ledger.checkpoint(), VKEY, NOW)


def filled(count: int) -> MemoryLedger:
    ledger = MemoryLedger()
    for n in range(1, count + 1):
        ledger.hold(f"R-{n}", f"DELETE FROM t{n}")
    return ledger


@pytest.mark.parametrize("vkey", [VKEY, None])
async def test_the_first_head_is_the_newest_checkpoint(vkey: str | None) -> None:
    ledger = MemoryLedger()
    paper = paper_of(ledger)
    assert await look(ledger, paper, None, vkey) == Checkpoint(LEDGER, 2, ledger.head().root)


@pytest.mark.parametrize("before", range(1, 9))
async def test_a_head_that_extends_the_remembered_one_is_taken(before: int) -> None:
    ledger = filled(before)
    known = seen(ledger)
    paper = paper_of(ledger, "R-99")
    assert (await look(ledger, paper, known)).size == 2 * before + 2
    assert (await look(ledger, paper, seen(ledger))).size == 2 * before + 2


async def test_a_head_signed_by_another_key_is_refused() -> None:
    ledger = MemoryLedger()
    paper = paper_of(ledger)
    with pytest.raises(BadCheckpoint, match="no signature by"):
        await look(ledger, paper, None, MALLORY)
    forged = notes.sign(notes.Checkpoint(LEDGER, 2, ledger.head().root), LEDGER, SEEDS["mallory"])
    with pytest.raises(BadCheckpoint, match="no signature by"):
        Look(paper.entries, VKEY, None, NOW).checked(
            msgspec.structs.replace(await answer(ledger, 0, [0, 1]), note=forged)
        )


@pytest.mark.parametrize("vkey", [VKEY, None])
async def test_a_head_of_another_ledger_is_refused(vkey: str | None) -> None:
    ledger = MemoryLedger()
    paper = paper_of(ledger)
    note = notes.sign(notes.Checkpoint("other.example/ledger", 2, ledger.head().root), LEDGER, PROXY_SEED)
    with pytest.raises(BadCheckpoint, match="of the ledger"):
        Look(paper.entries, vkey, None, NOW).checked(
            msgspec.structs.replace(await answer(ledger, 0, [0, 1]), note=note)
        )


async def test_a_head_that_does_not_reach_the_preview_is_refused() -> None:
    ledger = MemoryLedger()
    paper = paper_of(ledger)
    note = notes.sign(notes.Checkpoint(LEDGER, 1, leaf_hash(ledger.raws[0])), LEDGER, PROXY_SEED)
    with pytest.raises(BadCheckpoint, match="covers 1 entries"):
        Look(paper.entries, VKEY, None, NOW).checked(HeadProof(note=note))


@pytest.mark.parametrize("note", ["", "\n\n\n", "a\n2\nb\n\n", "a\nx\n\n\n", f"{LEDGER}\n+2\n{'A' * 43}=\n\n"])
def test_a_note_that_is_no_checkpoint_is_refused_without_a_key_too(note: str) -> None:
    with pytest.raises(BadCheckpoint):
        Look(paper_of(MemoryLedger()).entries, None, None, NOW).checked(HeadProof(note=note))


@pytest.mark.parametrize("vkey", [VKEY, None])
async def test_a_request_that_is_not_in_the_ledger_whose_head_is_shown_is_refused(vkey: str | None) -> None:
    ledger, other = filled(3), MemoryLedger()
    paper = paper_of(other)  # Its entries are #0 and #1 of another history.
    with pytest.raises(BadProof, match="request to be signed is not in the ledger"):
        Look(paper.entries, vkey, None, NOW).checked(await answer(ledger, 0, [0, 1]))


@pytest.mark.parametrize("proven", [[], [0], [0, 1, 1]])
async def test_a_head_without_exactly_both_proofs_is_refused(proven: list[int]) -> None:
    ledger = MemoryLedger()
    paper = paper_of(ledger)
    with pytest.raises(BadProof):
        Look(paper.entries, VKEY, None, NOW).checked(await answer(ledger, 0, proven))


async def test_every_changed_bit_of_a_proof_is_refused() -> None:
    ledger = filled(5)
    known = seen(ledger)
    paper = paper_of(ledger, "R-99")
    good = await answer(ledger, size_before(known), [10, 11])
    assert Look(paper.entries, VKEY, known, NOW).checked(good).size == 12
    hashes = [(each, at) for each in (good.consistency, *good.inclusion) for at in range(len(each))]
    assert len(hashes) > 6
    for each, at in hashes:
        whole = each[at]
        for bit in range(0, 256, 7):
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << bit % 8
            each[at] = bytes(changed)
            with pytest.raises((BadProof, HeadContradicted)):
                Look(paper.entries, VKEY, known, NOW).checked(good)
        each[at] = whole


# Attacks on history: what is kept of them.


def kept(caught: "pytest.ExceptionInfo[HeadContradicted]") -> bytes:
    fields = decode(caught.value.evidence)
    assert [fields["remembered"], fields["shown"]] == list(caught.value.notes)
    return caught.value.evidence


@pytest.mark.parametrize("before", range(1, 9))
async def test_a_fork_that_has_grown_further_is_proven_by_both_heads_and_the_proxys_own_proof(before: int) -> None:
    known = seen(filled(before))
    fork = MemoryLedger()
    fork.hold("R-1", "SELECT 'something else'")
    for n in range(before):
        fork.hold(f"R-{n + 2}")
    paper = paper_of(fork, "R-99")
    with pytest.raises(HeadContradicted, match=r"does not begin with the .* entries that it had before") as caught:
        await look(fork, paper, known)
    shown = examine(kept(caught), VKEY)
    assert shown.proven
    assert "two histories" in shown.words


async def test_a_fork_of_the_same_length_is_proven_by_both_heads_alone() -> None:
    known = seen(filled(1))
    fork = MemoryLedger()
    paper = paper_of(fork, "R-1")
    with pytest.raises(HeadContradicted, match="two different histories of 2 entries under one key") as caught:
        await look(fork, paper, known)
    assert examine(kept(caught), VKEY).proven


async def test_a_ledger_that_shrank_is_evidence_that_claims_no_more_than_it_shows() -> None:
    known = seen(filled(4))
    older = filled(1)
    paper = paper_of(older, "R-2")
    with pytest.raises(HeadContradicted, match=r"has shrunk: it had 8 entries .*, now it has 4") as caught:
        await look(older, paper, known)
    shown = examine(kept(caught), VKEY)
    assert not shown.proven
    assert "over 8 entries and then 4: evidence, but no proof by itself" in shown.words


async def test_a_proxy_that_gives_no_proof_is_refused_and_what_is_kept_claims_no_more_than_it_shows() -> None:
    ledger = filled(3)
    known = seen(ledger)
    paper = paper_of(ledger, "R-99")
    good = await answer(ledger, 6, [6, 7])
    without = [
        msgspec.structs.replace(good, consistency=[]),
        msgspec.structs.replace(good, older_root=b"", consistency=[bytes(32)] * 3),
    ]
    for bad in without:
        with pytest.raises(HeadContradicted, match=r"does not prove that the ledger .* begins with") as caught:
            Look(paper.entries, VKEY, known, NOW).checked(bad)
        assert not examine(kept(caught), VKEY).proven
    # A wrong word beside a good proof changes nothing.
    assert Look(paper.entries, VKEY, known, NOW).checked(msgspec.structs.replace(good, older_root=bytes(32))).size == 8


# What a document must not be.


def test_a_document_whose_notes_agree_or_are_unsigned_shows_nothing() -> None:
    ledger = filled(2)
    note = ledger.checkpoint()
    with pytest.raises(BadProof, match="both notes say the same"):
        examine(document(note, note, VKEY, NOW))
    with pytest.raises(BadCheckpoint, match="not about"):
        examine(document(note, note, VKEY, NOW), MALLORY)
    forged = notes.sign(notes.Checkpoint(LEDGER, 4, bytes(32)), LEDGER, SEEDS["mallory"])
    with pytest.raises(BadCheckpoint, match="no signature"):
        examine(document(note, forged, VKEY, NOW))


async def test_an_honest_ledger_cannot_be_accused_with_its_own_proofs() -> None:
    ledger = filled(2)
    before = ledger.checkpoint()
    ledger.hold("R-3")
    proof = await ledger.prove(4, [])
    assert proof.older_root is not None
    raw = document(before, proof.note, VKEY, NOW, older_root=proof.older_root, consistency=proof.consistency)
    with pytest.raises(BadProof, match="extends the one over 4"):
        examine(raw)
    for older_root in (bytes(32), proof.head.root):
        with pytest.raises(BadProof):
            examine(document(before, proof.note, VKEY, NOW, older_root=older_root, consistency=proof.consistency))
    fields = decode(raw)
    for name in fields.keys() - {"found_at"}:
        with pytest.raises(PgnotaryError):
            examine(encode({**fields, name: "nonsense"}))
