"""The second verifier as it comes with an export: a file that runs with a bare Python, and what its status says."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.second.agreement import both_over_folder
from tests.verify.builder import LEDGER, SEEDS, VKEY, Ledger, one_approval, public_of, roster_text

from pgnotary.audit import standalone
from pgnotary.audit.check import check
from pgnotary.audit.export import export_folder
from pgnotary.audit.folder import FolderReader
from pgnotary.errors import ConfigError, LedgerBroken
from pgnotary.ledger import checkpoint as notes
from pgnotary.ledger.entries import EntryType

OWN = Path(str(standalone.__file__))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    export_folder(one_approval(), tmp_path / "evidence", VKEY)
    (tmp_path / "roster").write_text(roster_text("ana", "bo"))
    (tmp_path / "key").write_text(VKEY + "\n")
    return tmp_path / "evidence"


def alone(folder: Path, *words: str | Path) -> tuple[int, str]:
    """Run it outside the project, in an empty environment, without site-packages."""
    command = [sys.executable, "-I", "-S", str(folder / "verify.py"), *map(str, words)]
    ran = subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True, check=False)
    assert "Traceback" not in ran.stderr
    return ran.returncode, ran.stdout + ran.stderr


def known(folder: Path) -> list[str | Path]:
    return ["--key", folder.parent / "key", "--allowed-signers", folder.parent / "roster"]


def test_it_imports_nothing_but_the_standard_library() -> None:
    imported = set()
    for node in ast.walk(ast.parse(OWN.read_text())):
        if isinstance(node, ast.Import):
            imported |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names
    assert not any("pgnotary" in name for name in imported)


def test_an_export_verifies_with_a_bare_python(folder: Path) -> None:
    status, text = alone(folder, ".", *known(folder))
    assert (status, text.splitlines()[0]) == (0, f"ok  12 entries of {LEDGER}, head {check_head(folder)}")


def check_head(folder: Path) -> str:
    return check(FolderReader(folder), VKEY).head.hex()


def test_the_key_may_be_given_as_text_and_the_folder_is_the_current_one(folder: Path) -> None:
    assert alone(folder, "--key", VKEY, "--allowed-signers", folder.parent / "roster")[0] == 0


@pytest.mark.parametrize(("left_out", "why"), [("--key", "pin it with --key"), ("--allowed-signers", "pin one with")])
def test_what_was_not_pinned_is_incomplete_evidence(folder: Path, left_out: str, why: str) -> None:
    words = known(folder)
    at = words.index(left_out)
    status, text = alone(folder, *words[:at], *words[at + 2 :])
    assert status == 2
    assert why in text


def test_an_unknown_outcome_is_incomplete_evidence(folder: Path) -> None:
    ledger = Ledger().start()
    ledger.open_session()
    ledger.ask("R-1")
    ledger.preview("R-1")
    ledger.decide("R-1")
    ledger.run("R-1", result="unknown")
    export_folder(ledger, folder.parent / "unknown", VKEY)
    status, text = alone(folder, folder.parent / "unknown", *known(folder))
    assert (status, "incomplete  outcome unknown: R-1" in text) == (2, True)
    ledger.step(EntryType.OUTCOME, "R-1", result="resolved", fate="committed", xid="771")
    export_folder(ledger, folder.parent / "resolved", VKEY)
    assert alone(folder, folder.parent / "resolved", *known(folder))[0] == 0


def test_a_fault_is_told_with_its_place(folder: Path) -> None:
    entries = folder / "entries.jsonl"
    entries.write_bytes(entries.read_bytes().replace(b'"version":"0.1"', b'"version":"0.2"'))
    status, text = alone(folder, *known(folder))
    assert status == 1
    assert text.startswith("#0 is not what #1 names before it")


def test_another_roster_and_another_key_are_faults(folder: Path) -> None:
    (folder.parent / "roster").write_text(roster_text("ana"))
    status, text = alone(folder, *known(folder))
    assert (status, "#6 R-1: nobody on the roster" in text) == (1, True)
    (folder.parent / "key").write_text(notes.vkey(LEDGER, public_of(SEEDS["mallory"])))
    assert alone(folder, *known(folder))[0] == 1


def test_a_checkpoint_that_somebody_remembers_shows_a_cut(folder: Path) -> None:
    whole = one_approval()
    (folder.parent / "head").write_text(whole.notes[-1])
    assert alone(folder, *known(folder), "--checkpoint", folder.parent / "head")[0] == 0
    del whole.stored[8:], whole.notes[8:]
    export_folder(whole, folder.parent / "cut", VKEY)
    assert alone(folder, folder.parent / "cut", *known(folder))[0] == 0
    status, text = alone(folder, folder.parent / "cut", *known(folder), "--checkpoint", folder.parent / "head")
    assert (status, text.startswith("#8 and what follows is missing")) == (1, True)


@pytest.mark.parametrize(
    "words",
    [
        ["--nonsense"],
        ["--key", "nonsense"],
        ["/nowhere"],
        ["--allowed-signers", "/nowhere"],
        ["--checkpoint", "/nowhere"],
    ],
)
def test_wrong_usage_has_a_status_of_its_own(folder: Path, words: list[str]) -> None:
    assert alone(folder, *words)[0] == 3


def test_nothing_in_a_ledger_plays_with_the_terminal(folder: Path) -> None:
    ledger = Ledger().start()
    ledger.ask("R-\x1b[2J\u202e")
    export_folder(ledger, folder.parent / "escape", VKEY)
    status, text = alone(folder, folder.parent / "escape", *known(folder))
    assert status == 1
    assert all(each.isprintable() or each == "\n" for each in text)


def test_an_export_holds_the_file_that_the_package_ships(folder: Path) -> None:
    assert (folder / "verify.py").read_bytes() == OWN.read_bytes()
    assert check(FolderReader(folder), VKEY).notes == ()


def test_another_verifier_in_an_export_is_noted_and_none_is_no_matter(folder: Path) -> None:
    (folder / "verify.py").write_text("print('ok')\n")
    (note,) = check(FolderReader(folder), VKEY).notes
    assert note == "verify.py is another one than this pgnotary writes: take one from a source of your own"
    (folder / "verify.py").unlink()
    assert check(FolderReader(folder), VKEY).notes == ()
    (folder / "verify.py").mkdir()
    assert "cannot be read" in check(FolderReader(folder), VKEY).notes[0]


def test_it_writes_nothing(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    alone(folder, *known(folder))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_what_is_done_to_a_folder_is_seen_by_both(folder: Path, tmp_path: Path) -> None:
    """Each file changed at its beginning, middle and end, cut, emptied, removed, and one more beside it."""
    assert both_over_folder(folder, VKEY) == ((), [])
    tampered = tmp_path / "tampered"
    count = 0
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        name = path.relative_to(folder)
        content = path.read_bytes()
        if name.name in {"README.txt", "verify.py"}:
            continue
        flips = [_flipped(content, at) for at in (0, len(content) // 2, len(content) - 2)]
        for changed in [*flips, content[:-1], content + b"\n", content + content, b"", None]:
            shutil.rmtree(tampered, ignore_errors=True)
            shutil.copytree(folder, tampered)
            if changed is None and name.name in {"entries.jsonl", "checkpoint.txt"}:
                continue
            (tampered / name).unlink()
            if changed is not None:
                (tampered / name).write_bytes(changed)
            # Values that are gone are withheld; a last line without its end is the same line.
            unended = name.name in {"entries.jsonl", "proxy.vkey"} and changed == content[:-1]
            found = both_over_folder(tampered, VKEY)[0]
            assert found or unended or name.name == "opened.jsonl", (name, changed)
            count += 1
    for extra in ("rosters/9", "decisions/R-9.json", "decisions/deep/er"):
        shutil.rmtree(tampered)
        shutil.copytree(folder, tampered)
        (tampered / extra).parent.mkdir(exist_ok=True)
        (tampered / extra).write_bytes(b"x")
        assert both_over_folder(tampered, VKEY)[0]
    shutil.rmtree(tampered)
    shutil.copytree(folder, tampered)
    (tampered / "decisions" / "R-8.json").symlink_to("/nowhere")
    assert both_over_folder(tampered, VKEY)[0]
    assert count > 50


def test_a_fifo_in_the_place_of_a_file_hangs_neither(folder: Path) -> None:
    """Whoever hands over the evidence must not be able to keep its verifier waiting."""
    for path in sorted(each for each in folder.rglob("*") if each.is_file() and each.name != "verify.py"):
        content, name = path.read_bytes(), path.relative_to(folder)
        if name.name == "README.txt":
            continue
        path.unlink()
        os.mkfifo(path)
        command = [sys.executable, "-I", "-S", *map(str, [OWN, folder, *known(folder)])]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        assert ran.returncode in (1, 3), (name, ran.stdout, ran.stderr)
        assert "Traceback" not in ran.stderr
        with pytest.raises((LedgerBroken, ConfigError)):
            check(FolderReader(folder), VKEY)
        path.unlink()
        path.write_bytes(content)
    assert check(FolderReader(folder), VKEY).entries == 12


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
