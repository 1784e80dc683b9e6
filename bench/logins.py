"""Many connections of one engineer: a proxy enters, connections that are logged in leave, few of them at a time."""

import asyncio
from contextlib import AsyncExitStack

import psycopg
from tests.flow.served import PASSWORD, Served

__all__ = ["Connection", "Logins"]

Connection = psycopg.AsyncConnection[tuple[object, ...]]

# Logins wait for each other's cryptography: more at once only run into the deadline.
_AT_ONCE = 8


class Logins:
    """Logs in at one proxy; what it opens is closed with `stack`."""

    def __init__(self, stack: AsyncExitStack, served: Served) -> None:
        self._stack = stack
        self._served = served
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def one(self) -> Connection:
        """Return a connection that sends simple queries, outside of blocks, as psql does; raises psycopg.Error."""
        async with self._gate:
            connection = await psycopg.AsyncConnection.connect(
                host="127.0.0.1",
                port=self._served.port,
                user="eva",
                password=PASSWORD,
                dbname="postgres",
                autocommit=True,
                cursor_factory=psycopg.AsyncClientCursor,
                connect_timeout=60,
            )
        self._stack.push_async_callback(connection.close)
        return connection
