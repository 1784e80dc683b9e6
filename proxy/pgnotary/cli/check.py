"""`pgnotary check`: a configuration and the files that it names, looked at before `serve` needs them.

A configuration enters; one line leaves that says ok and what is in it, or one that says what is wrong. Notes say which
users may be somebody on the roster under another name: they could approve what they have asked for.
"""

from collections.abc import Iterator
from pathlib import Path

import click

from pgnotary.cli.config_option import config_option
from pgnotary.cli.safe_text import visible
from pgnotary.config import Config, load
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
    for note in _other_names(loaded):
        click.echo(f"pgnotary: note: {visible(note)}", err=True)
    users = _count(len(loaded.file.user), "user")
    approvers = _count(len(loaded.roster().deciders), "approver")
    policy, ledger = loaded.policy, loaded.file.ledger.name
    rules = f"profile {policy.profile}, {_count(len(policy.rules), 'rule')}, policy {policy.digest}"
    click.echo(f"ok  {config}: {users}, {approvers}, {rules}, ledger {ledger}")


def _other_names(config: Config) -> Iterator[str]:
    """Yield which users are nobody on the roster, though somebody there is called so before an @."""
    people = {each.casefold(): each for each in config.roster().people}
    for user in config.file.user:
        name = (user.person or user.name).casefold()
        alike = [each for folded, each in people.items() if folded.partition("@")[0] == name.partition("@")[0]]
        if name not in people and alike:
            yield (
                f"user {user.name!r} is nobody on the roster, which has {', '.join(alike)}: if that is the same "
                f'person, say person = "{alike[0]}", or they may approve what they have asked for'
            )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
