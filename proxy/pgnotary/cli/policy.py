"""`pgnotary policy`: the rules in force, and whether they say what one expects of them.

A configuration enters; its rules leave in the order in which they are asked, or each case that they judge otherwise.
Nothing is forwarded, held or recorded.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import click

from pgnotary.cli.catalog_view import view_of
from pgnotary.cli.config_option import config_option
from pgnotary.cli.exits import Exit, Failed
from pgnotary.cli.judging import NO_DATABASE
from pgnotary.cli.policy_cases import cases_in, differences
from pgnotary.cli.policy_options import Bench
from pgnotary.cli.safe_text import cut, one_line, visible
from pgnotary.config import load
from pgnotary.judge.needs import ONE_OF_ANYONE
from pgnotary.judge.rules import Action, Policy, Record, Rule, Subject

__all__ = ["policy"]

_WIDTH = 100


@click.group()
def policy() -> None:
    """The rules that decide what is forwarded, held or refused."""


# --- show -------------------------------------------------------------------------------------------------------------


@policy.command("show")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Write one object.")
def policy_show(config: Path, *, as_json: bool) -> None:
    """List the rules in the order in which they are asked, with their digest."""
    rules = load(config).policy
    if as_json:
        fields = {"profile": rules.profile, "holds": rules.holds, "digest": rules.digest}
        click.echo(json.dumps({**fields, "rules": [_fields(rule) for rule in rules.rules]}))
        return
    for line in _listing(rules):
        click.echo(visible(line))


def _listing(rules: Policy) -> Iterator[str]:
    last = f"{rules.profile}/hold-CLASS"
    width = max(len(name) for name in (last, *(rule.name for rule in rules.rules)))
    yield f"profile {rules.profile}, {len(rules.rules)} rules, digest {rules.digest}"
    for rule in rules.rules:
        yield f"  {rule.name:<{width}}  {rule.result:<7}  {_about(rule)}"
    if rules.approvals != ONE_OF_ANYONE:
        yield "  approvals " + ", ".join(f"{need.count} of {need.group}" for need in rules.approvals)
    for group in rules.groups:
        yield f"  group {group.name}: {', '.join(group.people)}"
    if rules.break_glass:
        yield f"  break-glass: {', '.join(rules.break_glass)}"
    yield f"  {last:<{width}}  {Action.HOLD if rules.holds else 'noted':<7}  what no rule speaks for"


def _about(rule: Rule) -> str:
    """Return what a rule is about, in the words of the configuration."""
    listed = (
        ("class", rule.classes),
        ("qualifier", rule.qualifiers),
        ("relation", rule.relations),
        ("database", rule.databases),
        ("user", rule.users),
    )
    said = [f"{key} {', '.join(words)}" for key, words in listed if words]
    if rule.result is Action.FORWARD and not rule.qualifiers:
        said.append("harmless")
    if rule.min_rows:
        said.append(f"min_rows {rule.min_rows}")
    if rule.wishes.hold_s is not None:
        said.append(f"hold_s {rule.wishes.hold_s:g}")
    if rule.record is not Record.EACH:
        said.append(f"record {rule.record}")
    if not rule.wishes.preview:
        said.append("preview false")
    if rule.wishes.sample_rows is not None:
        said.append(f"sample_rows {rule.wishes.sample_rows}")
    if rule.wishes.approvals:
        said.append("approvals " + ", ".join(f"{need.count} of {need.group}" for need in rule.wishes.approvals))
    if rule.wishes.mask:
        said.append(f"mask {', '.join(rule.wishes.mask)}")
    return "; ".join(said) or "anything"


def _fields(rule: Rule) -> dict[str, object]:
    return {
        "name": rule.name,
        "result": rule.result,
        "class": rule.classes,
        "qualifier": rule.qualifiers,
        "relation": rule.relations,
        "database": rule.databases,
        "user": rule.users,
        "min_rows": rule.min_rows,
        "record": rule.record,
        "hold_s": rule.wishes.hold_s,
        "preview": rule.wishes.preview,
        "sample_rows": rule.wishes.sample_rows,
        "mask": rule.wishes.mask,
        "approvals": [f"{need.count} of {need.group}" for need in rule.wishes.approvals],
    }


# --- test -------------------------------------------------------------------------------------------------------------


@policy.command("test")
@click.argument("cases", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@config_option
@click.option("--database", metavar="URL", help="Ask this database's catalog for the cases that name no relations.")
def policy_test(cases: Path, config: Path, database: str | None) -> None:
    """Judge the cases in FILE (TOML or .jsonl), and print each whose verdict is not as expected.

    Exit status: 0 all are as expected; 1 some are not; 2 a file that cannot be used.
    """
    rules, placed = load(config).policy, cases_in(cases)
    view = NO_DATABASE if database is None else view_of(database)
    by = Bench(rules, view, Subject(view.database))
    failed = 0
    for place, case in placed:
        found = differences(case, by)
        if not found:
            continue
        failed += 1
        click.echo(cut(visible(one_line(f"FAIL  {place}: {case.sql}")), _WIDTH))
        for each in found:
            expected = f"expected {each.expected}, found " if each.expected else ""
            click.echo(visible(f"      {each.what}: {expected}{each.found}"))
    if failed:
        raise Failed(f"{failed} of {len(placed)} cases in {cases} are not as expected", Exit.FAILED)
    click.echo(f"ok  {len(placed)} case{'s' * (len(placed) != 1)}, policy {rules.digest}")
