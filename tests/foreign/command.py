"""`python -m tests.foreign.command psycopg|asyncpg CHECKOUT`: a driver's own tests, directly and through the proxy.

Runs them against one server directly, through a plain byte relay, and through a real `pgnotary serve` with the profile
`forward-all`; with --approve-all through the profile `default` too, where a robot approves everything. Prints how many
tests passed in each way, and each test whose outcome differs from the relay's with the first line of its error. The
tests need a Python that has the driver in the checkout's version, and pytest: --python. Exit code 1 if a
way differs from the relay, 77 if something is missing.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from tests.flow.relay import Relay
from tests.flow.served import Served
from tests.foreign.results import Outcome, Results, by_reason, differences, totals
from tests.foreign.robot import Robot
from tests.foreign.run import CannotRun, Runner
from tests.foreign.suites import SUITES, Place

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.setup import add_user

__all__ = ["UNAVAILABLE"]

UNAVAILABLE = 77

_DATABASE = "suite"
_SETTINGS = {"max_connections": "200", "max_prepared_transactions": "20", "jit": "off"}
# The suites leave statements behind that wait for nobody.
_HOLD_S = 30


@contextmanager
def _directly(server: EmbeddedPostgres, folder: Path) -> Iterator[str]:
    yield f"{server.host}:{server.port}"


@contextmanager
def _relayed(server: EmbeddedPostgres, folder: Path) -> Iterator[str]:
    with Relay(server.host, server.port) as relay:
        yield relay.address


@contextmanager
def _forwarded(server: EmbeddedPostgres, folder: Path) -> Iterator[str]:
    with _served(server, folder, "forward-all") as served:
        yield f"127.0.0.1:{served.port}"


@contextmanager
def _approved(server: EmbeddedPostgres, folder: Path) -> Iterator[str]:
    with _served(server, folder, "default") as served, Robot(served) as robot:
        yield f"127.0.0.1:{served.port}"
        print(f"  the robot approved {robot.approved}")


@contextmanager
def _served(server: EmbeddedPostgres, folder: Path, profile: str) -> Iterator[Served]:
    """A proxy whose user has the name and the password of the role behind it."""
    served = Served(server, folder, profile=profile, hold_s=_HOLD_S, max_held_per_person=1_000)
    add_user(served.config, server.superuser, server.superuser, server.password)
    with served:
        yield served
        crashes = served.log.count("Traceback")
        print(f"  its log has {crashes} tracebacks" + (f": {folder / 'serve.log'}" if crashes else ""))
        print(f"  its ledger verifies: {len(served.entries()):,} entries")


_WAYS = {"direct": _directly, "relay": _relayed, "forward-all": _forwarded, "approve-all": _approved}


def _fresh(server: EmbeddedPostgres) -> None:
    """Let every way begin with an empty database."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {_DATABASE} WITH (FORCE)".encode())
        connection.execute(f"CREATE DATABASE {_DATABASE}".encode())


def _run(runner: Runner, ways: list[str], server: EmbeddedPostgres) -> dict[str, Results]:
    found = {}
    for way in ways:
        _fresh(server)
        started = time.monotonic()
        with _WAYS[way](server, runner.folder / f"{way}-proxy") as address:
            place = Place.at(address, server.superuser, server.password, _DATABASE)
            results = found[way] = runner.run(way, place)
            counted = totals(results)
            said = ", ".join(f"{counted[outcome]} {outcome.word}" for outcome in Outcome if counted[outcome])
            print(f"{way:12} {said}; {time.monotonic() - started:.0f} s", flush=True)
    return found


def _compare(found: dict[str, Results]) -> int:
    """Print where the ways differ from the relay, and return how many tests do."""
    count = 0
    for way, results in found.items():
        differing = differences(found["relay"], results) if way != "relay" else []
        if differing:
            print(f"\n{way}: {len(differing)} tests end otherwise than through the relay")
        for reason, group in by_reason(differing):
            print(f"  {len(group)} x {reason}")
            for each in group:
                print(f"      {each.expected.outcome.word} -> {each.found.outcome.word}  {each.test}")
        count += len(differing) if way != "direct" else 0
    return count


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.foreign.command",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("suite", choices=sorted(SUITES))
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="what runs the tests")
    parser.add_argument("--approve-all", action="store_true", help="also under `default`, with everything approved")
    parser.add_argument("--keep", type=Path, help="an empty folder for logs, JUnit files and the ledgers")
    parser.add_argument("--limit-s", type=float, default=3_600, help="of one run of the suite")
    parser.add_argument("--deadline-s", type=float, default=30, help="of one test")
    parser.add_argument("--pytest", nargs=argparse.REMAINDER, default=[], help="the rest is for pytest")
    return parser.parse_args()


def _main() -> int:
    asked = _arguments()
    ways = ["direct", "relay", "forward-all", *(["approve-all"] if asked.approve_all else [])]
    with ExitStack() as opened:
        if asked.keep is None:
            folder = Path(tempfile.mkdtemp(prefix="pgnotary-foreign-"))
            opened.callback(shutil.rmtree, folder, ignore_errors=True)
        else:
            folder = asked.keep.absolute()
            folder.mkdir(parents=True, exist_ok=True)
        runner = Runner(
            SUITES[asked.suite],
            asked.checkout.absolute(),
            # Not resolved: where the link stands says which environment it is.
            asked.python.absolute(),
            folder,
            tuple(asked.pytest),
            asked.limit_s,
            asked.deadline_s,
        )
        try:
            runner.check()
            server = opened.enter_context(EmbeddedPostgres(settings=_SETTINGS))
            return 1 if _compare(_run(runner, ways, server)) else 0
        except CannotRun as reason:
            print(reason, file=sys.stderr)
            return UNAVAILABLE


if __name__ == "__main__":
    sys.exit(_main())
