"""Who types what docs/ledger-format.md shows, over an export, finds it good, and each changed byte."""

import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.pages import Page, run
from tests.tamper.page import Step, by_hand, needs_the_tools, put_beside
from tests.verify.builder import VKEY, Ledger, one_approval, roster_text

from pgnotary.audit.export import export_folder
from pgnotary.audit.folder import shipped_verifier
from pgnotary.ledger.canonical import unb64
from pgnotary.ledger.remembered import heads_text, remembered

PAGE = "ledger-format.md"
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


def test_everything_is_as_the_page_says(page: Page, folder: Path) -> None:
    steps = by_hand(folder)
    for step in steps:
        page.take(step.commands.rstrip("\n"))
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


# --- what stands before "By hand" -----------------------------------------------------------------------------------


def typed(line: str, cwd: Path) -> tuple[int, str]:
    """Type a line where nothing of ours is in reach; its status, and what it said."""
    done = subprocess.run(
        ["env", "-i", "PATH=/usr/bin:/bin", "sh", "-uc", line], cwd=cwd, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_openssh_checks_a_decision_and_no_other(page: Page, folder: Path) -> None:
    command = page.take("ssh-keygen -Y verify -f allowed_signers -I bo").text
    decisions = folder / "evidence" / "decisions"
    shutil.copy(folder / "known" / "allowed_signers", decisions)
    status, said = typed(command, decisions)
    assert (status, 'Good "decision@pgnotary" signature for bo' in said) == (0, True), said
    changed(decisions / "R-1.json", b'"max_rows":2000', b'"max_rows":9000')
    assert typed(command, decisions)[0] != 0


def test_openssh_checks_a_withdrawal(page: Page, tmp_path: Path) -> None:
    ledger = Ledger().start("ana", "eva")
    ledger.open_session()
    ledger.ask("R-3")
    ledger.preview("R-3")
    ledger.take_back("R-3")
    export_folder(ledger, tmp_path / "evidence", VKEY)
    shutil.copy(tmp_path / "evidence" / "allowed_signers", tmp_path / "evidence" / "withdrawals")
    status, said = typed(
        page.take("ssh-keygen -Y verify -f allowed_signers -I eva").text, tmp_path / "evidence" / "withdrawals"
    )
    assert (status, 'Good "request@pgnotary" signature for eva' in said) == (0, True), said


def test_openssh_checks_a_redaction(page: Page, tmp_path: Path) -> None:
    ledger = one_approval()
    (tmp_path / "allowed_signers").write_text(roster_text("ana", "bo", "rita"))
    ledger.roster("ana", "bo", "rita")
    body = ledger.redact(ledger.values(ledger.requests["R-1"].position.seq, "statement")).body
    (tmp_path / "redaction.json").write_bytes(unb64(str(body["document"])))
    (tmp_path / "redaction.sig").write_text(str(body["signature"]))
    status, said = typed(page.take("ssh-keygen -Y verify -f allowed_signers -I rita").text, tmp_path)
    assert (status, 'Good "redaction@pgnotary" signature for rita' in said) == (0, True), said


def test_the_second_verifier_comes_with_the_export(page: Page, folder: Path) -> None:
    known = folder / "known"
    names = {"python3": sys.executable, "FOLDER": folder / "evidence", "VKEY": known / "proxy.vkey"}
    names |= {"--allowed-signers FILE": f"--allowed-signers {known}/allowed_signers", "FILE": known / "head"}
    command = page.take("python3 verify.py").line(names)
    assert typed(command, folder / "evidence")[0] == 0
    changed(folder / "evidence" / "entries.jsonl", b'"rows":1204', b'"rows":1205')
    status, said = typed(command, folder / "evidence")
    assert (status, "#8 is not what #9 names before it" in said) == (1, True), said


def test_the_page_of_a_request_is_drawn_again_from_the_export(page: Page, folder: Path) -> None:
    done = run(*page.take("pgnotary show R-1").words(), "--page", "--ledger", folder / "evidence")
    assert (done.exit_code, "   1 | DELETE FROM orders" in done.stdout) == (0, True), done.output
    assert done.stderr == "R-1   bo said approve to this\n"


def test_a_proof_of_misbehaviour_is_checked_alone(page: Page, folder: Path) -> None:
    other = one_approval()
    other.edit(0, lambda fields: fields["body"].update(version="6.6"))
    other.relink()
    heads, key = folder / "heads", folder / "known" / "proxy.vkey"
    heads.write_text(heads_text([remembered(other.sign(), VKEY, datetime.now(UTC))]))
    assert run("verify", folder / "evidence", "--key", key, "--heads", heads).exit_code == 1
    (proof,) = folder.glob("heads.misbehaviour-*.json")
    command = page.take("pgnotary verify --misbehaviour").words({"FILE": proof, "proxy.vkey": key})
    done = run(*command)
    assert (done.exit_code, done.stdout[:6]) == (1, "FAIL  "), done.output
    # What proves nothing is told apart.
    proof.write_bytes(b"{}")
    assert run(*command).exit_code == 3
