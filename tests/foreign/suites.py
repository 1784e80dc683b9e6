"""The foreign suites we know: which of their files a run needs, and how they are told where the server is.

Nothing of a suite stands here. Its files are copied beside themselves for a run, without the driver's own sources: the
driver that is tested is the one installed in the Python that runs the tests.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["SUITES", "Place", "Suite"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a suite finds PostgreSQL, and as whom it comes."""

    host: str
    port: int
    user: str
    password: str
    database: str

    @classmethod
    def at(cls, address: str, user: str, password: str, database: str) -> "Place":
        """Return the place for host:port."""
        parts = urlsplit(f"//{address}")
        assert parts.hostname is not None
        assert parts.port is not None
        return cls(parts.hostname, parts.port, user, password, database)


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite that pytest runs."""

    name: str
    needs: tuple[str, ...]
    """Files and folders of the checkout; nothing else of it is there when the tests run."""
    modules: tuple[str, ...]
    """What the Python that runs them must have."""
    arguments: tuple[str, ...]
    environment: Callable[[Place], Mapping[str, str]]


def _psycopg(place: Place) -> dict[str, str]:
    words = {
        "host": place.host,
        "port": place.port,
        "user": place.user,
        "password": place.password,
        "dbname": place.database,
    }
    return {"PSYCOPG_TEST_DSN": " ".join(f"{name}={value}" for name, value in words.items())}


def _asyncpg(place: Place) -> dict[str, str]:
    # With PGHOST its tests take a running server instead of starting their own.
    return {
        "PGHOST": place.host,
        "PGPORT": str(place.port),
        "PGUSER": place.user,
        "PGPASSWORD": place.password,
        "PGDATABASE": place.database,
    }


SUITES = {
    suite.name: suite
    for suite in (
        Suite("psycopg", ("tests", "pyproject.toml"), ("psycopg", "psycopg_pool"), ("-m", "not slow"), _psycopg),
        # The one that is ignored reads the driver's own sources.
        Suite(
            "asyncpg",
            ("tests", "pyproject.toml"),
            ("asyncpg", "distro"),
            ("--ignore=tests/test__sourcecode.py",),
            _asyncpg,
        ),
    )
}
