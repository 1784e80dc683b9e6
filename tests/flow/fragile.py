"""A `Served` that tests stop, kill and start many times: its process is forked, and stands still where it is told to.

Between proxy and server lies a `Wire`. Everything else is as in `Served`: the real `pgnotary serve`, its own ledger.
"""

import contextlib
import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from tests.faults import Stand, Wire
from tests.flow.served import PATIENCE_S, Served, until

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.request.life import FINAL, State

__all__ = ["Fragile", "Nursery", "open_nursery"]

_TOP = Path(__file__).parents[2]


class Nursery:
    """Where proxies are born (`tests.flow.paused_serve`); one lives at a time."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._unread = b""

    def bear(self, served: Served, stand: Path, tick_s: float) -> int:
        """Start a proxy and return its process id."""
        wish = {
            "stand": str(stand),
            "tick_s": tick_s,
            "log": str(served.folder / "serve.log"),
            "arguments": ["serve", "--config", str(served.config)],
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(wish).encode() + b"\n")
        self._process.stdin.flush()
        return self._said("pid")

    def has_ended(self) -> bool:
        """Say whether the exit status of the proxy is known."""
        assert self._process.stdout is not None
        return self._unread != b"" or bool(select.select([self._process.stdout], [], [], 0)[0])

    def exit_status(self) -> int:
        """Wait until the proxy is gone; its exit status, or minus the signal."""
        return self._said("exit")

    def _said(self, what: str) -> int:
        assert self._process.stdout is not None
        while b"\n" not in self._unread:
            assert select.select([self._process.stdout], [], [], PATIENCE_S)[0], f"the nursery does not say {what}"
            said = os.read(self._process.stdout.fileno(), 4096)
            assert said, "the nursery is gone"
            self._unread += said
        line, _, self._unread = self._unread.partition(b"\n")
        name, number = line.decode().split()
        assert name == what, line
        return int(number)


@contextlib.contextmanager
def open_nursery() -> Iterator[Nursery]:
    """Run a nursery."""
    command = [sys.executable, "-m", "tests.flow.paused_serve"]
    path = os.pathsep.join(filter(None, [str(_TOP), os.environ.get("PYTHONPATH", "")]))
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    ) as process:
        try:
            yield Nursery(process)
        finally:
            # It takes its proxy with it.
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()


class Fragile(Served):
    """A proxy that can be stopped at any moment of a request's life."""

    def __init__(
        self, nursery: Nursery, postgres: EmbeddedPostgres, folder: Path, *, tick_s: float = 0.1, **policy: Any
    ) -> None:
        self.wire = Wire(postgres.host, postgres.port)
        super().__init__(postgres, folder, upstream=self.wire.address, **policy)
        self._nursery = nursery
        self._tick_s = tick_s
        self._pid = 0
        self._listened = 0
        self.stand = Stand(folder / "stand")

    @property
    def is_alive(self) -> bool:
        """Whether its process is there."""
        return self._pid != 0

    def start(self) -> None:
        """Start the proxy and wait until it listens."""
        self.stand.go_on()
        self.spawn()
        until(self._is_up, "the proxy to listen")

    def spawn(self) -> None:
        """Start the proxy and do not wait for anything."""
        self._listened = self._has_listened()
        self._pid = self._nursery.bear(self, self.folder / "stand", self._tick_s)

    def _is_up(self) -> bool:
        assert not self._nursery.has_ended(), self.log
        return self._has_listened() > self._listened

    def _has_listened(self) -> int:
        """Return how often a proxy of this folder has said that it listens."""
        with contextlib.suppress(FileNotFoundError):
            return self.log.count("pgnotary listens at")
        return 0

    def send(self, how: int) -> None:
        """Send a signal and do not wait."""
        os.kill(self._pid, how)

    def gone(self) -> int:
        """Wait until the proxy is gone and return its exit status, or minus the signal."""
        status = self._nursery.exit_status()
        self._pid = 0
        return status

    def stop(self, how: int = signal.SIGTERM) -> None:
        """Stop the proxy by a signal and wait until it is gone."""
        if self._pid:
            self.stand.go_on()
            if not self._nursery.has_ended():
                self.send(how)
            self.gone()

    def close(self) -> None:
        """Stop it if it runs, and end its wire."""
        try:
            self.stop()
        finally:
            self.wire.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what the store says, without verifying all of it each time -------------------------------------------------

    def states(self) -> dict[str, State]:
        """Return where each request stands."""
        rows = self._select("SELECT request, state FROM request_state")
        return {request: State(state) for request, state in rows}

    def size(self) -> int:
        """Return how many entries there are."""
        ((size,),) = self._select("SELECT coalesce(max(seq) + 1, 0) FROM entry")
        return int(size)

    def unsettled(self) -> set[str]:
        """Return the requests that are not in a final state."""
        return {request for request, state in self.states().items() if state not in FINAL}

    def sealed(self, name: str) -> list[tuple[int, bytes]]:
        """Return all kept values of a name, each with the place of its entry."""
        return self._select(f"SELECT seq, value FROM sealed JOIN entry USING (leaf) WHERE name = '{name}'")

    def checkpoints(self) -> list[str]:
        """Return all kept checkpoints, oldest first."""
        return [note for (note,) in self._select("SELECT note FROM checkpoint ORDER BY size")]

    def _select(self, question: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(f"{self.ledger.as_uri()}?mode=ro", uri=True)) as db:
            return db.execute(question).fetchall()
