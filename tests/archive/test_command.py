"""`pgnotary archive` as it is typed, and what every command says of a ledger that was archived."""

import asyncio
import hashlib
import json
import os
import sqlite3
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.archive.kept import Site
from tests.archive.running import run
from tests.verify.builder import LEDGER, PROXY_SEED, VKEY, Ledger

from pgnotary.audit import standalone
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.life import Move, State
from pgnotary.store import Append
from pgnotary.store.place import locked
from pgnotary.store.sqlite import SqliteStore


def alone(*words: str | Path) -> int:
    return standalone.main([*map(str, words), "--quiet"])


def roster(site: Site) -> Path:
    return site.folder / "allowed_signers"


def test_what_is_archived_verifies_alone_and_what_stays_only_together(pruned: Site) -> None:
    archive = pruned.folder / "a1"
    assert run("verify", archive, "--key", VKEY).exit_code == 0
    assert alone(archive, "--key", VKEY, "--allowed-signers", roster(pruned)) == 0
    done = run("verify", "-c", pruned.config)
    assert done.exit_code == 2
    assert "ok  352 entries (#256-#607)" in done.stdout
    assert "gap  256 entries (#0-#255, root " in done.stdout
    assert "archived, not looked at: give --archive\n" in done.stdout
    done = run("verify", "-c", pruned.config, "--archive", archive)
    assert (done.exit_code, "ok  608 entries (#0-#607)" in done.stdout) == (0, True)


def test_the_export_of_what_stays_is_incomplete_alone_and_whole_with_the_archive_by_both_verifiers(
    pruned: Site,
) -> None:
    rest, archive = pruned.folder / "rest", pruned.folder / "a1"
    assert run("export", rest, "-c", pruned.config).exit_code == 0
    assert (rest / "allowed_signers").read_text() == roster(pruned).read_text()
    known = ("--key", VKEY, "--allowed-signers", roster(pruned))
    assert (run("verify", rest, *known).exit_code, alone(rest, *known)) == (2, 2)
    together = (rest, *known, "--archive", archive)
    assert (run("verify", *together).exit_code, alone(*together)) == (0, 0)
    # All of it again, as one export.
    whole = pruned.folder / "whole"
    assert run("export", whole, "-c", pruned.config, "--archive", archive).exit_code == 0
    assert (run("verify", whole, *known).exit_code, alone(whole, *known)) == (0, 0)
    assert not (whole / "base.json").exists()


def test_the_entry_names_range_root_base_and_files(pruned: Site) -> None:
    db = sqlite3.connect(pruned.ledger)
    [(seq, raw)] = db.execute("SELECT seq, raw FROM entry WHERE type = 'archived'").fetchall()
    [(base,)] = db.execute("SELECT document FROM base").fetchall()
    db.close()
    body = json.loads(raw)["body"]
    archive = pruned.folder / "a1"
    assert (seq, body["first"], body["kept"]) == (607, 0, 256)
    assert body["base"] == hashlib.sha256(base).hexdigest()
    for name in ("entries", "opened"):
        assert body[name] == hashlib.sha256((archive / f"{name}.jsonl").read_bytes()).hexdigest()
    _, size, root, *_ = (archive / "checkpoint.txt").read_text().split("\n")
    assert size == "256"
    assert standalone._unbase64(root).hex() == body["root"]


def test_nobody_else_may_read_the_archive_and_the_file_shrinks(whole: Site) -> None:
    before = whole.ledger.stat().st_size
    done = run("archive", "-c", whole.config, "--keep", "10", whole.folder / "deep" / "a1")
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE((whole.folder / "deep" / "a1").stat().st_mode) == 0o700
    assert whole.ledger.stat().st_size < before / 2
    assert f"bytes and has {whole.ledger.stat().st_size:,}\n" in done.stdout
    # #512-#606 stay, because R-3 is there and R-5 waits.
    assert "archived #0-#511 in" in done.stdout


@pytest.mark.parametrize(
    ("wish", "kept"),
    [
        (["--before", "#256"], 256),
        (["--before", "511"], 256),
        (["--keep", "95"], 512),
        (["--keep", "96"], 256),
        (["--before", "2099-01-01"], 512),
        # One entry a second, and some waits of thirty.
        (["--before", "2026-11-20T09:07:30"], 256),
    ],
    ids=str,
)
def test_a_cut_lies_at_a_whole_segment_and_not_beyond_what_was_wished_for(
    whole: Site, wish: list[str], kept: int
) -> None:
    done = run("archive", "-c", whole.config, *wish, whole.folder / "a1")
    assert f"archived #0-#{kept - 1} in" in done.stdout, done.output


@pytest.mark.parametrize("wish", [["--before", "255"], ["--keep", "1000"], ["--before", "2001-01-01"]], ids=str)
def test_less_than_a_segment_is_not_archived_and_nothing_is_touched(whole: Site, wish: list[str]) -> None:
    before = whole.ledger.read_bytes()
    done = run("archive", "-c", whole.config, *wish, whole.folder / "a1")
    assert done.exit_code == 0
    assert done.stdout.startswith("nothing to archive of the ledger from #0 on")
    assert not (whole.folder / "a1").exists()
    db = sqlite3.connect(whole.ledger)
    assert db.execute("PRAGMA user_version").fetchall() == [(1,)]
    db.close()
    # But for the probe that every opening writes.
    assert len(whole.ledger.read_bytes()) == len(before)


