"""`pgnotary explain`: what would happen to a statement, and why; a database only if its catalog is to be asked.

A text, or one in each line of a file, enters; a verdict leaves with its rule, its reason and what each part of the text
may do, in order. A line that cannot be read ends the command with its number and the status of wrong usage; what stood
before it has been answered by then.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from pgnotary.cli.exits import Exit, Failed
from pgnotary.cli.judging import Judged, View, judge, touched
from pgnotary.cli.policy_options import bench, bench_options
from pgnotary.cli.safe_text import visible
from pgnotary.judge.rules import Policy, Record
from pgnotary.judge.statement import Part
from pgnotary.ledger.canonical import JSON

__all__ = ["explain"]


@click.command()
@click.argument("sql", required=False)
@bench_options
@click.option("--json", "as_json", is_flag=True, help="Write one object with all of it.")
@click.option("--jsonl", type=click.File("rb"), help='Judge one {"sql": ...} a line of FILE, or - for stdin.')
def explain(
    sql: str | None,
    config: Path | None,
    profile: str | None,
    database: str | None,
    user: str,
    in_database: str,
    jsonl: BinaryIO | None,
    *,
    as_json: bool,
) -> None:
    """Say whether SQL would be forwarded, held or refused, and why.

    With --jsonl, writes one {"verdict", "class", "reason", "rule", "judge"} a line, in the order of the input, or with
    --json all of it; blank lines are passed over. At the first line that is not an object with a text under "sql" it
    stops, with exit status 2.
    """
    if (sql is None) == (jsonl is None):
        raise click.UsageError("give either SQL or --jsonl FILE")
    by = bench(config, profile, database, user, in_database)
    for text in _texts(jsonl) if jsonl is not None else [sql or ""]:
        judged = judge(text, by.policy, by.view, by.subject)
        if as_json:
            click.echo(json.dumps(_object(judged, by.policy, by.view)))
        elif jsonl is not None:
            click.echo(json.dumps(_answer(judged)))
        else:
            for line in _lines(judged, by.view):
                click.echo(visible(line))


# --- for people -------------------------------------------------------------------------------------------------------


def _lines(judged: Judged, view: View) -> Iterator[str]:
    said = judged.verdict
    yield f"{said.action}  {said.kind}"
    yield from _row("rule", said.rule)
    yield from _row("judge", said.judge)
    yield from _row("reason", said.reason)
    yield from _row("would", f"be held by {said.would}" if said.would else "")
    yield from _row("record", "" if said.record is Record.EACH else f"{said.record}: counts and a digest, no text")
    parts = judged.statement.parts if judged.statement else ()
    for number, part in enumerate(parts, 1):
        if len(parts) > 1:
            yield f"statement {number} of {len(parts)}  {part.kind}"
        for finding in part.findings:
            yield from _row("finding", f"{finding.qualifier}: {finding.reason} ({finding.judge})")
        touches = touched(part, view)
        yield from _row("changes", ", ".join(touches.changes))
        yield from _row("reads", ", ".join(touches.reads))
        yield from _row("with", ", ".join(touches.queries))
        yield from _row("calls", ", ".join(touches.calls))
        yield from _row("parameters", str(part.parameters or ""))


def _row(label: str, text: str) -> Iterator[str]:
    if text:
        yield f"  {label:<10}  {text}"


# --- for programs -----------------------------------------------------------------------------------------------------


def _answer(judged: Judged) -> dict[str, JSON]:
    said = judged.verdict
    return {
        "verdict": said.action.value,
        "class": said.kind.value,
        "reason": said.reason,
        "rule": said.rule,
        "judge": said.judge,
    }


def _object(judged: Judged, policy: Policy, view: View) -> dict[str, JSON]:
    parts = judged.statement.parts if judged.statement else ()
    return {
        **_answer(judged),
        "would": judged.verdict.would,
        "record": judged.verdict.record.value,
        "profile": policy.profile,
        "policy": policy.digest,
        "parts": [_part(part, view) for part in parts],
    }


def _part(part: Part, view: View) -> dict[str, JSON]:
    touches = touched(part, view)
    return {
        "class": part.kind.value,
        "runs": part.runs.value if part.runs else "",
        "node": part.node,
        "start": part.start,
        "end": part.end,
        "findings": [
            {"qualifier": finding.qualifier.value, "judge": finding.judge, "reason": finding.reason}
            for finding in part.findings
        ],
        "changes": list(touches.changes),
        "reads": list(touches.reads),
        "with": list(touches.queries),
        "calls": list(touches.calls),
        "parameters": part.parameters,
    }


# --- the lines of a file ----------------------------------------------------------------------------------------------


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
