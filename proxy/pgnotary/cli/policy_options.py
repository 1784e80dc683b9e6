"""Which policy a command judges by, and for whom: said once for `explain` and `policy`.

Words enter, a `Policy`, a `View` and a `Subject` leave, or wrong usage. Without --config the rules are those of a
profile alone: what a command says depends on its words, and on no file that happens to lie there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from pgnotary.cli.catalog_view import view_of
from pgnotary.cli.judging import NO_DATABASE, View
from pgnotary.config import load
from pgnotary.judge.rules import PROFILES, Policy, Subject, policy_of

__all__ = ["Bench", "bench", "bench_options", "policy_options", "policy_said"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

_CONFIG = click.option(
    "--config", "-c", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Judge by its policy."
)
_PROFILE = click.option(
    "--profile", type=click.Choice(list(PROFILES)), help="Judge by a profile alone.  [default: default]"
)
_DATABASE = click.option("--database", metavar="URL", help="Ask the catalog of this database what names mean.")
_USER = click.option("--user", default="", metavar="NAME", help="Judge as if this user asked.")
_IN = click.option(
    "--in", "in_database", default="", metavar="NAME", help="Judge as if it were asked in this database."
)


@dataclass(frozen=True, slots=True)
class Bench:
    """What a text is judged by."""

    policy: Policy
    view: View
    subject: Subject


def policy_options(command: _Command) -> _Command:
    """Give a command the options of `policy_said`."""
    return _CONFIG(_PROFILE(command))


def bench_options(command: _Command) -> _Command:
    """Give a command the options of `bench`."""
    return policy_options(_DATABASE(_USER(_IN(command))))


def policy_said(config: Path | None, profile: str | None) -> Policy:
    """Return the policy that --config or --profile names; raises ConfigError."""
    if config is None:
        return policy_of(PROFILES[profile or "default"])
    if profile is not None:
        raise click.UsageError("give either --config or --profile: a configuration names its profile")
    return load(config).policy


def bench(config: Path | None, profile: str | None, database: str | None, user: str, in_database: str) -> Bench:
    """Return what the options say; raises ConfigError, and Failed if the database cannot be asked."""
    if database is not None and in_database:
        raise click.UsageError("give either --database or --in: a URL names its database")
    policy = policy_said(config, profile)
    view = NO_DATABASE if database is None else view_of(database)
    return Bench(policy, view, Subject(in_database or view.database, user))
