"""What every test may ask for: a PostgreSQL server for the whole run, and a database of its own in it."""

import itertools
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from tests.pages import Page
from tests.pki import Pki
from tests.versions import lacking

from pgnotary.demo.postgres import EmbeddedPostgres

_numbers = itertools.count(1)

# Each has a PostgreSQL server of its own.
_MOST_PROCESSES = 4

_MEMORY = Path("/dev/shm")
# What four servers take at most, twice.
_MEMORY_BYTES = 4 << 30


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs under test, even if we were started with it ignored, as in a background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the tests marked `long` too")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run the whole suite in several processes, file by file; a choice of tests, or the slow ones, in one."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    # Two more than there are processors: many a test waits for a proxy, a server or a clock.
    return min((os.cpu_count() or 1) + 2, _MOST_PROCESSES) if whole and not config.getoption("--long") else 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _leave_out_what_the_server_lacks(items)
    if config.getoption("--long"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in set(long)]


def _leave_out_what_the_server_lacks(items: list[pytest.Item]) -> None:
    """Skip each test of a text, by the name of what is newer in it, if a server that is older would be given it."""
    for item in items:
        call = getattr(item, "callspec", None)
        if call is None or "postgres" not in getattr(item, "fixturenames", ()):
            continue
        for value in call.params.values():
            text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
            if (reason := lacking(text)) is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def own_heads(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let no approver's command of a test remember heads where a person's does, or what another test has seen."""
    monkeypatch.setenv("PGNOTARY_HEADS", str(tmp_path_factory.getbasetemp() / f"heads-{next(_numbers)}"))


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the test's own, without the test's name in it: the path of a socket may have 107 bytes."""
    return tmp_path_factory.mktemp("t")


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One server for the whole run, with room for prepared transactions."""
    with ExitStack() as opened:
        with pytest.MonkeyPatch.context() as patch:
            if _in_memory():
                patch.setattr(tempfile, "tempdir", str(_MEMORY))
            settings = {"max_connections": "200", "max_prepared_transactions": "20", "max_wal_size": "256MB"}
            server = opened.enter_context(EmbeddedPostgres(settings=settings))
        yield server


def _in_memory() -> bool:
    """Say whether the server's files may lie in memory: a copy of a database takes 25 ms there, on a disk up to 700."""
    if not _MEMORY.is_dir():
        return False
    found = os.statvfs(_MEMORY)
    # It may have to run programs from where its files are.
    return not found.f_flag & os.ST_NOEXEC and found.f_bavail * found.f_frsize > _MEMORY_BYTES


@pytest.fixture(scope="module")
def page(request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page that a module's `PAGE` names; if all tests of the module went well, each command of it was taken."""
    page, failed = Page(request.module.PAGE), request.session.testsfailed
    yield page
    tests = {name for name in vars(request.module) if name.startswith("test_")}
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    chosen = {item.originalname for item in items if item.module is request.module}
    if chosen >= tests and request.session.testsfailed == failed:
        page.check()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """An authority that signs what certificates a module's tests need."""
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def template() -> str:
    """The database that `database` is a copy of; a folder of tests may put a prepared one in its place."""
    return "template1"


@pytest.fixture
def database(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """The name of a fresh database that is gone after the test, whoever is still connected to it."""
    name = f"test_{next(_numbers)}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        if connection.info.server_version >= 150000:
            # Without fsync it is faster to copy files than to log their pages; 14 knows no other way.
            create += sql.SQL(" STRATEGY file_copy")
        connection.execute(create)
        yield name
        connection.execute(drop)
