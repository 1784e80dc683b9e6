"""`pgnotary demo`: everything on this machine, to try by hand or to watch."""

import shlex
import signal
from pathlib import Path

import click

from pgnotary.cli.program import program
from pgnotary.demo.stack import Stack, running_stack
from pgnotary.demo.story import DELETE, tell

__all__ = ["demo"]


@click.command()
@click.option("--script", is_flag=True, help="Play the whole story unattended; exit 0 only if all of it happened.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=0, help="Where the proxy listens.  [default: any free port]"
)
@click.option("--keep", type=click.Path(path_type=Path), help="A new folder for ledger and keys, which stays.")
def demo(*, script: bool, port: int, keep: Path | None) -> None:
    """Run PostgreSQL, a proxy, a ledger and an approver on this machine."""
    click.echo("starting PostgreSQL and pgnotary ...", err=True)
    with running_stack(keep, port) as stack:
        if script:
            tell(stack, click.echo)
        else:
            _by_hand(stack)


def _by_hand(stack: Stack) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        click.echo(_lines(stack))
        signal.pause()
    except KeyboardInterrupt:
        click.echo("stopping", err=True)


def _lines(stack: Stack) -> str:
    """Return what to paste where."""
    pgnotary, config = program(), f"--config {shlex.quote(str(stack.config))}"
    (psql, *_), _ = stack.psql()
    own = f"--key {shlex.quote(str(stack.approver_key))} --heads {shlex.quote(str(stack.heads))}"
    signing = f"--max-other-rows 2500 {config} {own}"
    where = f"-h {stack.host} -p {stack.port} -U {stack.user} {stack.database}"
    return f"""
Paste each line into a terminal of its own:

  engineer   PGPASSWORD={stack.password} {shlex.quote(psql)} {where}
  approver   {pgnotary} watch {config}
  auditor    {pgnotary} verify {config}

Then, in psql:

  {DELETE};

and as the approver:

  {pgnotary} show R-1 {config}
  {pgnotary} approve R-1 -m "backup is there" {signing}

Ctrl-C ends everything."""
