"""`pgnotary webhooks`: what is configured, and the public keys that receivers check messages with.

A configuration enters; a line for each webhook leaves. Its address is not shown: it may be a secret.
"""

from pathlib import Path

import click

from pgnotary.cli.config_option import config_option
from pgnotary.config import load
from pgnotary.notify.signature import public_text
from pgnotary.webhook import webhook_seed

__all__ = ["webhooks"]


@click.command()
@config_option
def webhooks(config: Path) -> None:
    """List the webhooks, and the public keys that their receivers verify messages with.

    A line has name, format, events and key. The key follows from the proxy's own and from the name; docs/webhooks.md
    says how a message is verified.
    """
    loaded = load(config)
    seed = loaded.key().seed
    for hook in loaded.file.webhook:
        events = ",".join(hook.events)
        click.echo(f"{hook.name}  {hook.format}  {events}  {public_text(webhook_seed(seed, hook.name))}")
