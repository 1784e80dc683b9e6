"""`pgnotary init`, `user add` and `check`: a configuration for somebody's own database, made and looked at.

`init` writes a folder that `serve` runs from: configuration, signing key, role password, one user, one approver with
a key. Nothing that exists is overwritten; passwords and keys are readable by their owner alone.
"""

import os
import secrets
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click

from pgnotary.config import load
from pgnotary.errors import ConfigError
from pgnotary.setup import add_user, make_approver, make_folder

__all__ = ["check", "init", "user"]


@click.command()
@click.option(
    "--upstream", "dsn", required=True, metavar="DSN", help="postgresql://role:password@127.0.0.1:5432/database"
)
@click.option(
    "--folder", type=click.Path(path_type=Path), default="pgnotary", show_default=True, help="Where to write."
)
@click.option("--user", "user_name", default="eva", show_default=True, help="The first user.")
@click.option("--approver", default="bo", show_default=True, help="The first approver.")
@click.option("--listen", default="127.0.0.1:6432", show_default=True)
def init(dsn: str, folder: Path, user_name: str, approver: str, listen: str) -> None:
    """Write a configuration, a signing key, a first user and a first approver for your own database."""
    parts = urlsplit(dsn)
    if parts.scheme not in ("postgresql", "postgres") or not parts.username:
        raise click.UsageError("DSN: expected postgresql://role:password@host:port/database")
    database = parts.path.lstrip("/") or "postgres"
    upstream = f"{parts.hostname or '127.0.0.1'}:{parts.port or 5432}"
    role = unquote(parts.username)
    name = f"{os.uname().nodename.lower()}/{database}"
    config = make_folder(
        folder, listen=listen, upstream=upstream, role=role, password=unquote(parts.password or ""), name=name
    )
    password = secrets.token_urlsafe(18)
    add_user(config, user_name, role, password)
    key = make_approver(folder, approver)
    load(config)
    click.echo(f"wrote {config}")
    click.echo(f"start     pgnotary serve --config {config}")
    host, _, port = listen.rpartition(":")
    click.echo(f"engineer  psql 'postgresql://{user_name}:{password}@{host}:{port}/{database}'")
    click.echo(f"approver  pgnotary watch --config {config}; pgnotary approve R-1 -m why --config {config} --key {key}")
    click.echo(f"auditor   pgnotary verify --config {config}")
    click.echo("Keep others from going around it: docs/own-database.md", err=True)


@click.group()
def user() -> None:
    """The people who may connect."""


@user.command("add")
@click.argument("name")
@click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    default="pgnotary.toml",
    envvar="PGNOTARY_CONFIG",
    show_default=True,
)
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
    load(config)
    click.echo(f"added {name} as {chosen}; restart the proxy to let them in", err=True)


def _password(name: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True))
    password = sys.stdin.readline().rstrip("\n")
    if not password:
        raise click.UsageError("no password on stdin")
    return password


@click.command()
@click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    default="pgnotary.toml",
    envvar="PGNOTARY_CONFIG",
    show_default=True,
)
def check(config: Path) -> None:
    """Check the configuration and the files that it names."""
    loaded = load(config)
    roster = loaded.roster()
    loaded.key()
    for role in loaded.file.role:
        loaded.password(role.name)
    click.echo(
        f"ok  {config}: {len(loaded.file.user)} users, {len(roster.people)} approvers, profile {loaded.profile.name}, "
        f"ledger {loaded.file.ledger.name}"
    )
