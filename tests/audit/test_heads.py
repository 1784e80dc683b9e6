"""`verify --heads`: what people remember against what a ledger says now. The adversary here holds the proxy's key."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.audit.running import run
from tests.verify.builder import LEDGER, PROXY_SEED, SEEDS, START, VKEY, Ledger, one_approval, public_of

from pgnotary.audit.accusation import MOST, accusations
from pgnotary.audit.export import export_folder
from pgnotary.errors import LedgerBroken
from pgnotary.ledger import checkpoint as notes
from pgnotary.ledger.remembered import Remembered, heads_text, remembered
from pgnotary.verify.misbehaviour import examine

pytestmark = pytest.mark.usefixtures("elsewhere")


def head(ledger: Ledger, size: int) -> Remembered:
    """The head over the first `size` entries, as somebody's command remembers it."""
    return remembered(ledger.sign(size), VKEY, START + timedelta(seconds=size))


def heads_file(path: Path, *heads: Remembered) -> Path:
    path.write_text(heads_text(heads))
    return path


def exported(ledger: Ledger, folder: Path) -> Path:
    export_folder(ledger, folder, VKEY)
    return folder


def long_ledger(count: int = 600) -> Ledger:
    """Longer than a block of the tree."""
    ledger = Ledger(keeps=False).start()
    ledger.open_session()
    while len(ledger.stored) < count:
        ledger.forward("select 1")
    ledger.notes.append(ledger.sign())
    return ledger


def rewritten(ledger: Ledger, place: int) -> Ledger:
    """The ledger with one text's seal exchanged, all links made new, and one newest checkpoint signed again."""
    other = Ledger(stored=list(ledger.stored), keeps=False)
    other.edit(place, lambda fields: fields["body"].update(version="0.2"))
    other.relink(resign=False)
    other.notes = [other.sign()]
    return other


def proofs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.misbehaviour-*.json"))


def test_what_is_under_a_remembered_head_is_said_and_what_is_not(tmp_path: Path) -> None:
    ledger = one_approval()
    folder = exported(ledger, tmp_path / "e")
    some, all_ = heads_file(tmp_path / "bo", head(ledger, 5), head(ledger, 6)), heads_file(tmp_path / "ana")
    done = run("verify", folder, "--key", VKEY, "--heads", some, "--heads", all_)
    assert done.exit_code == 2
    assert "ok  6 entries (#0-#5) under a head that somebody remembers\n" in done.stdout
    assert done.stdout.endswith("gap  6 entries since #6 are under no remembered head\n")
    heads_file(all_, head(ledger, 12))
    done = run("verify", folder, "--key", VKEY, "--heads", some, "--heads", all_)
    assert (done.exit_code, "gap" in done.stdout) == (0, False)
    heads_file(all_, head(ledger, 11))
    done = run("verify", folder, "--key", VKEY, "--heads", some, "--heads", all_)
    assert (done.exit_code, "gap  1 entry since #11 is under no remembered head\n" in done.stdout) == (2, True)