def test_a_second_archive_waits_until_there_is_more_and_then_all_join(pruned: Site) -> None:
    first, second = pruned.folder / "a1", pruned.folder / "a2"
    done = run("archive", "-c", pruned.config, "--keep", "0", second)
    assert "nothing to archive of the ledger from #256 on: #607, which tells of the last archive" in done.stdout
    asyncio.run(go_on(pruned.ledger))
    # Only what has a base, and so stands on an earlier archive, needs that one to be verified from the beginning.
    done = run("archive", "-c", pruned.config, "--keep", "0", second, "--archive", first)
    assert "archived #256-#767 in" in done.stdout, done.output
    assert run("verify", second, "--key", VKEY).exit_code == 2
    assert alone(second, "--key", VKEY, "--allowed-signers", roster(pruned)) == 2
    for given, status in (([], 2), ([second], 2), ([first, second], 0), ([second, first], 0)):
        words = [word for folder in given for word in ("--archive", folder)]
        assert run("verify", "-c", pruned.config, *words).exit_code == status
    rest = pruned.folder / "rest"
    assert run("export", rest, "-c", pruned.config).exit_code == 0
    known = ("--key", VKEY, "--allowed-signers", roster(pruned))
    assert alone(rest, *known, "--archive", second, "--archive", first) == 0
    assert alone(rest, *known, "--archive", second) == 2
    # The first alone leaves a gap; it is told, by both.
    done = run("verify", "-c", pruned.config, "--archive", first)
    assert (done.exit_code, "#256 to #767 are in no archive that was given" in done.stdout) == (1, True)
    assert alone(rest, *known, "--archive", first) == 1


async def go_on(path: Path) -> None:
    """Let R-5 end, and 200 entries follow."""
    store = await SqliteStore.open(path, LEDGER, PROXY_SEED, now=lambda: datetime.now(UTC))
    try:
        assert await store.last_request_number() == 5
        [(request, _, leaf)] = await store.open_requests()
        gone = Draft(EntryType.WITHDRAWN, {"by": "cancel"}, request=request, after=leaf)
        entries = [Append(gone, Move(request, State.HELD, State.WITHDRAWN))]
        summary = {"summaries": [Ledger().summary()]}
        entries += [Append(Draft(EntryType.FORWARDED, summary, "S-00000002")) for _ in range(200)]
        [receipts] = await store.append([entries])
        assert isinstance(receipts, list)
    finally:
        await store.close()


def test_the_ledger_in_use_is_not_archived(whole: Site) -> None:
    lock = locked(whole.ledger)
    try:
        done = run("archive", "-c", whole.config, "--keep", "0", whole.folder / "a1")
    finally:
        os.close(lock)
    assert (done.exit_code, "is in use by process" in done.stderr) == (2, True)
    assert not (whole.folder / "a1").exists()


def test_a_ledger_that_is_not_whole_is_not_archived(whole: Site) -> None:
    db = sqlite3.connect(whole.ledger)
    db.execute("UPDATE sealed SET value = x'00'")
    db.commit()
    db.close()
    done = run("archive", "-c", whole.config, "--keep", "0", whole.folder / "a1")
    assert done.exit_code == 1
    assert "FAIL  #" in done.stderr
    assert not (whole.folder / "a1").exists()


@pytest.mark.parametrize("name", ["a1", "a1.part"])
def test_a_folder_that_is_there_is_not_written_into(whole: Site, name: str) -> None:
    (whole.folder / name).mkdir()
    done = run("archive", "-c", whole.config, "--keep", "0", whole.folder / "a1")
    assert (done.exit_code, f"{name} is there already" in done.stderr) == (2, True)
    assert run("verify", "-c", whole.config).exit_code == 0


@pytest.mark.parametrize(
    "words",
    [[], ["--keep", "1", "--before", "2"], ["--keep", "-1"], ["--before", "yesterday"], ["--before", "#x"]],
    ids=str,
)
def test_wrong_usage(whole: Site, words: list[str]) -> None:
    assert run("archive", "-c", whole.config, *words, whole.folder / "a1").exit_code == 2


def test_readers_say_what_they_do_not_see_and_see_it_with_the_archive(pruned: Site) -> None:
    archive = ("--archive", pruned.folder / "a1")
    notice = "#0-#255 are archived and not read here: --archive FOLDER\n"
    at = ("-c", pruned.config)
    for command in (["search"], ["search", "--forwarded"], ["replay", "R-2"]):
        done = run(*command, *at)
        assert (done.exit_code, done.stderr.startswith(notice)) == (0, True), done.output
        done = run(*command, *at, *archive)
        assert (done.exit_code, notice in done.stderr) == (0, False)
    assert "R-1 " not in run("search", *at).stdout
    assert "R-1 " in run("search", *at, *archive).stdout
    assert run("replay", "R-1", *at).exit_code == 2
    assert "DELETE FROM" in run("replay", "R-1", *at, *archive).stdout
    report = run("report", *at)
    assert (report.exit_code, "archived, not looked at" in report.stdout) == (0, True)


def test_a_session_that_lasts_beyond_the_cut_is_still_somebodys_and_its_old_texts_are_in_the_archive(
    pruned: Site,
) -> None:
    def of_ivo(*more: str | Path) -> list[dict[str, object]]:
        done = run("search", "--forwarded", "--who", "ivo", "--json", "-c", pruned.config, *more)
        return [json.loads(line) for line in done.stdout.splitlines() if '"statement": null' not in line]

    assert [each["statement"] for each in of_ivo()] == ["select 3"]
    assert [each["statement"] for each in of_ivo("--archive", pruned.folder / "a1")] == [
        "select 1",
        "select 2",
        "select 3",
    ]
