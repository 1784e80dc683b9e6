"""Drivers as they are, behind one face: delete some orders, count them, break off what waits.

A statement of a driver comes in and goes to the proxy through that driver alone, with its defaults and autocommit; the
number of rows leaves, or `Refused` with the driver's own error as its cause. Nothing here decides or looks behind.
"""

import asyncio
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from os import environ
from pathlib import Path
from shutil import which
from typing import Any, Protocol

import asyncpg
import pg8000.native
import psycopg
from sqlalchemy import create_engine, text
from sqlalchemy import exc as alchemy
from sqlalchemy.pool import NullPool
from tests.flow.served import PASSWORD, Served

__all__ = ["DRIVERS", "JDBC", "Driver", "Refused"]

_DEBIAN_JDBC = Path("/usr/share/java/postgresql.jar")
_PROGRAM = Path(__file__).with_name("Jdbc.java")


class Refused(Exception):
    """What the driver raised is the cause; here is what it said."""

    def __init__(self, sqlstate: str | None, words: str) -> None:
        super().__init__(words)
        self.sqlstate = sqlstate
        """None: the driver tells none, as the answer never reached it."""


class Driver(Protocol):
    """One connection of one driver."""

    def delete(self, most: int) -> int:
        """Delete the orders with an id up to `most` and return how many the driver says there were."""

    def count(self) -> int:
        """Count the orders over the same connection."""

    def cancel(self) -> None:
        """Break off the delete that waits, from another thread, as this driver's users would."""


class Psql:
    """Each delete is a psql of its own, which counts afterwards; Ctrl-C breaks off."""

    def __init__(self, served: Served, database: str) -> None:
        self._served, self._database = served, database
        self._psql: subprocess.Popen[str] | None = None
        self._counted = ""

    def delete(self, most: int) -> int:
        statement = f"DELETE FROM orders WHERE id <= {most}"
        arguments = ("-At", "-v", "VERBOSITY=verbose", "-c", statement, "-c", "SELECT 'counted', count(*) FROM orders")
        with self._served.open_psql(self._database, *arguments) as self._psql:
            printed, _ = self._psql.communicate(timeout=30)
        self._counted = printed
        if error := re.search(r"^ERROR:  (\w{5}): (.*)", printed, re.MULTILINE):
            raise Refused(error[1], error[2])
        return _number(r"^DELETE (\d+)$", printed)

    def count(self) -> int:
        return _number(r"^counted\|(\d+)$", self._counted)

    def cancel(self) -> None:
        assert self._psql is not None
        self._psql.send_signal(signal.SIGINT)


def _number(pattern: str, printed: str) -> int:
    found = re.search(pattern, printed, re.MULTILINE)
    assert found, printed
    return int(found[1])


@contextmanager
def _psql(served: Served, database: str) -> Iterator[Driver]:
    yield Psql(served, database)


