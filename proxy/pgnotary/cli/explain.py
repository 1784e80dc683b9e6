"""`pgnotary explain`: what would happen to a statement, and why; no database needed.

A text, or one in each line of a file, enters; a verdict with its reason leaves, in order. A line that cannot be read
ends the command with its number and the status of wrong usage; what stood before it has been answered by then.
"""

import json
from collections.abc import Iterator
from typing import BinaryIO

import click

from pgnotary.cli.exits import Exit, Failed
from pgnotary.cli.safe_text import visible
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
@click.option("--jsonl", type=click.File("rb"), help='Judge one {"sql": ...} a line of FILE, or - for stdin.')
def explain(sql: str | None, profile: str, jsonl: BinaryIO | None) -> None:
    """Say whether SQL would be forwarded, held or refused, and why.

    With --jsonl, writes one {"verdict", "class", "reason"} a line, in the order of the input; blank lines are passed
    over. At the first line that is not an object with a text under "sql" it stops, with exit status 2.
    """
    if (sql is None) == (jsonl is None):
        raise click.UsageError("give either SQL or --jsonl FILE")
    rules = PROFILES[profile]
    if jsonl is not None:
        for text in _texts(jsonl):
            judged = _judge(text, rules)
            fields = {"verdict": judged.action.value, "class": judged.kind.value, "reason": judged.reason}
            click.echo(json.dumps(fields))
        return
    judged = _judge(sql or "", rules)
    click.echo(f"{judged.action}  {judged.kind}")
    click.echo(f"  rule    {judged.rule}\n  reason  {visible(judged.reason)}")


def _texts(lines: BinaryIO) -> Iterator[str]:
    """Yield the text of each line that is not blank; raises Failed with the number of one that has none."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line.decode())
        except UnicodeDecodeError as error:
            raise _odd(number, f"byte {error.start + 1} is not UTF-8") from error
        except (ValueError, RecursionError) as error:
            raise _odd(number, f"not JSON: {str(error).partition(':')[0]}") from error
        if not isinstance(fields, dict) or "sql" not in fields:
            raise _odd(number, f"{_kind(fields)} without a key named sql")
        if not isinstance(fields["sql"], str):
            raise _odd(number, f"sql is {_kind(fields['sql'])}")
        yield fields["sql"]


def _odd(number: int, found: str) -> Failed:
    return Failed(f'--jsonl: line {number}: {found}; expected {{"sql": "..."}}', Exit.USAGE)


def _kind(value: object) -> str:
    """Return JSON's name of a value's kind."""
    match value:
        case dict():
            return "an object"
        case list():
            return "an array"
        case str():
            return "a string"
        case bool() | None:
            return json.dumps(value)
        case _:
            return "a number"


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