def test_without_a_head_nothing_is_said_of_witnesses_and_with_an_empty_file_all_is_unwitnessed(tmp_path: Path) -> None:
    folder = exported(one_approval(), tmp_path / "e")
    assert "remember" not in run("verify", folder, "--key", VKEY).stdout
    done = run("verify", folder, "--key", VKEY, "--heads", heads_file(tmp_path / "none"))
    assert (done.exit_code, "gap  12 entries since #0 are under no remembered head\n" in done.stdout) == (2, True)


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_cut_tail_is_found_wherever_it_was_cut(tmp_path: Path, cut: int) -> None:
    ledger = one_approval()
    file = heads_file(tmp_path / "bo", head(ledger, 12))
    del ledger.stored[-cut:], ledger.notes[-cut:]
    done = run("verify", exported(ledger, tmp_path / "e"), "--key", VKEY, "--heads", file)
    assert done.exit_code == 1
    assert f"FAIL  #{12 - cut} and what follows is missing: a remembered head covers 12 entries" in done.stdout
    assert proofs(tmp_path) == []


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 300, 512, 599, 600])
def test_a_ledger_that_was_rewritten_and_signed_again_is_proven_to_have_two_histories(
    tmp_path: Path, size: int
) -> None:
    ledger = long_ledger()
    file = heads_file(tmp_path / "bo", head(ledger, size))
    folder = exported(rewritten(ledger, 0), tmp_path / "e")
    assert run("verify", folder, "--key", VKEY).exit_code == 0, "without a head nobody can know"
    done = run("verify", folder, "--key", VKEY, "--heads", file)
    assert done.exit_code == 1
    assert f"FAIL  #{size - 1} or an entry before it is not what it was" in done.stdout
    [proof] = proofs(tmp_path)
    assert done.stdout.endswith(f": {proof}\n")
    assert examine(proof.read_bytes(), VKEY).proven
    alone = run("verify", "--misbehaviour", proof, "--key", VKEY)
    assert (alone.exit_code, alone.stdout[:4]) == (1, "FAIL")


def test_what_was_changed_behind_the_last_remembered_head_is_what_the_gap_says(tmp_path: Path) -> None:
    ledger = long_ledger(20)
    file = heads_file(tmp_path / "bo", head(ledger, 10))
    changed = Ledger(stored=list(ledger.stored[:12]), keeps=False, clock=ledger.clock)
    changed.forward("select 'something else'")
    changed.notes = [changed.sign()]
    done = run("verify", exported(changed, tmp_path / "e"), "--key", VKEY, "--heads", file)
    assert (done.exit_code, "gap  3 entries since #10 are under no remembered head\n" in done.stdout) == (2, True)


def test_a_fork_shown_to_two_people_is_proven_by_the_heads_of_both_machines(tmp_path: Path) -> None:
    common = long_ledger(300)
    one, two = (Ledger(stored=list(common.stored), keeps=False, clock=common.clock) for _ in range(2))
    for n in range(7):
        one.forward(f"select {n}")
    for n in range(50):
        two.forward(f"select {n}, 'for ana'")
    for ledger in (one, two):
        ledger.notes = [ledger.sign()]
    bo, ana = heads_file(tmp_path / "bo", head(one, 306)), heads_file(tmp_path / "ana", head(two, 310))
    for number, (ledger, good, bad) in enumerate(((one, bo, ana), (two, ana, bo))):
        folder = exported(ledger, tmp_path / f"e{number}")
        assert run("verify", folder, "--key", VKEY, "--heads", good).exit_code == 2
        done = run("verify", folder, "--key", VKEY, "--heads", good, "--heads", bad)
        assert done.exit_code == 1
    # Ana's head is longer than the ledger that bo was shown: no more than missing there, and proven in the other one.
    [proof] = proofs(tmp_path)
    assert proof.name.startswith("bo.misbehaviour-")
    assert examine(proof.read_bytes(), VKEY).proven


def test_what_another_head_knows_narrows_where_a_ledger_was_rewritten(tmp_path: Path) -> None:
    ledger = long_ledger(20)
    files = [heads_file(tmp_path / f"at-{size}", head(ledger, size)) for size in (0, 5, 10, 15)]
    changed = Ledger(stored=list(ledger.stored), keeps=False)
    changed.edit(12, lambda fields: fields.update(session="S-00000002"))
    changed.relink(resign=False)
    changed.notes = [changed.sign()]
    words = [word for file in files for word in ("--heads", file)]
    done = run("verify", exported(changed, tmp_path / "e"), "--key", VKEY, *words)
    assert done.exit_code == 1
    assert "FAIL  #14 or an entry before it is not what it was: " in done.stdout
    assert "rewritten behind the first 10, which another remembered head knows as they are, or there are" in done.stdout


