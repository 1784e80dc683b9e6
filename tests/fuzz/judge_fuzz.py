"""The fuzz: texts are generated, judged, read again otherwise, and what is forwarded is run on live servers.

A seed and a time enter, a `Report` leaves. The work is done in a process of its own: whatever a text does to a parser,
a hang or a crash too, is a finding with that text, and the run goes on behind it. It ends by itself.

    python -m tests.fuzz.judge_fuzz --seconds 600 [--seed N] [--texts N] [--pure]
"""

import argparse
import contextlib
import ctypes
import multiprocessing
import random
import sys
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import RawArray, RawValue
from typing import Any

from tests.fuzz.databases import known_at, signatures_of, started_servers
from tests.fuzz.hunt import Hunt
from tests.fuzz.report import FIGURES, Finding, Report
from tests.fuzz.server import Server
from tests.fuzz.texts import MAX_BYTES, texts

__all__ = ["fuzz"]

# A worker says something every two seconds, and makes a finding short for ten at most.
_SILENCE_S = 60.0


def fuzz(
    seconds: float, seed: int | None = None, *, servers: Mapping[str, str] | None = None, most: int | None = None
) -> Report:
    """Fuzz for that long, or until there were that many texts, and return what was found.

    Without servers only the readers are held against each other.
    """
    seed = random.SystemRandom().randrange(1_000_000_000) if seed is None else seed
    report = Report(seed)
    start = time.monotonic()
    while (left := seconds - (time.monotonic() - start)) > 1 or not report.seconds:
        texts_left = sys.maxsize if most is None else most - report.figures["texts"]
        if texts_left <= 0:
            break
        _work(report, seed, left, texts_left, dict(servers or {}))
        report.seconds = time.monotonic() - start
        # After a hang or a crash the same texts would lead to the same place.
        seed += 1_000_003
    return report


def _work(report: Report, seed: int, seconds: float, most: int, servers: dict[str, str]) -> None:
    """Run one worker until its time is over or it is lost."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    place = RawArray(ctypes.c_char, MAX_BYTES)
    length = RawValue(ctypes.c_int, 0)
    worker = context.Process(target=_worker, args=(theirs, place, length, seed, seconds, most, servers), daemon=True)
    worker.start()
    theirs.close()
    figures: Mapping[str, int] = {}
    ended = ""
    try:
        while not ended:
            if not ours.poll(_SILENCE_S):
                ended = "hang"
                break
            try:
                told = ours.recv()
            except EOFError:
                ended = "crash"
                break
            if told is None:
                ended = "done"
                break
            figures, finding, alike = told
            if finding:
                report.findings.append(finding)
            if alike:
                report.alike[alike] += 1
    finally:
        worker.kill()
        worker.join()
        ours.close()
    report.figures.update({name: figures.get(name, 0) for name in FIGURES})
    if ended != "done":
        text = bytes(place.raw[: length.value]).decode(errors="backslashreplace")
        report.findings.append(
            Finding(ended, text, f"exit code {worker.exitcode}", seed=seed, number=figures.get("texts", 0))
        )


def _worker(
    tell: Connection, place: Any, length: Any, seed: int, seconds: float, most: int, servers: dict[str, str]
) -> None:
    with contextlib.ExitStack() as stack:
        judges = []
        for name, dsn in servers.items():
            server = Server(name, dsn)
            stack.callback(server.close)
            judges.append((server, known_at(dsn)))
        signatures = [signature for dsn in servers.values() for signature in signatures_of(dsn)]
        hunt = Hunt(lambda figures, finding, alike: tell.send((dict(figures), finding, alike)), seed, judges)
        end = time.monotonic() + seconds
        for number, text in enumerate(texts(seed, signatures), start=1):
            place.raw = text.ljust(MAX_BYTES, b" ")
            length.value = len(text)
            hunt.look_at(text, number)
            if number >= most or (number % 64 == 0 and time.monotonic() > end):
                break
        hunt.say()
        tell.send(None)


def main() -> int:
    """Run from the command line; the exit code says whether anything was found that the corpus does not know."""
    parser = argparse.ArgumentParser(description="differential fuzz of the judge")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--texts", type=int, help="stop after that many texts, whatever the time")
    parser.add_argument(
        "--pure", action="store_true", help="hold the readers against each other only, without a server"
    )
    parser.add_argument("--rows", action="store_true", help="print findings as rows of the corpus too")
    options = parser.parse_args()
    if options.pure:
        report = fuzz(options.seconds, options.seed, most=options.texts)
    else:
        with started_servers() as servers:
            report = fuzz(options.seconds, options.seed, servers=servers, most=options.texts)
    for line in report.lines():
        print(line)
    if options.rows:
        for finding in report.findings:
            print(finding.row())
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
