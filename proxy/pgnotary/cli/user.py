"""`pgnotary user add`: one more person who may connect.

A name and a password enter, a changed configuration leaves, or an error and the one that was there. Only a verifier of
the password is kept.
"""

import sys
from pathlib import Path

import click

from pgnotary.cli.config_option import config_option
from pgnotary.config import load
from pgnotary.errors import ConfigError
from pgnotary.setup import add_user

__all__ = ["user"]


@click.group()
def user() -> None:
    """The people who may connect."""


@user.command("add")
@click.argument("name")
@config_option
@click.option("--role", help="The database role; needed if there are several.")
def user_add(name: str, config: Path, role: str | None) -> None:
    """Add NAME to the configuration; only a verifier of the password is kept."""
    loaded = load(config)
    if loaded.user(name) is not None:
        raise ConfigError(f"{config}: user {name!r} stands there already")
    roles = [known.name for known in loaded.file.role]
    chosen = role or (roles[0] if len(roles) == 1 else "")
    if chosen not in roles:
        raise click.UsageError(f"--role: expected one of {', '.join(roles) or 'the roles, of which there is none yet'}")
    add_user(config, name, chosen, _password(name))
    click.echo(f"added {name} as {chosen}; restart the proxy to let them in", err=True)


def _password(name: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True))
    password = sys.stdin.readline().rstrip("\n")
    if not password:
        raise click.UsageError("no password on stdin")
    return password
