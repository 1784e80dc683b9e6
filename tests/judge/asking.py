"""What a database and a session in it are known as: the questions that the proxy asks, put by psycopg."""

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import pq
from psycopg.types.string import TextLoader

from pgnotary.judge.asked import FUNCTIONS_QUESTION, grown, reach_question, read_catalog, read_functions
from pgnotary.judge.catalog import Catalog
from pgnotary.judge.scope import Scope
from pgnotary.judge.scoped import SCOPE_QUESTIONS, read_scope

__all__ = ["catalog_by", "catalog_of", "first_error", "scope_of"]


def catalog_by(ask: Callable[[str], str]) -> Catalog:
    """Return the catalog of a database; `ask` puts a question of one row and one column and returns that as text."""
    functions = read_functions(ask(FUNCTIONS_QUESTION))
    while (more := grown(functions, answer := ask(reach_question(functions)))) != functions:
        functions = more
    return read_catalog(functions, answer)


def catalog_of(connection: psycopg.Connection[Any]) -> Catalog:
    """Return the catalog of the database that a connection is to."""
    return catalog_by(lambda question: str(_answer(connection, question)[0]))


def scope_of(connection: psycopg.Connection[Any]) -> Scope:
    """Return where a session stands."""
    path, role, _ = _answer(connection, SCOPE_QUESTIONS[0])
    (relations,) = _answer(connection, SCOPE_QUESTIONS[1])
    return read_scope(path, role, relations)


def first_error(server: pq.abc.PGconn) -> str:
    """Read the answer to what was sent, COPY data too, and return the SQLSTATE of its first error, or ""."""
    found = ""
    while (result := server.get_result()) is not None:
        if result.status == pq.ExecStatus.COPY_OUT:
            while server.get_copy_data(0)[0] > 0:
                pass
        found = found or (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    return found


def _answer(connection: psycopg.Connection[Any], question: str) -> tuple[Any, ...]:
    cursor = connection.cursor()
    # As text, as a session gets it.
    cursor.adapters.register_loader("json", TextLoader)
    row = cursor.execute(question.encode()).fetchone()
    assert row is not None
    return tuple(row)
