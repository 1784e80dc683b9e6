"""What a database's catalog says, asked directly: a connection string enters, a `View` leaves, nothing is changed.

The same two questions that the proxy asks, in one read-only snapshot, as the role that the string names, with a limit
on their time. The search_path that they run under is our own: that of the role is only read. No password is repeated
in an error.
"""

from contextlib import suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.string import TextLoader

from pgnotary.cli.exits import Exit, Failed
from pgnotary.cli.judging import View
from pgnotary.judge.asked import FUNCTIONS_QUESTION, grown, reach_question, read_catalog, read_functions
from pgnotary.judge.scoped import SCOPE_QUESTIONS, read_scope

__all__ = ["view_of"]

_CONNECT_TIMEOUT_S = "5"


def view_of(url: str) -> View:
    """Return what the catalog behind a connection string says; raises Failed."""
    named: dict[str, Any] = {}
    # Its message may quote a password.
    with suppress(psycopg.ProgrammingError):
        named = conninfo_to_dict(url)
    if not named:
        raise Failed("--database: expected a URL such as postgresql://user@host:5432/shop", Exit.USAGE)
    named = {"connect_timeout": _CONNECT_TIMEOUT_S, "application_name": "pgnotary", **named, "client_encoding": "UTF8"}
    try:
        connection = psycopg.connect(make_conninfo(**named), autocommit=True, prepare_threshold=None)
    except psycopg.Error as error:
        raise Failed(f"--database: {_one_line(error)}", Exit.UNREACHABLE) from error
    with connection:
        try:
            return _view(connection)
        except psycopg.Error as error:
            status = Exit.UNREACHABLE if connection.broken else Exit.FAILED
            raise Failed(f"--database: its catalog cannot be read: {_one_line(error)}", status) from error
        except ValueError as error:
            raise Failed(f"--database: {error}", Exit.FAILED) from error


def _view(connection: psycopg.Connection[Any]) -> View:
    if (encoding := connection.info.parameter_status("server_encoding")) != "UTF8":
        raise ValueError(f"its encoding is {encoding}; pgnotary serves UTF8 alone")
    # An answer is read by `asked`, from its text.
    connection.adapters.register_loader("json", TextLoader)
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    connection.execute("SET LOCAL statement_timeout = '10s'")
    path, role, _ = _row(connection, SCOPE_QUESTIONS[0])
    (database,) = _row(connection, "SELECT pg_catalog.current_database()")
    connection.execute("SET LOCAL search_path = pg_catalog")
    functions = read_functions(_answer(connection, FUNCTIONS_QUESTION))
    while (more := grown(functions, answer := _answer(connection, reach_question(functions)))) != functions:
        functions = more
    catalog = read_catalog(functions, answer)
    connection.execute("ROLLBACK")
    return View(catalog, read_scope(path, role, None), database)


def _answer(connection: psycopg.Connection[Any], question: str) -> str:
    return str(_row(connection, question)[0])


def _row(connection: psycopg.Connection[Any], question: str) -> tuple[Any, ...]:
    row = connection.execute(question.encode()).fetchone()
    if row is None:
        raise ValueError("its catalog gave no answer")
    return tuple(row)


def _one_line(error: psycopg.Error) -> str:
    return " ".join(str(error).split())
