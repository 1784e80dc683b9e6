"""Rules as a file writes them: tables of words enter, `Rule`s leave in the same order.

A word that no rule knows, a name that can never match and a key that means nothing where it stands are errors, each
with its key, its value and what was expected. So a rule that a slip of the pen has made idle is told at the start, and
not by what it let pass. What the file is, and where it is, is for the caller to say.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from pgnotary.errors import ConfigError
from pgnotary.judge.identifiers import identifier
from pgnotary.judge.needs import Group, needs_of
from pgnotary.judge.rules import Action, Record, Rule, Wishes
from pgnotary.judge.statement import Qualifier, StatementClass

__all__ = ["MOST_SAMPLED", "RuleTable", "masks_of", "one_of", "rules_of"]

_Words = str | tuple[str, ...]
_Member = TypeVar("_Member", bound=StrEnum)

# It stands in what psql and the ledger say.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
# One part of a relation's name, as `identifier` spells it: only in quotes may it have other characters, and there * and
# ? are not for sure meant as anything but themselves.
_PART = re.compile(r'[a-z_*?][a-z0-9_$*?]*|"(?:[^"*?\[\]]|"")+"')
_WHOLE = re.compile(rf"({_PART.pattern})\.({_PART.pattern})")
_COLUMN = re.compile(rf"(?:({_PART.pattern})\.({_PART.pattern})\.)?({_PART.pattern})")
_RELATION = 'expected schema.name in PostgreSQL\'s spelling (* and ? may stand for others; "Quoted" if not lower case)'

_COLUMN_WANTED = (
    'expected column, or schema.relation.column, in PostgreSQL\'s spelling (* and ? may stand for others; "Quoted" if '
    "not lower case)"
)
MOST_SAMPLED = 50


class RuleTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One [[policy.rule]]; a key that is not there, or is an empty list, matches anything."""

    name: str
    result: str
    class_: _Words = msgspec.field(default=(), name="class")
    qualifier: _Words = ()
    relation: _Words = ()
    database: _Words = ()
    user: _Words = ()
    min_rows: Annotated[int, Meta(ge=0)] = 0
    hold_s: Annotated[float, Meta(ge=1, le=86_400)] | None = None
    preview: bool | None = None
    sample_rows: Annotated[int, Meta(ge=0, le=MOST_SAMPLED)] | None = None
    mask: _Words = ()
    record: str | None = None
    approvals: _Words = ()


def rules_of(tables: Sequence[RuleTable], groups: Sequence[Group] = ()) -> tuple[Rule, ...]:
    """Return the rules that the tables write; raises ConfigError, whose message begins with the key: rule[2].class."""
    rules: list[Rule] = []
    for at, table in enumerate(tables):
        rule = _rule(f"rule[{at}]", table, groups)
        if any(rule.name == other.name for other in rules):
            raise ConfigError(f"rule[{at}].name is {table.name!r}: expected another one, it stands there twice")
        rules.append(rule)
    return tuple(rules)


def one_of(kind: type[_Member], key: str, value: str) -> _Member:
    """Return the member that a word names; raises ConfigError."""
    try:
        return kind(value)
    except ValueError as error:
        raise ConfigError(f"{key} is {value!r}: expected one of {', '.join(kind)}") from error


def _rule(key: str, table: RuleTable, groups: Sequence[Group]) -> Rule:
    if not _NAME.fullmatch(table.name):
        raise ConfigError(f"{key}.name is {table.name!r}: expected lower-case letters, digits and . _ -, at most 63")
    result = one_of(Action, f"{key}.result", table.result)
    _require_sense(key, table, result)
    return Rule(
        name=f"policy/{table.name}",
        result=result,
        classes=tuple(one_of(StatementClass, f"{key}.class", word) for word in _each(table.class_)),
        qualifiers=tuple(one_of(Qualifier, f"{key}.qualifier", word) for word in _each(table.qualifier)),
        relations=tuple(_relation(f"{key}.relation", word) for word in _each(table.relation)),
        databases=tuple(_whole_names(f"{key}.database", table.database)),
        users=tuple(_whole_names(f"{key}.user", table.user)),
        min_rows=table.min_rows,
        wishes=_wishes(key, table, groups),
        record=one_of(Record, f"{key}.record", Record.EACH if table.record is None else table.record),
    )


def _require_sense(key: str, table: RuleTable, result: Action) -> None:
    """Raise for a key that says nothing beside that result."""
    if result is Action.FORWARD and table.min_rows:
        raise ConfigError(
            f"{key}.min_rows is {table.min_rows}: expected 0 in a rule that forwards; "
            "how many rows change is only known of what is held"
        )
    if result is not Action.FORWARD and table.record is not None:
        raise ConfigError(
            f"{key}.record is {table.record!r}: expected only in a rule that forwards; "
            "what is held or refused is always listed"
        )
    wishes = {"hold_s": table.hold_s, "preview": table.preview, "sample_rows": table.sample_rows}
    for name, value in (wishes | {"mask": table.mask or None, "approvals": table.approvals or None}).items():
        if value is None:
            continue
        if result is not Action.HOLD:
            raise ConfigError(f"{key}.{name} is {value!r}: expected only in a rule that holds")
        if table.min_rows:
            raise ConfigError(
                f"{key}.{name} is {value!r}: expected only in a rule without min_rows; "
                "how it is held is settled before the rows are counted"
            )


def _wishes(key: str, table: RuleTable, groups: Sequence[Group]) -> Wishes:
    return Wishes(
        hold_s=table.hold_s,
        preview=table.preview is not False,
        sample_rows=table.sample_rows,
        mask=masks_of(f"{key}.mask", table.mask),
        approvals=needs_of(f"{key}.approvals", _each(table.approvals), groups),
    )


def masks_of(key: str, words: _Words) -> tuple[str, ...]:
    """Return patterns of columns as names are compared with them; raises ConfigError."""
    return tuple(_column(key, word) for word in _each(words))


def _column(key: str, pattern: str) -> str:
    parts = _COLUMN.fullmatch(pattern)
    if parts is None:
        raise ConfigError(f"{key} is {pattern!r}: {_COLUMN_WANTED}")
    return ".".join(_spelled(part) for part in parts.groups() if part is not None)


def _spelled(part: str) -> str:
    """Return a part of a name as `identifier` spells it, whose quotes may be more than are needed."""
    return identifier(part[1:-1].replace('""', '"')) if part[0] == '"' else part


def _each(words: _Words) -> Iterable[str]:
    return (words,) if isinstance(words, str) else words


def _whole_names(key: str, words: _Words) -> Iterator[str]:
    for word in _each(words):
        if not word or "*" in word or "?" in word:
            raise ConfigError(f"{key} is {word!r}: expected a whole name; * and ? stand for others only in relation")
        yield word


def _relation(key: str, pattern: str) -> str:
    """Return a pattern that a relation's name is compared with as `identifier` spells it."""
    parts = _WHOLE.fullmatch(pattern)
    if parts is None:
        raise ConfigError(f"{key} is {pattern!r}: {_RELATION}")
    return ".".join(map(_spelled, parts.groups()))
