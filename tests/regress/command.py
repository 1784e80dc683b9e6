"""`python -m tests.regress.command schedule|contrib`: runs PostgreSQL's regression SQL and prints the figures.

A process of its own, since the second reader takes other texts where pytest is loaded (sqlglot's UNITTEST). Exit code 1
if anything was judged wrong or too much was held, 77 if the source cannot be had here.
"""

import logging
import shutil
import sys
import tempfile
from pathlib import Path

from tests.regress.examine import Scripts
from tests.regress.run import Bench, modules, open_for_all, schedule
from tests.regress.source import DEBIAN_BIN, SourceUnavailable, cache, loadable, server_version, unpack
from tests.regress.tally import Tally

__all__ = ["UNAVAILABLE", "WHICH"]

UNAVAILABLE = 77
WHICH = ("schedule", "contrib")

# Statements that are judged, at least, if the scripts ran; and the share of plain reads that may be held. The modules
# in contrib have functions which no built-in list can know.
_AT_LEAST = {"schedule": 30_000, "contrib": 5_000}
_MOST_HELD = {"schedule": 0.01, "contrib": 1.0}


def _main(which: str) -> int:
    # Of each statement that sqlglot cannot read the verdict says so.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    # Not one of the user's own folders: the server's account must reach it.
    folder = Path(tempfile.mkdtemp(prefix="pgnotary-regress-"))
    try:
        version = server_version(DEBIAN_BIN)
        root = unpack(version, folder / "source")
        objects = folder / "loadable"
        objects.mkdir()
        missing = loadable(version, root, DEBIAN_BIN, objects)
        open_for_all(folder)
        print(f"PostgreSQL {version}, {which}" + (f", without {', '.join(missing)}" if missing else ""))
        scripts = Scripts()
        with Bench(DEBIAN_BIN, root, objects, scripts, folder) as bench:
            _run(bench, root, which)
    except SourceUnavailable as reason:
        print(reason, file=sys.stderr)
        return UNAVAILABLE
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = cache() / "found"
    found.mkdir(exist_ok=True)
    for name, tally in (("scripts", scripts.of_scripts), ("psql", scripts.of_psql)):
        tally.write(found, f"{which}-{name}")
        print("\n".join([f"{name}:", *tally.rows()]))
    complete = scripts.of_scripts.judged >= _AT_LEAST[which]
    return 0 if complete and _is_good(scripts.of_scripts, which) and _is_good(scripts.of_psql, which) else 1


def _run(bench: Bench, root: Path, which: str) -> None:
    if which == "schedule":
        home = root / "src/test/regress"
        bench.run(home, schedule((home / "parallel_schedule").read_text()), "regression")
    else:
        for home, names in modules(root):
            bench.run(home, names, f"regression_{home.parent.name}_{home.name}")


def _is_good(tally: Tally, which: str) -> bool:
    return not tally.wrong and tally.held_share <= _MOST_HELD[which]


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in WHICH:
        sys.exit(f"usage: python -m tests.regress.command {'|'.join(WHICH)}")
    sys.exit(_main(sys.argv[1]))
