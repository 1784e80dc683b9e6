"""Which scripts run, in what order, and that psql runs them as if nobody stood between."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.regress.examine import Scripts
from tests.regress.judged import Ask, Judgement
from tests.regress.run import Bench, modules, open_for_all, schedule
from tests.unprivileged import reachable_folder

from pgnotary.demo.account import copied
from pgnotary.demo.programs import find_bin_dir

SCRIPT = """\
\\getenv libdir PG_LIBDIR
CREATE TABLE t (a int, b text);
COPY t FROM STDIN;
1\tone; DELETE
2\ttwo
\\.
SELECT count(*) AS n FROM t \\gset
\\if :{?n}
SELECT :n \\; SELECT b FROM t ORDER BY a;
\\else
DROP TABLE t;
\\endif
\\d t
BEGIN;
DELETE FROM t;
ROLLBACK;
SELECT 'not
 one' AS "two lines" FROM t WHERE b = 'two';
"""
OUTPUT = """\
 ?column?
----------
        2
(1 row)

      b
-------------
 one; DELETE
 two
(2 rows)
"""


class Careless:
    """Calls all that begins so harmless."""

    def renew(self, ask: Ask) -> None:
        pass

    def judge(self, text: bytes) -> Judgement:
        harmless = text.startswith((b"SELECT", b"DELETE"))
        return Judgement(harmless=harmless, held=not harmless, reason="by its first word")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's account can reach."""
    with reachable_folder() as made:
        yield made


def programs(folder: Path) -> Path:
    """Return PostgreSQL's programs where the server's account can reach them, wherever our environment is."""
    if os.geteuid() != 0:
        return find_bin_dir()
    own = copied(find_bin_dir(), None, folder / "programs")
    (own / "psql").symlink_to(find_bin_dir() / "psql")
    return own


def test_a_script_runs_as_if_nobody_stood_between_and_every_text_of_it_is_judged(folder: Path) -> None:
    home = folder / "source/contrib/mine"
    for name in ("sql", "expected"):
        (home / name).mkdir(parents=True)
    (home / "sql/a.sql").write_text(SCRIPT)
    open_for_all(folder)
    scripts = Scripts(Careless)
    with Bench(programs(folder), folder / "source", folder, scripts, folder) as bench:
        bench.run(home, ["a", "absent"], "mine")
        said = (folder / "results/mine/a.out").read_text()
        assert " ".join(OUTPUT.split()) in " ".join(said.split())
        assert "ERROR" not in said
        (home / "expected/a_1.out").write_text(said + " \n")
        bench.run(home, ["a"], "mine_again")
    tally = scripts.of_scripts
    assert (tally.scripts, tally.absent, tally.unexpected) == (2, 1, ["contrib/mine/sql/a.sql"])
    assert (tally.judged, tally.harmless) == (2 * 9, 2 * 5)
    assert [(finding.script, finding.line, finding.text) for finding in tally.wrong] == [
        ("contrib/mine/sql/a.sql", 15, "DELETE FROM t;")
    ] * 2
    # What psql asks for \d stands in no script.
    assert scripts.of_psql.judged > 2


def test_a_schedule_is_run_in_order_and_side_by_side_means_one_after_the_other() -> None:
    assert schedule("# test: none\ntest: setup\n\ntest: b a\nignore: random\ntest: c random\n") == [
        "setup", "b", "a", "c", "random",
    ]  # fmt: skip


def test_a_module_is_run_unless_it_needs_a_server_of_its_own(tmp_path: Path) -> None:
    for name, makefile in {
        "contrib/cube": "REGRESS = cube \\\n\tcube_sci\n",
        "contrib/spi": "MODULES = autoinc\n",
        "contrib/pg_stat_statements": "REGRESS = a\nNO_INSTALLCHECK = 1\n",
        "contrib/hstore_plperl": "REGRESS = hstore_plperl\n",
        "src/pl/plpgsql/src": "REGRESS = plpgsql_array\n",
    }.items():
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "Makefile").write_text(makefile)
    assert [(folder.name, names) for folder, names in modules(tmp_path)] == [
        ("src", ["plpgsql_array"]),
        ("cube", ["cube", "cube_sci"]),
    ]
