"""`pgnotary key new`: an approver's key, in the files and forms that OpenSSH uses.

A name enters; a private key that only its owner can read, its public half and a line for the roster leave. Nothing that
exists is overwritten, and the private half is never printed.
"""

import getpass
import secrets
from pathlib import Path

import click

from pgnotary.cli.approver_options import DEFAULT_KEY
from pgnotary.errors import ConfigError
from pgnotary.request.openssh import SEED_BYTES, fingerprint, private_key_file, public_line, read_private_key
from pgnotary.request.roster import Signer
from pgnotary.request.sshsig import DECISION_NAMESPACE, REDACTION_NAMESPACE

__all__ = ["key"]


@click.group()
def key() -> None:
    """Your own key, which decisions are signed with."""


@key.command("new")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help=f"Where to write it.  [default: {DEFAULT_KEY}]"
)
@click.option("--person", help="Your name on the roster of approvers.  [default: your login name]")
@click.option("--redactor", is_flag=True, help="The line lets you redact sealed values too.")
def key_new(out: Path | None, person: str | None, *, redactor: bool) -> None:
    """Make a key, and print the line that puts it on the roster of approvers."""
    from pgnotary.setup import NewFile, check_person, write_new

    name = getpass.getuser() if person is None else person
    try:
        check_person(name)
    except ConfigError as error:
        raise click.BadParameter(str(error), param_hint="--person") from error
    path = out or DEFAULT_KEY.expanduser()
    public_path = path.with_name(f"{path.name}.pub")
    made = private_key_file(secrets.token_bytes(SEED_BYTES), "", secrets.randbits(32))
    public = read_private_key(made).public
    namespaces = (DECISION_NAMESPACE, REDACTION_NAMESPACE) if redactor else (DECISION_NAMESPACE,)
    line = Signer(name, public, namespaces).line
    write_new(NewFile(path, made, 0o600), NewFile(public_path, public_line(public, name) + "\n", 0o644))
    click.echo(f"wrote {path} and {public_path}: {fingerprint(public)}", err=True)
    click.echo("Whoever runs the proxy adds this line to its roster (approval.roster):", err=True)
    click.echo(line)
