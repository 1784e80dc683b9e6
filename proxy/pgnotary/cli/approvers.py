"""`pgnotary approvers list`, `add` and `revoke`: the roster of a configuration, changed where it stands.

A name, a key or a line enters; the roster's file is another one at once, or as it was and an error. The running proxy
keeps the roster that it has recorded until whoever runs it says so with SIGHUP: which process that is, is not guessed.
"""

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from pgnotary.cli.config_option import config_option
from pgnotary.cli.exits import Exit, Failed
from pgnotary.cli.key_purpose import Purpose, purpose_options
from pgnotary.cli.roster_text import counts, with_signer, without
from pgnotary.cli.safe_text import visible
from pgnotary.cli.shared_lines import flowing
from pgnotary.cli.terminal import terminal_columns
from pgnotary.config import load
from pgnotary.errors import BadKey, BadRoster, ConfigError
from pgnotary.ledger.canonical import JSON, timestamp
from pgnotary.request.openssh import fingerprint, read_public_line
from pgnotary.request.roster import Signer, parse_roster
from pgnotary.setup import check_person, replace_text

__all__ = ["approvers"]

_MAX_BYTES = 1 << 20
_KEY_TYPES = ("ssh-", "ecdsa-", "sk-")
# For another command's change, which takes a moment.
_PATIENCE_S = 5.0
_LOOK_AGAIN_S = 0.02


@click.group()
def approvers() -> None:
    """The roster: who may sign decisions, with which keys."""


@approvers.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def approvers_list(config: Path, *, as_json: bool) -> None:
    """List everybody on the roster, also whose key counts no longer.

    With --json, one array of objects.
    """
    now = datetime.now(UTC)
    _, text = _roster(config)
    signers = parse_roster(text).signers
    if as_json:
        click.echo(json.dumps([_fields(each, now) for each in signers], indent=2))
        return
    width = max((len(each.person) for each in signers), default=0)
    for each in signers:
        may = "everything" if each.namespaces is None else ", ".join(each.namespaces)
        words = [fingerprint(each.public), may, *_until(each, now)]
        for line in flowing(f"{visible(each.person):<{width}}", [*map(visible, words)], terminal_columns(sys.stdout)):
            click.echo(line)
    if not signers:
        click.echo("nobody is on the roster: nothing can be approved", err=True)


@approvers.command("add")
@click.argument("what", metavar="LINE|FILE|-")
@config_option
@click.option("--person", help="Whose key it is; needed with a public key, whose own comment proves nothing.")
@purpose_options
def approvers_add(what: str, config: Path, person: str | None, purpose: Purpose) -> None:
    """Put a key on the roster: a line as `key new` prints it, or a .pub file and --person NAME.

    \b
    pgnotary approvers add bo.pub --person bo
    pgnotary approvers add eva.pub --person eva --engineer
    """
    signer = _signer(_said(what), person, purpose)
    with _alone(config):
        path, text = _roster(config)
        try:
            changed = with_signer(text, signer)
        except BadRoster as error:
            raise ConfigError(f"{path}: was left as it is: {error}") from error
        _replace(path, text, changed)
    if signer.namespaces is None:
        click.echo("pgnotary: note: the line names no namespaces, so the key counts for everything", err=True)
    click.echo(f"added    {signer.person}  {fingerprint(signer.public)}")
    _say_reload()


@approvers.command("revoke")
@click.argument("who", metavar="PERSON|SHA256:...")
@config_option
def approvers_revoke(who: str, config: Path) -> None:
    """Let all keys of a person, or the one with that fingerprint, count no longer.

    Their lines stay, with the time until which they counted.
    """
    with _alone(config):
        path, text = _roster(config)
        now = datetime.now(UTC)
        changed, ended = without(text, who, now)
        _replace(path, text, changed)
    for each in ended:
        click.echo(f"revoked  {each.person}  {fingerprint(each.public)}")
    if not any(counts(each, now) for each in parse_roster(changed).signers):
        click.echo("pgnotary: note: nobody is left who could approve anything", err=True)
    _say_reload()


