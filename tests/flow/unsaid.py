"""A way to run code that no text shows: tried on the server itself first, then through the proxy.

A way that does nothing without us proves nothing, so its script must empty the table in a twin of the database. Through
the proxy it must be held, refused or undone.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from tests.flow.served import PASSWORD, Served

from pgnotary.demo.postgres import EmbeddedPostgres

__all__ = ["Way", "comes_to_nothing", "eva", "run", "victims"]


@dataclass(frozen=True)
class Way:
    """What an administrator has made, and what somebody sends."""

    texts: Sequence[str]
    made: str = ""
    signed: str = ""
    """What an approver signs first: it looks harmless."""


def eva(proxy: Served, database: str) -> psycopg.Connection[Any]:
    """Connect as she does."""
    return psycopg.connect(
        host="127.0.0.1", port=proxy.port, user="eva", password=PASSWORD, dbname=database, autocommit=True
    )


def run(connection: psycopg.Connection[Any], texts: Sequence[str], *, patient: bool = False) -> list[str]:
    """Send texts, whatever each meets; return the SQLSTATEs. What is held is taken back at once, unless `patient`."""

    def take_back(notice: psycopg.errors.Diagnostic) -> None:
        if "held for approval" in (notice.message_primary or "") and not patient:
            connection.cancel()

    connection.add_notice_handler(take_back)
    met = []
    for text in texts:
        try:
            connection.execute(text.encode(), prepare=False)
            met.append("")
        except psycopg.Error as error:
            met.append(error.sqlstate or "?")
    connection.remove_notice_handler(take_back)
    return met


def victims(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT count(*) FROM public.victims").fetchone()
    assert row is not None
    return int(row[0])


def comes_to_nothing(proxies: Sequence[Served], postgres: EmbeddedPostgres, database: str, made: str, way: Way) -> None:
    """Try a way on a twin of the database, and on the database through each proxy at once."""
    twin = f"{database}_twin"
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(twin)))
        try:
            for name in (database, twin):
                with psycopg.connect(postgres.dsn(name), autocommit=True) as behind:
                    behind.execute((made + way.made).replace("{dsn}", postgres.dsn(name)).encode())
            with psycopg.connect(postgres.dsn(twin), autocommit=True) as direct:
                run(direct, [way.signed, *way.texts] if way.signed else way.texts)
                direct.execute("DISCARD ALL")
                assert victims(direct) == 0, "it does nothing"
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(twin)))
    with ThreadPoolExecutor(len(proxies)) as beside:
        met = list(beside.map(lambda proxy: _sent(proxy, database, way), proxies))
    with psycopg.connect(postgres.dsn(database), autocommit=True) as behind:
        assert victims(behind) == 10, met
    assert all(map(any, met)), "nothing stopped it, and yet it did nothing"


def _sent(proxy: Served, database: str, way: Way) -> list[str]:
    with eva(proxy, database) as her:
        if way.signed:
            with ThreadPoolExecutor(1) as beside:
                signing = beside.submit(run, her, [way.signed], patient=True)
                proxy.approve()
                said = signing.result()
                assert said == [""], said
        return run(her, way.texts)
