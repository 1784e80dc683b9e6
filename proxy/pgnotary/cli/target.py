"""Which request is meant: `R-1`, or `R-1@` and the first hex digits of its digest. Words enter, a target leaves."""

import re
from dataclasses import dataclass

import click

__all__ = ["Target", "is_id", "read_id", "read_target"]

_TARGET = re.compile(r"(R-[1-9][0-9]{0,17})(?:@([0-9A-Fa-f]{8,64}))?")


@dataclass(frozen=True, slots=True)
class Target:
    """A request, and the first hex digits of its leaf if they were said."""

    id: str
    prefix: str = ""


def is_id(text: str) -> bool:
    """Say whether a text is a request's id and nothing else."""
    found = _TARGET.fullmatch(text)
    return found is not None and found[2] is None


def read_target(_ctx: click.Context, _param: click.Parameter, value: str) -> Target:
    """Read `R-1` or `R-1@9b1f22aa`, as an argument's callback."""
    found = _TARGET.fullmatch(value)
    if not found:
        raise click.BadParameter(f"{value!r} is not R-1, or R-1@ and at least 8 hex digits of its digest")
    return Target(found[1], (found[2] or "").lower())


def read_id(ctx: click.Context, param: click.Parameter, value: str) -> Target:
    """Read `R-1`, as an argument's callback, where nothing is signed over what it asks."""
    target = read_target(ctx, param, value)
    if target.prefix:
        raise click.BadParameter(f"{value!r}: only the id is expected here, {target.id}")
    return target
