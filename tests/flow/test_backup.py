"""Backup, restore and the mark that is kept elsewhere, over the real commands; and a proxy that signs its silence."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.check import check_ledger
from tests.flow.forked import Forked
from tests.flow.served import PATIENCE_S, Served, until
from tests.flow.test_witnesses import Machine, approved, put_back, refused, verify
from tests.pages import Page, run

from pgnotary.audit import standalone
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.ledger.checkpoint import verify as read_note

PAGE = "backup.md"


class Marked(Served):
    """A proxy whose newest head is kept on another volume, and whose heart beats each second."""

    @property
    def mark(self) -> Path:
        return self.folder.parent / "volume" / "high-water"

    @property
    def vkey(self) -> str:
        return (self.folder / "proxy.vkey").read_text().strip()

    @property
    def marked(self) -> int:
        return read_note(self.mark.read_text(), self.vkey).size

    def begin(self, *more: str) -> tuple[int, str]:
        """Try to start, and return how that was refused."""
        said = self.folder / "refused.log"
        said.unlink(missing_ok=True)
        status = Forked(["serve", "--config", str(self.config), *more], said).wait(PATIENCE_S)
        return status, said.read_text()


@pytest.fixture
def proxy(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Marked]:
    served = Marked(postgres, tmp_path / "pgnotary", hold_s=60)
    served.mark.parent.mkdir()
    text = served.config.read_text()
    served.config.write_text(text.replace("[ledger]\n", f'[ledger]\nheartbeat_s = 1\nhigh_water = "{served.mark}"\n'))
    try:
        served.start()
        yield served
    finally:
        served.stop()


def test_a_restored_older_copy_is_refused_at_the_start_and_what_is_given_up_is_told_for_ever(
    proxy: Marked, page: Page, database: str, tmp_path: Path
) -> None:
    # It lives, and signs that it has nothing to tell.
    beat = until(lambda: [entry for entry in proxy.entries() if entry["type"] == "heartbeat"], "a heartbeat")[0]
    assert beat["body"].keys() == {"up_ms", "clock", "sessions", "held"}
    assert proxy.entries()[0]["body"]["sqlite"] == sqlite3.sqlite_version
    copy = tmp_path / "backup.db"
    said = proxy.pgnotary(*page.take("pgnotary backup").words({"/backup/ledger-2026-11-27.db": copy}))
    key = proxy.folder / "proxy.vkey"
    checked = run(*page.take("pgnotary verify --ledger").words({"FILE": copy, "proxy.vkey": key}))
    assert checked.exit_code == 0, checked.output
    size = len(check_ledger(copy, proxy.vkey))
    assert f"{copy}: {copy.stat().st_size:,} bytes, {size:,} entries of tests.localhost/flow, head " in said
    # Killed, it leaves a mark that its ledger extends.
    assert proxy.run_psql(database, "-c", "SELECT 1").returncode == 0
    proxy.stop(signal.SIGKILL)
    proxy.start()
    assert proxy.run_psql(database, "-c", "SELECT 2").returncode == 0
    proxy.stop()
    whole = len(proxy.entries())
    assert proxy.marked == whole > size
    proxy.pgnotary("verify")

    put_back(proxy, copy)
    status, said = proxy.begin()
    assert status == 5
    assert f"the ledger has {size} entries, its high-water mark says that {whole} were signed" in said
    assert "start once with --new-high-water, which is recorded" in said
    assert [entry["seq"] for entry in proxy.entries()] == list(range(size))
    assert proxy.marked == whole
    # No ledger at all is no better, and none is made.
    proxy.ledger.rename(copy)
    assert proxy.begin()[0] == 5
    assert not proxy.ledger.exists()
    copy.rename(proxy.ledger)

    again = page.take("serve --new-high-water").words()
    proxy.process = Forked([*again, "--config", str(proxy.config)], proxy.folder / "serve.log")
    until(proxy._is_up, "the proxy to listen")
    proxy.stop()
    started = [entry for entry in proxy.entries()[size:] if entry["type"] == "proxy-started"]
    assert proxy.marked == len(proxy.entries())
    assert started[0]["body"]["abandoned"].keys() == {"why", "size", "root"}
    assert started[0]["body"]["abandoned"]["size"] == whole
    assert f"gap  #{size} gave up a head over {whole} entries" in proxy.pgnotary("verify", expected=2)
    # Who leaves the option in the unit file is told so: the next restored copy would pass unseen.
    status, said = proxy.begin("--new-high-water")
    assert (status, "leave --new-high-water out" in said) == (2, True)
    proxy.start()
    proxy.stop()
    folder = tmp_path / "evidence"
    proxy.pgnotary("export", str(folder))
    command = [sys.executable, standalone.__file__, str(folder), "--key", proxy.vkey]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "gave up the head" in done.stdout) == (2, True), done.stdout + done.stderr


def test_a_mark_that_is_missing_foreign_or_garbage_is_said_before_anything_is_written(proxy: Marked) -> None:
    proxy.stop()
    entries, mark = len(proxy.entries()), proxy.mark.read_text()
    proxy.mark.unlink()
    assert "is missing: put it back" in proxy.begin()[1]
    proxy.mark.write_text("garbage")
    assert "is not a checkpoint under this ledger's key" in proxy.begin()[1]
    proxy.mark.write_text(mark.replace("tests.localhost/flow", "tests.localhost/other"))
    for more in ((), ("--new-high-water",)):
        assert proxy.begin(*more)[0] == 2
    assert len(proxy.entries()) == entries
    proxy.mark.write_text(mark)
    proxy.start()


def test_without_a_mark_a_backup_that_is_restored_is_not_signed_over_by_who_has_seen_more(
    own_proxy: Served, database: str, tmp_path: Path
) -> None:
    (tmp_path / "bo").mkdir()
    bo = Machine(tmp_path / "bo")
    approved(own_proxy, database, bo)
    copy = tmp_path / "backup.db"
    own_proxy.pgnotary("backup", str(copy))
    for _ in range(2):
        approved(own_proxy, database, bo)
    own_proxy.stop()
    put_back(own_proxy, copy)
    own_proxy.start()
    assert "restored from an older copy, cut, or begun anew" in refused(own_proxy, database, bo)
    assert "and what follows is missing" in verify(own_proxy, bo, expected=1)
    # A ledger that somebody has edited makes no backup.
    own_proxy.stop()
    put_back(own_proxy, copy)
    with sqlite3.connect(own_proxy.ledger) as db:
        db.execute("UPDATE sealed SET value = x'00'")
    db.close()
    other = tmp_path / "other.db"
    assert "FAIL  " in own_proxy.pgnotary("backup", str(other), expected=1)
    assert not other.exists()
