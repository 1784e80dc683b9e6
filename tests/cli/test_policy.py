"""`pgnotary policy`: the rules in force are shown, and a file of cases finds where they say something else."""

import json
import re
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from pgnotary.cli import pgnotary
from pgnotary.cli.policy_cases import KINDS
from pgnotary.config import load
from pgnotary.demo.postgres import EmbeddedPostgres

EXAMPLE, EXAMPLE_CASES = Path("config/policy.example.toml"), Path("config/policy-cases.example.toml")


def _policy(*words: str) -> Result:
    result = CliRunner().invoke(pgnotary, ["policy", *words], prog_name="pgnotary")
    assert isinstance(result.exception, SystemExit | None)
    return result


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration with one rule of its own."""
    path = tmp_path / "pgnotary.toml"
    path.write_text(
        """
        [[policy.rule]]
        name = "evas"
        result = "forward"
        class = "update"
        qualifier = "write"
        relation = "app.*"
        database = "shop"
        user = "eva"
        [[policy.rule]]
        name = "many"
        result = "refuse"
        min_rows = 100
        """
    )
    return path


def _test(config: Path, cases: str, *words: str, name: str = "cases.toml") -> Result:
    path = config.parent / name
    path.write_text(cases)
    return _policy("test", str(path), "--config", str(config), *words)


# --- test -------------------------------------------------------------------------------------------------------------


def test_the_example_says_what_its_cases_expect() -> None:
    result = _policy("test", str(EXAMPLE_CASES), "--config", str(EXAMPLE))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"ok  10 cases, policy {load(EXAMPLE).policy.digest}\n"


def test_every_rule_of_the_example_is_tried_by_a_case() -> None:
    tried = set(re.findall(r'rule = "(policy/.*)"', EXAMPLE_CASES.read_text()))
    assert tried == {rule.name for rule in load(EXAMPLE).own_rules}


_EVAS = """
[[case]]
sql = "UPDATE t SET x = 1 WHERE id = 1"
verdict = "{verdict}"
class = "{class_}"
rule = "{rule}"
user = "{user}"
database = "shop"
relations = {{ "app.t" = "{kind}" }}
"""
_RIGHT = {"verdict": "forward", "class_": "update", "rule": "policy/evas", "user": "eva", "kind": "table"}


def test_a_case_as_expected_is_passed_over_in_silence(config: Path) -> None:
    result = _test(config, _EVAS.format(**_RIGHT) * 2)
    assert (result.exit_code, result.stderr) == (0, "")
    assert re.fullmatch(r"ok  2 cases, policy [0-9a-f]{64}\n", result.stdout)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"verdict": "hold"}, ["verdict: expected hold, found forward"]),
        ({"class_": "delete"}, ["class: expected delete, found update"]),
        ({"rule": "policy/bos"}, ["rule: expected policy/bos, found policy/evas"]),
        (
            {"user": "bo"},
            ["verdict: expected forward, found hold", "rule: expected policy/evas, found default/hold-update"],
        ),
        (
            {"kind": "table with a trigger"},
            ["verdict: expected forward, found hold", "rule: expected policy/evas, found default/hold-update"],
        ),
    ],
)
def test_each_difference_is_told_with_what_was_expected_and_found(
    config: Path, wrong: dict[str, str], told: list[str]
) -> None:
    result = _test(config, _EVAS.format(**_RIGHT) + _EVAS.format(**(_RIGHT | wrong)))
    head, *lines, reason = result.stdout.splitlines()
    assert result.exit_code == 1
    assert head == "FAIL case[1]: UPDATE t SET x = 1 WHERE id = 1"
    assert [line.strip() for line in lines] == told
    assert reason.startswith("      reason: it ")
    assert result.stderr == f"pgnotary: 1 of 2 cases in {config.parent / 'cases.toml'} are not as expected\n"


@pytest.mark.parametrize(("rows", "verdict"), [(99, "hold"), (100, "refuse")])
def test_the_rows_of_a_case_stand_for_its_preview(config: Path, rows: int, verdict: str) -> None:
    case = f'[[case]]\nsql = "DELETE FROM t"\nverdict = "{verdict}"\nrows = {rows}'
    assert _test(config, case).exit_code == 0
    assert _test(config, case.replace(f"rows = {rows}", f"rows = {199 - rows}")).exit_code == 1


def test_cases_may_be_lines_of_json(config: Path) -> None:
    lines = '\n{"sql": "SELECT 1", "verdict": "forward"}\n\n{"sql": "SELECT 2", "verdict": "hold", "class": "select"}\n'
    result = _test(config, lines, name="cases.jsonl")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[:2] == ["FAIL line 4: SELECT 2", "      verdict: expected hold, found forward"]


@pytest.mark.parametrize(
    ("kind", "sql"),
    [
        ("view", "INSERT INTO t VALUES (1)"),
        ("foreign table", "SELECT * FROM t"),
        ("view with a function", "SELECT * FROM t"),
        ("table with a trigger", "INSERT INTO t VALUES (1)"),
    ],
)
def test_what_a_relation_is_decides_the_case(config: Path, kind: str, sql: str) -> None:
    case = '[[case]]\nsql = "{0}"\nverdict = "{1}"\nrelations = {{ "app.t" = "{2}" }}'
    assert _test(config, case.format(sql, "hold", kind)).exit_code == 0
    assert _test(config, case.format(sql, "forward", "table")).exit_code == 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_relation_can_be_read_unless_it_runs_code_or_is_elsewhere(config: Path, kind: str) -> None:
    verdict = "hold" if kind in ("foreign table", "view with a function") else "forward"
    case = f"""[[case]]\nsql = 'SELECT * FROM "T"'\nverdict = "{verdict}"\nrelations = {{ 'app."T"' = "{kind}" }}"""
    assert _test(config, case).exit_code == 0


def test_without_relations_a_databases_own_catalog_may_be_asked(
    config: Path, postgres: EmbeddedPostgres, database: str
) -> None:
    url = postgres.dsn(database)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(b"CREATE TABLE t (id int)")
    case = '[[case]]\nsql = "INSERT INTO t VALUES (1)"\nverdict = "forward"\n'
    assert _test(config, case).exit_code == 1
    assert _test(config, case, "--database", url).exit_code == 0
    trigger = case + 'relations = { "public.t" = "table with a trigger" }'
    assert _test(config, trigger, "--database", url).exit_code == 1


@pytest.mark.parametrize(
    ("name", "cases", "says"),
    [
        ("c.toml", "", "c.toml: has no case"),
        ("c.jsonl", "\n", "c.jsonl: has no case"),
        ("c.toml", "case", "c.toml: is not TOML"),
        ("c.toml", "[[case]]\nverdict = 'hold'", "c.toml: case[0]: object missing required field `sql`"),
        (
            "c.toml",
            "[[case]]\nsql = ''\nverdict = 'held'",
            "c.toml: case[0].verdict is 'held': expected one of forward",
        ),
        (
            "c.toml",
            "[[case]]\nsql = ''\nverdict = 'hold'\nrows = -1",
            "c.toml: case[0].rows is -1: expected `int` >= 0",
        ),
        ("c.toml", "[[case]]\nsql = ''\nverdict = 'hold'\nusr = 'a'", "c.toml: case[0]: object contains unknown field"),
        (
            "c.toml",
            "[[case]]\nsql = ''\nverdict = 'hold'\nclass = 'dlete'",
            "c.toml: case[0].class is 'dlete': expected one of select",
        ),
        (
            "c.toml",
            "[[case]]\nsql = ''\nverdict = 'hold'\nrelations = { t = 'table' }",
            "c.toml: case[0].relations has 't': expected schema.name",
        ),
        (
            "c.toml",
            "[[case]]\nsql = ''\nverdict = 'hold'\nrelations = { 'a.t' = 'tabel' }",
            "c.toml: case[0].relations.a.t is 'tabel': expected one of table, ",
        ),
        (
            "c.jsonl",
            '{"sql": "", "verdict": "hold"}\n{"sql": 1, "verdict": "hold"}',
            "c.jsonl: line 2: sql: expected `str`",
        ),
        ("c.jsonl", '{"sql": "", "verdict": "held"}', "c.jsonl: line 1.verdict is 'held': expected one of forward"),
        ("c.jsonl", "SELECT 1", "c.jsonl: line 1: "),
        ("c.jsonl", "\ud83d", "c.jsonl: line 1: "),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_its_place(config: Path, name: str, cases: str, says: str) -> None:
    path = config.parent / name
    path.write_bytes(cases.encode(errors="surrogatepass"))
    result = _policy("test", str(path), "--config", str(config))
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_file_that_is_not_there_is_wrong_usage(config: Path) -> None:
    result = _policy("test", str(config.parent / "none.toml"), "--config", str(config))
    assert result.exit_code == 2
    assert "none.toml: cannot be read" in result.stderr
    assert _policy("test", str(EXAMPLE_CASES), "--config", str(config.parent / "none.toml")).exit_code == 2


def test_a_statement_in_a_case_moves_no_cursor(config: Path) -> None:
    result = _test(config, "[[case]]\nsql = 'SELECT \"\u009b2J\u202e\"()'\nverdict = 'forward'")
    assert result.exit_code == 1
    assert "\x9b" not in result.stdout
    assert "\u202e" not in result.stdout


# --- show -------------------------------------------------------------------------------------------------------------


def test_show_lists_the_rules_in_the_order_in_which_they_are_asked() -> None:
    policy = load(EXAMPLE).policy
    lines = _policy("show", "--config", str(EXAMPLE)).stdout.splitlines()
    assert lines[0] == f"profile default, {len(policy.rules)} rules, digest {policy.digest}"
    assert [line.split()[0] for line in lines[1:-1]] == [rule.name for rule in policy.rules]
    assert lines[2] == "  policy/salaries     hold     relation payroll.*; hold_s 3600"
    assert lines[4] == "  policy/too-many     refuse   min_rows 1000000"
    assert lines[-1] == "  default/hold-CLASS  hold     what no rule speaks for"


def test_what_a_rule_keeps_no_text_of_is_shown_and_can_be_expected(config: Path) -> None:
    config.write_text('[[policy.rule]]\nname = "reads"\nresult = "forward"\nclass = "select"\nrecord = "summary"\n')
    lines = _policy("show", "--config", str(config)).stdout.splitlines()
    assert lines[1].split(maxsplit=2) == ["policy/reads", "forward", "class select; harmless; record summary"]
    case = '[[case]]\nsql = "{}"\nverdict = "forward"\nrecord = "{}"\n'
    assert _test(config, case.format("SELECT 1", "summary") + case.format("SHOW work_mem", "each")).exit_code == 0
    result = _test(config, case.format("SELECT 1; SHOW work_mem", "summary"))
    assert (result.exit_code, "      record: expected summary, found each\n" in result.stdout) == (1, True)
    wrong = _test(config, case.format("SELECT 1", "none"))
    assert (wrong.exit_code, "case[0].record is 'none': expected one of each, summary" in wrong.stderr) == (2, True)


def test_show_says_when_nothing_is_held(tmp_path: Path) -> None:
    path = tmp_path / "pgnotary.toml"
    path.write_text("[policy]\nprofile = 'observe'")
    assert _policy("show", "--config", str(path)).stdout.splitlines()[-1].split()[1] == "noted"


def test_show_gives_programs_the_keys_of_the_configuration(config: Path) -> None:
    told = json.loads(_policy("show", "--json", "--config", str(config)).stdout)
    policy = load(config).policy
    assert {key: told[key] for key in ("profile", "holds", "digest")} == {
        "profile": "default", "holds": True, "digest": policy.digest,
    }  # fmt: skip
    assert told["rules"][0] == {
        "name": "policy/evas", "result": "forward", "class": ["update"], "qualifier": ["write"], "relation": ["app.*"],
        "database": ["shop"], "user": ["eva"], "min_rows": 0, "record": "each", "hold_s": None, "preview": True,
        "sample_rows": None, "mask": [], "approvals": [],
    }  # fmt: skip
    assert len(told["rules"]) == len(policy.rules)
