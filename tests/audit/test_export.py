"""What an export holds, that it verifies again, and that it can be checked with a shell and ssh-keygen alone."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.authenticator import security_key
from tests.second.agreement import both_over_folder
from tests.verify.builder import LEDGER, SEEDS, VKEY, Ledger, public_of, roster_text

from pgnotary.audit.check import check
from pgnotary.audit.export import README, export_folder
from pgnotary.audit.folder import FolderReader
from pgnotary.audit.replay import replay
from pgnotary.audit.story import stories
from pgnotary.audit.words import outcome_words
from pgnotary.errors import ConfigError, LedgerBroken
from pgnotary.ledger.checkpoint import vkey
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.ledger.tree import leaf_hash
from pgnotary.request import sshsig
from pgnotary.request.openssh import fingerprint, public_line
from pgnotary.store import StoredEntry

needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")


def ssh_verify(
    folder: Path, request: str, person: str, namespace: str = "decision@pgnotary", kind: str = "decisions"
) -> int:
    document = folder / kind / f"{request}.json"
    signature = document.with_name(f"{request}.json.sig")
    roster = str(folder / "allowed_signers")
    command = ["ssh-keygen", "-Y", "verify", "-f", roster, "-I", person, "-n", namespace, "-s", str(signature)]
    return subprocess.run(command, input=document.read_bytes(), capture_output=True, check=False).returncode


def test_an_export_reads_back_as_the_same_ledger(ledger: Ledger, folder: Path) -> None:
    assert list(FolderReader(folder).entries()) == ledger.stored
    assert list(FolderReader(folder).checkpoints()) == [ledger.notes[-1]]
    assert FolderReader(folder).vkey() == VKEY


def test_an_export_verifies(folder: Path) -> None:
    summary = check(FolderReader(folder), VKEY)
    assert (summary.entries, summary.decisions, summary.withheld) == (30, 3, 0)


@needs_ssh_keygen
def test_ssh_keygen_verifies_every_exported_decision(folder: Path) -> None:
    assert [ssh_verify(folder, *each) for each in (("R-1", "bo"), ("R-2", "ana"), ("R-5", "bo"))] == [0, 0, 0]


@pytest.fixture
def taken_back(tmp_path: Path) -> Path:
    """An export in which eva takes R-1 back, and R-2 while it is approved; R-3 is withdrawn in psql."""
    ledger = Ledger().start("ana", "bo", "eva")
    ledger.open_session()
    for request in ("R-1", "R-2", "R-3"):
        ledger.ask(request)
        ledger.preview(request)
    ledger.take_back("R-1")
    ledger.decide("R-2")
    ledger.take_back("R-2", EntryType.VOID, why="withdrawn by requester while it was being approved")
    ledger.step(EntryType.WITHDRAWN, "R-3", by="cancel")
    export_folder(ledger, tmp_path / "taken-back", VKEY)
    return tmp_path / "taken-back"


@needs_ssh_keygen
def test_ssh_keygen_verifies_who_has_taken_a_request_back(taken_back: Path) -> None:
    assert sorted(path.name for path in (taken_back / "withdrawals").glob("*.json")) == ["R-1.json", "R-2.json"]
    found = [ssh_verify(taken_back, each, "eva", "request@pgnotary", "withdrawals") for each in ("R-1", "R-2")]
    assert found == [0, 0]
    assert ssh_verify(taken_back, "R-1", "ana", "request@pgnotary", "withdrawals") != 0
    assert both_over_folder(taken_back, VKEY) == ((), [])


@pytest.mark.parametrize("name", ["withdrawals/R-1.json", "withdrawals/R-2.json.sig"])
def test_a_withdrawal_s_file_that_is_another_one_is_found(taken_back: Path, name: str) -> None:
    (taken_back / name).write_text("{}")
    (taken_back / "withdrawals" / "R-3.json").write_text("{}")
    faults, _ = both_over_folder(taken_back, VKEY)
    assert len(faults) == 2


def test_who_took_it_back_is_told_as_signed(taken_back: Path) -> None:
    reader, key = FolderReader(taken_back), fingerprint(public_of(SEEDS["eva"]))
    assert [*replay(reader, "R-1")][-1].endswith(f"R-1 withdrawn: requester eva ({key}), signed")
    told = f"withdrawn by requester while it was being approved: requester eva ({key}), signed"
    assert any(line.endswith(told) for line in replay(reader, "R-2"))
    assert [outcome_words(story) for story in stories(reader.entries())] == [
        f"withdrawn (requester eva ({key}), signed)",
        f"void ({told})",
        "withdrawn (cancel)",
    ]


@needs_ssh_keygen
def test_ssh_keygen_refuses_a_changed_decision_another_person_and_another_namespace(folder: Path) -> None:
    assert ssh_verify(folder, "R-1", "ana") != 0
    assert ssh_verify(folder, "R-1", "bo", "api@pgnotary") != 0
    document = folder / "decisions" / "R-1.json"
    document.write_bytes(document.read_bytes().replace(b'"max_rows":2000', b'"max_rows":9000'))
    assert ssh_verify(folder, "R-1", "bo") != 0


@needs_ssh_keygen
def test_every_command_in_the_readme_runs_and_finds_all_good(ledger: Ledger, folder: Path) -> None:
    commands = "\n".join(re.findall(r"^    (.*)$", README, re.MULTILINE))
    ran = subprocess.run(["sh", "-eu"], cwd=folder, input=commands, capture_output=True, text=True, check=True)
    first, *rest = ran.stdout.splitlines()
    assert first.split()[0] in ledger.raws[1].decode()
    assert rest[0] == leaf_hash(ledger.raws[-1]).hex()
    assert len([line for line in rest[1:] if line.startswith("Good")]) == 3


def test_the_shell_finds_where_a_changed_chain_breaks(folder: Path) -> None:
    entries = folder / "entries.jsonl"
    entries.write_bytes(entries.read_bytes().replace(b'"version":"0.1"', b'"version":"0.2"'))
    step = README[README.index("    prev=") : README.index("3. A decision")]
    commands = "\n".join(re.findall(r"^    (.*)$", step, re.MULTILINE))
    ran = subprocess.run(["sh", "-eu"], cwd=folder, input=commands, capture_output=True, text=True, check=True)
    assert "the chain breaks before" in ran.stdout
    assert '"seq":1' in ran.stdout


def test_withheld_values_are_left_out_and_the_rest_still_verifies(ledger: Ledger, tmp_path: Path) -> None:
    done = export_folder(ledger, tmp_path / "e", VKEY, withhold=["statement", "t*"])
    names = {json.loads(line)["name"] for line in (tmp_path / "e" / "opened.jsonl").read_text().splitlines()}
    assert names == {"reason", "document", "signature"}
    assert (done.opened, done.withheld) == (3, 9)
    assert b"DELETE FROM" not in b"".join(path.read_bytes() for path in (tmp_path / "e").rglob("*") if path.is_file())
    assert check(FolderReader(tmp_path / "e"), VKEY).withheld == 9


def test_a_missing_file_of_values_means_that_all_are_withheld(folder: Path) -> None:
    (folder / "opened.jsonl").unlink()
    assert check(FolderReader(folder), VKEY).opened == 0


def test_a_broken_ledger_is_exported_as_it_is(ledger: Ledger, tmp_path: Path) -> None:
    ledger.stored[5] = StoredEntry(b"not an entry", {})
    export_folder(ledger, tmp_path / "e", VKEY)
    with pytest.raises(LedgerBroken) as broken:
        check(FolderReader(tmp_path / "e"), VKEY)
    assert any(fault.startswith("#5 cannot be read") for fault in broken.value.faults)


def test_an_existing_folder_is_not_written_into(ledger: Ledger, folder: Path) -> None:
    with pytest.raises(ConfigError, match="is there already"):
        export_folder(ledger, folder, VKEY)


def test_a_request_id_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    ledger = Ledger().start()
    for request in ("../../R-1", "R-1/../../x", "/R-1"):
        ledger.ask(request)
        ledger.preview(request)
        ledger.decide(request)
    assert export_folder(ledger, tmp_path / "in" / "e", VKEY).decisions == 0
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert list((tmp_path / "in" / "e" / "decisions").iterdir()) == []


def test_each_roster_is_kept_under_the_number_of_its_entry(ledger: Ledger, tmp_path: Path) -> None:
    ledger.roster("ana")
    export_folder(ledger, tmp_path / "e", VKEY)
    rosters = {path.name: path.read_text() for path in (tmp_path / "e" / "rosters").iterdir()}
    assert set(rosters) == {"1", "30"}
    assert rosters["30"] == (tmp_path / "e" / "allowed_signers").read_text()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda line: b"x" + line, "line 1 cannot be used"),
        (lambda line: line.replace(b'"leaf":"', b'"leaf":"0')[:-1], "line 1 cannot be used"),
        (lambda line: re.sub(b'"leaf":"[0-9a-f]{64}"', b'"leaf":"' + b"0" * 64 + b'"', line), "which is not in"),
        (lambda line: line + line, "line 2 cannot be used: another value"),
        (lambda line: line.replace(b'"name":"t1"', b'"name":"t9"'), "has no seal 't9'"),
        (lambda line: line.replace(b'"name":"t1"', b'"name":"t2"'), "is not what its entry commits to"),
    ],
)
def test_a_tampered_file_of_values_is_found(folder: Path, change: Callable[[bytes], bytes], fault: str) -> None:
    path = folder / "opened.jsonl"
    first, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(change(first + b"\n") + rest)
    with pytest.raises(LedgerBroken) as broken:
        check(FolderReader(folder), VKEY)
    assert any(fault in each for each in broken.value.faults)


def found_in(folder: Path) -> tuple[str, ...]:
    with pytest.raises(LedgerBroken) as broken:
        check(FolderReader(folder), VKEY)
    return broken.value.faults


def test_an_edited_export_with_a_forged_decision_and_a_foreign_roster_is_found(ledger: Ledger, folder: Path) -> None:
    """Everything that ssh-keygen looks at says that mallory approved R-2; the entries say otherwise."""
    document = (folder / "decisions" / "R-2.json").read_bytes()
    forged = document.replace(b'"decision":"deny"', b'"decision":"approve"')
    (folder / "decisions" / "R-2.json").write_bytes(forged)
    (folder / "decisions" / "R-2.json.sig").write_text(sshsig.sign(forged, SEEDS["mallory"], "decision@pgnotary"))
    (folder / "decisions" / "R-1.json").unlink()
    (folder / "decisions" / "R-99.json").write_bytes(forged)
    for name in ("allowed_signers", "rosters/1", "rosters/7"):
        (folder / name).write_text(roster_text("ana", "bo", "mallory"))
    assert found_in(folder) == (
        "rosters/1 is not what entry #1 says: the file was changed",
        "decisions/R-1.json is missing: entry #6 says what is in it",
        "decisions/R-2.json is not what entry #14 says: the file was changed",
        "decisions/R-2.json.sig is not what entry #14 says: the file was changed",
        "allowed_signers is not what entry #1 says: the file was changed",
        "'decisions/R-99.json' is in the folder, but no entry says so",
        "'rosters/7' is in the folder, but no entry says so",
    )


@pytest.mark.parametrize("name", ["allowed_signers", "rosters/1", "decisions/R-1.json", "decisions/R-1.json.sig"])
@pytest.mark.parametrize("change", [lambda content: content + b"\n", lambda content: content[:-1], lambda _: b""])
def test_one_byte_of_a_file_of_evidence_that_changes_is_found(
    folder: Path, name: str, change: Callable[[bytes], bytes]
) -> None:
    (folder / name).write_bytes(change((folder / name).read_bytes()))
    (fault,) = found_in(folder)
    assert fault.startswith(f"{name} is not what entry #")


def test_a_foreign_key_put_into_the_export_is_found_by_who_knows_the_right_one(folder: Path) -> None:
    (folder / "proxy.vkey").write_text(vkey(LEDGER, public_of(SEEDS["mallory"])) + "\n")
    assert found_in(folder) == ("proxy.vkey holds another key than the one that this is verified with",)
    (folder / "proxy.vkey").unlink()
    assert found_in(folder) == ("proxy.vkey is missing: it holds the key that this is verified with",)


def test_a_file_of_evidence_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "rosters" / "1").unlink()
    (folder / "rosters" / "1").mkdir()
    assert found_in(folder) == ("rosters/1 cannot be read: Is a directory",)


def test_a_roster_in_a_ledger_that_has_none_is_found(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.open_session()
    export_folder(ledger, tmp_path / "e", VKEY)
    (tmp_path / "e" / "allowed_signers").write_text(roster_text("mallory"))
    assert found_in(tmp_path / "e") == ("'allowed_signers' is in the folder, but no entry says so",)


def test_what_somebody_puts_beside_the_evidence_is_no_fault(folder: Path) -> None:
    # The README's own first command makes this file.
    (folder / "line").write_text("x")
    assert check(FolderReader(folder), VKEY).entries == 30


@pytest.mark.parametrize("name", ["nonsense", "statements", "statement,reason", "", "t", "tx", "t1x", "Statement"])
def test_withholding_what_no_value_is_named_is_refused_and_nothing_is_written(
    ledger: Ledger, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ConfigError, match="no sealed value is named"):
        export_folder(ledger, tmp_path / "e", VKEY, withhold=["statement", name])
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize(
    "name", ["statement", "prepared", "reason", "error", "document", "signature", "t12", "t*", "*"]
)
def test_every_name_that_a_seal_has_can_be_withheld(ledger: Ledger, tmp_path: Path, name: str) -> None:
    export_folder(ledger, tmp_path / "e", VKEY, withhold=[name])
    assert check(FolderReader(tmp_path / "e"), VKEY).entries == 30


def test_a_folder_that_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"it has no entries\.jsonl"):
        FolderReader(tmp_path)


@needs_ssh_keygen
def test_a_decision_by_a_security_key_verifies_by_both_and_by_ssh_keygen(tmp_path: Path) -> None:
    line = f'bo namespaces="decision@pgnotary" {public_line(security_key(SEEDS["bo"], "ssh:pgnotary"))}\n'
    ledger = Ledger().start()
    ledger.append(Draft(EntryType.ROSTER, {"allowed_signers": line}))
    ledger.open_session()
    ledger.ask("R-1")
    ledger.preview("R-1")
    ledger.decide("R-1", application="ssh:pgnotary")
    ledger.run("R-1")
    export_folder(ledger, tmp_path / "evidence", VKEY)
    assert check(FolderReader(tmp_path / "evidence"), VKEY).decisions == 1
    assert ssh_verify(tmp_path / "evidence", "R-1", "bo") == 0
    (tmp_path / "key").write_text(VKEY)
    command = [sys.executable, "-I", "-S", "verify.py", ".", "--key", "../key"]
    done = subprocess.run(command, cwd=tmp_path / "evidence", capture_output=True, text=True, check=False)
    assert "FAIL" not in done.stdout
    assert "1 decision" in done.stdout, done.stdout + done.stderr