@contextlib.contextmanager
def _alone(config: Path) -> Iterator[None]:
    """Keep other commands from changing the roster meanwhile: the later of two would undo the first, even a revocation.

    It is the folder that is locked, for the file becomes another one. Raises ConfigError or Failed.
    """
    loaded = load(config)
    folder = loaded.near(loaded.file.approval.roster).resolve().parent
    deadline = time.monotonic() + _PATIENCE_S
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be opened: {error.strerror}") from error
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    why = f"{folder}: another command has held its lock for {_PATIENCE_S:g} s: nothing was changed"
                    raise Failed(why, Exit.CONFLICT) from error
            except OSError as error:
                raise ConfigError(f"{folder}: cannot be locked: {error.strerror}") from error
            time.sleep(_LOOK_AGAIN_S)
        yield
    finally:
        os.close(lock)


def _roster(config: Path) -> tuple[Path, str]:
    """Return the roster's file and its text, which is one; raises ConfigError."""
    loaded = load(config)
    path = loaded.near(loaded.file.approval.roster)
    loaded.roster()
    try:
        return path, path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def _replace(path: Path, before: str, after: str) -> None:
    """Write the new text, unless the file is another one meanwhile."""
    if path.read_bytes() != before.encode():
        raise Failed(f"{path}: somebody else has changed it meanwhile: look again", Exit.CONFLICT)
    replace_text(path, after.encode())


def _said(what: str) -> str:
    """Return the text that is meant: of a file, of standard input, or the words themselves."""
    if what == "-":
        return sys.stdin.read(_MAX_BYTES)
    path = Path(what)
    if len(what) < 1_024 and "\n" not in what and path.is_file():
        try:
            return path.read_bytes()[:_MAX_BYTES].decode()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from error
    return what


def _signer(text: str, person: str | None, purpose: Purpose) -> Signer:
    """Return the one signer that a text names; raises UsageError or ConfigError."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) != 1:
        raise click.UsageError(f"expected one line with one key, found {len(lines)}")
    if lines[0].startswith(_KEY_TYPES):
        if person is None:
            raise click.UsageError("whose key is it? say --person NAME")
        check_person(person)
        try:
            public = read_public_line(lines[0]).public
        except BadKey as error:
            raise click.UsageError(str(error)) from error
        return Signer(person, public, purpose.namespaces)
    if person is not None or purpose.is_said:
        raise click.UsageError("a line of a roster says itself whose key it is, and for what: leave out the options")
    try:
        [signer] = parse_roster(lines[0]).signers
    except BadRoster as error:
        said = str(error).removeprefix("line 1: ")
        raise click.UsageError(f"neither a file nor a line of a roster nor a public key: {said}") from error
    return signer


def _until(signer: Signer, now: datetime) -> Iterator[str]:
    if signer.valid_after is not None:
        yield f"from {timestamp(signer.valid_after)}"
    if signer.valid_before is not None:
        yield f"until {timestamp(signer.valid_before)}"
    if not counts(signer, now):
        yield "DOES NOT COUNT NOW"


def _fields(signer: Signer, now: datetime) -> dict[str, JSON]:
    told: dict[str, JSON] = {
        "person": signer.person,
        "key": fingerprint(signer.public),
        "counts": counts(signer, now),
        "line": signer.line,
    }
    if signer.namespaces is not None:
        told["namespaces"] = list(signer.namespaces)
    if signer.valid_after is not None:
        told["valid_after"] = timestamp(signer.valid_after)
    if signer.valid_before is not None:
        told["valid_before"] = timestamp(signer.valid_before)
    return told


def _say_reload() -> None:
    click.echo("A proxy that runs keeps the roster that it has until it is sent SIGHUP: kill -HUP PID", err=True)
