"""`pgnotary explain`, by hand and over a file, with a policy and with a database."""

import io
import json
import socket
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from pgnotary.cli import pgnotary
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.judge.rules import PROFILES, policy_of


def _explain(*words: str, stdin: bytes = b"") -> Result:
    result = CliRunner().invoke(pgnotary, ["explain", *words], input=io.BytesIO(stdin), prog_name="pgnotary")
    assert isinstance(result.exception, SystemExit | None)
    return result


_LINES = b"""{"sql": "SELECT 1"}
{"sql": "DELETE FROM orders", "id": 7}
{"sql": "LISTEN \\u0000"}
{"sql": "\\ud800"}
{"sql": ""}
"""


def _verdicts(result: Result) -> list[str]:
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert all(list(each) == ["verdict", "class", "reason", "rule", "judge"] for each in told)
    assert all(isinstance(value, str) for each in told for value in each.values())
    return [each["verdict"] for each in told]


def test_each_line_is_answered_with_exactly_verdict_class_reason_rule_and_judge_in_order(tmp_path: Path) -> None:
    path = tmp_path / "statements.jsonl"
    path.write_bytes(_LINES)
    result = _explain("--jsonl", str(path))
    assert (result.exit_code, result.stderr) == (0, "")
    assert _verdicts(result) == ["forward", "hold", "refuse", "refuse", "forward"]


def test_a_dash_reads_stdin() -> None:
    result = _explain("--jsonl", "-", stdin=_LINES)
    assert (result.exit_code, len(_verdicts(result))) == (0, 5)


