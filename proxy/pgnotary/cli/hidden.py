"""An open request without its secrets, as an approver is shown it: a believed `Paper` enters, one for eyes leaves.

The signature binds the paper as it was believed: its entries, and the whole statement by its commitment. Only what is
drawn from the shown paper loses its secrets, and how many it has lost is counted, so that nobody signs what they do not
know to be hidden.
"""

from dataclasses import dataclass, replace
from itertools import chain

import click
import msgspec

from pgnotary.approval.papers import Measured, Paper
from pgnotary.judge.secrets import masked, secret_spans, told
from pgnotary.request.sample import Value

__all__ = ["Shown", "secrets_option", "without_secrets"]

secrets_option = click.option("--secrets", is_flag=True, help="Show the secrets in texts, which are hidden otherwise.")


@dataclass(frozen=True, slots=True)
class Shown:
    """A paper for eyes."""

    paper: Paper
    hidden: int
    """How many secrets its texts have that it does not show."""
    hides_code: bool = False
    """Whether a text that runs, or one that nobody could take apart, is hidden with them."""


def without_secrets(paper: Paper) -> Shown:
    """Return a paper in which each secret of its texts is replaced by a marker."""
    statement, prepared = paper.statement.encode(), (paper.prepared or "").encode()
    texts = (statement, prepared)
    rows = tuple(tuple(_told(value, texts) for value in row) for row in paper.rows)
    context = msgspec.structs.replace(
        paper.context,
        why=told(paper.context.why, *texts),
        search_path=told(paper.context.search_path, *texts),
        application=told(paper.context.application, *texts),
    )
    shown = replace(
        paper,
        context=context,
        measured=_measured(paper.measured, texts),
        statement=masked(statement, prepared).decode(),
        prepared=None if paper.prepared is None else masked(prepared).decode(),
        reason=told(paper.reason, *texts),
        rows=rows,
        unread=tuple((name, told(value, *texts) if isinstance(value, str) else value) for name, value in paper.unread),
    )
    spans = (*secret_spans(statement, prepared), *secret_spans(prepared))
    values = sum(new != old for new, old in zip(chain(*rows), chain(*paper.rows), strict=True))
    return Shown(shown, len(spans) + values, any(span.hides_code for span in spans))


def _measured(measured: Measured, texts: tuple[bytes, ...]) -> Measured:
    statements = tuple(msgspec.structs.replace(each, why=told(each.why, *texts)) for each in measured.statements)
    return msgspec.structs.replace(measured, why=told(measured.why, *texts), statements=statements)


def _told(value: Value, texts: tuple[bytes, ...]) -> Value:
    """Return a sampled value without what has the shape of a secret, or is one of the texts', whatever its column."""
    return value if value.text is None else Value(told(value.text, *texts), value.is_cut)
