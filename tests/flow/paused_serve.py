"""A nursery of proxies: a process that has read all of pgnotary once, and forks one for each start.

Reading everything takes seconds on a busy machine, a fork milliseconds: tests that kill their proxy again and again get
a real process each time, and no test of theirs waits for imports. Each line that enters is a JSON object with the
folder of a `Stand`, the seconds between ticks, a log file, and the arguments of `pgnotary`. `pid N` leaves when a proxy
is born, `exit N` when it is gone: its exit status, or minus the signal. One lives at a time, and none survives us.

    python -m tests.flow.paused_serve
"""

import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from tests.faults import Stand

import pgnotary.cli.serve  # noqa: F401  read before the first fork, whoever asks for it later
from pgnotary.cli import main

_LOOK_S = 0.005


def _be_born(wish: dict[str, Any]) -> NoReturn:
    """Become the proxy."""
    status = 1
    try:
        log = os.open(wish["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, source in ((0, nothing), (1, log), (2, log)):
            os.dup2(source, number)
        sys.argv = ["pgnotary", *wish["arguments"]]
        Stand(Path(wish["stand"])).surround(wish["tick_s"])
        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        os._exit(status)


def _run() -> None:
    child = 0
    try:
        while True:
            if select.select([0], [], [], _LOOK_S if child else None)[0]:
                line = sys.stdin.readline()
                if not line:
                    return
                if child:
                    raise RuntimeError(f"{child} lives: stop it before you ask for another one")
                child = os.fork()
                if child == 0:
                    _be_born(json.loads(line))
                print(f"pid {child}", flush=True)
            if child and (found := os.waitpid(child, os.WNOHANG))[0]:
                child = 0
                print(f"exit {os.waitstatus_to_exitcode(found[1])}", flush=True)
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


if __name__ == "__main__":
    _run()