@pytest.mark.parametrize("size", [8, 15, 20])
def test_where_another_ledger_parts_from_this_one_is_not_told_by_heads_of_this_one(tmp_path: Path, size: int) -> None:
    """Bo has seen the other ledger, ana this one, also beyond: up to where hers reaches nothing is known of his."""
    ledger = long_ledger(20)
    bo = heads_file(tmp_path / "bo", head(rewritten(ledger, 0), 8))
    ana = heads_file(tmp_path / "ana", head(ledger, 5), head(ledger, size))
    done = run("verify", exported(ledger, tmp_path / "e"), "--key", VKEY, "--heads", bo, "--heads", ana)
    assert done.exit_code == 1
    assert f"there are two ledgers, since another remembered head, over {size} entries, is this one's" in done.stdout
    assert "rewritten" not in done.stdout


def test_two_heads_over_the_same_size_prove_it_even_beyond_the_end_of_the_ledger(tmp_path: Path) -> None:
    ledger = long_ledger(20)
    longer = rewritten(ledger, 0)
    files = heads_file(tmp_path / "bo", head(ledger, 15)), heads_file(tmp_path / "ana", head(longer, 15))
    ledger.stored, ledger.notes = ledger.stored[:10], [ledger.sign(10)]
    done = run("verify", exported(ledger, tmp_path / "e"), "--key", VKEY, "--heads", files[0], "--heads", files[1])
    assert done.exit_code == 1
    [proof] = proofs(tmp_path)
    assert "two roots of shop.example/ledger for the same 15 entries" in done.stdout
    assert examine(proof.read_bytes(), VKEY).proven


def test_heads_of_other_ledgers_and_keys_are_passed_over_and_no_witnesses(tmp_path: Path) -> None:
    ledger = one_approval()
    folder = exported(ledger, tmp_path / "e")
    elsewhere = notes.sign(notes.Checkpoint("other.example", 99, bytes(32)), "other.example", PROXY_SEED)
    same_name = notes.sign(notes.Checkpoint(LEDGER, 99, bytes(32)), LEDGER, SEEDS["mallory"])
    mallory = notes.vkey(LEDGER, public_of(SEEDS["mallory"]))
    file = heads_file(
        tmp_path / "bo",
        remembered(elsewhere, notes.vkey("other.example", public_of(PROXY_SEED)), START),
        remembered(same_name, mallory, START),
    )
    done = run("verify", folder, "--key", VKEY, "--heads", file)
    assert done.exit_code == 2
    assert "note  1 remembered head of another ledger, passed over: other.example\n" in done.stdout
    assert f"note  1 remembered head of {LEDGER} under ANOTHER KEY, passed over: {mallory}\n" in done.stdout
    assert "gap  12 entries since #0 are under no remembered head\n" in done.stdout


def test_one_key_for_heads_of_two_ledgers_is_a_fault(tmp_path: Path) -> None:
    note = notes.sign(notes.Checkpoint("other.example", 1, bytes(32)), LEDGER, PROXY_SEED)
    file = heads_file(tmp_path / "bo", remembered(note, VKEY, START))
    done = run("verify", exported(one_approval(), tmp_path / "e"), "--key", VKEY, "--heads", file)
    assert (done.exit_code, "the same key has signed a head of 'other.example'" in done.stdout) == (1, True)


@pytest.mark.parametrize("garbage", [b"rubbish\n", b"\xff", b'{"v":"pgnotary/head/1"}\n', b"\n\n"])
def test_garbage_in_the_heads_file_is_no_verdict_over_the_ledger(tmp_path: Path, garbage: bytes) -> None:
    ledger = one_approval()
    (tmp_path / "bo").write_bytes(head(ledger, 12).line.encode() + garbage)
    done = run("verify", exported(ledger, tmp_path / "e"), "--key", VKEY, "--heads", tmp_path / "bo")
    assert (done.exit_code, done.stdout) == (3, "")
    assert "bo: line 2 " in done.stderr


