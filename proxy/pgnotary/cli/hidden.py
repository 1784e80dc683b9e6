"""An open request without its secrets, as an approver is shown it: a believed `Paper` enters, one for eyes leaves.

The signature binds the paper as it was believed: its entries, and the whole statement by its commitment. Only what is
drawn from the shown paper loses its secrets, and how many it has lost is counted, so that nobody signs what they do not
know to be hidden.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import click
import msgspec

from pgnotary.approval.papers import Measured, Paper
from pgnotary.judge.secrets import masked, secret_spans, told
from pgnotary.request import veiled_parameters
from pgnotary.request.sample import Value

__all__ = ["Shown", "secrets_option", "without_secrets"]

secrets_option = click.option("--secrets", is_flag=True, help="Show the secrets in texts, which are hidden otherwise.")


@dataclass(frozen=True, slots=True)
class Shown:
    """A paper for eyes."""

    paper: Paper
    hidden: int
    """How many secrets its texts, and what is bound to them, have that it does not show."""
    hides_code: bool = False
    """Whether a text that runs, or one that nobody could take apart, is hidden with them."""


def without_secrets(paper: Paper) -> Shown:
    """Return a paper in which each secret of its texts, and of what is bound to them, is replaced by a marker."""
    statement, prepared = paper.statement.encode(), (paper.prepared or "").encode()
    bound = (
        None if paper.parameters is None else veiled_parameters.without_secrets(paper.parameters, statement, prepared)
    )
    tell = partial(_told, texts=(statement, prepared), values=bound.values if bound else frozenset())
    rows = tuple(tuple(_sampled(value, tell) for value in row) for row in paper.rows)
    context = msgspec.structs.replace(
        paper.context,
        why=tell(paper.context.why),
        search_path=tell(paper.context.search_path),
        application=tell(paper.context.application),
    )
    shown = replace(
        paper,
        context=context,
        measured=_measured(paper.measured, tell),
        statement=masked(statement, prepared).decode(),
        parameters=bound.parameters if bound else None,
        prepared=None if paper.prepared is None else masked(prepared).decode(),
        reason=tell(paper.reason),
        rows=rows,
        unread=tuple((name, tell(value) if isinstance(value, str) else value) for name, value in paper.unread),
    )
    spans = (*secret_spans(statement, prepared), *secret_spans(prepared))
    hidden = sum(new != old for new, old in zip(chain(*rows), chain(*paper.rows), strict=True))
    hidden += len(spans) + (bound.hidden if bound else 0)
    return Shown(shown, hidden, any(span.hides_code for span in spans) or (bound is not None and bound.hides_code))


def _told(message: str, *, texts: tuple[bytes, ...], values: frozenset[str]) -> str:
    return told(message, *texts, values=values)


def _measured(measured: Measured, tell: Callable[[str], str]) -> Measured:
    statements = tuple(msgspec.structs.replace(each, why=tell(each.why)) for each in measured.statements)
    return msgspec.structs.replace(measured, why=tell(measured.why), statements=statements)


def _sampled(value: Value, tell: Callable[[str], str]) -> Value:
    """Return a sampled value without what has the shape of a secret, or is one of the texts', whatever its column."""
    return value if value.text is None else Value(tell(value.text), value.is_cut)
