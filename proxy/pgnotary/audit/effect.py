"""What an approved statement did in its transaction: an `executed` entry's body enters, `Effect` leaves.

It is the server's own count, taken before anything was committed; whether it stayed is for the outcome to say.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pgnotary.audit.body import number, text, texts
from pgnotary.audit.copied import Copied, copied_in
from pgnotary.ledger.canonical import JSON

__all__ = ["Changed", "Effect", "effect_in"]

_VERBS = ("inserted", "updated", "deleted")


@dataclass(frozen=True, slots=True)
class Changed:
    """One relation of which rows were changed."""

    relation: str
    target: bool
    """The statement itself names it; else a cascade, a trigger or a function changed it."""
    inserted: int
    updated: int
    deleted: int

    def __str__(self) -> str:
        counts = (f"{rows:,} {verb}" for verb in _VERBS if (rows := getattr(self, verb)))
        return f"{self.relation} {', '.join(counts) or 'changed'}{'' if self.target else ' (not named by it)'}"


@dataclass(frozen=True, slots=True)
class Effect:
    """What one execution did."""

    rows: int | None
    """Of the relations that it names; None if nobody could count them."""
    other_rows: int | None
    tags: tuple[str, ...]
    """PostgreSQL's command tag of each of its parts, in order."""
    changed: tuple[Changed, ...]
    more: int
    """How many relations more there are than are listed."""
    uncountable: str
    """Why nobody could count it, to follow on "it"."""
    took_us: int | None
    copied: Copied | None
    """Of COPY FROM STDIN: what is known of its data."""

    @property
    def lines(self) -> Iterator[str]:
        """Yield what it changed, relation by relation."""
        yield from map(str, self.changed)
        if self.more:
            yield f"and {self.more:,} relations more"
        if self.uncountable:
            yield f"what it changed could not be counted: it {self.uncountable}"


def effect_in(body: Mapping[str, JSON]) -> Effect:
    """Return what an `executed` entry tells; what is absent or of another type is not known."""
    return Effect(
        rows=number(body, "rows"),
        other_rows=number(body, "other_rows"),
        tags=texts(body, "tags"),
        changed=tuple(_changed(body.get("changed"))),
        more=number(body, "changed_more") or 0,
        uncountable=text(body, "uncountable"),
        took_us=number(body, "took_us"),
        copied=copied_in(body),
    )


def _changed(listed: JSON | None) -> Iterator[Changed]:
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, Mapping):
            inserted, updated, deleted = (number(each, verb) or 0 for verb in _VERBS)
            yield Changed(text(each, "relation"), each.get("target") is True, inserted, updated, deleted)
