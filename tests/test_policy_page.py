"""docs/policy.md is true: its words are those of the judge, its examples load, its commands print what it shows."""

import json
import re

import pytest
from tests.pages import PAGES, Page, run

from pgnotary.cli.policy_cases import KINDS
from pgnotary.config import parse
from pgnotary.judge.rule_table import RuleTable
from pgnotary.judge.rules import PROFILES, Action, Record
from pgnotary.judge.statement import Qualifier, StatementClass

PAGE = "policy.md"
TEXT = PAGES[PAGE].read_text(encoding="utf-8")


def _section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def _rows(section: str) -> list[list[str]]:
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_qualifier_has_a_row_in_order() -> None:
    assert [row[0].strip("`") for row in _rows(_section("Qualifiers"))] == list(Qualifier)


def test_the_page_says_which_qualifiers_default_forwards() -> None:
    said = {row[0].strip("`"): row[2] for row in _rows(_section("Qualifiers"))}
    forwarded = {each for rule in PROFILES["default"].rules if not rule.classes for each in rule.qualifiers}
    assert {name for name, word in said.items() if word == "yes"} == forwarded
    (inserts,) = [rule for rule in PROFILES["default"].rules if rule.classes]
    assert inserts.classes == (StatementClass.INSERT,)
    assert {name for name, word in said.items() if word == "of an INSERT"} == set(inserts.qualifiers) - forwarded
    assert set(said.values()) == {"", "yes", "of an INSERT"}


def test_every_class_is_named_in_order() -> None:
    assert re.findall(r"`([a-z-]+)`", _section("Classes").split(".\n")[0]) == list(StatementClass)


def test_every_profile_has_a_row() -> None:
    assert {row[0].strip("`") for row in _rows(_section("Profiles"))} == set(PROFILES)


def test_every_key_of_a_rule_and_every_kind_of_relation_is_named() -> None:
    rules, cases = _section("Rules of one's own"), _section("Try it before it decides")
    assert [key for key in RuleTable.__struct_encode_fields__ if not re.search(rf"\b{key}\b", rules)] == []
    assert [kind for kind in KINDS if f"`{kind}`" not in cases] == []


def test_the_example_loads_and_is_what_its_remarks_say() -> None:
    example, of_the_record = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    assert [rule.record for rule in parse(PAGES[PAGE], of_the_record.encode()).own_rules] == [Record.SUMMARY]
    rules = parse(PAGES[PAGE], example.encode()).own_rules
    assert [(rule.name, rule.result) for rule in rules] == [
        ("policy/nightly", Action.FORWARD), ("policy/salaries", Action.HOLD), ("policy/too-many", Action.REFUSE),
    ]  # fmt: skip


@pytest.mark.parametrize("beginning", ["pgnotary explain", "pgnotary policy test", "pgnotary policy show"])
def test_what_a_command_prints_is_what_the_page_shows(page: Page, beginning: str) -> None:
    command = page.take(beginning)
    done = run(*command.words())
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.output
    assert not command.output or done.output == command.output


def test_the_digest_of_the_policy_is_printed_by_those_that_the_page_names(page: Page) -> None:
    config = "config/policy.example.toml"
    digest = re.findall(r"[0-9a-f]{64}", run(*page.take("pgnotary policy show").words()).output)
    explained = json.loads(run(*page.take("explain --json").words(), "SELECT 1", "--config", config).output)
    assert [explained["policy"]] == digest


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert links
    assert [link for link in links if not (PAGES[PAGE].parent / link).exists()] == []
