"""`pgnotary check`: a configuration and the files that it names, looked at before `serve` needs them.

A configuration enters; one line leaves that says ok and what is in it, or one that says what is wrong.
"""

from pathlib import Path

import click

from pgnotary.cli.config_option import config_option
from pgnotary.config import load
from pgnotary.serve.certificates import CertificateInForce, read_for_approval, upstream_of

__all__ = ["check"]


@click.command()
@config_option
def check(config: Path) -> None:
    """Check the configuration and the files that it names."""
    loaded = load(config)
    loaded.inspect()
    CertificateInForce(loaded)
    CertificateInForce(loaded, read_for_approval)
    upstream_of(loaded)
    users = _count(len(loaded.file.user), "user")
    approvers = _count(len(loaded.roster().deciders), "approver")
    policy, ledger = loaded.policy, loaded.file.ledger.name
    rules = f"profile {policy.profile}, {_count(len(policy.rules), 'rule')}, policy {policy.digest}"
    click.echo(f"ok  {config}: {users}, {approvers}, {rules}, ledger {ledger}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
