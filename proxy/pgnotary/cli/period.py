"""A period as auditors type it: --since and --until enter, two moments leave, each None if it was not given."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import click

__all__ = ["period", "period_options"]

_Command = TypeVar("_Command", bound=Callable[..., object])


def period_options(command: _Command) -> _Command:
    """Add the options that `period` reads."""
    since = click.option("--since", metavar="WHEN", help="A date, a time, or 7d, 24h, 30m ago.")
    until = click.option("--until", metavar="WHEN", help="As --since.")
    return since(until(command))


def period(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """Return the moments; a usage error if they cannot be read, or the first is later than the second."""
    begin, end = _moment(since), _moment(until)
    if begin is not None and end is not None and begin > end:
        raise click.UsageError(f"--since {since} is later than --until {until}")
    return begin, end


def _moment(said: str | None) -> datetime | None:
    from pgnotary.audit.search import moment

    try:
        return None if said is None else moment(said, datetime.now(UTC))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
