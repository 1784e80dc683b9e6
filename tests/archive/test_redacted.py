"""Redactions and archives: what was erased before it was archived, what may not be erased since; by both verifiers."""

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest
from tests.archive.kept import Pruned, Site, big_ledger, site, tell_archive
from tests.archive.running import run
from tests.archive.test_rule import both
from tests.verify.builder import VKEY, Ledger, one_approval, roster_text

from pgnotary.audit import standalone
from pgnotary.ledger.archived import Archived
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.verify.checklist import Summary, base_behind

FORWARDED, ASKED = 3, 4
"""Where the forwarded text and the request of `one_approval` stand."""


def ended() -> Ledger:
    ledger = one_approval()
    ledger.roster("ana", "bo", "rita")
    return ledger


def good(reader: Ledger | Pruned) -> Summary:
    faults, summary = both(reader)
    assert faults == ()
    assert summary is not None
    return summary


def test_what_was_redacted_before_it_was_archived_is_redacted_together_and_withheld_in_the_archive() -> None:
    ledger = ended()
    size = len(ledger.stored)
    ledger.redact(ledger.values(FORWARDED, "t1"), ledger.values(ASKED, "statement"))
    base = tell_archive(ledger, size)
    whole, rest = good(ledger), good(Pruned(ledger, base))
    assert (whole.redactions, whole.redacted, whole.withheld) == (1, 2, 0)
    # The redaction is here and what it names is not: that is neither a fault, nor counted.
    assert (rest.redactions, rest.redacted, rest.withheld) == (1, 0, 0)
    alone = Ledger(stored=ledger.stored[:size])
    alone.notes.append(alone.sign())
    assert (good(alone).redactions, good(alone).withheld) == (0, 2)


def test_a_redaction_that_names_entries_on_both_sides_of_the_cut_counts_what_is_here() -> None:
    ledger = ended()
    size = len(ledger.stored)
    ledger.open_session("S-00000002", person="ivo")
    ledger.forward("select 2", session="S-00000002")
    ledger.redact(ledger.values(FORWARDED, "t1"), ledger.values(size + 1, "t1"))
    base = tell_archive(ledger, size)
    assert good(ledger).redacted == 2
    assert good(Pruned(ledger, base)).redacted == 1


def test_a_session_that_goes_on_over_the_cut_is_still_its_persons_own_doing() -> None:
    for person, told in (("rita", "own"), ("ivo", "")):
        ledger = ended()
        ledger.open_session("S-00000002", person=person)
        size = len(ledger.stored)
        ledger.forward("select 2", session="S-00000002")
        base = tell_archive(ledger, size)
        ledger.redact(ledger.values(size, "t1"))
        for reader in (ledger, Pruned(ledger, base)):
            faults, _ = both(reader)
            assert bool(faults) == bool(told)
            assert all(told in fault for fault in faults)


@pytest.mark.parametrize("names_later", [False, True])
def test_what_is_archived_cannot_be_redacted_any_more(*, names_later: bool) -> None:
    """Neither alone nor together with the archive, and nothing of such a redaction counts."""
    ledger = ended()
    size = len(ledger.stored)
    ledger.open_session("S-00000002", person="ivo")
    ledger.forward("select 2", session="S-00000002")
    base = tell_archive(ledger, size)
    named = [ledger.values(FORWARDED, "t1"), *([ledger.values(size + 1, "t1")] if names_later else [])]
    ledger.redact(*named)
    place = len(ledger.stored) - 1
    for reader in (ledger, Pruned(ledger, base)):
        faults, _ = both(reader)
        assert faults[0].startswith(f"#{place} #3 was archived before")
        assert {each.split()[0] for each in faults} == {f"#{place}"}


def test_an_earlier_archive_is_remembered_by_the_base_of_the_next_one() -> None:
    ledger = ended()
    first = len(ledger.stored)
    tell_archive(ledger, first)
    second = len(ledger.stored)
    ledger.redact(ledger.values(FORWARDED, "t1"))
    base = base_behind(ledger.stored[:second], VKEY, None)
    assert base.archived == first
    told = Archived(first, second, base.tree().root(), base.digest, bytes(32), bytes(32))
    ledger.append(Draft(EntryType.ARCHIVED, told.body))
    for reader in (ledger, Pruned(ledger, base)):
        faults, _ = both(reader)
        assert [fault.split(" was ")[0] for fault in faults] == [f"#{second} #3"], faults


@pytest.mark.parametrize(
    "how", [{"signed_by": "mallory"}, {"redactor": "bo"}, {"reason": "a\nb"}, {"key": "SHA256:x"}], ids=str
)
def test_a_forged_redaction_of_what_was_archived_since_is_still_a_fault(how: dict[str, str]) -> None:
    ledger = ended()
    size = len(ledger.stored)
    ledger.redact(ledger.values(FORWARDED, "t1"), **how)  # type: ignore[arg-type]
    base = tell_archive(ledger, size)
    for reader in (ledger, Pruned(ledger, base)):
        faults, _ = both(reader)
        assert faults
        assert {each.split()[0] for each in faults} == {f"#{size}"}


