"""`pgnotary key new`, `show` and `list`: an approver's keys, in the files and forms that OpenSSH uses.

Of `new` a name enters; a private key that only its owner can read, its public half and a line for the roster leave.
Nothing that exists is overwritten, and a private half is never printed.
"""

import getpass
import json
import secrets
import sys
from pathlib import Path

import click

from pgnotary.cli.approver_options import DEFAULT_KEY, key_option
from pgnotary.cli.exits import Exit, Failed
from pgnotary.cli.key_purpose import Purpose, purpose_options
from pgnotary.cli.keys import AtHand, at_hand, key_in
from pgnotary.cli.known_places import at_home
from pgnotary.cli.safe_text import one_line, visible
from pgnotary.cli.shared_lines import flowing
from pgnotary.cli.terminal import terminal_columns
from pgnotary.errors import ConfigError
from pgnotary.ledger.canonical import JSON
from pgnotary.request.openssh import SEED_BYTES, fingerprint, private_key_file, public_line, read_private_key
from pgnotary.request.roster import Signer
from pgnotary.request.ssh_encoding import read_public_blob

__all__ = ["key"]

_MAX_CHARS = 65_536

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_person_option = click.option("--person", help="Your name on the roster.  [default: your login name]")


@click.group()
def key() -> None:
    """Your own key, which decisions are signed with."""


@key.command("new")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help=f"Where to write it.  [default: {DEFAULT_KEY}]"
)
@_person_option
@purpose_options
def key_new(out: Path | None, person: str | None, purpose: Purpose) -> None:
    """Make a key, and print the line that puts it on the roster of approvers."""
    from pgnotary.setup import NewFile, write_new

    name = _person(person)
    path = out or at_home(DEFAULT_KEY)
    public_path = path.with_name(f"{path.name}.pub")
    made = private_key_file(secrets.token_bytes(SEED_BYTES), "", secrets.randbits(32))
    public = read_private_key(made).public
    write_new(NewFile(path, made, 0o600), NewFile(public_path, public_line(public, name) + "\n", 0o644))
    click.echo(f"wrote {path} and {public_path}: {fingerprint(public)}", err=True)
    _print_line(Signer(name, public, purpose.namespaces))


@key.command("show")
@key_option
@_person_option
@purpose_options
@_json_option
def key_show(key_path: Path | None, person: str | None, purpose: Purpose, *, as_json: bool) -> None:
    """Print the line that puts your key on the roster: of --key, or of the first at hand."""
    if key_path is not None:
        # A public key is enough here, and a passphrase would be asked for nothing.
        found = _named(key_path)
    else:
        found = next((each for each in at_hand() if each.public is not None), None) or AtHand("", None)
    if found.public is None:
        raise Failed(f"no key is at hand{_trouble(found)}: make one with `pgnotary key new`", Exit.UNTRUSTED)
    signer = Signer(_person(person), found.public, purpose.namespaces)
    if as_json:
        click.echo(json.dumps(_fields(found) | {"line": signer.line}, indent=2))
        return
    click.echo(f"{visible(found.where)}: {fingerprint(found.public)}", err=True)
    _print_line(signer)


@key.command("list")
@_json_option
def key_list(*, as_json: bool) -> None:
    """List the keys at hand: in the usual files, and in your ssh-agent."""
    found = list(at_hand())
    if as_json:
        click.echo(json.dumps([_fields(each) for each in found], indent=2))
        return
    for each in found:
        name = "no key" if each.public is None else fingerprint(each.public)
        words = [each.where, *([one_line(each.comment)] if each.comment else [])]
        words[-1] += _trouble(each)
        for line in flowing(name, [*map(visible, words)], terminal_columns(sys.stdout)):
            click.echo(line)
    if not found:
        click.echo("no key is at hand: make one with `pgnotary key new`", err=True)


def _named(path: Path) -> AtHand:
    """Return the public half of the key that a file holds or names, whether or not an agent is there."""
    from pgnotary.errors import BadKey, KeyLocked
    from pgnotary.request.openssh import read_public_line

    try:
        with at_home(path).open(encoding="utf-8", errors="replace") as file:
            return AtHand(str(path), read_public_line(file.read(_MAX_CHARS)).public)
    except (BadKey, OSError):
        pass  # It is for `key_in` to say what it is instead.
    try:
        return AtHand(str(path), key_in(path, may_ask=False).public)
    except KeyLocked as locked:
        return AtHand(str(path), read_public_blob(locked.public))


def _person(person: str | None) -> str:
    from pgnotary.setup import check_person

    name = getpass.getuser() if person is None else person
    try:
        check_person(name)
    except ConfigError as error:
        raise click.BadParameter(str(error), param_hint="--person") from error
    return name


def _print_line(signer: Signer) -> None:
    click.echo("Whoever runs the proxy adds this line to its roster (pgnotary approvers add):", err=True)
    click.echo(signer.line)


def _trouble(found: AtHand) -> str:
    return f" ({visible(found.trouble)})" if found.trouble else ""


def _fields(found: AtHand) -> dict[str, JSON]:
    told: dict[str, JSON] = {"where": found.where, "comment": found.comment, "trouble": found.trouble}
    if found.public is not None:
        told["key"] = fingerprint(found.public)
    return {name: value for name, value in told.items() if value}
