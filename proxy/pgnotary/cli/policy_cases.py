"""Cases that a policy is tested by: a file of them enters, `Case`s leave, and for each what was found otherwise.

A file is TOML with a [[case]] for each, or JSONL with an object a line, with the same keys. What cannot be a case is an
error with its place, key, value and expectation; so is a file without any, which would test nothing. A case that names
relations is judged in a database that has those and nothing else of its own.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from pgnotary.cli.judging import Judged, View, judge
from pgnotary.cli.policy_options import Bench
from pgnotary.config import structure
from pgnotary.errors import ConfigError
from pgnotary.judge.catalog import Catalog, Relation
from pgnotary.judge.policy import counted
from pgnotary.judge.rule_table import one_of
from pgnotary.judge.rules import Action, Record, Subject
from pgnotary.judge.statement import StatementClass

__all__ = ["KINDS", "Case", "Difference", "cases_in", "differences"]

KINDS: Mapping[str, Relation] = {
    "table": Relation("r"),
    "partitioned table": Relation("p"),
    "view": Relation("v"),
    "materialized view": Relation("m"),
    "foreign table": Relation("f"),
    "sequence": Relation("S"),
    "table with a trigger": Relation("r", writing_calls=True),
    "view with a function": Relation("v", reading_calls=True),
}
"""What a case may say of a relation."""

_PART = r'"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*'
_WHOLE = re.compile(rf"({_PART})\.({_PART})")


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One statement, and what policy should say of it; an empty expectation expects nothing."""

    sql: str
    verdict: str
    class_: str = msgspec.field(default="", name="class")
    rule: str = ""
    record: str = ""
    user: str = ""
    database: str = ""
    rows: Annotated[int, Meta(ge=0)] | None = None
    """How many rows the preview finds; without it, rules with min_rows are not asked."""
    relations: dict[str, str] = {}
    """The relations of the database, by whole name: "public.orders" = "table"."""


class _Cases(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    case: tuple[Case, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as a case expects."""

    what: str
    expected: str
    found: str


def cases_in(path: Path) -> tuple[tuple[str, Case], ...]:
    """Return the cases of a file, each with its place in it; raises ConfigError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    placed = tuple(_lines(path, raw) if path.suffix == ".jsonl" else _tables(path, raw))
    if not placed:
        raise ConfigError(f"{path}: has no case")
    for place, case in placed:
        _check(f"{path}: {place}", case)
    return placed


def _tables(path: Path, raw: bytes) -> Iterator[tuple[str, Case]]:
    for at, case in enumerate(structure(path, raw, _Cases).case):
        yield f"case[{at}]", case


def _lines(path: Path, raw: bytes) -> Iterator[tuple[str, Case]]:
    for number, line in enumerate(raw.splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", msgspec.json.decode(line, type=Case)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            said, _, where = str(error).partition(" - at `$.")
            key = f"{where.rstrip('`')}: " if where else ""
            raise ConfigError(f"{path}: line {number}: {key}{said[:1].lower()}{said[1:]}") from error


def _check(where: str, case: Case) -> None:
    """Raise for words that could never be found, and would make the case fail, or pass, for no reason."""
    one_of(Action, f"{where}.verdict", case.verdict)
    if case.class_:
        one_of(StatementClass, f"{where}.class", case.class_)
    if case.record:
        one_of(Record, f"{where}.record", case.record)
    for name, kind in case.relations.items():
        if _WHOLE.fullmatch(name) is None:
            raise ConfigError(f"{where}.relations has {name!r}: expected schema.name in PostgreSQL's spelling")
        if kind not in KINDS:
            raise ConfigError(f"{where}.relations.{name} is {kind!r}: expected one of {', '.join(KINDS)}")


def differences(case: Case, by: Bench) -> tuple[Difference, ...]:
    """Return what policy says otherwise than the case expects, with the reason of its verdict at the end."""
    view = View(Catalog(known=True, relations=_relations(case))) if case.relations else by.view
    subject = Subject(case.database or by.subject.database, case.user or by.subject.user)
    judged = judge(case.sql, by.policy, view, subject)
    verdict, rule = _told(judged, case, by, subject)
    pairs = (
        Difference("verdict", case.verdict, verdict),
        Difference("class", case.class_, judged.verdict.kind),
        Difference("rule", case.rule, rule),
        Difference("record", case.record, judged.verdict.record),
    )
    found = tuple(each for each in pairs if each.expected and each.expected != each.found)
    return (*found, Difference("reason", "", judged.verdict.reason)) if found else ()


def _told(judged: Judged, case: Case, by: Bench, subject: Subject) -> tuple[str, str]:
    """Return what is said in the end, and by which rule."""
    said = judged.verdict
    if said.action is Action.HOLD and case.rows is not None and judged.statement is not None:
        found = counted(judged.statement, by.policy, subject, case.rows, said)
        return found.action, found.rule
    return said.action, said.rule


def _relations(case: Case) -> Mapping[str, Mapping[str, Relation]]:
    found: dict[str, dict[str, Relation]] = {}
    for whole, kind in case.relations.items():
        if (parts := _WHOLE.fullmatch(whole)) is not None:
            schema, name = (part[1:-1].replace('""', '"') if part[0] == '"' else part for part in parts.groups())
            found.setdefault(name, {})[schema] = KINDS[kind]
    return found