# The whole way, in a file.

REASON = "GDPR erasure, ticket 4711"
TEXT = b"select 1 -- geheim-geheim"


@pytest.fixture(scope="module")
def redacted_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The big ledger, in which a text before #256 was redacted at its end; archived up to #256."""
    ledger = big_ledger()
    forwarded = next(
        place for place, each in enumerate(ledger.stored) if b'"type":"forwarded"' in each.raw and each.opened
    )
    assert forwarded < 256
    ledger.roster("ana", "bo", "rita")
    ledger.redact(ledger.values(forwarded, "t1"), reason=REASON)
    ledger.notes.append(ledger.sign())
    made = asyncio.run(site(tmp_path_factory.mktemp("redacted"), ledger))
    done = run("archive", "-c", made.config, "--before", "#400", made.folder / "a1")
    assert done.exit_code == 0, done.output
    return made


def verified(*words: str | Path) -> tuple[int, str]:
    done = run("verify", *words, "--key", VKEY)
    return done.exit_code, done.stdout


def test_archive_and_ledger_say_alone_and_together_what_is_missing_and_nobody_calls_it_lost(
    redacted_site: Site, tmp_path: Path
) -> None:
    archive, of = redacted_site.folder / "a1", ("--ledger", redacted_site.ledger)
    status, said = verified(archive)
    assert (status, "gap  1 sealed value is withheld" in said) == (2, True), said
    status, said = verified(*of)
    assert (status, "are archived, not looked at" in said, "lost" in said) == (2, True, False), said
    status, said = verified(*of, "--archive", archive)
    assert (status, "gap  1 sealed value is redacted" in said, "is withheld" in said) == (2, True, False), said
    # The second verifier, of the same.
    rest = tmp_path / "rest"
    assert run("export", rest, "--ledger", redacted_site.ledger, "--key", VKEY, "--secrets").exit_code == 0
    (tmp_path / "roster").write_text(roster_text("ana", "bo", "rita"))
    known = ("--key", VKEY, "--allowed-signers", str(tmp_path / "roster"), "--quiet")
    for words in ((archive,), (rest,), (rest, "--archive", archive)):
        assert standalone.main([*map(str, words), *known]) == 2
    # Why a text is missing is told from the redaction, wherever the text was.
    done = run("search", "--forwarded", "--ledger", redacted_site.ledger, "--key", VKEY, "--archive", archive, "--json")
    assert done.exit_code == 0, done.output
    assert REASON in done.stdout


def test_a_value_that_is_deleted_from_a_pruned_ledger_is_lost_as_before(redacted_site: Site, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    source = sqlite3.connect(redacted_site.ledger)
    source.execute("VACUUM INTO ?", (str(copy),))
    source.close()
    db = sqlite3.connect(copy)
    assert db.execute("DELETE FROM sealed WHERE name = 't3'").rowcount == 1
    db.commit()
    db.close()
    for words in ((), ("--archive", redacted_site.folder / "a1")):
        status, said = verified("--ledger", copy, *words)
        assert (status, "has lost the value of its seal 't3', which no redaction names" in said) == (1, True), said


def with_text(folder: Path) -> Site:
    ledger = Ledger(keeps=False).start()
    ledger.open_session()
    ledger.forward(TEXT.decode())
    while len(ledger.stored) < 300:
        ledger.sum_up(ledger.summary())
    ledger.notes.append(ledger.sign())
    return asyncio.run(site(folder, ledger))


def files_with_text(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith("live.db") and TEXT in path.read_bytes()]


def test_what_was_archived_is_in_no_file_of_the_ledger_any_more(tmp_path: Path) -> None:
    made = with_text(tmp_path)
    assert files_with_text(tmp_path) == ["live.db"]
    done = run("archive", "-c", made.config, "--before", "256", tmp_path / "a1")
    assert (done.exit_code, "a program reads the ledger" in done.stdout) == (0, False), done.output
    assert files_with_text(tmp_path) == []
    assert not (tmp_path / "live.db.erasing").exists()
    # Not vacuous: the archive has it.
    [line] = (tmp_path / "a1" / "opened.jsonl").read_text().splitlines()
    assert json.loads(line)["name"] == "t1"


def test_while_somebody_reads_the_ledger_nothing_of_it_is_deleted(tmp_path: Path) -> None:
    made = with_text(tmp_path)
    reader = sqlite3.connect(made.ledger, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM entry").fetchall() == [(300,)]
    done = run("archive", "-c", made.config, "--before", "256", tmp_path / "a1")
    assert done.exit_code != 0
    assert "a program is reading the ledger, so nothing of it was deleted" in done.output
    reader.close()
    assert verified("--ledger", made.ledger)[0] == 0
    done = run("archive", "-c", made.config, "--before", "256", tmp_path / "a2")
    assert done.exit_code == 0, done.output
    assert files_with_text(tmp_path) == []
