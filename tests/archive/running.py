"""`archive` and the auditor's commands, run in this process."""

from pathlib import Path

import click
from click.testing import CliRunner, Result
from tests.audit.running import COMMANDS

from pgnotary.cli.archive import archive

__all__ = ["run"]

_GROUP = click.Group("pgnotary", commands={each.name or "": each for each in (archive, *COMMANDS)})


def run(*words: str | Path) -> Result:
    """Run `pgnotary WORDS`."""
    return CliRunner().invoke(_GROUP, [str(word) for word in words])
