"""One ledger that is written once, and a fresh copy of its folder for each test; and one that has been archived."""

import asyncio
import shutil
from pathlib import Path

import pytest
from tests.archive.kept import Site, big_ledger, site
from tests.archive.running import run
from tests.verify.builder import Ledger


@pytest.fixture(scope="module")
def made() -> Ledger:
    return big_ledger()


@pytest.fixture(scope="module")
def first_site(made: Ledger, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return asyncio.run(site(tmp_path_factory.mktemp("whole"), made))


@pytest.fixture(scope="module")
def archived_site(first_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Site:
    copied = copy(first_site, tmp_path_factory.mktemp("pruned") / "site")
    assert run("archive", "-c", copied.config, "--before", "#400", copied.folder / "a1").exit_code == 0
    return copied


def copy(of: Site, to: Path) -> Site:
    shutil.copytree(of.folder, to)
    return Site(to)


@pytest.fixture
def whole(first_site: Site, tmp_path: Path) -> Site:
    """Everything is in the ledger."""
    return copy(first_site, tmp_path / "site")


@pytest.fixture
def pruned(archived_site: Site, tmp_path: Path) -> Site:
    """#0-#255 are in the folder a1, the ledger begins with #256."""
    return copy(archived_site, tmp_path / "pruned")
