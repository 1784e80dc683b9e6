"""Single-bit flips in the files of an export: both verifiers tell each of them, by the same status."""

import random
import shutil
from pathlib import Path

import pytest
from tests.audit.running import run
from tests.second.agreement import both_over_folder
from tests.tamper.flips import remember_what_was_read
from tests.tamper.ground import grown
from tests.verify.builder import VKEY, roster_text

from pgnotary.audit import standalone
from pgnotary.audit.export import export_folder

EXCUSED = {
    "README.txt": "says how to check the rest; no verifier reads it",
    "verify.py": "is no evidence: who changes the folder can change it, and `verify` notes one that it does not know",
}


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ledger = grown(20)
    ledger.notes.append(ledger.sign())
    folder = tmp_path_factory.mktemp("bits") / "evidence"
    export_folder(ledger, folder, VKEY, secrets=True)
    return folder


def files(evidence: Path) -> list[str]:
    return sorted(path.relative_to(evidence).as_posix() for path in evidence.rglob("*") if path.is_file())


@pytest.mark.parametrize(("few", "many"), [(1, 12), pytest.param(30, 2_000, marks=pytest.mark.long)])
def test_each_flipped_bit_is_told_by_both(evidence: Path, monkeypatch: pytest.MonkeyPatch, few: int, many: int) -> None:
    remember_what_was_read(monkeypatch)
    assert both_over_folder(evidence, VKEY) == ((), [])
    rng, tried = random.Random(20_261_127), 0
    for name in files(evidence):
        if name in EXCUSED:
            continue
        path, count = evidence / name, few if "/" in name else many
        content = path.read_bytes()
        # The last byte always: an end of a line there is easily overlooked.
        for byte in (len(content) - 1, *(rng.randrange(len(content)) for _ in range(count - 1))):
            bit = rng.randrange(8)
            changed = bytearray(content)
            changed[byte] ^= 1 << bit
            path.write_bytes(changed)
            assert both_over_folder(evidence, VKEY)[0], (name, byte, bit)
            tried += 1
        path.write_bytes(content)
    assert tried > 50
    assert both_over_folder(evidence, VKEY) == ((), [])


def test_what_is_excused_is_no_evidence(evidence: Path, tmp_path: Path) -> None:
    shutil.copytree(evidence, tmp_path / "e")
    for name in EXCUSED:
        content = bytearray((tmp_path / "e" / name).read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / "e" / name).write_bytes(content)
    assert both_over_folder(tmp_path / "e", VKEY) == ((), [])


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    "name", ["entries.jsonl", "opened.jsonl", "checkpoint.txt", "proxy.vkey", "allowed_signers", ""]
)
def test_both_commands_end_with_the_same_status(evidence: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(evidence, tmp_path / "e")
    if name:
        path = tmp_path / "e" / name
        content = path.read_bytes()
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 0x80]) + content[-8:])
    (tmp_path / "roster").write_text(roster_text("ana", "bo"))
    words = [str(tmp_path / "e"), "--key", VKEY, "--allowed-signers", str(tmp_path / "roster")]
    status = run("verify", *words).exit_code
    # An outcome of this ledger is unknown.
    assert status == standalone.main([*words, "--quiet"]) == (1 if name else 2)
