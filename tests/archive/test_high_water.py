"""The mark that is kept elsewhere, and backups, of a ledger that is archived."""

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.archive.kept import Site
from tests.archive.running import run
from tests.verify.builder import LEDGER, PROXY_SEED, START, VKEY, Ledger

from pgnotary.audit.check import check
from pgnotary.audit.joined import joined
from pgnotary.cli import pgnotary
from pgnotary.ledger.checkpoint import verify
from pgnotary.store.backup import back_up
from pgnotary.store.high_water import Contradiction, HighWater, contradiction
from pgnotary.store.reader import SqliteReader
from pgnotary.store.sqlite import SqliteStore


@pytest.fixture
def marked(whole: Site) -> Site:
    """A site that keeps a mark."""
    (whole.folder / "elsewhere").mkdir()
    text = whole.config.read_text().replace("segment =", 'high_water = "elsewhere/mark"\nsegment =')
    whole.config.write_text(text)
    return whole


def mark(site: Site) -> Path:
    return site.folder / "elsewhere" / "mark"


def note(site: Site, size: int) -> str:
    with SqliteReader(site.ledger) as reader:
        return next(each for each in reader.checkpoints() if verify(each, VKEY).size == size)


def found(site: Site) -> Contradiction | None:
    """What the next start will say."""

    async def look() -> Contradiction | None:
        store = await SqliteStore.open(site.ledger, LEDGER, PROXY_SEED, now=lambda: START)
        try:
            return await contradiction(HighWater(mark(site), VKEY).read(), store)
        finally:
            await store.close()

    return asyncio.run(look())


def archive(site: Site, name: str = "a1", before: str = "#400") -> tuple[int, str]:
    done = run("archive", "-c", site.config, "--before", before, site.folder / name)
    return done.exit_code, done.output


def test_the_mark_is_behind_the_cut_before_anything_is_deleted(marked: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark that was written long ago is brought forward first, so that a kill in between leaves one that extends."""
    mark(marked).write_text(note(marked, 300))
    # The cut will be at #512.
    seen: list[int] = []
    prune = SqliteStore.prune

    async def watched(store: SqliteStore, *words: object) -> None:
        seen.append(verify(mark(marked).read_text(), VKEY).size)
        await prune(store, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(SqliteStore, "prune", watched)
    assert archive(marked, before="#520")[0] == 0
    assert seen == [607]
    assert verify(mark(marked).read_text(), VKEY).size == 608
    assert found(marked) is None
    # What a kill right behind the pruning would have left.
    with SqliteReader(marked.ledger) as reader:
        assert check(joined(reader, [marked.folder / "a1"]), VKEY).entries == 608


def test_a_mark_from_before_the_archiving_is_extended_as_long_as_it_is_not_below_the_cut(marked: Site) -> None:
    kept = {size: note(marked, size) for size in (300, 607)}
    mark(marked).write_text(kept[607])
    assert archive(marked)[0] == 0
    for each in kept.values():
        mark(marked).write_text(each)
        assert found(marked) is None


def test_a_mark_from_below_the_cut_is_not_called_extended_and_the_archive_compares_it(marked: Site) -> None:
    old, size = note(marked, 300), 300
    mark(marked).write_text(old)
    assert archive(marked, before="#520")[0] == 0
    # Somebody puts the old one back.
    mark(marked).write_text(old)
    told = found(marked)
    assert told is not None
    assert (told.why, told.fields["size"]) == ("archived", size)
    assert "those before #512 are archived" in told.message
    # Nor is the ledger archived further.
    status, said = archive(marked, "a2", "#520")
    assert (status, "nothing was archived" in said) == (5, True), said
    # As it says:
    words = ("verify", "-c", marked.config, "--checkpoint", mark(marked))
    assert "not compared" in run(*words).stdout
    done = run(*words, "--archive", marked.folder / "a1")
    assert (done.exit_code, "FAIL" in done.stdout, "not compared" in done.stdout) == (0, False, False), done.stdout


@pytest.mark.parametrize("what", ["missing", "ahead"])
def test_a_ledger_that_does_not_extend_its_mark_is_not_archived(marked: Site, what: str) -> None:
    if what == "ahead":
        # A copy from before the last archive was put back.
        old = marked.ledger.read_bytes()
        mark(marked).write_text(note(marked, 607))
        assert archive(marked)[0] == 0
        marked.ledger.write_bytes(old)
        for end in ("-wal", "-shm"):
            marked.ledger.with_name(marked.ledger.name + end).unlink(missing_ok=True)
    status, said = archive(marked, "a2")
    assert status == 5, said
    assert "nothing was archived" in said
    assert not (marked.folder / "a2").exists()
    with SqliteReader(marked.ledger) as reader:
        assert check(reader, VKEY).entries == 607


def test_a_mark_that_cannot_be_written_keeps_everything_in_the_ledger(
    marked: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark(marked).write_text(note(marked, 300))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(HighWater, "write", full)
        status, said = archive(marked)
    assert status != 0
    assert "the high-water mark cannot be written: No space left on device" in said
    assert "nothing was deleted" in said
    with SqliteReader(marked.ledger) as reader:
        assert reader.base() is None
        assert check(reader, VKEY).entries == 607


def test_a_backup_of_a_pruned_ledger_is_one_and_goes_on_as_one(pruned: Site, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with SqliteReader(pruned.ledger) as reader:
        summary = back_up(reader, copy, lambda of: check(of, VKEY))
    assert (summary.archived, summary.entries) == (256, 608)
    done = CliRunner().invoke(pgnotary, ["backup", "-c", str(pruned.config), str(tmp_path / "by-command.db")])
    assert (done.exit_code, "#0-#255 are archived, and not in it" in done.stdout) == (0, True), done.exception
    for path in (copy, tmp_path / "by-command.db"):
        status = run("verify", "--ledger", path, "--key", VKEY).exit_code
        together = run("verify", "--ledger", path, "--key", VKEY, "--archive", pruned.folder / "a1").exit_code
        assert (status, together) == (2, 0)

    async def start() -> int:
        store = await SqliteStore.open(copy, LEDGER, PROXY_SEED, now=lambda: START)
        try:
            assert (store.first, store.is_erasing()) == (256, False)
            return store.head().size
        finally:
            await store.close()

    assert asyncio.run(start()) == 608


def test_who_went_on_beside_a_mark_that_nobody_compared_is_told_so_for_ever() -> None:
    ledger = Ledger().start(abandoned={"why": "archived", "size": 300, "root": "ab" * 32})
    [lack] = check(ledger, VKEY).lacks
    assert lack == (
        "#0 went on beside a high-water mark over 300 entries, root abababab: they were archived, "
        "and nobody compared them then"
    )
