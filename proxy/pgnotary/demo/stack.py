"""Everything that the demo runs: an embedded PostgreSQL with a shop in it, and a real `pgnotary serve` before it.

Nothing enters; a `Stack` leaves, ready for psql, an approver's command line and an auditor, all of them separate
processes that know only what their real counterparts would know. Everything ends with the context, also if this
process is killed.
"""

import contextlib
import dataclasses
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import psycopg
from psycopg import sql

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.errors import PgnotaryError
from pgnotary.setup import make_folder

__all__ = ["DemoFailed", "Stack", "running_stack"]

_DATABASE = "shop"
_ROLE = "shop_app"
_START_DEADLINE_S = 30.0
_LISTENS = re.compile(r"^pgnotary listens at \S+:([0-9]+),", re.MULTILINE)


class DemoFailed(PgnotaryError):
    """A part of the demo did not do what it is there to show."""


@dataclasses.dataclass(frozen=True, slots=True)
class Stack:
    """Where everything is, and how to start each person's program."""

    folder: Path
    config: Path
    approver_key: Path
    psql_program: Path
    host: str
    port: int
    """Where the proxy listens; 0 until it does, if any free port will do."""
    user: str
    password: str
    database: str

    @property
    def heads(self) -> Path:
        """Where the demo's approver remembers heads: each demo begins a ledger of the same name under a new key."""
        return self.folder / "heads"

    def psql(self, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """Return command and environment of an engineer's psql, whatever the caller's own settings are."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        environment |= {"PGPASSWORD": self.password, "PGCLIENTENCODING": "UTF8"}
        where = ["-h", self.host, "-p", str(self.port), "-U", self.user, "-d", self.database]
        return [str(self.psql_program), "-X", *where, *arguments], environment

    def pgnotary(self, *arguments: str) -> list[str]:
        """Return the command line of one `pgnotary` command, as an approver or an auditor would run it."""
        return [sys.executable, "-m", "pgnotary.cli", *arguments]


@contextlib.contextmanager
def running_stack(keep: Path | None = None, port: int = 0) -> Iterator[Stack]:
    """Start everything; `keep` is a folder that survives, else a temporary one is used."""
    with contextlib.ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgnotary-demo-")))
        server = stack.enter_context(EmbeddedPostgres())
        password = secrets.token_urlsafe(18)
        _seed(server, password)
        made = _configure(folder, server, password, port)
        yield stack.enter_context(_serving(made))


def _seed(server: EmbeddedPostgres, password: str) -> None:
    script = resources.files("pgnotary.demo").joinpath("shop.sql").read_text()
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        role = sql.Identifier(_ROLE)
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password)))
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(_DATABASE), role))
    with psycopg.connect(server.dsn(_DATABASE, _ROLE, password)) as connection:
        connection.execute(script.encode())


def _configure(folder: Path, server: EmbeddedPostgres, password: str, port: int) -> Stack:
    host = "127.0.0.1"
    user, user_password, approver = "eva", secrets.token_urlsafe(9), "bo"
    config = make_folder(
        folder,
        listen=f"{host}:{port}",
        upstream=f"{server.host}:{server.port}",
        role=_ROLE,
        password=password,
        name="demo.localhost/shop",
        users={user: user_password},
        approvers=[approver],
    )
    key = folder / "approvers" / approver
    return Stack(folder, config, key, server.psql, host, port, user, user_password, _DATABASE)


@contextlib.contextmanager
def _serving(stack: Stack) -> Iterator[Stack]:
    """Run the proxy, and yield the stack with the port that it listens at."""
    log = stack.folder / "serve.log"
    command = stack.pgnotary("serve", "--config", str(stack.config))
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output) as proxy,
    ):
        try:
            yield dataclasses.replace(stack, port=_listens_at(proxy, log))
        finally:
            proxy.terminate()
            try:
                proxy.wait(10)
            except subprocess.TimeoutExpired:
                proxy.kill()


def _listens_at(proxy: subprocess.Popen[bytes], log: Path) -> int:
    """Wait until the proxy says that it listens, and return its port.

    A connection would prove nothing: it may be somebody else who listens there.
    """
    deadline = time.monotonic() + _START_DEADLINE_S
    said = ""
    while time.monotonic() < deadline:
        # Asked first, so that what it said before it died is read.
        ended = proxy.poll() is not None
        said = log.read_text(errors="replace").strip()
        if ended:
            break
        if found := _LISTENS.search(said):
            return int(found[1])
        time.sleep(0.05)
    raise DemoFailed(f"pgnotary serve did not start: {said.splitlines()[-1] if said else 'it said nothing'}")
