"""The golden ledger verifies for ever, by both verifiers, and is the one that was once made."""

import hashlib
import json
from pathlib import Path

import pytest
from tests.second.agreement import both_over_folder
from tests.verify.builder import VKEY

from pgnotary.audit import standalone
from pgnotary.audit.check import check
from pgnotary.audit.folder import FolderReader
from pgnotary.ledger.entries import EntryType

GOLDEN = Path(__file__).parents[1] / "vectors" / "golden"
SECOND = GOLDEN.with_name("golden-2")
_OF_FORMAT_2 = {"policy", "reviewed"}


@pytest.mark.parametrize("golden", [GOLDEN, SECOND], ids=lambda each: each.name)
def test_no_file_of_it_is_another_one_than_was_made(golden: Path) -> None:
    lines = (line.split("  ", 1) for line in golden.with_name(f"{golden.name}.sha256").read_text().splitlines())
    told = {name: digest for digest, name in lines}
    found = {
        path.relative_to(golden).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(golden.rglob("*"))
        if path.is_file()
    }
    assert found == told


def test_it_has_an_entry_of_every_type() -> None:
    lines = (GOLDEN / "entries.jsonl").read_text().splitlines()
    assert {json.loads(line)["type"] for line in lines} == {each.value for each in EntryType} - _OF_FORMAT_2


def test_both_verifiers_find_it_good_and_say_what_is_missing_of_it() -> None:
    assert both_over_folder(GOLDEN, VKEY) == ((), [])
    summary = check(FolderReader(GOLDEN), VKEY)
    assert (summary.entries, summary.requests, summary.decisions, summary.redacted) == (110, 16, 13, 2)
    assert summary.head.hex() == "7fa29c6847640eeeeaa34f837b8c47b4fddd08882f4391f7bd46b9c495ad1c8e"
    # Outcomes that nobody knows, and what was redacted.
    assert (summary.unknown, summary.withheld) == (("R-3", "R-9"), 0)
    pinned = ["--key", VKEY, "--allowed-signers", str(GOLDEN / "allowed_signers"), "--quiet"]
    assert standalone.main([str(GOLDEN), *pinned]) == standalone.INCOMPLETE


def test_both_verifiers_find_the_one_of_format_2_good_too() -> None:
    lines = [json.loads(line) for line in (SECOND / "entries.jsonl").read_text().splitlines()]
    assert {line["type"] for line in lines} >= _OF_FORMAT_2
    assert {line["v"] for line in lines} == {"pgnotary/entry/1", "pgnotary/entry/2"}
    assert both_over_folder(SECOND, VKEY) == ((), [])
    summary = check(FolderReader(SECOND), VKEY)
    assert (summary.entries, summary.requests, summary.decisions, summary.approvals) == (54, 8, 10, 9)
    assert (summary.broken, summary.reviewed, len(summary.lacks)) == (2, 1, 1)
    assert [line["request"] for line in lines if "document" in line["body"] and line["body"].get("by")] == [
        "R-6",
        "R-7",
        "R-8",
    ]
    assert summary.head.hex() == "5dd9ad0201f69a0e0b9ebdf5ba6eba9876f9b049559368fc583ac443659df999"
    pinned = ["--key", VKEY, "--allowed-signers", str(SECOND / "allowed_signers"), "--quiet"]
    assert standalone.main([str(SECOND), *pinned]) == standalone.INCOMPLETE
