"""Which SQLite is refused, which is warned about, and which passes without a word."""

import pytest

from pgnotary.errors import ConfigError
from pgnotary.store.sqlite_version import Version, check_version, sqlite_version


@pytest.mark.parametrize("version", [(3, 7, 0), (3, 35, 0), (3, 37, 1)])
def test_a_version_that_may_damage_a_ledger_is_refused(version: Version) -> None:
    with pytest.raises(ConfigError, match=r"which may damage a ledger: expected 3\.37\.2 or newer"):
        check_version(version)


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ((3, 37, 2), "WAL-reset"),
        ((3, 40, 1), "WAL-reset"),
        ((3, 44, 5), "WAL-reset"),
        ((3, 45, 0), "WAL-reset"),
        ((3, 50, 6), "WAL-reset"),
        ((3, 51, 2), "WAL-reset"),
        ((3, 52, 0), "withdrawn"),
    ],
)
def test_a_version_with_a_known_bug_is_warned_about(version: Version, why: str) -> None:
    assert why in (check_version(version) or "")


@pytest.mark.parametrize("version", [(3, 44, 6), (3, 50, 7), (3, 51, 3), (3, 53, 0), (4, 0, 0)])
def test_a_version_without_one_passes(version: Version) -> None:
    assert check_version(version) is None


def test_the_one_that_is_used_here_may_be_used() -> None:
    check_version(sqlite_version())
