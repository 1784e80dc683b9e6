"""`python -m pgnotary.cli`: the same as the `pgnotary` command."""

from pgnotary.cli import main

main()
