"""Who follows "By hand" in docs/ledger-format.md over an export finds it good, and each changed byte."""

import shutil
from pathlib import Path

import pytest
from tests.tamper.page import Step, by_hand, needs_the_tools, put_beside
from tests.verify.builder import VKEY, Ledger, one_approval, roster_text

from pgnotary.audit.export import export_folder
from pgnotary.audit.folder import shipped_verifier

pytestmark = needs_the_tools

CHAIN, TREE, DECISIONS, SEALS, PYTHON = range(5)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hand")
    ledger = one_approval()
    export_folder(ledger, folder / "evidence", VKEY, secrets=True)
    beside(folder, ledger)
    return folder


def beside(folder: Path, ledger: Ledger) -> None:
    roster = roster_text("ana", "bo")
    put_beside(folder, key=VKEY, roster=roster, head=ledger.notes[-1], verifier=shipped_verifier())


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "hand"))


def changed(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) >= 1
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new, 1))


def bad(steps: list[Step]) -> set[int]:
    return {number for number, step in enumerate(steps) if not step.is_as_told}


def test_everything_is_as_the_page_says(folder: Path) -> None:
    steps = by_hand(folder)
    assert [step.printed for step in steps if not step.is_as_told] == []
    assert len(steps) == 5
    assert steps[CHAIN].printed[0].startswith("12 entries, ")
    assert steps[DECISIONS].printed[1:] == [
        "evidence/decisions/R-1.json: its request is on line 5 of entries.jsonl",
        "evidence/decisions/R-1.json: its preview is on line 6 of entries.jsonl",
    ]
    assert steps[SEALS].printed == ["3 values, 0 of them are NOT what an entry commits to"]
    assert steps[PYTHON].printed[-1] == "status 0"


@pytest.mark.parametrize(
    ("file", "old", "new", "where"),
    [
        ("entries.jsonl", b'"rows":1204', b'"rows":1205', {CHAIN, TREE, PYTHON}),
        ("entries.jsonl", b'"allowed_signers":"a', b'"allowed_signers":"b', {CHAIN, TREE, PYTHON}),
        ("entries.jsonl", b'"kind":"delete"', b'"kind":"update"', {CHAIN, TREE, DECISIONS, SEALS, PYTHON}),
        ("entries.jsonl", b'"why":"asked to"', b'"why":"asked ot"', {TREE, PYTHON}),
        ("checkpoint.txt", b"\n12\n", b"\n11\n", {TREE, PYTHON}),
        ("decisions/R-1.json", b'"max_rows":2000', b'"max_rows":9000', {DECISIONS, PYTHON}),
        ("opened.jsonl", b'"name":"reason"', b'"name":"seasor"', {SEALS, PYTHON}),
    ],
)
def test_one_changed_byte_is_told_by_the_same_commands(
    folder: Path, file: str, old: bytes, new: bytes, where: set[int]
) -> None:
    changed(folder / "evidence" / file, old, new)
    steps = by_hand(folder)
    assert bad(steps) == where
    assert steps[PYTHON].printed[-1] == "status 1"


def test_a_ledger_that_is_not_the_one_that_somebody_has_seen_is_told(folder: Path) -> None:
    other = one_approval()
    other.edit(0, lambda fields: fields["body"].update(version="6.6"))
    other.relink()
    (folder / "known" / "head").write_text(other.notes[-1])
    steps = by_hand(folder)
    assert bad(steps) == {TREE, PYTHON}
    assert steps[TREE].printed[1] == "known/head is NOT over these entries"


def test_a_decision_by_somebody_else_is_told(folder: Path) -> None:
    (folder / "known" / "allowed_signers").write_text(roster_text("ana"))
    steps = by_hand(folder)
    assert bad(steps) == {DECISIONS, PYTHON}
    assert "evidence/decisions/R-1.json is NOT signed by bo" in steps[DECISIONS].printed