class Psycopg:
    """psycopg 3, which binds on the server."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def delete(self, most: int) -> int:
        try:
            return self._connection.execute("DELETE FROM orders WHERE id <= %s", [most]).rowcount
        except psycopg.Error as error:
            raise Refused(error.sqlstate, str(error)) from error

    def count(self) -> int:
        row = self._connection.execute("SELECT count(*) FROM orders").fetchone()
        assert row is not None
        return int(row[0])

    def cancel(self) -> None:
        self._connection.cancel_safe()


@contextmanager
def _psycopg(served: Served, database: str) -> Iterator[Driver]:
    with served.connect(database, cursor_factory=psycopg.Cursor) as connection:
        yield Psycopg(connection)


class Asyncpg:
    """asyncpg in an event loop of its own; who cancels the task cancels the statement."""

    def __init__(self, runner: asyncio.Runner, connection: asyncpg.Connection) -> None:
        self._runner, self._connection = runner, connection
        self._task: asyncio.Task[str] | None = None

    def delete(self, most: int) -> int:
        try:
            return int(self._runner.run(self._delete(most)).removeprefix("DELETE "))
        except asyncpg.PostgresError as error:
            raise Refused(error.sqlstate, str(error)) from error
        except asyncio.CancelledError as error:
            raise Refused(None, str(error)) from error

    async def _delete(self, most: int) -> str:
        self._task = asyncio.current_task()
        return str(await self._connection.execute("DELETE FROM orders WHERE id <= $1", most))

    def count(self) -> int:
        return int(self._runner.run(self._connection.fetchval("SELECT count(*) FROM orders")))

    def cancel(self) -> None:
        assert self._task is not None
        self._runner.get_loop().call_soon_threadsafe(self._task.cancel)


@contextmanager
def _asyncpg(served: Served, database: str) -> Iterator[Driver]:
    with asyncio.Runner() as runner:
        connecting = asyncpg.connect(
            host="127.0.0.1", port=served.port, user="eva", password=PASSWORD, database=database
        )
        connection = runner.run(connecting)
        try:
            yield Asyncpg(runner, connection)
        finally:
            runner.run(connection.close())


class Pg8000:
    """pg8000, which has no cancel: who does not want to wait closes the socket."""

    def __init__(self, connection: pg8000.native.Connection, wire: socket.socket) -> None:
        self._connection, self._wire = connection, wire

    def delete(self, most: int) -> int:
        try:
            self._connection.run("DELETE FROM orders WHERE id <= :most", most=most)
        except pg8000.exceptions.DatabaseError as error:
            raise Refused(error.args[0]["C"], error.args[0]["M"]) from error
        except pg8000.exceptions.InterfaceError as error:
            raise Refused(None, str(error)) from error
        return int(self._connection.row_count)

    def count(self) -> int:
        return int(self._connection.run("SELECT count(*) FROM orders")[0][0])

    def cancel(self) -> None:
        self._wire.shutdown(socket.SHUT_RDWR)


@contextmanager
def _pg8000(served: Served, database: str) -> Iterator[Driver]:
    with socket.create_connection(("127.0.0.1", served.port)) as wire:
        connection = pg8000.native.Connection("eva", password=PASSWORD, database=database, sock=wire)
        yield Pg8000(connection, wire)


class SqlAlchemy:
    """SQLAlchemy over psycopg; it wraps the driver's error and lets the driver cancel."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def delete(self, most: int) -> int:
        try:
            return int(self._connection.execute(text("DELETE FROM orders WHERE id <= :most"), {"most": most}).rowcount)
        except alchemy.DBAPIError as error:
            raise Refused(getattr(error.orig, "sqlstate", None), str(error.orig)) from error

    def count(self) -> int:
        return int(self._connection.execute(text("SELECT count(*) FROM orders")).scalar_one())

    def cancel(self) -> None:
        self._connection.connection.driver_connection.cancel_safe()


@contextmanager
def _sqlalchemy(served: Served, database: str) -> Iterator[Driver]:
    url = f"postgresql+psycopg://eva:{PASSWORD}@127.0.0.1:{served.port}/{database}"
    with create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        yield SqlAlchemy(connection)


class Jdbc:
    """The JDBC driver in a small Java program that takes a command a line and answers with one."""

    def __init__(self, java: subprocess.Popen[str]) -> None:
        self._java = java

    def _ask(self, command: str) -> int:
        assert self._java.stdout is not None
        self._say(command)
        answer = self._java.stdout.readline().rstrip("\n")
        word, _, rest = answer.partition(" ")
        if word == "error":
            raise Refused(rest[:5], rest[6:])
        assert word == "rows", answer
        return int(rest)

    def _say(self, command: str) -> None:
        assert self._java.stdin is not None
        self._java.stdin.write(command + "\n")
        self._java.stdin.flush()

    def delete(self, most: int) -> int:
        return self._ask(f"delete {most}")

    def count(self) -> int:
        return self._ask("count")

    def cancel(self) -> None:
        self._say("cancel")


def _jar() -> str | None:
    """Return a class path with the driver: Java's own variable, or Debian's libpostgresql-jdbc-java."""
    named = environ.get("CLASSPATH", "")
    if "postgresql" in named:
        return named
    return str(_DEBIAN_JDBC) if _DEBIAN_JDBC.exists() else None


JDBC = bool(which("java") and _jar())
"""Whether Java and its driver are at hand."""


@contextmanager
def _jdbc(served: Served, database: str) -> Iterator[Driver]:
    url = f"jdbc:postgresql://127.0.0.1:{served.port}/{database}"
    # The compiler may warn about the class path, in whatever release; only what the program answers is read.
    command = ["java", "-cp", _jar() or "", str(_PROGRAM), url, "eva", PASSWORD]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as java:
        try:
            yield Jdbc(java)
        finally:
            java.kill()


DRIVERS = {
    "psql": _psql,
    "psycopg": _psycopg,
    "asyncpg": _asyncpg,
    "pg8000": _pg8000,
    "SQLAlchemy": _sqlalchemy,
    "JDBC": _jdbc,
}