def test_an_altered_note_in_the_heads_file_is_garbage_and_not_a_fault_of_the_ledger(tmp_path: Path) -> None:
    ledger = one_approval()
    line = head(ledger, 12).line.replace("\\n12\\n", "\\n13\\n")
    (tmp_path / "bo").write_text(line)
    done = run("verify", exported(ledger, tmp_path / "e"), "--key", VKEY, "--heads", tmp_path / "bo")
    assert (done.exit_code, "the note was changed or forged" in done.stderr) == (3, True)


def test_where_no_proof_can_be_written_it_is_said(tmp_path: Path) -> None:
    ledger = long_ledger(20)
    file = heads_file(tmp_path / ("b" * 250), head(ledger, 15))
    done = run("verify", exported(rewritten(ledger, 0), tmp_path / "e"), "--key", VKEY, "--heads", file)
    assert (done.exit_code, "it could not be written to" in done.stdout) == (1, True)


def test_a_proof_is_made_of_nothing_that_the_newest_checkpoint_does_not_sign() -> None:
    ledger = long_ledger(20)
    known = head(ledger, 15)
    other = rewritten(ledger, 0)
    assert len(list(accusations(other, VKEY, [known], START))) == 1
    other.edit(17, lambda fields: fields["body"].update(more=1))
    assert list(accusations(other, VKEY, [known], START)) == []
    other.notes = ["rubbish"]
    assert list(accusations(other, VKEY, [known], START)) == []
    other.notes = []
    assert list(accusations(other, VKEY, [known], START)) == []


def test_of_a_ledger_that_cannot_be_read_there_is_no_proof_and_no_traceback() -> None:
    class Damaged(Ledger):
        def entries(self):  # type: ignore[no-untyped-def]
            raise LedgerBroken(["the file is damaged"])

    ledger = long_ledger(20)
    damaged = Damaged(stored=ledger.stored, notes=ledger.notes)
    assert list(accusations(damaged, VKEY, [head(ledger, 15)], START)) == []


def test_one_lie_is_not_proven_a_thousand_times() -> None:
    ledger = long_ledger(100)
    heads = [head(ledger, size) for size in range(1, 60)]
    assert len(list(accusations(rewritten(ledger, 0), VKEY, heads, START))) == MOST


def test_an_honest_ledger_is_accused_by_nobody() -> None:
    ledger = long_ledger(300)
    assert list(accusations(ledger, VKEY, [head(ledger, size) for size in (1, 255, 256, 257, 300)], START)) == []


# A proof of misbehaviour, read alone.


def test_a_proof_for_another_key_shows_nothing_and_one_without_a_pinned_key_says_so(tmp_path: Path) -> None:
    ledger = long_ledger(20)
    [(_, raw)] = accusations(rewritten(ledger, 0), VKEY, [head(ledger, 15)], START)
    (tmp_path / "proof").write_bytes(raw)
    done = run("verify", "--misbehaviour", tmp_path / "proof")
    assert (done.exit_code, f"compare it with the one you know: {VKEY}" in done.stdout) == (1, True)
    mallory = notes.vkey(LEDGER, public_of(SEEDS["mallory"]))
    other = run("verify", "--misbehaviour", tmp_path / "proof", "--key", mallory)
    assert (other.exit_code, other.stdout) == (3, "")


def test_every_flipped_bit_of_a_proof_is_found_or_changes_only_when_it_was_found() -> None:
    from pgnotary.errors import PgnotaryError

    ledger = long_ledger(20)
    [(_, raw)] = accusations(rewritten(ledger, 0), VKEY, [head(ledger, 15)], START)
    good = examine(raw)
    for at in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[at] ^= 1 << bit
            try:
                shown = examine(bytes(changed))
            except PgnotaryError:
                continue
            assert shown == good
