"""`archive` that ends in the middle: whatever the step, every entry is in the ledger, in the archive, or in both."""

import itertools
import shutil
import sqlite3
from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest
from tests.archive.kept import Site
from tests.archive.running import run
from tests.store.test_faults import Faulty
from tests.verify.builder import LEDGER, PROXY_SEED, START, VKEY

from pgnotary.audit import archive as archiving
from pgnotary.audit.archive import Cut, write_archive
from pgnotary.audit.check import check
from pgnotary.audit.joined import joined
from pgnotary.errors import LedgerUnavailable
from pgnotary.ledger.checkpoint import sign
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.store import Append, sqlite
from pgnotary.store.reader import SqliteReader
from pgnotary.store.sqlite import SqliteStore


class PowerCut(BaseException):
    """Nothing that anybody catches."""


def cut_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, after: bool) -> None:
    """Let the machine stop before, or after, a call."""
    call: Callable[..., Any] = getattr(owner, name)

    @wraps(call)
    def cut(*words: Any, **named: Any) -> Any:
        if after:
            call(*words, **named)
        raise PowerCut

    @wraps(call)
    async def cut_later(*words: Any, **named: Any) -> Any:
        if after:
            await call(*words, **named)
        raise PowerCut

    monkeypatch.setattr(owner, name, cut_later if iscoroutinefunction(call) else cut)


STEPS = [
    (archiving, "export_folder"),
    (Path, "rename"),
    (SqliteStore, "prune"),
    (sqlite, "rewritten"),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("owner", "name"), STEPS, ids=[name for _, name in STEPS])
def test_an_archive_that_is_cut_off_at_a_step_loses_nothing_and_can_be_made_again(
    whole: Site, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, after: bool
) -> None:
    folder = whole.folder / "a1"
    with monkeypatch.context() as faults:
        cut_at(faults, owner, name, after=after)
        with pytest.raises(PowerCut):
            run("archive", "-c", whole.config, "--before", "256", folder)
    is_pruned = (name, after) in {("prune", True), ("rewritten", False), ("rewritten", True)}
    assert everything(whole, folder if is_pruned else None)
    # Never is there a folder of this name that is not a whole archive.
    if folder.exists():
        assert run("verify", folder).exit_code == 0
    # Once more, into another folder; what is done already is only tidied.
    done = run("archive", "-c", whole.config, "--before", "256", whole.folder / "a2")
    assert done.exit_code == 0, done.output
    assert ("nothing to archive" in done.stdout) == is_pruned
    assert everything(whole, folder if is_pruned else whole.folder / "a2")
    db = sqlite3.connect(whole.ledger)
    assert db.execute("PRAGMA freelist_count").fetchall() == [(0,)]
    db.close()


def everything(site: Site, archive: Path | None) -> bool:
    """Whether the ledger, with that archive if there is one, is whole from its first entry on."""
    words: list[str | Path] = ["--archive", archive] if archive else []
    done = run("verify", "-c", site.config, *words)
    assert done.exit_code == 0, done.output
    return "#0-#60" in done.stdout


@pytest.mark.parametrize("happens", [False, True], ids=["nothing happened", "it happened"])
async def test_a_disk_that_fails_at_any_statement_of_the_pruning_leaves_all_or_takes_all(
    first_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, happens: bool
) -> None:
    with SqliteReader(first_site.ledger) as reader:
        told, base = write_archive(
            reader, Cut(0, 256, ""), tmp_path / "a", VKEY, lambda head: sign(head, LEDGER, PROXY_SEED)
        )
    faulty = Faulty(monkeypatch)
    seen = set()
    for n in itertools.count():
        path = tmp_path / f"{n}.db"
        shutil.copy(first_site.ledger, path)
        store = await SqliteStore.open(path, LEDGER, PROXY_SEED, now=lambda: START)
        faulty.happens = happens
        faulty.after(n)
        try:
            await store.prune(told, base)
            done = True
        except LedgerUnavailable:
            done = False
        has_failed = faulty.stop()
        assert state(path) == REST if done else state(path) in (ALL, REST)
        seen.add(state(path))
        # It finds out what has happened, and goes on from there.
        [receipts] = await store.append([[Append(Draft(EntryType.STOPPED, {"why": "asked to"}))]])
        assert isinstance(receipts, list)
        assert receipts[0].entry.position.seq == (607 if state(path)[0] == 1 else 608)
        await store.close()
        if not has_failed:
            break
    assert n > 15
    assert seen == {ALL, REST}
    with SqliteReader(path) as reader:
        assert check(joined(reader, [tmp_path / "a"]), VKEY).entries == 609


ALL, REST = (1, 0, 7), (2, 256, 4)


def state(path: Path) -> tuple[int, int, int]:
    """Version, first entry and number of sealed values of a file."""
    db = sqlite3.connect(path)
    try:
        [row] = db.execute(
            "SELECT (SELECT user_version FROM pragma_user_version), (SELECT min(seq) FROM entry), "
            "(SELECT count(*) FROM sealed)"
        )
        return row[0], row[1], row[2]
    finally:
        db.close()
