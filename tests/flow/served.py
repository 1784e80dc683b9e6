"""A real `pgnotary serve` before the test server, with an engineer and an approver: what flow tests are made of."""

import contextlib
import json
import os
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from tests.check import check_ledger
from tests.flow.forked import Forked
from tests.flow.ports import free_port

from pgnotary.approval.client import ApprovalClient
from pgnotary.approval.papers import Paper, read_paper
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.demo.programs import find_psql
from pgnotary.errors import ApiError
from pgnotary.ledger.checkpoint import verify as read_checkpoint
from pgnotary.request import sshsig
from pgnotary.request.ceiling import Ceiling
from pgnotary.request.decision import Answer, Seen, document
from pgnotary.request.openssh import read_private_key
from pgnotary.setup import make_folder

PATIENCE_S = 30.0
PASSWORD = "engineers-only"
_T = TypeVar("_T")


UNSEEN = """
CREATE OR REPLACE FUNCTION unseen() RETURNS int LANGUAGE plpgsql VOLATILE AS $$ BEGIN {body} RETURN 1; END $$
"""


def make_unseen(served: "Served", database: str, body: str = "DELETE FROM orders;") -> None:
    """Make a view that the proxy knows as harmless, and let it run something else within the minute that this holds."""
    with served.behind(database) as connection:
        connection.execute("CREATE FUNCTION unseen() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1'")
        connection.execute("CREATE VIEW unseen AS SELECT unseen() AS n")
        served.run_psql(database, "-c", "SELECT * FROM unseen")
        connection.execute(UNSEEN.format(body=body).encode())


def until(found: Callable[[], _T], what: str, patience_s: float = PATIENCE_S) -> _T:
    """Return the first true result of `found`."""
    deadline = time.monotonic() + patience_s
    while not (result := found()):
        assert time.monotonic() < deadline, f"waited {patience_s} s in vain for {what}"
        time.sleep(0.02)
    return result


