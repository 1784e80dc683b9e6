"""`pgnotary explain`: what would happen to a statement, and why; no database needed."""

import json
from collections.abc import Iterator
from typing import TextIO

import click

from pgnotary.errors import StatementError
from pgnotary.judge.policy import PROFILES, Action, Profile, Verdict, verdict
from pgnotary.judge.reading import read
from pgnotary.judge.statement import StatementClass

__all__ = ["explain"]


@click.command()
@click.argument("sql", required=False)
@click.option(
    "--profile", type=click.Choice(sorted(PROFILES)), default="default", show_default=True, help="Rules to judge by."
)
@click.option(
    "--jsonl", type=click.File("r", encoding="utf-8"), help='Judge one {"sql": ...} a line of FILE, or - for stdin.'
)
def explain(sql: str | None, profile: str, jsonl: TextIO | None) -> None:
    """Say whether SQL would be forwarded, held or refused, and why.

    With --jsonl, writes one {"verdict", "class", "reason"} a line, in the order of the input.
    """
    if (sql is None) == (jsonl is None):
        raise click.UsageError("give either SQL or --jsonl FILE")
    rules = PROFILES[profile]
    if jsonl is not None:
        for text in _texts(jsonl):
            click.echo(json.dumps(_line(text, rules), ensure_ascii=False))
        return
    judged = _judge(sql or "", rules)
    click.echo(f"{judged.action}  {judged.kind}")
    click.echo(f"  rule    {judged.rule}\n  reason  {judged.reason}")


def _texts(lines: TextIO) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            sql = json.loads(line)["sql"]
        except (ValueError, LookupError, TypeError) as error:
            raise click.ClickException(f'line {number}: expected an object with "sql": {error}') from error
        if not isinstance(sql, str):
            raise click.ClickException(f'line {number}: "sql" is {sql!r}, expected a string')
        yield sql


def _line(sql: str, rules: Profile) -> dict[str, str]:
    judged = _judge(sql, rules)
    return {"verdict": judged.action.value, "class": judged.kind.value, "reason": judged.reason, "rule": judged.rule}


def _judge(sql: str, rules: Profile) -> Verdict:
    text = sql.encode(errors="surrogatepass")
    if b"\0" in text:
        return Verdict(
            Action.REFUSE, StatementClass.UNKNOWN, "refuse/framing", "a NUL cannot be part of a Query message"
        )
    try:
        return verdict(read(text), rules)
    except StatementError as error:
        return Verdict(Action.REFUSE, StatementClass.UNKNOWN, "refuse/encoding", str(error))
