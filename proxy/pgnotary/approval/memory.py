"""The heads that an approver's machine remembers, one for each ledger and key: their file, and the lock beside it.

A path enters; heads leave as they are on the disk, and a new one is there durably before `remember` returns. A command
holds the lock from reading to writing, so of two at once none loses what the other has seen. A file that cannot be read
to the last byte is never written over: what is forgotten can be rewritten unnoticed.
"""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from pgnotary.errors import BadCheckpoint, NotRemembered
from pgnotary.ledger.remembered import MAX_HEADS_BYTES, Remembered, heads_text, read_heads
from pgnotary.store.durable import replace

__all__ = ["Memory"]

# Who holds the lock waits for one answer of the proxy, at most ten seconds.
_PATIENCE_S = 30.0
_POLL_S = 0.05
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Memory:
    """The file at `path`; it and its folder are made when the first head is remembered."""

    def __init__(self, path: Path, patience_s: float = _PATIENCE_S) -> None:
        # A link to somewhere else stays a link; unlike Path.resolve, this leaves a loop to whoever opens it.
        self.path = Path(os.path.realpath(path))
        self._patience_s = patience_s

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other command that remembers from reading and writing; raises NotRemembered."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._cannot("be remembered there", error) from error
        try:
            self._wait(lock)
            yield
        finally:
            os.close(lock)

    def _wait(self, lock: int) -> None:
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise NotRemembered(
                        f"{self.path}: another command has held its lock for {self._patience_s:g} s: nothing was signed"
                    ) from error
            except OSError as error:
                raise self._cannot("be locked", error) from error
            time.sleep(_POLL_S)

    def heads(self) -> list[Remembered]:
        """Return what is remembered; raises BadCheckpoint if that is not a file of heads that nobody else can write."""
        try:
            with self.path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                text = file.read(MAX_HEADS_BYTES + 1)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._cannot("be read", error) from error
        if mode & _OTHERS_WRITE:
            raise BadCheckpoint(f"{self.path}: others can write what you remember (mode {mode:04o}): chmod 600 it")
        try:
            heads = read_heads(text)
            seen: set[tuple[str, str]] = set()
            for head in heads:
                if (of := (head.checkpoint.origin, head.key)) in seen:
                    raise BadCheckpoint(f"two heads of {of[0]} under one key: keep the line that was there first")
                seen.add(of)
        except BadCheckpoint as error:
            raise BadCheckpoint(
                f"{self.path}: {error}; nothing was signed, and it was left as it is: put a copy of it back"
            ) from error
        return heads

    def remember(self, head: Remembered) -> None:
        """Let this be the head of its ledger and key, durably; raises NotRemembered. Needs the lock."""
        others = [each for each in self.heads() if _whose(each) != _whose(head)]
        try:
            # The newest last: where no key is given, it is the one that counts.
            replace(self.path, heads_text([*others, head]).encode())
        except OSError as error:
            raise self._cannot("be written", error) from error

    def keep_evidence(self, evidence: bytes, *of: str) -> Path:
        """Write a proof of misbehaviour beside the file, once for the same notes, and return where; raises OSError."""
        digest = sha256("".join(of).encode()).hexdigest()[:16]
        path = self.path.with_name(f"{self.path.name}.misbehaviour-{digest}.json")
        if not path.exists():
            replace(path, evidence)
        return path

    def _cannot(self, what: str, error: OSError) -> NotRemembered:
        said = error.strerror or error
        return NotRemembered(f"{self.path}: the ledger's head cannot {what}: {said}; nothing was signed")


def _whose(head: Remembered) -> tuple[str, str]:
    return head.checkpoint.origin, head.key