class Served:
    """One proxy with its folder; starts with the context and stops with it."""

    def __init__(
        self,
        postgres: EmbeddedPostgres,
        folder: Path,
        *,
        upstream: str = "",
        approvers: Sequence[str] = ("bo",),
        tables: str = "",
        **policy: object,
    ) -> None:
        """`upstream` is what stands between the proxy and the server, if something does.

        `tables` are those of the configuration that are not [policy].
        """
        self.postgres = postgres
        self.folder = folder
        self.port = free_port()
        self.config = make_folder(
            folder,
            listen=f"127.0.0.1:{self.port}",
            upstream=upstream or f"{postgres.host}:{postgres.port}",
            role=postgres.superuser,
            password=postgres.password,
            name="tests.localhost/flow",
            users={"eva": PASSWORD, "bo": PASSWORD},
            approvers=[*approvers],
        )
        with self.config.open("a") as file:
            file.write("\n[policy]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in policy.items()))
            file.write(tables)
        self.approver = approvers[0]
        self.key = folder / "approvers" / self.approver
        self.process: Forked | None = None
        self.user: int | None = None
        """The uid to run as; None: our own."""

    @property
    def ledger(self) -> Path:
        """The SQLite file."""
        return self.folder / "ledger.db"

    @property
    def roster(self) -> Path:
        """The file of those who may decide."""
        return self.folder / "allowed_signers"

    @property
    def log(self) -> str:
        """What the proxy has said."""
        return (self.folder / "serve.log").read_text()

    def __enter__(self) -> "Served":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the proxy and wait until it listens."""
        self.process = Forked(["serve", "--config", str(self.config)], self.folder / "serve.log", uid=self.user)
        until(self._is_up, "the proxy to listen")

    def _is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def stop(self, how: int = signal.SIGTERM) -> None:
        """Stop the proxy by a signal and wait until it is gone."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE_S)
            self.process = None

    def reload(self, roster: str) -> None:
        """Write another roster and let the proxy read it."""
        assert self.process is not None
        known = self.rosters()
        self.roster.write_text(roster)
        self.process.send_signal(signal.SIGHUP)
        until(lambda: len(self.rosters()) > len(known), "the new roster in the ledger")

    def rosters(self) -> list[str]:
        """Return the rosters in the ledger, oldest first."""
        return [entry["body"]["allowed_signers"] for entry in self.entries() if entry["type"] == "roster"]

    def limit_files(self, size: int | None) -> None:
        """Let the proxy write files up to `size` bytes only: a full disk; None lifts it."""
        assert self.process is not None
        limit = resource.RLIM_INFINITY if size is None else size
        # Only its own user may limit a process.
        become = "" if self.user is None else f"os.setgroups([]); os.setgid({self.user}); os.setuid({self.user}); "
        code = (
            f"import os, resource; {become}resource.prlimit({self.process.pid}, resource.RLIMIT_FSIZE, ({limit}, -1))"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    # --- the engineer -----------------------------------------------------------------------------------------------

    def psql(self, database: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """Return command and environment of eva's psql: the server's, or the system's if it comes without one."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        environment |= {"PGPASSWORD": PASSWORD, "PGCLIENTENCODING": "UTF8", "TERM": "dumb", "PAGER": "cat"}
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "eva", "-d", database]
        own = self.postgres.bin_dir / "psql"
        return [str(own if own.exists() else find_psql()), "-X", *where, *arguments], environment

    def run_psql(self, database: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run eva's psql to its end."""
        command, environment = self.psql(database, *arguments)
        return subprocess.run(
            command, env=environment, input=stdin, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )

    @contextlib.contextmanager
    def open_psql(self, database: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start eva's psql and let the block go on beside it."""
        command, environment = self.psql(database, *arguments)
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True
        ) as psql:
            try:
                yield psql
            finally:
                psql.kill()

    def connect(self, database: str, user: str = "eva", **options: Any) -> psycopg.Connection[Any]:
        """Connect with psycopg, which binds on the client: simple queries only."""
        options = {"autocommit": True, "cursor_factory": psycopg.ClientCursor, "password": PASSWORD, **options}
        return psycopg.connect(host="127.0.0.1", port=self.port, user=user, dbname=database, **options)

    def behind(self, database: str) -> psycopg.Connection[Any]:
        """Connect to the server itself: what is really there."""
        return psycopg.connect(self.postgres.dsn(database), autocommit=True)

    # --- the approver -----------------------------------------------------------------------------------------------

    @property
    def api(self) -> ApprovalClient:
        """A client of the approval API."""
        return ApprovalClient(self.folder / "pgnotary.sock")

    def held(self) -> Paper:
        """Wait for an open request and return it."""

        def first() -> Paper | None:
            with contextlib.suppress(ApiError):
                bodies = self.api.requests()
                return read_paper(bodies[0], bodies[0].id) if bodies else None
            return None

        paper = until(first, "a request")
        assert paper is not None
        return paper

    def become(self, approver: str) -> "Served":
        """Let another approver decide from now on."""
        self.approver, self.key = approver, self.folder / "approvers" / approver
        return self

    def decide(
        self,
        paper: Paper,
        answer: Answer,
        reason: str = "it is right",
        max_rows: int | None = None,
        others: int | None = 0,
    ) -> None:
        """Sign a decision as the approver and hand it in; `others`: how many other rows, None for any."""
        raw, signature = self.signed(paper, answer, reason, max_rows, others)
        self.api.decide(paper.id, raw, signature)

    def signed(
        self,
        paper: Paper,
        answer: Answer,
        reason: str = "it is right",
        max_rows: int | None = None,
        others: int | None = 0,
        *,
        approver: str = "",
    ) -> tuple[bytes, str]:
        """Return a decision's document and signature by the approver."""
        note = read_checkpoint(self.api.head(), (self.folder / "proxy.vkey").read_text().strip())
        raw = document(
            paper.request,
            paper.preview,
            answer,
            approver=approver or self.approver,
            reason=reason,
            ceiling=None if max_rows is None else Ceiling(max_rows, others),
            seen=Seen(note.size, note.root),
            decided_at=datetime.now(UTC),
            nonce=secrets.token_bytes(16),
        )
        key = read_private_key(self.key.read_text())
        return raw, sshsig.sign(raw, key.seed, sshsig.DECISION_NAMESPACE)

    def approve(self, max_rows: int | None = None, others: int | None = 0) -> Paper:
        """Approve the next request."""
        paper = self.held()
        self.decide(paper, Answer.APPROVE, max_rows=max_rows, others=others)
        return paper

    def deny(self, reason: str = "add a WHERE") -> Paper:
        """Deny the next request."""
        paper = self.held()
        self.decide(paper, Answer.DENY, reason)
        return paper

    # --- the auditor ------------------------------------------------------------------------------------------------

    def entries(self) -> list[dict[str, Any]]:
        """Verify the whole ledger and return its entries."""
        return check_ledger(self.ledger, (self.folder / "proxy.vkey").read_text().strip())

    def life(self, request: str) -> list[dict[str, Any]]:
        """Return the entries of one request."""
        return [entry for entry in self.entries() if entry.get("request") == request]

    def outcome(self, request: str) -> dict[str, Any]:
        """Wait for a request's outcome and return its body."""

        def found() -> dict[str, Any] | None:
            bodies = [entry["body"] for entry in self.life(request) if entry["type"] == "outcome"]
            return bodies[-1] if bodies else None

        body = until(found, f"the outcome of {request}")
        assert body is not None
        return body

    def pgnotary(self, *arguments: str, expected: int = 0) -> str:
        """Run a command of pgnotary with this configuration and return what it printed."""
        with tempfile.TemporaryDirectory() as folder:
            out, errors = Path(folder, "out"), Path(folder, "errors")
            status = Forked([*arguments, "--config", str(self.config)], out, errors).wait(PATIENCE_S)
            said, talk = out.read_text(), errors.read_text()
        assert status == expected, (status, said, talk)
        return said

    def give_to(self, uid: int) -> None:
        """Let the proxy run as another user, who owns the folder."""
        self.user = uid
        for path in (self.folder, *self.folder.rglob("*")):
            shutil.chown(path, uid)


def holding_inserts(postgres: EmbeddedPostgres, folder: Path, rules: str = "", **policy: Any) -> Served:
    """Return a proxy that asks about each INSERT, too, by a rule before further ones: plain ones pass otherwise."""
    inserts = '\n[[policy.rule]]\nname = "inserts"\nresult = "hold"\nclass = ["insert"]\n'
    return Served(postgres, folder, tables=inserts + rules, **policy)