def test_a_blank_line_is_passed_over_and_ends_nothing() -> None:
    result = _explain("--jsonl", "-", stdin=b'\n{"sql": "SELECT 1"}\r\n \n\n{"sql": "DROP TABLE t"}')
    assert (result.exit_code, _verdicts(result)) == (0, ["forward", "hold"])


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"DELETE FROM orders", "not JSON"),
        (b'{"sql": "SELECT 1"', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'\xef\xbb\xbf{"sql": "SELECT 1"}', "not JSON"),
        (b'{"sql": "\xff"}', "byte 10 is not UTF-8"),
        (b'{"query": "SELECT 1"}', "an object without a key named sql"),
        (b'["SELECT 1"]', "an array without a key named sql"),
        (b'"SELECT 1"', "a string without a key named sql"),
        (b"null", "null without a key named sql"),
        (b'{"sql": null}', "sql is null"),
        (b'{"sql": true}', "sql is true"),
        (b'{"sql": 1}', "sql is a number"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_after_those_before_it_were_answered(line: bytes, says: str) -> None:
    result = _explain("--jsonl", "-", stdin=b'{"sql": "SELECT 1"}\n\n' + line + b'\n{"sql": "SELECT 2"}\n')
    assert result.exit_code == 2
    assert _verdicts(result) == ["forward"]
    assert result.stderr.startswith(f"pgnotary: --jsonl: line 3: {says}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [(), ("SELECT 1", "--jsonl", "-"), ("--jsonl", "/no/such/file")])
def test_neither_both_nor_a_missing_file_is_wrong_usage(words: tuple[str, ...]) -> None:
    result = _explain(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith("pgnotary: ")


def test_a_name_in_a_reason_moves_no_cursor() -> None:
    result = _explain('SELECT "\x9b2J\u202e"()')
    assert result.exit_code == 0
    assert "\x9b" not in result.stdout
    assert "\u202e" not in result.stdout
    assert "hold" in result.stdout


def _object(*words: str) -> dict[str, Any]:
    result = _explain("--json", *words)
    assert (result.exit_code, result.stderr) == (0, "")
    (line,) = result.stdout.splitlines()
    told = json.loads(line)
    assert isinstance(told, dict)
    return told


def test_all_that_was_found_is_shown_for_each_statement() -> None:
    result = _explain("SELECT now(); WITH g AS (SELECT 1) UPDATE a.t SET x = $2 FROM g, y WHERE f()")
    assert result.exit_code == 0
    assert (
        result.stdout
        == """hold  update
  rule        default/hold-update
  judge       grammar
  reason      statement 2 of 2 is UPDATE
statement 1 of 2  select
  calls       now
statement 2 of 2  update
  finding     write: is UPDATE (grammar)
  finding     function: calls f, which is not on the list of harmless built-in functions (catalog)
  finding     code: changes a.t, and no catalog says whether that is a plain table (catalog)
  changes     a.t
  reads       y
  with        g
  calls       f
  parameters  2
"""
    )


def test_what_is_shown_is_what_a_program_gets() -> None:
    told = _object("DELETE FROM t; COPY public.u TO STDOUT")
    assert {key: told[key] for key in ("verdict", "class", "rule", "judge", "would")} == {
        "verdict": "hold", "class": "delete", "rule": "default/hold-delete", "judge": "grammar", "would": "",
    }  # fmt: skip
    assert (told["profile"], told["policy"]) == ("default", policy_of(PROFILES["default"]).digest)
    deleted, copied = told["parts"]
    assert [finding["qualifier"] for finding in deleted["findings"]] == ["write", "unconditional", "code"]
    assert deleted["findings"][1] == {"qualifier": "unconditional", "judge": "grammar", "reason": "has no WHERE"}
    assert (deleted["node"], deleted["changes"], deleted["reads"]) == ("DeleteStmt", ["t"], [])
    assert (copied["class"], copied["changes"], copied["reads"]) == ("copy-out", [], ["public.u"])
    assert (copied["findings"], copied["parameters"]) == ([], 0)


@pytest.mark.parametrize("sql", ["LISTEN \0", "\ud800"])
def test_a_text_that_no_message_can_carry_has_no_parts(sql: str) -> None:
    result = _explain("--jsonl", "-", "--json", stdin=json.dumps({"sql": sql}).encode())
    told = json.loads(result.stdout)
    assert (told["verdict"], told["judge"], told["parts"]) == ("refuse", "", [])


def test_a_profile_that_only_observes_says_what_would_be_held() -> None:
    result = _explain("--profile", "observe", "DELETE FROM t")
    assert result.stdout.startswith("forward  delete\n")
    assert "\n  would       be held by observe/hold-delete\n" in result.stdout
    assert _object("--profile", "observe", "DELETE FROM t")["would"] == "observe/hold-delete"
    assert _object("--profile", "observe", "SELECT 1")["would"] == ""


def test_what_a_rule_keeps_no_text_of_is_said(tmp_path: Path) -> None:
    config = tmp_path / "pgnotary.toml"
    config.write_text('[[policy.rule]]\nname = "reads"\nresult = "forward"\nclass = "select"\nrecord = "summary"\n')
    said = "\n  record      summary: counts and a digest, no text\n"
    assert said in _explain("--config", str(config), "SELECT 1").stdout
    assert said not in _explain("SELECT 1").stdout
    told = [_object("--config", str(config), sql)["record"] for sql in ("SELECT 1", "SHOW work_mem", "DELETE FROM t")]
    assert told == ["summary", "each", "each"]


# --- whose policy, and for whom ---------------------------------------------------------------------------------------

_RULES = """
[[policy.rule]]
name = "evas"
result = "refuse"
class = "select"
user = "eva"
database = "shop"
"""


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ((), "default/harmless"),
        (("--user", "eva"), "default/harmless"),
        (("--in", "shop"), "default/harmless"),
        (("--user", "bo", "--in", "shop"), "default/harmless"),
        (("--user", "eva", "--in", "shop"), "policy/evas"),
    ],
)
def test_a_configured_policy_judges_for_a_user_in_a_database(tmp_path: Path, words: tuple[str, ...], rule: str) -> None:
    config = tmp_path / "pgnotary.toml"
    config.write_text(_RULES)
    told = _object("--config", str(config), *words, "SELECT 1")
    assert told["rule"] == rule
    assert told["verdict"] == ("refuse" if rule == "policy/evas" else "forward")


def test_a_configuration_in_the_folder_is_not_asked_unsaid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pgnotary.toml").write_text(_RULES.replace('"eva"', "[]").replace('"shop"', "[]"))
    monkeypatch.chdir(tmp_path)
    assert _object("SELECT 1")["verdict"] == "forward"
    assert _object("--config", "pgnotary.toml", "SELECT 1")["verdict"] == "refuse"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--config", "pgnotary.toml", "--profile", "strict"), "either --config or --profile"),
        (("--database", "postgresql://u@127.0.0.1:1/x", "--in", "shop"), "either --database or --in"),
        (("--database", "shop"), "expected a URL"),
        (("--database", ""), "expected a URL"),
        (("--config", "/no/such/file"), "cannot be read"),
        (("--profile", "lax"), "lax"),
    ],
)
def test_options_that_contradict_each_other_are_wrong_usage(words: tuple[str, ...], says: str) -> None:
    result = _explain(*words, "SELECT 1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


# --- a catalog --------------------------------------------------------------------------------------------------------

_SHOP = """
CREATE SCHEMA app;
CREATE TABLE app.orders (id int);
CREATE TABLE public.watched (id int);
CREATE FUNCTION public.notes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER noted BEFORE INSERT ON public.watched FOR EACH ROW EXECUTE FUNCTION public.notes();
CREATE FUNCTION app.doubled(n int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT n * 2 $$;
"""


@pytest.fixture
def shop(postgres: EmbeddedPostgres, database: str) -> str:
    """The URL of a database with a plain table, one with a trigger and a proven function."""
    url = postgres.dsn(database)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_SHOP.encode())
        connection.execute(f'ALTER DATABASE "{database}" SET search_path = app, public'.encode())
    return url


