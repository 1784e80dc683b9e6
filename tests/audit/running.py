"""The auditor's commands, run in this process."""

from pathlib import Path

import click
from click.testing import CliRunner, Result

from pgnotary.cli.auditor import replay, search
from pgnotary.cli.exporting import export
from pgnotary.cli.reporting import report
from pgnotary.cli.verifying import verify

__all__ = ["COMMANDS", "run"]

COMMANDS = (verify, search, export, replay, report)

_GROUP = click.Group("pgnotary", commands={command.name or "": command for command in COMMANDS})


def run(*words: str | Path) -> Result:
    """Run `pgnotary WORDS`, of the auditor's commands."""
    return CliRunner().invoke(_GROUP, [str(word) for word in words])
