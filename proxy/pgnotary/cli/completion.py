"""`pgnotary completion`: what a shell must read to complete our commands. A shell's name enters, its script leaves."""

import click

__all__ = ["completion"]

_PROGRAM, _VARIABLE = "pgnotary", "_PGNOTARY_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what lets bash, zsh or fish complete commands and the ids of open requests.

    \b
    eval "$(pgnotary completion bash)"                                    in ~/.bashrc
    eval "$(pgnotary completion zsh)"                                     in ~/.zshrc
    pgnotary completion fish > ~/.config/fish/completions/pgnotary.fish
    """
    from click.shell_completion import get_completion_class

    from pgnotary.cli import pgnotary

    known = get_completion_class(shell)
    if known is None:
        raise click.UsageError(f"click knows no completion for {shell}")
    # Not source(): of bash it asks the version, of a bash that need not be the one that reads this.
    script = known(pgnotary, {}, _PROGRAM, _VARIABLE)
    click.echo(script.source_template % script.source_vars())
