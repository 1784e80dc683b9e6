"""The commands of who has asked: `wait` for what becomes of a request, `withdraw` it.

A request's id enters; the line that tells where it stands leaves, and the status that says the same to a script. `wait`
lives on the proxy's events, so it ends in the moment in which the request does, and goes on after a broken connection.
"""

import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

import click

from pgnotary.approval.bodies import Standing
from pgnotary.approval.client import ApprovalClient
from pgnotary.cli.approver_options import Where, at_proxy, key_option
from pgnotary.cli.completing import complete_open
from pgnotary.cli.deciding import no_longer_open
from pgnotary.cli.exits import Exit, Failed
from pgnotary.cli.keys import client_at, load_key
from pgnotary.cli.outcomes import settled_status, standing_fields, standing_in_words, standing_line, state_of
from pgnotary.cli.target import Target, read_id
from pgnotary.cli.terminal import print_broken
from pgnotary.errors import ApiError
from pgnotary.request.life import FINAL, State
from pgnotary.request.sshsig import REQUEST_NAMESPACE

__all__ = ["wait", "withdraw"]

# The events tell of whatever lay on the desk when they began; a request that had left it before is asked for.
_POLL_S = 0.5
# Beside the events, in case one is missed.
_LOOK_AGAIN_S = 10.0
_PASSING = frozenset({0, 429, 503})

_id_argument = click.argument("target", metavar="ID", callback=read_id, shell_complete=complete_open)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@_id_argument
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Give up after that, with status 8.  [default: never]",
)
@at_proxy
@key_option
@_json_option
@click.pass_context
def wait(
    ctx: click.Context, target: Target, where: Where, key_path: Path | None, timeout_s: float | None, *, as_json: bool
) -> None:
    """Wait until a request has ended, and say how.

    Exit status: 0 committed; 1 failed or rolled back; 3 denied; 4 expired, withdrawn or orphaned; 6 approved, but void
    before it could run; 8 not ended yet.

    \b
    pgnotary wait R-1 --timeout 60
    """
    if timeout_s is not None and math.isnan(timeout_s):
        raise click.UsageError("--timeout is no number of seconds")
    client = client_at(where(), key_path)
    standing = _followed(client, target.id, None if timeout_s is None else time.monotonic() + timeout_s)
    click.echo(json.dumps(standing_fields(standing), indent=2) if as_json else standing_line(standing))
    ctx.exit(settled_status(standing))


def _followed(client: ApprovalClient, name: str, deadline: float | None) -> Standing:
    """Return where a request stands once it has ended, or at the deadline."""
    standing = client.request(name)
    told: SimpleQueue[Sequence[str] | Standing | ApiError] = SimpleQueue()
    if state_of(standing) not in FINAL:
        if sys.stderr.isatty():
            print_broken(f"{standing_in_words(standing)}: waiting; Ctrl-C leaves it as it is", err=True)
        # A thread of its own: whoever reads a stream cannot look at a clock meanwhile.
        Thread(target=_listen, args=(client, told), daemon=True).start()
    while state_of(standing) not in FINAL:
        left = _LOOK_AGAIN_S if state_of(standing) is State.HELD else _POLL_S
        if deadline is not None:
            left = min(left, deadline - time.monotonic())
        if left <= 0:
            break
        try:
            event = told.get(timeout=left)
        except Empty:
            standing = _asked(client, name, standing)
            continue
        if isinstance(event, ApiError):
            raise event
        if isinstance(event, Standing):
            standing = event if event.id == name else standing
        elif name not in event:
            standing = _asked(client, name, standing)
    return standing


def _listen(client: ApprovalClient, told: "SimpleQueue[Sequence[str] | Standing | ApiError]") -> None:
    try:
        for event in client.events():
            told.put(event)
    except ApiError as error:
        told.put(error)


def _asked(client: ApprovalClient, name: str, before: Standing) -> Standing:
    """Return where a request stands now; as before while the proxy does not answer, which the events will tell of."""
    try:
        return client.request(name)
    except ApiError as error:
        if error.status not in _PASSING:
            raise
        return before


@click.command()
@_id_argument
@at_proxy
@key_option
@_json_option
def withdraw(target: Target, where: Where, key_path: Path | None, *, as_json: bool) -> None:
    """Take back a request of your own; the engineer's statement fails without having run.

    One that was approved, and has not run yet, is void. The call is signed: your key must be on the roster, under the
    name that the request is held for.
    """
    place = where()
    key = load_key(key_path, place, REQUEST_NAMESPACE)
    standing = place.signing_client(key).withdraw(target.id)
    state = state_of(standing)
    if state not in {State.WITHDRAWN, State.VOID}:
        if state in {State.HELD, State.APPROVED}:
            raise Failed(f"{target.id} is still {state}: its session has not taken it back yet", Exit.PENDING)
        raise no_longer_open(target.id, standing)
    if as_json:
        click.echo(json.dumps(standing_fields(standing), indent=2))
    else:
        at = "" if standing.seq is None else f"  ledger #{standing.seq}"
        click.echo(f"withdrawn  {target.id}{at}")
