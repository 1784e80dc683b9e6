"""`pgnotary demo`: everything on this machine, to try by hand or to watch."""

import signal
from pathlib import Path

import click

from pgnotary.demo.stack import Stack, running_stack
from pgnotary.demo.story import DELETE, tell

__all__ = ["demo"]


@click.command()
@click.option("--script", is_flag=True, help="Play the whole story unattended; exit 0 only if all of it happened.")
@click.option("--port", type=int, default=0, help="Where the proxy listens.  [default: any free port]")
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
    program = "./run" if Path("run").is_file() else "pgnotary"
    config = f"--config {stack.config}"
    psql, _ = stack.psql()
    where = f"-h {stack.host} -p {stack.port} -U {stack.user} {stack.database}"
    click.echo(f"""
Paste each line into a terminal of its own:

  engineer   PGPASSWORD={stack.password} {psql[0]} {where}
  approver   {program} watch {config}
  auditor    {program} verify {config}

Then, in psql:

  {DELETE};

and as the approver:

  {program} show R-1 {config}
  {program} approve R-1 -m "backup is there" {config} --key {stack.approver_key}

Ctrl-C ends everything.""")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        signal.pause()
    except KeyboardInterrupt:
        click.echo("stopping", err=True)
