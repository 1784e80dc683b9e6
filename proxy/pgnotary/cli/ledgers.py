"""`pgnotary ledgers`: the ledgers that `--at NAME` knows. A person's list enters, lines leave."""

import json
import sys

import click

from pgnotary.cli.known_places import KnownPlace, known_places, list_path
from pgnotary.cli.safe_text import visible
from pgnotary.cli.shared_lines import flowing
from pgnotary.cli.terminal import terminal_columns
from pgnotary.ledger.canonical import JSON

__all__ = ["ledgers"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ledgers(*, as_json: bool) -> None:
    """List the ledgers that --at NAME knows, from your config.toml.

    With --json, one array of objects.
    """
    found = known_places()
    if as_json:
        click.echo(json.dumps([_fields(each) for each in found], indent=2))
        return
    for each in found:
        (_, ledger), *words = _words(each)
        for line in flowing(ledger, [f"{name} {value}" for name, value in words], terminal_columns(sys.stdout)):
            click.echo(line)
    if not found:
        click.echo(f"no ledger has a name here: {list_path()} would list them (docs/approvers.md)", err=True)


def _words(place: KnownPlace) -> list[tuple[str, str]]:
    return [(name, visible(str(value))) for name, value in _fields(place).items()]


def _fields(place: KnownPlace) -> dict[str, JSON]:
    told = {
        "ledger": place.name,
        "server": place.server,
        "socket": place.socket,
        "ca_file": place.ca,
        "proxy_key": place.proxy_key,
        "key": place.key,
    }
    return {name: str(value) for name, value in told.items() if value is not None}
