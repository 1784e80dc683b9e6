"""docs/archive.md is true: its commands, typed beside the configuration of a ledger that was archived once before."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.archive.kept import SEGMENT, Site, fill, life, site
from tests.pages import Page, run
from tests.verify.builder import LEDGER, PROXY_SEED, VKEY, Ledger

from pgnotary.audit.archive import Wish, choose, write_archive
from pgnotary.ledger.checkpoint import sign
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.ledger.remembered import heads_text, remembered
from pgnotary.store import Append
from pgnotary.store.place import locked
from pgnotary.store.reader import SqliteReader
from pgnotary.store.sqlite import SqliteStore

PAGE = "archive.md"
SESSION = "S-00000001"


async def _archived_before(place: Site, when: datetime) -> None:
    """Archive the first segment, at another time than now, and let as much follow as makes another one."""
    store = await SqliteStore.open(place.ledger, LEDGER, PROXY_SEED, now=lambda: when)
    try:
        with SqliteReader(place.ledger) as reader:
            cut = choose(reader, Wish(keep=0), SEGMENT)
            folder = place.folder / "archives" / "2025-10"
            made = write_archive(reader, cut, folder, VKEY, lambda head: sign(head, LEDGER, PROXY_SEED))
        await store.prune(*made)
        await store.erase()
        more = Append(Draft(EntryType.FORWARDED, {"summaries": [Ledger().summary()]}, SESSION))
        await store.append([[more] * SEGMENT])
    finally:
        await store.close()


@pytest.fixture
def aged(tmp_path: Path) -> Site:
    """#0-#255 are in archives/2025-10; R-17 and what comes next are some months old."""
    now = datetime.now(UTC)
    ledger = Ledger(keeps=False, clock=now - timedelta(days=400)).start()
    ledger.open_session(SESSION)
    life(ledger, "R-1")
    fill(ledger, 300, SESSION)
    life(ledger, "R-17")
    ledger.notes.append(ledger.sign())
    place = asyncio.run(site(tmp_path, ledger))
    (place.folder / "archives").mkdir()
    asyncio.run(_archived_before(place, now - timedelta(days=120)))
    return place


def test_what_is_old_is_archived_while_the_proxy_is_stopped_and_all_archives_verify_with_the_rest(
    page: Page, aged: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(aged.folder)
    archive = page.take("pgnotary archive").words()
    # What systemd does to a proxy is to take the ledger's lock from it, and to give it back.
    lock = locked(aged.ledger)
    assert "is in use by process" in run(*archive).stderr
    assert page.take("systemctl stop").text.endswith(" pgnotary")
    os.close(lock)
    done = run(*archive)
    assert done.stdout.startswith("archived #256-#511 in "), done.output
    assert page.take("systemctl start").text.endswith(" pgnotary")
    lock = locked(aged.ledger)
    done = run(*page.take("pgnotary verify --archive archives").words())
    assert (done.exit_code, "ok  564 entries (#0-#563)" in done.stdout) == (0, True), done.output
    assert run("verify").exit_code == 2
    # What is archived is told with its archive alone.
    assert "DELETE FROM orders" not in run("replay", "R-17").output
    done = run(*page.take("replay R-17").words({"FOLDER": "archives/2026-10"}))
    assert (done.exit_code, "DELETE FROM orders" in done.stdout) == (0, True), done.output
    os.close(lock)


def test_a_remembered_head_is_in_the_archive(
    page: Page, made: Ledger, pruned: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pruned.folder)
    heads, mark = pruned.folder / ".local/state/pgnotary/heads", pruned.folder / "mark"
    heads.parent.mkdir(parents=True)
    by_heads = page.take("pgnotary verify --archive FOLDER").words({"FOLDER": "a1", "~": pruned.folder})
    by_mark = page.take("verify --archive FOLDER").words({"FOLDER": "a1", "MARK": mark})
    other = Ledger(keeps=False).start()
    fill(other, 200, SESSION)
    for note, is_good in ((made.sign(200), True), (other.sign(), False)):
        heads.write_text(heads_text([remembered(note, VKEY, datetime.now(UTC))]))
        mark.write_text(note)
        for command in (by_heads, by_mark):
            done = run(*command)
            # By heads, the entries that nobody has seen yet are a gap.
            assert done.exit_code == (1 if not is_good else 2 if command is by_heads else 0), done.output
            assert ("FAIL" in done.stdout) is not is_good
