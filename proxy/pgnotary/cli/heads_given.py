"""The heads that an auditor gives to `verify`: files as approvers' commands keep them, from any number of machines.

Paths and the proxy's key enter; the heads under that key leave, with the words for those that were passed over. What is
no file of heads is wrong usage. Proofs of misbehaviour are written beside the file whose head they are about.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import click

from pgnotary.errors import BadCheckpoint
from pgnotary.ledger.checkpoint import Checkpoint, parse_vkey
from pgnotary.ledger.remembered import MAX_HEADS_BYTES, Remembered, read_heads
from pgnotary.store import LedgerReader
from pgnotary.store.durable import replace

__all__ = ["GivenHeads", "given_heads"]


@dataclass(frozen=True, slots=True)
class GivenHeads:
    """What is remembered of one ledger, and where."""

    vkey: str
    found: Sequence[tuple[Path, Remembered]]
    passed_over: Sequence[str]
    """Words for heads of other ledgers, and for those of this name under another key."""

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """What the heads under this key say."""
        return [head.checkpoint for _, head in self.found]

    def accuse(self, reader: LedgerReader) -> Iterator[str]:
        """Write every proof of misbehaviour beside the file of its head, and yield a line for each."""
        from pgnotary.audit.accusation import accusations
        from pgnotary.verify.misbehaviour import examine

        where = {id(head): path for path, head in self.found}
        for head, raw in accusations(reader, self.vkey, [head for _, head in self.found], datetime.now(UTC)):
            path = where[id(head)]
            shown = examine(raw, self.vkey)
            about = sha256(f"{shown.remembered.text}{shown.shown.text}".encode()).hexdigest()[:16]
            proof = path.with_name(f"{path.name}.misbehaviour-{about}.json")
            try:
                replace(proof, raw)
            except OSError as error:
                yield f"{shown.words}; it could not be written to {proof}: {error.strerror or error}"
            else:
                yield f"{shown.words}: {proof}"


def given_heads(paths: Sequence[Path], vkey: str) -> GivenHeads:
    """Read the files; raises UsageError for what is not a file of heads."""
    ours = parse_vkey(vkey)
    found: list[tuple[Path, Remembered]] = []
    others: dict[tuple[str, str], int] = {}
    for path in paths:
        try:
            with path.open("rb") as file:
                heads = read_heads(file.read(MAX_HEADS_BYTES + 1))
        except BadCheckpoint as error:
            raise click.UsageError(f"--heads {path}: {error}") from error
        for head in heads:
            if head.key == ours.text:
                found.append((path, head))
            else:
                whose = (head.checkpoint.origin, head.key)
                others[whose] = others.get(whose, 0) + 1
    return GivenHeads(ours.text, found, [_words(ours.name, *whose, number) for whose, number in others.items()])


def _words(name: str, origin: str, key: str, number: int) -> str:
    heads = f"{number} remembered head{'s' * (number != 1)}"
    if origin == name:
        return f"{heads} of {origin} under ANOTHER KEY, passed over: {key}"
    return f"{heads} of another ledger, passed over: {origin}"
