"""The auditor's commands, run in this process."""

from pathlib import Path

import click
from click.testing import CliRunner, Result

from pgnotary.cli.auditor import COMMANDS

__all__ = ["run"]

_GROUP = click.Group("pgnotary", commands={command.name or "": command for command in COMMANDS})


def run(*words: str | Path) -> Result:
    """Run `pgnotary WORDS`, of the auditor's commands."""
    return CliRunner().invoke(_GROUP, [str(word) for word in words])
