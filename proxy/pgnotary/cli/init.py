"""`pgnotary init`: a folder that `serve` runs from, made for somebody's own database.

The address of a database and a few names enter; configuration, signing key, role password, a first user and a first
approver with a key leave, and the lines that start each person's program. What is wrong is said before anything is
written; nothing that exists is overwritten.
"""

import os
import re
import secrets
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import click

from pgnotary.cli.program import program
from pgnotary.config import load
from pgnotary.errors import ConfigError
from pgnotary.setup import ledger_name, make_folder

__all__ = ["init"]

_DSN = "postgresql://role:password@127.0.0.1:5432/database"
_EXPECTED = f"expected {_DSN}, a port up to 65535, and / ? # @ : in a password as %2F %3F %23 %40 %3A"


@dataclass(frozen=True, slots=True, repr=False)
class _Upstream:
    """What a DSN says; its password is never repeated."""

    role: str
    password: str
    address: str
    database: str


def _read_dsn(_ctx: click.Context, _param: click.Parameter, value: str) -> _Upstream:
    """Read a URL as libpq does, as an option's callback; what cannot be carried is refused, not dropped."""
    try:
        parts = urlsplit(value)
        port = parts.port or 5432
    except ValueError as error:
        # It may repeat a part of the URL, and so of the password.
        raise click.BadParameter(_EXPECTED) from error
    if parts.scheme not in ("postgresql", "postgres") or not parts.username:
        raise click.BadParameter(_EXPECTED)
    if parts.query or parts.fragment:
        names = ", ".join(re.findall(r"(?:^|&)([A-Za-z_]+)=", parts.query)) or "what follows ? or #"
        raise click.BadParameter(
            f"{names}: connection parameters are not carried and would be lost; leave them out. {_EXPECTED}"
        )
    # Not `hostname`, which is in lower case: it may be the percent-encoded folder of a Unix socket.
    host = unquote(re.sub(r":[0-9]*$", "", parts.netloc.rpartition("@")[2])) or "127.0.0.1"
    role, password = unquote(parts.username), unquote(parts.password or "")
    return _Upstream(role, password, f"{host}:{port}", unquote(parts.path.removeprefix("/")) or role)


@click.command()
@click.option("--upstream", required=True, callback=_read_dsn, metavar="DSN", help=_DSN)
@click.option(
    "--folder", type=click.Path(path_type=Path), default="pgnotary", show_default=True, help="Where to write."
)
@click.option("--user", default="eva", show_default=True, help="The first user.")
@click.option("--approver", default="bo", show_default=True, help="The first approver.")
@click.option("--listen", default="127.0.0.1:6432", show_default=True, help="Where engineers connect.")
@click.option("--name", help="The ledger's name, for ever.  [default: this machine's name / the database's]")
def init(upstream: _Upstream, folder: Path, user: str, approver: str, listen: str, name: str | None) -> None:
    """Write a configuration, a signing key, a first user and a first approver for your own database."""
    if user.lower() == approver.lower():
        raise click.UsageError(
            f"--user and --approver are both {user!r}, and nobody decides over their own requests: name two people"
        )
    password = secrets.token_urlsafe(18)
    try:
        config = make_folder(
            folder,
            listen=listen,
            upstream=upstream.address,
            role=upstream.role,
            password=upstream.password,
            name=name or ledger_name(os.uname().nodename, upstream.database),
            users={user: password},
            approvers=[approver],
        )
    except ConfigError as error:
        # Nobody has that file yet: it would have become one.
        said = str(error).removeprefix(f"{(folder / 'pgnotary.toml').absolute()}: ")
        raise ConfigError(said) from error
    load(config).inspect()
    where = f"{quote(user, safe='')}:{password}@{listen}/{quote(upstream.database, safe='')}"
    pgnotary, option = program(), f"--config {shlex.quote(str(config))}"
    key = shlex.quote(str(folder / "approvers" / approver))
    click.echo(f"wrote {config}")
    click.echo(f"start     {pgnotary} serve {option}")
    click.echo(f"engineer  psql {shlex.quote(f'postgresql://{where}')}")
    click.echo(f"approver  {pgnotary} watch {option}; {pgnotary} approve R-1 -m why {option} --key {key}")
    click.echo(f"auditor   {pgnotary} verify {option}")
    click.echo(
        f"Whoever reaches PostgreSQL as {upstream.role} goes around the proxy: let pg_hba.conf admit only the proxy "
        "(docs/own-database.md in pgnotary's sources says how)",
        err=True,
    )
