"""An office, and an approver called bo who runs the real command line in it."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pexpect
from click.testing import CliRunner, Result
from tests.approval.office import (
    SEEDS,
    Office,
    key_file,
    public_of,
    running_office,
)

from pgnotary.cli import pgnotary
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request import decision as decisions
from pgnotary.request import sshsig
from pgnotary.request.decision import Decision
from pgnotary.request.life import State
from pgnotary.request.signed_context import context_digest, context_document


@dataclass
class Desk(Office):
    """An office, and an approver called bo who runs commands in it."""

    async def run(self, *arguments: str | Path, env: dict[str, str] | None = None) -> Result:
        """Run one command, which finds the socket in the environment unless `env` says otherwise."""
        environment = {
            "PGNOTARY_SOCKET": str(self.socket),
            "HOME": str(self.folder),
            "PGNOTARY_HEADS": str(self.heads),
        } | (env or {})
        words = [str(each) for each in arguments]
        result = await asyncio.to_thread(CliRunner().invoke, pgnotary, words, env=environment, prog_name="pgnotary")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    async def decide(self, verb: str, *arguments: str | Path, person: str = "bo", prefix: str | None = None) -> Result:
        """Decide over R-1 as a script does: with the whole digest of its context, or another one, and --yes."""
        digest = prefix or self.context()
        key = key_file(self.folder, person)
        return await self.run(verb, f"R-1@{digest}", "-m", "backup b-771", "--yes", "--key", key, *arguments)

    def context(self, name: str = "R-1") -> str:
        """The digest of what a decision over an open request binds, in hex."""
        held = self.desk.open[name]
        return context_digest(context_document(held.request.entry, held.preview.entry)).hex()

    def preview_anew(self, exact: int, name: str = "R-1") -> None:
        """Show another preview of the same open request, as a dishonest proxy would."""
        held = self.desk.open[name]
        body = {**held.preview.entry.body, "exact": exact}
        again = Draft(EntryType.PREVIEW, body, held.preview.entry.session, name, held.request.leaf)
        self.desk.open[name] = replace(held, preview=self.ledger.put(again).filed())

    @property
    def heads(self) -> Path:
        """Where bo's commands remember heads."""
        return self.folder / "heads"

    @property
    def taken(self) -> Decision:
        """The one decision that came to the desk, its signature checked."""
        [(document, signature)] = self.desk.taken
        assert sshsig.verify(signature, document, sshsig.DECISION_NAMESPACE) == public_of(SEEDS["bo"])
        return decisions.read(document)


def ran(state: State, rows: int = 1204, tag: str = "DELETE 1204", **body: JSON) -> list[tuple[State, dict[str, JSON]]]:
    """How an approved statement went on that ran."""
    executed: dict[str, JSON] = {"rows": rows, "tags": [tag]}
    return [(State.EXECUTED, executed), *([] if state is State.EXECUTED else [(state, {"rows": rows, **body})])]


@asynccontextmanager
async def office() -> AsyncIterator[Desk]:
    async with running_office() as running:
        yield Desk(running.folder, running.ledger, running.desk, running.api, running.socket)


def spawn(desk: Desk, *words: str, size: tuple[int, int] = (50, 120), pager: str = "") -> "pexpect.spawn[str]":
    environment = {"PGNOTARY_SOCKET": str(desk.socket), "HOME": str(desk.folder), "TERM": "dumb", "PATH": "/bin"}
    environment |= {"PAGER": pager} if pager else {}
    return pexpect.spawn(
        sys.executable, ["-m", "pgnotary.cli", *words], env=environment, encoding="utf-8", timeout=30, dimensions=size
    )
