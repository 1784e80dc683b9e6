"""What a shell is offered for the word that is being typed: the ids of open requests.

The options that were typed so far enter, ids leave. Nothing is asked, printed or waited for long: where there is no
proxy, or no key that signs without a passphrase, nothing is offered.
"""

import click
from click.shell_completion import CompletionItem

__all__ = ["complete_open"]

_PATIENCE_S = 2.0


def complete_open(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the open requests whose ids begin with what was typed."""
    from pgnotary.cli.target import is_id
    from pgnotary.errors import PgnotaryError

    try:
        names = _open(ctx)
    except (PgnotaryError, click.ClickException, OSError):
        return []
    # What is offered stands on a command line: a proxy that calls a request `R-1;reboot` is not to have that typed.
    return [CompletionItem(name) for name in names if name.startswith(incomplete) and is_id(name)]


def _open(ctx: click.Context) -> list[str]:
    from pgnotary.cli.approver_options import place_in
    from pgnotary.cli.keys import load_key

    place, said = place_in(ctx), ctx.params.get("key_path")
    client = place.client(lambda: load_key(said, place, may_ask=False), _PATIENCE_S)
    return [each.id for each in client.requests()]
