"""A hot standby behind the proxy: reads are served, nothing is made READ WRITE; once promoted, new sessions write.

Who was connected before the promotion stays read only until they connect again: their session was opened on a standby.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from tests.flow.served import Served, until

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.demo.programs import find_bin_dir

DELETE = "DELETE FROM orders WHERE id <= 10"


class Standby(EmbeddedPostgres):
    """A copy of a running server that follows it."""

    def __init__(self, primary: EmbeddedPostgres) -> None:
        # No standby starts with less of either than its primary has.
        settings = {"max_connections": "200", "max_prepared_transactions": "20"}
        super().__init__(settings=settings, bin_dir=primary.bin_dir)
        self.primary = primary
        self.password = primary.password

    def _initdb(self) -> None:
        """Copy the primary's cluster; for a standby that is what makes one."""
        data = self._run_directory / "data"
        source = f"host={self.primary.host} port={self.primary.port} user={self.superuser}"
        subprocess.run(
            [self.bin_dir / "pg_basebackup", "-d", source, "-D", data, "-R", "-X", "stream", "-c", "fast", "--no-sync"],
            check=True,
            capture_output=True,
            env=os.environ | {"PGPASSWORD": self.password},
        )
        if self._account is not None:
            for path in (data, *data.rglob("*")):
                os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def promote(self) -> None:
        """Let it write for itself."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            assert connection.execute("SELECT pg_promote()").fetchone() == (True,)


@pytest.fixture
def standby(postgres: EmbeddedPostgres, database: str) -> Iterator[Standby]:
    """A standby that has the test's database already."""
    with Standby(postgres) as copy:
        with psycopg.connect(copy.dsn(database)) as connection:
            assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        yield copy


pytestmark = pytest.mark.skipif(
    not (find_bin_dir() / "pg_basebackup").exists(), reason="not run: pg_basebackup is not at hand"
)


def test_a_standby_is_read_and_nobody_is_asked_about_what_cannot_run_there(
    standby: Standby, database: str, tmp_path: Path
) -> None:
    with Served(standby, tmp_path / "pgnotary", hold_s=60) as served:
        script = "BEGIN;\nSELECT 'in a block ' || count(*) FROM orders;\nSHOW transaction_read_only;\nCOMMIT;\n"
        done = served.run_psql(database, "-At", "-f", "-", stdin=script)
        assert done.stdout.splitlines() == ["BEGIN", "in a block 100", "on", "COMMIT"], done.stderr
        done = served.run_psql(database, "-v", "VERBOSITY=verbose", "-c", DELETE, "-c", "SELECT 'usable'")
        assert "ERROR:  25006: cannot execute DELETE in a read-only transaction" in done.stderr
        assert "usable" in done.stdout
        assert not [entry for entry in served.entries() if entry["type"] == "request"]
        served.pgnotary("verify")


def test_after_a_promotion_new_sessions_write_and_old_ones_stay_read_only(
    standby: Standby, database: str, tmp_path: Path
) -> None:
    with Served(standby, tmp_path / "pgnotary", hold_s=60) as served, closing(served.connect(database)) as old:
        assert old.execute("SELECT count(*) FROM orders").fetchone() == (100,)
        standby.promote()
        until(lambda: old.execute("SHOW in_hot_standby").fetchone() == ("off",), "the promotion to be known")

        with served.open_psql(database, "-c", DELETE) as psql:
            served.approve()
            printed, _ = psql.communicate(timeout=30)
        assert printed.rstrip().endswith("DELETE 10")

        old.execute("BEGIN")
        assert old.execute("SHOW transaction_read_only").fetchone() == ("on",)
        old.execute("ROLLBACK")
        served.pgnotary("verify")
    with psycopg.connect(standby.primary.dsn(database)) as primary:
        assert primary.execute("SELECT count(*) FROM orders").fetchone() == (100,)