def test_a_database_says_what_names_mean(shop: str) -> None:
    found = _object("--database", shop, "INSERT INTO orders SELECT doubled(id) FROM watched")
    assert (found["verdict"], found["rule"]) == ("forward", "default/insert")
    assert found["parts"][0]["changes"] == ["app.orders"]
    assert found["parts"][0]["reads"] == ["public.watched"]
    assert found["parts"][0]["calls"] == ["doubled"]


def test_a_trigger_that_only_the_catalog_shows_is_found(shop: str) -> None:
    found = _object("--database", shop, "INSERT INTO watched VALUES (1)")
    assert (found["verdict"], found["judge"]) == ("hold", "catalog")
    assert found["reason"] == "it changes watched, which runs a trigger, a rule, a default or a check of its own"


def test_a_url_names_the_database_that_rules_speak_of(shop: str, database: str, tmp_path: Path) -> None:
    config = tmp_path / "pgnotary.toml"
    config.write_text(_RULES.replace('"shop"', f'"{database}"'))
    asked = ("--config", str(config), "--user", "eva", "SELECT 1")
    assert _object("--database", shop, *asked)["rule"] == "policy/evas"
    assert _object(*asked)["rule"] == "default/harmless"


def test_no_object_of_the_database_is_run_while_it_is_asked(postgres: EmbeddedPostgres, database: str) -> None:
    """Operators of a schema before pg_catalog would be called by a question that trusts the role's search_path."""
    url = postgres.dsn(database)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(b"CREATE SCHEMA trap")
        connection.execute(
            b"CREATE FUNCTION trap.sprung(name, name) RETURNS bool LANGUAGE plpgsql AS"
            b" $$ BEGIN RAISE EXCEPTION 'sprung'; END $$"
        )
        for operator in ("=", "<>"):
            connection.execute(
                f"CREATE OPERATOR trap.{operator} (LEFTARG = name, RIGHTARG = name, FUNCTION = trap.sprung)".encode()
            )
        connection.execute(f'ALTER DATABASE "{database}" SET search_path = trap, pg_catalog'.encode())
    with psycopg.connect(url) as connection, pytest.raises(psycopg.Error, match="sprung"):
        connection.execute(b"SELECT 'a'::name = 'b'::name")
    assert _object("--database", url, "SELECT 1")["verdict"] in ("forward", "hold")


def test_a_database_that_cannot_be_reached_has_a_status_of_its_own() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"postgresql://eva:open-sesame@127.0.0.1:{taken.getsockname()[1]}/shop"
        result = _explain("--database", url, "SELECT 1")
    assert (result.exit_code, result.stdout) == (7, "")
    assert result.stderr.startswith("pgnotary: --database: ")
    assert result.stderr.count("\n") == 1
    assert "open-sesame" not in result.stderr


def test_a_password_that_spoils_the_url_is_not_repeated() -> None:
    result = _explain("--database", "postgresql://eva:open%sesame@127.0.0.1:1/shop", "SELECT 1")
    assert result.exit_code == 2
    assert "sesame" not in result.stderr


def test_a_database_of_another_encoding_is_not_served(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(b"CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
        try:
            result = _explain("--database", postgres.dsn("latin"), "SELECT 1")
        finally:
            connection.execute(b"DROP DATABASE latin WITH (FORCE)")
    assert result.exit_code == 1
    assert "its encoding is LATIN1" in result.stderr
