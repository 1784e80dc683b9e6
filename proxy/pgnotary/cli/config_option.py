"""`--config`: where the commands of whoever runs the proxy find its configuration, said once for all of them.

A flag beats the environment, and that beats ./pgnotary.toml. What is there is for the command to read.
"""

from pathlib import Path

import click

__all__ = ["DEFAULT_CONFIG", "config_option"]

DEFAULT_CONFIG = Path("pgnotary.toml")

config_option = click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_CONFIG,
    envvar="PGNOTARY_CONFIG",
    show_default=True,
    show_envvar=True,
    metavar="FILE",
    help="The proxy's configuration.",
)
