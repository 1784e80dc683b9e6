"""Runs a foreign suite's tests once, at one place, in a Python and a folder of their own, and reads what they came to.

A suite, its checkout and a `Place` enter, `Results` leave. The checkout is not written to. What cannot be run because
something is missing is a `CannotRun`, which says what to install.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.foreign import deadline
from tests.foreign.results import Results, read_results
from tests.foreign.suites import Place, Suite

__all__ = ["CannotRun", "Runner"]

_EXITS = frozenset({0, 1})
"""pytest's: all passed, some failed."""


class CannotRun(Exception):
    """What is missing, and what to do."""


@dataclass(frozen=True, slots=True)
class Runner:
    """One suite with its Python; `folder` is where its files and what it says are put."""

    suite: Suite
    checkout: Path
    python: Path
    folder: Path
    arguments: tuple[str, ...] = ()
    limit_s: float = 3_600.0
    """Of a whole run."""
    deadline_s: float = 30.0
    """Of each phase of a test: one that waits for ever is one failed test, and the rest still runs."""

    def check(self) -> None:
        """Raise CannotRun unless everything is there."""
        missing = [name for name in self.suite.needs if not (self.checkout / name).exists()]
        if missing:
            raise CannotRun(f"{self.checkout} has no {', '.join(missing)}: expected a checkout of {self.suite.name}")
        wanted = ("pytest", *self.suite.modules)
        code = "import importlib.util, sys; print(*[n for n in sys.argv[1:] if not importlib.util.find_spec(n)])"
        # Not in the checkout: there the driver's own sources would be found.
        done = subprocess.run(
            [self.python, "-c", code, *wanted], cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode or done.stdout.strip():
            raise CannotRun(f"{self.python} has no {done.stdout.strip() or done.stderr.strip()}: install it there")

    def run(self, way: str, place: Place) -> Results:
        """Run the tests at `place`; what pytest says is in WAY.log. Raises CannotRun if it came to no end."""
        home = self.folder / way
        for name in self.suite.needs:
            source, copy = self.checkout / name, home / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, copy) if source.is_dir() else shutil.copy2(source, copy)
        plugin = Path(deadline.__file__)
        (home / "plugin").mkdir()
        shutil.copy2(plugin, home / "plugin")
        log, junit = home / "log", home / "junit.xml"
        command: list[str | Path] = [
            self.python,
            "-m",
            "pytest",
            f"--junit-xml={junit}",
            "-p",
            plugin.stem,
        ]
        command += ["-o", f"cache_dir={home / 'cache'}", *self.suite.arguments, *self.arguments]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PG", "PYTHON", "PYTEST"))
        }
        environment |= {"PYTHONPATH": str(home / "plugin"), "FOREIGN_DEADLINE_S": str(self.deadline_s)}
        environment |= self.suite.environment(place)
        with log.open("wb") as said:
            try:
                done = subprocess.run(
                    command,
                    cwd=home,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    timeout=self.limit_s,
                    check=False,
                )
            except subprocess.TimeoutExpired as late:
                raise CannotRun(f"{way}: no end after {self.limit_s:.0f} s, see {log}") from late
        if done.returncode not in _EXITS or not junit.exists():
            raise CannotRun(f"{way}: pytest ended with {done.returncode}: {_tail(log)}")
        return read_results(junit.read_text())


def _tail(log: Path) -> str:
    return " | ".join(log.read_text(errors="replace").strip().splitlines()[-5:])
