"""Commands of pgnotary as processes that need no imports: the standard library's fork server has read it all once.

Reading everything takes a second of a processor, a fork milliseconds, and the suite starts hundreds of commands. Each
is a real process with its own descriptors, environment and signals, and the arguments of `pgnotary` are what enters;
what only the interpreter's start can show is tried by the tests of the command line, the demo and the README.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

__all__ = ["Forked", "fork"]

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["pgnotary.cli.serve", "pgnotary.cli.auditor", "pgnotary.cli.signing"])


def fork(function: Callable[..., object], *arguments: Any) -> BaseProcess:
    """Start a function of a module in such a process; whoever started it must wait for it, or kill it."""
    process = _CONTEXT.Process(target=function, args=arguments, daemon=True)
    process.start()
    return process


class Forked:
    """One command that runs: of subprocess.Popen what tests use."""

    def __init__(self, arguments: Sequence[str], out: Path, errors: Path | None = None, uid: int | None = None) -> None:
        """What it says is added to `out`, and what it says on stderr to `errors`; `uid`: the user to become."""
        paths = (str(out), str(errors or out))
        told = (tuple(arguments), paths, uid, str(Path.cwd()), dict(os.environ))
        self._process = _CONTEXT.Process(target=_become, args=told, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return its exit status, or minus the signal; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout_s: float) -> int:
        """Wait until it is gone and return its exit status, or minus the signal."""
        self._process.join(timeout_s)
        status = self._process.exitcode
        if status is None:
            raise TimeoutError(f"process {self.pid} runs after {timeout_s} s")
        return status

    def send_signal(self, how: int) -> None:
        """Send a signal, unless it is gone."""
        if self._process.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, how)


def _become(
    arguments: tuple[str, ...], paths: tuple[str, str], uid: int | None, folder: str, environment: Mapping[str, str]
) -> None:
    """Be the command."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    out, errors = (os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) for path in paths)
    for number, source in ((0, nothing), (1, out), (2, errors)):
        os.dup2(source, number)
    for source in (nothing, out, errors):
        os.close(source)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - the server's own was closed, or is another file
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if uid is not None:
        # Everything is imported: the interpreter may stand where only root can read it.
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    sys.argv = ["pgnotary", *arguments]
    from pgnotary.cli import main

    main()
